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
    println!("\nResident memory with sessions of {} bytes and ids of 33 bytes", SESSION.len());
    println!("| | sessions | resident before | after | for each |");
    println!("| --- | --- | --- | --- | --- |");
    // The first ones also leave room behind that the log took while they were sent; the later ones use it again.
    let first = plan.sessions / 4;
    for (prefix, count) in [("first", first), ("later", plan.sessions - first)] {
        nodes::store(&nodes[0], prefix, count).await;
        let stored = if prefix == "first" { first } else { plan.sessions };
        for (index, name) in ["the node written to", "another node"].into_iter().enumerate() {
            let after = with_empty_log(&nodes[index], stored).await;
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let each = after.saturating_sub(before[index]) as f64 / count as f64;
            let (from, to) = (mib(before[index]), mib(after));
            println!("| {name} | the {prefix} {count} | {from:.1} MiB | {to:.1} MiB | {each:.0} bytes |");
            before[index] = after;
        }
    }
}

/// Resident bytes of a node once it has all sessions and nothing to keep for others.
async fn with_empty_log(node: &Node, sessions: usize) -> u64 {
    within(SETTLE_MAX, "it has all sessions and its log is empty", || async {
        let status = status(node).await?;
        let (stored, log) = (&status["objects"]["sessions"], &status["figures"]["log_ops"]);
        let done = stored.as_u64() == Some(sessions as u64) && log.as_u64() == Some(0);
        if done { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    settled(node).await
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
