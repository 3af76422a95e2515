//! The effect of one operation on one object.
//!
//! Removals always happen, in all lives; what an operation adds happens only while its life is stored (semantics
//! findings 1, 2 and 19).

use std::borrow::Cow;

use smallvec::SmallVec;

use super::digest::{Ledger, LifeSeed, barrier_hash, life_hash};
use super::identity::{Dot, LifeId, UNLEASED, dot_order};
use super::mutant::{Mutants, Rule};
use super::object::{Life, Object};
use super::op::{Action, Clear, Cover, Edit, Increment, Lease, Op, Put, Removal};
use super::path::Path;
use super::record::{ACCUMULATOR, Accumulator, Body, MEMBER, NewRecord, Origin, Record, Text};
use super::records::Rewrite;
use super::time::{Hlc, UnixMillis};

/// With more the steps are quicker: each looks at what is left, while one go compares what it takes away with what went before.
const CLEARS_AT_ONCE_MAX: usize = 64;

/// One object under change: its name's hash, and the sums that its edits are booked in.
pub(crate) struct Change<'a, 'o> {
    pub(crate) object: &'a mut Object<'o>,
    pub(crate) object_hash: u64,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) mutants: Mutants,
}

impl Change<'_, '_> {
    /// Applies an operation. Gives whether a life ended.
    pub(crate) fn apply(&mut self, op: &Op) -> bool {
        match &op.action {
            Action::Create { lease, kills, barriers_seen, edit } => {
                let ended = self.end(kills);
                self.create(op, *lease, barriers_seen);
                self.edit(op.dot, op.hlc, &op.dot, edit);
                ended
            }
            Action::Edit { life, idle, edit } => {
                if let Some(idle) = idle {
                    self.extend(life, *idle);
                }
                self.edit(op.dot, op.hlc, life, edit);
                false
            }
            Action::Touch { lives, idle } => {
                lives.iter().for_each(|life| self.extend(life, *idle));
                false
            }
            Action::Destroy { lives, removal } => {
                let ended = self.end(lives);
                self.remove(op.dot, removal);
                ended
            }
            Action::Barrier { until } => {
                self.add_barrier(op.dot, *until);
                false
            }
            Action::Unbarrier { barriers } => {
                self.remove_barriers(barriers);
                false
            }
            Action::Fold(fold) => {
                self.fold(op.dot, fold);
                false
            }
        }
    }

    fn end(&mut self, lives: &[LifeId]) -> bool {
        let mut ended = false;
        for life in lives {
            ended |= self.object.end_life(life, self.object_hash, self.ledger);
        }
        ended
    }

    pub(crate) fn seed(&self, life: &LifeId) -> LifeSeed {
        LifeSeed::new(self.object_hash, life)
    }

    fn create(&mut self, op: &Op, lease: Lease, barriers_seen: &[Dot]) {
        self.ledger.add(life_hash(self.seed(&op.dot), &lease));
        self.object.add_life(Life::new(op.dot, op.hlc, lease, barriers_seen));
    }

    fn extend(&mut self, id: &LifeId, idle: UnixMillis) {
        let seed = self.seed(id);
        let Some(life) = self.object.life_mut(id).filter(|life| life.is_leased() && life.lease.idle < idle)
        else {
            return;
        };
        self.ledger.subtract(life_hash(seed, &life.lease));
        life.lease.idle = idle;
        self.ledger.add(life_hash(seed, &life.lease));
    }

    fn add_barrier(&mut self, barrier: Dot, until: Hlc) {
        let mut barriers = self.object.barriers().to_vec();
        barriers.push((barrier, until));
        barriers.sort_by_key(|(dot, _)| dot_order(dot));
        self.object.set_barriers(barriers);
        self.ledger.add(barrier_hash(self.object_hash, &barrier, until));
    }

