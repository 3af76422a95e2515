//! What everyone is known to have, where not everyone reports to everyone.
//!
//! One member, the one with the smallest id that lives, asks all for a report: clocks, time and roster, taken
//! together. On its way back the answer stays small: a node knows exactly how far a neighbour is, since the two
//! compare all the time, so it passes on only where the members behind it are *not* as far as itself. For the same
//! reason the result fits everyone: of everything that it does not name, each member had what all others had when
//! it answered, which it has written down itself.
//!
//! A result counts only when everybody in the roster has reported, all with that same roster: one of the dead who
//! has not been forgotten is enough that nothing new settles, as it is among few.

use std::collections::BTreeMap;

use super::Node;
use super::collect::Evidence;
use super::waves::member_hash;
use crate::core::identity::{Clock, Dot, ReplicaId, ShardId};
use crate::core::message::{Message, PeerId};
use crate::core::mutant::Rule;
use crate::core::time::{MonoMicros, Now, UnixMillis};
use crate::core::wave::{Echo, Question, Reach, Settled, Survey, Unsettled, WaveId};

/// Between surveys.
const SURVEY_MILLIS: u64 = 1_000;

/// A survey that takes longer has got stuck.
const STUCK_MILLIS: u64 = 6_000;

/// Who asks when the first does not, and the next does not either, waits at most so many surveys longer.
const PATIENCE_MAX: u64 = 8;

/// One author in one shard.
type Pair = (ShardId, ReplicaId);

#[derive(Debug)]
pub(super) struct Surveys {
    due_at: MonoMicros,
    /// When anybody's survey was last here.
    heard: MonoMicros,
    /// This node's own that is under way, and since when.
    own: Option<(WaveId, MonoMicros)>,
    /// The last one of its own came to nothing: perhaps a link is missing where it went.
    missed: bool,
    tallies: BTreeMap<WaveId, Tally>,
    settled: Option<Known>,
}

/// What those behind this node have reported in one survey.
#[derive(Debug)]
struct Tally {
    roster: u64,
    members: u64,
    time: UnixMillis,
    /// Until this node has answered: the least and the most that anybody has, where it is not what this node has.
    /// From then on: how far this node was.
    range: BTreeMap<Pair, (u64, u64)>,
    answered: bool,
    /// Who has reported.
    told: Vec<PeerId>,
    broken: bool,
}

/// The last result.
#[derive(Debug)]
struct Known {
    roster: u64,
    time: UnixMillis,
    /// What everyone had, where this node has more now.
    least: BTreeMap<Pair, u64>,
    /// What somebody had, and this node may lack.
    most: BTreeMap<Pair, u64>,
}

impl Surveys {
    pub(super) fn new(now: Now) -> Self {
        Self {
            due_at: now.mono.plus_millis(SURVEY_MILLIS),
            heard: now.mono,
            own: None,
            missed: false,
            tallies: BTreeMap::new(),
            settled: None,
        }
    }

    pub(super) fn due_at(&self) -> MonoMicros {
        self.due_at
    }

    pub(super) fn close(&mut self, wave: WaveId) {
        self.tallies.remove(&wave);
    }
}

impl Node {
    fn counter(&self, (shard, actor): Pair) -> u64 {
        self.shard(shard).clock().get(&actor)
    }

    /// This node has applied more of an author's operations than before.
    pub(super) fn advanced(&mut self, shard: ShardId, actor: ReplicaId, before: u64) {
        for tally in self.waves.surveys.tallies.values_mut() {
            tally.range.entry((shard, actor)).or_insert((before, before));
        }
        if let Some(settled) = &mut self.waves.surveys.settled {
            settled.least.entry((shard, actor)).or_insert(before);
        }
    }

    pub(super) fn survey_if_due(&mut self, now: Now) {
        if self.waves.surveys.due_at > now.mono {
            return;
        }
        self.waves.surveys.due_at = now.mono.plus_millis(SURVEY_MILLIS);
        if self.is_fresh() {
            return;
        }
        let me = self.id();
        let before = self.members_up().filter(|id| *id < me).count() as u64;
        let patience_millis = SURVEY_MILLIS * before.min(PATIENCE_MAX);
        if before > 0 && now.mono.since(self.waves.surveys.heard) < 1_000 * (SURVEY_MILLIS + patience_millis)
        {
            return;
        }
        if let Some((own, since)) = self.waves.surveys.own {
            if now.mono.since(since) < 1_000 * STUCK_MILLIS {
                return;
            }
            self.waves.close(own);
            self.waves.surveys.missed = true;
        }
        let missed = std::mem::take(&mut self.waves.surveys.missed);
        let reach = if missed { Reach::Everyone } else { self.all_round() };
        let number = self.waves.number();
        self.waves.surveys.own = Some((WaveId { root: me, number }, now.mono));
        self.put_wave(now, number, reach, Question::Survey);
    }

