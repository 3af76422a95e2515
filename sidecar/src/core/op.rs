//! Operations: one mutation of one object, as it travels and as it is logged.
//!
//! An operation says itself what it removes (semantics finding 19): the scope, and per author the highest dot
//! among the entries it removes there. A receiver never has to know what else the author had seen.

use serde::{Deserialize, Serialize};

use super::identity::{Dot, LifeId, ObjectId};
use super::path::Path;
use super::time::{Hlc, UnixMillis};
use super::value::JsonText;

/// One mutation of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its name: the author, and the author's sequence in the object's shard.
    pub dot: Dot,
    /// What changed in the author's clock of this shard since its previous operation there. Decides *when* this
    /// applies, and nothing else.
    pub deps: Vec<Dot>,
    /// Decides between concurrent siblings, and nothing else.
    pub hlc: Hlc,
    /// The object.
    pub object: ObjectId,
    /// What it does.
    pub action: Action,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Makes a life, named by the operation's dot.
    Create {
        /// When the life ends unless extended, and when it ends in any case.
        lease: Lease,
        /// Lives that end with this: those the author had stored and nobody could see.
        kills: Vec<LifeId>,
        /// Barriers the author knew: they do not hide the new life.
        barriers_seen: Vec<Dot>,
        /// What the life is born with, and what it clears in the object's other lives.
        edit: Edit,
    },
    /// Changes the content of one life. What it adds is void when that life is dead; what it clears still goes.
    Edit {
        /// The life that gains what is added.
        life: LifeId,
        /// Extends the life's idle deadline to at least this.
        idle: Option<UnixMillis>,
        /// The change.
        edit: Edit,
    },
    /// Extends the idle deadlines of lives to at least `idle`.
    Touch {
        /// The lives.
        lives: Vec<LifeId>,
        /// The deadline.
        idle: UnixMillis,
    },
    /// Ends lives, with all that is in them, seen or not.
    Destroy {
        /// The lives.
        lives: Vec<LifeId>,
        /// What goes besides, from lives that do not end.
        removal: Removal,
    },
    /// Hides every life created up to `until` by an author who had not seen this barrier.
    Barrier {
        /// The latest creation that is hidden.
        until: Hlc,
    },
    /// Removes barriers.
    Unbarrier {
        /// The barriers.
        barriers: Vec<Dot>,
    },
    /// Makes one accumulator of several whose owners are over. Changes nothing that anybody can see.
    Fold(Box<Fold>),
}

impl Action {
    /// Whether it covers what was counted: resets leave residue.
    pub(crate) fn covers(&self) -> bool {
        match self {
            Self::Create { edit, .. } | Self::Edit { edit, .. } => !edit.removal.covers.is_empty(),
            Self::Destroy { removal, .. } => !removal.covers.is_empty(),
            Self::Touch { .. } | Self::Barrier { .. } | Self::Unbarrier { .. } | Self::Fold(_) => false,
        }
    }

    /// Paths at which an operation of this name starts an accumulator, and their life.
    pub(crate) fn starts_counting(&self, dot: Dot) -> impl Iterator<Item = (LifeId, &Path)> {
        let counted = match self {
            Self::Create { edit, .. } => Some((dot, &edit.increments)),
            Self::Edit { life, edit, .. } => Some((*life, &edit.increments)),
            _ => None,
        };
        counted.into_iter().flat_map(move |(life, increments)| {
            let started = increments.iter().filter(move |increment| increment.accumulator == dot);
            started.map(move |increment| (life, &increment.path))
        })
    }
}

/// The two deadlines of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The idle deadline; of several, the latest counts.
    pub idle: UnixMillis,
    /// The absolute deadline; of several, the earliest counts.
    pub absolute: UnixMillis,
}

impl Lease {
    /// Never ends.
    pub const FOREVER: Self = Self { idle: UnixMillis::NEVER, absolute: UnixMillis::NEVER };

    /// The moment at which it ends if nothing extends it.
    #[must_use]
    pub fn ends(&self) -> UnixMillis {
        self.idle.min(self.absolute)
    }
}

/// What an operation takes away and adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// What goes first.
    pub removal: Removal,
    /// What is written then.
    pub puts: Vec<Put>,
    /// What is counted.
    pub increments: Vec<Increment>,
}

/// What an operation takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Where entries go.
    pub clears: Vec<Clear>,
    /// Which entries go there: per author, those up to this dot. At most one dot an author.
    pub seen: Vec<Dot>,
    /// Which increments go: what the author had seen of each accumulator.
    pub covers: Vec<Cover>,
}

impl Removal {
    /// Whether nothing goes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clears.is_empty() && self.covers.is_empty()
    }

    /// Whether the author had seen this entry among those it removes.
    #[must_use]
    pub fn saw(&self, dot: &Dot) -> bool {
        self.seen.iter().any(|seen| seen.actor == dot.actor && dot.counter <= seen.counter)
    }
}

/// A scope of removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clear {
    /// Everything at and below the path.
    Subtree(Path),
    /// At the path, everything but the object marker: the path is an object now, and a hidden value must not
    /// come back when it is empty (semantics finding 16).
    NonObject(Path),
    /// At the path, everything but accumulators and the register they stand on; and everything below.
    NonNumber {
        /// The path of the counter.
        path: Path,
        /// The register that the counter stands on.
        base: Option<Dot>,
    },
    /// At the path, everything but members; and everything below.
    NonSet(Path),
    /// One member of the set at the path.
    Member {
        /// The path of the set.
        path: Path,
        /// The member.
        member: Box<str>,
    },
}

impl Clear {
    /// The path at which the scope starts.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Subtree(path) | Self::NonObject(path) | Self::NonSet(path) => path,
            Self::NonNumber { path, .. } | Self::Member { path, .. } => path,
        }
    }
}

/// What an operation writes at one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The path.
    pub path: Path,
    /// What stands there now.
    pub content: Content,
}

/// What one entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// One JSON value that is not an object with members of its own.
    Register(JsonText),
    /// "This is an object", so that `{}` exists.
    Marker,
    /// A member of the set.
    Member(Box<str>),
}

/// Counts at one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// The path of the counter.
    pub path: Path,
    /// The accumulator, by the dot of its first increment; the operation's own dot where this starts one.
    pub accumulator: Dot,
    /// By how much.
    pub delta: i64,
    /// The accumulator's running total with it.
    pub total: i64,
}

/// What a reset had seen of one accumulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// The life that holds it.
    pub life: LifeId,
    /// The path of the counter.
    pub path: Path,
    /// The accumulator, by the dot of its first increment.
    pub accumulator: Dot,
    /// The sequence of the last increment seen.
    pub counted: u64,
    /// The running total there.
    pub total: i64,
}

/// Which accumulators at one path become one.
///
/// Whoever has not seen this covers all of them or none ([`crate::core::node`] folds nothing else), so the name of one
/// stands for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// The life that holds them.
    pub life: LifeId,
    /// The path of the counter.
    pub path: Path,
    /// The one that stays: the one with the latest stamp, so that the counter ranks as before.
    pub into: Dot,
    /// The sequence of its last increment. A reset that has seen that much of it has seen all of the others.
    pub counted: u64,
    /// Those that go.
    pub from: Vec<Folded>,
}

/// An accumulator that goes into another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// Its name.
    pub name: Dot,
    /// The sequence of its last increment.
    pub counted: u64,
    /// Its running total there.
    pub total: i64,
    /// What it adds to the counter.
    pub adds: i64,
}
