//! Folding: the accumulators of processes that are over become one.
//!
//! Which of them may be folded is for the node to know ([`crate::core::node`]); what it means, and that it changes nothing
//! that anybody can see, stands here and in decision 21.

use super::apply::Change;
use super::identity::{Dot, ObjectId, dot_order};
use super::object::Life;
use super::op::{Action, Fold, Folded};
use super::path::Path;
use super::record::{ACCUMULATOR, Absorbed, Accumulator, Body, Record};
use super::shard::Shard;
use super::time::Hlc;

/// So many accumulators at one path are folded, and not fewer: a session's few are not worth an operation.
pub const FOLD_MIN: usize = 8;

/// Accumulators that one operation folds, at most.
const FOLDED_MAX: usize = 512;

/// Objects of one shard that are noted to be looked at. Of more, one is noted when the next process counts in it.
const CROWDED_MAX: usize = 256;

impl Life<'_> {
    /// Whether so many accumulators at a path count.
    fn is_crowded_at(&self, path: &Path, fold_min: usize) -> bool {
        let below = self.records.range(self.origin(), path.as_bytes());
        let here = below.take_while(|record| record.path_len == path.len());
        here.filter(counts).take(fold_min).count() == fold_min
    }

    /// What folds those for which `goes` says so. Of each path one operation, if there are enough.
    fn folds(&self, fold_min: usize, goes: &impl Fn(&Record<'_>) -> bool, folds: &mut Vec<Action>) {
        let records: Vec<Record<'_>> =
            self.records.iter(self.origin()).filter(|record| counts(record) && goes(record)).collect();
        for here in records.chunk_by(|a, b| a.path() == b.path()) {
            if here.len() >= fold_min {
                folds.extend(fold(self.id, here).map(|fold| Action::Fold(Box::new(fold))));
            }
        }
    }
}

fn counts(record: &Record<'_>) -> bool {
    matches!(&record.body, Body::Accumulator(accumulator) if !accumulator.is_covered())
}

fn fold(life: Dot, here: &[Record<'_>]) -> Option<Fold> {
    let path = Path::from_encoded(here.first()?.path()).ok()?;
    let into = here.iter().max_by_key(|record| (record.hlc, dot_order(&record.dot)))?;
    let Body::Accumulator(stays) = into.body else { return None };
    let mut sum = stays.absorbed.map_or(0, |absorbed| absorbed.sum);
    let mut from = Vec::new();
    for record in here.iter().filter(|record| record.dot != into.dot).take(FOLDED_MAX) {
        let Body::Accumulator(accumulator) = record.body else { continue };
        let adds = i64::try_from(accumulator.net()).ok();
        if let Some((adds, more)) = adds.and_then(|adds| Some((adds, sum.checked_add(adds)?))) {
            sum = more;
            let Accumulator { counted, total, .. } = accumulator;
            from.push(Folded { name: record.dot, counted, total, adds });
        }
    }
    (!from.is_empty()).then_some(Fold { life, path, into: into.dot, counted: stays.counted, from })
}

impl Change<'_, '_> {
    /// Takes away what is folded, and adds it to what stays. Where that is covered, so is all that is folded into it.
    pub(crate) fn fold(&mut self, dot: Dot, fold: &Fold) {
        let Some(life) = self.object.life(&fold.life) else { return };
        let into = life.records.accumulator(life.origin(), &fold.path, fold.into);
        let (added, late) = self.take_folded(dot, fold);
        for (name, accumulator, hlc) in late {
            self.write_accumulator(&fold.life, &fold.path, name, accumulator, hlc);
        }
        let Some((mut into, hlc)) = into.filter(|(into, _)| added.number > 0 && into.covered < fold.counted)
        else {
            return;
        };
        let before = into.absorbed.unwrap_or(Absorbed { at: fold.counted, sum: 0, number: 0 });
        into.absorbed = Some(Absorbed {
            at: before.at.max(fold.counted),
            sum: before.sum.wrapping_add(added.sum),
            number: before.number.saturating_add(added.number),
        });
        self.write_accumulator(&fold.life, &fold.path, fold.into, into, hlc);
    }

    /// Gives what was taken, and those of which more had been counted than whoever folds them knew: that stays.
    fn take_folded(&mut self, dot: Dot, fold: &Fold) -> (Absorbed, Vec<(Dot, Accumulator, Hlc)>) {
        let mut named: Vec<&Folded> = fold.from.iter().filter(|folded| folded.name != fold.into).collect();
        named.sort_by_key(|folded| dot_order(&folded.name));
        let mut added = Absorbed { at: fold.counted, sum: 0, number: 0 };
        let mut late = Vec::new();
        let (seed, ledger) = (self.seed(&fold.life), &mut *self.ledger);
        let Some(life) = self.object.life_mut(&fold.life) else { return (added, late) };
        let mut prefix = fold.path.as_bytes().to_vec();
        prefix.push(ACCUMULATOR);
        let mut goes = |record: &Record<'_>| {
            let Body::Accumulator(mut known) = record.body else { return false };
            let found = named.binary_search_by_key(&dot_order(&record.dot), |folded| dot_order(&folded.name));
            let Some(folded) = found.ok().and_then(|at| named.get(at)) else { return false };
            if known.covered < folded.counted {
                added.sum = added.sum.wrapping_add(folded.adds);
                let absorbed = known.absorbed.map_or(0, |absorbed| absorbed.number);
                added.number = added.number.saturating_add(absorbed).saturating_add(1);
                known.cover(folded.counted, folded.total, Some(dot));
                if !known.is_covered() {
                    late.push((record.dot, known, record.hlc));
                }
            }
            known.is_covered()
        };
        let origin = life.origin();
        life.records.remove_range(origin, &prefix, &mut goes, |record| ledger.subtract_record(seed, record));
        (added, late)
    }
}

