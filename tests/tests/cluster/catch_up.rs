//! Whoever lacks something gets it: by operations, or by whole shards.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidetalk_client::{Acks, Client, Kind};
use sidetalk_tests::{Cluster, Node, Options, eventually, within};

use super::token;

async fn fill(client: &Client, prefix: &str, count: usize) {
    let mut batch = client.batch();
    for n in 0..count {
        batch
            .push(client.document(&format!("{prefix}{n:05}")).put(&json!({"n": n, "text": "x".repeat(200)})))
            .unwrap();
    }
    let results = batch.send().await.unwrap();
    assert!(
        results.iter().all(|result| result.status == 201),
        "{:?}",
        results.iter().find(|r| r.status != 201)
    );
}

async fn keys(client: &Client, prefix: &str) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut call = client.list(Kind::Documents, prefix).query("limit", 500);
        if let Some(after) = &after {
            call = call.query("after", after);
        }
        let page = call.await.unwrap().value;
        keys.extend(page.keys);
        match page.next {
            Some(next) => after = Some(next),
            None => return keys,
        }
    }
}

/// Chitchat, Akka, Cassandra: a peer that was away longer than deletions are remembered.
#[tokio::test]
async fn a_node_cut_off_while_the_others_wrote_past_their_log_catches_up_by_whole_shards() {
    let mut cluster = Cluster::start_with(3, Options::new("--log-bytes-max 65536")).await;
    fill(&cluster.client(0), "old-", 200).await;
    let last = cluster.client(0).document("mark").put(&json!({})).acks(Acks::All, Duration::from_secs(10));
    last.await.unwrap();
    cluster.partition(&[&[0, 1], &[2]]).await;
    for n in 0..200 {
        cluster.client(1).document(&format!("old-{n:05}")).destroy().await.unwrap();
    }
    for n in 0..10 {
        fill(&cluster.client(n % 2), &format!("new-{n}-"), 300).await;
    }
    cluster.client(2).document("cut-off").put(&json!({"kept": true})).await.unwrap();
    let mark = cluster.client(1).document("mark").put(&json!({"n": 2})).await.unwrap();
    cluster.heal().await;
    let read = cluster.client(2).document("mark").get().after([&token(&mark)]).wait(Duration::from_secs(20));
    assert_eq!(read.await.unwrap().value, json!({"n": 2}));
    cluster.agree("documents/cut-off", &json!({"kept": true})).await;
    for client in cluster.clients() {
        eventually("3000 new documents and no old one", || async {
            let (new, old) = (keys(&client, "new-").await.len(), keys(&client, "old-").await.len());
            if (new, old) == (3000, 0) { Ok(()) } else { Err(format!("{new} new, {old} old")) }
        })
        .await;
    }
    let status = cluster.client(2).status().await.unwrap().value.to_string();
    assert!(figure(&cluster.client(2), "states_merged").await > 0, "{status}");
}

/// A figure of `/v1/status`, wherever it stands there.
async fn figure(client: &Client, name: &str) -> i64 {
    fn find(value: &Value, name: &str) -> Option<i64> {
        let object = value.as_object()?;
        object
            .get(name)
            .and_then(Value::as_i64)
            .or_else(|| object.values().find_map(|value| find(value, name)))
    }
    let status = client.status().await.unwrap().value;
    find(&status, name).unwrap_or_else(|| panic!("{name} is missing in {status}"))
}

/// What has expired is destroyed, which takes everybody's word: also after a process has died without one.
#[tokio::test]
async fn a_process_that_was_killed_is_not_waited_for_once_the_node_is_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.kill(1);
    cluster.restart(1).await;
    cluster.all_up().await;
    cluster.client(0).session("brief").put(&json!({"a": 1})).ttl_seconds(1).await.unwrap();
    for client in cluster.clients() {
        // Each shard is looked at once in 26 seconds.
        within(Duration::from_secs(60), "what has expired is destroyed", || async {
            match figure(&client, "content_bytes").await {
                0 => Ok(()),
                bytes => Err(format!("{bytes} bytes")),
            }
        })
        .await;
    }
}

/// phoenix_pubsub #74: more than fifty entries differ on first contact.
#[tokio::test]
async fn a_node_that_joins_empty_is_not_ready_before_it_has_everything() {
    let mut cluster = Cluster::start(2).await;
    for n in 0..10 {
        fill(&cluster.client(n % 2), &format!("d{n}-"), 300).await;
    }
    let joined = cluster.add_unready().await;
    let client = cluster.client(joined);
    let started = Instant::now();
    loop {
        match client.ready().await {
            Ok(_) => break,
            Err(error) => assert_eq!(error.status(), Some(503), "{error}"),
        }
        assert!(started.elapsed() < sidetalk_tests::WAIT_MAX, "never ready");
    }
    assert_eq!(keys(&client, "").await.len(), 3000);
}

