//! From what a user asks to the one operation that does it.
//!
//! An author names exactly what it removes (the scopes, and per author the highest dot among the entries in them
//! that it has stored), and clears the losing shapes at, above and below a path, so that on its own node the
//! result is what RFC 7396 says and a hidden shape never comes back (semantics finding 16).

use super::command::{Change, Precondition, Refusal, Write};
use super::draft::{Draft, Ground};
use super::identity::{Dot, Kind, LifeId, UNLEASED};
use super::limits::{BODY_BYTES_MAX, DRIFT_MILLIS_MAX, SET_BYTES_MAX, TTL_MILLIS_DEFAULT};
use super::mutant::{Mutants, Rule};
use super::object::{Life, Object};
use super::op::{Action, Clear, Edit, Lease};
use super::path::Path;
use super::read;
use super::time::{Hlc, UnixMillis};
use super::value::Tree;

/// The longest a stored deadline runs past the one that was asked for, in milliseconds.
const SLACK_MILLIS_MAX: u64 = 60_000;

/// Bytes that a counter takes in store besides its path, roughly.
const COUNTER_BYTES: usize = 40;

/// What an author knows when it writes.
pub(crate) struct Author<'a> {
    pub(crate) object: &'a Object<'a>,
    pub(crate) object_hash: u64,
    /// The dot the operation will have.
    pub(crate) dot: Dot,
    /// The stamp it will have.
    pub(crate) hlc: Hlc,
    pub(crate) time: Times,
    /// A life of this object ended lately.
    pub(crate) ended_lately: bool,
    /// Whether an operation has been applied here.
    pub(crate) within: &'a dyn Fn(&Dot) -> bool,
    pub(crate) session_lifetime_millis: Option<u64>,
    pub(crate) mutants: Mutants,
}

/// What a node takes for the time, which are two where it has reason to doubt its clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// What has ended by now has ended.
    pub(crate) now: UnixMillis,
    /// Leases run from here, not earlier than `now`: no life may end before its time.
    pub(crate) leases_from: UnixMillis,
}

impl From<UnixMillis> for Times {
    fn from(now: UnixMillis) -> Self {
        Self { now, leases_from: now }
    }
}

/// The operation to author, if there is anything to do.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) action: Option<Action>,
    /// Nothing was visible before.
    pub(crate) created: bool,
    /// The life that counts and how long it lasts, where it is known already that the action leaves both as they are.
    pub(crate) standing: Option<(Option<LifeId>, Option<u64>)>,
}

impl Composed {
    const NOTHING: Self = Self { action: None, created: false, standing: None };

    fn change(action: Action) -> Self {
        Self { action: Some(action), ..Self::NOTHING }
    }
}

