//! What changed lately, for those who watch: a bounded list of names. Values are read when they are sent, so a slow
//! reader gets the latest state of each key, and one that is slower still is told that the journal was cut.

use std::collections::{BTreeSet, VecDeque};

use crate::core::command::{Changed, Changes};
use crate::core::identity::{Kind, ObjectId};

/// Changes that are remembered, at least.
const JOURNAL_MAX: usize = 65_536;

/// Names on a page. What is forgotten goes by the page.
const PAGE_NAMES: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// All but the last are full.
    pages: VecDeque<Page>,
    len: usize,
    /// The cursor of the newest change.
    cursor: u64,
}

/// Names, one behind the other: an allocation for each would be the coldest memory of a write.
#[derive(Debug, Default)]
struct Page {
    keys: String,
    /// Of each name its kind, and where its key ends.
    ends: Vec<(Kind, u32)>,
}

impl Page {
    fn push(&mut self, object: &ObjectId) {
        self.keys.push_str(&object.key);
        // A thousand keys are far below 4 GiB.
        self.ends.push((object.kind, self.keys.len() as u32));
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
    }

    /// Its names but for so many at its beginning, which are not looked at.
    fn names(&self, skipped: usize) -> impl Iterator<Item = (Kind, &str)> {
        let before = skipped.checked_sub(1).and_then(|last| self.ends.get(last));
        let mut start = before.map_or(0, |(_, end)| *end as usize);
        self.ends.iter().skip(skipped).map(move |(kind, end)| {
            let end = *end as usize;
            (*kind, self.keys.get(std::mem::replace(&mut start, end)..end).unwrap_or_default())
        })
    }
}

impl Journal {
    pub(super) fn push(&mut self, object: &ObjectId) {
        if self.pages.back().is_none_or(|page| page.ends.len() == PAGE_NAMES) {
            let page = self.oldest_page().unwrap_or_default();
            self.pages.push_back(page);
        }
        if let Some(page) = self.pages.back_mut() {
            page.push(object);
        }
        self.len += 1;
        self.cursor += 1;
    }

    /// The oldest page, empty, if there are enough without it.
    fn oldest_page(&mut self) -> Option<Page> {
        if self.len < JOURNAL_MAX + PAGE_NAMES {
            return None;
        }
        let mut oldest = self.pages.pop_front()?;
        self.len -= oldest.ends.len();
        oldest.clear();
        Some(oldest)
    }

    fn names_from(&self, index: usize) -> impl Iterator<Item = (Kind, &str)> {
        let skipped = std::iter::once(index % PAGE_NAMES).chain(std::iter::repeat(0));
        let pages = self.pages.iter().skip(index / PAGE_NAMES).zip(skipped);
        pages.flat_map(|(page, skipped)| page.names(skipped))
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn since(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes {
        let oldest = self.cursor - self.len as u64;
        if after < oldest || after > self.cursor {
            return Changes::TooOld { cursor: self.cursor };
        }
        let wanted = |of: Kind, key: &str| kind.is_none_or(|kind| kind == of) && key.starts_with(prefix);
        let mut seen = BTreeSet::new();
        let mut changes: Vec<Changed> = Vec::new();
        let mut cursor = after;
        for (kind, key) in self.names_from((after - oldest) as usize) {
            let is_wanted = wanted(kind, key);
            if is_wanted && !seen.contains(&(kind, key)) && seen.len() == limit {
                break;
            }
            cursor += 1;
            if is_wanted {
                seen.insert((kind, key));
                changes.push(Changed { cursor, object: ObjectId::new(kind, key) });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn since(journal: &Journal, after: u64) -> Option<Vec<(u64, String)>> {
        match journal.since(after, None, "", usize::MAX) {
            Changes::TooOld { .. } => None,
            Changes::Since { changes, .. } => {
                Some(changes.into_iter().map(|changed| (changed.cursor, changed.object.key.into())).collect())
            }
        }
    }

    #[test]
    fn names_are_found_wherever_pages_end_and_old_ones_go() {
        let mut journal = Journal::default();
        let name = |cursor: u64| format!("name-{cursor}");
        let all = 3 * JOURNAL_MAX as u64 + 5;
        for cursor in 1..=all {
            journal.push(&ObjectId::new(Kind::Document, &name(cursor)));
            let oldest = journal.cursor() - journal.len as u64;
            assert!(
                journal.len <= JOURNAL_MAX + PAGE_NAMES
                    && oldest <= cursor.saturating_sub(JOURNAL_MAX as u64)
            );
        }
        for after in [all, all - 1, all - 1_024, all - 1_029, all - JOURNAL_MAX as u64] {
            let expected: Vec<_> = (after + 1..=all).map(|cursor| (cursor, name(cursor))).collect();
            assert_eq!(since(&journal, after), Some(expected), "{after}");
        }
        assert_eq!(since(&journal, all - 2 * JOURNAL_MAX as u64), None);
        assert_eq!(since(&journal, all + 1), None);
    }
}
