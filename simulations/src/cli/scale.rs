//! `scale`: the same users on clusters of different sizes: what grows with the number of nodes, and how fast.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{complain, now, say, table};
use crate::record::RunRecord;
use crate::report::{Size, write_growth};
use crate::run::run_on;
use crate::scenario::{ClusterSpec, FaultKind, FaultSpec, Mistake, Scenario, Span, TrafficSpec};
use crate::system::Sidetalk;
use crate::world::{Progress, Watch};

/// The arguments of `scale`.
#[derive(Debug, Args)]
pub(super) struct Scale {
    /// How many nodes, one run each.
    #[arg(default_values_t = [3, 10, 30, 100, 300, 1_000])]
    nodes: Vec<usize>,
    /// How long users use each cluster, in seconds of virtual time.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Write the table, a plot and the figures as JSON into this folder.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// A cluster of so many nodes, its users, and one partition: a third of the nodes for five seconds.
#[must_use]
pub(super) fn scenario(nodes: usize, seconds: u64) -> Scenario {
    let text = format!("name = \"scale-{nodes}\"\nduration = \"{seconds}s\"\n");
    // A text of our own, which a test reads.
    let mut scenario = Scenario::parse(&text).unwrap_or_else(|_| crate::explore::draw(1));
    scenario.cluster = ClusterSpec { nodes, stagger: Span::millis(2), ..ClusterSpec::default() };
    scenario.traffic = TrafficSpec { users: 50, pages_per_second: 50, ..TrafficSpec::default() };
    scenario.quiet = Span::secs(5);
    let partition =
        FaultSpec::new(FaultKind::Partition, Span::secs(seconds / 4), Some(Span::secs(seconds / 2)));
    let side = (1..=nodes.div_ceil(3)).map(|node| format!("n{node}")).collect();
    scenario.faults = vec![FaultSpec { groups: vec![side], ..partition }];
    scenario
}

pub(super) fn main(args: &Scale) -> ExitCode {
    let (mut clean, mut sizes) = (true, Vec::new());
    say(
        "nodes    links   up after  all the same  idle bytes/s/node  bytes/write/node  KiB/node to meet, held, resident   real",
    );
    // Before the first of them takes its time.
    let scenarios: Vec<Scenario> = args.nodes.iter().map(|nodes| scenario(*nodes, args.seconds)).collect();
    let mistakes: Vec<Mistake> = scenarios.iter().flat_map(Scenario::mistakes).collect();
    if !mistakes.is_empty() {
        for Mistake { key, what, allowed, .. } in &mistakes {
            complain(&format!("{key}: {what}; allowed: {allowed}"));
        }
        return ExitCode::from(2);
    }
    for scenario in &scenarios {
        let started = now();
        // The kernel counts the most from now on; where it does not, the sizes before this one were smaller.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let Ok(record) = watched(scenario) else { return ExitCode::from(2) };
        let size = Size::of(&record, started.elapsed().as_secs_f64(), resident_bytes_max());
        say(&line(&size));
        sizes.push(size);
        clean &= record.is_clean();
        for verdict in record.broken() {
            say(&format!("      {} broken {} times: {:?}", verdict.judge, verdict.broken, verdict.examples));
        }
        // Written after each: the large ones take their time.
        if args.report.as_ref().is_some_and(|folder| !write(folder, &sizes)) {
            return ExitCode::from(2);
        }
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a scenario; a large one tells every ten real seconds how far it is.
fn watched(scenario: &Scenario) -> Result<RunRecord, Vec<Mistake>> {
    let mut told = now();
    let mut progress = |progress: &Progress| {
        if told.elapsed().as_secs() >= 10 {
            told = now();
            complain(&table::progress(progress));
        }
    };
    let mut watch = Watch { progress: Some(&mut progress), tell: false };
    run_on(scenario, Sidetalk::new(scenario), &mut watch).map(|(record, _)| record)
}

/// The most memory that this process has had, where the system tells (`VmHWM`).
fn resident_bytes_max() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn write(folder: &Path, sizes: &[Size]) -> bool {
    write_growth(folder, sizes)
        .inspect_err(|error| complain(&format!("{}: {error}", folder.display())))
        .is_ok()
}

fn line(size: &Size) -> String {
    let same = size.same_after_s.map_or_else(|| "never".into(), |seconds| format!("{seconds:.2} s"));
    format!(
        "{:5} {:8} {:8.2} s {same:>13} {:18.0} {:17.0} {:16.0} {:5} {:9} {:4.0} s",
        size.nodes,
        size.links,
        size.up_after_s,
        size.idle_bytes_per_node_s,
        size.write_bytes_per_node,
        size.meeting_bytes_per_node / 1024.0,
        size.held_bytes_per_node / 1024,
        size.resident_bytes_per_node.unwrap_or(0) / 1024,
        size.real_s
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_size_is_a_scenario() {
        for nodes in [3, 30, 1_000] {
            let scenario = super::scenario(nodes, 10);
            assert_eq!((scenario.cluster.nodes, scenario.mistakes()), (nodes, vec![]));
            assert_eq!(scenario.name, format!("scale-{nodes}"));
        }
    }
}
