//! With a disk: what was acknowledged survives the death of any process, and of all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sidetalk_client::{Acks, Client};
use sidetalk_tests::{Cluster, Node, Options, eventually, sidetalk, sidetalk_binary};

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

/// What makes a write count as acknowledged.
#[derive(Clone, Copy)]
enum Promise {
    /// It is on the disk of the node that took it.
    OnDisk,
    /// No disk anywhere: a majority has it.
    Majority,
}

/// Kills one node after the other while writers write; whatever was acknowledged must be there in the end.
#[expect(clippy::print_stderr, reason = "what was proved is a figure")]
async fn kill_loop(rounds: usize, promise: Promise) {
    let disks = Disks::new();
    let options = match promise {
        Promise::OnDisk => disks.options(3, "--fsync always --bootstrap-millis 2000"),
        Promise::Majority => Options::new("--bootstrap-millis 2000"),
    };
    let mut cluster = Cluster::start_with(3, options).await;
    let mut slowest = Duration::ZERO;
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
            .map(|(node, client)| {
                tokio::spawn(write_until_refused(client, promise, round, node, node == victim))
            })
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
        let killed = Instant::now();
        cluster.restart(victim).await;
        cluster[victim].ready().await;
        slowest = slowest.max(killed.elapsed());
    }
    cluster.all_up().await;
    eprintln!(
        "{rounds} kills, {} sessions and {counted} increments acknowledged, {doubtful} doubtful, slowest recovery {slowest:?}",
        kept.len()
    );
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

async fn write_until_refused(
    client: Client,
    promise: Promise,
    round: usize,
    node: usize,
    dies: bool,
) -> Wrote {
    let mut wrote = Wrote::default();
    for n in 0.. {
        if !dies && n >= 30 {
            break;
        }
        let key = format!("r{round}-n{node}-{n}");
        let session = client.session(&key);
        let body = json!({ "v": n });
        let put = session.put(&body).ttl_seconds(3600);
        let put = match promise {
            Promise::OnDisk => put,
            Promise::Majority => put.acks(Acks::Majority, PATIENCE),
        };
        match put.await {
            Ok(_) => drop(wrote.kept.insert(key, n)),
            Err(_) => break,
        }
        let counter = client.counter("c");
        let add = counter.add(1);
        let add = match promise {
            Promise::OnDisk => add,
            Promise::Majority => add.acks(Acks::Majority, PATIENCE),
        };
        match add.await {
            Ok(_) => wrote.counted += 1,
            Err(_) => {
                wrote.doubtful += 1;
                break;
            }
        }
    }
    wrote
}

