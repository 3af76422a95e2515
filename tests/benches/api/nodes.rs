//! Nodes as they are run in earnest, and sessions in them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sidetalk_tests::{Node, eventually};

use crate::SESSION;
use crate::connection::{Connection, request};

/// Calls in one batch.
const BATCH: usize = 500;

/// Starts nodes with default settings that know each other.
pub(crate) async fn start(count: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for index in 0..count {
        let joins = nodes.iter().flat_map(|node| ["--join".to_owned(), node.gossip().to_owned()]);
        let arguments: Vec<String> = joins.collect();
        nodes.push(Node::start(&format!("n{index}"), &arguments).await);
    }
    for node in &nodes {
        node.ready().await;
        eventually("all nodes are up", || async {
            let members = node.client().cluster().await.map_err(|error| error.to_string())?.value.members;
            let up = members.iter().filter(|member| member.state == "up").count();
            if up == count { Ok(()) } else { Err(format!("{up} of {count}")) }
        })
        .await;
    }
    nodes
}

/// Where its API listens.
pub(crate) fn address(node: &Node) -> SocketAddr {
    node.api().trim_start_matches("http://").trim_end_matches('/').parse().expect("an address")
}

/// An id of 33 bytes.
pub(crate) fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}:{number:0width$}", width = 32 - prefix.len())
}

/// Creates sessions through `/v1/batch`.
pub(crate) async fn store(node: &Node, prefix: &str, count: usize) {
    let mut connection = Connection::open(address(node)).await;
    let session: Value = serde_json::from_str(SESSION).expect("JSON");
    for start in (0..count).step_by(BATCH) {
        let put = |number| json!({ "method": "PUT", "path": format!("/v1/sessions/{}", id(prefix, number)), "body": session });
        let ops: Vec<Value> = (start..count.min(start + BATCH)).map(put).collect();
        let body = json!({ "ops": ops }).to_string();
        let (status, answer) =
            connection.exchange(&request("POST", "/v1/batch", &body)).await.expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(answer));
        let answer: Value = serde_json::from_slice(answer).expect("JSON");
        let results = answer["results"].as_array().expect("results");
        assert!(results.iter().all(|result| result["status"] == 201), "all are created");
    }
}
