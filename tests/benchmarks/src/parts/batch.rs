//! Sixteen calls at once: a batch beside a pipeline.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::reads::{SESSIONS, set_all};
use super::rounds::in_turn;
use crate::connection::{Protocol, command, request};
use crate::load::{Stream, Target};
use crate::nodes;
use crate::plan::Plan;
use crate::redis::Redis;
use crate::result::Comparison;
use crate::sessions::{Size, id};

/// Calls in one request.
pub(super) const DEPTH: usize = 16;

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let node = &nodes::start(1).await[0];
    nodes::store(node, Size::Small, "sess", SESSIONS).await;
    let redis = Redis::if_installed().await;
    if let Some(redis) = &redis {
        set_all(redis, Size::Small).await;
    }
    let mut found = Vec::new();
    for (name, writes) in [("reads", false), ("writes of a field beside SET of all", true)] {
        let stream = batches(nodes::address(node), writes);
        let mut sides = vec![("Sidetalk", Target::new(vec![node.pid()], vec![stream], 50, DEPTH).await)];
        if let Some(redis) = &redis {
            let stream = pipelines(redis.address, writes);
            sides.push(("Redis", Target::new(vec![redis.pid()], vec![stream], 50, DEPTH).await));
        }
        let name = format!("batch of {DEPTH} {name}, 50 connections, 300 B");
        found.push(Comparison::of_rounds(
            "batch",
            name,
            "calls/s",
            in_turn(plan, sides).await,
            &[("Redis", 0.7)],
        ));
    }
    found
}

pub(super) fn batches(address: SocketAddr, writes: bool) -> Stream {
    let requests = Arc::new((0..SESSIONS / DEPTH).map(|group| batch(group, writes)).collect());
    Stream { address, protocol: Protocol::Http, requests }
}

pub(super) fn pipelines(address: SocketAddr, writes: bool) -> Stream {
    let requests = Arc::new((0..SESSIONS / DEPTH).map(|group| pipeline(group, writes)).collect());
    Stream { address, protocol: Protocol::Redis { replies: DEPTH }, requests }
}

fn numbers(group: usize) -> impl Iterator<Item = usize> {
    (0..DEPTH).map(move |at| group * DEPTH + at)
}

fn batch(group: usize, writes: bool) -> Vec<u8> {
    let call = |number| {
        let path = format!("/v1/sessions/{}", id("sess", number));
        if writes {
            let headers = json!({ "prefer": "return=minimal" });
            return json!({ "method": "PATCH", "path": path, "headers": headers, "body": { "views": number % 90 } });
        }
        json!({ "method": "GET", "path": path })
    };
    let ops: Vec<Value> = numbers(group).map(call).collect();
    request("POST", "/v1/batch", &json!({ "ops": ops }).to_string())
}

fn pipeline(group: usize, writes: bool) -> Vec<u8> {
    let json = Size::Small.json();
    let one = |number| {
        let key = id("sess", number);
        if writes { command(&["SET", &key, &json, "EX", "86400"]) } else { command(&["GET", &key]) }
    };
    numbers(group).flat_map(one).collect()
}
