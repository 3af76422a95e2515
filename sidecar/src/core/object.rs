//! Objects and their lives, as stored.
//!
//! Entries belong to the life they were written in, and end with it, seen or not: that is "logout wins" without a
//! tombstone to keep (semantics findings 1 to 6).

use smallvec::SmallVec;

use super::digest::{Ledger, LifeSeed, barrier_hash, life_hash};
use super::identity::{Dot, LifeId, UNLEASED, dot_order};
use super::lives::Lives;
use super::op::Lease;
use super::record::{Body, Origin, Record};
use super::records::Records;
use super::time::{Hlc, UnixMillis};

/// One existence of an object.
#[expect(clippy::box_collection, reason = "rare: one word in every life, not three")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life<'a> {
    pub(crate) id: LifeId,
    pub(crate) created: Hlc,
    pub(crate) lease: Lease,
    /// The barriers its creator knew: they do not hide it.
    pub(crate) barriers_seen: Option<Box<Vec<Dot>>>,
    pub(crate) records: Records<'a>,
}

impl<'a> Life<'a> {
    pub(crate) fn new(id: LifeId, created: Hlc, lease: Lease, barriers_seen: &[Dot]) -> Self {
        let barriers_seen = (!barriers_seen.is_empty()).then(|| Box::new(barriers_seen.to_vec()));
        Self { id, created, lease, barriers_seen, records: Records::default() }
    }

    /// The life of an object without a lease.
    pub(crate) fn unleased() -> Self {
        Self::new(UNLEASED, Hlc(0), Lease::FOREVER, &[])
    }

    pub(crate) fn is_leased(&self) -> bool {
        self.id != UNLEASED
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { life: self.id, created: self.created }
    }

    pub(crate) fn expired(&self, now: UnixMillis) -> bool {
        self.lease.ends() <= now
    }

    /// The order in which concurrent lives rank: new entries go to the greatest that is visible.
    pub(crate) fn rank(&self) -> (Hlc, impl Ord + use<>) {
        (self.created, dot_order(&self.id))
    }

    /// Adds this life without its records to a ledger, or takes it out. Gives what its records are mixed with.
    fn book_lease(&self, object_hash: u64, ledger: &mut Ledger, add: bool) -> LifeSeed {
        let seed = LifeSeed::new(object_hash, &self.id);
        if self.is_leased() {
            let hash = life_hash(seed, &self.lease);
            if add { ledger.add(hash) } else { ledger.subtract(hash) }
        }
        seed
    }

    /// Adds this life to a ledger, or takes it out.
    fn book(&self, object_hash: u64, ledger: &mut Ledger, add: bool) {
        let seed = self.book_lease(object_hash, ledger, add);
        for record in self.records.iter(self.origin()) {
            if add {
                ledger.add_record(seed, &record);
            } else {
                ledger.subtract_record(seed, &record);
            }
        }
    }
}

/// Some of an object's lives: nearly always one, which needs no memory of its own.
pub(crate) type Visible<'o, 'a> = SmallVec<[&'o Life<'a>; 1]>;

/// How many accumulators count at one path.
#[derive(Default)]
struct Crowd<'a> {
    path: Option<&'a [u8]>,
    count: usize,
}

impl<'a> Crowd<'a> {
    fn note(&mut self, record: &Record<'a>, fold_min: usize, found: &mut Leftovers) {
        let Body::Accumulator(accumulator) = &record.body else { return };
        found.folded |= accumulator.absorbed.is_some();
        if accumulator.is_covered() {
            found.residue = true;
            return;
        }
        let here = &record.key[..record.path_len];
        self.count = if self.path == Some(here) { self.count + 1 } else { 1 };
        self.path = Some(here);
        found.crowded |= self.count >= fold_min;
    }
}

/// What of an object's accumulators may be collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Some are fully covered.
    pub(crate) residue: bool,
    /// Many at one path count: perhaps some can be folded.
    pub(crate) crowded: bool,
    /// Some stand for others as well.
    pub(crate) folded: bool,
}

/// Everything stored under one name.
#[expect(clippy::box_collection, reason = "rare: one word in every object, not three")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Object<'a> {
    /// In the order of their ids.
    pub(crate) lives: Lives<'a>,
    /// Each hides the lives created up to a time by authors who had not seen it. In the order of their dots.
    pub(crate) barriers: Option<Box<Vec<(Dot, Hlc)>>>,
}

