//! What a shard must hold, computed from the set of the operations within its clock.
//!
//! No order of application, no clock comparison, no `seen`, no accumulators, no merge: each operation comes with
//! everything its author had applied, and an entry is removed when some operation that had it in its history
//! clears the place where it stands. One comparison with this covers convergence, "applied one by one equals
//! merged as state", exact counters, no lost update, and that what was destroyed stays destroyed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::contents::{DotKey, EntryKey, LifeContents, ObjectContents};
use crate::core::identity::{Clock, Dot, LifeId, ObjectId, ReplicaId, UNLEASED, dot_order};
use crate::core::op::{Action, Clear, Content, Edit, Fold, Increment, Lease, Op, Removal};
use crate::core::path::Path;
use crate::core::time::{Hlc, UnixMillis};

/// An operation and everything its author had applied before it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The operation.
    pub op: Arc<Op>,
    /// Its full causal history. It does not travel; whoever drives the replicas writes it down.
    pub history: Clock,
}

/// What one entry holds, in a form that sorts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A JSON value, as text.
    Register(String),
    /// "This is an object".
    Marker,
    /// A member of a set.
    Member(String),
}

impl From<&Content> for Slot {
    fn from(content: &Content) -> Self {
        match content {
            Content::Register(text) => Self::Register(text.as_str().to_owned()),
            Content::Marker => Self::Marker,
            Content::Member(member) => Self::Member(member.to_string()),
        }
    }
}

/// One object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its lives, the expired and the hidden among them.
    pub lives: BTreeMap<DotKey, Life>,
    /// Its barriers, and until when each hides.
    pub barriers: BTreeMap<DotKey, Hlc>,
}

/// One life of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was created.
    pub created: Hlc,
    /// The barriers its creator knew.
    pub barriers_seen: BTreeSet<DotKey>,
    /// Its deadlines.
    pub lease: Lease,
    /// What is written in it.
    pub entries: BTreeMap<(Path, Slot, DotKey), Hlc>,
    /// What is counted in it.
    pub counts: BTreeMap<Path, Count>,
}

/// The increments at one path that no reset has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Their sum.
    pub sum: i128,
    /// The latest of them, and the accumulator it went to: what a reader ranks the counter by.
    pub latest: (Hlc, DotKey),
}

impl Object {
    /// What of this a shard stores, in the form in which it says so.
    #[must_use]
    pub fn stored(&self) -> ObjectContents {
        let lives = self.lives.iter().map(|(id, life)| (*id, life.stored())).collect();
        ObjectContents { lives, barriers: self.barriers.clone() }
    }
}

impl Life {
    fn stored(&self) -> LifeContents {
        let entries = self.entries.iter().map(|((path, slot, dot), hlc)| {
            let content = match slot {
                Slot::Register(text) => format!("={text}"),
                Slot::Marker => String::new(),
                Slot::Member(member) => format!("+{member}"),
            };
            (EntryKey { path: path.clone(), content, dot: *dot }, *hlc)
        });
        let counts = self.counts.iter().map(|(path, count)| (path.clone(), count.sum));
        LifeContents { lease: self.lease, entries: entries.collect(), counts: counts.collect() }
    }

    fn new(created: Hlc, barriers_seen: &[Dot], lease: Lease) -> Self {
        Self {
            created,
            barriers_seen: barriers_seen.iter().map(dot_order).collect(),
            lease,
            entries: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.counts.is_empty()
    }
}

/// What a shard holds that has applied exactly these operations. Objects of which nothing is left do not appear,
/// and neither does the life of an unleased object with nothing in it.
pub fn contents<'a>(known: impl IntoIterator<Item = &'a Known>) -> BTreeMap<ObjectId, Object> {
    let mut by_object: BTreeMap<&ObjectId, Vec<&Known>> = BTreeMap::new();
    for one in known {
        by_object.entry(&one.op.object).or_default().push(one);
    }
    by_object
        .into_iter()
        .map(|(id, ops)| (id.clone(), object(&ops)))
        .filter(|(_, object)| !object.lives.is_empty() || !object.barriers.is_empty())
        .collect()
}

