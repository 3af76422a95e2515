//! A client that carries a token never sees a state older than its own last write, or is told.

use super::{Findings, Judge, SeenVerdict, at};
use crate::history::{Act, History};
use crate::scenario::Scenario;
use crate::system::{Content, WriteId};
use crate::traffic::{Seen, Told};

#[derive(Default)]
pub(super) struct ReadYourWrites {
    findings: Findings,
}

impl Judge for ReadYourWrites {
    fn name(&self) -> &'static str {
        "read-your-writes"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn saw(&mut self, seen: &Seen, history: &History, verdict: &mut SeenVerdict) {
        let Told::Found(content) = &seen.told else { return };
        for own in &seen.own {
            if !shows(history, content, seen, *own) {
                let answered = history.write(*own).answered.unwrap_or(seen.issued);
                let age = seen.issued.saturating_sub(answered);
                verdict.stale = Some(verdict.stale.unwrap_or(0).max(age));
            }
        }
        if seen.behind {
            return;
        }
        for carried in &seen.carried {
            let holds = shows(history, content, seen, *carried);
            verdict.stale_with_token |= !holds;
            self.findings.check(holds, || {
                format!(
                    "{} at {}: {} does not show write {carried}, whose token it was given",
                    seen.object,
                    at(seen.at),
                    Scenario::node_name(seen.by.node)
                )
            });
        }
    }
}

/// Whether a content shows a write, or something that may have come after it.
fn shows(history: &History, content: &Content, seen: &Seen, id: WriteId) -> bool {
    let write = history.write(id);
    let (Act::Set(field) | Act::Unset(field)) = &write.act else { return true };
    if write.object != seen.object || !write.is_owed() {
        return true;
    }
    match content.fields.get(field) {
        Some(shown) => *shown == id || !history.replaced(*shown, id),
        None => history.may_be_removed(id),
    }
}
