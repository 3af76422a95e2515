//! One shard: an operation-based CRDT under causal delivery, with a state-based merge as its fallback.
//!
//! Operations of one author apply in sequence, and only after everything its author had seen, so the clock has no
//! holes; an entry whose dot is within the clock and not in the store was removed. That is what makes tombstones
//! unnecessary, and it is why nothing may ever leave the store except by an operation (semantics finding 8).

mod ended;
mod memory;
mod outlook;
mod pending;
mod revisions;
mod state;
#[cfg(any(test, feature = "mutants"))]
mod tampered;

#[cfg(any(test, feature = "mutants"))]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crdts::CmRDT;

use self::ended::EndedLately;
use self::outlook::Outlook;
use self::pending::Pending;
pub(crate) use self::pending::{PENDING_BYTES_MAX, PENDING_MAX};
use self::revisions::Revisions;
pub use self::state::{MalformedState, Merged, ShardState};
use super::apply::Change;
use super::author::{Author, Composed, Times};
use super::command::{Lookup, Refusal, Revision, Write};
use super::counters::Counters;
use super::digest::{Ledger, clock_hash};
use super::fold::FOLD_MIN;
use super::identity::{Clock, Dot, Kind, ObjectId, ReplicaId, ShardId};
use super::log::Log;
use super::message::ShardDigest;
use super::mutant::{Mutants, Rule};
use super::object::Object;
use super::objects::Objects;
use super::op::{Action, Op};
use super::packed::{NewOp, PackedOp};
use super::past::Past;
use super::read;
use super::time::{Hlc, UnixMillis};

/// One shard of one node.
#[derive(Clone, Debug)]
pub struct Shard {
    id: ShardId,
    mutants: Mutants,
    clock: Clock,
    frontier: Counters,
    objects: Objects,
    log: Log,
    pending: Pending,
    /// What changed in the clock since the last own operation: the next one's `deps`.
    unnamed: Clock,
    ended: EndedLately,
    content_sum: u128,
    clock_sum: u64,
    content_bytes: u64,
    key_bytes: u64,
    /// The latest stamp of any operation applied here.
    latest: Hlc,
    /// Objects that hold covered accumulators, waiting to be collected.
    residue: BTreeSet<ObjectId>,
    /// Objects in which perhaps many have counted that are over.
    pub(super) crowded: BTreeSet<ObjectId>,
    pub(super) fold_min: usize,
    /// Something here has been folded: who does not know what that is cannot read its states, perhaps nor its log.
    pub(super) is_folded: bool,
    revisions: Revisions,
    outlook: Outlook,
    #[cfg(any(test, feature = "mutants"))]
    rebuilt: BTreeMap<ReplicaId, BTreeMap<ReplicaId, u64>>,
}

/// An operation that no honest node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedOp;

impl fmt::Display for MalformedOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation is malformed")
    }
}

