//! A run as one HTML page with plots, and the same figures as JSON.
//!
//! It owns how a record is shown; it never runs anything. The page needs no network and no other file.

mod figures;
mod growth;
mod page;
mod svg;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;

pub use self::figures::{Figure, Series, Stretch, figures, lanes, versus};
pub use self::growth::{Size, growth, growth_table, write_growth};
pub use self::words::{Row, rows, sentence};
use crate::record::RunRecord;

/// One run, and what is known about it beside its record.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it is called beside another.
    pub name: &'a str,
    /// What happened.
    pub record: &'a RunRecord,
    /// The command that makes it again.
    pub command: &'a str,
    /// Everything that happened to nodes and requests, where that was kept.
    pub story: &'a [String],
}

/// Writes `index.html` and `figures.json` of one run.
///
/// # Errors
/// When the folder cannot be made or a file not be written.
pub fn write_run(folder: &Path, side: &Side<'_>) -> std::io::Result<()> {
    write(folder, &page::run(side), &run_json(side))
}

/// Writes `index.html` and `figures.json` of two runs side by side.
///
/// # Errors
/// When the folder cannot be made or a file not be written.
pub fn write_compare(folder: &Path, sides: [&Side<'_>; 2], command: &str) -> std::io::Result<()> {
    let [a, b] = sides;
    let json = serde_json::json!({
        "command": command,
        "sentence": verdict_of([a.name, b.name], [a.record, b.record]),
        "figures": versus([a.name, b.name], [a.record, b.record]),
        "runs": { a.name: run_json(a), b.name: run_json(b) },
    });
    write(folder, &page::compare(sides, command), &json)
}

fn write(folder: &Path, page: &str, json: &serde_json::Value) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("index.html"), page)?;
    std::fs::write(folder.join("figures.json"), json.to_string())
}

fn run_json(side: &Side<'_>) -> serde_json::Value {
    let record = side.record;
    let seen: serde_json::Map<_, _> =
        rows(&record.outcomes).into_iter().map(|row| (row.key.to_owned(), row.value.into())).collect();
    serde_json::json!({
        "command": side.command, "sentence": sentence(record), "scenario": record.scenario, "system": record.system,
        "seed": record.seed, "trace_hash": record.trace_hash, "nodes": record.nodes, "users_saw": seen,
        "verdicts": record.verdicts, "faults": record.faults, "healings": record.healings,
        "converged_s": record.converged_s, "totals": record.totals, "happened": record.happened,
        "lanes": lanes(record), "figures": figures(record),
    })
}

/// What two runs differ in, in one sentence.
#[must_use]
pub fn verdict_of(names: [&str; 2], records: [&RunRecord; 2]) -> String {
    let harm = |record: &RunRecord| {
        let bad = rows(&record.outcomes)
            .into_iter()
            .filter(|row| row.is_bad && row.value > 0 && row.key != "stale_with_token");
        let told = bad.map(|row| format!("{} {}", words::number(row.value), row.key.replace('_', " ")));
        let told: Vec<String> = told.collect();
        if told.is_empty() { "no harm".to_owned() } else { told.join(", ") }
    };
    format!("{}: {}. {}: {}.", names[0], harm(records[0]), names[1], harm(records[1]))
}
