//! What encryption costs where operations are replicated: two pairs of nodes, one with a cluster key and one without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetalk_tests::{Node, SecretFile, within};

use super::reads::SESSIONS;
use crate::connection::{Protocol, request};
use crate::load::{Stream, Target};
use crate::nodes;
use crate::plan::Plan;
use crate::process::CpuNanos;
use crate::result::{Better, Comparison};
use crate::sessions::{Size, id};

/// Writes in one request: the way in must not be what is measured.
const DEPTH: usize = 100;

/// Connections that write.
const CONNECTIONS: usize = 4;

/// What a peer may take to apply what it was sent.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

/// Encryption may cost so much of the throughput.
const TARGET: f64 = 0.9;

/// One writes, the other one follows.
struct Pair {
    nodes: Vec<Node>,
    writes: Target,
}

/// Operations a second until the follower had them all; processor time for each, of both nodes and of the follower.
#[derive(Default)]
struct Found {
    per_second: Vec<f64>,
    both_micros: Vec<f64>,
    follower_micros: Vec<f64>,
}

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let key = SecretFile::key("benchmark");
    let mut pairs = [Pair::start(&["--cluster-key-file", key.path()]).await, Pair::start(&[]).await];
    let mut found = [Found::default(), Found::default()];
    for pair in &mut pairs {
        pair.round(plan.round, &mut Found::default()).await;
    }
    for round in 0..plan.rounds {
        for turn in 0..pairs.len() {
            let side = (turn + round) % pairs.len();
            pairs[side].round(plan.round, &mut found[side]).await;
        }
    }
    let [keyed, plain] = found;
    let compare = |what: &str, unit, better, keyed, plain, target| {
        let name = format!("replication of one-field changes to one peer: {what}");
        let sides = [("Sidetalk", keyed), ("without a key", plain)];
        Comparison::of_values("encryption", name, unit, better, &sides, &[("without a key", target)])
    };
    let (more, less) = (Better::More, Better::Less);
    vec![
        compare("throughput", "operations/s", more, keyed.per_second, plain.per_second, TARGET),
        compare("processor, both nodes", "µs", less, keyed.both_micros, plain.both_micros, 1.0 / TARGET),
        compare(
            "processor, who follows",
            "µs",
            less,
            keyed.follower_micros,
            plain.follower_micros,
            1.0 / TARGET,
        ),
    ]
}

impl Pair {
    async fn start(arguments: &[&str]) -> Self {
        let nodes = nodes::start_with(2, arguments).await;
        nodes::store(&nodes[0], Size::Small, "sess", SESSIONS).await;
        for node in &nodes {
            nodes::settled(node, SESSIONS).await;
        }
        let stream = Stream {
            address: nodes::address(&nodes[0]),
            protocol: Protocol::Http,
            requests: Arc::new((0..SESSIONS / DEPTH).map(changes).collect()),
        };
        let writes = Target::new(vec![nodes[0].pid()], vec![stream], CONNECTIONS, DEPTH).await;
        Self { nodes, writes }
    }

    async fn round(&mut self, length: Duration, found: &mut Found) {
        let before = self.applied().await;
        let [ours, theirs] = self.cpu();
        let begun = Instant::now();
        let round = self.writes.round(length).await;
        let operations = (round.latencies.len() * DEPTH) as f64;
        within(CATCH_UP_MAX, "the follower has all", || async {
            let applied = self.applied().await - before;
            if applied >= operations { Ok(()) } else { Err(format!("{applied} of {operations}")) }
        })
        .await;
        let seconds = begun.elapsed().as_secs_f64();
        let [ours_after, theirs_after] = self.cpu();
        let (ours, theirs) = (ours_after.since(&ours), theirs_after.since(&theirs));
        let micros = |nanos: u64| nanos as f64 / 1e3 / operations;
        found.per_second.push(operations / seconds);
        found.follower_micros.push(micros(theirs));
        found.both_micros.push(micros(ours + theirs));
    }

    fn cpu(&self) -> [CpuNanos; 2] {
        [0, 1].map(|node| CpuNanos::of(&[self.nodes[node].pid()]))
    }

    async fn applied(&self) -> f64 {
        nodes::metric(&self.nodes[1], "sidetalk_operations_applied_total").await
    }
}

/// A batch of increments of one field each: what changes nothing would not be replicated.
fn changes(group: usize) -> Vec<u8> {
    let change = |at: usize| {
        json!({
            "method": "PATCH",
            "path": format!("/v1/sessions/{}", id("sess", group * DEPTH + at)),
            "headers": { "prefer": "return=minimal", "content-type": "application/vnd.sidetalk.ops+json" },
            "body": [{ "op": "incr", "path": ["n"], "by": 1 }],
        })
    };
    let ops: Vec<Value> = (0..DEPTH).map(change).collect();
    request("POST", "/v1/batch", &json!({ "ops": ops }).to_string())
}
