//! Operations that came before what they wait for. Few and small: what has no room is dropped, and comparison brings it
//! again, in an order in which it need not wait.

use std::collections::BTreeMap;

use crate::core::identity::{Clock, ReplicaId, dot_order};
use crate::core::packed::NewOp;

/// Operations that may wait, per shard.
pub(crate) const PENDING_MAX: usize = 4_096;

/// Bytes that they may take, per shard, roughly. A single one of any size has room.
pub(crate) const PENDING_BYTES_MAX: u64 = 4 << 20;

/// What an operation takes beside what it says, roughly.
const OP_BYTES: u64 = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    ops: BTreeMap<(ReplicaId, u64), NewOp>,
    bytes: u64,
}

/// It is kept as it travels, and taken apart.
fn bytes_of(new: &NewOp) -> u64 {
    OP_BYTES + 2 * new.bytes.len() as u64
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps an operation, if there is room.
    pub(super) fn insert(&mut self, new: NewOp) {
        let more = bytes_of(&new);
        let room = self.len() < PENDING_MAX && self.bytes + more <= PENDING_BYTES_MAX;
        let place = dot_order(&new.op.dot);
        if (room || self.is_empty()) && !self.ops.contains_key(&place) {
            self.bytes += more;
            self.ops.insert(place, new);
        }
    }

    /// Drops what a clock has, and gives what is deliverable of the rest.
    pub(super) fn ready(&mut self, clock: &Clock, is_deliverable: impl Fn(&NewOp) -> bool) -> Vec<NewOp> {
        self.retain(|actor, counter| counter > clock.get(&actor));
        self.ops.values().filter(|new| is_deliverable(new)).cloned().collect()
    }

    /// Drops what this author wrote.
    pub(super) fn drop_of(&mut self, author: ReplicaId) {
        self.retain(|actor, _| actor != author);
    }

    fn retain(&mut self, stays: impl Fn(ReplicaId, u64) -> bool) {
        let bytes = &mut self.bytes;
        self.ops.retain(|(actor, counter), new| {
            let stays = stays(*actor, *counter);
            if !stays {
                *bytes -= bytes_of(new);
            }
            stays
        });
    }
}
