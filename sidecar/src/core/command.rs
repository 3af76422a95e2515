//! What the local application can ask of its node, and what it is told: plain values, no behaviour.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::identity::{Dot, Kind, LifeId, ObjectId, Replica, ReplicaId, ShardId};
use super::path::Path;
use super::time::{Hlc, UnixMillis};
use super::token::Token;
use super::value::{JsonText, Tree};

/// A local write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The object.
    pub object: ObjectId,
    /// What to do with it.
    pub change: Change,
    /// Apply to this life only.
    pub life: Option<LifeId>,
    /// What must be true of the object.
    pub precondition: Precondition,
    /// The client's latest hybrid time: this write is stamped later.
    pub after: Option<Hlc>,
    /// How long a leased object lives on from now, in milliseconds. `None`: the default for a new session, no
    /// lease for a new document, the deadline as it is for what exists.
    pub ttl_millis: Option<u64>,
}

impl Write {
    /// An unconditional write.
    #[must_use]
    pub fn new(object: ObjectId, change: Change) -> Self {
        Self { object, change, life: None, precondition: Precondition::None, after: None, ttl_millis: None }
    }
}

/// What a write does.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates the object, or replaces what is visible of it inside its life.
    Put(Tree),
    /// JSON Merge Patch (RFC 7396). On a session: only a live one. On a document: creates it where there is none.
    MergePatch(Tree),
    /// Path operations, all or none, in order. Lives as with a merge patch.
    Ops(Vec<PathOp>),
    /// Extends the idle deadline.
    Touch,
    /// Destroys a leased object, clears an unleased one. A session that is unknown here is barred.
    Destroy,
}

/// One path operation.
#[derive(Clone, Debug, PartialEq)]
pub enum PathOp {
    /// Puts a value at the path; unlike a merge patch it can store a null.
    Set {
        /// Where.
        path: Path,
        /// What. Objects become trees.
        value: Tree,
    },
    /// Removes the path and everything below it.
    Unset {
        /// Where.
        path: Path,
    },
    /// Adds to the counter at the path.
    Increment {
        /// Where.
        path: Path,
        /// How much.
        by: i64,
    },
    /// Adds a member to the set at the path.
    Add {
        /// Where.
        path: Path,
        /// The member.
        member: Box<str>,
    },
    /// Removes a member from the set at the path.
    Remove {
        /// Where.
        path: Path,
        /// The member.
        member: Box<str>,
    },
}

/// What must be true of an object for a write to happen (RFC 9110 section 13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// `If-None-Match: *`: nothing lives under this name; of a session, nothing ever did as far as this node remembers.
    Absent,
    /// `If-Match: *`: it lives.
    Live,
    /// `If-Match` with entity tags of this node: its content is one of these.
    Matches(Vec<EntityTag>),
    /// `If-None-Match` with entity tags of this node: its content is none of these.
    Differs(Vec<EntityTag>),
}

/// Stands for the visible content of an object and its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag(pub u64);

/// What a read finds.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// It lives.
    Found(View),
    /// It was destroyed, or has expired.
    Ended,
    /// Nothing is known of it here.
    Unknown,
}

/// Stands for a state of an object at this node: what a reader keeps beside what it has read, to ask later whether it
/// still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Moves whenever the object changes, and sometimes when another one does.
    pub object: u64,
    /// Moves whenever anything in its shard does: a token is as old as this.
    pub shard: u64,
}

/// What a reader knows from an earlier read of the same object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The state it read.
    pub revision: Revision,
    /// [`View::stands`] of what it read.
    pub stands: Range<UnixMillis>,
}

/// What a read comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What is there now; `None` where the reader knows it.
    pub lookup: Option<Lookup>,
    /// Names at least what was read; `None` where the reader knows it.
    pub token: Option<Token>,
    /// The state that was read.
    pub revision: Revision,
    /// The node's time for deadlines.
    pub time: UnixMillis,
}

/// The visible state of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// JSON: an object for a session or document, an integer for a counter, a sorted array for a set.
    pub body: Bytes,
    /// Stands for the body and the life.
    pub tag: EntityTag,
    /// The life that new entries would go to; `None` for an unleased object.
    pub life: Option<LifeId>,
    /// Milliseconds until it expires; `None` for an unleased object.
    pub expires_in_millis: Option<u64>,
    /// Unless an operation changes it, it looks like this at these times: a life may end earlier than the object, and
    /// a clock that is corrected may go back.
    pub stands: Range<UnixMillis>,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object did not exist before.
    pub created: bool,
    /// Names this write, or, where nothing changed, the state it found.
    pub token: Token,
    /// The life it went to.
    pub life: Option<LifeId>,
    /// Milliseconds until the object expires.
    pub expires_in_millis: Option<u64>,
}

