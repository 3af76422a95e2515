//! What goes wrong, when, and to whom: as it is written, and as it happens.

use serde::{Deserialize, Serialize};

use super::Scenario;
use super::check::Mistake;
use super::units::{Bytes, Offset, Share, Span, Spread};
use crate::rng::Rng;

/// One `[[fault]]` as it is written. Which keys count depends on `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it begins, from the moment the cluster is up.
    pub at: Span,
    /// How long it lasts; until the end where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#for: Option<Span>,
    /// To whom: nodes (`n1`), zones (`z2`), `any` (one node, drawn from the seed), `all`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// From whom, where direction counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// To whom, where direction counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// The sides of a partition. Whoever is named nowhere is a side of its own with the others like it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Vec<String>>,
    /// Between one flap and the next, or between one node and the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// By how much: a clock's step, or how late a slow node does things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Offset>,
    /// How wrong a clock runs, in parts per million.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppm: Option<i32>,
    /// One way, in addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Spread>,
    /// The share of packets that are lost, in addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Share>,
    /// The share of messages that come twice, in addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Share>,
    /// The share of messages that others may overtake, in addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Share>,
    /// Bytes a second, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bytes>,
    /// Users cannot reach these nodes either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub users_too: bool,
}

/// The sorts of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Groups of nodes cannot reach each other.
    Partition,
    /// Nothing gets from some nodes to others; the other way is open.
    Cut,
    /// Nodes are cut off from everybody, each alone.
    Isolate,
    /// Nodes are cut off and reached again, over and over.
    Flap,
    /// Links are slower, thinner or lossier.
    Degrade,
    /// What is sent waits until it is over, and then comes at once.
    Clog,
    /// The process dies and its memory with it. When the time is over, a new one starts.
    Crash,
    /// The process stops in order and hands over. When the time is over, a new one starts.
    Leave,
    /// The process stands still: a long collection of garbage, a stopped container.
    Pause,
    /// The machine is suspended: its links break, and it comes back as it was, memory and all.
    Suspend,
    /// Everything on the node takes longer.
    Slow,
    /// What is written to the disk gets there late.
    SlowDisk,
    /// The wall clock is set.
    ClockStep,
    /// The wall clock runs wrong.
    ClockDrift,
    /// A live node is taken for dead.
    Mistake,
}

/// A fault as it happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Its place in the file.
    pub index: usize,
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it begins.
    pub at: Span,
    /// When it ends; never before the end of the run where it has none.
    pub until: Option<Span>,
    /// To whom.
    pub nodes: Vec<usize>,
    /// From whom, where direction counts.
    pub from: Vec<usize>,
    /// To whom, where direction counts.
    pub to: Vec<usize>,
    /// Each node's side.
    pub sides: Vec<usize>,
    /// The rest as it is written.
    pub spec: FaultSpec,
}

impl FaultSpec {
    /// A fault of which nothing is known but its kind and time.
    #[must_use]
    pub fn new(kind: FaultKind, at: Span, lasts: Option<Span>) -> Self {
        Self {
            kind,
            at,
            r#for: lasts,
            nodes: Vec::new(),
            from: Vec::new(),
            to: Vec::new(),
            groups: Vec::new(),
            every: None,
            by: None,
            ppm: None,
            latency: None,
            loss: None,
            duplicate: None,
            reorder: None,
            bandwidth: None,
            users_too: false,
        }
    }

    /// The keys that are written here, beside `kind` and `at`.
    pub(super) fn keys(&self) -> Vec<&'static str> {
        [
            ("for", self.r#for.is_some()),
            ("nodes", !self.nodes.is_empty()),
            ("from", !self.from.is_empty()),
            ("to", !self.to.is_empty()),
            ("groups", !self.groups.is_empty()),
            ("every", self.every.is_some()),
            ("by", self.by.is_some()),
            ("ppm", self.ppm.is_some()),
            ("latency", self.latency.is_some()),
            ("loss", self.loss.is_some()),
            ("duplicate", self.duplicate.is_some()),
            ("reorder", self.reorder.is_some()),
            ("bandwidth", self.bandwidth.is_some()),
            ("users_too", self.users_too),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect()
    }
}

impl FaultKind {
    /// Every sort.
    pub const ALL: [Self; 15] = [
        Self::Partition,
        Self::Cut,
        Self::Isolate,
        Self::Flap,
        Self::Degrade,
        Self::Clog,
        Self::Crash,
        Self::Leave,
        Self::Pause,
        Self::Suspend,
        Self::Slow,
        Self::SlowDisk,
        Self::ClockStep,
        Self::ClockDrift,
        Self::Mistake,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Cut => "cut",
            Self::Isolate => "isolate",
            Self::Flap => "flap",
            Self::Degrade => "degrade",
            Self::Clog => "clog",
            Self::Crash => "crash",
            Self::Leave => "leave",
            Self::Pause => "pause",
            Self::Suspend => "suspend",
            Self::Slow => "slow",
            Self::SlowDisk => "slow-disk",
            Self::ClockStep => "clock-step",
            Self::ClockDrift => "clock-drift",
            Self::Mistake => "mistake",
        }
    }