    fn remove_barriers(&mut self, gone: &[Dot]) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.object.barriers().iter().partition(|(barrier, _)| gone.contains(barrier));
        for (barrier, until) in &gone {
            self.ledger.subtract(barrier_hash(self.object_hash, barrier, *until));
        }
        self.object.set_barriers(kept);
    }

    /// Applies an edit of one life.
    pub(crate) fn edit(&mut self, dot: Dot, hlc: Hlc, id: &LifeId, edit: &Edit) {
        let adds = !edit.puts.is_empty() || !edit.increments.is_empty();
        let stored = self.object.life(id).is_some();
        if !stored && *id != UNLEASED && self.mutants.lacks(Rule::DeadSkip) {
            return;
        }
        if !self.rewrite(dot, hlc, id, edit) {
            self.remove(dot, &edit.removal);
            if !stored && *id == UNLEASED && adds {
                self.object.add_life(Life::unleased());
            }
            self.put(dot, hlc, id, &edit.puts);
        }
        for increment in &edit.increments {
            self.count(dot, hlc, id, increment);
        }
        if self.mutants.lacks(Rule::NoResidue) || self.mutants.lacks(Rule::EagerResidue) {
            self.drop_all_residue();
        }
    }

    /// Removes and puts in one go, where this life is all there is and its records are one run. Gives whether it was so.
    fn rewrite(&mut self, dot: Dot, hlc: Hlc, id: &LifeId, edit: &Edit) -> bool {
        let (seed, ledger) = (self.seed(id), &mut *self.ledger);
        let [life] = &mut *self.object.lives else { return false };
        let origin = life.origin();
        let Some(mut rewrite) = Rewrite::of(&life.records, origin) else { return false };
        if life.id != *id || !edit.removal.covers.is_empty() || edit.removal.clears.len() > CLEARS_AT_ONCE_MAX
        {
            return false;
        }
        for clear in &edit.removal.clears {
            let gone = |record: &Record<'_>| removes(&edit.removal, clear, record);
            rewrite.cut(scope_prefix(clear), gone, |record| ledger.subtract_record(seed, record));
        }
        let mut new = new_records(origin, dot, hlc, &edit.puts);
        add_records(origin, seed, ledger, &new);
        life.records = rewrite.write(&mut new, |old| ledger.subtract_record(seed, old));
        true
    }

    fn remove(&mut self, dot: Dot, removal: &Removal) {
        let (object_hash, ledger) = (self.object_hash, &mut *self.ledger);
        for life in &mut self.object.lives {
            let (origin, seed) = (life.origin(), LifeSeed::new(object_hash, &life.id));
            for clear in &removal.clears {
                life.records.remove_range(
                    origin,
                    &scope_prefix(clear),
                    |record| removes(removal, clear, record),
                    |record| ledger.subtract_record(seed, record),
                );
            }
        }
        for covers in removal.covers.chunk_by(|a, b| a.life == b.life && a.path == b.path) {
            match covers {
                [cover] => self.cover(dot, cover),
                covers => self.cover_all(dot, covers),
            }
        }
    }

    /// Covers many at one path of one life in one pass: a counter may have one for each process that ever crashed.
    fn cover_all(&mut self, dot: Dot, covers: &[Cover]) {
        let Some(Cover { life: id, path, .. }) = covers.first() else { return };
        let seed = self.seed(id);
        let Some(life) = self.object.life_mut(id) else { return };
        // Stable: should two name the same one, they count in their order.
        let mut named: Vec<&Cover> = covers.iter().collect();
        named.sort_by_key(|cover| dot_order(&cover.accumulator));
        let mut prefix = path.as_bytes().to_vec();
        prefix.push(ACCUMULATOR);
        let origin = life.origin();
        let covered = |record: Record<'_>| {
            let Body::Accumulator(mut accumulator) = record.body else { return None };
            let name = dot_order(&record.dot);
            let first = named.partition_point(|cover| dot_order(&cover.accumulator) < name);
            let before = accumulator.covered;
            for cover in named[first..].iter().take_while(|cover| cover.accumulator == record.dot) {
                if cover.counted > accumulator.covered {
                    accumulator.cover(cover.counted, cover.total, Some(dot));
                }
            }
            let body = Body::Accumulator(accumulator);
            let new = || NewRecord::new(origin, path.as_bytes(), body, record.dot, record.hlc);
            (accumulator.covered > before).then(new)
        };
        let new: Vec<NewRecord> = life.records.range(origin, &prefix).filter_map(covered).collect();
        write(life, seed, self.ledger, new);
    }

    fn cover(&mut self, dot: Dot, cover: &Cover) {
        let Some(life) = self.object.life(&cover.life) else { return };
        let known = life.records.accumulator(life.origin(), &cover.path, cover.accumulator);
        let Some((mut accumulator, hlc)) = known.filter(|(known, _)| cover.counted > known.covered) else {
            return;
        };
        accumulator.cover(cover.counted, cover.total, Some(dot));
        self.write_accumulator(&cover.life, &cover.path, cover.accumulator, accumulator, hlc);
    }

    fn put(&mut self, dot: Dot, hlc: Hlc, id: &LifeId, puts: &[Put]) {
        let seed = self.seed(id);
        let Some(life) = self.object.life_mut(id) else { return };
        let new = new_records(life.origin(), dot, hlc, puts);
        write(life, seed, self.ledger, new.into_vec());
    }

    fn count(&mut self, dot: Dot, hlc: Hlc, id: &LifeId, increment: &Increment) {
        let Some(life) = self.object.life(id) else { return };
        let starts = increment.accumulator == dot;
        let known = life.records.accumulator(life.origin(), &increment.path, increment.accumulator);
        let accumulator = match known {
            Some((known, _)) if !starts => {
                Accumulator { counted: dot.counter, total: increment.total, ..known }
            }
            // One that is gone and goes on all the same: it was covered or folded, and a disk has come back on which there
            // was more of it. What was counted before does not count here.
            None if !starts => {
                let mut late = Accumulator::new(dot.counter, increment.total);
                late.cover(dot.counter - 1, increment.total.wrapping_sub(increment.delta), None);
                late
            }
            _ => Accumulator::new(dot.counter, increment.total),
        };
        self.write_accumulator(id, &increment.path, increment.accumulator, accumulator, hlc);
        if starts && !self.mutants.lacks(Rule::NoResidue) {
            // The owner has seen the covers of its former accumulators here: they can go everywhere.
            self.drop_residue(id, &increment.path, |name| name.actor == dot.actor && *name != dot);
        }
    }

    pub(crate) fn write_accumulator(
        &mut self,
        id: &LifeId,
        path: &Path,
        name: Dot,
        accumulator: Accumulator,
        hlc: Hlc,
    ) {
        let seed = self.seed(id);
        let Some(life) = self.object.life_mut(id) else { return };
        let body = Body::Accumulator(accumulator);
        let new = NewRecord::new(life.origin(), path.as_bytes(), body, name, hlc);
        write(life, seed, self.ledger, vec![new]);
    }

    /// Drops fully covered accumulators at one path.
    pub(crate) fn drop_residue(&mut self, id: &LifeId, path: &Path, mut of: impl FnMut(&Dot) -> bool) {
        let mut prefix = path.as_bytes().to_vec();
        prefix.push(ACCUMULATOR);
        self.drop_covered(id, &prefix, |record, _| of(&record.dot));
    }

    /// Drops those fully covered accumulators below a key for which `goes` says so. They are in no digest.
    pub(crate) fn drop_covered(
        &mut self,
        id: &LifeId,
        prefix: &[u8],
        mut goes: impl FnMut(&Record<'_>, &Accumulator) -> bool,
    ) {
        let ledger = &mut *self.ledger;
        let Some(life) = self.object.life_mut(id) else { return };
        let origin = life.origin();
        life.records.remove_range(
            origin,
            prefix,
            |record| match &record.body {
                Body::Accumulator(accumulator) => accumulator.is_covered() && goes(record, accumulator),
                _ => false,
            },
            |record| ledger.bytes -= record.bytes.len() as i64,
        );
    }

    fn drop_all_residue(&mut self) {
        let lives: Vec<LifeId> = self.object.lives.iter().map(|life| life.id).collect();
        for life in lives {
            self.drop_covered(&life, &[], |_, _| true);
        }
    }
}

