//! What is over, written down once.
//!
//! All clocks of this node name each process that ever wrote, for good: nobody else need agree on anything for that to be so,
//! and nothing here changes what they say. But of a process that is over, and of which everybody has the same, all of them say
//! the same, and that goes into one table on which they lean. Clocks that say something else go on naming it (decision 18).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Node;
use super::peer::Report;
use crate::core::identity::{ReplicaId, SHARDS, ShardId};
use crate::core::past::Finals;

/// Shards looked at in one sweep: all are within two seconds.
const SHARDS_PER_SWEEP: u8 = 16;

/// Processes compared in one sweep, at most: each is compared in all shards.
const PROCESSES_PER_SWEEP: usize = 16;

impl Node {
    /// Takes those into the past that are over, as far as the next shards name them; then all books on these lean on it.
    pub(super) fn sweep_past(&mut self) {
        let first = self.past_next.0;
        let shards: Vec<ShardId> = (0..SHARDS_PER_SWEEP).map(|n| ShardId(first.wrapping_add(n))).collect();
        self.past_next = ShardId(first.wrapping_add(SHARDS_PER_SWEEP));
        let finals = self.finals(&shards);
        if !finals.is_empty() {
            self.past = Arc::new(self.past.with(finals));
        }
        if self.past.len() == 0 {
            return;
        }
        for shard in shards {
            self.shards[shard.index()].lean_on(&self.past);
            if let Some(disk) = &mut self.disk {
                disk.saved.lean_on(&self.past, shard);
            }
            self.peers.values_mut().for_each(|peer| peer.lean_on(&self.past, shard));
        }
    }

    fn finals(&self, shards: &[ShardId]) -> Vec<Finals> {
        let named = shards.iter().flat_map(|shard| self.shards[shard.index()].clock().names());
        let over: BTreeSet<ReplicaId> =
            named.filter(|id| self.is_sealed(*id) && !self.past.has(*id)).take(PROCESSES_PER_SWEEP).collect();
        let reports = match self.is_overlay() {
            _ if over.is_empty() => None,
            true => Some(Vec::new()),
            false => self.everyone(),
        };
        let Some(reports) = reports else { return Vec::new() };
        over.into_iter().filter_map(|id| self.finals_of(id, &reports)).collect()
    }

    /// How far a process got, where nobody that counts says otherwise and nothing of it is to be kept for anyone. Were it
    /// to go on all the same, those that hear of it would name it again.
    fn finals_of(&self, id: ReplicaId, reports: &[&Report]) -> Option<Finals> {
        if self.is_overlay() && !self.is_settled_process(id) {
            return None;
        }
        let mut counters = [0; SHARDS];
        for (shard, counter) in self.shards.iter().zip(&mut counters) {
            *counter = shard.clock().get(&id);
            let on_disk =
                self.disk.as_ref().is_none_or(|disk| disk.saved.counter(shard.id(), id) == *counter);
            let reported = reports.iter().all(|report| {
                report.clocks.counter(shard.id(), id) == *counter
                    && report.saved_counter(shard.id(), id) == *counter
            });
            if !on_disk || !reported || !shard.has_dropped_all_of(id) {
                return None;
            }
        }
        Some(Finals::new(id, &counters))
    }

    /// How many processes are in the past, and what that takes of memory.
    pub(super) fn past_size(&self) -> (u64, u64) {
        (self.past.len() as u64, self.past.bytes() as u64)
    }
}
