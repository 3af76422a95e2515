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
