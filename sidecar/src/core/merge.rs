//! The join of two states of one object.
//!
//! An item in one state only stays if the other side has never had it: its dot is not within the other clock. A
//! life stays or goes whole: the rule of the plain observed-remove map, by which entries outlive their life where
//! the other side has not seen them, brings sessions back (semantics finding 1).

use super::identity::Dot;
use super::mutant::{Mutants, Rule};
use super::object::{Life, Object};
use super::record::{Accumulator, Body, NewRecord, Record};
use super::records::Records;
use super::time::Hlc;

/// Which dots each side has applied, and which rules hold.
#[derive(Clone, Copy)]
pub(crate) struct Join<'a> {
    pub(crate) ours: &'a dyn Fn(&Dot) -> bool,
    pub(crate) theirs: &'a dyn Fn(&Dot) -> bool,
    pub(crate) mutants: Mutants,
}

impl Join<'_> {
    /// Joins two states of one object; a vacant one stands for none.
    pub(crate) fn objects<'o>(&self, ours: &Object<'o>, theirs: &Object<'o>) -> Object<'o> {
        let mut joined = Object::default();
        let barriers = merge_sorted(
            ours.barriers(),
            theirs.barriers(),
            |(barrier, _)| super::identity::dot_order(barrier),
            |side| match side {
                Side::Both(ours, _) => Some(*ours),
                Side::Ours(item) => (!(self.theirs)(&item.0)).then_some(*item),
                Side::Theirs(item) => (!(self.ours)(&item.0)).then_some(*item),
            },
        );
        joined.set_barriers(barriers);
        let lives = merge_sorted(
            &ours.lives,
            &theirs.lives,
            |life| super::identity::dot_order(&life.id),
            |side| self.life(&side),
        );
        joined.lives = lives.into_iter().collect();
        joined
    }

    fn life<'o>(&self, side: &Side<'_, Life<'o>>) -> Option<Life<'o>> {
        match *side {
            Side::Both(ours, theirs) => Some(self.both(ours, theirs)),
            Side::Ours(life) if !life.is_leased() => Some(self.both(life, &Life::unleased())),
            Side::Theirs(life) if !life.is_leased() => Some(self.both(&Life::unleased(), life)),
            Side::Ours(life) => self.one(life, self.theirs),
            Side::Theirs(life) => self.one(life, self.ours),
        }
    }

    fn one<'o>(&self, life: &Life<'o>, other_has: &dyn Fn(&Dot) -> bool) -> Option<Life<'o>> {
        if !other_has(&life.id) || self.mutants.lacks(Rule::MergeUnion) {
            return Some(life.clone());
        }
        if self.mutants.lacks(Rule::EntriesSurvive) {
            let unseen = life.records.iter(life.origin()).filter(|record| !other_has(&record.dot));
            let records = Records::from_sorted(unseen.map(|record| record.bytes));
            return (!records.is_empty()).then(|| Life { records, ..life.clone() });
        }
        None
    }

    fn both<'o>(&self, ours: &Life<'o>, theirs: &Life<'o>) -> Life<'o> {
        let mut joined = ours.clone();
        joined.lease.idle = ours.lease.idle.max(theirs.lease.idle);
        joined.lease.absolute = ours.lease.absolute.min(theirs.lease.absolute);
        if ours.records != theirs.records {
            joined.records = self.records(ours, theirs);
        }
        joined
    }

    fn records(&self, ours: &Life<'_>, theirs: &Life<'_>) -> Records<'static> {
        let origin = ours.origin();
        let a: Vec<Record<'_>> = ours.records.iter(origin).collect();
        let b: Vec<Record<'_>> = theirs.records.iter(theirs.origin()).collect();
        let keeps_all = self.mutants.lacks(Rule::MergeUnion);
        let merged: Vec<Merged<'_>> = merge_sorted(
            &a,
            &b,
            |record| (record.key, record.dot.actor, record.dot.counter),
            |side| match side {
                Side::Both(ours, theirs) => Some(self.record(ours, theirs)),
                Side::Ours(record) => {
                    (keeps_all || !(self.theirs)(&record.dot)).then_some(Merged::Stored(record.bytes))
                }
                Side::Theirs(record) => {
                    (keeps_all || !(self.ours)(&record.dot)).then_some(Merged::Stored(record.bytes))
                }
            },
        );
        let encoded: Vec<std::borrow::Cow<'_, [u8]>> = merged
            .into_iter()
            .map(|merged| match merged {
                Merged::Stored(bytes) => bytes.into(),
                Merged::Joined(path, accumulator, name, hlc) => {
                    let body = Body::Accumulator(accumulator);
                    NewRecord::new(origin, path, body, name, hlc).into_bytes().into()
                }
            })
            .collect();
        Records::from_sorted(encoded.iter().map(|bytes| &**bytes))
    }

    fn record<'r>(&self, ours: &Record<'r>, theirs: &Record<'r>) -> Merged<'r> {
        match (&ours.body, &theirs.body) {
            (Body::Accumulator(a), Body::Accumulator(b)) if ours.bytes != theirs.bytes => {
                let (joined, hlc) = self.accumulator((*a, ours.hlc), (*b, theirs.hlc));
                Merged::Joined(&ours.key[..ours.path_len], joined, ours.dot, hlc)
            }
            _ => Merged::Stored(ours.bytes),
        }
    }

    /// The later sequence wins and the total rides along; the larger total would break decrements (finding 12).
    fn accumulator(&self, a: (Accumulator, Hlc), b: (Accumulator, Hlc)) -> (Accumulator, Hlc) {
        let (mut joined, mut hlc) = if a.0.counted >= b.0.counted { a } else { b };
        if self.mutants.lacks(Rule::TotalMax) {
            joined.total = a.0.total.max(b.0.total);
            hlc = a.1.max(b.1);
        }
        let covered = if a.0.covered >= b.0.covered { a.0 } else { b.0 };
        // Folds into one accumulator come one after the other: who has folded more has all that the other has. What was
        // folded before a reset that the other has seen may have been more, and stands further back.
        let rank = |side: &Accumulator| side.absorbed.map(|absorbed| (absorbed.at, absorbed.number));
        joined.absorbed = if rank(&a.0) >= rank(&b.0) { a.0.absorbed } else { b.0.absorbed };
        joined.cover(covered.covered, covered.covered_total, covered.cover);
        (joined, hlc)
    }
}

