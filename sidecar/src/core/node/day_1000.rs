//! Day 1000: however often processes were restarted and however many sessions have come and gone, logs and memory are
//! where they were; clocks name no more ids than before, and what each process leaves is a row of a table and a line of
//! the roster.

use super::*;
use crate::core::command::Figures;

/// What must not grow: peers, logged operations and their bytes, memory.
#[derive(Debug, PartialEq)]
struct Sizes {
    peers: usize,
    log_ops: u64,
    log_bytes: u64,
    content_bytes: u64,
    memory_bytes: u64,
    pending_ops: u64,
}

fn figures(net: &Net, index: usize) -> Figures {
    net.nodes[index].status().figures
}

fn sizes(net: &Net) -> Vec<Sizes> {
    let of = |index: usize| {
        let (node, figures) = (&net.nodes[index], figures(net, index));
        Sizes {
            peers: node.peers.len(),
            log_ops: figures.log_ops,
            log_bytes: figures.log_bytes,
            content_bytes: figures.content_bytes,
            memory_bytes: figures.memory_bytes,
            pending_ops: figures.pending_ops,
        }
    };
    (0..net.nodes.len()).map(of).collect()
}

/// Each restart comes while sessions begin and end elsewhere.
fn live_on(net: &mut Net, restarts: usize, sessions: usize) {
    for n in 0..restarts {
        let other = (n + 1) % 3;
        let keys: Vec<ObjectId> = (0..sessions).map(|k| session(&format!("s{n}-{k}"))).collect();
        for (k, key) in keys.iter().enumerate() {
            net.put(other, key, r#"{"cart":["a","b"]}"#);
            if k % 64 == 0 {
                net.run_millis(2);
            }
        }
        net.start(n % 3);
        for (k, key) in keys.iter().enumerate() {
            net.write(other, &Write::new(key.clone(), Change::Destroy));
            if k % 64 == 0 {
                net.run_millis(2);
            }
        }
        net.run_millis(5_000);
    }
    // Every shard is swept.
    net.run_millis(60_000);
}

/// What a node keeps of a process that is over, beside its line in the roster: some counters take two bytes.
const PAST_BYTES_PER_PROCESS: u64 = 640;

/// Ids that a clock may name itself: those that live, and one more.
const NAMED_MAX: usize = 4;

fn keeps_the_past_once(net: &Net, index: usize, over: usize) {
    let (node, figures) = (&net.nodes[index], figures(net, index));
    assert_eq!(figures.past_processes, over as u64);
    let bytes = figures.past_bytes / figures.past_processes;
    println!("{bytes} bytes for each process");
    assert!(bytes <= PAST_BYTES_PER_PROCESS, "{bytes}");
    for shard in ShardId::all() {
        let own = node.shard(shard).named();
        let reports = node.peers.values().filter_map(|peer| peer.report.as_ref());
        let books = node.peers.values().map(|peer| &peer.known).chain(reports.map(|report| &report.clocks));
        let most = books.map(|clocks| clocks.named(shard)).chain(own).max();
        assert!(most <= Some(NAMED_MAX), "{most:?} ids are named in {shard:?}: {own:?}");
    }
    let known = ShardId::all().map(|shard| node.shard(shard).clock().len()).max();
    assert!(known > Some(over / 2), "they are known all the same: {known:?}");
}

fn day_1000(restarts: usize, sessions: usize) {
    let mut net = Net::new(3);
    net.run_millis(10_000);
    live_on(&mut net, 6, 20);
    let before = sizes(&net);
    live_on(&mut net, restarts, sessions);
    assert_eq!(sizes(&net), before);
    for index in 0..3 {
        let figures = figures(&net, index);
        assert_eq!((figures.content_bytes, figures.pending_ops), (0, 0));
        assert_eq!((figures.objects, figures.log_ops, figures.memory_bytes), ([0; 4], 0, 0));
        let processes = 3 + 6 + restarts;
        assert_eq!(net.nodes[index].roster.entries().len(), processes);
        // Three live, and the first process of node 0 ended without having written.
        keeps_the_past_once(&net, index, processes - 4);
    }
    assert_eq!(net.alarms, []);
}

#[test]
fn thirty_restarts_and_thousands_of_sessions_leave_everything_where_it_was() {
    day_1000(30, 200);
}

/// A thousand restarts and ten million sessions: `RESTARTS=1000 SESSIONS=10000 cargo test --profile sim day_1000 -- --ignored`.
#[test]
#[ignore = "takes as long as it is told to"]
#[expect(clippy::disallowed_methods, reason = "a test that is told from outside how long to take")]
fn a_thousand_restarts_and_millions_of_sessions_leave_everything_where_it_was() {
    let number = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    day_1000(number("RESTARTS", 1_000), number("SESSIONS", 100));
}

/// What a counter keeps of each process that counted, at most; until it is reset.
const BYTES_PER_PROCESS: u64 = 128;

fn counter() -> ObjectId {
    ObjectId::new(Kind::Counter, "visits")
}

/// Finding 14. One accumulator for each process that counted stays with the counter until a reset covers it.
#[test]
fn a_counter_keeps_one_small_record_of_each_process_that_counted_and_nothing_after_a_reset() {
    let mut net = Net::new(3);
    net.run_millis(10_000);
    net.write(0, &Write::new(counter(), add(1)));
    net.run_millis(5_000);
    let before = figures(&net, 1).content_bytes;
    const RESTARTS: u64 = 24;
    for n in 0..RESTARTS {
        let index = n as usize % 3;
        net.start(index);
        net.run_millis(8_000);
        net.write(index, &Write::new(counter(), add(1)));
        net.run_millis(2_000);
    }
    net.run_millis(60_000);
    for index in 0..3 {
        assert_eq!(net.read(index, &counter()), (RESTARTS + 1).to_string());
        let grown = figures(&net, index).content_bytes - before;
        println!("{} bytes for each process that counted", grown / RESTARTS);
        assert!(grown <= RESTARTS * BYTES_PER_PROCESS, "{grown}");
    }
    net.write(1, &Write::new(counter(), Change::Destroy));
    net.run_millis(60_000);
    net.write(2, &Write::new(counter(), add(5)));
    net.run_millis(100);
    assert_eq!(net.read(0, &counter()), "5");
}
