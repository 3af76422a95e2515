use crate::core::check::told;
use crate::core::check::world::{
    CONFLICTS, COUNTERS, FOLDS, LARGE, MIXED, Profile, SESSIONS, TREES, Tally, check_seed,
};
use crate::core::mutant::Mutants;

/// Runs seeds; a fault that never happened tests nothing.
fn seeds(profile: Profile, seeds: std::ops::Range<u64>, steps: usize, must_happen: &[&str]) {
    let mut total = Tally::new();
    for seed in seeds {
        match check_seed(seed, profile, steps, Mutants::NONE) {
            Ok(tally) => tally.into_iter().for_each(|(what, times)| *total.entry(what).or_default() += times),
            Err(report) => panic!("{report}"),
        }
    }
    println!("{}: {total:?}", profile.name);
    for what in must_happen {
        assert!(total.contains_key(what), "{what} never happened: {total:?}");
    }
}

const NETWORK: [&str; 9] = [
    "caught up by state",
    "equal clocks",
    "held or known",
    "late states",
    "logs cut",
    "lost",
    "merges of two that differ both ways",
    "reordered",
    "repeated",
];

const CRASHES: [&str; 4] = ["restarted with a disk", "restarted without memory", "sponsored", "splits"];

#[test]
fn mixed() {
    seeds(MIXED, 0..60, 150, &[&NETWORK[..], &CRASHES[..]].concat());
}

#[test]
fn sessions() {
    let ends = ["barriers removed", "blind deletes", "hidden lives destroyed", "refused"];
    seeds(SESSIONS, 0..60, 150, &[&NETWORK[..], &ends[..]].concat());
}

#[test]
fn counters() {
    seeds(COUNTERS, 0..60, 150, &[&NETWORK[..], &CRASHES[..]].concat());
}

#[test]
fn folds() {
    let folds = [
        "counters folded",
        "merges where one side has folded",
        "resets beside a fold",
        "resets of what is folded",
        "restarted with a disk",
        "restarted without memory",
    ];
    seeds(FOLDS, 0..60, 150, &[&NETWORK[..], &folds[..]].concat());
}

#[test]
fn trees() {
    seeds(TREES, 0..60, 80, &NETWORK);
}

#[test]
fn conflicts() {
    seeds(CONFLICTS, 0..60, 80, &["merges of two that differ both ways", "reordered"]);
}

#[test]
fn large() {
    seeds(LARGE, 0..10, 60, &["merges of two that differ both ways", "reordered"]);
}

/// Many seeds, for a long night: `FIRST=1000 SEEDS=20000 STEPS=250 cargo test --release soak -- --ignored`.
#[test]
#[ignore = "takes as long as it is told to"]
fn soak() {
    let (first, count, steps) = (told("FIRST", 0), told("SEEDS", 500), told("STEPS", 200));
    for profile in [MIXED, SESSIONS, COUNTERS, FOLDS, TREES, CONFLICTS, LARGE] {
        seeds(profile, first..first + count, steps as usize, &[]);
    }
}
