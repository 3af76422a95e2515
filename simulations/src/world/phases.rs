//! A run from its first process to its last look: the cluster forms, users come, everything heals, and then nothing
//! happens for a while. What must hold is looked at all the way, and once more at the end.

use super::{Event, Micros, Progress, Watch, World};
use crate::history::Outcome;
use crate::judges::End;
use crate::record::RunRecord;
use crate::scenario::Span;
use crate::system::{NodeIx, System};

/// Between looks at whether a phase is over.
const LOOK: Micros = 50_000;

/// A cluster that is not up after this, beyond the time for which its nodes look for others, never will be.
const FORMING_MAX: Micros = 60_000_000;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The nodes find each other.
    Forming,
    /// Users are there, until then.
    Using { until: Micros },
    /// Requests on the way get their answers, and what still goes wrong is healed.
    Ending { healed: bool },
    /// Everybody must come to hold the same.
    Settling { since: Micros },
    /// Nothing is written.
    Quiet { until: Micros, bytes: u64 },
    /// It is over.
    Over,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forming => "forming",
            Self::Using { .. } => "in use",
            Self::Ending { .. } => "ending",
            Self::Settling { .. } => "settling",
            Self::Quiet { .. } => "quiet",
            Self::Over => "over",
        }
    }
}

impl<S: System> World<S> {
    /// Runs to the end.
    #[must_use]
    pub fn run(mut self, watch: &mut Watch<'_>) -> (RunRecord, Vec<String>) {
        let mut told = 0;
        while self.phase != Phase::Over {
            let Some((at, event)) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            self.happen(event);
            if let Some(progress) = &mut watch.progress
                && self.now >= told
            {
                told = self.now + 1_000_000;
                progress(&self.progress());
            }
        }
        self.finish()
    }

    fn progress(&self) -> Progress {
        Progress {
            virtual_s: Span(self.now).as_secs(),
            phase: self.phase.name(),
            requests: self.requests.count,
            ready: (0..self.seats.len()).filter(|node| self.system.ready(*node)).count(),
            broken: self.judges.broken(),
        }
    }

    /// Looks whether a phase is over.
    pub(super) fn look(&mut self) {
        self.queue.at(self.now + LOOK, Event::Look);
        self.clocks.look(self.now);
        self.heard_since_healing();
        match self.phase {
            Phase::Forming => self.forming(),
            Phase::Using { until } if self.now >= until => {
                self.phase = Phase::Ending { healed: false };
                self.trace.say(self.now, || "the users have gone".into());
            }
            Phase::Ending { healed } => self.ending(healed),
            Phase::Settling { since } => self.settling(since),
            Phase::Quiet { until, bytes } if self.now >= until => {
                let links = self.network.links.len().max(1) as f64;
                let seconds = self.scenario.quiet.as_secs() / 2.0;
                let sent = (self.recorder.bytes() - bytes) as f64;
                self.recorder.idle_bytes_per_link_s = sent / links / seconds;
                self.phase = Phase::Over;
            }
            // What was under way when all were equal is not idle talk: only the second half counts.
            Phase::Quiet { until, .. } if self.now + self.scenario.quiet.0 / 2 < until => {
                self.phase = Phase::Quiet { until, bytes: self.recorder.bytes() };
            }
            Phase::Using { .. } | Phase::Quiet { .. } | Phase::Over => {}
        }
    }

    fn forming(&mut self) {
        let nodes = self.seats.len();
        let standing = self.network.links.values().filter(|link| link.up == [true, true]).count();
        let linked = standing >= self.links_wanted();
        let up = (0..nodes).all(|node| self.system.ready(node)) && linked;
        let late = FORMING_MAX + 2 * self.scenario.cluster.bootstrap.0;
        if up {
            let until = self.now + self.scenario.duration.0;
            self.phase = Phase::Using { until };
            self.trace.say(self.now, || "the cluster is up: users come".into());
            self.recorder.begin(self.now);
            self.judges.begin(self.now);
            self.schedule_faults();
            self.queue.at(self.now, Event::Sample);
            self.queue.at(self.now, Event::HealthCheck);
            self.desk(|traffic, desk| traffic.begin(desk));
        } else if self.now >= late {
            self.judges.alarm("the cluster never came up");
            self.phase = Phase::Over;
        }
    }

    /// Links there are when everybody who wants one has one.
    fn links_wanted(&self) -> usize {
        let mut wanted = 0;
        for a in 0..self.seats.len() {
            for b in a + 1..self.seats.len() {
                if let (Some(one), Some(other)) = (self.seats[a].process, self.seats[b].process) {
                    wanted += usize::from(self.system.wants_link(a, other) && self.system.wants_link(b, one));
                }
            }
        }
        wanted
    }

    fn ending(&mut self, healed: bool) {
        if !healed {
            self.heal_all();
            self.phase = Phase::Ending { healed: true };
            return;
        }
        let process_faults_over = self.recorder.process_faults_over(&self.faults);
        let drained = self.seats.iter().all(|seat| seat.process.is_none() || !seat.leaving);
        if self.traffic.under_way() == 0 && process_faults_over && drained {
            self.history.give_up(self.now);
            self.phase = Phase::Settling { since: self.now };
        }
    }

    fn settling(&mut self, since: Micros) {
        let running = self.running();
        let same = running.iter().all(|node| self.system.ready(*node)) && self.is_same(&running);
        let late = self.now >= since + self.scenario.settle.0;
        if same {
            self.recorder.converged = Some(self.now - since);
        }
        if same || late {
            let now = self.now;
            self.trace
                .say(now, || (if same { "all nodes hold the same" } else { "they never agree" }).into());
            let until = self.now + self.scenario.quiet.0;
            self.phase = Phase::Quiet { until, bytes: self.recorder.bytes() };
        }
    }

