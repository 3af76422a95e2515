//! A cluster that takes itself for a large one: not everyone is linked with everyone.

use std::time::Duration;

use serde_json::{Value, json};
use sidetalk_client::Acks;
use sidetalk_tests::{Cluster, Options, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// Members that a node sees up, and how many of them it has a link with.
async fn up_and_linked(cluster: &Cluster, index: usize) -> (usize, usize) {
    let members = cluster.client(index).cluster().await.unwrap().value.members;
    let up = members.iter().filter(|member| member.state == "up");
    let linked = up.clone().filter(|member| member.more.get("round_trip_micros").is_some_and(Value::is_u64));
    (up.count() - 1, linked.count())
}

#[tokio::test]
async fn six_nodes_with_a_few_links_each_share_everything() {
    let mut cluster = Cluster::start_with(6, Options::new("--full-mesh-max 3")).await;
    cluster.client(0).session("s").put(&json!({"by": 0})).await.unwrap();
    cluster.agree("sessions/s", &json!({"by": 0})).await;
    for index in 0..6 {
        let added = cluster.client(index).counter("c").add(1).acks(Acks::All, PATIENCE).await.unwrap();
        assert_eq!(added.acks, Some(6), "n{index}");
    }
    // Links that stand from when the cluster was small go by and by.
    eventually("not everyone is linked with everyone", || async {
        let mut links = Vec::new();
        for index in 0..6 {
            links.push(up_and_linked(&cluster, index).await);
        }
        let sparse = links.iter().any(|(_, linked)| *linked < 5);
        let whole = links.iter().all(|(up, linked)| *up == 5 && *linked >= 2);
        if sparse && whole { Ok(()) } else { Err(format!("{links:?}")) }
    })
    .await;
    // Everyone was asked, those without a link as well.
    eventually("a session is unknown to all", || async {
        match cluster.client(3).session("never").get().await {
            Err(error) if error.is_unknown() && !error.problem().unwrap().behind => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.client(1).session("s").destroy().await.unwrap();
    cluster.gone("sessions/s").await;

    cluster.kill(2);
    for index in [0, 1, 3, 4, 5] {
        cluster.client(index).counter("c").add(1).acks(Acks::Majority, PATIENCE).await.unwrap();
    }
    cluster.agree("counters/c", &json!({"value": 11})).await;
    cluster.restart(2).await;
    cluster.all_up().await;
    cluster.agree("counters/c", &json!({"value": 11})).await;
}
