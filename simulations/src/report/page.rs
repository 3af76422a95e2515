//! The page: one HTML file that needs nothing else.

use std::fmt::Write as _;

use super::figures::{Figure, figures, lanes, versus};
use super::words::{esc, number, promise, rows, sentence, story};
use super::{Side, svg};
use crate::record::RunRecord;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("hover.js");

fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><title>{}</title><style>{STYLE}</style></head><body><main>{body}</main><script>{SCRIPT}</script></body></html>\n",
        esc(title)
    )
}

/// One run.
pub(super) fn run(side: &Side<'_>) -> String {
    let record = side.record;
    let mut body = header(side);
    let _ = write!(body, "<div class=\"two\">{}{}</div>", users(record), judges(record));
    body.push_str(&first_violation(side));
    body.push_str(&timeline(record));
    let all = figures(record);
    body.push_str(&plots("What users noticed", "section-users", &all[..2], record));
    let _ = write!(body, "<div class=\"two\">{}{}</div>", healings(record), sorts(record));
    body.push_str(&plots("What the nodes said to each other", "section-traffic", &all[2..5], record));
    body.push_str(&plots("Memory, log, queues and clocks", "section-sizes", &all[5..], record));
    body.push_str(&world(record));
    document(&format!("{}: {}", record.scenario, record.system), &body)
}

fn header(side: &Side<'_>) -> String {
    let record = side.record;
    format!(
        "<header id=\"section-summary\"><small>{} on {}</small><h1>{}</h1><p>{} {}</p><p class=\"soft\">{}</p><p>Again: <code>{}</code></p><p>Seed <code>{}</code>, trace hash <code>{}</code>: the same seed gives the same hash on any machine.</p></header>",
        esc(&record.scenario),
        esc(&record.system),
        esc(&sentence(record)),
        pill(record),
        esc(&format!(
            "{} calls to nodes, {} of them reads, in {:.0} virtual seconds; {} messages and {} bytes between nodes",
            number(record.totals.requests),
            number(record.outcomes.reads),
            record.virtual_s,
            number(record.totals.messages),
            number(record.totals.bytes)
        )),
        esc(&record.about),
        esc(side.command),
        record.seed,
        esc(&record.trace_hash)
    )
}

fn pill(record: &RunRecord) -> String {
    match record.broken().len() {
        0 if record.verdicts.is_empty() => String::new(),
        0 => "<span class=\"pill good\">All promises held</span>".into(),
        broken => {
            format!("<span class=\"pill bad\">{broken} of {} promises broken</span>", record.verdicts.len())
        }
    }
}

fn cell(value: u64, is_bad: bool) -> String {
    let class = if !is_bad {
        ""
    } else if value > 0 {
        " is-bad"
    } else {
        " is-good"
    };
    format!("<td class=\"n{class}\">{}</td>", number(value))
}

fn users(record: &RunRecord) -> String {
    let mut table = String::new();
    for row in rows(&record.outcomes) {
        let _ = write!(table, "<tr><td>{}</td>{}</tr>", row.words, cell(row.value, row.is_bad));
    }
    format!("<section id=\"section-outcomes\"><h2>What users saw</h2><table>{table}</table></section>")
}

fn judges(record: &RunRecord) -> String {
    let mut table = String::new();
    for verdict in &record.verdicts {
        let (class, word) = if verdict.broken == 0 {
            ("good", "held".into())
        } else {
            ("bad", format!("broken {} times", number(verdict.broken)))
        };
        let _ = write!(
            table,
            "<tr><td>{} <small>{}</small></td><td class=\"n\"><small>{} looks</small></td><td class=\"n\"><span class=\"pill {class}\">{word}</span></td></tr>",
            esc(promise(&verdict.judge)),
            esc(&verdict.judge),
            number(verdict.checked)
        );
    }
    format!("<section id=\"section-verdicts\"><h2>What the judges say</h2><table>{table}</table></section>")
}

fn first_violation(side: &Side<'_>) -> String {
    let Some(verdict) = side.record.broken().first().copied() else { return String::new() };
    let (what, lines) = story(verdict, side.story);
    let mut html = format!(
        "<section id=\"section-violation\"><h2>The first broken promise: {}</h2><p>{}</p>",
        esc(promise(&verdict.judge)),
        esc(&what)
    );
    if !lines.is_empty() {
        let _ =
            write!(html, "<p class=\"soft\">How it came to that:</p><pre>{}</pre>", esc(&lines.join("\n")));
    }
    for example in verdict.examples.iter().skip(1) {
        let _ = write!(html, "<p><small>Also: {}</small></p>", esc(example));
    }
    html + "</section>"
}

fn timeline(record: &RunRecord) -> String {
    let mut legend = String::new();
    for state in ["up", "starting", "catching-up", "leaving", "left", "paused", "down", "fault"] {
        let _ = write!(legend, "<span><i class=\"s-{state}\"></i>{}</span>", state.replace('-', " "));
    }
    format!(
        "<section id=\"section-nodes\"><h2>The nodes over time</h2><div class=\"legend\">{legend}</div>{}{}</section>",
        svg::timeline(record, &lanes(record)),
        faults(record)
    )
}

