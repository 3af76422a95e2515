//! What changed lately, for those who watch: a bounded list of names. Values are read when they are sent, so a slow
//! reader gets the latest state of each key, and one that is slower still is told that the journal was cut.

use std::collections::{BTreeSet, VecDeque};

use crate::core::command::{Changed, Changes};
use crate::core::identity::{Kind, ObjectId};

/// Changes that are remembered.
const JOURNAL_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Journal {
    changes: VecDeque<ObjectId>,
    /// The cursor of the newest change.
    cursor: u64,
}

impl Journal {
    pub(super) fn push(&mut self, object: ObjectId) {
        self.cursor += 1;
        self.changes.push_back(object);
        if self.changes.len() > JOURNAL_MAX {
            self.changes.pop_front();
        }
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn since(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes {
        let oldest = self.cursor - self.changes.len() as u64;
        if after < oldest || after > self.cursor {
            return Changes::TooOld { cursor: self.cursor };
        }
        let wanted =
            |object: &ObjectId| kind.is_none_or(|kind| kind == object.kind) && object.key.starts_with(prefix);
        let mut seen = BTreeSet::new();
        let mut changes: Vec<Changed> = Vec::new();
        let mut cursor = after;
        for object in self.changes.iter().skip((after - oldest) as usize) {
            if wanted(object) && !seen.contains(object) && seen.len() == limit {
                break;
            }
            cursor += 1;
            if wanted(object) {
                seen.insert(object);
                changes.push(Changed { cursor, object: object.clone() });
            }
        }
        // Each object once, at its latest place.
        let mut later = BTreeSet::new();
        changes.reverse();
        changes.retain(|change| later.insert(change.object.clone()));
        changes.reverse();
        Changes::Since { changes, cursor }
    }
}
