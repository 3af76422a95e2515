//! Questions for everyone, where not everyone is linked with everyone: from neighbour to neighbour, and back.
//!
//! Who gets a question passes it on, waits for those to whom it did, and answers for all of them (Segall, *Distributed
//! Network Protocols*, 1983). Nobody counts for more than once: a question that is there already is not answered
//! again, and an answer carries the sum of the ids of those who gave it, which the asker compares with its roster.
//! So whatever is lost, repeated or interrupted makes an answer incomplete, never wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use super::overlay::place;
use super::survey::Surveys;
use crate::core::command::{Acks, Lookup, WaitId};
use crate::core::identity::{ObjectId, ReplicaId, ShardId};
use crate::core::limits::WAIT_MILLIS_MAX;
use crate::core::message::{Message, Missing, PeerId, Progress};
use crate::core::time::{MonoMicros, Now};
use crate::core::token::Token;
use crate::core::wave::{Echo, Question, Reach, WaveId};

/// Questions that are under way through this node, at most.
const OPEN_MAX: usize = 8_192;

/// An answer that comes later than this is of no use: as long as any wait may take.
const OPEN_MILLIS: u64 = WAIT_MILLIS_MAX;

/// For so long a question that has been answered may come again by other ways.
const ANSWERED_MILLIS: u64 = 5_000;

/// Between two questions about one write that is still to be acknowledged.
const AGAIN_MILLIS: u64 = 1_000;

/// Neighbours tell how far they are by themselves.
const NEIGHBOURS_MILLIS: u64 = 300;

/// What stands for a member in a sum.
pub(super) fn member_hash(id: ReplicaId) -> u64 {
    place(id)
}

#[derive(Debug)]
pub(super) struct Waves {
    next: u64,
    open: BTreeMap<WaveId, Wave>,
    pub(super) surveys: Surveys,
    /// Writes that are waited for.
    counts: BTreeMap<WaitId, Count>,
    /// Questions about them.
    counted_by: BTreeMap<u64, WaitId>,
    /// Questions that an operation in a shard may answer.
    by_shard: BTreeSet<(ShardId, WaveId)>,
    /// Questions about an object, by the hash of its name.
    by_object: BTreeSet<(u64, WaveId)>,
}

/// A question that has been passed on.
#[derive(Debug)]
pub(super) struct Wave {
    /// Who passed it on to this node; `None` for its own.
    pub(super) parent: Option<PeerId>,
    /// Who has not answered yet.
    pub(super) outstanding: BTreeSet<PeerId>,
    /// This node has answered.
    answered: bool,
    ends: MonoMicros,
    task: Task,
}

#[derive(Debug)]
enum Task {
    Survey,
    Object {
        object: ObjectId,
        members: u64,
        ended: bool,
    },
    /// And whose answers have been passed on: a wave that came late, when it was over elsewhere, may run in a ring.
    Applied(Vec<Progress>, BTreeSet<ReplicaId>),
}

/// Members that are not linked and have applied a write.
#[derive(Debug)]
struct Count {
    dots: Vec<Progress>,
    have: BTreeSet<ReplicaId>,
    again_at: MonoMicros,
}

impl Waves {
    pub(super) fn new(now: Now) -> Self {
        Self {
            next: 0,
            open: BTreeMap::new(),
            surveys: Surveys::new(now),
            counts: BTreeMap::new(),
            counted_by: BTreeMap::new(),
            by_shard: BTreeSet::new(),
            by_object: BTreeSet::new(),
        }
    }

    /// The next question's number.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn deadline(&self) -> Option<MonoMicros> {
        let counts = self.counts.values().map(|count| count.again_at);
        counts.chain([self.surveys.due_at()]).min()
    }

    pub(super) fn get(&self, id: WaveId) -> Option<&Wave> {
        self.open.get(&id)
    }

    fn open(&mut self, id: WaveId, wave: Wave) {
        match &wave.task {
            Task::Object { object, .. } => drop(self.by_object.insert((object.hash(), id))),
            Task::Applied(dots, _) => self.by_shard.extend(dots.iter().map(|progress| (progress.shard, id))),
            Task::Survey => {}
        }
        self.open.insert(id, wave);
    }

    pub(super) fn close(&mut self, id: WaveId) {
        self.forget_reasons(id);
        self.open.remove(&id);
        self.surveys.close(id);
    }

    /// Nothing that changes here is of interest to this question any more.
    fn forget_reasons(&mut self, id: WaveId) {
        match self.open.get(&id).map(|wave| &wave.task) {
            Some(Task::Object { object, .. }) => drop(self.by_object.remove(&(object.hash(), id))),
            Some(Task::Applied(dots, _)) => {
                for progress in dots {
                    self.by_shard.remove(&(progress.shard, id));
                }
            }
            Some(Task::Survey) | None => {}
        }
    }
}

