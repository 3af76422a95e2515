//! When counters are folded, and by whom: one accumulator takes the place of those of many processes that have left.
//!
//! By one node only, and only what every member is known to have: then whoever has not seen the fold covers all of what is
//! folded, or nothing of it (decision 21). What a fold does stands in [`crate::core::fold`].

use std::collections::BTreeSet;

use super::Node;
use super::collect::Evidence;
use crate::core::identity::{Replica, ReplicaId, ShardId};
use crate::core::mutant::Rule;
use crate::core::time::Now;

/// Folds that one look at a shard may author.
const FOLDS_PER_SWEEP: usize = 16;

impl Node {
    /// Folds what can be folded in a shard, if that is for this node to do.
    pub(super) fn fold(&mut self, now: Now, shard: ShardId, evidence: Option<&Evidence>) {
        // First what is cheap: all but one member would read their counters for nothing.
        let Some(evidence) = evidence.filter(|_| self.shard(shard).has_crowded() && self.folds()) else {
            return;
        };
        let hasty = self.mutants.lacks(Rule::FoldUnstable);
        let (me, roster) = (self.id(), &self.roster);
        let ours = self.shards[shard.index()].clock().clone();
        let due = self.shards[shard.index()].folds(|name| {
            let owner = name.actor;
            let is_known = || evidence.stable.get(&owner) == ours.get(&owner);
            let has_left = roster.get(owner).is_some_and(|entry| entry.left);
            has_left && is_known() || hasty && owner != me
        });
        for (object, action) in due.into_iter().take(FOLDS_PER_SWEEP) {
            let stamp = self.clock.next_stamp(now, None);
            self.figures.folds += 1;
            self.author(now, stamp, object, action);
        }
    }

    /// Whether it is for this node to fold: its name is the first of all that are not over, every one of them counts it as a
    /// member, and all know what a fold is. Among many nobody knows that of everybody.
    fn folds(&self) -> bool {
        if self.is_overlay() || !self.writes() {
            return false;
        }
        let rank = |replica: &Replica| (replica.node.clone(), replica.id);
        let me = rank(&self.config.replica);
        let first = self.roster.living().all(|other| rank(other) >= me);
        if !first && !self.mutants.lacks(Rule::FoldByAnyone) {
            return false;
        }
        let Some(reports) = self.everyone() else { return false };
        let mut members: BTreeSet<ReplicaId> = self.roster.needed().collect();
        members.extend(reports.iter().flat_map(|report| report.living.iter().copied()));
        members.remove(&self.id());
        let know = members.iter().all(|id| self.peers.get(id).is_some_and(|peer| !peer.is_outdated));
        know && reports.iter().all(|report| report.living.contains(&self.id()))
    }
}
