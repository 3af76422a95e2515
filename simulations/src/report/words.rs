//! What happened, in plain words.

use crate::record::{Outcomes, RunRecord, Verdict};

/// Text as it may stand in a page.
pub(super) fn esc(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            char if char.is_control() && char != '\n' => safe.push(' '),
            char => safe.push(char),
        }
    }
    safe
}

/// A number with its thousands apart.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One thing that users may have seen.
pub struct Row {
    /// As in `figures.json`.
    pub key: &'static str,
    /// In words.
    pub words: &'static str,
    /// How often.
    pub value: u64,
    /// It should be 0.
    pub is_bad: bool,
}

/// What users saw, the worst first.
#[must_use]
pub fn rows(seen: &Outcomes) -> Vec<Row> {
    let row = |key, words, value, is_bad| Row { key, words, value, is_bad };
    vec![
        row(
            "lost_updates",
            "Lost updates: a change was acknowledged, nobody overwrote it, and it is gone",
            seen.lost_updates,
            true,
        ),
        row(
            "lost_logins",
            "Lost logins: users were logged out without having done so",
            seen.lost_logins,
            true,
        ),
        row(
            "sessions_back",
            "Sessions back after logout, seen or still there at the end",
            seen.sessions_back + seen.sessions_back_at_the_end,
            true,
        ),
        row("lost_counts", "Counters wrong at the end: by how much, over all nodes", seen.lost_counts, true),
        row(
            "stale_with_token",
            "Stale reads although the client carried a token",
            seen.stale_with_token,
            true,
        ),
        row("stale_reads", "Stale reads in all: older than the user's own write", seen.stale_reads, false),
        row("hung", "Requests that hung until the user gave up, or whose node died", seen.no_answer, false),
        row("refused", "Requests that were refused", seen.refused, false),
        row("behind", "Answers that said they may be behind", seen.behind, false),
        row(
            "lacking_acks",
            "Writes whose majority was not there in time (they stay)",
            seen.lacking_acks,
            false,
        ),
        row(
            "lost_with_their_holders",
            "Writes lost with the only process that had them",
            seen.lost_with_their_holders,
            false,
        ),
    ]
}

/// What a judge looks after.
pub(super) fn promise(judge: &str) -> &str {
    match judge {
        "convergence" => "All nodes end with the same content",
        "kept-writes" => "No acknowledged write is lost",
        "destroyed-stays-destroyed" => "Logout wins",
        "counters-exact" => "Counts are exact",
        "read-your-writes" => "A token reads its own writes",
        "logins-kept" => "Login holds",
        "bounded" => "Memory, queues, logs and clocks are bounded",
        "bytes-on-the-wire" => "Little is sent when little happens",
        "faults-happened" => "The faults that were asked for happened",
        other => other,
    }
}

/// One sentence that says what happened, and whether all promises held.
#[must_use]
pub fn sentence(record: &RunRecord) -> String {
    let faults = match record.faults.as_slice() {
        [] => "Nothing went wrong".to_owned(),
        [one] => format!("A {} was in force", one.kind.replace('-', " ")),
        many => format!("{} faults were in force", many.len()),
    };
    let broken = record.broken().len();
    let promises = match broken {
        0 if record.verdicts.is_empty() => "nothing was judged".to_owned(),
        0 => "all promises held".to_owned(),
        1 => "one promise was broken".to_owned(),
        many => format!("{many} promises were broken"),
    };
    let (nodes, pages) = (record.nodes.len(), number(record.outcomes.pages));
    let seconds = record.duration_s;
    format!(
        "{faults} while users made {pages} requests to {nodes} nodes in {seconds:.0} seconds: {promises}."
    )
}

/// The first broken promise, and what is known of how it came to that.
pub(super) fn story(verdict: &Verdict, lines: &[String]) -> (String, Vec<String>) {
    let what = verdict.examples.first().cloned().unwrap_or_default();
    let mut about = what.split_whitespace().filter(|word| word.contains('/'));
    let object = about.next().unwrap_or_default().trim_matches(|char: char| ":,".contains(char)).to_owned();
    let names = |line: &&String| {
        !object.is_empty() && line.split_whitespace().any(|word| word.trim_end_matches(':') == object)
    };
    let found: Vec<String> = lines
        .iter()
        .filter(|line| names(line) || line.contains("fault: ") || line.contains("over: "))
        .cloned()
        .collect();
    let skip = found.len().saturating_sub(24);
    (what, found.into_iter().skip(skip).collect())
}
