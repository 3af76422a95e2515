//! Deploys: every node is restarted while clients go on, and nothing that was acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use sidetalk_client::Client;
use sidetalk_tests::{Cluster, Options, eventually};
use tokio::task::JoinSet;

/// What clients know of their writes.
#[derive(Default)]
struct Books {
    acknowledged: AtomicU64,
    /// The connection broke before an answer came: counted or not.
    unknown: AtomicU64,
}

/// A field of a message such as `sidetalk stopped node=n0 handed-over=3`.
fn field(line: &str, name: &str) -> u64 {
    let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

/// One client of the node at `index`: counts, and leaves a session of its own behind for each count.
async fn work(client: Client, index: usize, round: usize, books: Arc<Books>) {
    for number in 0.. {
        match client.counter("requests").add(1).await {
            Ok(_) => books.acknowledged.fetch_add(1, Ordering::Relaxed),
            // Not taken: the node stops, or has stopped.
            Err(error) if error.status().is_some() => return,
            Err(_) => {
                books.unknown.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let id = format!("{index}-{round}-{number}");
        let Ok(_) = client.session(&id).put(&json!({ "user": id })).await else { return };
        if client.document("sessions").patch(&json!({ id: true })).await.is_err() {
            return;
        }
    }
}

/// Starts a client of each node that runs.
fn load(cluster: &Cluster, round: usize, books: &Arc<Books>, work_load: &mut JoinSet<()>) {
    for (index, node) in cluster.running().enumerate() {
        work_load.spawn(work(node.client(), index, round, Arc::clone(books)));
    }
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_nothing_and_says_what_it_handed_over() {
    let mut cluster = Cluster::start(3).await;
    let books = Arc::new(Books::default());
    let mut clients = JoinSet::new();
    load(&cluster, 0, &books, &mut clients);
    let mut handed_over = 0;
    // Each once, one twice in quick succession, and each again.
    for (round, index) in [0, 1, 2, 1, 1, 0, 2].into_iter().enumerate() {
        let before = books.acknowledged.load(Ordering::Relaxed);
        eventually("clients have gone on", || async {
            let now = books.acknowledged.load(Ordering::Relaxed);
            if now > before + 20 { Ok(()) } else { Err(format!("{} since then", now - before)) }
        })
        .await;
        let (code, line) = cluster.stop(index).await;
        println!("{line}");
        assert_eq!((code, field(&line, "left-behind")), (0, 0), "{line}");
        // Stopped again as soon as it is ready, it may not be linked with everybody yet.
        assert!((1..=2).contains(&field(&line, "peers")), "{line}");
        assert_eq!(field(&line, "peers-behind"), 0, "{line}");
        handed_over += field(&line, "handed-over");
        cluster.restart(index).await;
        cluster[index].ready().await;
        clients.spawn(work(cluster.client(index), index, 1 + round, Arc::clone(&books)));
    }
    assert!(handed_over > 0, "no stop met a write that nobody else had");
    clients.shutdown().await;
    let (least, unknown) =
        (books.acknowledged.load(Ordering::Relaxed), books.unknown.load(Ordering::Relaxed));
    println!("{least} increments acknowledged, {unknown} unanswered, {handed_over} operations handed over");
    for client in cluster.clients() {
        eventually("every acknowledged increment is there", || async {
            let value = client.counter("requests").get().await.unwrap().value.value;
            // A client that is stopped between a count and its books leaves one more.
            let most = i64::try_from(least + unknown + 10).unwrap();
            if (i64::try_from(least).unwrap()..=most).contains(&value) { Ok(()) } else { Err(value) }
        })
        .await;
    }
    every_session_is_there(&cluster).await;
}

/// Each session that the list names was acknowledged before it was put on the list.
async fn every_session_is_there(cluster: &Cluster) {
    let list = cluster.client(0).document("sessions").get().await.unwrap().value;
    let Value::Object(list) = list else { panic!("{list}") };
    assert!(list.len() > 50, "{}", list.len());
    cluster.agree("documents/sessions", &Value::Object(list.clone())).await;
    for client in cluster.clients() {
        for id in list.keys() {
            assert_eq!(client.session(id).get().await.unwrap().value, json!({ "user": id }));
        }
    }
}

#[tokio::test]
async fn who_cannot_hand_over_says_how_much_is_left_behind() {
    let mut cluster = Cluster::start_with(2, Options::new("--drain-millis 500")).await;
    cluster.partition(&[&[0], &[1]]).await;
    for n in 0..7 {
        cluster.client(0).session(&format!("s{n}")).put(&json!({})).await.unwrap();
    }
    let (code, line) = cluster.stop(0).await;
    assert_eq!((code, field(&line, "handed-over"), field(&line, "left-behind")), (0, 0, 7), "{line}");
}
