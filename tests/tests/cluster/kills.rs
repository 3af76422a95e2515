//! Node after node is killed while writers write: what was acknowledged is there in the end, and all hold the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use sidetalk_client::{Acks, Client};
use sidetalk_tests::{Cluster, Disks, Node, Options, eventually};

use crate::durability::nobody_differs;

const PATIENCE: Duration = Duration::from_secs(20);

/// Writes of a node that lives, in one round. The one that is killed writes until it is.
const WRITES: i64 = 30;

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

/// What makes a write count as acknowledged.
#[derive(Clone, Copy)]
enum Promise {
    /// It is on the disk of the node that took it.
    OnDisk,
    /// No disk anywhere: a majority has it.
    Majority,
}

/// What was written in a round, or in all of them.
#[derive(Default)]
struct Wrote {
    /// Sessions that were acknowledged, and what is in them.
    kept: BTreeMap<String, i64>,
    /// Increments that were acknowledged.
    counted: i64,
    /// Increments without an answer: they may have counted or not.
    doubtful: i64,
}

impl Wrote {
    fn add(&mut self, more: Self) {
        self.kept.extend(more.kept);
        self.counted += more.counted;
        self.doubtful += more.doubtful;
    }
}

/// Kills one node after the other while writers write; whatever was acknowledged must be there in the end.
#[expect(clippy::print_stderr, reason = "how it goes on, and what was proved, are figures")]
async fn kill_loop(rounds: usize, promise: Promise) {
    let disks = Disks::new();
    let options = match promise {
        Promise::OnDisk => disks.options(3, "--fsync always --bootstrap-millis 2000"),
        // A node without memory that starts alone holds nothing: it has the time to find the others that it has by default.
        Promise::Majority => Options::default(),
    };
    let mut cluster = Cluster::start_with(3, options).await;
    let mut wrote = Wrote::default();
    let mut recoveries = Vec::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let victim = (random % 3) as usize;
        let writing: Vec<_> = cluster
            .clients()
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
            wrote.add(writer.await.unwrap());
        }
        let killed = Instant::now();
        cluster.restart(victim).await;
        cluster[victim].ready().await;
        recoveries.push(killed.elapsed());
        eprintln!(
            "kill {} of {rounds}: n{victim} ready again in {} ms; {} writes so far",
            round + 1,
            killed.elapsed().as_millis(),
            wrote.kept.len() as i64 + wrote.counted
        );
    }
    cluster.all_up().await;
    assert!(wrote.kept.len() > rounds * 3, "there was load: {}", wrote.kept.len());
    for node in cluster.running() {
        has_all(node, &wrote).await;
    }
    nobody_differs(&cluster).await;
    recoveries.sort_unstable();
    eprintln!(
        "{rounds} kills: {} sessions and {} increments acknowledged, none lost, {} more in doubt; nobody differs; \
         back in {:?} (median), {:?} at most",
        wrote.kept.len(),
        wrote.counted,
        wrote.doubtful,
        recoveries[recoveries.len() / 2],
        recoveries[recoveries.len() - 1],
    );
}

async fn has_all(node: &Node, wrote: &Wrote) {
    for (key, value) in &wrote.kept {
        eventually(&format!("{} has {key}", node.name()), || async {
            match node.client().session(key).get().await {
                Ok(answer) if answer.value == json!({ "v": value }) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    let (least, most) = (wrote.counted, wrote.counted + wrote.doubtful);
    eventually(&format!("{} counts all", node.name()), || async {
        let read = node.client().counter("c").get().await.map_err(|error| error.to_string())?;
        match read.value.value {
            value if (least..=most).contains(&value) => Ok(()),
            value => Err(format!("{value}, not {least} to {most}")),
        }
    })
    .await;
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
        if !dies && n >= WRITES {
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
