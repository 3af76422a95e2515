//! Reading a session.

use std::net::SocketAddr;
use std::sync::Arc;

use super::rounds::in_turn;
use crate::bare::Bare;
use crate::connection::{Protocol, command, request};
use crate::load::{Stream, Target};
use crate::nodes;
use crate::plan::Plan;
use crate::redis::Redis;
use crate::result::Comparison;
use crate::sessions::{Size, id};

/// Connections, and the size of a session.
pub(super) fn settings() -> impl Iterator<Item = (usize, Size)> {
    [Size::Small, Size::Large]
        .into_iter()
        .flat_map(|size| [1, 50, 500].map(|connections| (connections, size)))
}

/// Sessions that are asked for in turn.
pub(super) const SESSIONS: usize = 1_000;

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    let node = &nodes::start(1).await[0];
    let bare = Bare::start();
    let redis = Redis::if_installed().await;
    for size in [Size::Small, Size::Large] {
        nodes::store(node, size, size.prefix(), SESSIONS).await;
        if let Some(redis) = &redis {
            set_all(redis, size).await;
        }
    }
    let mut found = Vec::new();
    for (connections, size) in settings() {
        let judged = connections == 50 && size == Size::Small;
        let ours = gets(nodes::address(node), size);
        let mut sides = vec![("Sidetalk", Target::new(vec![node.pid()], vec![ours], connections, 1).await)];
        if let Some(redis) = &redis {
            sides.push((
                "Redis",
                Target::new(vec![redis.pid()], vec![of_redis(redis, size)], connections, 1).await,
            ));
        }
        if size == Size::Small {
            let stream = gets(bare.address, size);
            sides.push(("bare hyper", Target::new(vec![bare.pid()], vec![stream], connections, 1).await));
        }
        let targets: &[(&str, f64)] = if judged { &[("Redis", 1.0), ("bare hyper", 0.85)] } else { &[] };
        let name = format!("GET, {connections} connections, {}", size.name());
        let comparison = Comparison::of_rounds("reads", name, "calls/s", in_turn(plan, sides).await, targets);
        if judged {
            found.push(comparison.p99(1.0));
        }
        found.push(comparison);
    }
    found
}

/// Reads over HTTP.
pub(super) fn gets(address: SocketAddr, size: Size) -> Stream {
    let get = |number| request("GET", &format!("/v1/sessions/{}", id(size.prefix(), number)), "");
    Stream { address, protocol: Protocol::Http, requests: Arc::new((0..SESSIONS).map(get).collect()) }
}

pub(super) fn of_redis(redis: &Redis, size: Size) -> Stream {
    let get = |number| command(&["GET", &id(size.prefix(), number)]);
    let requests = Arc::new((0..SESSIONS).map(get).collect());
    Stream { address: redis.address, protocol: Protocol::Redis { replies: 1 }, requests }
}

/// Stores as many sessions in Redis.
pub(super) async fn set_all(redis: &Redis, size: Size) {
    let mut connection = redis.open().await;
    let json = size.json();
    for number in 0..SESSIONS {
        connection.ask(&command(&["SET", &id(size.prefix(), number), &json, "EX", "86400"])).await;
    }
}
