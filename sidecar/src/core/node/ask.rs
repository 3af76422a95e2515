//! Asking on a miss: "never heard of it" asks before it says no.
//!
//! A question is a pull: it brings the operations that the asker lacks, and they are applied through the normal
//! door. An object is never stored without the operations that made it (semantics finding 29).

use std::collections::{BTreeMap, BTreeSet};

use super::peer::Peer;
use super::waves::member_hash;
use super::{FULL_MESH_MAX, Node};
use crate::core::command::{Lookup, WaitId, Waited};
use crate::core::identity::{Clock, ObjectId, ReplicaId};
use crate::core::message::{Message, Missing, PeerId};
use crate::core::mutant::Rule;
use crate::core::packed::PackedOp;
use crate::core::time::{MonoMicros, Now};
use crate::core::wave::{self, Reach, WaveId};

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
    /// It goes by way of the neighbours.
    wave: Option<Through>,
    ended: bool,
    waits: Vec<WaitId>,
    /// Who asked after the question went out: an answer that was given before tells them nothing.
    late: Vec<WaitId>,
    deadline: MonoMicros,
}

/// A question that goes from neighbour to neighbour.
#[derive(Clone, Copy, Debug)]
struct Through {
    number: u64,
    /// The sum of those who must answer.
    everyone: u64,
    reach: Reach,
}

impl Asks {
    pub(super) fn new(now: Now) -> Self {
        let full = ASKS_PER_SECOND * 1_000_000;
        let (open, by_object) = (BTreeMap::new(), BTreeMap::new());
        Self { next: 0, open, by_object, allowance_micros: full, refilled: now.mono }
    }

    /// Whether somebody has told those who wait that the object ended.
    pub(super) fn told_ended(&self, wait: WaitId) -> bool {
        let waits = |question: &Question| question.waits.contains(&wait) || question.late.contains(&wait);
        self.open.values().any(|question| question.ended && waits(question))
    }

    /// A question that goes by way of the neighbours, and whether somebody still waits for it.
    fn through(&self, number: u64, now: Now) -> Option<(u64, ObjectId, Through, bool)> {
        self.open.iter().find_map(|(id, question)| {
            let wave = question.wave.filter(|wave| wave.number == number)?;
            Some((*id, question.object.clone(), wave, question.deadline > now.mono))
        })
    }

    /// `cost` is in millionths of a question.
    fn allows(&mut self, now: Now, cost: u64) -> bool {
        let gained = now.mono.since(self.refilled).saturating_mul(ASKS_PER_SECOND);
        self.refilled = now.mono;
        self.allowance_micros = self.allowance_micros.saturating_add(gained).min(ASKS_PER_SECOND * 1_000_000);
        match self.allowance_micros.checked_sub(cost) {
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
            let wait = self.waits.open_question(deadline);
            if let Some(question) = self.asks.open.get_mut(&id) {
                question.late.push(wait);
                question.deadline = question.deadline.max(deadline);
            }
            return Err(wait);
        }
        let id = match self.put_question(now, object, deadline, millis > 0) {
            Ok(id) => id,
            Err(waited) => return Ok(waited),
        };
        let wait = self.waits.open_question(deadline);
        if let Some(question) = self.asks.open.get_mut(&id) {
            question.waits.push(wait);
        }
        Err(wait)
    }

    /// Asks everyone who can answer. Where nobody is asked, that is what the question brings.
    fn put_question(
        &mut self,
        now: Now,
        object: ObjectId,
        deadline: MonoMicros,
        has_time: bool,
    ) -> Result<u64, Waited> {
        if self.is_overlay() {
            return self.ask_through(now, object, deadline, has_time);
        }
        let others: Vec<ReplicaId> = self.other_members().into_iter().map(|(_, id)| id).collect();
        let asked: BTreeSet<PeerId> = others.iter().copied().filter(|id| self.can_answer(*id)).collect();
        if asked.is_empty() {
            return Err(self.nobody_asked(others.is_empty()));
        }
        self.admit_question(now, 1_000_000, has_time)?;
        self.asks.next += 1;
        let id = self.asks.next;
        let clock = self.shard(object.shard()).clock().clone();
        for peer in &asked {
            self.send(*peer, Message::Ask { id, object: object.clone(), clock: clock.clone() });
        }
        self.asks.by_object.insert(object.clone(), id);
        let question = Question {
            object,
            complete: asked.len() == others.len()
                && self.knows_everyone_alive()
                && !self.others_hear_the_superseded(),
            wave: None,
            outstanding: asked,
            ended: false,
            waits: Vec::new(),
            late: Vec::new(),
            deadline,
        };
        self.asks.open.insert(id, question);
        Ok(id)
    }

    /// What a question brings that is put to nobody.
    fn nobody_asked(&self, is_alone: bool) -> Waited {
        Waited::Asked { by_all: is_alone && self.knows_everyone_alive(), ended: false }
    }

    /// Counts a question, or refuses it for its rate or for lack of time.
    fn admit_question(&mut self, now: Now, cost: u64, has_time: bool) -> Result<(), Waited> {
        if !has_time || !self.asks.allows(now, cost) {
            self.figures.asks_refused += 1;
            return Err(Waited::Asked { by_all: false, ended: false });
        }
        self.figures.asks += 1;
        Ok(())
    }

