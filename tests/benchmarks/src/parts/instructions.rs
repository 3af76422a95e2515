//! Instructions in user space for each call: of the node that is asked, with its links, beside those of Redis.

use super::batch::{DEPTH, batches, pipelines};
use super::reads::{SESSIONS, gets, of_redis, set_all};
use super::writes::{patches, sets};
use crate::callgrind::Callgrind;
use crate::load::{Stream, Target};
use crate::nodes;
use crate::plan::Plan;
use crate::redis::Redis;
use crate::result::{Better, Comparison};
use crate::sessions::Size;

/// How many rounds' length is counted: programs are some fifty times slower meanwhile.
const ROUNDS: u32 = 8;

/// What is asked.
#[derive(Clone, Copy)]
enum What {
    Get,
    Patch,
    Batch { writes: bool },
}

impl What {
    const ALL: [Self; 4] =
        [Self::Get, Self::Patch, Self::Batch { writes: false }, Self::Batch { writes: true }];

    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Patch => "PATCH of a field beside SET of all",
            Self::Batch { writes: false } => "a read in a batch of 16",
            Self::Batch { writes: true } => "a patch in a batch of 16 beside SET of all",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Patch => "patch",
            Self::Batch { writes: false } => "batch-read",
            Self::Batch { writes: true } => "batch-patch",
        }
    }

    fn calls(self) -> usize {
        if matches!(self, Self::Batch { .. }) { DEPTH } else { 1 }
    }
}

pub(super) async fn measure(plan: &Plan) -> Vec<Comparison> {
    if !Callgrind::is_installed() {
        println!("valgrind is not installed: left out\n");
        return Vec::new();
    }
    std::fs::create_dir_all(&plan.output).expect("a directory for the results");
    let mut found = Vec::new();
    for what in What::ALL {
        let mut sides = vec![("Sidetalk", vec![of_sidetalk(plan, what).await])];
        sides.extend(of_redis_server(plan, what).await.map(|each| ("Redis", vec![each])));
        let name = format!("{}, 50 connections, 300 B", what.name());
        let comparison = Comparison::of_values(
            "instructions",
            name,
            "instructions in user space",
            Better::Less,
            &sides,
            &[],
        );
        found.push(comparison);
    }
    println!("where they are spent: {}/instructions-*.txt\n", plan.output.display());
    found
}

/// A cluster of three where something is written, as in `writes`; one thread for each, as on two processors.
async fn of_sidetalk(plan: &Plan, what: What) -> f64 {
    let callgrind = Callgrind::new(&plan.output.join(format!("instructions-{}-sidetalk.out", what.file())));
    let nodes = nodes::start_under(callgrind.command(), 3, &["--threads", "1"]).await;
    nodes::store(&nodes[0], Size::Small, "sess", SESSIONS).await;
    nodes::settled(&nodes[0], SESSIONS).await;
    let address = nodes::address(&nodes[0]);
    let stream = match what {
        What::Get => gets(address, Size::Small),
        What::Patch => patches(address, Size::Small),
        What::Batch { writes } => batches(address, writes),
    };
    counted(plan, what, &callgrind, nodes[0].pid(), stream).await
}

async fn of_redis_server(plan: &Plan, what: What) -> Option<f64> {
    let callgrind = Callgrind::new(&plan.output.join(format!("instructions-{}-redis.out", what.file())));
    let redis = Redis::under(callgrind.command()).await?;
    let replica = Redis::replica(&redis).await;
    set_all(&redis, Size::Small).await;
    let stream = match what {
        What::Get => of_redis(&redis, Size::Small),
        What::Patch => sets(&redis, Size::Small),
        What::Batch { writes } => pipelines(redis.address, writes),
    };
    let counted = counted(plan, what, &callgrind, redis.pid(), stream).await;
    drop(replica);
    Some(counted)
}

/// Instructions for each call, once it is warm.
async fn counted(plan: &Plan, what: What, callgrind: &Callgrind, pid: u32, stream: Stream) -> f64 {
    let mut target = Target::new(vec![pid], vec![stream], 50, what.calls()).await;
    target.round(plan.round * ROUNDS / 4).await;
    Callgrind::count(pid, true);
    let round = target.round(plan.round * ROUNDS).await;
    Callgrind::count(pid, false);
    callgrind.end(pid).await / (round.latencies.len() * what.calls()) as f64
}
