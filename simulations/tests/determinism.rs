//! One seed, one run: to the last message.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use sidetalk_simulations::explore::draw;
use sidetalk_simulations::run::run;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [7, 11, 19] {
        let scenario = draw(seed);
        let (first, second) = (run(&scenario).unwrap(), run(&scenario).unwrap());
        println!("seed {seed}: trace hash {}", first.trace_hash);
        assert!(first.totals.requests > 20, "seed {seed} does too little");
        assert_eq!(first.trace_hash, second.trace_hash);
        assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
        let mut other = scenario;
        other.seed += 1;
        assert_ne!(run(&other).unwrap().trace_hash, first.trace_hash);
    }
}