    /// No process gossips that might have been written to and is not in the roster yet.
    fn knows_everyone_alive(&self) -> bool {
        let has_nothing = |id| {
            self.peers.get(id).is_some_and(|peer| peer.introduced && peer.fresh)
                || self.succession.is_fresh(id)
        };
        self.succession.knows_all()
            && self.alive.keys().all(|id| self.roster.get(*id).is_some() || has_nothing(id))
    }

    /// Asks everyone by way of the neighbours. What each question costs the cluster grows with the members, so fewer
    /// may be put.
    fn ask_through(
        &mut self,
        now: Now,
        object: ObjectId,
        deadline: MonoMicros,
        has_time: bool,
    ) -> Result<u64, Waited> {
        let others = self.other_members();
        if others.is_empty() || !self.peers.values().any(Peer::takes_ops) {
            return Err(self.nobody_asked(others.is_empty()));
        }
        let cost = 1_000_000 * (others.len() as u64).div_ceil(FULL_MESH_MAX as u64);
        self.admit_question(now, cost, has_time)?;
        let everyone = others.iter().map(|(_, id)| member_hash(*id)).fold(0, u64::wrapping_add);
        self.asks.next += 1;
        let (id, number, reach) = (self.asks.next, self.waves.number(), self.all_round());
        self.asks.by_object.insert(object.clone(), id);
        let question = Question {
            object: object.clone(),
            outstanding: BTreeSet::new(),
            complete: false,
            wave: Some(Through { number, everyone, reach }),
            ended: false,
            waits: Vec::new(),
            late: Vec::new(),
            deadline,
        };
        self.asks.open.insert(id, question);
        self.put_wave(now, number, reach, wave::Question::Object(object));
        Ok(id)
    }

    /// Everybody has answered who got the question. Where some have not got it, for a link was missing, it goes out
    /// once more, over every link there is.
    pub(super) fn wave_answered(&mut self, now: Now, number: u64, members: u64, ended: bool) {
        self.wave_told(number, ended);
        let unknown = |object: &ObjectId| self.look_up(now, object) == Lookup::Unknown;
        let Some((id, object, Through { everyone, reach, .. }, in_time)) = self.asks.through(number, now)
        else {
            return;
        };
        let complete =
            members == everyone && self.knows_everyone_alive() || self.mutants.lacks(Rule::PartialAnswer);
        let again = !complete && !ended && in_time && reach != Reach::Everyone && unknown(&object);
        let fresh_number = self.waves.number();
        if let Some(question) = self.asks.open.get_mut(&id) {
            question.complete = complete;
            if again {
                question.wave = Some(Through { number: fresh_number, everyone, reach: Reach::Everyone });
            }
        }
        if again {
            self.put_wave(now, fresh_number, Reach::Everyone, wave::Question::Object(object));
        } else {
            self.finish_question(now, id);
        }
    }

    /// Somebody who was asked may remember that it ended.
    pub(super) fn wave_told(&mut self, number: u64, ended: bool) {
        let asked = |question: &&mut Question| question.wave.is_some_and(|wave| wave.number == number);
        if let Some(question) = self.asks.open.values_mut().find(asked) {
            question.ended |= ended;
        }
    }

    fn can_answer(&self, id: ReplicaId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.takes_ops())
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
        if let Some(Through { number, .. }) = question.wave {
            self.waves.close(WaveId { root: self.id(), number });
        }
        Some(question)
    }

    pub(super) fn answer(&mut self, to: PeerId, id: u64, object: &ObjectId, clock: &Clock) {
        if self.is_fresh() || !self.may_share_with(to) {
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
                for op in ops.into_iter().filter_map(PackedOp::open) {
                    self.known_to(from, op.op.object.shard(), op.op.dot);
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
                self.finish_question(now, id);
            }
        }
    }

    fn finish_question(&mut self, now: Now, id: u64) {
        let Some(question) = self.close_question(id) else { return };
        let waited = Waited::Asked { by_all: question.complete, ended: question.ended };
        self.end_questions(question.waits, waited);
        let late: Vec<WaitId> = question.late.into_iter().filter(|wait| self.waits.is_open(*wait)).collect();
        let object = question.object;
        if late.is_empty() {
            return;
        }
        if question.ended || self.look_up(now, &object) != Lookup::Unknown {
            self.end_questions(late, waited);
            return;
        }
        match self.put_question(now, object, question.deadline, true) {
            Ok(id) => {
                if let Some(again) = self.asks.open.get_mut(&id) {
                    again.waits = late;
                }
            }
            Err(waited) => self.end_questions(late, waited),
        }
    }

    fn end_questions(&mut self, waits: Vec<WaitId>, waited: Waited) {
        for wait in waits {
            if self.waits.close(wait) {
                self.done(wait, waited);
            }
        }
    }

    /// What was asked for may have come by itself.
    pub(super) fn asked_object_changed(&mut self, now: Now, object: &ObjectId) {
        self.passed_on_object_changed(now, object);
        let Some(id) = self.asks.by_object.get(object).copied() else { return };
        if self.look_up(now, object) != Lookup::Unknown {
            self.finish_question(now, id);
        }
    }

    /// A peer that was asked will not answer.
    pub(super) fn asked_peer_lost(&mut self, now: Now, peer: PeerId) {
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
            self.finish_question(now, id);
        }
    }
}