/// Why a write did not happen. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The disk is full: this node takes no writes.
    DiskFull,
    /// The disk fails: this node takes no writes.
    DiskFailing,
    /// Nothing is known here of a session that must exist. Ask the peers, then try again.
    Unknown,
    /// The object, or the life that the write names, was destroyed or has expired.
    Ended,
    /// The precondition does not hold.
    PreconditionFailed,
    /// A path operation does not fit what stands at the path.
    WrongShape {
        /// Which of the operations, from 0.
        at: usize,
        /// What stands there.
        found: Shape,
    },
    /// A count would leave 64 bits.
    Overflow {
        /// Which of the operations, from 0.
        at: usize,
    },
    /// The kind of object does not take this change, or the body's root has the wrong shape.
    WrongKind,
    /// The object would hold more than [`BODY_BYTES_MAX`](super::limits::BODY_BYTES_MAX) bytes.
    TooLarge,
    /// This node has not caught up with the cluster yet.
    NotReady,
    /// The state has reached its limit, and the write would make it grow.
    OutOfMemory,
}

/// Why a member is not given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptMember {
    /// This node has not caught up with the cluster yet, or leaves it.
    NotReady,
    /// No member has this name.
    Unknown,
    /// It is this node, or this node hears it.
    Alive,
}

/// What a reader sees at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A JSON value that is neither an object nor an integer.
    Value,
    /// An integer.
    Number,
    /// An object.
    Object,
    /// A set.
    Set,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "a value that is no integer",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::Set => "a set",
        })
    }
}

/// Something to wait for, until a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// Until this node has applied what the tokens name.
    Seen(Vec<Token>),
    /// Until a write is on this node's disk; ends at once where there is none.
    Saved(Token),
    /// Until members have applied a write. They are counted by node name, this node among them.
    Acks {
        /// The write.
        token: Token,
        /// How many.
        need: Acks,
    },
    /// Until every member that can be asked has told what it knows of the object, and this node has applied it.
    Asked(ObjectId),
}

/// How many members must have applied a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// This many.
    Count(usize),
    /// More than half of the roster, alive or not.
    Majority,
    /// The whole roster, alive or not.
    All,
}

/// Names a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(pub u64);

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The node has seen it all.
    Seen,
    /// The node could not catch up in time.
    Behind,
    /// How many members have applied the write, and how many were needed.
    Acks {
        /// Have.
        have: usize,
        /// Needed.
        need: usize,
    },
    /// The question is answered as far as it will be.
    Asked {
        /// Every member of the roster has answered: what is unknown here now is unknown everywhere.
        by_all: bool,
        /// A peer remembers that the object ended.
        ended: bool,
    },
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys in order.
    pub keys: Vec<Box<str>>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<Box<str>>,
}

/// One visible change, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its place in this process's journal.
    pub cursor: u64,
    /// What changed.
    pub object: ObjectId,
}

/// A stretch of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// What changed after the cursor, oldest first, each object once at its latest place.
    Since {
        /// The changes.
        changes: Vec<Changed>,
        /// Where to go on: everything up to here has been looked at.
        cursor: u64,
    },
    /// The journal no longer reaches back to the cursor.
    TooOld {
        /// A cursor that is good now: read the state, then go on from here.
        cursor: u64,
    },
}

/// Where everything that is stored of an object came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Its lives, those nobody can see among them.
    pub lives: Vec<LifeExplained>,
    /// Its barriers, and until when each hides.
    pub barriers: Vec<(Dot, UnixMillis)>,
}

/// One life of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct LifeExplained {
    /// Its name; `None` for the life of an unleased object.
    pub life: Option<LifeId>,
    /// Whether a reader sees it.
    pub state: LifeState,
    /// When it was created.
    pub created: Option<UnixMillis>,
    /// When it expires.
    pub expires: Option<UnixMillis>,
    /// What is in it.
    pub entries: Vec<EntryExplained>,
}

/// Whether a life is seen, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeState {
    /// Seen.
    Visible,
    /// Past its deadline.
    Expired,
    /// Behind a barrier: somebody destroyed the session before hearing of it.
    Hidden,
}

/// One stored entry.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryExplained {
    /// Where it stands.
    pub path: Path,
    /// What it holds.
    pub content: ContentExplained,
    /// The operation that wrote it.
    pub dot: Dot,
    /// The process that wrote it, where it is known.
    pub author: Option<Replica>,
    /// When it was written, by its author's clock.
    pub written: UnixMillis,
    /// Whether a reader sees it: if not, a concurrent sibling won.
    pub shown: bool,
    /// The nodes that have reported to have applied it, this one among them.
    pub acknowledged_by: Vec<String>,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentExplained {
    /// A value.
    Value(JsonText),
    /// "This is an object".
    Object,
    /// A member of a set.
    Member(Box<str>),
    /// What one replica has counted here and no reset has seen.
    Count(i64),
}

/// One sibling at a path: values that were written at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Sibling {
    /// The value.
    pub value: JsonText,
    /// The operation that wrote it.
    pub dot: Dot,
    /// When, by its author's clock.
    pub written: UnixMillis,
}

