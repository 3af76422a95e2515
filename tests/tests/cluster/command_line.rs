//! The command line, as people and scripts use it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sidetalk_client::Client;
use sidetalk_tests::{Cluster, Output, eventually, sidetalk, sidetalk_binary};

/// Runs a command against a node; nothing else runs on this test's thread meanwhile, the node is a process.
fn at(node: &sidetalk_tests::Node, arguments: &[&str]) -> Output {
    sidetalk(&[arguments, &["--api", node.api()]].concat())
}

fn printed(output: &Output) -> Value {
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{output:?}");
    assert_eq!(output.out.lines().count(), 1, "compact when piped: {output:?}");
    serde_json::from_str(&output.out).unwrap()
}

#[tokio::test]
async fn objects_are_written_and_read_by_their_names() {
    let cluster = Cluster::start(1).await;
    let node = &cluster[0];
    assert_eq!(printed(&at(node, &["set", "sessions/a/b", r#"{"n":1}"#, "--ttl", "60"])), json!({"n": 1}));
    assert_eq!(
        printed(&at(node, &["patch", "sessions/a/b", r#"{"m":{"x":2}}"#])),
        json!({"n": 1, "m": {"x": 2}})
    );
    assert_eq!(
        printed(&at(node, &["incr", "sessions/a/b", "4", "--at", "/m/x"])),
        json!({"n": 1, "m": {"x": 6}})
    );
    assert_eq!(printed(&at(node, &["get", "sessions/a/b"])), json!({"n": 1, "m": {"x": 6}}));
    assert_eq!(printed(&at(node, &["incr", "counters/c", "-5"])), json!({"value": -5}));
    assert_eq!(printed(&at(node, &["add", "sets/s", "y", "x"])), json!({"added": 2, "removed": 0}));
    assert_eq!(printed(&at(node, &["remove", "sets/s", "y"])), json!({"added": 0, "removed": 1}));
    assert_eq!(printed(&at(node, &["get", "sets/s"])), json!({"members": ["x"]}));
    assert!(at(node, &["explain", "sets/s"]).out.contains("n0"));
    let destroyed = at(node, &["destroy", "sessions/a/b", "--include"]);
    assert_eq!((destroyed.code, destroyed.out.as_str()), (0, ""), "{destroyed:?}");
    assert!(destroyed.err.contains("token: "), "{destroyed:?}");
    let members = at(node, &["members"]);
    assert!(members.out.starts_with("NODE") && members.out.contains("n0"), "{members:?}");
    assert!(at(node, &["status"]).out.contains("n0"));
    serde_json::from_str::<Value>(&at(node, &["status", "--json"]).out).unwrap();
}

#[tokio::test]
async fn the_exit_code_says_whose_fault_it_is() {
    let cluster = Cluster::start(1).await;
    let node = &cluster[0];
    let unknown = at(node, &["get", "sessions/never"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.err.contains("unknown: "), "{unknown:?}");
    at(node, &["set", "sessions/s", "{}"]);
    at(node, &["destroy", "sessions/s"]);
    assert!(at(node, &["get", "sessions/s"]).err.contains("ended: "));
    for wrong in [
        &["get", "nonsense"][..],
        &["set", "sessions/s", "no json"],
        &["incr", "sessions/s"],
        &["add", "counters/c", "x"],
        &["fetch"],
    ] {
        assert_eq!(sidetalk(wrong).code, 2, "{wrong:?}");
    }
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let unreachable = sidetalk(&["get", "sessions/s", "--api", &nowhere]);
    assert_eq!(unreachable.code, 3, "{unreachable:?}");
    assert!(unreachable.err.contains("sidetalk dev"), "{unreachable:?}");
    assert!(sidetalk(&["completions", "bash"]).out.contains("sidetalk"));
}

#[tokio::test]
async fn dev_starts_a_cluster_that_works_and_leaves_nothing_behind() {
    let mut dev = Command::new(sidetalk_binary())
        .args(["dev", "--base-port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok);
    let apis: Vec<_> = lines
        .by_ref()
        .take_while(|line| !line.starts_with("Try"))
        .filter_map(|line| line.split(' ').find(|word| word.starts_with("http://")).map(str::to_owned))
        .collect();
    assert_eq!(apis.len(), 3);
    let clients: Vec<_> = apis.iter().map(|api| Client::new(api).unwrap()).collect();
    let put = clients[0].session("s").put(&json!({"user": "ada"})).await.unwrap();
    let read = clients[2].session("s").get().after(put.token.iter()).await.unwrap();
    assert_eq!(read.value, json!({"user": "ada"}));
    clients[1].clear_chaos().await.unwrap();
    // Without mercy: the nodes must notice by themselves.
    dev.kill().unwrap();
    dev.wait().unwrap();
    for client in &clients {
        eventually("the node is gone", || async {
            match client.ready().await {
                Err(sidetalk_client::Error::Unreachable { .. }) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn dev_says_which_port_is_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = sidetalk(&["dev", "--nodes", "1", "--base-port", &port]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err.contains(&format!("port {port} (API of n0)")), "{output:?}");
}
