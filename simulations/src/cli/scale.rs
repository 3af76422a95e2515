//! `scale`: the same users on clusters of different sizes: what grows with the number of nodes, and how fast.

use std::process::ExitCode;

use clap::Args;

use super::{complain, now, say};
use crate::run::run;
use crate::scenario::{ClusterSpec, FaultKind, FaultSpec, Scenario, Span, TrafficSpec};

/// The arguments of `scale`.
#[derive(Debug, Args)]
pub(super) struct Scale {
    /// How many nodes, one run each.
    #[arg(default_values_t = [3, 10, 30, 100, 300, 1_000])]
    nodes: Vec<usize>,
    /// How long users use each cluster, in seconds of virtual time.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
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
    let mut clean = true;
    say(
        "nodes   up after  all the same  links   bytes/s/node idle   bytes/write  objects' bytes/node  real s",
    );
    for nodes in &args.nodes {
        let started = now();
        let record = match run(&scenario(*nodes, args.seconds)) {
            Ok(record) => record,
            Err(mistakes) => {
                mistakes.iter().for_each(|mistake| complain(&mistake.to_string()));
                return ExitCode::from(2);
            }
        };
        let last = record.samples.last();
        let links = last.map_or(0, |sample| sample.nodes.iter().map(|node| node.links).sum::<u64>() / 2);
        let content = last.map_or(0, |sample| {
            sample
                .nodes
                .iter()
                .map(|node| node.gauges.content_bytes + node.gauges.log_bytes)
                .max()
                .unwrap_or(0)
        });
        let idle = record.idle_bytes_per_link_s * links as f64 / *nodes as f64;
        let writes = record.samples.iter().flat_map(|sample| &sample.nodes).map(|node| node.gauges.written);
        let writes = writes.max().unwrap_or(1).max(1) * *nodes as u64;
        say(&format!(
            "{nodes:5} {:8.2} s {:>11} {links:7} {idle:20.0} {:13.0} {content:20} {:7.1}",
            record.forming_s,
            record.converged_s.map_or_else(|| "never".into(), |seconds| format!("{seconds:.2} s")),
            record.totals.bytes as f64 / writes as f64,
            started.elapsed().as_secs_f64(),
        ));
        clean &= record.is_clean();
        for verdict in record.broken() {
            say(&format!("      {} broken {} times: {:?}", verdict.judge, verdict.broken, verdict.examples));
        }
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
