//! The curves of a run: what the page draws and `figures.json` holds.

use serde::Serialize;

use crate::record::{NodeSample, NodeState, RunRecord, Sample, SeenAt};

/// Up to so many nodes have a curve each; of more, the least, the middle and the most are shown.
const CURVES_MAX: usize = 6;

/// One plot.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// A short name.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Of the values.
    pub unit: &'static str,
    /// Seconds.
    pub x: Vec<f64>,
    /// The curves.
    pub series: Vec<Series>,
}

/// One curve.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// One for each `x`.
    pub values: Vec<f64>,
}

/// What a node was doing, from when until when.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stretch {
    /// `up`, `starting`, `catching-up`, `leaving`, `paused`, `down` or `left`.
    pub state: &'static str,
    /// Seconds.
    pub from: f64,
    /// Seconds.
    pub until: f64,
}

/// Parts of the store that must differ before a node that is not cut off counts as catching up: a write on its way makes
/// one or two differ for a moment.
const CATCHING_UP_PARTS: u64 = 12;

type Get = fn(&NodeSample) -> f64;
type GetSeen = fn(&SeenAt) -> f64;

/// All plots of one run.
#[must_use]
pub fn figures(record: &RunRecord) -> Vec<Figure> {
    let seen = |id, title, unit, series: &[(&str, GetSeen)]| Figure {
        id,
        title,
        unit,
        x: record.seen.iter().map(|seen| seen.t).collect(),
        series: series
            .iter()
            .map(|(name, get)| Series { name: (*name).into(), values: record.seen.iter().map(get).collect() })
            .collect(),
    };
    let mut all = vec![
        seen(
            "staleness",
            "How old stale reads were",
            "ms",
            &[("stalest", |s| s.staleness_ms_max), ("middle", |s| s.staleness_ms_p50)],
        ),
        seen(
            "trouble",
            "What users met, per step",
            "requests",
            &[
                ("stale reads", |s| s.stale_reads as f64),
                ("errors, or told to be behind", |s| s.errors as f64),
                ("lost logins", |s| s.lost_logins as f64),
                ("sessions back", |s| s.sessions_back as f64),
            ],
        ),
    ];
    let nodes: [(&'static str, &'static str, &'static str, Get, bool); 9] = [
        ("bytes", "Bytes sent by a node", "B/s", |n| n.bytes_sent as f64, true),
        ("messages", "Messages sent by a node", "1/s", |n| n.messages_sent as f64, true),
        (
            "differs",
            "Parts of the store that differ from the first node's",
            "parts",
            |n| n.parts_behind as f64,
            false,
        ),
        ("content", "Memory: content", "B", |n| n.gauges.content_bytes as f64, false),
        ("log", "Memory: log", "B", |n| n.gauges.log_bytes as f64, false),
        ("queue", "Longest queue for one link", "B", |n| n.queued_bytes as f64, false),
        ("pending", "Operations that wait for others", "operations", |n| n.gauges.pending_ops as f64, false),
        ("clock-offset", "Wall clock off by", "ms", |n| n.clock_offset_ms as f64, false),
        (
            "clock-entries",
            "Entries of the largest clock",
            "entries",
            |n| n.gauges.clock_entries as f64,
            false,
        ),
    ];
    all.extend(nodes.map(|(id, title, unit, get, rate)| of_nodes(record, id, title, unit, get, rate)));
    all
}

fn of_nodes(
    record: &RunRecord,
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    get: Get,
    rate: bool,
) -> Figure {
    // The first look has nothing to compare with: it holds all that was sent before.
    let samples = &record.samples[usize::from(rate).min(record.samples.len())..];
    let before = |place: usize| record.samples.get(place).map_or(0.0, |sample| sample.t);
    let value = |place: usize, sample: &Sample, node: usize| {
        let step_s = if rate { (sample.t - before(place)).max(1e-6) } else { 1.0 };
        sample.nodes.get(node).map_or(0.0, get) / step_s
    };
    let curve =
        |node: usize| samples.iter().enumerate().map(|(place, sample)| value(place, sample, node)).collect();
    let count = record.nodes.len();
    let series = if count <= CURVES_MAX {
        record
            .nodes
            .iter()
            .enumerate()
            .map(|(node, name)| Series { name: name.clone(), values: curve(node) })
            .collect()
    } else {
        let mut sorted: Vec<Vec<f64>> = Vec::with_capacity(samples.len());
        for (place, sample) in samples.iter().enumerate() {
            let mut values: Vec<f64> = (0..count).map(|node| value(place, sample, node)).collect();
            values.sort_by(f64::total_cmp);
            sorted.push(values);
        }
        let at = |name: &str, rank: usize| Series {
            name: name.into(),
            values: sorted.iter().map(|v| v[rank]).collect(),
        };
        vec![
            at("the node with the most", count - 1),
            at("the one in the middle", count / 2),
            at("the one with the least", 0),
        ]
    };
    Figure { id, title, unit, x: samples.iter().map(|sample| sample.t).collect(), series }
}

/// The plots of two runs, each with one curve for each run.
#[must_use]
pub fn versus(names: [&str; 2], records: [&RunRecord; 2]) -> Vec<Figure> {
    type Of = fn(&RunRecord) -> Vec<f64>;
    let sums: [(&'static str, &'static str, &'static str, Of); 6] = [
        ("staleness", "How old the stalest read was", "ms", |r| {
            r.seen.iter().map(|s| s.staleness_ms_max).collect()
        }),
        ("stale-reads", "Stale reads, per step", "reads", |r| {
            r.seen.iter().map(|s| s.stale_reads as f64).collect()
        }),
        (
            "errors",
            "Requests that hung, failed, or were told that the node is behind, per step",
            "requests",
            |r| r.seen.iter().map(|s| s.errors as f64).collect(),
        ),
        ("lost-logins", "Lost logins so far", "users", |r| so_far(r.seen.iter().map(|s| s.lost_logins))),
        ("bytes", "Bytes sent by all nodes so far", "B", |r| {
            so_far(r.samples.iter().map(|s| s.nodes.iter().map(|n| n.bytes_sent).sum()))
        }),
        ("content", "Memory: content, the node with the most", "B", |r| {
            let most = |s: &Sample| s.nodes.iter().map(|n| n.gauges.content_bytes).max().unwrap_or(0) as f64;
            r.samples.iter().map(most).collect()
        }),
    ];
    let longest = if records[0].samples.len() >= records[1].samples.len() { 0 } else { 1 };
    let x: Vec<f64> = records[longest].samples.iter().map(|sample| sample.t).collect();
    let figure = |(id, title, unit, of): (_, _, _, Of)| Figure {
        id,
        title,
        unit,
        x: x.clone(),
        series: (0..2).map(|i| Series { name: names[i].into(), values: of(records[i]) }).collect(),
    };
    sums.map(figure).into()
}

fn so_far(values: impl Iterator<Item = u64>) -> Vec<f64> {
    let sum = |sum: &mut u64, value| {
        *sum += value;
        Some(*sum as f64)
    };
    values.scan(0, sum).collect()
}

/// What each node was doing, in stretches.
#[must_use]
pub fn lanes(record: &RunRecord) -> Vec<Vec<Stretch>> {
    (0..record.nodes.len()).map(|node| lane(record, node)).collect()
}

fn lane(record: &RunRecord, node: usize) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let leaves: Vec<_> = record
        .faults
        .iter()
        .filter(|fault| fault.kind == "leave" && fault.nodes.contains(&record.nodes[node]))
        .collect();
    for sample in &record.samples {
        let Some(now) = sample.nodes.get(node) else { continue };
        // What differs is told against the first node with a process: while that one stands still, it says nothing.
        let first = sample.nodes.iter().find(|node| node.state != NodeState::Down);
        let is_told = first.is_some_and(|first| first.state == NodeState::Up);
        let left = leaves.iter().any(|fault| sample.t >= fault.from && sample.t <= fault.until + 1.0);
        let was_serving =
            stretches.last().is_some_and(|last| matches!(last.state, "up" | "catching-up" | "leaving"));
        let state = match now.state {
            NodeState::Down if left => "left",
            NodeState::Down => "down",
            NodeState::Paused => "paused",
            NodeState::NotReady if left && was_serving => "leaving",
            NodeState::NotReady => "starting",
            NodeState::Up if is_told && now.cut_off_from == 0 && now.parts_behind >= CATCHING_UP_PARTS => {
                "catching-up"
            }
            NodeState::Up => "up",
        };
        match stretches.last_mut() {
            Some(last) if last.state == state => last.until = sample.t,
            Some(last) => {
                last.until = sample.t;
                stretches.push(Stretch { state, from: sample.t, until: sample.t });
            }
            None => stretches.push(Stretch { state, from: sample.t, until: sample.t }),
        }
    }
    stretches
}
