//! What makes no sense in a scenario, told with its line, its key and what is allowed.

use std::fmt;

use super::fault::FaultKind;
use super::locate::{line_of, line_of_offset};
use super::{Scenario, Span, Spread};

/// Something wrong in a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1; 0 where it is not known.
    pub line: usize,
    /// The key, such as `fault[2].nodes`.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub allowed: String,
}

impl Mistake {
    pub(super) fn new(key: impl Into<String>, what: String, allowed: String) -> Self {
        Self { line: 0, key: key.into(), what, allowed }
    }

    pub(super) fn located(self, text: &str) -> Self {
        Self { line: line_of(text, &self.key), ..self }
    }

    /// What the TOML reader says: its message names what it expected.
    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let line = line_of_offset(text, start);
        let message = error.message();
        let (what, allowed) = match message.split_once(", expected ") {
            Some((what, allowed)) => (what, allowed),
            None => (message, "see docs/simulation.md"),
        };
        let shown = text.lines().nth(line - 1).unwrap_or_default();
        let key = match shown.split_once('=') {
            Some((key, _)) => key.trim(),
            None => shown.trim(),
        };
        Self { line, key: key.into(), what: what.into(), allowed: allowed.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}; allowed: {}", self.line, self.key, self.what, self.allowed)
    }
}

impl std::error::Error for Mistake {}

/// Nodes in one world, at most.
const NODES_MAX: usize = 2_000;

struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn unless(&mut self, holds: bool, key: &str, what: impl fmt::Display, allowed: &str) {
        if !holds {
            self.0.push(Mistake::new(key, what.to_string(), allowed.into()));
        }
    }

    fn spread(&mut self, key: &str, spread: &Spread) {
        self.unless(spread.is_ordered(), key, "its quantiles are out of order", "min <= p50 <= p99 <= max");
    }

    fn between(&mut self, key: &str, value: u64, low: u64, high: u64) {
        let holds = (low..=high).contains(&value);
        self.unless(holds, key, format!("{value} is out of range"), &format!("{low} to {high}"));
    }

    fn span(&mut self, key: &str, span: Span, low: Span, high: Span) {
        let holds = (low..=high).contains(&span);
        self.unless(holds, key, format!("{span} is out of range"), &format!("\"{low}\" to \"{high}\""));
    }
}

impl Scenario {
    /// Everything that makes no sense here, without lines.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Mistakes(Vec::new());
        let day = Span::secs(86_400);
        found.span("duration", self.duration, Span::secs(1), Span(30 * day.0));
        found.span("settle", self.settle, Span::secs(1), day);
        found.span("quiet", self.quiet, Span::secs(1), day);
        found.span("sample", self.sample, Span::millis(10), Span::secs(3_600));
        found.between("cluster.nodes", self.cluster.nodes as u64, 1, NODES_MAX as u64);
        found.between("cluster.zones", self.cluster.zones as u64, 1, self.cluster.nodes.max(1) as u64);
        found.span("cluster.bootstrap", self.cluster.bootstrap, Span::millis(100), Span::secs(3_600));
        found.spread("network.latency", &self.network.latency);
        if let Some(between) = &self.network.between_zones {
            found.spread("network.between_zones", between);
        }
        if let Some(disk) = self.cluster.disk {
            found.span("cluster.disk", disk, Span(1), Span::secs(60));
        }
        found.span("network.silence", self.network.silence, Span::millis(100), Span::secs(600));
        let bandwidth = self.network.bandwidth.map_or(1, |bandwidth| bandwidth.0);
        found.unless(bandwidth > 0, "network.bandwidth", "nothing would ever arrive", "at least \"1B\"");
        found.spread("membership.detect_up", &self.membership.detect_up);
        found.spread("membership.detect_down", &self.membership.detect_down);
        self.check_traffic(&mut found);
        for (index, fault) in self.faults.iter().enumerate() {
            self.check_fault(&mut found, index, fault);
        }
        let mut found = found.0;
        if found.is_empty() {
            found.extend(self.faults().err().into_iter().flatten());
        }
        found
    }

    fn check_traffic(&self, found: &mut Mistakes) {
        let traffic = &self.traffic;
        found.between("traffic.users", traffic.users.into(), 0, 1_000_000);
        found.between("traffic.pages_per_second", traffic.pages_per_second.into(), 0, 1_000_000);
        found.between("traffic.parallel", traffic.parallel.into(), 1, 100);
        found.between("traffic.fields", traffic.fields.into(), 1, 1_000);
        found.span("traffic.ttl", traffic.ttl, Span::secs(1), Span::secs(365 * 86_400));
        found.span("traffic.patience", traffic.patience, Span::millis(1), Span::secs(3_600));
        found.span("traffic.health_check", traffic.health_check, Span::millis(10), Span::secs(3_600));
        found.spread("traffic.handler", &traffic.handler);
        found.spread("traffic.client_latency", &traffic.client_latency);
        let does_something = traffic.mix.weights().iter().any(|weight| *weight > 0);
        found.unless(
            does_something,
            "traffic.mix",
            "no request does anything",
            "at least one weight above 0",
        );
        for (index, surge) in traffic.surge.iter().enumerate() {
            found.between(&format!("traffic.surge[{index}].times"), surge.times.into(), 1, 1_000);
        }
        for (key, names, rate) in [
            ("traffic.counters.names", traffic.counters.names, traffic.counters.per_second),
            ("traffic.sets.names", traffic.sets.names, traffic.sets.per_second),
            ("traffic.documents.names", traffic.documents.names, traffic.documents.per_second),
        ] {
            found.unless(
                names > 0 || rate == 0,
                key,
                "there is none to change",
                "at least 1, or per_second = 0",
            );
        }
    }

    fn check_fault(&self, found: &mut Mistakes, index: usize, fault: &super::FaultSpec) {
        let (must, may) = fault.kind.keys();
        let at = |key: &str| format!("fault[{index}].{key}");
        let name = fault.kind.name();
        let given = fault.keys();
        for key in &given {
            let allowed: Vec<&str> = must.iter().chain(may).copied().collect();
            let known = must.contains(key) || may.contains(key);
            let what = format!("a fault of the kind {name:?} has no such key");
            found.unless(known, &at(key), what, &format!("kind, at, {}", allowed.join(", ")));
        }
        for key in must {
            let directed = *key == "nodes" && given.contains(&"from") && given.contains(&"to");
            let what = format!("a fault of the kind {name:?} needs the key {key:?}");
            found.unless(given.contains(key) || directed, &at("kind"), what, &must.join(", "));
        }
        let last = format!("before the end of the run, \"{}\"", self.duration);
        found.unless(fault.at < self.duration, &at("at"), format!("{} is too late", fault.at), &last);
        if let Some(every) = fault.every {
            found.span(&at("every"), every, Span::millis(1), Span::secs(86_400));
        }
        if let Some(latency) = &fault.latency {
            found.spread(&at("latency"), latency);
        }
        let no_disk = fault.kind == FaultKind::SlowDisk && self.cluster.disk.is_none();
        found.unless(!no_disk, &at("kind"), "there is no disk", "cluster.disk, or another kind");
        let slow = matches!(fault.kind, FaultKind::Slow | FaultKind::SlowDisk)
            && fault.by.is_some_and(|by| by.0 < 0);
        found.unless(!slow, &at("by"), "nothing is done before it is asked for", "a positive offset");
        let stuck = fault.bandwidth.is_some_and(|bandwidth| bandwidth.0 == 0);
        found.unless(!stuck, &at("bandwidth"), "nothing would ever arrive", "at least \"1B\"");
    }
}
