//! Who is there, and how one goes.

use std::time::Duration;

use serde_json::json;
use sidetalk_client::{Client, Fault};
use sidetalk_tests::{Cluster, Options, eventually};

async fn sees(client: &Client, node: &str, state: &str) {
    eventually(&format!("{node} is {state}"), || async {
        let members = client.cluster().await.unwrap().value.members;
        match members.iter().find(|member| member.node == node) {
            Some(member) if member.state == state => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_killed_is_down_and_one_that_is_stopped_has_left() {
    let mut cluster = Cluster::start(3).await;
    cluster.kill(1);
    sees(&cluster.client(0), "n1", "down").await;
    assert_eq!(cluster.terminate(2).await, 0);
    sees(&cluster.client(0), "n2", "left").await;
    cluster.restart(1).await;
    cluster.restart(2).await;
    cluster.all_up().await;
}

#[tokio::test]
async fn a_member_that_will_not_come_back_is_given_up_and_may_come_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.client(2).counter("c").add(3).await.unwrap();
    cluster.agree("counters/c", &json!({"value": 3})).await;
    let client = cluster.client(0);
    assert_eq!(client.forget("n2").await.unwrap_err().code(), Some("member_alive"));
    assert_eq!(client.forget("nobody").await.unwrap_err().code(), Some("unknown_peer"));
    cluster.kill(2);
    eventually("it is given up", || async { client.forget("n2").await }).await;
    for survivor in 0..2 {
        sees(&cluster.client(survivor), "n2", "left").await;
    }
    cluster.restart(2).await;
    cluster.all_up().await;
    cluster.client(2).counter("c").add(3).await.unwrap();
    cluster.agree("counters/c", &json!({"value": 6})).await;
}

#[tokio::test]
async fn a_node_that_leaves_hands_over_what_nobody_else_has() {
    let mut cluster = Cluster::start(2).await;
    cluster.delay_all(200).await;
    for n in 0..50 {
        cluster.client(0).session(&format!("s{n}")).put(&json!({"n": n})).await.unwrap();
    }
    assert_eq!(cluster.terminate(0).await, 0);
    for n in 0..50 {
        cluster.agree(&format!("sessions/s{n}"), &json!({"n": n})).await;
    }
}

#[tokio::test]
async fn a_node_that_leaves_alone_with_its_operations_says_so() {
    let mut cluster = Cluster::start_with(2, Options::new("--drain-millis 300")).await;
    cluster.partition(&[&[0], &[1]]).await;
    cluster.client(0).session("s").put(&json!({})).await.unwrap();
    let started = std::time::Instant::now();
    cluster.terminate(0).await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn messages_that_are_lost_are_made_up_for() {
    let mut cluster = Cluster::start(3).await;
    for pair in [(0, 1), (0, 2), (1, 2)] {
        cluster.fault(pair.0, pair.1, Fault { loss: 0.3, ..Fault::default() }).await;
    }
    for n in 0..60 {
        cluster.client(n % 3).counter("c").add(1).await.unwrap();
    }
    for client in cluster.clients() {
        eventually("all 60 have come", || async {
            match client.counter("c").get().await {
                Ok(answer) if answer.value.value == 60 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn chaos_exists_only_where_it_was_asked_for_and_names_members_only() {
    let cluster = Cluster::start(1).await;
    let unknown = [("nobody".to_owned(), Fault::default())].into();
    assert_eq!(cluster.client(0).set_chaos(&unknown).await.unwrap_err().code(), Some("unknown_peer"));
    let node = sidetalk_tests::Node::start("calm", &[]).await;
    node.ready().await;
    assert_eq!(node.client().clear_chaos().await.unwrap_err().code(), Some("no_such_path"));
}

#[tokio::test]
async fn two_clusters_of_different_names_do_not_mix() {
    let cluster = Cluster::start(1).await;
    let gossip = cluster[0].gossip().to_owned();
    let arguments = ["--cluster", "other", "--join", &gossip, "--bootstrap-millis", "500"].map(str::to_owned);
    let stranger = sidetalk_tests::Node::start("stranger", &arguments).await;
    stranger.ready().await;
    cluster.client(0).document("d").put(&json!({"of": "ours"})).await.unwrap();
    stranger.client().document("e").put(&json!({"of": "theirs"})).await.unwrap();
    for client in [cluster.client(0), stranger.client()] {
        assert_eq!(client.cluster().await.unwrap().value.members.len(), 1);
    }
    assert!(stranger.client().document("d").get().await.unwrap_err().is_unknown());
}
