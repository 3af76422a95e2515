//! Sessions: no lost update, logout wins, login holds.

use std::time::Duration;

use serde_json::json;
use sidetalk_client::{Acks, Object};
use sidetalk_tests::{Cluster, eventually};

use super::{outcome, status, token};

#[tokio::test]
async fn different_fields_written_at_once_on_two_nodes_both_survive() {
    let mut cluster = Cluster::start(2).await;
    let (a, b) = (cluster.client(0).session("s"), cluster.client(1).session("s"));
    let created = a.put(&json!({"user": "ada"})).await.unwrap();
    b.get().after([&token(&created)]).await.unwrap();
    cluster.partition(&[&[0], &[1]]).await;
    a.patch(&json!({"cart": {"apples": 1}})).await.unwrap();
    b.patch(&json!({"cart": {"pears": 2}})).await.unwrap();
    cluster.heal().await;
    cluster.agree("sessions/s", &json!({"user": "ada", "cart": {"apples": 1, "pears": 2}})).await;
}

#[tokio::test]
async fn the_same_field_written_at_once_has_one_winner_the_same_everywhere() {
    let mut cluster = Cluster::start(3).await;
    let created = cluster.client(0).session("s").put(&json!({})).await.unwrap();
    for client in cluster.clients() {
        client.session("s").get().after([&token(&created)]).await.unwrap();
    }
    cluster.partition(&[&[0], &[1], &[2]]).await;
    for (index, client) in cluster.clients().iter().enumerate() {
        client.session("s").patch(&json!({"theme": index})).await.unwrap();
    }
    cluster.heal().await;
    let sessions: Vec<_> = cluster.clients().iter().map(|client| client.session("s")).collect();
    let one_winner = || async {
        let mut shown = Vec::new();
        for session in &sessions {
            shown.push(outcome(session).await);
        }
        // Before the others' writes have come, every node shows its own.
        if shown.iter().all(|each| each == &shown[0]) {
            Ok(shown.remove(0))
        } else {
            Err(format!("{shown:?}"))
        }
    };
    let winner = eventually("all nodes show one winner", one_winner).await.unwrap();
    assert!((0..3).any(|index| winner == json!({"theme": index})), "{winner}");
}

/// connect-redis #328, express/session #632: a request in flight brings the session back.
#[tokio::test]
async fn destroyed_while_the_other_side_keeps_writing_stays_gone_through_restarts() {
    let mut cluster = Cluster::start(3).await;
    let (a, b) = (cluster.client(0).session("s"), cluster.client(1).session("s"));
    let created = a.put(&json!({"user": "ada"})).acks(Acks::All, Duration::from_secs(5)).await.unwrap();
    cluster.partition(&[&[0, 2], &[1]]).await;
    a.destroy().after([&token(&created)]).await.unwrap();
    for n in 0..20 {
        b.patch(&json!({"n": n})).await.unwrap();
    }
    assert_eq!(outcome(&a).await, Err(410));
    cluster.heal().await;
    cluster.gone("sessions/s").await;
    for index in [1, 0, 2] {
        cluster.kill(index);
        cluster.restart(index).await;
        cluster.all_up().await;
        cluster.gone("sessions/s").await;
    }
    cluster.client(1).document("other").put(&json!({"later": true})).await.unwrap();
    cluster.agree("documents/other", &json!({"later": true})).await;
    cluster.gone("sessions/s").await;
}

