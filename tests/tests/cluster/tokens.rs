//! Read your writes, anywhere.

use std::time::{Duration, Instant};

use serde_json::json;
use sidetalk_client::Acks;
use sidetalk_tests::Cluster;

use super::token;

#[tokio::test]
async fn a_token_makes_another_node_wait_until_it_shows_the_write() {
    let mut cluster = Cluster::start(2).await;
    cluster.delay_all(100).await;
    let (a, b) = (cluster.client(0), cluster.client(1));
    for n in 0..3 {
        let written = a.document("d").put(&json!({"n": n})).await.unwrap();
        let read =
            b.document("d").get().after([&token(&written)]).wait(Duration::from_secs(5)).await.unwrap();
        assert_eq!((&read.value, read.behind), (&json!({"n": n}), false));
        let counted = a.counter("c").add(1).await.unwrap();
        let removed = a.set("s").change(&["x"], &["y"]).await.unwrap();
        let both = [token(&counted), token(&removed)];
        assert_eq!(
            b.counter("c").get().after(&both).wait(Duration::from_secs(5)).await.unwrap().value.value,
            n + 1
        );
        assert!(!b.set("s").get().after(&both).await.unwrap().behind);
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_answers_after_the_bounded_wait_and_says_that_it_is_behind() {
    let mut cluster = Cluster::start(2).await;
    let first = cluster.client(0).document("d").put(&json!({"n": 1})).await.unwrap();
    cluster.client(1).document("d").get().after([&token(&first)]).await.unwrap();
    cluster.partition(&[&[0], &[1]]).await;
    let second = cluster.client(0).document("d").put(&json!({"n": 2})).await.unwrap();
    let started = Instant::now();
    let read = cluster.client(1).document("d").get().after([&token(&second)]);
    let read = read.wait(Duration::from_millis(300)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!((&read.value, read.behind), (&json!({"n": 1}), true));
    cluster.heal().await;
    let read = cluster.client(1).document("d").get().after([&token(&second)]).wait(Duration::from_secs(10));
    let read = read.await.unwrap();
    assert_eq!((&read.value, read.behind), (&json!({"n": 2}), false));
}

#[tokio::test]
async fn a_write_that_comes_with_a_token_beats_the_write_the_token_names() {
    let mut cluster = Cluster::start(2).await;
    let created = cluster.client(0).document("d").put(&json!({})).acks(Acks::All, Duration::from_secs(5));
    created.await.unwrap();
    cluster.partition(&[&[0], &[1]]).await;
    let first = cluster.client(0).document("d").patch(&json!({"x": 1})).await.unwrap();
    let second = cluster.client(1).document("d").patch(&json!({"x": 2}));
    let second = second.after([&token(&first)]).wait(Duration::from_millis(20)).await.unwrap();
    assert!(second.behind);
    cluster.heal().await;
    cluster.agree("documents/d", &json!({"x": 2})).await;
}

#[tokio::test]
async fn acknowledgements_are_counted_over_all_members_alive_or_not() {
    let mut cluster = Cluster::start(3).await;
    let a = cluster.client(0);
    let all = a.document("d").put(&json!({"n": 1})).acks(Acks::All, Duration::from_secs(5)).await.unwrap();
    assert_eq!(all.acks, Some(3));
    cluster.partition(&[&[0], &[1, 2]]).await;
    let error = a.document("d").put(&json!({"n": 2})).acks(Acks::Majority, Duration::from_millis(200));
    let error = error.await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(504), Some("not_enough_acks")));
    // The write stays, and its token comes with the refusal.
    assert_eq!(a.document("d").get().await.unwrap().value, json!({"n": 2}));
    let stayed = error.problem().unwrap().token.clone().unwrap();
    cluster.heal().await;
    let read =
        cluster.client(1).document("d").get().after([&stayed]).wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!((read.value, read.behind), (json!({"n": 2}), false));
}
