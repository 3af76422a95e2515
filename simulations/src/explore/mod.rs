//! Many seeds: scenarios drawn from them, and what to do with one that breaks a promise.

mod draw;
mod shrink;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use self::draw::draw;
pub use self::shrink::shrink;
use crate::record::RunRecord;
use crate::run::run;
use crate::scenario::Scenario;

/// A promise that a scenario breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which judge says so; `panic` where the core gave up.
    pub judge: String,
    /// In words.
    pub what: String,
}

/// Where scenarios come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Every knob is drawn from the seed.
    Drawn,
    /// This one, with other seeds.
    Scenario(Box<Scenario>),
}

impl Source {
    /// The scenario of a seed.
    #[must_use]
    pub fn scenario(&self, seed: u64) -> Scenario {
        match self {
            Self::Drawn => draw(seed),
            Self::Scenario(scenario) => Scenario { seed, ..(**scenario).clone() },
        }
    }
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Seeds that were run.
    pub seeds: u64,
    /// Virtual time of all of them, in seconds.
    pub virtual_s: f64,
    /// Requests of users.
    pub requests: u64,
    /// Messages between nodes.
    pub messages: u64,
    /// Things that went wrong as the scenarios said.
    pub faults: u64,
    /// How often what happened.
    pub happened: std::collections::BTreeMap<String, u64>,
    /// Seeds that broke a promise, in order.
    pub failed: Vec<u64>,
}

impl Totals {
    fn add(&mut self, seed: u64, record: Option<&RunRecord>, failed: bool) {
        self.seeds += 1;
        if let Some(record) = record {
            self.virtual_s += record.virtual_s;
            self.requests += record.totals.requests;
            self.messages += record.totals.messages;
            self.faults += record.faults.len() as u64;
            for (what, times) in &record.happened {
                *self.happened.entry(what.clone()).or_default() += times;
            }
        }
        if failed {
            self.failed.push(seed);
            self.failed.sort_unstable();
        }
    }
}

/// Runs a scenario. Gives the record, if the run came to its end, and the first promise that it broke.
#[must_use]
pub fn attempt(scenario: &Scenario) -> (Option<RunRecord>, Option<Failure>) {
    let failure = |judge: &str, what: String| Some(Failure { judge: judge.into(), what });
    match catch_unwind(AssertUnwindSafe(|| run(scenario))) {
        Ok(Ok(record)) => {
            let broken = record.broken().first().map(|verdict| Failure {
                judge: verdict.judge.clone(),
                what: verdict.examples.first().cloned().unwrap_or_default(),
            });
            (Some(record), broken)
        }
        Ok(Err(mistakes)) => {
            let what: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            (None, failure("scenario", what.join("; ")))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            (None, failure("panic", text.unwrap_or("without a word").into()))
        }
    }
}

/// What explorers report to.
pub trait Report: Sync {
    /// A seed broke a promise.
    fn failed(&self, seed: u64, scenario: &Scenario, failure: &Failure);
    /// So far.
    fn progress(&self, totals: &Totals);
    /// Whether to stop before all seeds are done.
    fn stop(&self) -> bool;
}

/// Runs the seeds from `first` on, on so many threads. What a seed does depends on the seed alone.
pub fn explore(source: &Source, first: u64, seeds: u64, threads: usize, report: &dyn Report) -> Totals {
    let next = AtomicU64::new(first);
    let stopped = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let scenario = source.scenario(seed);
                    let (record, failure) = attempt(&scenario);
                    if let Some(failure) = &failure {
                        report.failed(seed, &scenario, failure);
                    }
                    let mut totals = totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    totals.add(seed, record.as_ref(), failure.is_some());
                    report.progress(&totals);
                    stopped.fetch_or(report.stop(), Ordering::Relaxed);
                }
            });
        }
    });
    totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A file that [`Scenario::parse`] reads, with the story of what it found at its head.
#[must_use]
pub fn replay_file(scenario: &Scenario, failure: &Failure) -> String {
    let what = failure.what.replace('\n', " ");
    format!("# Broke the promise of the judge {:?}:\n# {what}\n\n{}", failure.judge, scenario.to_toml())
}
