//! Virtual seconds per second, on the scenario with the most traffic.

use std::path::Path;
use std::time::Instant;

use sidetalk_simulations::run::run;
use sidetalk_simulations::scenario::Scenario;

#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and need not go on")]
fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for name in ["black-friday", "split-brain", "long-partition-past-the-log"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        let scenario = Scenario::parse(&text).unwrap();
        let mut best = 0.0f64;
        for _ in 0..3 {
            let started = Instant::now();
            let record = run(&scenario).unwrap();
            best = best.max(record.virtual_s / started.elapsed().as_secs_f64());
        }
        println!("{name:<30} {best:8.0} virtual seconds per second, {} nodes", scenario.cluster.nodes);
    }
}
