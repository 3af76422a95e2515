//! What one session costs in resident memory, on the node that took it and on one that was sent it.

use std::time::Duration;

use serde_json::Value;
use sidetalk_tests::{Node, within};

use crate::process::resident_bytes;
use crate::{Plan, SESSION, nodes};

/// What a node needs to send, truncate and give back.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// Readings that must agree.
const STEADY_READINGS: usize = 8;

pub(crate) async fn measure(plan: &Plan) {
    let nodes = nodes::start(2).await;
    let mut before = Vec::new();
    for node in &nodes {
        before.push(settled(node).await);
    }
    nodes::store(&nodes[0], "sess", plan.sessions).await;
    println!("\nMemory of {} sessions of {} bytes with ids of 33 bytes", plan.sessions, SESSION.len());
    println!("| | resident before | resident after | for each session |");
    println!("| --- | --- | --- | --- |");
    for (name, node, before) in [("the node written to", 0, before[0]), ("another node", 1, before[1])] {
        within(SETTLE_MAX, "it has all and its log is empty", || async {
            let status = status(&nodes[node]).await?;
            let (sessions, log) = (&status["objects"]["sessions"], &status["figures"]["log_ops"]);
            let done = sessions.as_u64() == Some(plan.sessions as u64) && log.as_u64() == Some(0);
            if done { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
        let after = settled(&nodes[node]).await;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let each = after.saturating_sub(before) as f64 / plan.sessions as f64;
        println!("| {name} | {:.1} MiB | {:.1} MiB | {each:.0} bytes |", mib(before), mib(after));
    }
}

async fn status(node: &Node) -> Result<Value, String> {
    node.client().status().await.map(|answer| answer.value).map_err(|error| error.to_string())
}

/// Resident bytes once they have stopped to fall.
async fn settled(node: &Node) -> u64 {
    let mut least = resident_bytes(node.pid());
    let mut steady = 0;
    while steady < STEADY_READINGS {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = resident_bytes(node.pid());
        steady = if now < least - least / 200 { 0 } else { steady + 1 };
        least = least.min(now);
    }
    resident_bytes(node.pid())
}
