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

fn counter() -> ObjectId {
    ObjectId::new(Kind::Counter, "visits")
}

/// A process leaves in order, and the next one of its node starts without memory.
fn deploy(net: &mut Net, index: usize) {
    net.input(index, Input::Leave);
    net.run_millis(500);
    assert!(net.nodes[index].would_leave(), "n{index} has handed over");
    net.input(index, Input::Farewell);
    net.run_millis(500);
    net.start(index);
}

fn accumulators(net: &Net, index: usize) -> usize {
    let shard = net.nodes[index].shard(counter().shard());
    let object = shard.objects().get(&counter()).unwrap_or_default();
    object.lives.iter().map(|life| life.records.iter(life.origin()).count()).sum()
}

/// Bytes of one accumulator, at most.
const BYTES_PER_ACCUMULATOR: u64 = 64;

/// Finding 14. What processes counted that have left becomes one accumulator, however many they were.
#[test]
fn a_counter_keeps_a_few_small_records_however_many_processes_have_counted() {
    let mut net = Net::new(3);
    net.run_millis(10_000);
    net.write(0, &Write::new(counter(), add(1)));
    net.run_millis(5_000);
    let before = figures(&net, 1).content_bytes;
    const DEPLOYS: u64 = 30;
    let mut most = 0;
    for n in 0..DEPLOYS {
        let index = n as usize % 3;
        deploy(&mut net, index);
        net.run_millis(8_000);
        net.write(index, &Write::new(counter(), add(1)));
        net.run_millis(2_000);
        most = most.max(accumulators(&net, index));
    }
    net.run_millis(60_000);
    // Those that live, and those that have left of whom there are not enough yet, or of whom everybody does not know yet.
    assert!(most <= FOLD_MIN + 3 + 4, "{most} accumulators");
    let folds: u64 = (0..3).map(|index| figures(&net, index).folds).sum();
    assert!(folds > 0);
    for index in 0..3 {
        assert_eq!(net.read(index, &counter()), (DEPLOYS + 1).to_string());
        assert!(accumulators(&net, index) < FOLD_MIN + 3);
        let grown = figures(&net, index).content_bytes - before;
        assert!(grown <= (FOLD_MIN as u64 + 3) * BYTES_PER_ACCUMULATOR, "{grown} bytes");
    }
    // One of them resets while it does not hear the others.
    net.cut_off(2);
    net.write(2, &Write::new(counter(), Change::Destroy));
    net.write(0, &Write::new(counter(), add(7)));
    net.connect(2);
    net.run_millis(60_000);
    for index in 0..3 {
        assert_eq!(net.read(index, &counter()), "7");
        assert!(accumulators(&net, index) <= 3, "{}", accumulators(&net, index));
    }
    assert_eq!(net.alarms, []);
}

/// Who has crashed may come back with more than it told: what it counted keeps a record of its own.
#[test]
fn what_those_that_crashed_have_counted_is_not_folded() {
    let mut net = Net::new(3);
    net.run_millis(10_000);
    const CRASHES: usize = 12;
    for n in 0..CRASHES {
        net.write(n % 3, &Write::new(counter(), add(1)));
        net.run_millis(500);
        net.start(n % 3);
        net.run_millis(8_000);
    }
    net.run_millis(60_000);
    assert_eq!(net.read(0, &counter()), CRASHES.to_string());
    assert_eq!(accumulators(&net, 0), CRASHES);
    assert_eq!((0..3).map(|index| figures(&net, index).folds).sum::<u64>(), 0);
}

/// As long as one member cannot read folds, nobody folds.
#[test]
fn nothing_is_folded_while_a_member_cannot_read_it() {
    let mut net = Net::new(3);
    net.run_millis(10_000);
    let old = net.nodes[2].id();
    net.input(0, Input::Outdated(old));
    for n in 0..2 * FOLD_MIN {
        deploy(&mut net, 1);
        net.run_millis(6_000);
        net.write(1, &Write::new(counter(), add(1)));
        net.run_millis(1_000);
        assert!(n < FOLD_MIN || accumulators(&net, 0) > FOLD_MIN);
    }
    assert_eq!(figures(&net, 0).folds, 0);
    deploy(&mut net, 2);
    net.run_millis(60_000);
    assert!(figures(&net, 0).folds > 0);
    assert!(accumulators(&net, 0) < FOLD_MIN);
    assert_eq!(net.read(2, &counter()), (2 * FOLD_MIN).to_string());
}
