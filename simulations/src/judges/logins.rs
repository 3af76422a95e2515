//! Login holds: nobody is told that there is no session while it lives, unless told as well that not everybody could
//! be asked.

use sidetalk::core::identity::ObjectId;

use super::{End, Findings, Judge, SeenVerdict, at};
use crate::history::{Act, History, WriteRecord, is_mortal};
use crate::record::Outcomes;
use crate::scenario::Scenario;
use crate::traffic::{Seen, Told};
use crate::world::Micros;

#[derive(Default)]
pub(super) struct Logins {
    findings: Findings,
}

impl Judge for Logins {
    fn name(&self) -> &'static str {
        "logins-kept"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn saw(&mut self, seen: &Seen, history: &History, verdict: &mut SeenVerdict) {
        let lives = || is_alive(history, &seen.object, seen.issued, seen.at);
        let denied = match &seen.told {
            Told::Found(_) => false,
            Told::Ended | Told::Unknown => !seen.behind,
        };
        verdict.lost_login = denied && lives();
        // A node that was started beyond a partition, and found nobody, knows of nobody whom it could ask.
        let created = history.objects.get(&seen.object).and_then(|known| known.created);
        // And of one that has not met anybody yet nobody can know.
        let unmet = created.is_some_and(|id| history.write(id).by_a_loner);
        // Nor can two groups that have never met know of each other's.
        let excused = verdict.lost_login && (seen.by_a_loner || seen.by_a_stranger || unmet);
        self.findings.check(!verdict.lost_login || excused, || {
            format!(
                "at {} {} says of {} that it is {:?}, and it lives",
                at(seen.at),
                Scenario::node_name(seen.by.node),
                seen.object,
                seen.told
            )
        });
    }

    fn finish(&mut self, end: &End<'_>, history: &History, _: &mut Outcomes) {
        if end.converged.is_none() {
            return;
        }
        for (place, object) in end.objects.iter().enumerate().filter(|(_, object)| is_mortal(object.kind)) {
            if !is_alive(history, object, end.now, end.now) && !is_in_use(history, object, end.now) {
                continue;
            }
            for (node, content) in end.contents(place) {
                self.findings.check(content.is_some(), || {
                    format!("{object} lives, and is not there at the end on {}", Scenario::node_name(node))
                });
            }
        }
    }
}

/// It was made before `from`, nobody has ended it, and its lease has not run out by anybody's clock at `until`.
fn is_alive(history: &History, object: &ObjectId, from: Micros, until: Micros) -> bool {
    let Some(known) = history.objects.get(object) else { return false };
    let Some(created) = known.created.map(|id| history.write(id)) else { return false };
    let ends = created.issued + known.ttl;
    created.is_owed()
        && created.is_over_before(from)
        && !known.destroyed.iter().map(|id| history.write(*id)).any(WriteRecord::is_possible)
        && until + history.clock_spread < ends
}

/// Somebody has extended it, so that by nobody's clock it can have run out: also where it had run out on the other side
/// of a partition.
fn is_in_use(history: &History, object: &ObjectId, now: Micros) -> bool {
    let Some(known) = history.objects.get(object) else { return false };
    let writes = known.writes.iter().map(|id| history.write(*id));
    let mut touches = writes.filter(|write| write.act == Act::Touch && write.is_owed());
    known.created.is_some_and(|id| history.write(id).is_owed())
        && !known.destroyed.iter().map(|id| history.write(*id)).any(WriteRecord::is_possible)
        && touches.any(|touch| now + history.clock_spread < touch.issued + known.ttl)
}
