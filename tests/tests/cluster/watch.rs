//! Watching: in order, resumable, never a silent gap.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sidetalk_client::{Change, Event, Kind, State, Watch};
use sidetalk_tests::{Cluster, WAIT_MAX};

/// The next event; fails rather than wait for ever.
async fn next(watch: &mut Watch) -> Event {
    let event = tokio::time::timeout(WAIT_MAX, watch.next()).await.expect("an event comes in time");
    event.unwrap().expect("the watch goes on")
}

async fn next_change(watch: &mut Watch) -> Change {
    match next(watch).await {
        Event::Change(change) => change,
        other => panic!("{other:?} where a change was due"),
    }
}

#[tokio::test]
async fn changes_made_on_another_node_are_told_with_their_state() {
    let cluster = Cluster::start(2).await;
    let (a, b) = (cluster.client(0), cluster.client(1));
    let mut watch = b.watch().kind(Kind::Sessions).prefix("user-").open().await.unwrap();
    a.document("user-x").put(&json!({})).await.unwrap();
    a.session("other").put(&json!({})).await.unwrap();
    let created = a.session("user-1").put(&json!({"n": 1})).await.unwrap();
    let change = next_change(&mut watch).await;
    assert_eq!((change.key.as_str(), change.state), ("user-1", State::Live));
    assert_eq!((change.value, change.life), (Some(json!({"n": 1})), created.life));
    a.session("user-1").destroy().await.unwrap();
    let change = next_change(&mut watch).await;
    assert_eq!((change.key.as_str(), change.state, change.value), ("user-1", State::Ended, None));
}

#[tokio::test]
async fn a_watch_is_resumed_where_it_was_left() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client(0);
    let mut watch = client.watch().kind(Kind::Counters).open().await.unwrap();
    client.counter("a").add(1).await.unwrap();
    assert_eq!(next_change(&mut watch).await.key, "a");
    let cursor = watch.cursor().unwrap().to_owned();
    drop(watch);
    client.counter("b").add(2).await.unwrap();
    client.counter("c").add(3).await.unwrap();
    let mut watch = client.watch().kind(Kind::Counters).since(&cursor).open().await.unwrap();
    assert_eq!(next_change(&mut watch).await.key, "b");
    assert_eq!(next_change(&mut watch).await.key, "c");
}

/// Corrosion #239: a cursor that was recycled must fail loudly.
#[tokio::test]
async fn a_cursor_of_another_process_life_is_told_so() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client(0);
    let mut watch = client.watch().open().await.unwrap();
    client.counter("a").add(1).await.unwrap();
    next_change(&mut watch).await;
    let cursor = watch.cursor().unwrap().to_owned();
    cluster.kill(0);
    cluster.restart(0).await;
    cluster[0].ready().await;
    let client = cluster.client(0);
    client.counter("b").add(1).await.unwrap();
    let mut watch = client.watch().since(&cursor).open().await.unwrap();
    assert_eq!(next(&mut watch).await, Event::Reset);
    // Then everything there is, and what comes after that.
    assert_eq!(next_change(&mut watch).await.key, "b");
    assert_eq!(next(&mut watch).await, Event::Current);
    client.counter("c").add(1).await.unwrap();
    assert_eq!(next_change(&mut watch).await.key, "c");
}

/// Corrosion #183: events dropped on overflow.
#[tokio::test]
async fn a_reader_that_is_too_slow_gets_the_latest_state_of_every_key() {
    const KEYS: usize = 200;
    let cluster = Cluster::start(1).await;
    let client = cluster.client(0);
    let mut watch = client.watch().kind(Kind::Documents).open().await.unwrap();
    let filler = "x".repeat(2_000);
    for round in 0..20 {
        let mut batch = client.batch();
        for key in 0..KEYS {
            batch
                .push(client.document(&format!("d{key}")).put(&json!({"round": round, "filler": filler})))
                .unwrap();
        }
        batch.send().await.unwrap();
    }
    let mut latest = BTreeMap::new();
    while latest.len() < KEYS || latest.values().any(|round| *round != json!(19)) {
        match next(&mut watch).await {
            Event::Change(change) => {
                latest.insert(change.key, change.value.map_or(Value::Null, |value| value["round"].clone()));
            }
            // Too slow for the journal: the state of all keys follows.
            Event::Reset => latest.clear(),
            Event::Current => (),
        }
    }
}

#[tokio::test]
async fn an_expiry_is_told() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client(0);
    let mut watch = client.watch().kind(Kind::Sessions).open().await.unwrap();
    client.session("s").put(&json!({})).ttl_seconds(1).await.unwrap();
    // Nobody reads it meanwhile: the node tells it by itself.
    while next_change(&mut watch).await.state != State::Ended {}
}
