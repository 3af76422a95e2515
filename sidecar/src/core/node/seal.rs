//! Sealing: from a process that is over nothing is taken any more.
//!
//! Who has left, was given up, or bears a name of which a later process is known, is over. Once every member that lives has
//! sealed the dead, no more of what they wrote can come to anyone than the members have among them: late packets of the
//! dead are refused, and members pass on what they have applied. So the word of the dead is needed no more to know what
//! everyone has (semantics finding 24). A seal follows from the roster, and needs no message of its own.
//!
//! Ids stay in clocks and rosters for good: taking them out needs more agreement than this (decision 13).

use super::Node;
use crate::core::identity::ReplicaId;
use crate::core::message::PeerId;
use crate::core::mutant::Rule;
use crate::core::packed::NewOp;

impl Node {
    /// The roster has changed: whoever is over now is heard no more.
    pub(super) fn seal(&mut self) {
        for id in self.roster.take_newly_sealed() {
            // Who has applied them sends them again. Nobody may have.
            self.shards.iter_mut().for_each(|shard| shard.drop_pending_of(id));
            match self.peers.get_mut(&id) {
                Some(peer) if peer.linked => peer.introduced = false,
                Some(_) => drop(self.peers.remove(&id)),
                None => {}
            }
        }
    }

    /// Whether what this peer brings may be taken: it has said who it is, and is not over.
    pub(super) fn is_heard(&self, from: PeerId) -> bool {
        self.peers.get(&from).is_some_and(|peer| peer.introduced) || self.mutants.lacks(Rule::DeadHeard)
    }

    /// What is passed on need not have been applied by whoever does so. Of the dead only that counts.
    pub(super) fn without_the_dead(&self, mut ops: Vec<NewOp>) -> Vec<NewOp> {
        ops.retain(|op| !self.is_sealed(op.op.dot.actor));
        ops
    }

    /// Nothing more is to come from it.
    pub(super) fn is_sealed(&self, id: ReplicaId) -> bool {
        self.roster.sealed().contains(&id)
    }
}
