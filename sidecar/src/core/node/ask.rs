//! Asking on a miss: "never heard of it" asks before it says no.
//!
//! A question is a pull: it brings the operations that the asker lacks, and they are applied through the normal
//! door. An object is never stored without the operations that made it (semantics finding 29).

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use crate::core::command::{Lookup, WaitId, Waited};
use crate::core::identity::{Clock, ObjectId, ReplicaId};
use crate::core::message::{Message, Missing, PeerId};
use crate::core::time::{MonoMicros, Now};

/// Questions a second, so that invented ids cannot make the cluster talk; as many may come at once.
const ASKS_PER_SECOND: u64 = 500;

#[derive(Debug)]
pub(super) struct Asks {
    next: u64,
    open: BTreeMap<u64, Question>,
    by_object: BTreeMap<ObjectId, u64>,
    /// Questions that may be put now, in millionths.
    allowance_micros: u64,
    refilled: MonoMicros,
}

#[derive(Debug)]
struct Question {
    object: ObjectId,
    outstanding: BTreeSet<PeerId>,
    /// Every other member has been asked and has answered so far.
    complete: bool,
    ended: bool,
    waits: Vec<WaitId>,
    deadline: MonoMicros,
}

impl Asks {
    pub(super) fn new(now: Now) -> Self {
        let full = ASKS_PER_SECOND * 1_000_000;
        let (open, by_object) = (BTreeMap::new(), BTreeMap::new());
        Self { next: 0, open, by_object, allowance_micros: full, refilled: now.mono }
    }

    fn allows(&mut self, now: Now) -> bool {
        let gained = now.mono.since(self.refilled).saturating_mul(ASKS_PER_SECOND);
        self.refilled = now.mono;
        self.allowance_micros = self.allowance_micros.saturating_add(gained).min(ASKS_PER_SECOND * 1_000_000);
        match self.allowance_micros.checked_sub(1_000_000) {
            Some(left) => {
                self.allowance_micros = left;
                true
            }
            None => false,
        }
    }
}

impl Node {
    pub(super) fn ask(&mut self, now: Now, object: ObjectId, millis: u64) -> Result<Waited, WaitId> {
        self.drop_stale_questions(now);
        let deadline = now.mono.plus_millis(millis);
        if let Some(id) = self.asks.by_object.get(&object).copied() {
            return Err(self.join_question(id, deadline));
        }
        let others: Vec<ReplicaId> = self.other_members().into_iter().map(|(_, id)| id).collect();
        let asked: BTreeSet<PeerId> = others.iter().copied().filter(|id| self.can_answer(*id)).collect();
        if asked.is_empty() {
            return Ok(Waited::Asked { by_all: others.is_empty(), ended: false });
        }
        if millis == 0 || !self.asks.allows(now) {
            self.figures.asks_refused += 1;
            return Ok(Waited::Asked { by_all: false, ended: false });
        }
        self.figures.asks += 1;
        self.asks.next += 1;
        let id = self.asks.next;
        let clock = self.shard(object.shard()).clock().clone();
        for peer in &asked {
            self.send(*peer, Message::Ask { id, object: object.clone(), clock: clock.clone() });
        }
        let complete = asked.len() == others.len();
        self.asks.by_object.insert(object.clone(), id);
        let question =
            Question { object, outstanding: asked, complete, ended: false, waits: Vec::new(), deadline };
        self.asks.open.insert(id, question);
        Err(self.join_question(id, deadline))
    }

    fn can_answer(&self, id: ReplicaId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.takes_ops())
    }

    fn join_question(&mut self, id: u64, deadline: MonoMicros) -> WaitId {
        let wait = self.waits.open_question(deadline);
        if let Some(question) = self.asks.open.get_mut(&id) {
            question.waits.push(wait);
            question.deadline = question.deadline.max(deadline);
        }
        wait
    }

    /// Nobody waits for these any more.
    fn drop_stale_questions(&mut self, now: Now) {
        let stale: Vec<u64> = self
            .asks
            .open
            .iter()
            .filter(|(_, question)| question.deadline <= now.mono)
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            self.close_question(id);
        }
    }

    fn close_question(&mut self, id: u64) -> Option<Question> {
        let question = self.asks.open.remove(&id)?;
        self.asks.by_object.remove(&question.object);
        Some(question)
    }

    pub(super) fn answer(&mut self, to: PeerId, id: u64, object: &ObjectId, clock: &Clock) {
        if self.is_fresh() {
            return;
        }
        let shard = self.shard(object.shard());
        let ended = shard.look_up(object, self.clock_floor()) == Lookup::Ended;
        let missing = match shard.missing(clock) {
            Some(ops) => Missing::Ops(ops),
            None => Missing::State(Box::new(shard.state())),
        };
        self.send(to, Message::Answer { id, missing, ended });
    }

    pub(super) fn answered(&mut self, now: Now, from: PeerId, id: u64, missing: Missing, ended: bool) {
        if self.is_fresh() {
            return;
        }
        match missing {
            Missing::Ops(ops) => {
                for op in ops {
                    self.known_to(from, op.object.shard(), op.dot);
                    self.take_op(now, op);
                }
            }
            Missing::State(state) => {
                self.merge(now, *state);
            }
        }
        self.tell_progress(from);
        if let Some(question) = self.asks.open.get_mut(&id) {
            question.outstanding.remove(&from);
            question.ended |= ended;
            if question.outstanding.is_empty() {
                self.finish_question(id);
            }
        }
    }

    fn finish_question(&mut self, id: u64) {
        let Some(question) = self.close_question(id) else { return };
        let waited = Waited::Asked { by_all: question.complete, ended: question.ended };
        for wait in question.waits {
            if self.waits.close(wait) {
                self.done(wait, waited);
            }
        }
    }

    /// What was asked for may have come by itself.
    pub(super) fn asked_object_changed(&mut self, now: Now, object: &ObjectId) {
        let Some(id) = self.asks.by_object.get(object).copied() else { return };
        if self.shard(object.shard()).look_up(object, self.clock.time(now)) != Lookup::Unknown {
            self.finish_question(id);
        }
    }

    /// A peer that was asked will not answer.
    pub(super) fn asked_peer_lost(&mut self, _now: Now, peer: PeerId) {
        let mut over = Vec::new();
        for (id, question) in &mut self.asks.open {
            if question.outstanding.remove(&peer) {
                question.complete = false;
                if question.outstanding.is_empty() {
                    over.push(*id);
                }
            }
        }
        for id in over {
            self.finish_question(id);
        }
    }
}
