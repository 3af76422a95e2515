//! Bytes on the wire for one field of a session, to each peer.

use std::time::{Duration, Instant};

use sidetalk_tests::Node;

use super::reads::SESSIONS;
use super::writes::patches;
use crate::connection::Connection;
use crate::load::Target;
use crate::nodes;
use crate::plan::Plan;
use crate::result::Comparison;
use crate::sessions::Size;

/// Between two writes that go out one by one.
const PAUSE: Duration = Duration::from_millis(3);

/// What a peer may get for one write, in bytes: by itself, and under load.
const TARGETS: (f64, f64) = (150.0, 60.0);

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let nodes = nodes::start(3).await;
    nodes::store(&nodes[0], Size::Small, "sess", SESSIONS).await;
    for node in &nodes {
        nodes::settled(node, SESSIONS).await;
    }
    let mut single = Vec::new();
    let mut batched = Vec::new();
    for _ in 0..3 {
        let idle = idle_bytes_per_second(&nodes[0]).await;
        single.push(one_by_one(&nodes[0], idle, plan.writes / 3).await);
        batched.push(under_load(&nodes[0], idle, plan.round * 3).await);
    }
    let name = |how: &str| format!("bytes to one peer for one field of a session, {how}, encryption aside");
    vec![
        Comparison::bounded("traffic", name("one write at a time"), "bytes", &single, TARGETS.0),
        Comparison::bounded("traffic", name("50 connections"), "bytes", &batched, TARGETS.1),
    ]
}

async fn sent(node: &Node) -> f64 {
    nodes::metric(node, "sidetalk_link_sent_bytes_total").await
}

async fn idle_bytes_per_second(node: &Node) -> f64 {
    let (before, started) = (sent(node).await, Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    (sent(node).await - before) / started.elapsed().as_secs_f64()
}

async fn one_by_one(node: &Node, idle: f64, writes: u64) -> f64 {
    let stream = patches(nodes::address(node), Size::Small);
    let mut connection = Connection::http(stream.address).await;
    let (before, started) = (sent(node).await, Instant::now());
    for request in stream.requests.iter().cycle().take(writes as usize) {
        connection.ask(request).await;
        tokio::time::sleep(PAUSE).await;
    }
    let bytes = sent(node).await - before - idle * started.elapsed().as_secs_f64();
    bytes / writes as f64 / 2.0
}

async fn under_load(node: &Node, idle: f64, length: Duration) -> f64 {
    let mut target =
        Target::new(vec![node.pid()], vec![patches(nodes::address(node), Size::Small)], 50, 1).await;
    let (before, started) = (sent(node).await, Instant::now());
    let round = target.round(length).await;
    // What waits in a queue is sent within this.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let bytes = sent(node).await - before - idle * started.elapsed().as_secs_f64();
    bytes / round.latencies.len() as f64 / 2.0
}