enum Merged<'a> {
    Stored(&'a [u8]),
    Joined(&'a [u8], Accumulator, Dot, Hlc),
}

/// Where an item was found.
enum Side<'a, T> {
    Both(&'a T, &'a T),
    Ours(&'a T),
    Theirs(&'a T),
}

/// Merges two lists in the order of a key, keeping what `keep` makes of each item.
fn merge_sorted<'a, T, K: Ord, R>(
    ours: &'a [T],
    theirs: &'a [T],
    key: impl Fn(&'a T) -> K,
    mut keep: impl FnMut(Side<'a, T>) -> Option<R>,
) -> Vec<R> {
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    let mut merged = Vec::new();
    loop {
        let side = match (ours.peek(), theirs.peek()) {
            (None, None) => return merged,
            (Some(a), Some(b)) => match key(a).cmp(&key(b)) {
                std::cmp::Ordering::Equal => ours.next().zip(theirs.next()).map(|(a, b)| Side::Both(a, b)),
                std::cmp::Ordering::Less => ours.next().map(Side::Ours),
                std::cmp::Ordering::Greater => theirs.next().map(Side::Theirs),
            },
            (Some(_), None) => ours.next().map(Side::Ours),
            (None, Some(_)) => theirs.next().map(Side::Theirs),
        };
        merged.extend(side.and_then(&mut keep));
    }
}
