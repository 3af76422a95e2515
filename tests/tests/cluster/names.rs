//! Processes that are over and live all the same: given up, or with a later process of their name.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sidetalk_client::{Client, Fault};
use sidetalk_tests::{Cluster, Disks, Node, Options, eventually, within};

fn blocked(names: &[&str]) -> std::collections::BTreeMap<String, Fault> {
    let fault = Fault { blocked: true, ..Fault::default() };
    names.iter().map(|name| ((*name).to_owned(), fault)).collect()
}

async fn state(node: &Node) -> String {
    let status = node.client().status().await.unwrap().value;
    status["readiness"]["state"].as_str().unwrap().to_owned()
}

pub(crate) async fn becomes(node: &Node, wanted: &str) {
    eventually(&format!("{} is {wanted}", node.name()), || async {
        match state(node).await {
            state if state == wanted => Ok(()),
            state => Err(state),
        }
    })
    .await;
}

async fn sees(client: &Client, node: &str, wanted: &str) {
    eventually(&format!("{node} is {wanted}"), || async {
        let members = client.cluster().await.unwrap().value.members;
        let states: Vec<_> = members.iter().filter(|m| m.node == node).map(|m| m.state.clone()).collect();
        if states == [wanted] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
}

/// What is in the files that a node has left for its operator.
fn rescued(directory: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(directory).unwrap();
    files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .flat_map(|bytes| serde_json::from_slice::<Vec<Value>>(&bytes).unwrap())
        .collect()
}

fn rescuing(disks: &Disks, nodes: usize) -> Options {
    (0..nodes).fold(Options::default(), |options, index| {
        let directory = disks.other(&format!("rescue-{index}"));
        options.node(index, &format!("--rescue-dir {}", directory.display()))
    })
}

#[tokio::test]
async fn a_member_that_was_given_up_alive_saves_what_only_it_has_and_comes_back_empty() {
    let disks = Disks::new();
    let mut cluster = Cluster::start_with(3, rescuing(&disks, 3)).await;
    cluster.client(2).counter("c").add(3).await.unwrap();
    cluster.agree("counters/c", &json!({"value": 3})).await;
    cluster.client(2).set_chaos(&blocked(&["n0", "n1"])).await.unwrap();
    let client = cluster.client(0);
    sees(&client, "n2", "down").await;
    cluster.client(2).session("alone").put(&json!({"a": 1})).await.unwrap();
    eventually("it is given up", || async { client.forget("n2").await }).await;
    cluster.client(2).clear_chaos().await.unwrap();
    let (code, log) = cluster.ended(2).await;
    assert_ne!(code, 0);
    assert!(log.contains("the others have gone on without this process"), "{log}");
    let saved = rescued(&disks.other("rescue-2"));
    assert_eq!(saved.iter().map(|op| op["object"].clone()).collect::<Vec<_>>(), [json!("sessions/alone")]);
    cluster.restart(2).await;
    cluster.all_up().await;
    cluster.agree("counters/c", &json!({"value": 3})).await;
    cluster.gone("sessions/alone").await;
}

#[tokio::test]
async fn a_second_process_of_one_name_waits_until_the_first_one_is_gone() {
    let mut cluster = Cluster::start(3).await;
    let second = cluster.start_namesake(2).await;
    becomes(&second, "name_in_use").await;
    let refused = second.client().session("s").put(&json!({})).await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (Some(503), Some("not_ready")), "{refused}");
    eventually("it says whose name it bears", || async {
        let line =
            second.log().into_iter().find(|line| line.contains("another process bears this node's name"));
        line.ok_or("not yet")
    })
    .await;
    // The first one is none the worse for it.
    cluster.client(2).session("s").put(&json!({"by": "first"})).await.unwrap();
    cluster.agree("sessions/s", &json!({"by": "first"})).await;
    let missed = cluster.client(0).session("nobody").get().await.unwrap_err();
    assert!(missed.is_unknown() && missed.problem().is_some_and(|problem| !problem.behind), "{missed}");
    assert_eq!(state(&second).await, "name_in_use");
    cluster.terminate(2).await;
    second.ready().await;
    assert_eq!(second.client().session("s").get().await.unwrap().value, json!({"by": "first"}));
}

#[tokio::test]
async fn a_process_whose_successor_is_a_member_for_others_hands_over_and_goes() {
    let disks = Disks::new();
    let mut cluster = Cluster::start_with(3, rescuing(&disks, 3)).await;
    // n1 does not hear it any more, n0 does.
    cluster.client(2).set_chaos(&blocked(&["n1"])).await.unwrap();
    sees(&cluster.client(1), "n2", "suspect").await;
    let second = cluster.start_namesake(2).await;
    let first = cluster.client(2);
    let mut kept = 0;
    while let Ok(_written) = first.session(&format!("s{kept}")).put(&json!({"n": kept})).await {
        kept += 1;
    }
    let (code, log) = cluster.ended(2).await;
    assert_ne!(code, 0);
    assert!(log.contains("Superseded") && log.contains("operations=0"), "{log}");
    assert!(rescued(&disks.other("rescue-2")).is_empty());
    second.ready().await;
    for n in 0..kept {
        let read = second.client().session(&format!("s{n}")).get().await.unwrap();
        assert_eq!(read.value, json!({"n": n}));
    }
}

/// How many logouts of a session that nobody had heard of a node still has to remember.
async fn barriers(client: &Client, key: &str) -> usize {
    let explained = client.session(key).explain().await.map(|answer| answer.value);
    explained.ok().and_then(|value| value["barriers"].as_array().map(Vec::len)).unwrap_or(0)
}

#[tokio::test]
async fn a_directory_that_comes_back_after_an_empty_one_brings_no_session_from_behind_a_logout() {
    let (disks, aside) = (Disks::new(), Disks::new());
    let options = (0..3).fold(disks.options(3, "--fsync always"), |options, index| {
        options.node(index, &format!("--rescue-dir {}", aside.other(&format!("rescue-{index}")).display()))
    });
    let mut cluster = Cluster::start_with(3, options).await;
    cluster.client(2).counter("c").add(3).await.unwrap();
    cluster.agree("counters/c", &json!({"value": 3})).await;
    cluster.client(2).set_chaos(&blocked(&["n0", "n1"])).await.unwrap();
    let client = cluster.client(0);
    sees(&client, "n2", "down").await;
    cluster.client(2).session("alone").put(&json!({"a": 1})).await.unwrap();
    cluster.kill(2);
    let old = aside.of(2);
    std::fs::rename(disks.of(2), &old).unwrap();

    // It lives without what the directory has, and a logout is collected that has met no login.
    cluster.restart(2).await;
    cluster.all_up().await;
    client.session("alone").destroy().await.unwrap();
    assert_eq!(barriers(&client, "alone").await, 1);
    within(Duration::from_secs(120), "the logout is known everywhere, and collected", || async {
        let left = barriers(&client, "alone").await;
        if left == 0 { Ok(()) } else { Err(format!("{left} barriers")) }
    })
    .await;
    cluster.kill(2);
    std::fs::remove_dir_all(disks.of(2)).unwrap();
    std::fs::rename(&old, disks.of(2)).unwrap();

    cluster.restart(2).await;
    let (code, log) = cluster.ended(2).await;
    assert_ne!(code, 0);
    let said = log.lines().filter(|line| line.contains("ERROR") && line.contains("have gone on without"));
    assert_eq!(said.filter(|line| line.contains("operations=1")).count(), 1, "{log}");
    let saved = rescued(&aside.other("rescue-2"));
    assert_eq!(saved.iter().map(|op| op["object"].clone()).collect::<Vec<_>>(), [json!("sessions/alone")]);
    let files = std::fs::read_dir(disks.of(2)).unwrap().map(|file| file.unwrap().file_name());
    assert!(files.into_iter().any(|name| name.to_string_lossy().starts_with("forgotten-")));

    cluster.restart(2).await;
    cluster.all_up().await;
    cluster.agree("counters/c", &json!({"value": 3})).await;
    cluster.gone("sessions/alone").await;
}
