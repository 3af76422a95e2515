//! Keys change while the cluster runs, and who has the wrong one is told so.

use serde_json::json;
use sidetalk_tests::{Cluster, Node, Options, SecretFile, eventually};

use crate::names::becomes;

/// Waits until every node accepts so many keys and uses this one.
async fn all_have_read(cluster: &Cluster, used: &str, accepted: usize) {
    for node in cluster.running() {
        eventually(&format!("{} uses {used} and accepts {accepted}", node.name()), || async {
            let last = node
                .log()
                .into_iter()
                .rev()
                .find(|line| line.contains("the first is used"))
                .unwrap_or_default();
            let keys = last.split("keys=").nth(1).unwrap_or_default().trim_matches('"').to_owned();
            let keys: Vec<&str> =
                keys.split(|c: char| !c.is_ascii_hexdigit()).filter(|key| key.len() == 8).collect();
            if keys.len() == accepted && keys[0] == used { Ok(()) } else { Err(last) }
        })
        .await;
    }
}

fn used(listed: &str) -> String {
    listed.lines().find_map(|line| line.strip_suffix(" used")).unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_rotated_under_load_and_no_write_is_lost() {
    let key = SecretFile::key("rotated");
    let options = format!("--cluster-key-file {} --hash-session-ids", key.path());
    let cluster = Cluster::start_with(3, Options::new(&options)).await;
    cluster.client(0).session("cookie").put(&json!({"before": 1})).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load: Vec<_> = cluster
        .clients()
        .into_iter()
        .map(|client| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut counted = 0i64;
                while !*stopped.borrow() {
                    client.counter("c").add(1).await.unwrap();
                    counted += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                counted
            })
        })
        .collect();
    let old = used(&key.step("--ids").out);
    for (step, accepted) in [("--add", 2), ("--promote", 2), ("--prune", 1)] {
        let told = key.step(step);
        assert_eq!(told.code, 0, "{told:?}");
        all_have_read(&cluster, &used(&told.out), accepted).await;
        cluster.all_up().await;
        let name = format!("after{step}");
        let write = cluster.client(1).document(&name).put(&json!({"step": step}));
        write.acks(sidetalk_client::Acks::All, std::time::Duration::from_secs(10)).await.unwrap();
    }
    assert_ne!(used(&key.step("--ids").out), old);
    stop.send(true).unwrap();
    let mut total = 0;
    for counted in load {
        total += counted.await.unwrap();
    }
    for client in cluster.clients() {
        eventually("every count has come", || async {
            let value = client.counter("c").get().await.unwrap().value.value;
            if value == total { Ok(()) } else { Err(format!("{value} of {total}")) }
        })
        .await;
        // Session ids are hashed as before.
        assert_eq!(client.session("cookie").get().await.unwrap().value, json!({"before": 1}));
    }
}

/// Both logs say why, in one line, and not again and again.
async fn both_say(insider: &Node, stranger: &Node, what: &str) {
    for node in [insider, stranger] {
        let said =
            || node.log().iter().filter(|line| line.contains(what) && !line.contains("gossip:")).count();
        eventually(&format!("{} says {what:?}", node.name()), || async {
            if said() > 0 { Ok(()) } else { Err(node.log().join("\n")) }
        })
        .await;
        assert!(said() <= 8, "{} floods: {:#?}", node.name(), node.log());
    }
}

#[tokio::test]
async fn who_has_another_key_cluster_or_setting_learns_nothing_and_both_sides_say_why() {
    let (key, wrong) = (SecretFile::key("right"), SecretFile::key("other"));
    let cluster = Cluster::start_with(1, Options::new(&format!("--cluster-key-file {}", key.path()))).await;
    cluster.client(0).document("secret").put(&json!({})).await.unwrap();
    let start = |name: &'static str, more: String| {
        let join = format!("--join {} {more}", cluster[0].gossip());
        async move { Node::start(name, &join.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).await }
    };
    let with_key = format!("--cluster-key-file {}", key.path());
    let strangers = [
        (start("wrong", format!("--cluster-key-file {}", wrong.path())).await, "cluster key is another"),
        (start("elsewhere", format!("{with_key} --cluster elsewhere")).await, "belongs to another cluster"),
        (
            start("hashing", format!("{with_key} --hash-session-ids")).await,
            "stores session ids in another way",
        ),
    ];
    for (stranger, what) in &strangers {
        both_say(&cluster[0], stranger, what).await;
        becomes(stranger, "refused").await;
    }
    let members = cluster.client(0).cluster().await.unwrap().value.members;
    let up: Vec<_> =
        members.iter().filter(|member| member.state == "up").map(|member| &*member.node).collect();
    assert_eq!(up, ["n0"]);
}