fn write(life: &mut Life<'_>, seed: LifeSeed, ledger: &mut Ledger, new: Vec<NewRecord>) {
    let origin = life.origin();
    add_records(origin, seed, ledger, &new);
    life.records.insert(origin, new, |old| ledger.subtract_record(seed, old));
}

fn new_records(origin: Origin, dot: Dot, hlc: Hlc, puts: &[Put]) -> SmallVec<[NewRecord; 2]> {
    let new = |put: &Put| NewRecord::new(origin, put.path.as_bytes(), Body::of(&put.content), dot, hlc);
    puts.iter().map(new).collect()
}

fn add_records(origin: Origin, seed: LifeSeed, ledger: &mut Ledger, new: &[NewRecord]) {
    for record in new {
        record.read(origin, |record| ledger.add_record(seed, record));
    }
}

/// Whether a clear of a removal takes away this record.
fn removes(removal: &Removal, clear: &Clear, record: &Record<'_>) -> bool {
    !matches!(record.body, Body::Accumulator(_)) && removal.saw(&record.dot) && in_scope(clear, record)
}

/// The keys among which a clear finds what it removes.
pub(crate) fn scope_prefix(clear: &Clear) -> Cow<'_, [u8]> {
    let path = clear.path().as_bytes();
    match clear {
        Clear::Member { member, .. } => [path, &[MEMBER], member.as_bytes()].concat().into(),
        _ => path.into(),
    }
}

/// Whether a clear takes away this record, the author's sight aside.
pub(crate) fn in_scope(clear: &Clear, record: &Record<'_>) -> bool {
    let path = clear.path().as_bytes();
    if !record.path().starts_with(path) {
        return false;
    }
    let at = record.path_len == path.len();
    match clear {
        Clear::Subtree(_) => true,
        Clear::NonObject(_) => at && !matches!(record.body, Body::Marker),
        Clear::NonNumber { base, .. } => match record.body {
            _ if !at => true,
            Body::Accumulator(_) => false,
            Body::Register(_) => Some(record.dot) != *base,
            Body::Marker | Body::Member(_) => true,
        },
        Clear::NonSet(_) => !at || !matches!(record.body, Body::Member(_)),
        Clear::Member { member, .. } => {
            at && matches!(record.body, Body::Member(known) if known == Text::new(member))
        }
    }
}
