//! Sets: adds win, removals travel.

use std::time::Duration;

use sidetalk_client::Acks;
use sidetalk_tests::{Cluster, Node, eventually};

async fn holds(node: &Node, name: &str, want: &[&str]) {
    eventually(&format!("{} holds {want:?}", node.name()), || async {
        match node.client().set(name).get().await {
            Ok(answer) if answer.value.members == want => Ok(()),
            Ok(answer) => Err(format!("{:?}", answer.value.members)),
            Err(error) if error.is_unknown() && want.is_empty() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

const NONE: &[&str] = &[];

#[tokio::test]
async fn added_while_removed_elsewhere_stays_and_removed_stays_removed() {
    let mut cluster = Cluster::start(2).await;
    let (a, b) = (cluster.client(0).set("s"), cluster.client(1).set("s"));
    a.change(&["kept", "gone", "raced"], NONE).acks(Acks::All, Duration::from_secs(5)).await.unwrap();
    cluster.partition(&[&[0], &[1]]).await;
    a.change(NONE, &["gone", "raced"]).await.unwrap();
    b.add("raced").await.unwrap();
    b.add("new").await.unwrap();
    cluster.heal().await;
    for node in cluster.running() {
        holds(node, "s", &["kept", "new", "raced"]).await;
    }
    assert!(a.contains("new").await.unwrap() && !b.contains("gone").await.unwrap());
}

/// Corrosion #352: two nodes delete the same thing, a third never does.
#[tokio::test]
async fn removed_on_two_nodes_at_once_it_is_removed_on_the_third() {
    let mut cluster = Cluster::start(3).await;
    let filled = cluster.client(0).set("s").change(&["x", "y"], NONE);
    filled.acks(Acks::All, Duration::from_secs(5)).await.unwrap();
    cluster.partition(&[&[0], &[1], &[2]]).await;
    for index in [0, 1] {
        cluster.client(index).set("s").remove("x").await.unwrap();
    }
    cluster.heal().await;
    for node in cluster.running() {
        holds(node, "s", &["y"]).await;
    }
}

/// Akka's ORMap: a node that saw neither the removal nor the update brings a value back.
#[tokio::test]
async fn a_node_that_saw_neither_side_of_a_split_brings_nothing_back() {
    let mut cluster = Cluster::start(3).await;
    let filled = cluster.client(0).set("s").change(&["x", "y"], NONE);
    filled.acks(Acks::All, Duration::from_secs(5)).await.unwrap();
    cluster.partition(&[&[0], &[1], &[2]]).await;
    cluster.client(0).set("s").remove("x").await.unwrap();
    cluster.client(1).set("s").change(&["z"], &["x"]).await.unwrap();
    // The third meets one side, then the other.
    cluster.partition(&[&[0, 2], &[1]]).await;
    holds(&cluster[2], "s", &["y"]).await;
    cluster.partition(&[&[0], &[1, 2]]).await;
    holds(&cluster[2], "s", &["y", "z"]).await;
    cluster.heal().await;
    for node in cluster.running() {
        holds(node, "s", &["y", "z"]).await;
    }
}

/// KeyDB #83: deleted while a node is down; the node returns.
#[tokio::test]
async fn cleared_while_a_node_is_down_it_is_empty_there_when_the_node_returns() {
    let mut cluster = Cluster::start(3).await;
    let filled = cluster.client(2).set("s").change(&["x", "y"], NONE);
    filled.acks(Acks::All, Duration::from_secs(5)).await.unwrap();
    cluster.kill(2);
    cluster.client(0).set("s").clear().await.unwrap();
    cluster.restart(2).await;
    cluster.all_up().await;
    for node in cluster.running() {
        holds(node, "s", NONE).await;
    }
}