impl Shard {
    /// From so many accumulators at one path on. Everything but tests takes [`FOLD_MIN`].
    pub(crate) fn fold_from(&mut self, fold_min: usize) {
        if self.fold_min == fold_min {
            return;
        }
        self.fold_min = fold_min;
        let crowded = self.objects().iter().filter(|stored| stored.object().leftovers(fold_min).crowded);
        self.crowded = crowded.take(CROWDED_MAX).map(|stored| stored.id()).collect();
    }

    pub(crate) fn fold_min(&self) -> usize {
        self.fold_min
    }

    /// An operation has been applied.
    pub(super) fn note_counting(&mut self, id: &ObjectId, dot: Dot, action: &Action) {
        self.is_folded |= matches!(action, Action::Fold(_));
        let mut starts = action.starts_counting(dot).peekable();
        if starts.peek().is_none() {
            return;
        }
        let Some(object) = self.objects().get(id) else { return };
        let crowded = starts.any(|(life, path)| {
            object.life(&life).is_some_and(|life| life.is_crowded_at(path, self.fold_min))
        });
        drop(object);
        if crowded {
            self.note_crowded(id.clone());
        }
    }

    pub(super) fn note_crowded(&mut self, id: ObjectId) {
        if self.crowded.len() < CROWDED_MAX {
            self.crowded.insert(id);
        }
    }

    /// Whether anything here has ever been folded.
    pub(crate) fn is_folded(&self) -> bool {
        self.is_folded
    }

    pub(crate) fn has_crowded(&self) -> bool {
        !self.crowded.is_empty()
    }

    /// The operations that fold accumulators of owners for which `goes` says so. Objects for which there are none are looked at
    /// again when another process counts in them.
    pub(crate) fn folds(&mut self, goes: impl Fn(&Dot) -> bool) -> Vec<(ObjectId, Action)> {
        let mut due = Vec::new();
        let mut crowded = std::mem::take(&mut self.crowded);
        crowded.retain(|id| {
            let mut folds = Vec::new();
            if let Some(object) = self.objects().get(id) {
                let goes = |record: &Record<'_>| goes(&record.dot);
                object.lives.iter().for_each(|life| life.folds(self.fold_min, &goes, &mut folds));
            }
            let stays = !folds.is_empty();
            due.extend(folds.into_iter().map(|fold| (id.clone(), fold)));
            stays
        });
        self.crowded = crowded;
        due
    }
}

#[cfg(test)]
mod tests;
