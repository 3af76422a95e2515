//! What is measured, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::parts;

#[derive(Debug)]
pub(crate) struct Plan {
    parts: Vec<String>,
    /// Rounds of each comparison.
    pub(crate) rounds: usize,
    /// How long one side of a round takes.
    pub(crate) round: Duration,
    /// Writes whose arrival elsewhere is timed, in each setting.
    pub(crate) writes: u64,
    /// Sessions in a filled node.
    pub(crate) sessions: usize,
    /// How long an idle cluster is watched.
    pub(crate) idle: Duration,
    /// Where the results go.
    pub(crate) output: PathBuf,
}

impl Plan {
    pub(crate) fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut plan = Self {
            parts: Vec::new(),
            rounds: 9,
            round: Duration::from_millis(700),
            writes: 3_000,
            sessions: 1_000_000,
            idle: Duration::from_secs(20),
            output: "target/benchmarks".into(),
        };
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().unwrap_or_else(|| usage(&format!("{argument} takes a value")));
            match argument.as_str() {
                "--quick" => {
                    plan.rounds = 3;
                    plan.round = Duration::from_millis(300);
                    plan.writes = 500;
                    plan.sessions = 50_000;
                    plan.idle = Duration::from_secs(5);
                }
                "--sessions" => plan.sessions = number(&argument, &value()),
                "--rounds" => plan.rounds = number(&argument, &value()),
                "--output" => plan.output = value().into(),
                part if parts::ALL.iter().any(|(name, _)| *name == part) => plan.parts.push(argument),
                other => usage(&format!("there is no {other}")),
            }
        }
        plan
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

fn number(argument: &str, value: &str) -> usize {
    match value.parse() {
        Ok(number) if number > 0 => number,
        _ => usage(&format!("{argument} takes a number above 0, and {value:?} is none")),
    }
}

fn usage(why: &str) -> ! {
    let names: Vec<&str> = parts::ALL.iter().map(|(name, _)| *name).collect();
    println!(
        "{why}\n\nParts: {}\nSizes: --quick, --sessions N, --rounds N\nResults: --output DIR",
        names.join(" ")
    );
    std::process::exit(2);
}