/// How often: `SIDETALK_KILLS=200` takes minutes.
fn kills() -> usize {
    std::env::var("SIDETALK_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

#[tokio::test]
async fn killing_nodes_under_load_loses_nothing_that_was_acknowledged() {
    kill_loop(kills(), Promise::OnDisk).await;
}

#[tokio::test]
async fn killing_nodes_under_load_without_disks_loses_nothing_that_a_majority_acknowledged() {
    kill_loop(kills(), Promise::Majority).await;
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

/// A file system of its own, of few bytes. Not everybody may make one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(directory: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&directory).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &directory).then_some(Self(directory))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], directory: &Path) -> bool {
    let mut command = std::process::Command::new("mount");
    command.args(arguments).arg(directory).stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A document that does not compress well.
fn noise(seed: u64) -> serde_json::Value {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut words = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        json!(format!("{random:x}"))
    };
    json!({ "noise": (0..8_000).map(|_| words()).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_full_disk_makes_a_node_read_only_and_it_recovers_by_itself() {
    let disks = Disks::new();
    let Some(disk) = SmallDisk::new(disks.of(0), "12m") else {
        println!("left out: this user may not mount a file system");
        return;
    };
    let mut cluster = Cluster::start_with(2, disks.options(2, "--fsync always")).await;
    let mut kept = Vec::new();
    let refused = loop {
        let number = kept.len() as u64;
        match cluster.client(0).document(&format!("d{number}")).put(&noise(number)).await {
            Ok(_) => kept.push(number),
            Err(error) => break error,
        }
        assert!(number < 300, "it is never full");
    };
    assert!(kept.len() > 3, "some fit: {refused:?}");
    // From now on it says so before it does anything.
    let again = cluster.client(0).counter("c").add(1).await.unwrap_err();
    assert!(format!("{again:?}").contains("disk_full"), "{again:?}");
    assert!(cluster.client(0).ready().await.is_err(), "a load balancer must see it");
    assert!(cluster[0].metric("sidetalk_storage_writable").await == 0.0);
    eventually("the log says so", || async {
        let log = cluster[0].log();
        if log.iter().any(|line| line.contains("takes no writes")) { Ok(()) } else { Err(log.join("\n")) }
    })
    .await;
    let read = cluster.client(0).document("d0").get().await.unwrap();
    assert_eq!(read.value, noise(0));
    cluster.client(1).counter("elsewhere").add(3).await.unwrap();
    all_count(&cluster, "elsewhere", 3).await;

    disk.grow("64m");
    cluster[0].ready().await;
    cluster.client(0).counter("c").add(1).await.unwrap();
    assert!(cluster[0].metric("sidetalk_storage_writable").await > 0.0);
    // What it holds now is on its disk: it comes back with all of it, alone.
    (0..2).for_each(|node| cluster.kill(node));
    cluster.restart(0).await;
    cluster[0].ready().await;
    for number in kept {
        let read = cluster.client(0).document(&format!("d{number}")).get().await.unwrap();
        assert_eq!(read.value, noise(number), "d{number}");
    }
    all_count(&cluster, "elsewhere", 3).await;
    cluster.kill(0);
}

fn run(arguments: &[&str]) -> (i32, String) {
    let output = sidetalk(arguments);
    (output.code, output.out + &output.err)
}

#[tokio::test]
async fn a_backup_of_a_running_node_comes_back_alone_or_beside_members_that_went_on() {
    let disks = Disks::new();
    let mut cluster = Cluster::start_with(2, disks.options(2, "--bootstrap-millis 1500")).await;
    let backup = disks.of(9);
    let (directory, file) = (disks.of(0).display().to_string(), backup.display().to_string());
    for n in 0..20 {
        cluster.client(0).session(&format!("s{n}")).put(&json!({ "n": n })).ttl_seconds(3600).await.unwrap();
    }
    cluster.client(0).counter("c").add(5).acks(Acks::All, PATIENCE).await.unwrap();
    let (code, said) = run(&["backup", "--data-dir", &directory, &file]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&["backup", "--data-dir", &directory, &file]);
    assert!(code != 0 && said.contains("exists"), "{said}");
    cluster.client(0).counter("c").add(7).acks(Acks::All, PATIENCE).await.unwrap();
    cluster.client(0).session("s3").destroy().acks(Acks::All, PATIENCE).await.unwrap();

    // Beside a member that went on: nothing that has ended comes back.
    cluster.kill(0);
    let (code, said) = run(&["restore", &file, "--data-dir", &directory]);
    assert!(code != 0 && said.contains("holds data"), "{said}");
    std::fs::remove_dir_all(disks.of(0)).unwrap();
    let (code, said) = run(&["restore", &file, "--data-dir", &directory]);
    assert!(code == 0 && said.contains("--node-id n0"), "{said}");
    cluster.restart(0).await;
    cluster[0].ready().await;
    cluster.all_up().await;
    all_count(&cluster, "c", 12).await;
    cluster.gone("sessions/s3").await;
    nobody_differs(&cluster).await;

    // Everything is lost but the backup.
    (0..2).for_each(|node| cluster.kill(node));
    (0..2).for_each(|node| std::fs::remove_dir_all(disks.of(node)).unwrap());
    let whole = std::fs::read(&backup).unwrap();
    let torn = disks.of(8);
    std::fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
    let (code, said) = run(&["restore", &torn.display().to_string(), "--data-dir", &directory]);
    assert!(code != 0, "{said}");
    let (code, said) = run(&["restore", &file, "--data-dir", &directory]);
    assert_eq!(code, 0, "{said}");
    for node in 0..2 {
        cluster.restart(node).await;
        cluster[node].ready().await;
    }
    cluster.all_up().await;
    all_count(&cluster, "c", 5).await;
    cluster.agree("sessions/s3", &json!({ "n": 3 })).await;
    nobody_differs(&cluster).await;
}
