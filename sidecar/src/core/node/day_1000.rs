//! Day 1000: however often processes were restarted and however many sessions have come and gone, logs and memory are
//! where they were; clocks name no more ids than before, and what each process leaves is a row of a table and a line of
//! the roster.

use allocation_counter::measure;

use super::*;
use crate::core::check::told;
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
fn live_on(net: &mut Net, restarts: std::ops::Range<usize>, sessions: usize) {
    for n in restarts {
        let other = (n + 1) % 3;
        let keys: Vec<ObjectId> = (0..sessions).map(|k| session(&format!("s{n}-{k}"))).collect();
        for (k, key) in keys.iter().enumerate() {
            net.put(other, key, r#"{"cart":["a","b"]}"#);
            if k % 64 == 0 {
                net.run_millis(2);
            }
        }
        net.start(n % 3);
        if n % 50 == 49 && sessions > 1_000 {
            eprintln!("{} restarts", n + 1);
        }
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

/// The most that any clock of a node names itself in any shard, and the most that one knows.
fn named_and_known(net: &Net, index: usize) -> (usize, usize) {
    let node = &net.nodes[index];
    let (mut named, mut known) = (0, 0);
    for shard in ShardId::all() {
        let reports = node.peers.values().filter_map(|peer| peer.report.as_ref());
        let books = node.peers.values().map(|peer| &peer.known).chain(reports.map(|report| &report.clocks));
        let own = node.shard(shard).named().into_iter();
        named = books.map(|clocks| clocks.named(shard)).chain(own).chain([named]).max().unwrap_or_default();
        known = known.max(node.shard(shard).clock().len());
    }
    (named, known)
}

fn is_where_it_was(net: &Net, before: &[Sizes], restarts: usize) {
    assert_eq!(sizes(net), before);
    for index in 0..3 {
        let figures = figures(net, index);
        assert_eq!((figures.content_bytes, figures.pending_ops), (0, 0));
        assert_eq!((figures.objects, figures.log_ops, figures.memory_bytes), ([0; 4], 0, 0));
        assert_eq!(net.nodes[index].roster.entries().len(), 3 + restarts);
        // The first process of node 0 ended without having written.
        assert_eq!(figures.past_processes, restarts as u64 - 1);
        let bytes = figures.past_bytes / figures.past_processes;
        assert!(bytes <= PAST_BYTES_PER_PROCESS, "{bytes} bytes for each process");
        let (named, known) = named_and_known(net, index);
        assert!(named <= NAMED_MAX, "{named} ids are named");
        assert!(known > restarts / 2, "and all are known: {known}");
    }
    assert_eq!(net.alarms, []);
}

#[test]
fn thirty_restarts_and_thousands_of_sessions_leave_everything_where_it_was() {
    let mut net = Net::new(3);
    net.run_millis(10_000);
    live_on(&mut net, 0..6, 20);
    let before = sizes(&net);
    live_on(&mut net, 6..36, 200);
    is_where_it_was(&net, &before, 36);
}

/// A line of the table: of the worst of three nodes, and what all that is there holds of the heap beyond day 0.
fn print_day(net: &Net, day: usize, restarts: usize, sessions: usize, held: i64) {
    let worst = |of: &dyn Fn(usize) -> u64| (0..3).map(of).max().unwrap_or_default();
    let named = worst(&|index| named_and_known(net, index).0 as u64);
    let known = worst(&|index| named_and_known(net, index).1 as u64);
    let past = worst(&|index| figures(net, index).past_bytes);
    let log = worst(&|index| figures(net, index).log_bytes);
    let memory = worst(&|index| figures(net, index).memory_bytes);
    println!("| {day} | {restarts} | {sessions} | {known} | {named} | {past} | {log} | {memory} | {held} |");
}

/// A restart and ten thousand sessions a day: `RESTARTS=1000 SESSIONS=10000 cargo test --profile sim
/// --no-default-features -p sidetalk --lib thousand_days -- --ignored --nocapture`.
#[test]
#[ignore = "takes as long as it is told to"]
fn a_thousand_days_leave_everything_where_it_was() {
    let (restarts, sessions) = (told("RESTARTS", 1_000) as usize, told("SESSIONS", 100) as usize);
    let mut net = Net::new(3);
    net.run_millis(10_000);
    live_on(&mut net, 0..6, 20);
    let before = sizes(&net);
    println!(
        "| day | restarts | sessions | ids known | ids named | past, bytes | log, bytes | state, bytes | heap of all three, more than on day 0, bytes |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    print_day(&net, 0, 6, 120, 0);
    const QUARTERS: usize = 4;
    let mut held = 0;
    for quarter in 1..=QUARTERS {
        let done = quarter * restarts / QUARTERS;
        let days = 6 + (quarter - 1) * restarts / QUARTERS..6 + done;
        held += measure(|| live_on(&mut net, days, sessions)).bytes_current;
        is_where_it_was(&net, &before, 6 + done);
        print_day(&net, 1_000 * quarter / QUARTERS, 6 + done, 120 + done * sessions, held);
    }
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
