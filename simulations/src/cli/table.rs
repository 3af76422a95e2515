//! What a run came to, for people to read.

use std::fmt::Write as _;

use crate::record::RunRecord;
use crate::world::Progress;

/// One line about a run on its way.
pub(super) fn progress(progress: &Progress) -> String {
    let Progress { virtual_s, phase, requests, ready, broken } = progress;
    format!("{virtual_s:8.0} s  {phase:<9} {ready:4} ready  {requests:9} requests  {broken} broken promises")
}

/// The whole run.
pub(super) fn summary(record: &RunRecord, took_s: f64) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<38} {value}");
    };
    let (totals, seen) = (&record.totals, &record.outcomes);
    row("scenario", format!("{} on {}, seed {}", record.scenario, record.system, record.seed));
    row("trace hash", record.trace_hash.clone());
    let speed = record.virtual_s / took_s.max(1e-9);
    row("virtual time", format!("{:.0} s in {took_s:.2} s: {speed:.0} times as fast", record.virtual_s));
    row("requests, events", format!("{}, {}", totals.requests, totals.events));
    row("messages between nodes", format!("{}, {} bytes", totals.messages, totals.bytes));
    row("logins, logouts, reads", format!("{}, {}, {}", seen.logins, seen.logouts, seen.reads));
    row("stale reads", format!("{} ({} with a token)", seen.stale_reads, seen.stale_with_token));
    row("told to be behind", seen.behind.to_string());
    row("no answer, refused", format!("{}, {}", seen.no_answer, seen.refused));
    row("lost logins", seen.lost_logins.to_string());
    row("sessions back after logout", (seen.sessions_back + seen.sessions_back_at_the_end).to_string());
    row("lost updates, lost counts", format!("{}, {}", seen.lost_updates, seen.lost_counts));
    row("writes lost with their only holder", seen.lost_with_their_holders.to_string());
    let converged = record.converged_s.map_or_else(|| "never".into(), |seconds| format!("{seconds:.2} s"));
    row("all the same after the end", converged);
    let healings = record.healings.iter().map(|healing| {
        let after = healing.caught_up_s.map_or_else(|| "never".into(), |seconds| format!("{seconds:.2} s"));
        format!("{} {after}", healing.what)
    });
    row("caught up after", healings.collect::<Vec<_>>().join(", "));
    row("idle bytes/s on one link", format!("{:.0}", record.idle_bytes_per_link_s));
    row("overhead bytes per write and peer", format!("{:.0}", record.overhead_bytes_per_write));
    let happened = record.happened.iter().map(|(what, times)| format!("{times} {what}"));
    row("happened", happened.collect::<Vec<_>>().join(", "));
    text.push('\n');
    for verdict in &record.verdicts {
        let word =
            if verdict.broken == 0 { "held".into() } else { format!("BROKEN {} times", verdict.broken) };
        let _ = writeln!(text, "  {:<28} {:>9} checked  {word}", verdict.judge, verdict.checked);
        for example in &verdict.examples {
            let _ = writeln!(text, "      {example}");
        }
    }
    text
}