    fn is_same(&self, nodes: &[NodeIx]) -> bool {
        let Some((first, others)) = nodes.split_first() else { return true };
        let digest = self.system.digest(*first);
        others.iter().all(|node| self.system.digest(*node) == digest)
    }

    /// Something is healed: from now on we watch until everyone has what there is.
    pub(super) fn healed(&mut self, what: &'static str) {
        let mark = self.system.mark();
        self.recorder.healed(self.now, what, mark);
    }

    fn heard_since_healing(&mut self) {
        let running = self.running();
        let system = &self.system;
        let has = |mark: &S::Mark| running.iter().all(|node| system.covers(*node, mark));
        self.recorder.caught_up(self.now, has);
    }

    /// Every node is looked at.
    pub(super) fn sample(&mut self) {
        self.queue.at(self.now + self.scenario.sample.0, Event::Sample);
        let digests: Vec<_> =
            self.running().into_iter().map(|node| (node, self.system.digest(node))).collect();
        self.judges.digests(&digests);
        let first = digests.first().map(|(_, digest)| digest.clone()).unwrap_or_default();
        let mut nodes = Vec::with_capacity(self.seats.len());
        for node in 0..self.seats.len() {
            let behind = digests.iter().find(|(other, _)| *other == node).map_or(0, |(_, digest)| {
                let parts = digest.parts.iter().zip(&first.parts);
                parts.filter(|(ours, theirs)| ours != theirs).count() as u64
            });
            let sample = self.sample_of(node, behind);
            self.judges.sampled(node, &sample);
            nodes.push(sample);
        }
        self.recorder.sample(self.now, nodes);
    }

    fn sample_of(&mut self, node: NodeIx, parts_behind: u64) -> crate::record::NodeSample {
        use crate::record::{NodeSample, NodeState};
        let seat = &self.seats[node];
        let gauges = self.system.gauges(node).unwrap_or_default();
        let state = match () {
            () if seat.process.is_none() => NodeState::Down,
            () if seat.paused => NodeState::Paused,
            () if gauges.ready && !seat.leaving => NodeState::Up,
            () => NodeState::NotReady,
        };
        let links = seat.process.map_or(0, |process| {
            let links = self.network.links.values();
            links.filter(|link| link.end_of(process).is_some_and(|end| link.up[end])).count()
        });
        let cut_off =
            (0..self.seats.len()).filter(|other| *other != node && !self.network.is_open(node, *other));
        let (bytes_sent, messages_sent) = self.recorder.take_sent(node);
        NodeSample {
            state,
            links: links as u64,
            cut_off_from: cut_off.count() as u64,
            bytes_sent,
            messages_sent,
            queued_bytes: self.network.queued_bytes(node),
            clock_offset_ms: self.clocks.offset_millis(node, self.now),
            parts_behind,
            gauges,
        }
    }

    /// The last look, and the record.
    fn finish(mut self) -> (RunRecord, Vec<String>) {
        self.happened_on_the_way();
        self.excuse_disks_away();
        let nodes = self.running();
        let objects: Vec<_> = self.history.objects.keys().cloned().collect();
        let looks = nodes.iter().map(|node| {
            let now = self.clocks.now(*node, self.now);
            (*node, objects.iter().map(|object| self.system.look(*node, now, object)).collect())
        });
        let end = End {
            now: self.now,
            converged: self.recorder.converged,
            looks: looks.collect(),
            objects: &objects,
            processes: nodes.len(),
            scenario: &self.scenario,
            figures: self.recorder.figures(&self.scenario, &self.history),
        };
        let verdicts = self.judges.finish(&end, &self.history, &mut self.recorder.outcomes);
        let writes = self.history.writes().filter(|write| write.outcome == Outcome::Acknowledged).count();
        let (hash, events) = (self.trace.digest(), self.trace.events());
        let asked: Vec<&'static str> = self.faults.iter().map(|fault| fault.kind.name()).collect();
        let verdict = self.recorder.faults_happened(&asked, &self.happened, &self.scenario);
        let figures = end.figures.clone();
        let mut record = self.recorder.into_record(&self.scenario, self.system.name(), self.now);
        record.overhead_bytes_per_write = figures.overhead_bytes_per_write;
        record.trace_hash = format!("{hash:016x}");
        record.totals.events = events;
        record.totals.requests = self.requests.count;
        record.totals.writes = writes as u64;
        record.verdicts = verdicts;
        record.verdicts.push(verdict);
        record.happened = self.happened.iter().map(|(what, times)| ((*what).to_owned(), *times)).collect();
        (record, self.trace.take_story())
    }

    /// What is only on the disk of a node that never came back has not been lost, and cannot be seen.
    fn excuse_disks_away(&mut self) {
        let (system, running) = (&self.system, self.running());
        let away = |node: &NodeIx| !running.contains(node);
        let away: Vec<NodeIx> = (0..self.seats.len()).filter(away).collect();
        self.history.excuse(|receipt| {
            running.iter().any(|node| system.holds(*node, receipt))
                || !away.iter().any(|node| system.on_disk(*node, receipt))
        });
    }

    fn happened_on_the_way(&mut self) {
        let counts = self.network.counts;
        for (what, times) in [
            ("packets lost", counts.lost),
            ("messages repeated", counts.repeated),
            ("messages overtaken", counts.overtaken),
            ("messages held by a partition", counts.held),
            ("messages clogged", counts.clogged),
            ("queues overflowed", counts.overflows),
        ] {
            if times > 0 {
                self.happened.insert(what, times);
            }
        }
    }
}
