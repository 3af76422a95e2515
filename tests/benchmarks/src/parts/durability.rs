//! What a disk costs while writing, and how long a node takes to come back from it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sidetalk_client::Acks;
use sidetalk_tests::{Node, within};

use super::reads::SESSIONS;
use super::rounds::in_turn;
use super::writes::patches;
use crate::load::Target;
use crate::nodes;
use crate::plan::Plan;
use crate::result::Comparison;
use crate::sessions::Size;

/// How long saving what is left may take.
const SAVE_MAX: Duration = Duration::from_secs(120);

/// A write may wait for its disk so long and no longer.
const ACK_MAX: Duration = Duration::from_secs(30);

/// Removed with this.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("sidetalk-benchmark-{}", std::process::id())))
    }

    fn arguments(&self) -> Vec<String> {
        vec!["--data-dir".into(), self.0.display().to_string(), "--fsync".into(), "interval".into()]
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    vec![cost(plan).await, coming_back(plan).await]
}

/// One node with a disk beside one without: nothing else is in the way.
async fn cost(plan: &Plan) -> Comparison {
    let directory = Directory::new();
    let with = Node::start("n0", &directory.arguments()).await;
    let without = Node::start("n0", &[]).await;
    let mut sides = Vec::new();
    for (name, node) in [("with --fsync interval", &with), ("without a disk", &without)] {
        node.ready().await;
        nodes::store(node, Size::Small, Size::Small.prefix(), SESSIONS).await;
        let stream = patches(nodes::address(node), Size::Small);
        sides.push((name, Target::new(vec![node.pid()], vec![stream], 50, 1).await));
    }
    let name = "PATCH of a field, one node, 50 connections, 300 B".to_owned();
    let targets = [("without a disk", 0.85)];
    let rounds = in_turn(plan, sides).await;
    assert!(nodes::metric(&with, "sidetalk_storage_commits_total").await > 0.0, "the disk was used");
    Comparison::of_rounds("durability", name, "calls/s", rounds, &targets)
}

async fn coming_back(plan: &Plan) -> Comparison {
    let directory = Directory::new();
    let count = plan.sessions;
    let mut node = Node::start("n0", &directory.arguments()).await;
    node.ready().await;
    nodes::store(&node, Size::Small, "sess", count).await;
    // Acknowledged by one: it is on the disk, and all before it.
    node.client().counter("last").add(1).acks(Acks::Count(1), ACK_MAX).await.expect("it is saved");
    within(SAVE_MAX, "all is on the disk", || async {
        match nodes::metric(&node, "sidetalk_storage_unsaved_bytes").await {
            0.0 => Ok(()),
            bytes => Err(format!("{bytes} bytes are not")),
        }
    })
    .await;
    let mut seconds = Vec::new();
    for _ in 0..3 {
        node.kill();
        let started = Instant::now();
        node = Node::start("n0", &directory.arguments()).await;
        loop {
            let status = nodes::status(&node).await.expect("it answers");
            if status["readiness"]["ready"] == true {
                assert_eq!(status["objects"]["sessions"].as_u64(), Some(count as u64), "all are back");
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seconds.push(started.elapsed().as_secs_f64());
    }
    let name = format!("back from the disk after kill -9, {count} sessions of 282 bytes");
    Comparison::bounded("durability", name, "s", &seconds, 5.0)
}
