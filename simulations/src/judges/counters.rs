//! Counts are exact: the sum of the acknowledged increments that no reset has seen; none lost, none twice.

use super::{End, Findings, Judge};
use crate::history::{Act, History, ObjectHistory, WriteRecord, is_mortal};
use crate::record::Outcomes;
use crate::scenario::Scenario;
use crate::system::WriteId;

#[derive(Default)]
pub(super) struct Counters {
    findings: Findings,
}

impl Judge for Counters {
    fn name(&self) -> &'static str {
        "counters-exact"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn finish(&mut self, end: &End<'_>, history: &History, outcomes: &mut Outcomes) {
        for (place, object) in end.objects.iter().enumerate() {
            let Some(known) = history.objects.get(object) else { continue };
            let range = range(history, &known.writes);
            for (node, content) in end.contents(place) {
                let Some(content) = content else { continue };
                let node = Scenario::node_name(node);
                if !is_mortal(object.kind) && range.counted {
                    self.judge(&format!("{object} on {node}"), content.value, &range, outcomes);
                }
                for (field, writes) in known.counts.iter().filter(|_| is_alive(history, known)) {
                    let shown = content.counts.get(field).copied().unwrap_or(0);
                    let range = self::range(history, writes);
                    self.judge(&format!("{field} of {object} on {node}"), shown, &range, outcomes);
                }
            }
        }
    }
}

impl Counters {
    fn judge(&mut self, what: &str, shown: i64, range: &Range, outcomes: &mut Outcomes) {
        let (low, high) = (range.low, range.high);
        outcomes.lost_counts += (low - shown).max(shown - high).max(0).unsigned_abs();
        self.findings.check((low..=high).contains(&shown), || {
            format!("{what} is {shown}, and {low} to {high} were counted")
        });
    }
}

/// What a counter may show.
struct Range {
    low: i64,
    high: i64,
    /// Anybody has counted at all.
    counted: bool,
}

fn range(history: &History, writes: &[WriteId]) -> Range {
    let writes: Vec<&WriteRecord> = writes.iter().map(|id| history.write(*id)).collect();
    let resets: Vec<&WriteRecord> =
        writes.iter().copied().filter(|write| write.act == Act::Reset && write.is_possible()).collect();
    let mut range = Range { low: 0, high: 0, counted: false };
    for write in writes {
        let (Act::Add(by) | Act::Count(_, by)) = write.act else { continue };
        range.counted = true;
        if !write.is_possible() || resets.iter().any(|reset| covers(reset, write)) {
            continue;
        }
        let survives = resets.iter().all(|reset| reset.is_over_before(write.issued));
        if write.is_owed() && survives {
            range.low += by;
            range.high += by;
        } else {
            range.low += by.min(0);
            range.high += by.max(0);
        }
    }
    range
}

/// The reset has certainly seen the increment: one process took both, one after the other.
fn covers(reset: &WriteRecord, add: &WriteRecord) -> bool {
    reset.is_owed()
        && reset.taken_by.is_some()
        && reset.taken_by == add.taken_by
        && add.is_over_before(reset.issued)
}

fn is_alive(history: &History, known: &ObjectHistory) -> bool {
    // What belongs to a session goes with it; a document stays.
    match known.created {
        Some(created) => {
            history.write(created).is_owed()
                && !known.destroyed.iter().any(|write| history.write(*write).is_possible())
        }
        None => true,
    }
}
