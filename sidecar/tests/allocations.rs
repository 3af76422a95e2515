//! How often the core's hot paths allocate, and what a session takes of the heap: the same on every machine, so they
//! are compared with what is written down, exactly.
//!
//! Fewer are welcome and more may have their reason: either way `allocations.txt` changes with the code, where everybody
//! sees it.

mod hot;

use allocation_counter::measure;

/// Steps of each path: sequences grow, logs and books make room now and then.
const STEPS: usize = 200;

/// Sessions of which one's share of the heap is taken.
const SESSIONS: usize = 5_000;

/// Every path, and how many allocations its steps made together.
fn counted() -> Vec<(String, u64)> {
    let of_path = |name: &&str| {
        let mut step = hot::path(name, STEPS);
        // What is made once is not what is counted.
        step(0);
        let all = measure(|| (1..STEPS).for_each(&mut step));
        ((*name).to_owned(), all.count_total)
    };
    let mut counted: Vec<(String, u64)> = hot::PATHS.iter().map(of_path).collect();
    let mut node = hot::alone();
    let all = measure(|| hot::fill(&mut node, SESSIONS));
    counted.push(("bytes held for each session".to_owned(), all.bytes_current as u64 / SESSIONS as u64));
    counted
}

fn listing(counted: &[(String, u64)]) -> String {
    counted.iter().map(|(name, count)| format!("{count:>7} {name}\n")).collect()
}

#[test]
fn as_many_as_written_down() {
    let listing = listing(&counted());
    let golden = include_str!("allocations.txt");
    assert!(golden == listing, "allocations.txt does not hold. It says\n{golden}and now it is\n{listing}");
}

#[test]
fn one_more_is_noticed() {
    let mut step = hot::path("encode a patch", STEPS);
    step(0);
    let plain = measure(|| (1..STEPS).for_each(&mut step)).count_total;
    let with_one_more = measure(|| {
        (1..STEPS).for_each(&mut step);
        drop(std::hint::black_box(Box::new(STEPS)));
    });
    assert_eq!(with_one_more.count_total, plain + 1);
}
