//! Half reads and half writes, as a site does it: every process asks the node on its own host, or the one Redis.

use std::sync::Arc;

use super::reads::{SESSIONS, set_all};
use super::rounds::in_turn;
use super::writes::{patches, sets};
use crate::connection::{command, request};
use crate::load::{Stream, Target};
use crate::nodes;
use crate::plan::Plan;
use crate::redis::Redis;
use crate::result::Comparison;
use crate::sessions::{Size, id};

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let nodes = nodes::start(3).await;
    nodes::store(&nodes[0], Size::Small, "sess", SESSIONS).await;
    for node in &nodes {
        nodes::settled(node, SESSIONS).await;
    }
    let streams = nodes.iter().map(|node| {
        let stream = patches(nodes::address(node), Size::Small);
        half(&stream, |number| request("GET", &format!("/v1/sessions/{}", id("sess", number)), ""))
    });
    let pids = nodes.iter().map(sidetalk_tests::Node::pid).collect();
    let mut sides = vec![("Sidetalk", Target::new(pids, streams.collect(), 48, 1).await)];
    let redis = Redis::pair_if_installed().await;
    if let Some((primary, replica)) = &redis {
        set_all(primary, Size::Small).await;
        let stream = half(&sets(primary, Size::Small), |number| command(&["GET", &id("sess", number)]));
        let pids = vec![primary.pid(), replica.pid()];
        sides.push(("Redis", Target::new(pids, vec![stream], 48, 1).await));
    }
    let name = "half reads, half writes, three nodes beside a primary with a replica, 48 connections, 300 B";
    vec![Comparison::of_rounds("mixed", name.into(), "calls/s", in_turn(plan, sides).await, &[])]
}

/// Puts a read between any two writes.
fn half(stream: &Stream, read: impl Fn(usize) -> Vec<u8>) -> Stream {
    let pairs = stream.requests.iter().enumerate().flat_map(|(number, write)| {
        // Another session than the one just written: nobody reads only what it has written.
        [write.clone(), read((number * 7 + 3) % SESSIONS)]
    });
    Stream { requests: Arc::new(pairs.collect()), ..*stream }
}