impl std::error::Error for MalformedOp {}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(id: ShardId) -> Self {
        Self::with_mutants(id, Mutants::NONE)
    }

    /// An empty shard with rules switched off.
    #[must_use]
    pub fn with_mutants(id: ShardId, mutants: Mutants) -> Self {
        Self {
            id,
            mutants,
            clock: Clock::default(),
            frontier: Counters::default(),
            objects: Objects::default(),
            log: Log::default(),
            pending: Pending::default(),
            unnamed: Clock::default(),
            ended: EndedLately::default(),
            content_sum: 0,
            clock_sum: 0,
            content_bytes: 0,
            key_bytes: 0,
            latest: Hlc::default(),
            residue: BTreeSet::new(),
            crowded: BTreeSet::new(),
            fold_min: FOLD_MIN,
            is_folded: false,
            revisions: Revisions::default(),
            outlook: Outlook::NOTHING,
            #[cfg(any(test, feature = "mutants"))]
            rebuilt: BTreeMap::new(),
        }
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// How far it has got.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Stands for the clock and the content.
    #[must_use]
    pub fn digest(&self) -> ShardDigest {
        ShardDigest { clock_sum: self.clock_sum, content_sum: self.content_sum }
    }

    /// The digest computed anew from what is stored.
    #[must_use]
    pub fn recomputed_digest(&self) -> ShardDigest {
        let mut content_sum = 0u128;
        for stored in self.objects.iter() {
            content_sum = content_sum.wrapping_add(stored.object().sums(stored.hash()).content_sum);
        }
        let clock_sum =
            self.clock.iter().fold(0u64, |sum, dot| sum.wrapping_add(clock_hash(self.id.0, &dot)));
        ShardDigest { clock_sum, content_sum }
    }

    /// Maximal dots: whoever has applied these has applied everything that this shard has.
    pub fn frontier(&self) -> impl Iterator<Item = Dot> + '_ {
        self.frontier.iter().map(Dot::from)
    }

    /// Whether the operation of this dot has been applied, or counts as applied.
    #[must_use]
    pub fn has(&self, dot: &Dot) -> bool {
        dot.counter <= self.clock.get(&dot.actor)
    }

    /// The latest stamp of any operation applied here.
    #[must_use]
    pub fn latest(&self) -> Hlc {
        self.latest
    }

    /// Bytes of stored entries.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Objects by kind, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn objects_by_kind(&self) -> [u64; Kind::ALL.len()] {
        self.objects.len_by_kind()
    }

    /// Operations in the log and their bytes.
    #[must_use]
    pub fn log_size(&self) -> (usize, u64) {
        (self.log.len(), self.log.bytes())
    }

    /// Operations that wait for others.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What they take, roughly.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.pending.bytes()
    }

    /// Drops covered accumulators for which `goes` says, by owner and covering operation, that no message can still
    /// need them.
    pub(crate) fn collect_residue(&mut self, goes: impl Fn(ReplicaId, Option<&Dot>) -> bool) {
        for id in std::mem::take(&mut self.residue) {
            let mut ledger = Ledger::default();
            let object_hash = id.hash();
            let left = self.change(&id, |object, mutants| {
                let lives: Vec<Dot> = object.lives.iter().map(|life| life.id).collect();
                let mut change = Change { object, object_hash, ledger: &mut ledger, mutants };
                for life in lives {
                    change.drop_covered(&life, &[], |record, accumulator| {
                        goes(record.dot.actor, accumulator.cover.as_ref())
                    });
                }
                object.has_residue()
            });
            self.book(&ledger);
            if left {
                self.residue.insert(id);
            }
        }
    }

    /// Drops a life under an unchanged clock: what must never happen. A mutant does it.
    pub(crate) fn purge(&mut self, id: &ObjectId, life: &Dot) {
        let mut ledger = Ledger::default();
        let object_hash = id.hash();
        self.change(id, |object, _| object.end_life(life, object_hash, &mut ledger));
        self.book(&ledger);
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Whether nothing of this process is in the log any more.
    pub(crate) fn has_dropped_all_of(&self, id: ReplicaId) -> bool {
        self.log.has_dropped(&Dot::new(id, self.clock.get(&id)))
    }

    /// What is over need not be named. Changes nothing that anybody can see.
    pub(crate) fn lean_on(&mut self, past: &Arc<Past>) {
        self.clock.lean_on(past, self.id);
        self.unnamed.lean_on(past, self.id);
        self.log.lean_on(past, self.id);
    }

    /// Ids that are named here one by one, in each of the clocks.
    #[cfg(test)]
    pub(crate) fn named(&self) -> [usize; 3] {
        [self.clock.named(), self.unnamed.named(), self.log.named()]
    }

    /// A new process takes over this content under a new replica id: its first operation names the whole clock.
    pub fn start_life(&mut self) {
        self.unnamed = self.clock.clone();
        self.pending.clear();
    }

    /// A shard as it was saved.
    ///
    /// # Errors
    /// The state is none that [`Shard::state`] gives for this shard: it is not whole.
    pub fn from_state(id: ShardId, state: ShardState) -> Result<Self, MalformedState> {
        let mut shard = Self::new(id);
        shard.adopt(state)?;
        Ok(shard)
    }

    /// What a reader finds.
    #[must_use]
    pub fn look_up(&self, id: &ObjectId, now: UnixMillis) -> Lookup {
        match self.objects.get(id).map(|object| read::look_up(id.kind, &object, now)) {
            None | Some(Lookup::Unknown) if self.ended.contains(id.hash()) => Lookup::Ended,
            None => Lookup::Unknown,
            Some(found) => found,
        }
    }

    /// The state that a reader of the object with this hash finds now.
    #[must_use]
    pub fn revision(&self, object_hash: u64) -> Revision {
        self.revisions.of(object_hash)
    }

    /// Turns a write into the one operation that does it; `None` inside where there is nothing to do.
    pub(crate) fn compose(
        &self,
        me: ReplicaId,
        hlc: Hlc,
        time: impl Into<Times>,
        session_lifetime_millis: Option<u64>,
        write: &Write,
    ) -> Result<Composed, Refusal> {
        let object = self.objects.get(&write.object).unwrap_or_default();
        let object_hash = write.object.hash();
        Author {
            object: &object,
            object_hash,
            dot: self.next_dot(me),
            hlc,
            time: time.into(),
            ended_lately: self.ended.contains(object_hash),
            within: &|dot| self.has(dot),
            session_lifetime_millis,
            mutants: self.mutants,
        }
        .compose(write)
    }

    fn next_dot(&self, me: ReplicaId) -> Dot {
        Dot::new(me, self.clock.get(&me) + 1)
    }

    /// Makes the next operation of this process, applies it and logs it.
    pub fn author(&mut self, me: ReplicaId, hlc: Hlc, object: ObjectId, action: Action) -> NewOp {
        let deps = std::mem::take(&mut self.unnamed);
        let deps = deps.iter().filter(|dot| dot.actor != me).collect();
        let op = NewOp::of(Arc::new(Op { dot: self.next_dot(me), deps, hlc, object, action }));
        self.apply_op(&op);
        op
    }

    /// Takes an operation from a peer: applies it and whatever it was holding up. Gives what was applied.
    pub fn receive(&mut self, new: NewOp) -> Vec<NewOp> {
        let op = &new.op;
        if self.has(&op.dot) || self.validate_op(op).is_err() || self.clock.has_no_room_for(&op.dot.actor) {
            return Vec::new();
        }
        if !self.is_deliverable(op) {
            self.pending.insert(new);
            return Vec::new();
        }
        self.apply_op(&new);
        self.unnamed.raise(new.op.dot);
        let mut applied = vec![new];
        self.drain(&mut applied);
        applied
    }

    fn is_deliverable(&self, op: &Op) -> bool {
        self.clock.get(&op.dot.actor) + 1 == op.dot.counter
            && (op.deps.iter().all(|dot| self.has(dot)) || self.mutants.lacks(Rule::NoCausality))
    }

    fn drain(&mut self, applied: &mut Vec<NewOp>) {
        while !self.pending.is_empty() {
            let mut pending = std::mem::take(&mut self.pending);
            let ready = pending.ready(&self.clock, |new| self.is_deliverable(&new.op));
            self.pending = pending;
            if ready.is_empty() {
                return;
            }
            for op in ready {
                self.apply_op(&op);
                self.unnamed.raise(op.op.dot);
                applied.push(op);
            }
        }
    }

    fn apply_op(&mut self, new: &NewOp) {
        let op = &new.op;
        self.mutate(op);
        self.raise(op.dot);
        self.latest = self.latest.max(op.hlc);
        if op.action.covers() {
            self.residue.insert(op.object.clone());
        }
        self.note_counting(&op.object, op.dot, &op.action);
        for dep in &op.deps {
            if self.frontier.get(&dep.actor).is_some_and(|counter| counter <= dep.counter) {
                self.frontier.remove(&dep.actor);
            }
        }
        self.frontier.insert(op.dot.actor, op.dot.counter);
        self.log.push(&new.bytes);
    }

    fn raise(&mut self, dot: Dot) {
        let old = Dot::new(dot.actor, self.clock.get(&dot.actor));
        if old.counter > 0 {
            self.clock_sum = self.clock_sum.wrapping_sub(clock_hash(self.id.0, &old));
        }
        self.clock_sum = self.clock_sum.wrapping_add(clock_hash(self.id.0, &dot));
        self.clock.raise(dot);
    }

    /// These come from elsewhere, in the order of ids: one's own next operation names them.
    fn raise_all(&mut self, dots: &[Dot]) {
        for dot in dots {
            let old = Dot::new(dot.actor, self.clock.get(&dot.actor));
            let before = if old.counter > 0 { clock_hash(self.id.0, &old) } else { 0 };
            let after = clock_hash(self.id.0, dot);
            self.clock_sum = self.clock_sum.wrapping_sub(before).wrapping_add(after);
        }
        self.clock.raise_all(dots.iter().copied());
        self.unnamed.raise_all(dots.iter().copied());
    }

    fn mutate(&mut self, op: &Arc<Op>) {
        #[cfg(any(test, feature = "mutants"))]
        let naive = self.with_rebuilt_sight(op);
        #[cfg(any(test, feature = "mutants"))]
        let op = naive.as_ref().unwrap_or(op);
        let mut ledger = Ledger::default();
        let object_hash = op.object.hash();
        let ended = self.change(&op.object, |object, mutants| {
            Change { object, object_hash, ledger: &mut ledger, mutants }.apply(op)
        });
        self.book(&ledger);
        if ended {
            self.ended.remember(object_hash);
        }
    }

    /// Changes one object, and keeps what is known of all of them right.
    pub(crate) fn change<R>(
        &mut self,
        id: &ObjectId,
        change: impl FnOnce(&mut Object<'_>, Mutants) -> R,
    ) -> R {
        self.revisions.changed(id.hash());
        let (before, mutants, outlook) = (self.objects.len(), self.mutants, &mut self.outlook);
        let result = self.objects.change(id, |object| {
            let result = change(object, mutants);
            outlook.note(object);
            result
        });
        let more = self.objects.len() as i64 - before as i64;
        self.key_bytes = self.key_bytes.saturating_add_signed(more * id.key.len() as i64);
        result
    }

    pub(crate) fn book(&mut self, ledger: &Ledger) {
        self.content_sum = self.content_sum.wrapping_add(ledger.content_sum);
        self.content_bytes = self.content_bytes.saturating_add_signed(ledger.bytes);
    }

    /// Operations that `clock` lacks, oldest first; `None` when the log does not reach back.
    #[must_use]
    pub fn missing(&self, clock: &Clock) -> Option<Vec<PackedOp>> {
        self.log.missing(&self.clock, clock)
    }

    /// The same, read.
    #[must_use]
    pub fn missing_ops(&self, clock: &Clock) -> Option<Vec<Arc<Op>>> {
        let missing = self.missing(clock)?;
        Some(missing.into_iter().filter_map(PackedOp::open).map(|new| new.op).collect())
    }

    /// What is logged here and a clock lacks, however far back the log reaches.
    pub(crate) fn logged_beyond(&self, clock: &Clock) -> Vec<Arc<Op>> {
        self.log.beyond(clock).filter_map(PackedOp::open).map(|new| new.op).collect()
    }

    /// Drops operations of this author that wait for others.
    pub(crate) fn drop_pending_of(&mut self, author: ReplicaId) {
        self.pending.drop_of(author);
    }

    /// Drops the oldest operations of the log until it fits.
    pub fn bound_log(&mut self, bytes_max: u64) {
        while self.log.bytes() > bytes_max {
            self.log.pop_front();
        }
    }

    /// Drops the oldest operations of the log until it fits, and then those for which `unneeded` says so.
    pub fn truncate_log(&mut self, bytes_max: u64, unneeded: impl Fn(&Dot) -> bool) {
        self.bound_log(bytes_max);
        while self.log.front().is_some_and(|dot| unneeded(&dot)) {
            self.log.pop_front();
        }
    }
}

impl CmRDT for Shard {
    type Op = Arc<Op>;
    type Validation = MalformedOp;

    fn validate_op(&self, op: &Self::Op) -> Result<(), MalformedOp> {
        let named = op.dot.counter > 0 && op.dot.actor != ReplicaId::NOBODY;
        if named && op.object.shard() == self.id { Ok(()) } else { Err(MalformedOp) }
    }

    fn apply(&mut self, op: Self::Op) {
        self.receive(NewOp::of(op));
    }
}

#[cfg(test)]
#[path = "shard/tests.rs"]
mod tests;
