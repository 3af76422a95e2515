//! Counts are exact.

use std::time::Duration;

use sidetalk_client::{Acks, Client};
use sidetalk_tests::{Cluster, Node, eventually, within};

use super::token;

async fn counted(cluster: &Cluster, name: &str, want: i64) {
    for node in cluster.running() {
        count_on(node, name, want).await;
    }
}

async fn count_on(node: &Node, name: &str, want: i64) {
    eventually(&format!("{} counts {want}", node.name()), || async {
        match node.client().counter(name).get().await {
            Ok(answer) if answer.value.value == want => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_partition_a_reset_on_one_side_a_kill_and_a_restart_leave_the_exact_sum() {
    let mut cluster = Cluster::start(3).await;
    for (index, client) in cluster.clients().iter().enumerate() {
        client.counter("c").add(10 + index as i64).acks(Acks::All, PATIENCE).await.unwrap();
    }
    counted(&cluster, "c", 33).await;
    cluster.partition(&[&[0, 1], &[2]]).await;
    let (a, b, c) =
        (cluster.client(0).counter("c"), cluster.client(1).counter("c"), cluster.client(2).counter("c"));
    c.add(100).await.unwrap();
    b.add(5).acks(Acks::Count(2), PATIENCE).await.unwrap();
    // Sees 33 and 5; not the 100.
    let reset = a.reset().acks(Acks::Count(2), PATIENCE).await.unwrap();
    c.add(-1).await.unwrap();
    b.add(7).after([&token(&reset)]).acks(Acks::Count(2), PATIENCE).await.unwrap();
    cluster.kill(1);
    a.add(2).await.unwrap();
    cluster.restart(1).await;
    cluster[1].ready().await;
    cluster.client(1).counter("c").add(1000).await.unwrap();
    cluster.heal().await;
    counted(&cluster, "c", 100 - 1 + 7 + 2 + 1000).await;
}

#[tokio::test]
async fn increments_acknowledged_by_a_majority_survive_the_death_of_the_node_that_took_them() {
    let mut cluster = Cluster::start(3).await;
    let mut sum = 0;
    for amount in 1..=20 {
        cluster.client(0).counter("c").add(amount).acks(Acks::Majority, PATIENCE).await.unwrap();
        sum += amount;
    }
    cluster.kill(0);
    counted(&cluster, "c", sum).await;
    cluster.restart(0).await;
    cluster.all_up().await;
    counted(&cluster, "c", sum).await;
}

/// KeyDB #111: increments while one node restarts.
#[tokio::test]
async fn increments_under_load_while_a_node_restarts_are_neither_lost_nor_doubled() {
    let mut cluster = Cluster::start(3).await;
    let load = |client: Client| {
        tokio::spawn(async move {
            let mut sum = 0;
            for _ in 0..300 {
                client.counter("c").add(1).await.unwrap();
                sum += 1;
            }
            sum
        })
    };
    let loads = [load(cluster.client(0)), load(cluster.client(1))];
    for _ in 0..2 {
        cluster.kill(2);
        cluster.restart(2).await;
        cluster[2].ready().await;
    }
    let mut sum = 0;
    for load in loads {
        sum += load.await.unwrap();
    }
    counted(&cluster, "c", sum).await;
}

/// express/session: fifty parallel increments end at 3 to 5 elsewhere.
#[tokio::test]
async fn fifty_parallel_increments_of_one_session_field_on_all_nodes_count_fifty() {
    use sidetalk_client::PathOp;
    let cluster = Cluster::start(3).await;
    let created = cluster.client(0).session("s").put(&serde_json::json!({"n": 0}));
    let created = created.acks(Acks::All, PATIENCE).await.unwrap();
    let mut calls = Vec::new();
    for n in 0..50 {
        let session = cluster.client(n % 3).session("s");
        let seen = token(&created);
        calls.push(tokio::spawn(async move {
            let op = PathOp::Incr { path: vec!["n".into()], by: 1 };
            session.ops(&[op]).after([&seen]).await.unwrap();
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
    cluster.agree("sessions/s", &serde_json::json!({"n": 50})).await;
}

/// Akka's documentation: a majority read after a majority write, while the members change.
#[tokio::test]
async fn what_a_majority_has_acknowledged_is_read_after_members_have_come_and_gone() {
    let mut cluster = Cluster::start(3).await;
    let added = cluster.client(0).counter("c").add(7).acks(Acks::Majority, PATIENCE).await.unwrap();
    let joined = cluster.add().await;
    assert_eq!(cluster.terminate(0).await, 0);
    for index in [1, 2, joined] {
        let read =
            cluster.client(index).counter("c").get().after([&token(&added)]).wait(PATIENCE).await.unwrap();
        assert_eq!((read.value.value, read.behind), (7, false), "n{index}");
    }
}

#[tokio::test]
async fn a_retry_with_the_same_idempotency_key_does_not_count_twice() {
    let cluster = Cluster::start(1).await;
    let counter = cluster.client(0).counter("c");
    for _ in 0..3 {
        assert_eq!(counter.add(5).idempotency_key("once").await.unwrap().value.value, 5);
    }
    let error = counter.add(6).idempotency_key("once").await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(422), Some("idempotency_key_reused")));
    assert_eq!(counter.get().await.unwrap().value.value, 5);
}

/// What those counted that left in order becomes one record; nobody sees anything of it.
#[tokio::test]
async fn what_was_counted_before_many_deploys_is_folded_and_stays_exact() {
    let mut cluster = Cluster::start(3).await;
    const DEPLOYS: i64 = 9;
    for done in 0..DEPLOYS {
        cluster.client(1).counter("c").add(1).acks(Acks::All, PATIENCE).await.unwrap();
        assert_eq!(cluster.terminate(1).await, 0);
        cluster.restart(1).await;
        cluster[1].ready().await;
        counted(&cluster, "c", done + 1).await;
    }
    // Each shard is looked at once in 26 seconds.
    within(Duration::from_secs(80), "it is folded, by the node with the first name", || async {
        let folds = cluster[0].metric("sidetalk_folds_total").await;
        if folds > 0.0 { Ok(()) } else { Err(folds) }
    })
    .await;
    counted(&cluster, "c", DEPLOYS).await;
    cluster.client(2).counter("c").add(5).await.unwrap();
    counted(&cluster, "c", DEPLOYS + 5).await;
    cluster.client(2).counter("c").reset().acks(Acks::All, PATIENCE).await.unwrap();
    counted(&cluster, "c", 0).await;
    assert_eq!(cluster[0].metric("sidetalk_divergence_alarms_total").await, 0.0);
}
