//! What this node writes, and how it goes out: the operations of one turn, which is what happens between two looks at the
//! outputs, travel as one message. Nothing that is said later overtakes them.

use std::sync::Arc;

use super::{Node, Output};
use crate::core::identity::{Dot, ObjectId, ShardId};
use crate::core::message::Message;
use crate::core::op::Action;
use crate::core::packed::NewOp;
use crate::core::time::{Hlc, Now};

/// Operations of one turn go in one message up to so many bytes.
const TURN_BYTES: usize = 32 << 10;

impl Node {
    /// Makes an operation of this node's, applies it and gives it to everyone. Gives its name.
    pub(super) fn author(&mut self, now: Now, stamp: Hlc, object: ObjectId, action: Action) -> Dot {
        let me = self.id();
        let shard = object.shard();
        let op = self.shard_mut(shard).author(me, stamp, object, action);
        self.clock.observe(now, stamp);
        self.figures.ops_authored += 1;
        self.changed(now, shard, std::slice::from_ref(&op));
        let dot = op.op.dot;
        self.push(shard, op);
        dot
    }

    /// Gives an operation to every peer that can take it, in one message with those that follow it in this turn.
    fn push(&mut self, shard: ShardId, new: NewOp) {
        if self.is_overlay() {
            self.spread(&new);
            return;
        }
        let (dot, mut taken) = (new.op.dot, false);
        for peer in self.peers.values_mut().filter(|peer| peer.takes_ops()) {
            taken = true;
            // Behind a gap it stands for nothing that came before it: comparison sends what is missing, and this.
            if peer.reached_counter(shard, dot.actor) + 1 == dot.counter {
                peer.sent.raise(shard, dot);
            }
        }
        if taken {
            self.unsent_bytes += new.bytes.len();
            self.unsent.push(new.into_packed());
            if self.unsent_bytes >= TURN_BYTES {
                self.send_ops();
            }
        }
    }

    /// Sends what was pushed. Anything else goes behind it.
    pub(super) fn send_ops(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        self.unsent_bytes = 0;
        let message = Arc::new(Message::Ops(std::mem::take(&mut self.unsent)));
        for (id, _) in self.peers.iter().filter(|(_, peer)| peer.takes_ops()) {
            self.outbox.push_back(Output::Send(*id, Arc::clone(&message)));
        }
    }
}
