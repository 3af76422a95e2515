//! With a disk: what was acknowledged survives the death of any process, and of all of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use sidetalk_client::Acks;
use sidetalk_tests::{Cluster, Disks, Node, Options, eventually, sidetalk, sidetalk_binary};

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

pub(crate) async fn nobody_differs(cluster: &Cluster) {
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

/// It opens the database anew each time: more often would cost a processor.
async fn tries_once_a_second(node: &Node) {
    let failures = || node.metric("sidetalk_storage_failures_total");
    let (since, first) = (Instant::now(), failures().await);
    eventually("it has tried twice more", || async {
        let more = failures().await - first;
        if more >= 2.0 { Ok(()) } else { Err(more) }
    })
    .await;
    // The first of them may have been due.
    assert!(since.elapsed() > Duration::from_millis(900), "{:?}", since.elapsed());
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
    tries_once_a_second(&cluster[0]).await;
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
