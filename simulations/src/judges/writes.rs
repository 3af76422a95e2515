//! No acknowledged write is lost while one process that has it lives.
//!
//! A field must not show, at the end, what an acknowledged write has certainly replaced; a member that was put in and
//! never taken out must be there. Which of two writes at once wins is no judge's business.

use std::collections::BTreeSet;

use super::{End, Findings, Judge};
use crate::history::{Act, History, ObjectHistory, is_mortal};
use crate::record::Outcomes;
use crate::scenario::Scenario;
use crate::system::{Content, WriteId};

#[derive(Default)]
pub(super) struct KeptWrites {
    findings: Findings,
}

impl Judge for KeptWrites {
    fn name(&self) -> &'static str {
        "kept-writes"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn finish(&mut self, end: &End<'_>, history: &History, outcomes: &mut Outcomes) {
        for (place, object) in end.objects.iter().enumerate() {
            let Some(known) = history.objects.get(object) else { continue };
            if is_mortal(object.kind) && !is_certainly_alive(history, known) {
                continue;
            }
            let mut lost = BTreeSet::new();
            for (node, content) in end.contents(place) {
                // A session that is not there at all is the business of those who judge logins.
                let Some(content) = content else { continue };
                for (field, writes) in &known.fields {
                    let shown = content.fields.get(field).copied();
                    self.field(history, writes, shown, &Scenario::node_name(node), &mut lost);
                }
                self.members(history, known, content, &Scenario::node_name(node), &mut lost);
            }
            outcomes.lost_updates += lost.len() as u64;
        }
    }
}

/// It was made, and nobody has ended it.
fn is_certainly_alive(history: &History, known: &ObjectHistory) -> bool {
    known.created.is_some_and(|created| history.write(created).is_owed())
        && !known.destroyed.iter().any(|write| history.write(*write).is_possible())
}

impl KeptWrites {
    fn field(
        &mut self,
        history: &History,
        writes: &[WriteId],
        shown: Option<WriteId>,
        node: &str,
        lost: &mut BTreeSet<WriteId>,
    ) {
        let newer: BTreeSet<WriteId> =
            shown.map(|shown| descendants(history, writes, shown)).unwrap_or_default();
        for id in writes {
            let write = history.write(*id);
            if !write.is_owed() || shown == Some(*id) || matches!(write.act, Act::Unset(_)) && shown.is_none()
            {
                continue;
            }
            let holds = match shown {
                Some(_) if newer.contains(id) => false,
                Some(shown) => !history.replaced(shown, *id),
                None => history.may_be_removed(*id),
            };
            if !holds {
                lost.insert(*id);
            }
            self.findings.check(holds, || {
                format!(
                    "{} of {}: write {id} was acknowledged and never overwritten; {node} shows {shown:?}",
                    describe(&write.act),
                    write.object
                )
            });
        }
    }

    fn members(
        &mut self,
        history: &History,
        known: &ObjectHistory,
        content: &Content,
        node: &str,
        lost: &mut BTreeSet<WriteId>,
    ) {
        for (member, writes) in &known.members {
            let there = content.members.contains(member);
            let adds =
                || writes.iter().map(|id| history.write(*id)).filter(|w| matches!(w.act, Act::Join(_)));
            let owed = adds().find(|add| add.is_owed() && !history.may_be_removed(add.id));
            if let Some(owed) = owed.filter(|_| !there) {
                lost.insert(owed.id);
            }
            let object = || history.write(writes[0]).object.clone();
            self.findings.check(there || owed.is_none(), || {
                format!("{} lacks {member:?} on {node}: it was put in and never taken out", object())
            });
            let possible = adds().any(|add| add.is_possible() && !certainly_removed(history, writes, add.id));
            self.findings.check(!there || possible, || {
                format!(
                    "{} has {member:?} on {node}: every time it was put in, it was taken out again",
                    object()
                )
            });
        }
    }
}

/// Those whose writers had seen `first`, perhaps by way of others.
fn descendants(history: &History, writes: &[WriteId], first: WriteId) -> BTreeSet<WriteId> {
    let mut found = BTreeSet::from([first]);
    for id in writes.iter().filter(|id| **id > first) {
        if history.write(*id).saw.iter().any(|seen| found.contains(seen)) {
            found.insert(*id);
        }
    }
    found
}

fn removes(act: &Act) -> bool {
    matches!(act, Act::Unset(_) | Act::Part(_))
}

/// Somebody has removed it who must have seen it.
fn certainly_removed(history: &History, writes: &[WriteId], id: WriteId) -> bool {
    writes
        .iter()
        .map(|other| history.write(*other))
        .any(|other| removes(&other.act) && other.is_owed() && other.saw.contains(&id))
}

fn describe(act: &Act) -> String {
    format!("{act:?}")
}