/// Race I of the measurements: login on one node, the next request on another before replication.
#[tokio::test]
async fn created_on_a_and_read_on_b_at_once_is_found_and_destroyed_is_told_as_such() {
    let mut cluster = Cluster::start(3).await;
    cluster.delay_all(150).await;
    let (a, b) = (cluster.client(0).session("s"), cluster.client(1).session("s"));
    a.put(&json!({"user": "ada"})).await.unwrap();
    let read = b.get().wait(Duration::from_secs(5)).await.unwrap();
    assert_eq!((read.value, read.behind), (json!({"user": "ada"}), false));
    a.destroy().await.unwrap();
    eventually("B tells that it has ended", || async {
        match outcome(&b).await {
            Err(410) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// A logout that lands where the login has not been heard of yet must still win.
#[tokio::test]
async fn deleted_on_a_node_that_has_not_heard_of_it_a_millisecond_after_creation_it_is_gone() {
    let mut cluster = Cluster::start(3).await;
    cluster.delay_all(100).await;
    for round in 0..5 {
        let id = format!("s{round}");
        cluster.client(0).session(&id).put(&json!({"user": "ada"})).await.unwrap();
        cluster.client(1).session(&id).destroy().await.unwrap();
        cluster.gone(&format!("sessions/{id}")).await;
    }
    // With nobody to ask, it must win as well, once they meet.
    cluster.partition(&[&[0, 2], &[1]]).await;
    cluster.client(0).session("cut").put(&json!({"user": "ada"})).await.unwrap();
    cluster.client(1).session("cut").destroy().wait(Duration::from_millis(50)).await.unwrap();
    cluster.heal().await;
    cluster.gone("sessions/cut").await;
}

#[tokio::test]
async fn unknown_ids_are_unknown_and_say_so_when_not_everyone_could_be_asked() {
    let mut cluster = Cluster::start(3).await;
    let session = cluster.client(0).session("never");
    // A node that has just joined is not asked before it has said that it has caught up.
    eventually("all members have been asked", || async {
        let error = session.get().await.unwrap_err();
        if error.is_unknown() && !error.problem().unwrap().behind { Ok(()) } else { Err(error) }
    })
    .await;
    cluster.partition(&[&[0], &[1, 2]]).await;
    let error = session.get().wait(Duration::from_millis(200)).await.unwrap_err();
    assert!(error.is_unknown() && error.problem().unwrap().behind, "{error}");
    assert_eq!(
        status(&session.patch(&json!({"a": 1})).wait(Duration::from_millis(50)).await.unwrap_err()),
        404
    );
}

/// A change names the life it was loaded from: an id that was created anew is another session.
#[tokio::test]
async fn a_request_in_flight_changes_its_own_life_only() {
    let cluster = Cluster::start(2).await;
    let (a, b) = (cluster.client(0).session("s"), cluster.client(1).session("s"));
    let first = a.put(&json!({"user": "ada"})).await.unwrap();
    let life = first.life.clone().unwrap();
    let gone = a.destroy().await.unwrap();
    let second = b.put(&json!({"user": "bob"})).after([&token(&gone)]).await.unwrap();
    assert_ne!(second.life.as_deref(), Some(life.as_str()));
    for session in [&a, &b] {
        let late = session.patch(&json!({"cart": 1})).life(&life).after([&token(&second)]);
        assert_eq!(status(&late.await.unwrap_err()), 410);
    }
    cluster.agree("sessions/s", &json!({"user": "bob"})).await;
}

/// Keycloak #37825, Olric #225.
#[tokio::test]
async fn two_quick_restarts_of_every_node_lose_nothing() {
    let mut cluster = Cluster::start(3).await;
    let mut written = Vec::new();
    for n in 0..30 {
        let id = format!("s{n}");
        let put = cluster.client(n % 3).session(&id).put(&json!({"n": n}));
        put.acks(Acks::Majority, Duration::from_secs(5)).await.unwrap();
        written.push(id);
    }
    for index in [0, 0, 1, 1, 2, 2] {
        assert_eq!(cluster.terminate(index).await, 0);
        cluster.restart(index).await;
        cluster[index].ready().await;
    }
    for (n, id) in written.iter().enumerate() {
        cluster.agree(&format!("sessions/{id}"), &json!({"n": n})).await;
    }
}

#[tokio::test]
async fn a_lease_runs_out_everywhere_and_a_touch_extends_it_everywhere() {
    let cluster = Cluster::start(2).await;
    let (a, b) = (cluster.client(0), cluster.client(1));
    let brief = a.session("brief").put(&json!({})).ttl_seconds(1).await.unwrap();
    let kept = a.session("kept").put(&json!({})).ttl_seconds(60).await.unwrap();
    b.session("kept").touch().ttl_seconds(3600).after([&token(&kept)]).await.unwrap();
    assert_eq!(
        b.session("brief").get().after([&token(&brief)]).await.map(|answer| answer.status).unwrap_or(410),
        200
    );
    for client in [&a, &b] {
        expired(&client.session("brief")).await;
    }
    for client in [&a, &b] {
        let answer = client.session("kept").get().await.unwrap();
        assert!(answer.expires_in_seconds.unwrap() > 3000, "{answer:?}");
    }
}

async fn expired(session: &Object) {
    eventually("it has expired", || async {
        match outcome(session).await {
            Err(410) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
