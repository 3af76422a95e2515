//! Nodes of two releases in one cluster, and a stranger of another age.

use serde_json::json;
use sidetalk::wire::{Version, Versions};
use sidetalk_tests::{Cluster, Node, Options, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The versions of the links that a node has had with another.
fn agreed(node: &Node, other: &str) -> Vec<String> {
    let log = node.log();
    let lines =
        log.iter().filter(|line| line.contains("link up") && line.contains(&format!("peer={other} ")));
    let version = |line: &String| Some(line.split("version=").nth(1)?.split(' ').next()?.to_owned());
    lines.filter_map(version).collect()
}

#[tokio::test]
async fn a_node_of_the_previous_version_and_nodes_of_the_current_one_share_everything() {
    let newest = Version::NEWEST.to_string();
    let previous = Version::NEWEST.previous().to_string();
    let options = Options::default().node(0, &format!("--protocol-max {previous}"));
    let mut cluster = Cluster::start_with(3, options).await;
    cluster.client(0).document("d").put(&json!({"old": 1})).await.unwrap();
    cluster.client(1).session("s").put(&json!({"user": "ada"})).await.unwrap();
    cluster.agree("documents/d", &json!({"old": 1})).await;
    cluster.agree("sessions/s", &json!({"user": "ada"})).await;
    cluster.client(2).document("d").patch(&json!({"new": 2})).await.unwrap();
    for client in cluster.clients() {
        client.counter("c").add(1).await.unwrap();
    }
    cluster.agree("documents/d", &json!({"old": 1, "new": 2})).await;
    for client in cluster.clients() {
        eventually("every count is there", || async {
            let value = client.counter("c").get().await.unwrap().value.value;
            if value == 3 { Ok(()) } else { Err(value) }
        })
        .await;
    }
    assert_eq!(agreed(&cluster[0], cluster[1].name()), std::slice::from_ref(&previous));
    assert_eq!(agreed(&cluster[2], cluster[0].name()), [previous]);
    assert_eq!(agreed(&cluster[1], cluster[2].name()), [newest]);
    // A logout on the old one, and its end in order.
    cluster.client(0).session("s").destroy().await.unwrap();
    eventually("it is destroyed on the new ones", || async {
        match crate::outcome(&cluster.client(2).session("s")).await {
            Err(410) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(cluster.terminate(0).await, 0);
}

#[tokio::test]
async fn a_peer_without_a_version_in_common_is_refused_with_one_plain_line() {
    let node = Node::start("n0", &[]).await;
    node.ready().await;
    for _ in 0..50 {
        let mut stream = TcpStream::connect(node.gossip()).await.unwrap();
        stream.write_all(b"sdtk\xee\x00").await.unwrap();
        let mut said = Vec::new();
        // It says what it speaks, so that the other one can tell as well, and closes.
        let _ = stream.read_to_end(&mut said).await;
        assert_eq!(said, [&b"sdtk"[..], &[Versions::SPOKEN.byte(), 0]].concat());
    }
    eventually("all are counted", || async {
        let refused = node.metric("sidetalk_link_errors_total{reason=\"unknown_version\"}").await;
        if refused >= 50.0 { Ok(()) } else { Err(refused) }
    })
    .await;
    let said = node.log().iter().filter(|line| line.contains("it speaks version 14 of the protocol")).count();
    assert_eq!(said, 1, "{:#?}", node.log());
}
