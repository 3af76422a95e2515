//! One shard: an operation-based CRDT under causal delivery, with a state-based merge as its fallback.
//!
//! Operations of one author apply in sequence, and only after everything its author had seen, so the clock has no
//! holes; an entry whose dot is within the clock and not in the store was removed. That is what makes tombstones
//! unnecessary, and it is why nothing may ever leave the store except by an operation (semantics finding 8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use crdts::{CmRDT, CvRDT};
use serde::{Deserialize, Serialize};

use super::apply::Change;
use super::author::{Author, Composed};
use super::command::{Lookup, Refusal, Write};
use super::digest::{Ledger, clock_hash};
use super::identity::{Clock, Dot, Kind, ObjectId, ReplicaId, ShardId, dot_order};
use super::log::Log;
use super::merge::Join;
use super::message::ShardDigest;
use super::mutant::{Mutants, Rule};
use super::object::Object;
use super::op::{Action, Op};
use super::read;
use super::time::{Hlc, UnixMillis};

/// Operations that may wait for others, per shard. More are dropped: comparison brings them again.
const PENDING_MAX: usize = 4_096;

/// Names of lately ended objects that a shard remembers.
const ENDED_MAX: usize = 512;

/// One shard of one node.
#[derive(Clone, Debug)]
pub struct Shard {
    id: ShardId,
    mutants: Mutants,
    clock: Clock,
    /// Replica ids that are forgotten, with their final sequence. (Filled by a protocol that is still to come.)
    retired: BTreeMap<ReplicaId, u64>,
    frontier: BTreeMap<ReplicaId, u64>,
    objects: BTreeMap<ObjectId, Object>,
    log: Log,
    pending: BTreeMap<(ReplicaId, u64), Arc<Op>>,
    /// What changed in the clock since the last own operation: the next one's `deps`.
    unnamed: BTreeMap<ReplicaId, u64>,
    ended: EndedLately,
    content_sum: u128,
    clock_sum: u64,
    content_bytes: u64,
    objects_by_kind: [u64; Kind::ALL.len()],
    /// The latest stamp of any operation applied here.
    latest: Hlc,
    /// Objects that hold covered accumulators, waiting to be collected.
    residue: BTreeSet<ObjectId>,
    #[cfg(any(test, feature = "mutants"))]
    rebuilt: BTreeMap<ReplicaId, BTreeMap<ReplicaId, u64>>,
}

/// A shard, whole, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    /// The shard.
    pub shard: ShardId,
    /// The clock it was read under.
    pub clock: Clock,
    /// Forgotten replica ids and their final sequences.
    retired: Vec<Dot>,
    frontier: Vec<Dot>,
    latest: Hlc,
    objects: Vec<(ObjectId, Object)>,
    content_sum: u128,
}

/// A state that no honest node sends: it does not parse, or its digest does not fit its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedState;

impl fmt::Display for MalformedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shard state is malformed")
    }
}

impl std::error::Error for MalformedState {}

/// An operation that no honest node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedOp;

impl fmt::Display for MalformedOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation is malformed")
    }
}

impl std::error::Error for MalformedOp {}