/// The values that were written to one path at once, the one that readers see first.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Where.
    pub path: Path,
    /// The values, the winner first.
    pub siblings: Vec<Sibling>,
}

/// This node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Who it is.
    pub replica: Replica,
    /// Whether it may serve.
    pub readiness: Readiness,
    /// What it holds.
    pub figures: Figures,
    /// Shards in which a peer with the same clock held different content.
    pub diverged: Vec<ShardId>,
    /// How far this node's clock is from the middle of the cluster, in milliseconds; positive is ahead.
    pub skew_millis: i64,
    /// By how much it corrects its own stamps.
    pub correction_millis: i64,
}

/// Whether a node may serve, and if not, what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It serves.
    Ready,
    /// It started without memory and looks for a member to take the state from.
    SeekingSponsor,
    /// The same; but those whom it is to join refuse it.
    Refused,
    /// It takes the state from a member.
    CatchingUp {
        /// Shards still to come.
        shards_left: usize,
    },
    /// Another process that bears its name is still a member, and heard by the others: it waits until that one is gone.
    NameInUse,
    /// It is leaving.
    Leaving,
}

/// Counts and sizes, for metrics and status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Objects by kind, in the order of [`Kind::ALL`].
    pub objects: [u64; Kind::ALL.len()],
    /// Bytes of stored entries.
    pub content_bytes: u64,
    /// Operations in the logs.
    pub log_ops: u64,
    /// Their bytes, estimated.
    pub log_bytes: u64,
    /// Operations that wait for others.
    pub pending_ops: u64,
    /// What they may be at most.
    pub pending_ops_max: u64,
    /// What they take, roughly.
    pub pending_bytes: u64,
    /// What they may take, over all shards.
    pub pending_bytes_max: u64,
    /// What the logs may take.
    pub log_bytes_max: u64,
    /// Estimated memory of the state.
    pub memory_bytes: u64,
    /// Its limit; 0: none.
    pub memory_bytes_max: u64,
    /// Writes refused at the limit.
    pub memory_refusals: u64,
    /// Operations written here.
    pub ops_authored: u64,
    /// Operations applied from peers.
    pub ops_applied: u64,
    /// Operations that had been applied before.
    pub ops_duplicate: u64,
    /// Shards taken over whole.
    pub states_merged: u64,
    /// Shards given whole.
    pub states_sent: u64,
    /// Questions put to peers.
    pub asks: u64,
    /// Questions not put, for their rate.
    pub asks_refused: u64,
    /// Mismatches between equal clocks.
    pub divergence_alarms: u64,
    /// Stamps that came from beyond the drift limit.
    pub skew_alarms: u64,
    /// Lives destroyed because they expired.
    pub expired: u64,
    /// Operations that made one accumulator of many.
    pub folds: u64,
    /// Members given up here.
    pub forgotten: u64,
    /// Replica ids that a clock of this node names itself, at most in one shard.
    pub clock_entries: u64,
    /// How many it may name of those and of the past together.
    pub clock_ids_max: u64,
    /// Times that a peer's clocks were not taken because they named too many.
    pub clocks_refused: u64,
    /// Processes that are over, and written down once for all clocks.
    pub past_processes: u64,
    /// Memory that this takes, in bytes, roughly.
    pub past_bytes: u64,
    /// Waits under way.
    pub waits: u64,
    /// The journal's latest place.
    pub changes: u64,
}

/// What this node knows of a member.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberStatus {
    /// The member's current process.
    pub replica: Replica,
    /// Whether it can be reached.
    pub state: MemberState,
    /// This is the node that answers.
    pub is_self: bool,
    /// Operations that this node has and the member has not reported to have.
    pub lag_ops: u64,
    /// For how long the member has lacked the oldest of them, in milliseconds.
    pub lag_millis: u64,
    /// The last measured round trip, in microseconds.
    pub round_trip_micros: Option<u64>,
    /// The member's wall clock less this node's, in milliseconds.
    pub clock_offset_millis: Option<i64>,
}

/// Whether a member can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// A link stands.
    Up,
    /// No link, but it gossips; or a link, and it does not gossip.
    Suspect,
    /// Neither.
    Down,
    /// It has left in order.
    Left,
}

/// Names a life in a header.
///
/// # Errors
/// `None` when the text is none that [`life_to_text`] makes.
#[must_use]
pub fn life_from_text(text: &str) -> Option<LifeId> {
    let (actor, counter) = text.split_once('-')?;
    if actor.len() != 16 || counter.starts_with('+') || actor.starts_with('+') {
        return None;
    }
    let actor = ReplicaId(u64::from_str_radix(actor, 16).ok()?);
    Some(Dot { actor, counter: counter.parse().ok()? })
}

/// A life as a header names it.
#[must_use]
pub fn life_to_text(life: &LifeId) -> String {
    format!("{}-{}", life.actor, life.counter)
}
