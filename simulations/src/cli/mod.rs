//! The command line.

mod explore;
mod scale;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    },
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
        Command::Run { scenario, seed, story, json } => run(scenario, *seed, *story, *json),
        Command::Explore(explore) => explore::main(explore),
        Command::Scale(scale) => scale::main(scale),
        Command::Replay { file, story } => run(file, None, *story, false),
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

fn run(path: &Path, seed: Option<u64>, story: bool, json: bool) -> ExitCode {
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
    if record.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
