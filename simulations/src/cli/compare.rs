//! `compare`: two runs side by side.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{complain, read, say, told};
use crate::record::RunRecord;
use crate::report::{Side, rows, verdict_of, write_compare};
use crate::run::{UNDER_NAMES, Under, run_under};
use crate::world::Watch;

/// The arguments of `compare`.
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// A scenario file, or `FILE@SYSTEM`: sidetalk, blobs, blobs-replica-reads, blobs-multi-primary.
    a: String,
    /// Another; without one, the first on `blobs`.
    b: Option<String>,
    /// Another seed than the scenarios' own.
    #[arg(long)]
    seed: Option<u64>,
    /// Write a page with plots, and the figures as JSON, into this folder.
    #[arg(long)]
    report: Option<PathBuf>,
}

pub(super) fn main(args: &Compare) -> ExitCode {
    let first = args.a.clone();
    let second = args.b.clone().unwrap_or_else(|| format!("{}@blobs", split(&args.a).0));
    match one(&first, args.seed).and_then(|a| Ok((a, one(&second, args.seed)?))) {
        Ok((a, b)) => tell(args, &a, &b),
        Err(code) => code,
    }
}

fn split(spec: &str) -> (&str, &str) {
    spec.rsplit_once('@').unwrap_or((spec, "sidetalk"))
}

fn one(spec: &str, seed: Option<u64>) -> Result<RunRecord, ExitCode> {
    let (path, name) = split(spec);
    let Some(under) = Under::named(name) else {
        complain(&format!("{name}: no such system; there are {}", UNDER_NAMES.join(", ")));
        return Err(ExitCode::from(2));
    };
    let mut scenario = read(Path::new(path))?;
    scenario.seed = seed.unwrap_or(scenario.seed);
    run_under(&scenario, under, &mut Watch::default()).map(|(record, _)| record).map_err(|mistakes| {
        mistakes.iter().for_each(|mistake| complain(&mistake.to_string()));
        ExitCode::from(2)
    })
}

/// What each is called beside the other: by what differs.
fn names(records: [&RunRecord; 2]) -> [String; 2] {
    let [a, b] = records;
    match () {
        () if a.system != b.system => records.map(|record| record.system.clone()),
        () if a.scenario != b.scenario => records.map(|record| record.scenario.clone()),
        () => ["first", "second"].map(|place| format!("{}, the {place}", a.scenario)),
    }
}

fn tell(args: &Compare, a: &RunRecord, b: &RunRecord) -> ExitCode {
    let names = names([a, b]);
    let mut text = format!("  {:<76} {:>20} {:>20}\n", "", names[0], names[1]);
    for (one, other) in rows(&a.outcomes).iter().zip(rows(&b.outcomes)) {
        let _ = writeln!(text, "  {:<76} {:>20} {:>20}", one.words, one.value, other.value);
    }
    let _ = writeln!(text, "  {:<76} {:>20} {:>20}", "Requests of users", a.outcomes.pages, b.outcomes.pages);
    let _ =
        writeln!(text, "  {:<76} {:>20} {:>20}", "Bytes between machines", a.totals.bytes, b.totals.bytes);
    let _ = writeln!(text, "  {:<76} {:>20} {:>20}", "Trace hash", a.trace_hash, b.trace_hash);
    let _ = write!(text, "\n{}", verdict_of([&names[0], &names[1]], [a, b]));
    say(&text);
    let Some(folder) = &args.report else { return ExitCode::SUCCESS };
    let mut command = format!("sidetalk-sim compare {}", args.a);
    if let Some(b) = &args.b {
        let _ = write!(command, " {b}");
    }
    let _ = write!(command, " --seed {}", a.seed);
    let sides = [(&names[0], a), (&names[1], b)].map(|(name, record)| Side {
        name,
        record,
        command: &command,
        story: &[],
    });
    if told(folder, "index.html", &write_compare(folder, [&sides[0], &sides[1]], &command)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    }
}