impl<'a> Object<'a> {
    /// The same, on its own.
    pub(crate) fn detached(self) -> Object<'static> {
        let detached = |life: &Life<'a>| {
            let Life { id, created, lease, barriers_seen, records } = life.clone();
            Life { id, created, lease, barriers_seen, records: records.detached() }
        };
        Object { lives: self.lives.iter().map(detached).collect(), barriers: self.barriers }
    }

    /// Nothing is stored: the name can go.
    pub(crate) fn is_vacant(&self) -> bool {
        self.barriers.is_none() && self.lives.iter().all(|life| !life.is_leased() && life.records.is_empty())
    }

    pub(crate) fn life(&self, id: &LifeId) -> Option<&Life<'a>> {
        self.lives.iter().find(|life| life.id == *id)
    }

    pub(crate) fn life_mut(&mut self, id: &LifeId) -> Option<&mut Life<'a>> {
        self.lives.iter_mut().find(|life| life.id == *id)
    }

    pub(crate) fn add_life(&mut self, life: Life<'a>) {
        let at = self.lives.partition_point(|known| dot_order(&known.id) < dot_order(&life.id));
        self.lives.insert(at, life);
    }

    /// Takes a life out, with all that is in it.
    pub(crate) fn end_life(&mut self, id: &LifeId, object_hash: u64, ledger: &mut Ledger) -> bool {
        let Some(at) = self.lives.iter().position(|life| life.id == *id) else { return false };
        self.lives.remove(at).book(object_hash, ledger, false);
        true
    }

    pub(crate) fn barriers(&self) -> &[(Dot, Hlc)] {
        self.barriers.as_ref().map_or(&[], |barriers| barriers.as_slice())
    }

    pub(crate) fn set_barriers(&mut self, barriers: Vec<(Dot, Hlc)>) {
        self.barriers = (!barriers.is_empty()).then(|| Box::new(barriers));
    }

    /// A barrier hides the life: somebody destroyed the session before hearing of it.
    pub(crate) fn hides(&self, life: &Life<'_>) -> bool {
        life.is_leased()
            && self.barriers().iter().any(|(barrier, until)| {
                life.created <= *until
                    && !life.barriers_seen.as_ref().is_some_and(|seen| seen.contains(barrier))
            })
    }

    pub(crate) fn sees(&self, life: &Life<'_>, now: UnixMillis) -> bool {
        !life.expired(now) && !self.hides(life)
    }

    /// The lives a reader sees, the lowest rank first.
    pub(crate) fn visible(&self, now: UnixMillis) -> Visible<'_, 'a> {
        let mut visible: Visible<'_, 'a> = self.lives.iter().filter(|life| self.sees(life, now)).collect();
        visible.sort_by_key(|life| life.rank());
        visible
    }

    /// Whether it holds accumulators that are fully covered.
    pub(crate) fn has_residue(&self) -> bool {
        self.lives.iter().any(|life| life.records.iter(life.origin()).any(|record| !record.is_live()))
    }

    /// What of its accumulators may be collected.
    pub(crate) fn leftovers(&self, fold_min: usize) -> Leftovers {
        let mut found = Leftovers::default();
        for life in &self.lives {
            let mut crowd = Crowd::default();
            life.records.iter(life.origin()).for_each(|record| crowd.note(&record, fold_min, &mut found));
        }
        found
    }

    /// Checks what came from elsewhere, and counts it, in one pass; `None` where no honest node sends it.
    pub(crate) fn audit(&self, object_hash: u64, fold_min: usize) -> Option<(Ledger, Leftovers)> {
        let sorted = self.lives.is_sorted_by_key(|life| dot_order(&life.id))
            && self.barriers().is_sorted_by_key(|(dot, _)| dot_order(dot));
        if !sorted {
            return None;
        }
        let (mut ledger, mut found) = (Ledger::default(), Leftovers::default());
        self.book_barriers(object_hash, &mut ledger);
        for life in &self.lives {
            let seed = life.book_lease(object_hash, &mut ledger, true);
            let mut crowd = Crowd::default();
            let is_sound = life.records.examine(life.origin(), |record| {
                ledger.add_record(seed, record);
                crowd.note(record, fold_min, &mut found);
            });
            if !is_sound {
                return None;
            }
        }
        Some((ledger, found))
    }

    /// Everything of this object, as one ledger.
    pub(crate) fn sums(&self, object_hash: u64) -> Ledger {
        let mut ledger = Ledger::default();
        self.book_barriers(object_hash, &mut ledger);
        for life in &self.lives {
            life.book(object_hash, &mut ledger, true);
        }
        ledger
    }

    fn book_barriers(&self, object_hash: u64, ledger: &mut Ledger) {
        for (barrier, until) in self.barriers() {
            ledger.add(barrier_hash(object_hash, barrier, *until));
        }
    }
}
