//! Whether what `--max-memory` counts is what a process takes: the estimate beside the resident memory.

use sidetalk_tests::Node;

use super::filling::steady_bytes;
use crate::nodes;
use crate::plan::Plan;
use crate::result::{Better, Comparison};
use crate::sessions::Size;

/// Sessions of each size: enough that what a process has besides does not count.
const SESSIONS_MAX: usize = 200_000;

/// The estimate may be off by this factor, either way.
const OFF_MAX: f64 = 1.2;

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let mut found = Vec::new();
    for size in [Size::Tiny, Size::Small, Size::Large] {
        let count = plan.sessions.min(SESSIONS_MAX) / if size == Size::Large { 2 } else { 1 };
        let nodes = nodes::start(2).await;
        let before = [reading(&nodes[0]).await, reading(&nodes[1]).await];
        nodes::store(&nodes[0], size, size.prefix(), count).await;
        for node in &nodes {
            nodes::settled(node, count).await;
        }
        for (node, (before, who)) in nodes.iter().zip(before.into_iter().zip(["written here", "replicated"]))
        {
            let after = reading(node).await;
            let each = |before: f64, after: f64| (after - before) / count as f64;
            let (estimated, resident) = (each(before.0, after.0), each(before.1, after.1));
            let name = format!("memory for each of {count} sessions of {}, {who}", size.name());
            let sides = [("Sidetalk's estimate", vec![estimated]), ("resident", vec![resident])];
            found.push(Comparison::of_values("memory", name.clone(), "bytes", Better::Less, &sides, &[]));
            let off = (estimated / resident).max(resident / estimated);
            found.push(Comparison::bounded("memory", format!("{name}: off by"), "times", &[off], OFF_MAX));
        }
    }
    found
}

/// What is counted, and what the system has given, in bytes.
async fn reading(node: &Node) -> (f64, f64) {
    let resident = steady_bytes(node.pid()).await as f64;
    (node.metric("sidetalk_bounded{what=\"memory_bytes\"}").await, resident)
}
