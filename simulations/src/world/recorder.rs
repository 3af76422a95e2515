//! Writes down what is observed.

use std::collections::BTreeMap;

use super::Micros;
use crate::history::{Act, History};
use crate::judges::{Figures, SeenVerdict};
use crate::record::{
    FaultSpan, Healing, NodeSample, Outcomes, RunRecord, Sample, SeenAt, Totals, Verdict, meeting_bytes,
};
use crate::scenario::{Fault, FaultKind, Scenario, Span};
use crate::traffic::Seen;

/// What goes on while the run goes on.
pub(super) struct Recorder<M> {
    began: Micros,
    pub(super) outcomes: Outcomes,
    pub(super) converged: Option<Micros>,
    pub(super) idle_bytes_per_link_s: f64,
    sent: Vec<(u64, u64)>,
    by_sort: BTreeMap<&'static str, (u64, u64)>,
    bytes: u64,
    messages: u64,
    samples: Vec<Sample>,
    seen: Vec<SeenAt>,
    step: Step,
    faults: BTreeMap<usize, (FaultSpan, bool)>,
    healings: Vec<(Healing, Option<M>)>,
    links_at_end: u64,
}

/// What was seen since the last sample.
#[derive(Default)]
struct Step {
    before: Outcomes,
    stale_millis: Vec<f64>,
}

