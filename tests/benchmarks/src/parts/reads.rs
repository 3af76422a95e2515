//! Reading a session.

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
    for (connections, size) in [(1, Size::Small), (50, Size::Small), (500, Size::Small), (50, Size::Large)] {
        let http = of_http(size);
        let judged = connections == 50 && size == Size::Small;
        let ours =
            Stream { address: nodes::address(node), protocol: Protocol::Http, requests: Arc::clone(&http) };
        let mut sides = vec![("Sidetalk", Target::new(vec![node.pid()], vec![ours], connections, 1).await)];
        if let Some(redis) = &redis {
            sides.push((
                "Redis",
                Target::new(vec![redis.pid()], vec![of_redis(redis, size)], connections, 1).await,
            ));
        }
        if size == Size::Small {
            let stream = Stream { address: bare.address, protocol: Protocol::Http, requests: http };
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

fn of_http(size: Size) -> Arc<Vec<Vec<u8>>> {
    let get = |number| request("GET", &format!("/v1/sessions/{}", id(size.prefix(), number)), "");
    Arc::new((0..SESSIONS).map(get).collect())
}

fn of_redis(redis: &Redis, size: Size) -> Stream {
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
