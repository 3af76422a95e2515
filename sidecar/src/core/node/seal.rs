//! Sealing: what the dead wrote is taken only from those who have sealed them too, and from the dead nothing at all.
//!
//! A seal follows from the roster: who has left, or bears a name of which a later process is known, is over. With the
//! last member that seals, no more of what the dead wrote can come to anyone than the members then have among them:
//! late packets of the dead are refused, and so is what a member sent before it sealed. That is what makes it
//! possible to agree on a last sequence (semantics finding 24). Seals travel with the roster, and with every
//! operation and state that needs one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Node;
use super::roster::Roster;
use crate::core::identity::ReplicaId;
use crate::core::message::{Message, Missing, PeerId, RosterEntry, Sealed};
use crate::core::mutant::Rule;
use crate::core::op::Op;
use crate::core::shard::ShardState;
use crate::core::time::Now;

/// Whom the sender of a message has sealed.
pub(super) type Seals = BTreeSet<ReplicaId>;

impl Node {
    /// The roster has changed: whoever is over now is heard no more.
    pub(super) fn seal(&mut self) {
        let sealed: Vec<ReplicaId> = self.roster.sealed().iter().copied().collect();
        for id in sealed {
            if !self.mutants.lacks(Rule::SealKeepsPending) {
                self.shards.iter_mut().for_each(|shard| shard.drop_pending_of(id));
            }
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.introduced = false;
            }
        }
    }

    /// Whether what this peer brings may be taken: it has said who it is, and is not over.
    pub(super) fn is_heard(&self, from: PeerId) -> bool {
        self.peers.get(&from).is_some_and(|peer| peer.introduced) || self.mutants.lacks(Rule::LateWords)
    }

    /// Whether an author's operations may be taken from a peer with these seals. Nobody is admitted unknown: it may
    /// be a process of a name that has a later one.
    pub(super) fn admits(&self, author: ReplicaId, seals: &Seals) -> bool {
        match self.roster.get(author) {
            Some(_) => !self.roster.sealed().contains(&author) || seals.contains(&author),
            None => self.mutants.lacks(Rule::SealKnown) && !self.roster.is_retired(author),
        }
    }

    /// Whether a whole state may be joined: everything it brings is by authors who are admitted.
    pub(super) fn admits_state(&self, state: &ShardState, seals: &Seals) -> bool {
        let ours = self.shard(state.shard);
        let raised = state.clock.dots.iter().filter(|(author, counter)| **counter > ours.reached(**author));
        raised.into_iter().all(|(author, _)| self.admits(*author, seals))
    }

    /// A message, with this node's seals where it would be refused without them.
    pub(super) fn with_seals(&self, message: Message) -> Message {
        let sealed = self.roster.sealed();
        if sealed.is_empty() {
            return message;
        }
        let of_sealed = |ops: &[Arc<Op>]| ops.iter().any(|op| sealed.contains(&op.dot.actor));
        let content = match message {
            Message::Ops(ops) if of_sealed(&ops) => Sealed::Ops(ops),
            Message::State(state) => Sealed::State(state),
            Message::Answer { id, missing, ended } => match missing {
                Missing::Ops(ops) if !of_sealed(&ops) => {
                    return Message::Answer { id, missing: Missing::Ops(ops), ended };
                }
                missing => Sealed::Answer { id, missing, ended },
            },
            other => return other,
        };
        Message::Sealed { roster: self.roster.entries(), content }
    }

    pub(super) fn sealed_from(&mut self, now: Now, from: PeerId, entries: Vec<RosterEntry>, content: Sealed) {
        let seals = seals_of(&entries);
        self.learn_roster(entries);
        if !self.is_heard(from) {
            return;
        }
        match content {
            Sealed::Ops(ops) => self.ops_from(now, from, ops, &seals),
            Sealed::State(state) => self.state_from(now, from, *state, &seals),
            Sealed::Answer { id, missing, ended } => self.answered(now, from, id, missing, ended, &seals),
        }
    }
}

/// Whom a roster seals.
fn seals_of(entries: &[RosterEntry]) -> Seals {
    let mut roster = Roster::default();
    for entry in entries {
        roster.add(entry.clone());
    }
    roster.sealed().clone()
}