fn dots_of(token: &Token) -> Vec<Progress> {
    token.dots.iter().map(|dot| Progress { shard: token.shard, dot: *dot }).collect()
}

impl Node {
    /// Puts a question of this node's.
    pub(super) fn put_wave(&mut self, now: Now, number: u64, reach: Reach, question: Question) {
        let wave = WaveId { root: self.id(), number };
        self.open_wave(now, None, wave, reach, question);
    }

    /// To everyone, by as few links as possible.
    pub(super) fn all_round(&self) -> Reach {
        Reach::Until(place(self.id()))
    }

    pub(super) fn wave_from(
        &mut self,
        now: Now,
        from: PeerId,
        wave: WaveId,
        reach: Reach,
        question: Question,
    ) {
        let known = wave.root == self.id() || self.waves.open.contains_key(&wave);
        if known || self.is_fresh() || self.waves.open.len() >= OPEN_MAX {
            self.send(from, Message::Echo { wave, echo: Echo::Again });
            return;
        }
        self.open_wave(now, Some(from), wave, reach, question);
    }

    fn open_wave(
        &mut self,
        now: Now,
        parent: Option<PeerId>,
        wave: WaveId,
        reach: Reach,
        question: Question,
    ) {
        let known_here = match &question {
            Question::Object(object) => self.look_up(now, object) != Lookup::Unknown,
            Question::Survey | Question::Applied(_) => false,
        };
        let parts: Vec<(PeerId, Reach)> = match reach {
            _ if known_here => Vec::new(),
            Reach::Until(until) => {
                self.parts(until, parent).into_iter().map(|(id, until)| (id, Reach::Until(until))).collect()
            }
            Reach::Everyone => {
                let peers = self.peers.iter().filter(|(id, peer)| peer.takes_ops() && Some(**id) != parent);
                peers.map(|(id, _)| (*id, Reach::Everyone)).collect()
            }
        };
        for (id, reach) in &parts {
            self.send(*id, Message::Wave { wave, reach: *reach, question: question.clone() });
        }
        let task = match question {
            Question::Survey => {
                self.survey_passes(now, wave);
                Task::Survey
            }
            Question::Object(object) => Task::Object { object, members: 0, ended: false },
            Question::Applied(dots) => Task::Applied(dots, BTreeSet::new()),
        };
        let outstanding = parts.into_iter().map(|(id, _)| id).collect();
        let ends = now.mono.plus_millis(OPEN_MILLIS);
        self.waves.open(wave, Wave { parent, outstanding, answered: false, ends, task });
        self.answer_if_done(now, wave);
        self.tell_root(wave);
    }

    pub(super) fn echo_from(&mut self, now: Now, from: PeerId, wave: WaveId, echo: Echo) {
        if let Echo::Applied(by) = echo {
            self.told_applied(wave, by);
            return;
        }
        let Some(open) = self.waves.open.get_mut(&wave) else { return };
        if !open.outstanding.remove(&from) || open.answered {
            return;
        }
        match echo {
            Echo::Survey(survey) => self.absorb_survey(from, wave, &survey),
            Echo::Object { members, missing, clock_sum, ended } => {
                self.absorb_object(now, from, wave, (members, ended), missing, clock_sum);
            }
            Echo::Again | Echo::Applied(_) => {}
        }
        self.answer_if_done(now, wave);
    }

