//! Destroyed stays destroyed: whatever request was in flight, on whichever side of a partition.

use std::collections::BTreeMap;

use sidetalk::core::identity::ObjectId;

use super::{End, Findings, Judge, SeenVerdict, at};
use crate::history::{History, ObjectHistory, Outcome, WriteRecord, is_mortal};
use crate::record::Outcomes;
use crate::scenario::Scenario;
use crate::system::Process;
use crate::traffic::{Seen, Told};
use crate::world::Micros;

/// A blind logout reaches sessions whose makers' clocks are not further ahead than this.
const BARRIER_MILLIS: i64 = 20_000;

#[derive(Default)]
pub(super) struct Destroyed {
    findings: Findings,
    /// Processes that have said so, and when that was heard first.
    told: BTreeMap<(Process, ObjectId), Micros>,
}

impl Judge for Destroyed {
    fn name(&self) -> &'static str {
        "destroyed-stays-destroyed"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn saw(&mut self, seen: &Seen, history: &History, verdict: &mut SeenVerdict) {
        let Some(known) = history.objects.get(&seen.object).filter(|_| is_mortal(seen.object.kind)) else {
            return;
        };
        let destroyed_here = known
            .destroyed
            .iter()
            .map(|id| history.write(*id))
            .any(|write| write.taken_by == Some(seen.by) && write.is_over_before(seen.issued));
        if !is_promised(history, known) {
            return;
        }
        let key = (seen.by, seen.object.clone());
        match &seen.told {
            Told::Found(_) => {
                let told = self.told.get(&key).is_some_and(|told| *told < seen.issued);
                let back = destroyed_here || told;
                verdict.session_back = back;
                self.findings.check(!back, || {
                    let node = Scenario::node_name(seen.by.node);
                    format!("{} had ended on {node}, and is back at {}", seen.object, at(seen.at))
                });
            }
            Told::Ended if is_acknowledged(history, known) => {
                self.told.entry(key).or_insert(seen.at);
            }
            _ => {}
        }
    }

    fn finish(&mut self, end: &End<'_>, history: &History, outcomes: &mut Outcomes) {
        for (place, object) in end.objects.iter().enumerate().filter(|(_, object)| is_mortal(object.kind)) {
            let Some(known) = history.objects.get(object) else { continue };
            let owed = known.destroyed.iter().any(|id| history.write(*id).is_owed());
            if !owed || !is_promised(history, known) {
                continue;
            }
            let back: Vec<String> = end
                .contents(place)
                .filter_map(|(node, content)| content.map(|_| Scenario::node_name(node)))
                .collect();
            outcomes.sessions_back_at_the_end += u64::from(!back.is_empty());
            self.findings.check(back.is_empty(), || {
                format!("{object} was destroyed, and is there at the end on {}", back.join(", "))
            });
        }
    }
}

fn is_acknowledged(history: &History, known: &ObjectHistory) -> bool {
    known.destroyed.iter().any(|id| history.write(*id).outcome == Outcome::Acknowledged)
}

/// A logout on a node that has not heard of the session leaves a barrier. It does not reach a session whose maker's
/// clock was far ahead, nor across the first meeting of two histories: a node that found nobody when it started, and
/// went on alone, keeps no barriers for others.
fn is_promised(history: &History, known: &ObjectHistory) -> bool {
    let Some(created) = known.created.map(|id| history.write(id)) else { return false };
    let ahead = |destroy: &WriteRecord| created.clock_millis.1 - destroy.clock_millis.0;
    let destroys = || known.destroyed.iter().map(|id| history.write(*id));
    !created.by_a_loner
        && !destroys().any(|destroy| destroy.by_a_loner)
        && destroys().map(ahead).all(|ahead| ahead < BARRIER_MILLIS)
}