    pub(super) fn survey_passes(&mut self, now: Now, wave: WaveId) {
        self.waves.surveys.heard = now.mono;
        let tally = Tally {
            roster: self.roster.sum(),
            members: 0,
            time: UnixMillis::NEVER,
            range: BTreeMap::new(),
            answered: false,
            told: Vec::new(),
            broken: false,
        };
        self.waves.surveys.tallies.insert(wave, tally);
    }

    /// A neighbour has answered for itself and those behind it. What it says is of use only if this node knows
    /// exactly how far that neighbour is.
    pub(super) fn absorb_survey(&mut self, from: PeerId, wave: WaveId, survey: &Survey) {
        let Some(mut tally) = self.waves.surveys.tallies.remove(&wave) else { return };
        match self.peers.get(&from) {
            Some(peer)
                if survey.roster == tally.roster
                    && (peer.known.sum() == survey.clock_sum || self.mutants.lacks(Rule::HazySurvey)) =>
            {
                let mut theirs: BTreeMap<Pair, (u64, u64)> = survey
                    .unsettled
                    .iter()
                    .map(|pair| (pair.pair(), (pair.least, pair.most.dot.counter)))
                    .collect();
                let differing = self.differing(from);
                for pair in tally.range.keys().copied().chain(differing) {
                    let counter = peer.known.counter(pair.0, pair.1);
                    theirs.entry(pair).or_insert((counter, counter));
                }
                for (pair, (least, most)) in theirs {
                    let ours = self.counter(pair);
                    let range = tally.range.entry(pair).or_insert((ours, ours));
                    *range = (range.0.min(least), range.1.max(most));
                }
                tally.members = tally.members.wrapping_add(survey.members);
                tally.time = tally.time.min(survey.time);
                tally.told.push(from);
            }
            _ => tally.broken = true,
        }
        self.waves.surveys.tallies.insert(wave, tally);
    }

    /// Where a neighbour is not as far as this node, or further.
    fn differing(&self, peer: PeerId) -> Vec<Pair> {
        let Some(peer) = self.peers.get(&peer) else { return Vec::new() };
        if peer.known.sum() == self.clock_sum() {
            return Vec::new();
        }
        let mut differing = Vec::new();
        for shard in &self.shards {
            let nothing = Clock::default();
            let (ours, theirs) = (shard.clock(), peer.known.get(shard.id()).unwrap_or(&nothing));
            let either = ours.beyond(theirs).chain(theirs.beyond(ours));
            differing.extend(either.map(|dot| (shard.id(), dot.actor)));
        }
        differing
    }

    /// Everyone behind this node has answered: now it reports itself, at this moment.
    pub(super) fn answer_survey(&mut self, now: Now, wave: WaveId) {
        let parent = self.waves.get(wave).and_then(|wave| wave.parent);
        let time = self.time_for_good(now);
        let Some(mut tally) = self.waves.surveys.tallies.remove(&wave) else { return };
        tally.time = tally.time.min(time);
        tally.members = tally.members.wrapping_add(member_hash(self.id()));
        // What is not on this node's disk it may lose: it is no further than that.
        for (shard, actor, saved) in self.unsaved() {
            let range = tally.range.entry((shard, actor)).or_insert((saved, saved));
            range.0 = range.0.min(saved);
        }
        let mut unsettled = Vec::new();
        for (pair, (least, most)) in std::mem::take(&mut tally.range) {
            let ours = self.counter(pair);
            let (least, most) = (least.min(ours), most.max(ours));
            if least < most {
                unsettled.push(Unsettled::new(pair, least, most));
            }
        }
        tally.answered = true;
        let broken = tally.broken || tally.roster != self.roster.sum();
        let Tally { roster, members, time, .. } = tally;
        self.waves.surveys.tallies.insert(wave, tally);
        match parent {
            Some(parent) if broken => self.send(parent, Message::Echo { wave, echo: Echo::Again }),
            Some(parent) => {
                self.tell_progress(parent);
                let clock_sum = self.clock_sum();
                let survey = Box::new(Survey { members, roster, time, clock_sum, unsettled });
                self.send(parent, Message::Echo { wave, echo: Echo::Survey(survey) });
            }
            None => {
                let everyone = self.roster.needed().map(member_hash).fold(0, u64::wrapping_add);
                self.waves.surveys.own = None;
                let all = members == everyone || self.mutants.lacks(Rule::PartialSurvey);
                if !broken && all {
                    self.settle(&Settled { wave, roster, time, unsettled });
                } else {
                    self.waves.surveys.missed = true;
                    self.waves.close(wave);
                }
            }
        }
    }