fn object(ops: &[&Known]) -> Object {
    let mut lives = living(ops);
    for known in ops {
        extend(&mut lives, &known.op.action);
        if let Some((life_id, edit)) = addition(&known.op)
            && let Some(life) = lives.get_mut(&dot_order(&life_id))
        {
            add(life, life_id, &known.op, edit, ops);
        }
    }
    lives.retain(|id, life| *id != dot_order(&UNLEASED) || !life.is_empty());
    Object { lives, barriers: barriers(ops) }
}

/// Lives that were created and that nobody has ended: a death counts whatever else was seen or not seen.
fn living(ops: &[&Known]) -> BTreeMap<DotKey, Life> {
    let mut lives = BTreeMap::from([(dot_order(&UNLEASED), Life::new(Hlc(0), &[], Lease::FOREVER))]);
    for known in ops {
        if let Action::Create { lease, barriers_seen, .. } = &known.op.action {
            lives.insert(dot_order(&known.op.dot), Life::new(known.op.hlc, barriers_seen, *lease));
        }
    }
    for known in ops {
        if let Action::Create { kills: dead, .. } | Action::Destroy { lives: dead, .. } = &known.op.action {
            for life in dead {
                lives.remove(&dot_order(life));
            }
        }
    }
    lives
}

fn barriers(ops: &[&Known]) -> BTreeMap<DotKey, Hlc> {
    let mut barriers = BTreeMap::new();
    for known in ops {
        if let Action::Barrier { until } = known.op.action {
            barriers.insert(dot_order(&known.op.dot), until);
        }
    }
    for known in ops {
        if let Action::Unbarrier { barriers: gone } = &known.op.action {
            for barrier in gone {
                barriers.remove(&dot_order(barrier));
            }
        }
    }
    barriers
}

fn extend(lives: &mut BTreeMap<DotKey, Life>, action: &Action) {
    let mut extend = |life: &LifeId, idle: UnixMillis| {
        if let Some(life) = lives.get_mut(&dot_order(life)) {
            life.lease.idle = life.lease.idle.max(idle);
        }
    };
    match action {
        Action::Touch { lives, idle } => lives.iter().for_each(|life| extend(life, *idle)),
        Action::Edit { life, idle: Some(idle), .. } => extend(life, *idle),
        _ => {}
    }
}

fn addition(op: &Op) -> Option<(LifeId, &Edit)> {
    match &op.action {
        Action::Create { edit, .. } => Some((op.dot, edit)),
        Action::Edit { life, edit, .. } => Some((*life, edit)),
        _ => None,
    }
}

fn removal(op: &Op) -> Option<&Removal> {
    match &op.action {
        Action::Destroy { removal, .. } => Some(removal),
        _ => addition(op).map(|(_, edit)| &edit.removal),
    }
}

fn add(life: &mut Life, id: LifeId, op: &Op, edit: &Edit, ops: &[&Known]) {
    let dot = dot_order(&op.dot);
    for put in &edit.puts {
        let slot = Slot::from(&put.content);
        if !removed(&op.dot, &put.path, Target::Entry(&slot), ops) {
            life.entries.insert((put.path.clone(), slot, dot), op.hlc);
        }
    }
    for increment in &edit.increments {
        let covered = covered(&op.dot, dot_order(&id), increment, ops);
        if covered || removed(&op.dot, &increment.path, Target::Counted, ops) {
            continue;
        }
        let latest = (op.hlc, dot_order(&increment.accumulator));
        let count = life.counts.entry(increment.path.clone()).or_insert(Count { sum: 0, latest });
        count.sum += i128::from(increment.delta);
        count.latest = count.latest.max(latest);
    }
}

/// Whether an operation that had the increment in its history names it as seen. An author leaves out a scope in
/// which only counters go, and names these instead.
fn covered(dot: &Dot, life: DotKey, increment: &Increment, ops: &[&Known]) -> bool {
    ops.iter().filter(|later| later.history.get(&dot.actor) >= dot.counter).any(|later| {
        removal(&later.op).is_some_and(|removal| {
            let names = |accumulator: Dot, counter: u64| {
                removal.covers.iter().any(|cover| {
                    dot_order(&cover.life) == life
                        && cover.path == increment.path
                        && cover.accumulator == accumulator
                        && cover.counted >= counter
                })
            };
            let folds = folds(life, &increment.path, &later.history, ops);
            stand_for(increment.accumulator, dot.counter, &folds).any(|(name, counter)| names(name, counter))
        })
    })
}

