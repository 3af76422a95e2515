use crate::core::check::world::{COUNTERS, MIXED, Profile, SESSIONS, TREES, check_seed};
use crate::core::mutant::Mutants;

fn seeds(profile: Profile, seeds: std::ops::Range<u64>, steps: usize) {
    for seed in seeds {
        if let Err(report) = check_seed(seed, profile, steps, Mutants::NONE) {
            panic!("{report}");
        }
    }
}

#[test]
fn mixed() {
    seeds(MIXED, 0..30, 150);
}

#[test]
fn sessions() {
    seeds(SESSIONS, 0..30, 150);
}

#[test]
fn counters() {
    seeds(COUNTERS, 0..30, 150);
}

#[test]
fn trees() {
    seeds(TREES, 0..30, 80);
}

/// Many seeds, for a long night: `SEEDS=0..20000 STEPS=250 cargo test --release soak -- --ignored`.
#[test]
#[ignore = "takes as long as it is told to"]
fn soak() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (first, count, steps) = (number("FIRST", 0), number("SEEDS", 500), number("STEPS", 200));
    for profile in [MIXED, SESSIONS, COUNTERS, TREES] {
        seeds(profile, first..first + count, steps as usize);
    }
}
