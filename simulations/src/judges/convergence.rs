//! Equal clocks, equal content, at every moment; and after healing everybody holds the same, in time.

use std::collections::BTreeMap;

use super::{End, Findings, Judge, at};
use crate::history::History;
use crate::record::Outcomes;
use crate::scenario::Scenario;
use crate::system::{Answer, Digest, NodeIx};

#[derive(Default)]
pub(super) struct Convergence {
    findings: Findings,
}

impl Judge for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }

    fn alarm(&mut self, what: &str) {
        self.findings.check(false, || what.to_owned());
    }

    fn digests(&mut self, digests: &[(NodeIx, Digest)]) {
        let parts = digests.iter().map(|(_, digest)| digest.parts.len()).max().unwrap_or(0);
        let mut content_of: BTreeMap<u64, (NodeIx, u128)> = BTreeMap::new();
        for part in 0..parts {
            content_of.clear();
            for (node, digest) in digests {
                let Some((clock, content)) = digest.parts.get(part) else { continue };
                let (first, known) = content_of.entry(*clock).or_insert((*node, *content));
                self.findings.check(known == content, || {
                    let (a, b) = (Scenario::node_name(*first), Scenario::node_name(*node));
                    format!("{a} and {b} have seen the same of part {part} and hold something else")
                });
            }
        }
    }

    fn finish(&mut self, end: &End<'_>, history: &History, _: &mut Outcomes) {
        let settle = end.scenario.settle;
        self.findings.check(end.converged.is_some(), || {
            format!("the nodes do not hold the same {settle} after everything was healed")
        });
        if end.converged.is_none() {
            return;
        }
        for (place, object) in end.objects.iter().enumerate() {
            let mut looks = end.looks.iter().filter_map(|(node, answers)| Some((node, answers.get(place)?)));
            let Some((first, expected)) = looks.next() else { continue };
            for (node, answer) in looks {
                self.findings.check(same(expected, answer) || may_expire(history, object, end), || {
                    let (a, b) = (Scenario::node_name(*first), Scenario::node_name(*node));
                    format!("at {} {object} is {expected:?} on {a} and {answer:?} on {b}", at(end.now))
                });
            }
        }
    }
}

/// What a reader sees: what was once destroyed is explained less and less well, and is gone all the same.
fn same(a: &Answer, b: &Answer) -> bool {
    match (a, b) {
        (Answer::Found { basis: a, .. }, Answer::Found { basis: b, .. }) => a.content == b.content,
        (Answer::Found { .. }, _) | (_, Answer::Found { .. }) => false,
        _ => true,
    }
}

/// Each node lets a lease run out by its own clock.
fn may_expire(history: &History, object: &sidetalk::core::identity::ObjectId, end: &End<'_>) -> bool {
    history.objects.get(object).is_some_and(|known| {
        known.created.is_some_and(|created| {
            end.now + history.clock_spread >= history.write(created).issued + known.ttl
        })
    })
}