#[tokio::test]
async fn a_node_that_looks_for_its_cluster_refuses_to_read_and_write() {
    // Nothing listens there: the port was free a moment ago, and only gossip is sent to it.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nowhere = free.local_addr().unwrap().to_string();
    let arguments = ["--join", &nowhere, "--bootstrap-millis", "3600000"].map(str::to_owned);
    let node = Node::start("lonely", &arguments).await;
    let client = node.client();
    let error = client.ready().await.unwrap_err();
    assert_eq!(error.status(), Some(503), "{error}");
    for error in [
        client.session("s").put(&json!({})).await.unwrap_err(),
        client.counter("c").add(1).await.map(drop).unwrap_err(),
        client.document("d").get().await.unwrap_err(),
    ] {
        assert_eq!((error.status(), error.code()), (Some(503), Some("not_ready")), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_finds_nobody_starts_alone_after_its_bootstrap_time() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nowhere = free.local_addr().unwrap().to_string();
    let arguments = ["--join", &nowhere, "--bootstrap-millis", "300"].map(str::to_owned);
    let node = Node::start("alone", &arguments).await;
    node.ready().await;
    node.client().session("s").put(&json!({})).await.unwrap();
}

/// Akka #22327, Akka.NET #7250: what is larger than a frame can never sync.
#[tokio::test]
async fn a_set_of_a_hundred_thousand_members_and_a_document_at_the_limit_reach_a_new_node() {
    let mut cluster = Cluster::start(1).await;
    let a = cluster.client(0);
    let members: Vec<_> = (0..100_000).map(|n| format!("member-{n:06}")).collect();
    for part in members.chunks(1_000) {
        a.set("large").change(part, &[] as &[String]).await.unwrap();
    }
    let text = "x".repeat((1 << 20) - 20);
    a.document("large").put(&json!({"text": text})).await.unwrap();
    let over = a.document("over").put(&json!({"text": "x".repeat(1 << 20)})).await.unwrap_err();
    assert_eq!((over.status(), over.code()), (Some(413), Some("too_large")));
    let joined = cluster.add().await;
    let b = cluster.client(joined);
    assert_eq!(b.set("large").get().await.unwrap().value.members, members);
    assert_eq!(b.document("large").get().await.unwrap().value["text"], text.as_str());
    // And what is written there afterwards still travels as single operations.
    let removed = a.set("large").remove("member-050000").await.unwrap();
    let read = b.set("large").get().after([&token(&removed)]).wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!((read.value.members.len(), read.behind), (99_999, false));
}

/// phoenix_pubsub #111: what is created travels through a split, and what is destroyed does not.
#[tokio::test]
async fn through_a_node_in_the_middle_both_creation_and_destruction_travel() {
    let mut cluster = Cluster::start(3).await;
    let blocked = sidetalk_client::Fault { blocked: true, ..Default::default() };
    cluster.fault(0, 2, blocked).await;
    let (a, c) = (cluster.client(0), cluster.client(2));
    let created = a.session("s").put(&json!({"user": "ada"})).await.unwrap();
    let read = c.session("s").get().after([&token(&created)]).wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!((read.value, read.behind), (json!({"user": "ada"}), false));
    let destroyed = c.session("s").destroy().await.unwrap();
    let error =
        a.session("s").get().after([&token(&destroyed)]).wait(Duration::from_secs(10)).await.unwrap_err();
    assert!(error.is_ended(), "{error}");
}

/// phoenix_pubsub #135: traffic stayed high for twenty minutes after one restart.
#[tokio::test]
async fn when_all_have_caught_up_no_shard_and_no_operation_is_sent_again() {
    let mut cluster = Cluster::start(3).await;
    fill(&cluster.client(0), "d", 300).await;
    cluster.kill(1);
    cluster.restart(1).await;
    cluster.all_up().await;
    let mark = cluster.client(0).document("mark").put(&json!({})).acks(Acks::All, Duration::from_secs(10));
    mark.await.unwrap();
    let traffic = || async {
        let mut sum = 0;
        for client in cluster.clients() {
            for name in ["states_sent", "states_merged", "ops_applied", "ops_duplicate"] {
                sum += figure(&client, name).await;
            }
        }
        sum
    };
    // Comparison runs several times a second: quiet for a second is quiet.
    let quiet = Cell::new((traffic().await, Instant::now()));
    eventually("nothing is sent for a second", || async {
        let now = traffic().await;
        let (before, since) = quiet.get();
        if now != before {
            quiet.set((now, Instant::now()));
            return Err(format!("{} more", now - before));
        }
        if since.elapsed() > Duration::from_secs(1) { Ok(()) } else { Err("quiet so far".to_owned()) }
    })
    .await;
}
