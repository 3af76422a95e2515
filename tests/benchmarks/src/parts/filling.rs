//! A great many sessions: what they cost in memory, how long an empty node takes to get them, and what a cluster that
//! has nothing to do spends on them.

use std::time::{Duration, Instant};

use sidetalk_tests::Node;

use crate::connection::{Connection, Protocol, command};
use crate::nodes;
use crate::plan::Plan;
use crate::process::{CpuNanos, resident_bytes};
use crate::redis::Redis;
use crate::result::{Better, Comparison};
use crate::sessions::{Size, id};

/// Commands in one pipeline.
const PIPELINE: usize = 500;

/// Readings of the resident memory that must agree.
const STEADY_READINGS: usize = 8;

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let count = plan.sessions;
    let mut nodes = nodes::start(2).await;
    let empty = steady_bytes(nodes[1].pid()).await;
    nodes::store(&nodes[0], Size::Small, "sess", count).await;
    for node in &nodes {
        nodes::settled(node, count).await;
    }
    let each = |before: u64, after: u64| (after.saturating_sub(before)) as f64 / count as f64;
    let mut memory = vec![("Sidetalk", vec![each(empty, steady_bytes(nodes[1].pid()).await)])];
    let (joining, third) = join(&nodes, count).await;
    nodes.push(third);
    let mut filling = vec![("Sidetalk", vec![joining])];
    let (percent, bytes) = idle(&nodes, plan.idle).await;
    if let Some(primary) = Redis::if_installed().await {
        let before = steady_bytes(primary.pid()).await;
        fill(&primary, count).await;
        memory.push(("Redis", vec![each(before, steady_bytes(primary.pid()).await)]));
        let started = Instant::now();
        let replica = Redis::replica(&primary).await;
        filling.push(("Redis", vec![started.elapsed().as_secs_f64()]));
        drop(replica);
    }
    let name = |what: &str| format!("{what}, {count} sessions of 282 bytes");
    let values = |name, unit, sides: &[(&str, Vec<f64>)], target| {
        Comparison::of_values("filling", name, unit, Better::Less, sides, &[("Redis", target)])
    };
    vec![
        values(name("resident memory for each, on each node"), "bytes", &memory, 1.25),
        values(name("filling an empty node, from its start"), "s", &filling, 1.0),
        Comparison::bounded(
            "filling",
            name("idle cluster of three: processor of each node"),
            "% of a core",
            &percent,
            1.0,
        ),
        Comparison::bounded(
            "filling",
            name("idle cluster of three: sent by each node"),
            "bytes/s",
            &bytes,
            2_048.0,
        ),
    ]
}

/// Starts a third node without memory. Gives the seconds until it serves with all that the others have.
async fn join(nodes: &[Node], count: usize) -> (f64, Node) {
    let joins = nodes.iter().flat_map(|node| ["--join".to_owned(), node.gossip().to_owned()]);
    let started = Instant::now();
    let node = Node::start("n2", &joins.collect::<Vec<_>>()).await;
    loop {
        let status = nodes::status(&node).await.expect("it answers");
        let all = status["objects"]["sessions"].as_u64() == Some(count as u64);
        if all && status["readiness"]["ready"] == true {
            return (started.elapsed().as_secs_f64(), node);
        }
        assert!(started.elapsed() < Duration::from_secs(300), "it is filled in time: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Processor time in percent of a core, and bytes a second, one figure for each node.
async fn idle(nodes: &[Node], length: Duration) -> (Vec<f64>, Vec<f64>) {
    for node in nodes {
        steady_bytes(node.pid()).await;
    }
    let mut before = Vec::new();
    for node in nodes {
        before.push((sent(node).await, CpuNanos::of(&[node.pid()])));
    }
    let started = Instant::now();
    tokio::time::sleep(length).await;
    let seconds = started.elapsed().as_secs_f64();
    let (mut percent, mut bytes) = (Vec::new(), Vec::new());
    for (node, (sent_before, cpu)) in nodes.iter().zip(before) {
        percent.push(CpuNanos::of(&[node.pid()]).since(&cpu) as f64 / 1e9 / seconds * 100.0);
        bytes.push((sent(node).await - sent_before) / seconds);
    }
    (percent, bytes)
}

async fn sent(node: &Node) -> f64 {
    let links = nodes::metric(node, "sidetalk_link_sent_bytes_total").await;
    links + nodes::metric(node, "sidetalk_gossip_sent_bytes_total").await
}

async fn fill(redis: &Redis, count: usize) {
    let json = Size::Small.json();
    for start in (0..count).step_by(PIPELINE) {
        let these = start..count.min(start + PIPELINE);
        let replies = these.len();
        let set = |number| command(&["SET", &id("sess", number), &json, "EX", "86400"]);
        let pipeline: Vec<u8> = these.flat_map(set).collect();
        // One connection for each: the number of replies belongs to it, and a pipeline takes far longer anyway.
        Connection::open(redis.address, Protocol::Redis { replies }).await.ask(&pipeline).await;
    }
}

/// Resident bytes once they have stopped to fall.
pub(super) async fn steady_bytes(pid: u32) -> u64 {
    let mut least = resident_bytes(pid);
    let mut steady = 0;
    while steady < STEADY_READINGS {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = resident_bytes(pid);
        steady = if now < least - least / 200 { 0 } else { steady + 1 };
        least = least.min(now);
    }
    resident_bytes(pid)
}