    pub(super) fn settled_by(&mut self, from: PeerId, settled: &Settled) {
        if self.waves.get(settled.wave).is_some_and(|wave| wave.parent == Some(from)) {
            self.settle(settled);
        }
    }

    /// Everybody has reported. Of what the result does not name all had what this node had when it answered.
    fn settle(&mut self, settled: &Settled) {
        let Some(tally) = self.waves.surveys.tallies.remove(&settled.wave).filter(|tally| tally.answered)
        else {
            return;
        };
        self.waves.close(settled.wave);
        for peer in tally.told {
            self.send(peer, Message::Settled(Box::new(settled.clone())));
        }
        let mut least: BTreeMap<Pair, u64> =
            tally.range.into_iter().map(|(pair, (before, _))| (pair, before)).collect();
        least.extend(settled.unsettled.iter().map(|pair| (pair.pair(), pair.least)));
        let most = settled.unsettled.iter().map(|pair| (pair.pair(), pair.most.dot.counter)).collect();
        let (roster, time) = (settled.roster, settled.time);
        self.waves.surveys.settled = Some(Known { roster, time, least, most });
        self.check_all_waits();
    }

    /// The last result, if the members are still those who gave it.
    fn known_of_all(&self) -> Option<&Known> {
        let known = self.waves.surveys.settled.as_ref()?;
        (self.is_overlay() && known.roster == self.roster.sum()).then_some(known)
    }

    /// What everyone is known to know of one shard.
    pub(super) fn surveyed(&self, shard: ShardId) -> Option<Evidence> {
        let known = self.known_of_all()?;
        let ours = self.shard(shard);
        let all = (shard, ReplicaId(0))..=(shard, ReplicaId(u64::MAX));
        let mut most = known.most.range(all.clone());
        if !most.all(|((_, actor), counter)| ours.has(&Dot::new(*actor, *counter))) {
            return None;
        }
        let mut stable: Clock = ours.clock().clone();
        for ((_, actor), counter) in known.least.range(all) {
            stable.set(*actor, *counter);
        }
        Some(Evidence { stable, time: Some(known.time) })
    }

    /// Whether every member is known to have the same of this process as this node.
    pub(super) fn is_settled_process(&self, id: ReplicaId) -> bool {
        let Some(known) = self.known_of_all() else { return false };
        !known.least.keys().chain(known.most.keys()).any(|(_, actor)| *actor == id)
    }

    /// Whether every member is known to have these.
    pub(super) fn is_settled(&self, shard: ShardId, dots: &[Dot]) -> bool {
        let Some(known) = self.known_of_all() else { return false };
        dots.iter().all(|dot| {
            let least = known.least.get(&(shard, dot.actor)).copied();
            dot.counter <= least.unwrap_or_else(|| self.counter((shard, dot.actor)))
        })
    }

    /// Operations that some member may lack that is no neighbour: what has come since the last survey, at most.
    pub(super) fn unsettled_ops(&self) -> u64 {
        match &self.waves.surveys.settled {
            Some(known) => {
                let ahead =
                    known.least.iter().map(|(pair, least)| self.counter(*pair).saturating_sub(*least));
                ahead.sum()
            }
            // Nothing is known: it may be all.
            None => self.shards.iter().flat_map(|shard| shard.clock().iter()).map(|dot| dot.counter).sum(),
        }
    }

    /// For how long some member may have lacked them, in milliseconds.
    pub(super) fn unsettled_millis(&self, now: Now) -> u64 {
        let since = self.waves.surveys.settled.as_ref().filter(|known| !known.least.is_empty());
        since.map_or(0, |known| self.clock.time(now).since(known.time))
    }
}
