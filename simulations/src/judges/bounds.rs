//! Queues, logs and clocks have limits that hold all the time; and when it is quiet, nothing is left over.

use std::collections::BTreeMap;

use super::{End, Findings, Judge};
use crate::history::History;
use crate::record::{NodeSample, Outcomes};
use crate::scenario::Scenario;
use crate::system::{Gauges, NodeIx, Process};

/// Operations that may wait for others in all shards of one node.
const PENDING_OPS_MAX: u64 = 256 * 4_096;

/// Beyond the limit of all logs: each shard may be over its share by the last operation.
const LOG_SLACK_BYTES: u64 = 256 * 1_024;

/// One message of any size has room in an empty queue.
const QUEUE_SLACK_BYTES: u64 = 4 << 20;

pub(super) struct Bounds {
    findings: Findings,
    log_bytes_max: u64,
    queue_bytes_max: u64,
    processes: u64,
    last: BTreeMap<NodeIx, Gauges>,
}

impl Bounds {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            findings: Findings::default(),
            log_bytes_max: scenario.cluster.log.0 + LOG_SLACK_BYTES,
            queue_bytes_max: scenario.network.queue.0 + QUEUE_SLACK_BYTES,
            processes: 0,
            last: BTreeMap::new(),
        }
    }

    fn at_most(&mut self, node: NodeIx, what: &str, is: u64, max: u64) {
        self.findings
            .check(is <= max, || format!("{}: {what}: {is}, above {max}", Scenario::node_name(node)));
    }
}

impl Judge for Bounds {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn started(&mut self, _: Process) {
        self.processes += 1;
    }

    fn sampled(&mut self, node: NodeIx, sample: &NodeSample) {
        let gauges = sample.gauges;
        let (log, queue, processes) = (self.log_bytes_max, self.queue_bytes_max, self.processes);
        self.at_most(node, "bytes of log", gauges.log_bytes, log);
        self.at_most(node, "bytes queued for a link", sample.queued_bytes, queue);
        self.at_most(node, "operations that wait for others", gauges.pending_ops, PENDING_OPS_MAX);
        self.at_most(node, "entries of a clock", gauges.clock_entries, processes);
        self.last.insert(node, gauges);
    }

    fn finish(&mut self, end: &End<'_>, _: &History, _: &mut Outcomes) {
        if end.converged.is_none() {
            return;
        }
        for (node, gauges) in std::mem::take(&mut self.last) {
            if end.looks.iter().any(|(other, _)| *other == node) {
                // What an operation waits for may have died with the only process that had it.
                let missing = if self.processes > end.processes as u64 { PENDING_OPS_MAX } else { 0 };
                self.at_most(node, "operations that still wait at the end", gauges.pending_ops, missing);
                self.at_most(node, "requests that still wait at the end", gauges.waits, 0);
            }
        }
    }
}