/// The folds at a path that somebody with this history has seen.
fn folds<'a>(life: DotKey, path: &Path, history: &Clock, ops: &[&'a Known]) -> Vec<&'a Fold> {
    let seen = ops.iter().filter(|known| history.get(&known.op.dot.actor) >= known.op.dot.counter);
    let folds = seen.filter_map(|known| match &known.op.action {
        Action::Fold(fold) => Some(&**fold),
        _ => None,
    });
    folds.filter(|fold| dot_order(&fold.life) == life && fold.path == *path).collect()
}

/// A fold takes nothing away and adds nothing. But whoever has seen it names one accumulator for all that went into it.
fn stand_for(name: Dot, counter: u64, folds: &[&Fold]) -> impl Iterator<Item = (Dot, u64)> {
    let mut names = vec![(name, counter)];
    let mut at = 0;
    while let Some((name, counter)) = names.get(at).copied() {
        at += 1;
        for fold in folds {
            let goes = fold.from.iter().any(|folded| folded.name == name && folded.counted >= counter);
            let stays = (fold.into, fold.counted);
            if goes && !names.contains(&stays) {
                names.push(stays);
            }
        }
    }
    names.into_iter()
}

/// What may be in the scope of a removal.
#[derive(Clone, Copy)]
enum Target<'a> {
    Entry(&'a Slot),
    Counted,
}

/// Whether an operation that had `dot` in its history clears the place.
fn removed(dot: &Dot, path: &Path, target: Target<'_>, ops: &[&Known]) -> bool {
    ops.iter().any(|later| {
        later.history.get(&dot.actor) >= dot.counter
            && removal(&later.op)
                .is_some_and(|removal| removal.clears.iter().any(|clear| selects(clear, dot, path, target)))
    })
}

fn selects(clear: &Clear, dot: &Dot, path: &Path, target: Target<'_>) -> bool {
    let Some(depth) = depth_below(path, clear.path()) else { return false };
    if depth > 0 {
        return matches!(clear, Clear::Subtree(_) | Clear::NonNumber { .. } | Clear::NonSet(_));
    }
    match (clear, target) {
        (Clear::Subtree(_), _) => true,
        (Clear::NonObject(_), Target::Entry(slot)) => *slot != Slot::Marker,
        (Clear::NonObject(_), Target::Counted) => true,
        (Clear::NonNumber { base, .. }, Target::Entry(Slot::Register(_))) => base.as_ref() != Some(dot),
        (Clear::NonNumber { .. }, Target::Entry(_)) => true,
        (Clear::NonNumber { .. }, Target::Counted) => false,
        (Clear::NonSet(_), Target::Entry(slot)) => !matches!(slot, Slot::Member(_)),
        (Clear::NonSet(_), Target::Counted) => true,
        (Clear::Member { member, .. }, Target::Entry(Slot::Member(other))) => **member == **other,
        (Clear::Member { .. }, _) => false,
    }
}

/// How many levels `path` stands below `top`; `None` when it does not.
fn depth_below(path: &Path, top: &Path) -> Option<usize> {
    let mut names = path.segments();
    for name in top.segments() {
        if names.next()? != name {
            return None;
        }
    }
    Some(names.count())
}

/// The operations that no other of these had in its history.
pub fn frontier<'a>(known: impl IntoIterator<Item = &'a Known> + Clone) -> BTreeSet<DotKey> {
    let mut seen: BTreeMap<ReplicaId, u64> = BTreeMap::new();
    for one in known.clone() {
        for dot in one.history.iter() {
            let latest = seen.entry(dot.actor).or_default();
            *latest = (*latest).max(dot.counter);
        }
    }
    known
        .into_iter()
        .map(|one| dot_order(&one.op.dot))
        .filter(|(author, sequence)| seen.get(author).is_none_or(|latest| latest < sequence))
        .collect()
}
