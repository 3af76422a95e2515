//! Nodes as they are run in earnest, and sessions in them.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sidetalk_tests::{Node, eventually, within};

use crate::connection::{Connection, request};
use crate::sessions::{Size, id};

/// What a node needs to send what it has, and to let go of its log.
const SETTLE_MAX: Duration = Duration::from_secs(300);

/// Calls in one batch.
const BATCH: usize = 500;

/// Starts nodes with default settings that know each other.
pub(crate) async fn start(count: usize) -> Vec<Node> {
    start_with(count, &[]).await
}

/// The same with further arguments.
pub(crate) async fn start_with(count: usize, arguments: &[&str]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..count {
        let (name, arguments) = next(&nodes, arguments);
        nodes.push(Node::start(&name, &arguments).await);
    }
    all_up(&nodes).await;
    nodes
}

/// As many; the first is watched by another program.
pub(crate) async fn start_under(watcher: Command, count: usize, arguments: &[&str]) -> Vec<Node> {
    let (name, first) = next(&[], arguments);
    let mut nodes = vec![Node::start_under(watcher, &name, &first).await];
    for _ in 1..count {
        let (name, arguments) = next(&nodes, arguments);
        nodes.push(Node::start(&name, &arguments).await);
    }
    all_up(&nodes).await;
    nodes
}

/// The name of a further node, and its arguments.
fn next(nodes: &[Node], arguments: &[&str]) -> (String, Vec<String>) {
    let joins = nodes.iter().flat_map(|node| ["--join".to_owned(), node.gossip().to_owned()]);
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).chain(joins).collect();
    (format!("n{}", nodes.len()), arguments)
}

async fn all_up(nodes: &[Node]) {
    for node in nodes {
        node.ready().await;
        eventually("all nodes are up", || async {
            let members = node.client().cluster().await.map_err(|error| error.to_string())?.value.members;
            let up = members.iter().filter(|member| member.state == "up").count();
            if up == nodes.len() { Ok(()) } else { Err(format!("{up} of {}", nodes.len())) }
        })
        .await;
    }
}

/// Where its API listens.
pub(crate) fn address(node: &Node) -> SocketAddr {
    node.api().trim_start_matches("http://").trim_end_matches('/').parse().expect("an address")
}

/// Creates sessions through `/v1/batch`.
pub(crate) async fn store(node: &Node, size: Size, prefix: &str, count: usize) {
    let mut connection = Connection::http(address(node)).await;
    let session: Value = serde_json::from_str(&size.json()).expect("JSON");
    let in_one = if size == Size::Large { BATCH / 10 } else { BATCH };
    for start in (0..count).step_by(in_one) {
        let put = |number| json!({ "method": "PUT", "path": format!("/v1/sessions/{}", id(prefix, number)), "body": session });
        let ops: Vec<Value> = (start..count.min(start + in_one)).map(put).collect();
        let body = json!({ "ops": ops }).to_string();
        let answer = connection.ask(&request("POST", "/v1/batch", &body)).await;
        let answer: Value = serde_json::from_slice(answer).expect("JSON");
        let results = answer["results"].as_array().expect("results");
        assert!(results.iter().all(|result| result["status"] == 201), "all are created");
    }
}

/// What a node says of itself.
pub(crate) async fn status(node: &Node) -> Result<Value, String> {
    node.client().status().await.map(|answer| answer.value).map_err(|error| error.to_string())
}

/// One of a node's metrics, summed over its labels.
pub(crate) async fn metric(node: &Node, name: &str) -> f64 {
    let mut connection = Connection::http(address(node)).await;
    let page = String::from_utf8_lossy(connection.ask(&request("GET", "/metrics", "")).await).into_owned();
    let lines = page.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a node has so many sessions and keeps no operation for others.
pub(crate) async fn settled(node: &Node, sessions: usize) {
    within(SETTLE_MAX, "it has all sessions and its log is empty", || async {
        let status = status(node).await?;
        let (stored, log) = (&status["objects"]["sessions"], &status["figures"]["log_ops"]);
        let done = stored.as_u64() == Some(sessions as u64) && log.as_u64() == Some(0);
        if done { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}