    /// The keys it must have, and those it may have.
    pub(super) fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Partition => (&["groups"], &["for", "users_too"]),
            Self::Cut => (&["from", "to"], &["for"]),
            Self::Isolate => (&["nodes"], &["for", "users_too"]),
            Self::Flap => (&["nodes", "every"], &["for"]),
            Self::Degrade => {
                (&["nodes"], &["for", "from", "to", "latency", "loss", "duplicate", "reorder", "bandwidth"])
            }
            Self::Clog => (&["nodes"], &["for"]),
            Self::Crash | Self::Leave => (&["nodes"], &["for", "every"]),
            Self::Pause | Self::Suspend => (&["nodes", "for"], &["every"]),
            Self::Slow | Self::SlowDisk => (&["nodes", "by"], &["for"]),
            Self::ClockStep => (&["nodes", "by"], &["for"]),
            Self::ClockDrift => (&["nodes", "ppm"], &["for"]),
            Self::Mistake => (&["nodes"], &["for", "from"]),
        }
    }

    /// The process itself stops or stands still.
    #[must_use]
    pub fn is_process(self) -> bool {
        matches!(self, Self::Crash | Self::Leave | Self::Pause | Self::Suspend)
    }
}

/// The nodes that words like `n1`, `z2`, `any` and `all` mean.
fn nodes_of(scenario: &Scenario, words: &[String], rng: &mut Rng, key: &str) -> Result<Vec<usize>, Mistake> {
    let count = scenario.cluster.nodes;
    let mut found = Vec::new();
    for word in words {
        let number = |prefix: char, count: usize| {
            let number = word.strip_prefix(prefix)?.parse::<usize>().ok()?;
            (1..=count).contains(&number).then(|| number - 1)
        };
        if word == "all" {
            found.extend(0..count);
        } else if word == "any" {
            let free: Vec<usize> = (0..count).filter(|node| !found.contains(node)).collect();
            found.extend(free.get(rng.index(free.len())));
        } else if let Some(node) = number('n', count) {
            found.push(node);
        } else if let Some(zone) = number('z', scenario.cluster.zones) {
            found.extend((0..count).filter(|node| scenario.zone_of(*node) == zone));
        } else {
            let zones = scenario.cluster.zones;
            let allowed = format!("\"n1\" to \"n{count}\", \"z1\" to \"z{zones}\", \"any\", \"all\"");
            return Err(Mistake::new(key, format!("there is no node or zone {word:?}"), allowed));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

pub(super) fn resolve(scenario: &Scenario) -> Result<Vec<Fault>, Vec<Mistake>> {
    let (mut faults, mut mistakes) = (Vec::new(), Vec::new());
    for (index, spec) in scenario.faults.iter().enumerate() {
        match resolve_one(scenario, index, spec) {
            Ok(fault) => faults.push(fault),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(faults) } else { Err(mistakes) }
}

fn resolve_one(scenario: &Scenario, index: usize, spec: &FaultSpec) -> Result<Fault, Mistake> {
    // By what it is, not by its place: leaving out another fault changes nothing here.
    let salt = xxhash_rust::xxh3::xxh3_64(spec.kind.name().as_bytes()) ^ spec.at.0;
    let mut rng = Rng::fork(scenario.seed, "fault", salt);
    let key = |key: &str| format!("fault[{index}].{key}");
    let sides = sides_of(scenario, spec, &mut rng, &key("groups"))?;
    Ok(Fault {
        index,
        kind: spec.kind,
        at: spec.at,
        until: spec.r#for.map(|lasts| Span(spec.at.0.saturating_add(lasts.0))),
        nodes: nodes_of(scenario, &spec.nodes, &mut rng, &key("nodes"))?,
        from: nodes_of(scenario, &spec.from, &mut rng, &key("from"))?,
        to: nodes_of(scenario, &spec.to, &mut rng, &key("to"))?,
        sides,
        spec: spec.clone(),
    })
}

fn sides_of(scenario: &Scenario, spec: &FaultSpec, rng: &mut Rng, key: &str) -> Result<Vec<usize>, Mistake> {
    let mut sides = vec![0; scenario.cluster.nodes];
    for (side, group) in spec.groups.iter().enumerate() {
        for node in nodes_of(scenario, group, rng, key)? {
            if sides[node] != 0 {
                let what = format!("{} stands on two sides", Scenario::node_name(node));
                return Err(Mistake::new(key, what, "each node on one side at most".into()));
            }
            sides[node] = side + 1;
        }
    }
    Ok(sides)
}
