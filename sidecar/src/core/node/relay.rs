//! Spreading operations where not everyone is linked with everyone.
//!
//! Whoever passes on is responsible for a stretch of the ring behind itself. It gives each neighbour within it the
//! part up to the next neighbour. The parts do not overlap, so every member gets an operation once, after some log2 n
//! hops (El-Ansary et al., *Efficient Broadcast in Structured P2P Networks*, 2003). Where a link is missing, its part
//! is caught up by comparison, which everybody does with all neighbours anyway.

use std::sync::Arc;

use super::overlay::place;
use super::{Node, Output};
use crate::core::message::{Message, PeerId};
use crate::core::packed::{NewOp, PackedOp};
use crate::core::time::Now;

impl Node {
    /// Gives an own operation to everyone.
    pub(super) fn spread(&mut self, op: &NewOp) {
        self.pass_on(std::slice::from_ref(op), place(self.id()), None);
    }

    /// Operations to apply and to pass on.
    pub(super) fn relayed(&mut self, now: Now, from: PeerId, ops: Vec<PackedOp>, until: u64) {
        let ops = self.without_the_dead(ops.into_iter().filter_map(PackedOp::open).collect());
        let foreign = self.peers.get(&from).is_some_and(|peer| !peer.states_wanted.is_empty());
        if !self.is_fresh() && !foreign {
            self.pass_on(&ops, until, Some(from));
        }
        self.new_ops_from(now, from, ops);
    }

    fn pass_on(&mut self, ops: &[NewOp], until: u64, from: Option<PeerId>) {
        self.send_ops();
        for (id, until) in self.parts(until, from) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let lacks =
                |NewOp { op, .. }: &&NewOp| op.dot.actor != id && !peer.known.has(op.object.shard(), &op.dot);
            let lacking: Vec<&NewOp> = ops.iter().filter(lacks).collect();
            for NewOp { op, .. } in &lacking {
                let shard = op.object.shard();
                if peer.reached_counter(shard, op.dot.actor) + 1 == op.dot.counter {
                    peer.sent.raise(shard, op.dot);
                }
            }
            if !lacking.is_empty() {
                let ops = lacking.into_iter().map(NewOp::packed).collect();
                self.outbox.push_back(Output::Send(id, Arc::new(Message::Relay { ops, until })));
            }
        }
    }

    /// The neighbours between here and a place in the ring, each with the end of its part.
    pub(super) fn parts(&self, until: u64, from: Option<PeerId>) -> Vec<(PeerId, u64)> {
        let here = place(self.id());
        // Up to here itself is all the way round.
        let length = until.wrapping_sub(here).wrapping_sub(1);
        let peers = self.peers.iter().filter(|(id, peer)| peer.takes_ops() && Some(**id) != from);
        let mut within: Vec<(u64, PeerId)> = peers
            .map(|(id, _)| (place(*id).wrapping_sub(here).wrapping_sub(1), *id))
            .filter(|(distance, _)| *distance < length)
            .collect();
        within.sort_unstable();
        let ends = within.iter().skip(1).map(|(_, id)| place(*id)).chain([until]);
        within.iter().map(|(_, id)| *id).zip(ends).collect()
    }
}
