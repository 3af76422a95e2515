//! With a disk: what was acknowledged survives the death of any process, and of all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use sidetalk_client::{Acks, Client};
use sidetalk_tests::{Cluster, Node, Options, eventually, sidetalk_binary};

/// Directories of a test's nodes. Removed with it.
struct Disks(PathBuf);

impl Disks {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("sidetalk-disks-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    fn of(&self, node: usize) -> PathBuf {
        self.0.join(format!("n{node}"))
    }

    fn options(&self, nodes: usize, arguments: &str) -> Options {
        (0..nodes).fold(Options::new(arguments), |options, node| {
            options.node(node, &format!("--data-dir {}", self.of(node).display()))
        })
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Every running node counts this.
async fn all_count(cluster: &Cluster, name: &str, want: i64) {
    for node in cluster.running() {
        eventually(&format!("{} counts {want}", node.name()), || async {
            match node.client().counter(name).get().await {
                Ok(answer) if answer.value.value == want => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

async fn nobody_differs(cluster: &Cluster) {
    for node in cluster.running() {
        let status = node.client().status().await.unwrap().value;
        assert_eq!(status["diverged_shards"], json!([]), "{}", node.name());
    }
}

#[tokio::test]
async fn a_whole_cluster_killed_at_once_comes_back_also_with_one_disk_lost() {
    let disks = Disks::new();
    let mut cluster = Cluster::start_with(3, disks.options(3, "--fsync always")).await;
    let a = cluster.client(0);
    for n in 0..50 {
        a.session(&format!("s{n}")).put(&json!({ "n": n })).ttl_seconds(3600).await.unwrap();
        cluster.client(n % 3).counter("c").add(n as i64 + 1).await.unwrap();
    }
    a.session("short").put(&json!({})).ttl_seconds(1).await.unwrap();
    a.session("s7").destroy().acks(Acks::All, PATIENCE).await.unwrap();
    cluster.agree("sessions/s49", &json!({ "n": 49 })).await;
    all_count(&cluster, "c", 1275).await;
    (0..3).for_each(|node| cluster.kill(node));
    std::fs::remove_dir_all(disks.of(2)).unwrap();
    for node in 0..3 {
        cluster.restart(node).await;
        cluster[node].ready().await;
    }
    cluster.all_up().await;
    for n in (0..50).filter(|n| *n != 7) {
        cluster.agree(&format!("sessions/s{n}"), &json!({ "n": n })).await;
    }
    cluster.gone("sessions/s7").await;
    cluster.gone("sessions/short").await;
    all_count(&cluster, "c", 1275).await;
    cluster.client(2).counter("c").add(5).await.unwrap();
    all_count(&cluster, "c", 1280).await;
    nobody_differs(&cluster).await;
}

/// Kills one node after the other while writers write; whatever was acknowledged must be there in the end.
async fn kill_loop(rounds: usize) {
    let disks = Disks::new();
    let mut cluster =
        Cluster::start_with(3, disks.options(3, "--fsync always --bootstrap-millis 2000")).await;
    let mut counted = 0i64;
    let mut kept: BTreeMap<String, i64> = BTreeMap::new();
    // A lost answer may have counted or not.
    let mut doubtful = 0i64;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let victim = (random % 3) as usize;
        let clients = cluster.clients();
        let writing: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(node, client)| tokio::spawn(write_until_refused(client, round, node, node == victim)))
            .collect();
        // Under load, at an instant of no meaning.
        tokio::time::sleep(Duration::from_millis(20 + random % 60)).await;
        cluster.kill(victim);
        for writer in writing {
            let wrote = writer.await.unwrap();
            counted += wrote.counted;
            doubtful += wrote.doubtful;
            kept.extend(wrote.kept);
        }
        cluster.restart(victim).await;
        cluster[victim].ready().await;
    }
    cluster.all_up().await;
    assert!(kept.len() > rounds * 3, "there was load: {}", kept.len());
    for node in cluster.running() {
        for (key, value) in &kept {
            cluster_shows(node, key, *value).await;
        }
        eventually(&format!("{} counts all", node.name()), || async {
            let value =
                node.client().counter("c").get().await.map_err(|error| error.to_string())?.value.value;
            if (counted..=counted + doubtful).contains(&value) {
                Ok(())
            } else {
                Err(format!("{value}, not {counted} to {}", counted + doubtful))
            }
        })
        .await;
    }
    nobody_differs(&cluster).await;
}

async fn cluster_shows(node: &Node, key: &str, value: i64) {
    eventually(&format!("{} has {key}", node.name()), || async {
        match node.client().session(key).get().await {
            Ok(answer) if answer.value == json!({ "v": value }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[derive(Default)]
struct Wrote {
    counted: i64,
    doubtful: i64,
    kept: BTreeMap<String, i64>,
}

async fn write_until_refused(client: Client, round: usize, node: usize, dies: bool) -> Wrote {
    let mut wrote = Wrote::default();
    for n in 0.. {
        if !dies && n >= 30 {
            break;
        }
        let key = format!("r{round}-n{node}-{n}");
        match client.session(&key).put(&json!({ "v": n })).ttl_seconds(3600).await {
            Ok(_) => drop(wrote.kept.insert(key, n)),
            Err(_) => break,
        }
        match client.counter("c").add(1).await {
            Ok(_) => wrote.counted += 1,
            Err(_) => {
                wrote.doubtful += 1;
                break;
            }
        }
    }
    wrote
}

#[tokio::test]
async fn killing_nodes_under_load_loses_nothing_that_was_acknowledged() {
    kill_loop(10).await;
}

#[tokio::test]
#[ignore = "minutes: run by hand"]
async fn killing_nodes_under_load_two_hundred_times_loses_nothing() {
    kill_loop(200).await;
}

#[tokio::test]
async fn a_restart_of_every_node_in_turn_twice_loses_nothing_with_and_without_a_disk() {
    for on_disk in [true, false] {
        let disks = Disks::new();
        let options = if on_disk { disks.options(3, "") } else { Options::default() };
        let mut cluster = Cluster::start_with(3, options).await;
        let mut sum = 0;
        for turn in 0..2 {
            for node in 0..3 {
                for amount in 1..=20 {
                    cluster.client(node).counter("c").add(amount).await.unwrap();
                    sum += amount;
                }
                let (stopped, log) = terminate(&mut cluster, node).await;
                assert_eq!(stopped, 0, "turn {turn}");
                assert!(log.contains("handed over"), "{log}");
                cluster.restart(node).await;
                cluster[node].ready().await;
            }
        }
        cluster.all_up().await;
        all_count(&cluster, "c", sum).await;
        nobody_differs(&cluster).await;
    }
}

async fn terminate(cluster: &mut Cluster, node: usize) -> (i32, String) {
    cluster.terminate_with_log(node).await
}

/// Runs a node that must refuse to start; gives what it said.
fn refusal(name: &str, directory: &Path) -> String {
    let output = std::process::Command::new(sidetalk_binary())
        .args(["run", "--node-id", name, "--api", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--data-dir"])
        .arg(directory)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_directory_serves_one_process_of_one_node() {
    let disks = Disks::new();
    let mut cluster = Cluster::start_with(1, disks.options(1, "--fsync always")).await;
    cluster.client(0).document("d").put(&json!({ "a": 1 })).await.unwrap();
    let said = refusal("n0", &disks.of(0));
    assert!(said.contains("another process uses this directory"), "{said}");
    cluster.kill(0);
    let said = refusal("n1", &disks.of(0));
    assert!(said.contains("not for this node"), "{said}");
    std::fs::write(disks.of(0).join("sidetalk.redb"), b"something else entirely").unwrap();
    let said = refusal("n0", &disks.of(0));
    assert!(said.contains("--data-dir"), "{said}");
}