    fn absorb_object(
        &mut self,
        now: Now,
        from: PeerId,
        wave: WaveId,
        (sum, told_ended): (u64, bool),
        missing: Missing,
        clock_sum: u64,
    ) {
        let Some(Wave { task: Task::Object { object, .. }, .. }) = self.waves.open.get(&wave) else { return };
        let shard = object.shard();
        if self.peers.get(&from).is_none_or(|peer| !peer.states_wanted.is_empty()) {
            return;
        }
        match missing {
            Missing::Ops(ops) => self.ops_from(now, from, ops),
            Missing::State(state) => {
                let clock = state.clock.clone();
                if state.shard == shard && self.merge(now, *state) {
                    self.clock_known(from, shard, &clock);
                }
            }
        }
        let ours = self.shard(shard);
        let covered = ours.digest().clock_sum == clock_sum
            || self.peers.get(&from).is_some_and(|peer| {
                peer.known.sum_of(shard) == clock_sum
                    && peer.known.get(shard).is_none_or(|known| ours.clock().covers(known))
            });
        if let Some(Wave { task: Task::Object { members, ended, .. }, .. }) = self.waves.open.get_mut(&wave) {
            *ended |= told_ended;
            if covered {
                *members = members.wrapping_add(sum);
            }
        }
        if wave.root == self.id() {
            self.wave_told(wave.number, told_ended);
        }
    }

    /// Answers when everybody has to whom a question was passed on, or when it needs no more answers.
    fn answer_if_done(&mut self, now: Now, wave: WaveId) {
        let Some(open) = self.waves.open.get(&wave).filter(|open| !open.answered) else { return };
        let nobody_left = open.outstanding.is_empty();
        match &open.task {
            Task::Survey if nobody_left => self.answer_survey(now, wave),
            Task::Object { object, members, ended } => {
                let found = self.look_up(now, object) != Lookup::Unknown;
                if nobody_left || found {
                    let (object, members, ended) = (object.clone(), *members, *ended);
                    self.answer_object(now, wave, &object, members, ended);
                }
            }
            Task::Survey | Task::Applied(..) => return,
        }
        if let Some(open) = self.waves.open.get_mut(&wave)
            && open.outstanding.is_empty()
        {
            open.answered = true;
        }
    }

    fn answer_object(&mut self, now: Now, wave: WaveId, object: &ObjectId, members: u64, ended: bool) {
        let Some(open) = self.waves.open.get_mut(&wave) else { return };
        open.answered = true;
        // Until then the question may come by other ways.
        open.ends = open.ends.min(now.mono.plus_millis(ANSWERED_MILLIS));
        let parent = open.parent;
        self.waves.forget_reasons(wave);
        let Some(parent) = parent else {
            self.waves.close(wave);
            self.wave_answered(now, wave.number, members, ended);
            return;
        };
        self.tell_progress(parent);
        let shard = self.shard(object.shard());
        let ended = ended || shard.look_up(object, self.clock_floor()) == Lookup::Ended;
        let known = self.peers.get(&parent).and_then(|peer| peer.known.get(object.shard()).cloned());
        let missing = match shard.missing(&known.unwrap_or_default()) {
            Some(ops) => Missing::Ops(ops),
            None => Missing::State(Box::new(shard.state())),
        };
        let members = members.wrapping_add(member_hash(self.id()));
        let echo = Echo::Object { members, missing, clock_sum: shard.digest().clock_sum, ended };
        self.send(parent, Message::Echo { wave, echo });
    }

    /// An object that others ask for has come by itself.
    pub(super) fn passed_on_object_changed(&mut self, now: Now, changed: &ObjectId) {
        if self.waves.by_object.is_empty() {
            return;
        }
        let hash = changed.hash();
        let first = (hash, WaveId { root: ReplicaId(0), number: 0 });
        let open = self.waves.by_object.range(first..).take_while(|(about, _)| *about == hash);
        for wave in open.map(|(_, wave)| *wave).collect::<Vec<_>>() {
            self.answer_if_done(now, wave);
        }
    }

    /// Who was asked over this link will not answer.
    pub(super) fn wave_peer_lost(&mut self, now: Now, peer: PeerId) {
        let mut over = Vec::new();
        for (id, wave) in &mut self.waves.open {
            if wave.outstanding.remove(&peer) && !wave.answered {
                over.push(*id);
            }
        }
        for wave in over {
            self.answer_if_done(now, wave);
        }
    }

