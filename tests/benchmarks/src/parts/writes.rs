//! Writing one field of a session, with replication on: a cluster of three beside a primary with a replica.

use std::sync::Arc;

use super::reads::{SESSIONS, set_all, settings};
use super::rounds::in_turn;
use crate::connection::{Protocol, command, request};
use crate::load::{Stream, Target};
use crate::nodes;
use crate::plan::Plan;
use crate::redis::Redis;
use crate::result::Comparison;
use crate::sessions::{Size, id};

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let nodes = nodes::start(3).await;
    let redis = Redis::pair_if_installed().await;
    for size in [Size::Small, Size::Large] {
        nodes::store(&nodes[0], size, size.prefix(), SESSIONS).await;
        if let Some((primary, _)) = &redis {
            set_all(primary, size).await;
        }
    }
    let mut found = Vec::new();
    for (connections, size) in settings() {
        let pids = nodes.iter().map(sidetalk_tests::Node::pid).collect();
        let ours = patches(nodes::address(&nodes[0]), size);
        let mut sides = vec![("Sidetalk", Target::new(pids, vec![ours], connections, 1).await)];
        if let Some((primary, replica)) = &redis {
            let pids = vec![primary.pid(), replica.pid()];
            sides.push(("Redis", Target::new(pids, vec![sets(primary, size)], connections, 1).await));
        }
        let judged = connections == 50 && size == Size::Small;
        let targets: &[(&str, f64)] = if judged { &[("Redis", 0.9)] } else { &[] };
        let name = format!("PATCH of a field beside SET of all, {connections} connections, {}", size.name());
        found.push(Comparison::of_rounds("writes", name, "calls/s", in_turn(plan, sides).await, targets));
    }
    found
}

/// Patches of one field. The answer is what a session store needs of it: no body.
pub(super) fn patches(address: std::net::SocketAddr, size: Size) -> Stream {
    let patch = |number: usize| {
        let path = format!("/v1/sessions/{}", id(size.prefix(), number));
        let body = format!(r#"{{"views":{}}}"#, 10 + number % 90);
        let text = String::from_utf8(request("PATCH", &path, &body)).expect("text");
        text.replacen("\r\nContent-Type", "\r\nPrefer: return=minimal\r\nContent-Type", 1).into_bytes()
    };
    Stream { address, protocol: Protocol::Http, requests: Arc::new((0..SESSIONS).map(patch).collect()) }
}

pub(super) fn sets(redis: &Redis, size: Size) -> Stream {
    let json = size.json();
    let set = |number| command(&["SET", &id(size.prefix(), number), &json, "EX", "86400"]);
    let requests = Arc::new((0..SESSIONS).map(set).collect());
    Stream { address: redis.address, protocol: Protocol::Redis { replies: 1 }, requests }
}
