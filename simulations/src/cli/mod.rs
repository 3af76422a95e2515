//! The command line.

mod compare;
mod explore;
mod scale;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::record::RunRecord;
use crate::report::{Side, write_run};
use crate::run::run_on;
use crate::scenario::Scenario;
use crate::system::Sidetalk;
use crate::world::{Progress, Watch};

/// Simulates whole clusters of Sidetalk, the very code that ships, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "sidetalk-sim", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario, told as it happens.
    Run {
        /// The scenario file.
        scenario: PathBuf,
        /// Another seed than the scenario's own.
        #[arg(long)]
        seed: Option<u64>,
        /// Print everything that happens to nodes and requests.
        #[arg(long)]
        story: bool,
        /// Print the record as JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// Write a page with plots, and the figures as JSON, into this folder.
        #[arg(long)]
        report: Option<PathBuf>,
    },
    /// Run two scenarios, or one on two systems, and show them side by side.
    Compare(compare::Compare),
    /// Run many seeds, with every knob drawn from the seed, or one scenario with many seeds.
    Explore(explore::Explore),
    /// Run clusters of growing size.
    Scale(scale::Scale),
    /// Run a file that `explore` wrote.
    Replay {
        /// The file.
        file: PathBuf,
        /// Print everything that happens to nodes and requests.
        #[arg(long)]
        story: bool,
    },
}

/// Runs the command.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match &args.command {
        Command::Run { scenario, seed, story, json, report } => {
            run(scenario, *seed, *story, *json, report.as_deref())
        }
        Command::Compare(compare) => compare::main(compare),
        Command::Explore(explore) => explore::main(explore),
        Command::Scale(scale) => scale::main(scale),
        Command::Replay { file, story } => run(file, None, *story, false, None),
    }
}

/// Reads a scenario; tells what is wrong with it.
fn read(path: &Path) -> Result<Scenario, ExitCode> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        complain(&format!("{}: {error}", path.display()));
        ExitCode::from(2)
    })?;
    Scenario::parse(&text).map_err(|mistakes| {
        for mistake in mistakes {
            complain(&format!("{}: {mistake}", path.display()));
        }
        ExitCode::from(2)
    })
}

fn run(path: &Path, seed: Option<u64>, story: bool, json: bool, folder: Option<&Path>) -> ExitCode {
    let mut scenario = match read(path) {
        Ok(scenario) => scenario,
        Err(code) => return code,
    };
    scenario.seed = seed.unwrap_or(scenario.seed);
    let mut next_s = 0.0;
    let mut progress = |progress: &Progress| {
        if progress.virtual_s >= next_s {
            next_s = progress.virtual_s + 10.0;
            complain(&table::progress(progress));
        }
    };
    let mut watch = Watch { progress: Some(&mut progress), tell: story };
    let started = now();
    let (record, lines) = match run_on(&scenario, Sidetalk::new(&scenario), &mut watch) {
        Ok(done) => done,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| complain(&mistake.to_string()));
            return ExitCode::from(2);
        }
    };
    let took_s = started.elapsed().as_secs_f64();
    lines.iter().for_each(|line| say(line));
    if json {
        say(&serde_json::to_string(&record).unwrap_or_default());
    } else {
        say(&table::summary(&record, took_s));
    }
    let command = format!("sidetalk-sim run {} --seed {}", path.display(), scenario.seed);
    if folder.is_some_and(|folder| !report(folder, &scenario, &record, &command)) {
        return ExitCode::from(2);
    }
    if record.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes the report of a run; whether it could be written. The story of a broken promise comes from a second run: the same seed, the same run.
fn report(folder: &Path, scenario: &Scenario, record: &RunRecord, command: &str) -> bool {
    let mut story = Vec::new();
    if !record.is_clean() {
        let mut watch = Watch { progress: None, tell: true };
        if let Ok((_, lines)) = run_on(scenario, Sidetalk::new(scenario), &mut watch) {
            story = lines;
        }
    }
    let side = Side { name: &record.system, record, command, story: &story };
    told(folder, "index.html", &write_run(folder, &side))
}

/// Tells where a report is, or why it is not there.
fn told(folder: &Path, file: &str, written: &std::io::Result<()>) -> bool {
    match written {
        Ok(()) => say(&format!("report: {}", folder.join(file).display())),
        Err(error) => complain(&format!("{}: {error}", folder.display())),
    }
    written.is_ok()
}

/// The real time, which only the command line looks at.
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[expect(clippy::print_stdout, reason = "a command line prints")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a command line prints")]
fn complain(line: &str) {
    eprintln!("{line}");
}
