//! Clocks that are wrong.

use std::time::Duration;

use serde_json::json;
use sidetalk_client::Acks;
use sidetalk_tests::{Cluster, Options, eventually};

use super::token;

const HOUR_MILLIS: i64 = 3_600_000;

/// KeyDB #247: the same key written on two nodes with skewed clocks.
#[tokio::test]
async fn with_clocks_an_hour_apart_the_one_who_saw_the_other_always_wins() {
    for offset in [HOUR_MILLIS, -HOUR_MILLIS] {
        let options = Options::default().node(0, &format!("--clock-offset-millis {offset}"));
        let mut cluster = Cluster::start_with(2, options).await;
        let (a, b) = (cluster.client(0).document("d"), cluster.client(1).document("d"));
        let mut seen = token(&a.put(&json!({"n": 0})).await.unwrap());
        for n in 1..=6 {
            let document = if n % 2 == 0 { &a } else { &b };
            let put = document.patch(&json!({"n": n})).after([&seen]).wait(Duration::from_secs(10));
            seen = token(&put.await.unwrap());
            cluster.agree("documents/d", &json!({"n": n})).await;
        }
        // Written at once, one of the two wins, the same on both; and the next write wins over that.
        cluster.partition(&[&[0], &[1]]).await;
        a.patch(&json!({"n": "a"})).await.unwrap();
        b.patch(&json!({"n": "b"})).await.unwrap();
        cluster.heal().await;
        let winner = eventually("both show one winner", || async {
            let (one, other) = (a.get().await.unwrap().value, b.get().await.unwrap().value);
            if one == other { Ok(one) } else { Err(format!("{one} and {other}")) }
        })
        .await;
        let loser = if winner["n"] == "a" { &b } else { &a };
        loser.patch(&json!({"n": "last"})).await.unwrap();
        cluster.agree("documents/d", &json!({"n": "last"})).await;
    }
}

#[tokio::test]
async fn a_session_lives_and_ends_whatever_the_clocks_say() {
    let options = Options::default().node(0, &format!("--clock-offset-millis {HOUR_MILLIS}"));
    let cluster = Cluster::start_with(3, options).await;
    let created = cluster.client(1).session("s").put(&json!({"user": "ada"})).ttl_seconds(7200);
    created.acks(Acks::All, Duration::from_secs(10)).await.unwrap();
    cluster.agree("sessions/s", &json!({"user": "ada"})).await;
    cluster.client(1).session("s").destroy().await.unwrap();
    cluster.gone("sessions/s").await;
}

#[tokio::test]
async fn the_status_shows_the_skew() {
    let options = Options::default().node(2, &format!("--clock-offset-millis {HOUR_MILLIS}"));
    let cluster = Cluster::start_with(3, options).await;
    let client = cluster.client(2);
    eventually("the node that is wrong says by how much", || async {
        let status = client.status().await.unwrap().value;
        let millis = status["skew_millis"].as_i64().unwrap();
        if (millis - HOUR_MILLIS).abs() < 60_000 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let members = cluster.client(0).cluster().await.unwrap().value.members;
    let wrong = members.iter().find(|member| member.node == "n2").unwrap();
    let offset = wrong.more["clock_offset_millis"].as_i64().unwrap();
    assert!((offset - HOUR_MILLIS).abs() < 60_000, "{members:?}");
}