fn faults(record: &RunRecord) -> String {
    if record.faults.is_empty() {
        return "<p class=\"soft\">No faults.</p>".into();
    }
    let mut table = String::new();
    for fault in &record.faults {
        let _ = write!(
            table,
            "<tr><td>{}</td><td class=\"n\">{:.1} s</td><td class=\"n\">{:.1} s</td></tr>",
            esc(&svg::name_of(fault)),
            fault.from,
            fault.until
        );
    }
    format!(
        "<details><summary>Faults as a list ({})</summary><table>{table}</table></details>",
        record.faults.len()
    )
}

fn plots(title: &str, id: &str, figures: &[Figure], record: &RunRecord) -> String {
    let plots: String = figures.iter().map(|figure| svg::plot(figure, record)).collect();
    format!("<section id=\"{id}\"><h2>{title}</h2><div class=\"two\">{plots}</div></section>")
}

fn healings(record: &RunRecord) -> String {
    let mut rows: Vec<(String, f64, String)> = record
        .healings
        .iter()
        .map(|healing| {
            let text =
                healing.caught_up_s.map_or_else(|| "never".into(), |seconds| format!("{seconds:.2} s"));
            (
                format!("{} over at {:.1} s", healing.what.replace('-', " "), healing.at),
                healing.caught_up_s.unwrap_or(0.0),
                text,
            )
        })
        .collect();
    // Several nodes that come back at once are one healing to look at.
    rows.dedup_by(|next, first| next.0 == first.0 && next.2 == first.2);
    let text = record.converged_s.map_or_else(|| "never".into(), |seconds| format!("{seconds:.2} s"));
    rows.push(("all the same after the users had gone".into(), record.converged_s.unwrap_or(0.0), text));
    format!(
        "<section id=\"section-healing\"><h2>Until everyone had caught up</h2>{}</section>",
        svg::bars(&rows)
    )
}

fn sorts(record: &RunRecord) -> String {
    let messages = &record.totals.messages_by_sort;
    let mut sorts: Vec<(String, f64, String)> = record
        .totals
        .bytes_by_sort
        .iter()
        .map(|(sort, bytes)| {
            (
                sort.clone(),
                *bytes as f64,
                format!("{} B in {}", number(*bytes), number(messages.get(sort).copied().unwrap_or(0))),
            )
        })
        .collect();
    sorts.sort_by(|a, b| b.1.total_cmp(&a.1));
    format!(
        "<section id=\"section-sorts\"><h2>Bytes and messages by sort</h2>{}<p class=\"soft\">{:.0} bytes a second on an idle link, {:.0} bytes to each peer for a write beyond its own.</p></section>",
        svg::bars(&sorts),
        record.idle_bytes_per_link_s,
        record.overhead_bytes_per_write
    )
}

fn world(record: &RunRecord) -> String {
    let mut list = String::new();
    for (what, times) in &record.happened {
        let _ = write!(list, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", esc(what), number(*times));
    }
    format!(
        "<section id=\"section-world\"><h2>What happened in the world</h2><table>{list}</table></section>"
    )
}

/// Two runs side by side.
pub(super) fn compare(sides: [&Side<'_>; 2], command: &str) -> String {
    let [a, b] = sides.map(|side| side.record);
    let names = [sides[0].name, sides[1].name];
    let mut body = format!(
        "<header id=\"section-summary\"><small>Two runs side by side</small><h1>{}</h1><p>Again: <code>{}</code></p></header>",
        esc(&super::verdict_of(names, [a, b])),
        esc(command)
    );
    let mut table = format!(
        "<thead><tr><th>What users saw</th><th class=\"n\">{}</th><th class=\"n\">{}</th></tr></thead>",
        esc(names[0]),
        esc(names[1])
    );
    for (one, other) in rows(&a.outcomes).iter().zip(rows(&b.outcomes)) {
        let _ = write!(
            table,
            "<tr><td>{}</td>{}{}</tr>",
            one.words,
            cell(one.value, one.is_bad),
            cell(other.value, other.is_bad)
        );
    }
    let _ = write!(
        table,
        "<tr><td>Requests of users</td>{}{}</tr>",
        cell(a.outcomes.pages, false),
        cell(b.outcomes.pages, false)
    );
    let _ = write!(
        table,
        "<tr><td>Bytes between machines</td>{}{}</tr>",
        cell(a.totals.bytes, false),
        cell(b.totals.bytes, false)
    );
    let _ = write!(
        body,
        "<section id=\"section-outcomes\"><h2>What users saw</h2><table>{table}</table></section>"
    );
    body.push_str(&plots("Both over time", "section-users", &versus(names, [a, b]), a));
    for side in sides {
        let record = side.record;
        let _ = write!(
            body,
            "<h2>{}</h2><p>{} Seed <code>{}</code>, trace hash <code>{}</code>.</p>",
            esc(side.name),
            esc(&sentence(record)),
            record.seed,
            esc(&record.trace_hash)
        );
        // Ids stand once in a page: these sections are told apart by the side's place.
        let place = if std::ptr::eq(side, sides[0]) { "a" } else { "b" };
        let section = timeline(record) + &judges(record) + &healings(record) + &sorts(record);
        body.push_str(&section.replace("id=\"section-", &format!("id=\"{place}-")));
    }
    document(&format!("{} and {}", names[0], names[1]), &body)
}