impl<M> Recorder<M> {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            began: 0,
            outcomes: Outcomes::default(),
            converged: None,
            idle_bytes_per_link_s: 0.0,
            sent: vec![(0, 0); scenario.cluster.nodes],
            by_sort: BTreeMap::new(),
            bytes: 0,
            messages: 0,
            samples: Vec::new(),
            seen: Vec::new(),
            step: Step::default(),
            faults: BTreeMap::new(),
            healings: Vec::new(),
            links_at_end: 0,
        }
    }

    pub(super) fn begin(&mut self, now: Micros) {
        self.began = now;
    }

    pub(super) fn began(&self) -> Micros {
        self.began
    }

    fn t(&self, now: Micros) -> f64 {
        Span(now.saturating_sub(self.began)).as_secs()
    }

    pub(super) fn sent(&mut self, node: usize, sort: &'static str, bytes: u64) {
        let (all, messages) = &mut self.sent[node];
        *all += bytes;
        *messages += 1;
        let (count, total) = self.by_sort.entry(sort).or_default();
        *count += 1;
        *total += bytes;
        self.bytes += bytes;
        self.messages += 1;
    }

    pub(super) fn take_sent(&mut self, node: usize) -> (u64, u64) {
        std::mem::take(&mut self.sent[node])
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What a user was told, and what the judges say of it.
    pub(super) fn saw(&mut self, _: &Seen, verdict: &SeenVerdict) {
        self.outcomes.lost_logins += u64::from(verdict.lost_login);
        self.outcomes.sessions_back += u64::from(verdict.session_back);
        self.outcomes.stale_with_token += u64::from(verdict.stale_with_token);
        if let Some(stale) = verdict.stale {
            self.outcomes.stale_reads += 1;
            self.step.stale_millis.push(stale as f64 / 1e3);
        }
    }

    pub(super) fn sample(&mut self, now: Micros, nodes: Vec<NodeSample>) {
        let t = self.t(now);
        self.links_at_end = nodes.iter().map(|node| node.links).sum::<u64>() / 2;
        self.samples.push(Sample { t, nodes });
        let step = std::mem::take(&mut self.step);
        let (then, new) = (&step.before, &self.outcomes);
        let errors = |outcomes: &Outcomes| outcomes.no_answer + outcomes.refused + outcomes.behind;
        let mut stale = step.stale_millis;
        stale.sort_by(f64::total_cmp);
        self.seen.push(SeenAt {
            t,
            reads: new.reads - then.reads,
            stale_reads: new.stale_reads - then.stale_reads,
            staleness_ms_max: stale.last().copied().unwrap_or(0.0),
            staleness_ms_p50: stale.get(stale.len() / 2).copied().unwrap_or(0.0),
            errors: errors(new) - errors(then),
            lost_logins: new.lost_logins - then.lost_logins,
            sessions_back: new.sessions_back - then.sessions_back,
        });
        self.step.before = self.outcomes.clone();
    }

    pub(super) fn fault_begins(&mut self, fault: &Fault, now: Micros) {
        let name = |node: &usize| Scenario::node_name(*node);
        let touched = fault.nodes.iter().chain(&fault.from).chain(&fault.to);
        let mut sides: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        if fault.kind == FaultKind::Partition {
            for (node, side) in fault.sides.iter().enumerate() {
                sides.entry(*side).or_default().push(Scenario::node_name(node));
            }
        }
        let span = FaultSpan {
            kind: fault.kind.name().into(),
            from: self.t(now),
            until: self.t(now),
            nodes: touched.map(name).collect(),
            sides: sides.into_values().collect(),
        };
        self.faults.insert(fault.index, (span, false));
    }

    /// Gives whether it had not ended before.
    pub(super) fn fault_ends(&mut self, index: usize, now: Micros) -> bool {
        let t = self.t(now);
        match self.faults.get_mut(&index) {
            Some((span, over)) if !*over => {
                span.until = t;
                *over = true;
                true
            }
            _ => false,
        }
    }

    /// Processes that are to come back have come back.
    pub(super) fn process_faults_over(&self, faults: &[Fault]) -> bool {
        faults
            .iter()
            .filter(|fault| fault.kind.is_process() && fault.until.is_some())
            .all(|fault| self.faults.get(&fault.index).is_some_and(|(_, over)| *over))
    }

    pub(super) fn healed(&mut self, now: Micros, what: &str, mark: M) {
        let healing = Healing { at: self.t(now), what: what.into(), caught_up_s: None };
        self.healings.push((healing, Some(mark)));
    }

    pub(super) fn caught_up(&mut self, now: Micros, has: impl Fn(&M) -> bool) {
        let t = self.t(now);
        for (healing, mark) in &mut self.healings {
            if mark.as_ref().is_some_and(&has) {
                healing.caught_up_s = Some(t - healing.at);
                *mark = None;
            }
        }
    }

    /// What the judges of bytes go by.
    pub(super) fn figures(&self, scenario: &Scenario, history: &History) -> Figures {
        let writes: Vec<_> = history.writes().filter(|write| write.is_possible()).collect();
        let payload: u64 = writes
            .iter()
            .map(|write| match write.act {
                Act::Set(_) => scenario.traffic.field_bytes.0 + 8,
                _ => 8,
            })
            .sum();
        let seconds = self.samples.last().map_or(0.0, |sample| sample.t).max(1.0);
        let peers = (scenario.cluster.nodes.saturating_sub(1)).max(1) as f64;
        let meeting = meeting_bytes(|sort| self.by_sort.get(sort).map(|(_, bytes)| *bytes));
        let idle = self.idle_bytes_per_link_s * self.links_at_end as f64 * seconds;
        let for_writes = (self.bytes - meeting) as f64 - idle - payload as f64 * peers;
        Figures {
            idle_bytes_per_link_s: self.idle_bytes_per_link_s,
            overhead_bytes_per_write: (for_writes / peers / writes.len().max(1) as f64).max(0.0),
            writes: writes.len() as u64,
        }
    }

    /// A simulator whose faults do not happen proves nothing.
    pub(super) fn faults_happened(
        &self,
        asked: &[&'static str],
        happened: &BTreeMap<&'static str, u64>,
        scenario: &Scenario,
    ) -> Verdict {
        let mut verdict = Verdict { judge: "faults-happened".into(), ..Verdict::default() };
        let mut must = |wanted: bool, any_of: &[&str], what: &str| {
            if wanted {
                verdict.checked += 1;
                if !any_of.iter().any(|name| happened.contains_key(name)) {
                    verdict.broken += 1;
                    verdict.examples.push(format!("{what} was asked for and never happened"));
                }
            }
        };
        for kind in asked {
            // Somebody else was quicker: there was no process to stop.
            if happened.contains_key(format!("{kind} in vain").as_str()) {
                continue;
            }
            let proof: &[&str] = match *kind {
                "partition" | "cut" | "isolate" => &["paths blocked"],
                "flap" => &["flaps"],
                "degrade" => &["links degraded"],
                "clog" => &["clogs"],
                "crash" => &["crashes"],
                "leave" => &["departures"],
                "pause" => &["pauses"],
                "suspend" => &["suspensions"],
                "slow" => &["slow nodes"],
                "slow-disk" => &["slow disks"],
                "clock-step" => &["clocks stepped"],
                "clock-drift" => &["clocks drifting"],
                _ => &["live nodes taken for dead"],
            };
            must(true, proof, kind);
        }
        let talks = self.messages > 2_000;
        must(talks && scenario.network.loss.0 >= 5_000, &["packets lost"], "loss");
        must(talks && scenario.network.duplicate.0 >= 5_000, &["messages repeated"], "duplication");
        let reorders =
            scenario.network.reorder.0 >= 20_000 && scenario.network.reorder_by >= Span::millis(20);
        must(talks && reorders, &["messages overtaken"], "reordering");
        verdict
    }

    pub(super) fn into_record(self, scenario: &Scenario, system: &str, now: Micros) -> RunRecord {
        let by_sort = |get: fn(&(u64, u64)) -> u64| {
            self.by_sort.iter().map(|(sort, pair)| ((*sort).to_owned(), get(pair))).collect()
        };
        RunRecord {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            system: system.into(),
            seed: scenario.seed,
            nodes: (0..scenario.cluster.nodes).map(Scenario::node_name).collect(),
            duration_s: scenario.duration.as_secs(),
            virtual_s: Span(now).as_secs(),
            forming_s: Span(self.began).as_secs(),
            totals: Totals {
                messages: self.messages,
                bytes: self.bytes,
                messages_by_sort: by_sort(|pair| pair.0),
                bytes_by_sort: by_sort(|pair| pair.1),
                ..Totals::default()
            },
            converged_s: self.converged.map(|converged| Span(converged).as_secs()),
            idle_bytes_per_link_s: self.idle_bytes_per_link_s,
            outcomes: self.outcomes,
            seen: self.seen,
            samples: self.samples,
            faults: self.faults.into_values().map(|(span, _)| span).collect(),
            healings: self.healings.into_iter().map(|(healing, _)| healing).collect(),
            ..RunRecord::default()
        }
    }
}