impl Author<'_> {
    /// Turns a write into one operation, or says why it cannot be done. Changes nothing.
    pub(crate) fn compose(&self, write: &Write) -> Result<Composed, Refusal> {
        let visible = self.object.visible(self.time.now);
        self.check_life(write.life.as_ref(), &visible)?;
        self.check_precondition(write, &visible)?;
        let mut composed = match &write.change {
            Change::Put(tree) => self.put(write, &visible, tree)?,
            Change::MergePatch(_) | Change::Ops(_) => self.patch(write, &visible)?,
            Change::Touch => self.touch(write, &visible)?,
            Change::Destroy => self.destroy(write, &visible),
        };
        self.check_size(write.object.kind, composed.action.as_ref())?;
        composed.standing = self.standing_after(composed.action.as_ref(), &visible);
        Ok(composed)
    }

    /// An edit that extends no deadline leaves lives as they are, where none is without a lease.
    fn standing_after(
        &self,
        action: Option<&Action>,
        visible: &[&Life<'_>],
    ) -> Option<(Option<LifeId>, Option<u64>)> {
        let stays = matches!(action, Some(Action::Edit { idle: None, .. }))
            && self.object.lives.iter().all(Life::is_leased);
        stays.then(|| read::standing_of(visible, self.time.now))
    }

    fn check_life(&self, life: Option<&LifeId>, visible: &[&Life<'_>]) -> Result<(), Refusal> {
        match life {
            Some(life) if visible.iter().any(|known| known.id == *life) => Ok(()),
            Some(life) if (self.within)(life) || self.ended() => Err(Refusal::Ended),
            Some(_) => Err(Refusal::Unknown),
            None => Ok(()),
        }
    }

    /// Something of this name is known to have ended.
    fn ended(&self) -> bool {
        self.ended_lately
            || self.object.barriers.is_some()
            || self.object.lives.iter().any(|life| !self.object.sees(life, self.time.now))
    }

    fn missing(&self) -> Refusal {
        if self.ended() { Refusal::Ended } else { Refusal::Unknown }
    }

    fn check_precondition(&self, write: &Write, visible: &[&Life<'_>]) -> Result<(), Refusal> {
        let tag = || match read::look_up(write.object.kind, self.object, self.time.now) {
            super::command::Lookup::Found(view) => Some(view.tag),
            _ => None,
        };
        match &write.precondition {
            Precondition::None => Ok(()),
            Precondition::Absent if tag().is_some() => Err(Refusal::PreconditionFailed),
            // An id is used once; the name of a document is used again.
            Precondition::Absent if write.object.kind == Kind::Session && self.ended() => Err(Refusal::Ended),
            Precondition::Absent => Ok(()),
            Precondition::Live | Precondition::Matches(_) if visible.is_empty() => Err(self.missing()),
            Precondition::Live => tag().map(drop).ok_or_else(|| self.missing()),
            Precondition::Matches(tags) => match tag() {
                Some(tag) if tags.contains(&tag) => Ok(()),
                _ => Err(Refusal::PreconditionFailed),
            },
            Precondition::Differs(tags) => match tag() {
                Some(tag) if tags.contains(&tag) => Err(Refusal::PreconditionFailed),
                _ => Ok(()),
            },
        }
    }

    /// A leased life is wanted: always for a session, for a document where a lease is asked for.
    fn wants_lease(&self, write: &Write) -> bool {
        match write.object.kind {
            Kind::Session => true,
            Kind::Document => write.ttl_millis.is_some(),
            Kind::Counter | Kind::Set => false,
        }
    }

    fn put(&self, write: &Write, visible: &[&Life<'_>], tree: &Tree) -> Result<Composed, Refusal> {
        if !matches!(write.object.kind, Kind::Session | Kind::Document) || !matches!(tree, Tree::Object(_)) {
            return Err(Refusal::WrongKind);
        }
        let exists = read::exists(write.object.kind, visible);
        let target = self.target(write, visible);
        let mut draft = self.draft(visible, target);
        draft.replace(tree, target == UNLEASED);
        let fresh = target == self.dot;
        let action = self.finish(write, visible, draft, fresh);
        Ok(Composed { action, created: !exists, standing: None })
    }

    /// Where new entries go: the life that is named, the greatest visible one, or one that this write makes.
    fn target(&self, write: &Write, visible: &[&Life<'_>]) -> LifeId {
        if let Some(life) = write.life {
            return life;
        }
        match newest_leased(visible) {
            Some(_) if self.mutants.lacks(Rule::PutNew) && matches!(write.change, Change::Put(_)) => self.dot,
            Some(life) => life,
            None if self.wants_lease(write) => self.dot,
            None => UNLEASED,
        }
    }

    fn patch(&self, write: &Write, visible: &[&Life<'_>]) -> Result<Composed, Refusal> {
        let kind = write.object.kind;
        let exists = read::exists(kind, visible);
        if kind == Kind::Session && visible.is_empty() {
            return Err(self.missing());
        }
        let target = if exists { self.target_of_patch(write, visible)? } else { self.target(write, visible) };
        let mut draft = self.draft(visible, target);
        if kind == Kind::Document && target == UNLEASED {
            draft.mark(&Path::ROOT);
        }
        match &write.change {
            Change::MergePatch(Tree::Object(members)) if matches!(kind, Kind::Session | Kind::Document) => {
                draft.merge_patch(members);
            }
            Change::Ops(ops) => draft.path_ops(kind, ops)?,
            _ => return Err(Refusal::WrongKind),
        }
        let fresh = target == self.dot;
        let action = self.finish(write, visible, draft, fresh);
        Ok(Composed { action, created: !exists, standing: None })
    }

    /// A patch stays in the life it finds: it never gives a lease to what has none.
    fn target_of_patch(&self, write: &Write, visible: &[&Life<'_>]) -> Result<LifeId, Refusal> {
        let new = if write.object.kind == Kind::Session { self.dot } else { UNLEASED };
        let target = write.life.or(newest_leased(visible)).unwrap_or(new);
        if target == UNLEASED && write.ttl_millis.is_some() { Err(Refusal::WrongKind) } else { Ok(target) }
    }

    fn draft<'b>(&'b self, visible: &[&'b Life<'b>], target: LifeId) -> Draft<'b> {
        let ground = Ground {
            object: self.object,
            object_hash: self.object_hash,
            dot: self.dot,
            hlc: self.hlc,
            now: self.time.now,
            mutants: self.mutants,
        };
        Draft::new(ground, visible.into(), target)
    }

    fn finish(&self, write: &Write, visible: &[&Life<'_>], draft: Draft<'_>, fresh: bool) -> Option<Action> {
        let target = draft.target();
        let edit = draft.finish();
        if fresh {
            return Some(self.create(write, visible, edit));
        }
        let idle = visible
            .iter()
            .find(|life| life.id == target && life.is_leased())
            .and_then(|life| self.extension(life, write.ttl_millis?));
        let changes = idle.is_some() || edit != Edit::default();
        changes.then_some(Action::Edit { life: target, idle, edit })
    }

    fn create(&self, write: &Write, visible: &[&Life<'_>], edit: Edit) -> Action {
        let ttl = write.ttl_millis.unwrap_or(TTL_MILLIS_DEFAULT);
        let absolute = match (write.object.kind, self.session_lifetime_millis) {
            (Kind::Session, Some(lifetime)) => self.time.leases_from.plus(lifetime),
            _ => UnixMillis::NEVER,
        };
        let seen = |life: &&Life<'_>| visible.iter().any(|known| known.id == life.id);
        let replaces = self.mutants.lacks(Rule::PutNew);
        Action::Create {
            lease: Lease { idle: self.padded(ttl), absolute },
            kills: self
                .object
                .lives
                .iter()
                .filter(|life| life.is_leased() && (replaces || !seen(life)))
                .map(|life| life.id)
                .collect(),
            barriers_seen: self.object.barriers().iter().map(|(barrier, _)| *barrier).collect(),
            edit,
        }
    }

    fn padded(&self, ttl_millis: u64) -> UnixMillis {
        self.time.leases_from.plus(ttl_millis).plus((ttl_millis / 16).min(SLACK_MILLIS_MAX))
    }

    /// The deadline to write so that the life lasts `ttl_millis` from now; `None` where it does so already.
    fn extension(&self, life: &Life<'_>, ttl_millis: u64) -> Option<UnixMillis> {
        (life.lease.idle < self.time.leases_from.plus(ttl_millis)).then(|| self.padded(ttl_millis))
    }

    fn touch(&self, write: &Write, visible: &[&Life<'_>]) -> Result<Composed, Refusal> {
        let ttl = write.ttl_millis.unwrap_or(TTL_MILLIS_DEFAULT);
        let leased: Vec<&&Life<'_>> = visible.iter().filter(|life| life.is_leased()).collect();
        if leased.is_empty() {
            return Err(if visible.is_empty() { self.missing() } else { Refusal::WrongKind });
        }
        if leased.iter().all(|life| self.extension(life, ttl).is_none()) {
            return Ok(Composed::NOTHING);
        }
        let lives = leased.iter().map(|life| life.id).collect();
        Ok(Composed::change(Action::Touch { lives, idle: self.padded(ttl) }))
    }

    /// Where a session is to be seen, its lives end. Where it is not, a life may be on its way from a node that the
    /// caller has heard of and this one has not: a barrier waits for it (semantics finding 3).
    fn destroy(&self, write: &Write, visible: &[&Life<'_>]) -> Composed {
        if write.object.kind == Kind::Session && visible.is_empty() {
            let until = self.hlc.wall().max(self.time.leases_from).plus(2 * DRIFT_MILLIS_MAX);
            return match self.mutants.lacks(Rule::NoBarrier) {
                true => Composed::NOTHING,
                false => Composed::change(Action::Barrier { until: Hlc::end_of(until) }),
            };
        }
        let mut draft = self.draft(visible, UNLEASED);
        draft.clear(Clear::Subtree(Path::ROOT));
        let leased: Vec<LifeId> =
            self.object.lives.iter().filter(|life| life.is_leased()).map(|life| life.id).collect();
        if !leased.is_empty() {
            let removal = draft.finish_outside_leases();
            return Composed::change(Action::Destroy { lives: leased, removal });
        }
        let edit = draft.finish();
        match edit == Edit::default() {
            true => Composed::NOTHING,
            false => Composed::change(Action::Edit { life: UNLEASED, idle: None, edit }),
        }
    }

    /// Limits are checked by authors only: what was admitted once applies everywhere.
    fn check_size(&self, kind: Kind, action: Option<&Action>) -> Result<(), Refusal> {
        let Some(Action::Create { edit, .. } | Action::Edit { edit, .. }) = action else { return Ok(()) };
        let started = edit.increments.iter().filter(|increment| increment.accumulator == self.dot);
        let counters: usize = started.map(|increment| increment.path.len() + COUNTER_BYTES).sum();
        if edit.puts.is_empty() && counters == 0 {
            return Ok(());
        }
        let replaced = edit.removal.clears.contains(&Clear::Subtree(Path::ROOT));
        let stored: usize = match replaced {
            true => 0,
            false => self.object.lives.iter().map(|life| life.records.bytes()).sum(),
        };
        let added: usize = counters + edit.puts.iter().map(|put| put.bytes()).sum::<usize>();
        let limit = if kind == Kind::Set { SET_BYTES_MAX } else { 4 * BODY_BYTES_MAX };
        if stored + added > limit { Err(Refusal::TooLarge) } else { Ok(()) }
    }
}

/// Of the lives that are seen, the one that counts.
fn newest_leased(visible: &[&Life<'_>]) -> Option<LifeId> {
    visible.iter().rev().find(|life| life.is_leased()).map(|life| life.id)
}
