//! How much memory the state takes, and what happens at the limit.
//!
//! An estimate, calibrated against what the system gives a process for the same content: entries, a fixed part for each
//! object, its key, and the log. It is kept up to date shard by shard as they change, so that a write asks for one number.
//!
//! At the limit local writes that would make the state grow are refused. What takes away is not, and neither is what
//! peers send: it was admitted elsewhere, and a node that left it out would differ for ever. Nothing is evicted.

use super::Node;
use crate::core::command::Refusal;
use crate::core::identity::{ObjectId, SHARDS, ShardId};
use crate::core::op::Action;
use crate::core::shard::Shard;
use crate::core::time::Hlc;

use super::Alarm;

/// The estimate, in total and by shard.
#[derive(Debug)]
pub(super) struct Memory {
    total: u64,
    of_shard: Vec<u64>,
    pub(super) refusals: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { total: 0, of_shard: vec![0; SHARDS], refusals: 0 }
    }
}

impl Memory {
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// A shard has changed.
    pub(super) fn note(&mut self, shard: &Shard) {
        let known = &mut self.of_shard[shard.id().index()];
        let bytes = shard.memory_bytes();
        self.total = self.total - *known + bytes;
        *known = bytes;
    }
}

impl Node {
    pub(super) fn note_memory(&mut self, shard: ShardId) {
        self.memory.note(&self.shards[shard.index()]);
    }

    /// Refuses what would make the state grow beyond the limit.
    pub(super) fn admit(&mut self, stamp: Hlc, object: &ObjectId, action: &Action) -> Result<(), Refusal> {
        let Some(limit) = self.config.memory_bytes_max.filter(|limit| self.memory.total >= *limit) else {
            return Ok(());
        };
        // Exactly: a replacement by something shorter is welcome. It costs a copy of the object, here only.
        if self.shard(object.shard()).growth(self.id(), stamp, object, action) <= 0 {
            return Ok(());
        }
        self.memory.refusals += 1;
        self.alarm(Alarm::MemoryFull { bytes: self.memory.total, limit });
        Err(Refusal::OutOfMemory)
    }
}
