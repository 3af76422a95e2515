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
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Self {
        let (quick, others): (Vec<String>, Vec<String>) =
            arguments.partition(|argument| argument == "--quick");
        let mut plan = if quick.is_empty() { Self::whole() } else { Self::quick() };
        let mut arguments = others.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().unwrap_or_else(|| usage(&format!("{argument} takes a value")));
            match argument.as_str() {
                "--sessions" => plan.sessions = number(&argument, &value()),
                "--rounds" => plan.rounds = number(&argument, &value()),
                "--output" => plan.output = value().into(),
                part if parts::ALL.iter().any(|(name, _)| *name == part) => plan.parts.push(argument),
                other => usage(&format!("there is no {other}")),
            }
        }
        plan
    }

    fn whole() -> Self {
        Self {
            parts: Vec::new(),
            rounds: 9,
            round: Duration::from_millis(700),
            writes: 3_000,
            sessions: 1_000_000,
            idle: Duration::from_secs(20),
            output: "target/benchmarks".into(),
        }
    }

    fn quick() -> Self {
        Self {
            rounds: 3,
            round: Duration::from_millis(300),
            writes: 500,
            sessions: 50_000,
            idle: Duration::from_secs(5),
            ..Self::whole()
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &str) -> Plan {
        Plan::from_arguments(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_size_counts_wherever_it_stands() {
        for arguments in
            ["--quick --sessions 7 --rounds 2 filling", "filling --sessions 7 --rounds 2 --quick"]
        {
            let plan = plan(arguments);
            assert_eq!((plan.sessions, plan.rounds, plan.writes), (7, 2, 500), "{arguments}");
            assert!(plan.has("filling") && !plan.has("reads"));
        }
        assert_eq!((plan("").sessions, plan("--quick").sessions), (1_000_000, 50_000));
    }
}
