//! Sealing: what the dead wrote is taken only from those who have sealed them too, and from the dead nothing at all.
//!
//! A seal follows from the roster: who has left, or bears a name of which a later process is known, is over. With the
//! last member that seals, no more of what the dead wrote can come to anyone than the members then have among them:
//! late packets of the dead are refused, and so is what a member sent before it sealed. That is what makes it
//! possible to agree on a last sequence (semantics finding 24). Seals travel with the roster, and with every
//! operation and state that needs one.

use super::Node;
use super::roster::Roster;
use crate::core::identity::ReplicaId;
use crate::core::log::dot_of;
use crate::core::message::{Message, Missing, PeerId, RosterEntry, Sealed};
use crate::core::mutant::Rule;
use crate::core::shard::ShardState;
use crate::core::time::Now;
use crate::core::wave::Echo;
use std::collections::BTreeSet;

/// Whom the sender of a message has sealed.
pub(super) type Seals = BTreeSet<ReplicaId>;

impl Node {
    /// The roster has changed: whoever is over now is heard no more.
    pub(super) fn seal(&mut self) {
        for id in self.roster.take_newly_sealed() {
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
        let authors: Vec<ReplicaId> = match &message {
            Message::Ops(ops)
            | Message::Relay { ops, .. }
            | Message::Answer { missing: Missing::Ops(ops), .. }
            | Message::Echo { echo: Echo::Object { missing: Missing::Ops(ops), .. }, .. } => {
                ops.iter().map(|op| dot_of(op.bytes()).actor).collect()
            }
            Message::State(state)
            | Message::Answer { missing: Missing::State(state), .. }
            | Message::Echo { echo: Echo::Object { missing: Missing::State(state), .. }, .. } => {
                state.clock.dots.keys().copied().collect()
            }
            _ => return message,
        };
        let authors = authors.iter().filter(|author| sealed.contains(author));
        let names: BTreeSet<&str> =
            authors.filter_map(|id| self.roster.get(*id)).map(|entry| entry.replica.node.as_str()).collect();
        if names.is_empty() {
            return message;
        }
        let content = match message {
            Message::Ops(ops) => Sealed::Ops(ops),
            Message::Relay { ops, until } => Sealed::Relay { ops, until },
            Message::Answer { id, missing, ended } => Sealed::Answer { id, missing, ended },
            Message::Echo { wave, echo } => Sealed::Echo { wave, echo },
            Message::State(state) => Sealed::State(state),
            other => return other,
        };
        let roster = self.roster.entries();
        let roster = roster.into_iter().filter(|entry| names.contains(entry.replica.node.as_str()));
        Message::Sealed { roster: roster.collect(), content }
    }

    pub(super) fn sealed_from(&mut self, now: Now, from: PeerId, entries: Vec<RosterEntry>, content: Sealed) {
        let seals = seals_of(&entries);
        self.learn_roster(&entries);
        if !self.is_heard(from) {
            return;
        }
        match content {
            Sealed::Ops(ops) => self.ops_from(now, from, ops, &seals),
            Sealed::State(state) => self.state_from(now, from, *state, &seals),
            Sealed::Answer { id, missing, ended } => self.answered(now, from, id, missing, ended, &seals),
            Sealed::Relay { ops, until } => self.relayed(now, from, ops, until, &seals),
            Sealed::Echo { wave, echo } => self.echo_from(now, from, wave, echo, &seals),
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