    pub(super) fn drop_stale_waves(&mut self, now: Now) {
        let stale = self.waves.open.iter().filter(|(_, wave)| wave.ends <= now.mono);
        for wave in stale.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.waves.close(wave);
        }
    }

    pub(super) fn waves_tick(&mut self, now: Now) {
        if self.is_overlay() {
            self.survey_if_due(now);
            self.count_again(now);
        }
    }

    /// Somebody waits until others have applied a write.
    pub(super) fn count_acks(&mut self, now: Now, wait: WaitId, token: &Token, need: Acks) {
        if !self.is_overlay() {
            return;
        }
        let linked = self.peers.values().filter(|peer| peer.takes_ops()).count();
        let near = matches!(need, Acks::Count(count) if count <= linked);
        let again_at = if near { now.mono.plus_millis(NEIGHBOURS_MILLIS) } else { now.mono };
        let count = Count { dots: dots_of(token), have: BTreeSet::new(), again_at };
        self.waves.counts.insert(wait, count);
        self.count_again(now);
    }

    fn count_again(&mut self, now: Now) {
        if self.waves.counts.values().all(|count| count.again_at > now.mono) {
            return;
        }
        let waits = &self.waits;
        self.waves.counts.retain(|wait, _| waits.is_open(*wait));
        let counts = &self.waves.counts;
        self.waves.counted_by.retain(|_, wait| counts.contains_key(wait));
        let due = self.waves.counts.iter_mut().filter(|(_, count)| count.again_at <= now.mono);
        let mut questions = Vec::new();
        for (wait, count) in due {
            count.again_at = now.mono.plus_millis(AGAIN_MILLIS);
            questions.push((*wait, count.dots.clone(), !count.have.is_empty()));
        }
        for (wait, dots, again) in questions {
            let reach = if again { Reach::Everyone } else { self.all_round() };
            let number = self.waves.number();
            self.waves.counted_by.insert(number, wait);
            self.put_wave(now, number, reach, Question::Applied(dots));
        }
    }

    fn told_applied(&mut self, wave: WaveId, by: ReplicaId) {
        if wave.root != self.id() {
            if let Some(Wave { parent: Some(parent), task: Task::Applied(_, told), .. }) =
                self.waves.open.get_mut(&wave)
                && told.insert(by)
            {
                let parent = *parent;
                self.send(parent, Message::Echo { wave, echo: Echo::Applied(by) });
            }
            return;
        }
        let Some(wait) = self.waves.counted_by.get(&wave.number).copied() else { return };
        if let Some(count) = self.waves.counts.get_mut(&wait)
            && count.have.insert(by)
        {
            self.check_wait(wait, false);
        }
    }

    /// Those who have told to have applied what a token names.
    pub(super) fn who_told(&self, token: &Token) -> BTreeSet<ReplicaId> {
        if self.waves.counts.is_empty() {
            return BTreeSet::new();
        }
        let dots = dots_of(token);
        let counts = self.waves.counts.values().filter(|count| count.dots == dots);
        counts.flat_map(|count| count.have.iter().copied()).collect()
    }

    /// Tells those who wait for it what has been applied here.
    pub(super) fn tell_roots(&mut self, shard: ShardId) {
        let first = (shard, WaveId { root: ReplicaId(0), number: 0 });
        let open = self.waves.by_shard.range(first..).take_while(|(about, _)| *about == shard);
        for wave in open.map(|(_, wave)| *wave).collect::<Vec<_>>() {
            self.tell_root(wave);
        }
    }

    fn tell_root(&mut self, wave: WaveId) {
        let me = self.id();
        let Some(open) = self.waves.open.get(&wave).filter(|open| !open.answered) else { return };
        let (Task::Applied(dots, _), Some(parent)) = (&open.task, open.parent) else { return };
        if !dots.iter().all(|progress| self.keeps(progress.shard, &progress.dot)) {
            return;
        }
        self.send(parent, Message::Echo { wave, echo: Echo::Applied(me) });
        self.waves.forget_reasons(wave);
        if let Some(open) = self.waves.open.get_mut(&wave) {
            open.answered = true;
        }
    }
}
