//! Leaving: what only this process has goes to the others first, and who has said farewell writes nothing more.

use super::peer::Peer;
use super::{HandOver, Node};
use crate::core::identity::{Clock, Dot, ReplicaId, ShardId};
use crate::core::message::Message;

impl Node {
    /// What a leaving node has not handed over yet.
    #[must_use]
    pub fn hand_over(&self) -> HandOver {
        let me = self.id();
        let mut hand_over = HandOver::default();
        if self.other_members().is_empty() {
            return hand_over;
        }
        for shard in &self.shards {
            let kept = self.kept_by_others(shard.id());
            for Dot { actor, counter } in shard.clock().beyond(&kept) {
                let ahead = counter - kept.get(&actor);
                hand_over.held_by_nobody_else = hand_over.held_by_nobody_else.saturating_add(ahead);
            }
        }
        for peer in self.peers.values().filter(|peer| peer.takes_ops()) {
            let behind =
                self.shards.iter().any(|shard| peer.known.counter(shard.id(), me) < shard.clock().get(&me));
            if behind {
                hand_over.peers_behind.push(peer.replica.node.clone());
            }
        }
        hand_over
    }

    /// How far members that are linked have got, each author by whoever has most: whoever is gone has nothing any more, and
    /// what the dead wrote may be nowhere but here.
    pub(super) fn kept_by_others(&self, shard: ShardId) -> Clock {
        let mut kept = Clock::default();
        for heir in self.linked_members() {
            let theirs = heir.kept(shard);
            if kept.is_empty() {
                kept = theirs;
            } else {
                for dot in theirs.iter() {
                    kept.raise(dot);
                }
            }
        }
        kept
    }

    /// Members that a leaving node can hand over to.
    #[must_use]
    pub fn heirs(&self) -> usize {
        self.linked_members().count()
    }

    fn linked_members(&self) -> impl Iterator<Item = &Peer> {
        let stays = |(id, peer): &(&ReplicaId, &Peer)| peer.linked && peer.introduced && !self.has_left(**id);
        self.peers.iter().filter(stays).map(|(_, peer)| peer)
    }

    /// Whether a farewell now would take it off the roster.
    #[must_use]
    pub fn would_leave(&self) -> bool {
        self.hand_over().held_by_nobody_else == 0 && self.has_peers()
    }

    /// Leaves the roster, unless operations would be lost with this process. Whoever hears it takes nothing more from this
    /// process, so it writes nothing more either.
    pub(super) fn say_farewell(&mut self) {
        if self.would_leave() {
            self.broadcast(Message::Leave);
            self.standing.say_farewell();
        }
    }

    fn has_peers(&self) -> bool {
        self.peers.values().any(|peer| peer.linked)
    }

    /// Whether a process has left in order.
    pub(super) fn has_left(&self, replica: ReplicaId) -> bool {
        self.roster.get(replica).is_some_and(|entry| entry.left)
    }
}
