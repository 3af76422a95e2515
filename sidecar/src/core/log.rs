//! The operations of one shard that peers may still need, in the order in which they were applied here.
//!
//! That order is causal, so a peer can apply what it is sent as it comes. Dropping the oldest is always safe: a
//! peer that still needs them gets the shard instead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::identity::{Clock, Dot, ReplicaId};
use super::op::{Action, Edit, Op, Removal};
use super::shard::without_dep;

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    ops: VecDeque<(Arc<Op>, u32)>,
    bytes: u64,
    /// Per author, the highest sequence that is no longer here.
    floor: BTreeMap<ReplicaId, u64>,
}

impl Log {
    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Estimated memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn push(&mut self, op: Arc<Op>) {
        let bytes = op.estimated_bytes();
        self.bytes += u64::from(bytes);
        self.ops.push_back((op, bytes));
    }

    /// The oldest operation.
    pub(crate) fn front(&self) -> Option<&Arc<Op>> {
        self.ops.front().map(|(op, _)| op)
    }

    /// Drops the oldest operation.
    pub(crate) fn pop_front(&mut self) {
        if let Some((op, bytes)) = self.ops.pop_front() {
            self.bytes -= u64::from(bytes);
            self.raise_floor(&op.dot);
        }
    }

    fn raise_floor(&mut self, dot: &Dot) {
        let floor = self.floor.entry(dot.actor).or_default();
        *floor = (*floor).max(dot.counter);
    }

    /// After a jump of the clock: what was logged of these authors has a hole now, so it starts again behind it.
    pub(crate) fn restart(&mut self, raised: &[Dot]) {
        for dot in raised {
            self.raise_floor(dot);
        }
        let gone = |op: &Op| raised.iter().any(|dot| dot.actor == op.dot.actor);
        self.ops.retain(|(op, _)| !gone(op));
        self.bytes = self.ops.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
    }

    /// An author is retired: nobody needs what it wrote, and what depends on it depends on nothing.
    pub(crate) fn forget(&mut self, author: ReplicaId) {
        self.floor.remove(&author);
        self.ops.retain(|(op, _)| op.dot.actor != author);
        for (op, _) in &mut self.ops {
            without_dep(op, author);
        }
        self.bytes = self.ops.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
    }

    /// What a clock lacks of ours, oldest first; `None` when the log does not reach back far enough.
    pub(crate) fn missing(&self, ours: &Clock, theirs: &Clock) -> Option<Vec<Arc<Op>>> {
        let mut lacks = false;
        for (actor, counter) in &ours.dots {
            let known = theirs.get(actor);
            if *counter > known {
                lacks = true;
                if self.floor.get(actor).is_some_and(|floor| *floor > known) {
                    return None;
                }
            }
        }
        if !lacks {
            return Some(Vec::new());
        }
        Some(self.beyond(theirs).map(Arc::clone).collect())
    }

    /// What is here of what a clock lacks, oldest first.
    pub(crate) fn beyond<'a>(&'a self, theirs: &'a Clock) -> impl Iterator<Item = &'a Arc<Op>> {
        self.ops.iter().map(|(op, _)| op).filter(|op| op.dot.counter > theirs.get(&op.dot.actor))
    }
}

impl Op {
    /// Heap and inline bytes, roughly: what the limits of logs and queues count.
    #[must_use]
    pub fn estimated_bytes(&self) -> u32 {
        let removal = |removal: &Removal| {
            removal.clears.iter().map(|clear| 48 + clear.path().len()).sum::<usize>()
                + removal.seen.len() * 16
                + removal.covers.len() * 80
        };
        let edit = |edit: &Edit| {
            removal(&edit.removal)
                + edit.puts.iter().map(|put| 64 + put.bytes()).sum::<usize>()
                + edit.increments.iter().map(|increment| 72 + increment.path.len()).sum::<usize>()
        };
        let action = match &self.action {
            Action::Create { kills, barriers_seen, edit: content, .. } => {
                16 * (kills.len() + barriers_seen.len()) + edit(content)
            }
            Action::Edit { edit: content, .. } => edit(content),
            Action::Touch { lives, .. } => 16 * lives.len(),
            Action::Destroy { lives, removal: gone } => 16 * lives.len() + removal(gone),
            Action::Barrier { .. } => 0,
            Action::Unbarrier { barriers } => 16 * barriers.len(),
        };
        let bytes = size_of::<Self>() + 32 + self.deps.len() * 16 + self.object.key.len() + action;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}
