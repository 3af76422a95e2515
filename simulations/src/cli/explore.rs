//! `explore`: many seeds, and what is left of those that fail.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;

use super::{complain, now, read, say};
use crate::explore::{Failure, Report, Source, Totals, attempt, explore, replay_file, shrink};
use crate::scenario::Scenario;

/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(10);

/// Runs that may be spent on making one failure smaller.
const SHRINK_ATTEMPTS: usize = 400;

/// The arguments of `explore`.
#[derive(Debug, Args)]
pub(super) struct Explore {
    /// A scenario to run with many seeds; without one, every knob is drawn.
    scenario: Option<PathBuf>,
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Threads; by default as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Stop after so many seconds, with however many seeds there were.
    #[arg(long)]
    seconds: Option<u64>,
    /// Where replay files go.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Write a page with plots for each failure into this folder.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Do not make failures smaller.
    #[arg(long)]
    no_shrink: bool,
}

struct Teller<'a> {
    args: &'a Explore,
    started: Instant,
    told: Mutex<Instant>,
}

impl Report for Teller<'_> {
    fn failed(&self, seed: u64, scenario: &Scenario, failure: &Failure) {
        say(&format!("seed {seed} breaks {}: {}", failure.judge, failure.what));
        let (smaller, failure) = if self.args.no_shrink {
            (scenario.clone(), failure.clone())
        } else {
            shrink(scenario, failure, SHRINK_ATTEMPTS, &mut |candidate| attempt(candidate).1)
        };
        let file = self.args.out.join(format!("failed-{seed}.toml"));
        if let (Some(folder), (Some(record), _)) = (&self.args.report, attempt(&smaller)) {
            let command = format!("sidetalk-sim replay {}", file.display());
            super::report(&folder.join(format!("seed-{seed}")), &smaller, &record, &command);
        }
        let written = std::fs::create_dir_all(&self.args.out)
            .and_then(|()| std::fs::write(&file, replay_file(&smaller, &failure)));
        match written {
            Ok(()) => say(&format!("replay it: sidetalk-sim replay {}", file.display())),
            Err(error) => complain(&format!("{}: {error}", file.display())),
        }
    }

    fn progress(&self, totals: &Totals) {
        let Ok(mut told) = self.told.lock() else { return };
        if told.elapsed() >= TELL {
            *told = now();
            complain(&one_line(totals));
        }
    }

    fn stop(&self) -> bool {
        self.args.seconds.is_some_and(|seconds| self.started.elapsed().as_secs() >= seconds)
    }
}

fn one_line(totals: &Totals) -> String {
    let Totals { seeds, virtual_s, requests, messages, faults, failed, .. } = totals;
    let hours = virtual_s / 3_600.0;
    let failed = failed.len();
    format!(
        "{seeds} seeds, {hours:.2} virtual hours, {requests} requests, {messages} messages, {faults} faults, {failed} failed"
    )
}

pub(super) fn main(args: &Explore) -> ExitCode {
    let source = match &args.scenario {
        None => Source::Drawn,
        Some(path) => match read(path) {
            Ok(scenario) => Source::Scenario(Box::new(scenario)),
            Err(code) => return code,
        },
    };
    // A panic is a finding, and is told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let teller = Teller { args, started: now(), told: Mutex::new(now()) };
    let totals = explore(&source, args.first, args.seeds, args.threads.unwrap_or(processors), &teller);
    let mut text = one_line(&totals);
    let took_s = teller.started.elapsed().as_secs_f64();
    let _ = write!(text, "\n{:.0} virtual seconds per second", totals.virtual_s / took_s.max(1e-9));
    for (what, times) in &totals.happened {
        let _ = write!(text, "\n  {times:>12} {what}");
    }
    if !totals.failed.is_empty() {
        let _ = write!(text, "\nfailed: {:?}", totals.failed);
    }
    say(&text);
    if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