/// What a merge did.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// Objects whose content is another now.
    pub changed: Vec<ObjectId>,
    /// Authors whose operations came with it, and up to where.
    pub raised: Vec<Dot>,
    /// Operations that had waited for it.
    pub applied: Vec<Arc<Op>>,
}

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
            retired: BTreeMap::new(),
            frontier: BTreeMap::new(),
            objects: BTreeMap::new(),
            log: Log::default(),
            pending: BTreeMap::new(),
            unnamed: BTreeMap::new(),
            ended: EndedLately::default(),
            content_sum: 0,
            clock_sum: 0,
            content_bytes: 0,
            objects_by_kind: [0; Kind::ALL.len()],
            latest: Hlc::default(),
            residue: BTreeSet::new(),
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
        for (id, object) in &self.objects {
            content_sum = content_sum.wrapping_add(object.sums(id.hash()).content_sum);
        }
        let clock_sum = self.clock.dots.iter().fold(0u64, |sum, (actor, counter)| {
            sum.wrapping_add(clock_hash(self.id.0, &Dot::new(*actor, *counter)))
        });
        ShardDigest { clock_sum, content_sum }
    }

    /// Maximal dots: whoever has applied these has applied everything that this shard has.
    pub fn frontier(&self) -> impl Iterator<Item = Dot> + '_ {
        self.frontier.iter().map(|(actor, counter)| Dot::new(*actor, *counter))
    }

    /// Whether the operation of this dot has been applied, or counts as applied.
    #[must_use]
    pub fn has(&self, dot: &Dot) -> bool {
        dot.counter <= self.clock.get(&dot.actor)
            || self.retired.get(&dot.actor).is_some_and(|last| dot.counter <= *last)
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
        self.objects_by_kind
    }

    /// Operations in the log and their estimated bytes.
    #[must_use]
    pub fn log_size(&self) -> (usize, u64) {
        (self.log.len(), self.log.bytes())
    }

    /// Operations that wait for others.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
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

    pub(crate) fn objects(&self) -> &BTreeMap<ObjectId, Object> {
        &self.objects
    }

    /// A new process takes over this content under a new replica id: its first operation names the whole clock.
    pub fn start_life(&mut self) {
        self.unnamed = self.clock.dots.clone();
        self.pending.clear();
    }

    /// What a reader finds.
    #[must_use]
    pub fn look_up(&self, id: &ObjectId, now: UnixMillis) -> Lookup {
        match self.objects.get(id).map(|object| read::look_up(id.kind, object, now)) {
            None | Some(Lookup::Unknown) if self.ended.contains(id.hash()) => Lookup::Ended,
            None => Lookup::Unknown,
            Some(found) => found,
        }
    }

    /// Turns a write into the one operation that does it; `None` inside where there is nothing to do.
    pub(crate) fn compose(
        &self,
        me: ReplicaId,
        hlc: Hlc,
        now: UnixMillis,
        session_lifetime_millis: Option<u64>,
        write: &Write,
    ) -> Result<Composed, Refusal> {
        let vacant = Object::default();
        let object_hash = write.object.hash();
        Author {
            object: self.objects.get(&write.object).unwrap_or(&vacant),
            object_hash,
            dot: self.next_dot(me),
            hlc,
            now,
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
    pub fn author(&mut self, me: ReplicaId, hlc: Hlc, object: ObjectId, action: Action) -> Arc<Op> {
        let deps = std::mem::take(&mut self.unnamed);
        let deps = deps.into_iter().filter(|(actor, _)| *actor != me).map(Dot::from).collect();
        let op = Arc::new(Op { dot: self.next_dot(me), deps, hlc, object, action });
        self.apply_op(&op);
        self.unnamed.remove(&me);
        op
    }

    /// Takes an operation from a peer: applies it and whatever it was holding up. Gives what was applied.
    pub fn receive(&mut self, op: Arc<Op>) -> Vec<Arc<Op>> {
        if self.has(&op.dot) || self.retired.contains_key(&op.dot.actor) || self.validate_op(&op).is_err() {
            return Vec::new();
        }
        if !self.is_deliverable(&op) {
            if self.pending.len() < PENDING_MAX {
                self.pending.insert(dot_order(&op.dot), op);
            }
            return Vec::new();
        }
        self.apply_op(&op);
        let mut applied = vec![op];
        self.drain(&mut applied);
        applied
    }

    fn is_deliverable(&self, op: &Op) -> bool {
        self.clock.get(&op.dot.actor) + 1 == op.dot.counter
            && (op.deps.iter().all(|dot| self.has(dot)) || self.mutants.lacks(Rule::NoCausality))
    }

    fn drain(&mut self, applied: &mut Vec<Arc<Op>>) {
        loop {
            let clock = &self.clock;
            self.pending.retain(|(actor, counter), _| *counter > clock.get(actor));
            let ready: Vec<Arc<Op>> =
                self.pending.values().filter(|op| self.is_deliverable(op)).map(Arc::clone).collect();
            if ready.is_empty() {
                return;
            }
            for op in ready {
                self.apply_op(&op);
                applied.push(op);
            }
        }
    }

    fn apply_op(&mut self, op: &Arc<Op>) {
        self.mutate(op);
        self.raise(op.dot);
        self.latest = self.latest.max(op.hlc);
        if op.action.covers() {
            self.residue.insert(op.object.clone());
        }
        for dep in &op.deps {
            if self.frontier.get(&dep.actor).is_some_and(|counter| *counter <= dep.counter) {
                self.frontier.remove(&dep.actor);
            }
        }
        self.frontier.insert(op.dot.actor, op.dot.counter);
        self.log.push(Arc::clone(op));
    }

    fn raise(&mut self, dot: Dot) {
        let old = Dot::new(dot.actor, self.clock.get(&dot.actor));
        if old.counter > 0 {
            self.clock_sum = self.clock_sum.wrapping_sub(clock_hash(self.id.0, &old));
        }
        self.clock_sum = self.clock_sum.wrapping_add(clock_hash(self.id.0, &dot));
        self.clock.dots.insert(dot.actor, dot.counter);
        self.unnamed.insert(dot.actor, dot.counter);
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

    /// Changes one object, and keeps the count of objects right.
    pub(crate) fn change<R>(&mut self, id: &ObjectId, change: impl FnOnce(&mut Object, Mutants) -> R) -> R {
        let kind = id.kind as usize;
        if let Some(object) = self.objects.get_mut(id) {
            let result = change(object, self.mutants);
            if object.is_vacant() {
                self.objects.remove(id);
                self.objects_by_kind[kind] -= 1;
            }
            return result;
        }
        let mut object = Object::default();
        let result = change(&mut object, self.mutants);
        if !object.is_vacant() {
            self.objects.insert(id.clone(), object);
            self.objects_by_kind[kind] += 1;
        }
        result
    }

    pub(crate) fn book(&mut self, ledger: &Ledger) {
        self.content_sum = self.content_sum.wrapping_add(ledger.content_sum);
        self.content_bytes = self.content_bytes.saturating_add_signed(ledger.bytes);
    }

    /// Operations that `clock` lacks, oldest first; `None` when the log does not reach back.
    #[must_use]
    pub fn missing(&self, clock: &Clock) -> Option<Vec<Arc<Op>>> {
        self.log.missing(&self.clock, clock)
    }

    /// Drops the oldest operations of the log until it fits, and then those for which `unneeded` says so.
    pub fn truncate_log(&mut self, bytes_max: u64, unneeded: impl Fn(&Dot) -> bool) {
        while self.log.bytes() > bytes_max || self.log.front().is_some_and(|op| unneeded(&op.dot)) {
            self.log.pop_front();
        }
    }

    /// The whole shard as it travels.
    #[must_use]
    pub fn state(&self) -> ShardState {
        ShardState {
            shard: self.id,
            clock: self.clock.clone(),
            retired: self.retired.iter().map(|(actor, counter)| Dot::new(*actor, *counter)).collect(),
            frontier: self.frontier().collect(),
            latest: self.latest,
            objects: self.objects.iter().map(|(id, object)| (id.clone(), object.clone())).collect(),
            content_sum: self.content_sum,
        }
    }

    /// Joins this shard with another's state: all of it or nothing.
    ///
    /// # Errors
    /// When the state is not one that an honest node sends.
    pub fn merge_state(&mut self, state: ShardState) -> Result<Merged, MalformedState> {
        if state.shard != self.id || !state.is_sound() {
            return Err(MalformedState);
        }
        let mut merged = Merged::default();
        let theirs: BTreeMap<ReplicaId, u64> =
            state.retired.iter().map(|dot| (dot.actor, dot.counter)).collect();
        let they_have = |dot: &Dot| {
            dot.counter <= state.clock.get(&dot.actor)
                || theirs.get(&dot.actor).is_some_and(|last| dot.counter <= *last)
        };
        self.merge_objects(state.objects, &they_have, &mut merged);
        self.merge_frontier(&state.frontier, &they_have);
        self.latest = self.latest.max(state.latest);
        for (actor, counter) in &state.clock.dots {
            if *counter > self.clock.get(actor) && !self.retired.contains_key(actor) {
                merged.raised.push(Dot::new(*actor, *counter));
            }
        }
        for dot in &merged.raised {
            self.raise(*dot);
        }
        if !self.mutants.lacks(Rule::LogKeepsHole) {
            self.log.restart(&merged.raised);
        }
        #[cfg(any(test, feature = "mutants"))]
        for dot in &merged.raised {
            self.rebuilt.remove(&dot.actor);
        }
        self.drain(&mut merged.applied);
        Ok(merged)
    }

    fn merge_objects(
        &mut self,
        theirs: Vec<(ObjectId, Object)>,
        they_have: &dyn Fn(&Dot) -> bool,
        merged: &mut Merged,
    ) {
        let mut theirs: BTreeMap<ObjectId, Object> = theirs.into_iter().collect();
        let ours = std::mem::take(&mut self.objects);
        self.objects_by_kind = [0; Kind::ALL.len()];
        let mut joined = BTreeMap::new();
        for (id, object) in ours {
            let other = theirs.remove(&id).unwrap_or_default();
            let result = self.join_object(&id, &object, &other, they_have, merged);
            joined.extend(result.map(|object| (id, object)));
        }
        for (id, other) in theirs {
            let result = self.join_object(&id, &Object::default(), &other, they_have, merged);
            joined.extend(result.map(|object| (id, object)));
        }
        for id in joined.keys() {
            self.objects_by_kind[id.kind as usize] += 1;
        }
        self.objects = joined;
    }

    fn join_object(
        &mut self,
        id: &ObjectId,
        ours: &Object,
        theirs: &Object,
        they_have: &dyn Fn(&Dot) -> bool,
        merged: &mut Merged,
    ) -> Option<Object> {
        let join = Join { ours: &|dot| self.has(dot), theirs: they_have, mutants: self.mutants };
        let joined = join.objects(ours, theirs);
        if joined != *ours {
            let hash = id.hash();
            let (before, after) = (ours.sums(hash), joined.sums(hash));
            self.book(&Ledger { content_sum: after.content_sum, bytes: after.bytes });
            self.book(&Ledger { content_sum: before.content_sum.wrapping_neg(), bytes: -before.bytes });
            let gone = |object: &Object| object.lives.iter().any(|life| joined.life(&life.id).is_none());
            if gone(ours) || gone(theirs) {
                self.ended.remember(hash);
            }
            merged.changed.push(id.clone());
            if joined.has_residue() {
                self.residue.insert(id.clone());
            }
        }
        (!joined.is_vacant()).then_some(joined)
    }

    /// A dot stays maximal if both have it so, or the other side has not got that far.
    fn merge_frontier(&mut self, theirs: &[Dot], they_have: &dyn Fn(&Dot) -> bool) {
        let mut joined: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        let mut keep = |dot: Dot| {
            let counter = joined.entry(dot.actor).or_default();
            *counter = (*counter).max(dot.counter);
        };
        for dot in self.frontier() {
            if theirs.contains(&dot) || !they_have(&dot) {
                keep(dot);
            }
        }
        for dot in theirs {
            if !self.has(dot) {
                keep(*dot);
            }
        }
        self.frontier = joined;
    }

    /// Everything semantic that is stored, changed behind the operations' back: what a bad disk or a bug would do.
    #[cfg(any(test, feature = "mutants"))]
    pub fn corrupt(&mut self, id: &ObjectId) {
        let mut lost = Ledger::default();
        if let Some(object) = self.objects.remove(id) {
            lost = object.sums(id.hash());
            self.objects_by_kind[id.kind as usize] -= 1;
        }
        self.book(&Ledger { content_sum: lost.content_sum.wrapping_neg(), bytes: -lost.bytes });
    }

    /// The naive reading of `deps`: removal by the author's whole clock, rebuilt from differences.
    #[cfg(any(test, feature = "mutants"))]
    fn with_rebuilt_sight(&mut self, op: &Arc<Op>) -> Option<Arc<Op>> {
        if !self.mutants.lacks(Rule::DiffRemove) {
            return None;
        }
        let unknown = op.dot.counter > 1 && !self.rebuilt.contains_key(&op.dot.actor);
        let guess = if unknown { self.clock.dots.clone() } else { BTreeMap::new() };
        let sight = self.rebuilt.entry(op.dot.actor).or_insert(guess);
        for dep in &op.deps {
            let known = sight.entry(dep.actor).or_default();
            *known = (*known).max(dep.counter);
        }
        sight.insert(op.dot.actor, op.dot.counter - 1);
        let seen: Vec<Dot> = sight.iter().map(|(actor, counter)| Dot::new(*actor, *counter)).collect();
        let mut naive = Op::clone(op);
        match &mut naive.action {
            Action::Create { edit, .. } | Action::Edit { edit, .. } => edit.removal.seen = seen,
            Action::Destroy { removal, .. } => removal.seen = seen,
            _ => {}
        }
        Some(Arc::new(naive))
    }
}

impl ShardState {
    /// Memory it takes, roughly.
    #[must_use]
    pub fn estimated_bytes(&self) -> usize {
        let object =
            |object: &Object| object.lives.iter().map(|life| 128 + life.records.bytes()).sum::<usize>();
        self.objects.iter().map(|(id, stored)| 64 + id.key.len() + object(stored)).sum()
    }

    fn is_sound(&self) -> bool {
        let mut content_sum = 0u128;
        for (id, object) in &self.objects {
            let sorted = object.lives.is_sorted_by_key(|life| dot_order(&life.id))
                && object.barriers().is_sorted_by_key(|(dot, _)| dot_order(dot));
            let placed = id.shard() == self.shard;
            if !sorted || !placed || !object.lives.iter().all(|life| life.records.validate(life.origin())) {
                return false;
            }
            content_sum = content_sum.wrapping_add(object.sums(id.hash()).content_sum);
        }
        content_sum == self.content_sum
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
        self.receive(op);
    }
}

impl CvRDT for Shard {
    type Validation = MalformedState;

    fn validate_merge(&self, other: &Self) -> Result<(), MalformedState> {
        if other.id == self.id { Ok(()) } else { Err(MalformedState) }
    }

    fn merge(&mut self, other: Self) {
        // Another shard's state is sound by construction; one with another id changes nothing.
        let _ = self.merge_state(other.state());
    }
}

/// What ended lately, by the hash of its name: tells "destroyed" from "never heard of". Local, bounded, in no digest.
#[derive(Clone, Debug, Default)]
struct EndedLately {
    order: VecDeque<u64>,
    times: BTreeMap<u64, u32>,
}

impl EndedLately {
    fn contains(&self, object_hash: u64) -> bool {
        self.times.contains_key(&object_hash)
    }

    fn remember(&mut self, object_hash: u64) {
        self.order.push_back(object_hash);
        *self.times.entry(object_hash).or_default() += 1;
        if self.order.len() <= ENDED_MAX {
            return;
        }
        let Some(oldest) = self.order.pop_front() else { return };
        if let Some(times) = self.times.get_mut(&oldest) {
            *times -= 1;
            if *times == 0 {
                self.times.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
#[path = "shard/tests.rs"]
mod tests;
