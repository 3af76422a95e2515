//! What a shard does when a dead replica id is forgotten.
//!
//! Once every member has all that the id wrote, and nobody can bring more of it, its place in the clock says nothing
//! any more. It goes from clock, log and dependencies; what remains is the pair of id and final sequence, so that
//! what it wrote counts as applied for as long as it is stored anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Shard;
use crate::core::digest::clock_hash;
use crate::core::identity::{Clock, Dot, ReplicaId};
use crate::core::op::Op;
use crate::core::packed::{NewOp, PackedOp};

impl Shard {
    /// Takes an id out of the clock for good; its final sequence stays.
    pub(crate) fn retire(&mut self, id: ReplicaId) {
        let last = self.clock.dots.remove(&id).unwrap_or(0);
        if last > 0 {
            self.clock_sum = self.clock_sum.wrapping_sub(clock_hash(self.id.0, &Dot::new(id, last)));
            self.retired.insert(id, last);
        }
        self.forget_traces(id);
    }

    /// Counts everything up to `last` as applied: this shard has just taken a state from one that had it all.
    pub(super) fn retire_at(&mut self, id: ReplicaId, last: u64) {
        if let Some(known) = self.clock.dots.remove(&id) {
            self.clock_sum = self.clock_sum.wrapping_sub(clock_hash(self.id.0, &Dot::new(id, known)));
        }
        self.retired.insert(id, last);
        self.forget_traces(id);
    }

    /// Takes a retired id into the clock again: what it wrote has come, and nobody is left who agreed on it.
    pub(crate) fn unretire(&mut self, id: ReplicaId) {
        if let Some(last) = self.retired.remove(&id) {
            let dot = Dot::new(id, last);
            self.raise(dot);
            self.log.restart(&[dot]);
        }
    }

    fn forget_traces(&mut self, id: ReplicaId) {
        self.frontier.remove(&id);
        self.unnamed.remove(&id);
        self.drop_pending_of(id);
        self.log.forget(id);
        for waiting in self.pending.values_mut() {
            if let Some(plain) = without_dep(&waiting.op, id) {
                *waiting = NewOp::of(Arc::new(plain));
            }
        }
        #[cfg(any(test, feature = "mutants"))]
        self.rebuilt.remove(&id);
    }

    /// Drops operations of this author that wait for others.
    pub(crate) fn drop_pending_of(&mut self, id: ReplicaId) {
        self.pending.retain(|(actor, _), _| *actor != id);
    }

    /// How far an author got here, retired or not.
    pub(crate) fn reached(&self, id: ReplicaId) -> u64 {
        self.retired.get(&id).copied().unwrap_or_else(|| self.clock.get(&id))
    }

    /// Whether everything within another clock has been applied here.
    pub(crate) fn covers(&self, clock: &Clock) -> bool {
        clock.dots.iter().all(|(actor, counter)| self.has(&Dot::new(*actor, *counter)))
    }

    /// Nobody will ever have it: its author is gone for good, and did not get that far as anyone knows.
    pub(crate) fn is_lost(&self, dot: &Dot) -> bool {
        self.retired.get(&dot.actor).is_some_and(|last| dot.counter > *last)
    }

    /// Ids that are forgotten, with their final sequences.
    pub(crate) fn retired(&self) -> impl Iterator<Item = Dot> + '_ {
        self.retired.iter().map(|(actor, counter)| Dot::new(*actor, *counter))
    }

    /// What is logged here and a clock lacks, however far back the log reaches.
    pub(crate) fn logged_beyond<'a>(&'a self, clock: &'a Clock) -> impl Iterator<Item = Arc<Op>> + 'a {
        self.log.beyond(clock).filter_map(|op| PackedOp::stored(op).open()).map(|new| new.op)
    }

    /// Lets go of a retired id of which no trace is left anywhere.
    pub(crate) fn drop_retired(&mut self, id: ReplicaId) {
        self.retired.remove(&id);
    }

    /// Authors of anything that is stored: of lives, barriers, entries and accumulators.
    pub(crate) fn stored_authors(&self) -> BTreeSet<ReplicaId> {
        let mut authors = BTreeSet::new();
        for stored in self.objects.iter() {
            let object = stored.object();
            authors.extend(object.barriers().iter().map(|(barrier, _)| barrier.actor));
            for life in &object.lives {
                authors.insert(life.id.actor);
                authors.extend(life.records.iter(life.origin()).map(|record| record.dot.actor));
            }
        }
        authors
    }
}

/// What depends on a retired id depends on nothing: every member has all of it. `None` where this one does not.
pub(crate) fn without_dep(op: &Op, id: ReplicaId) -> Option<Op> {
    if op.deps.iter().all(|dep| dep.actor != id) {
        return None;
    }
    let mut plain = op.clone();
    plain.deps.retain(|dep| dep.actor != id);
    Some(plain)
}
