//! An edit in the making.
//!
//! Several path operations become one operation with one dot. They take effect one after the other on a copy of
//! the object, and what is left of them in the end is what travels.

use super::apply::{Change, in_scope, scope_prefix};
use super::command::{PathOp, Refusal, Shape};
use super::digest::Ledger;
use super::identity::{Dot, Kind, LifeId};
use super::mutant::{Mutants, Rule};
use super::object::{Life, Object, Visible};
use super::op::{Clear, Content, Cover, Edit, Increment, Put, Removal};
use super::path::Path;
use super::read::{Resolved, resolve_at};
use super::record::{ACCUMULATOR, Body, Record};
use super::time::{Hlc, UnixMillis};
use super::value::Tree;

/// What a draft is made on.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) object: &'a Object<'a>,
    pub(crate) object_hash: u64,
    /// The dot and the stamp that the operation will have.
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    pub(crate) now: UnixMillis,
    pub(crate) mutants: Mutants,
}

pub(crate) struct Draft<'a> {
    ground: Ground<'a>,
    visible: Visible<'a, 'a>,
    target: LifeId,
    clears: Vec<Clear>,
    edit: Edit,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(ground: Ground<'a>, visible: Visible<'a, 'a>, target: LifeId) -> Self {
        Self { ground, visible, target, clears: Vec::new(), edit: Edit::default() }
    }

    pub(crate) fn target(&self) -> LifeId {
        self.target
    }

    pub(crate) fn clear(&mut self, clear: Clear) {
        self.clears.push(clear);
    }

    /// A path that reads as an object loses what is hidden under that.
    fn clear_ancestor(&mut self, path: Path) {
        if !self.ground.mutants.lacks(Rule::AncestorsStay) {
            self.clear(Clear::NonObject(path));
        }
    }

    fn put(&mut self, path: &Path, content: Content) {
        self.edit.puts.push(Put { path: path.clone(), content });
    }

    fn shape(&self, path: &Path) -> Option<Shape> {
        resolve_at(&self.visible, path).shape()
    }

    /// An unleased document exists by its root's marker, so that `{}` can exist.
    pub(crate) fn mark_root(&mut self) {
        self.put(&Path::ROOT, Content::Marker);
    }

    /// Everything goes, and this tree comes.
    pub(crate) fn replace(&mut self, tree: &Tree, mark_root: bool) {
        self.clear(Clear::Subtree(Path::ROOT));
        if mark_root {
            self.mark_root();
        }
        if let Tree::Object(members) = tree {
            self.put_members(&mut Path::default(), members, true);
        }
    }

    fn put_tree(&mut self, path: &mut Path, tree: &Tree, with_nulls: bool) {
        match tree {
            Tree::Value(text) => self.put(path, Content::Register(text.clone())),
            Tree::Object(members) => {
                if members.is_empty() || !self.ground.mutants.lacks(Rule::NoMarker) {
                    self.put(path, Content::Marker);
                }
                self.put_members(path, members, with_nulls);
            }
        }
    }

    fn put_members(&mut self, path: &mut Path, members: &[(Box<str>, Tree)], with_nulls: bool) {
        for (name, value) in members {
            if with_nulls || !value.is_null() {
                let len = path.len();
                path.push(name);
                self.put_tree(path, value, with_nulls);
                path.truncate(len);
            }
        }
    }

    /// RFC 7396 against what is visible.
    pub(crate) fn merge_patch(&mut self, members: &[(Box<str>, Tree)]) {
        self.merge_members(&mut Path::default(), members);
    }

    fn merge_members(&mut self, path: &mut Path, members: &[(Box<str>, Tree)]) {
        for (name, value) in members {
            let len = path.len();
            path.push(name);
            match value {
                Tree::Object(members) if self.shape(path) == Some(Shape::Object) => {
                    self.clear_ancestor(path.clone());
                    self.mark(path);
                    self.merge_members(path, members);
                }
                value => {
                    self.clear(Clear::Subtree(path.clone()));
                    if !value.is_null() {
                        self.put_tree(path, value, false);
                    }
                }
            }
            path.truncate(len);
        }
    }

    /// Puts a marker at a path that reads as an object and has none.
    pub(crate) fn mark(&mut self, path: &Path) {
        if self.ground.mutants.lacks(Rule::NoMarker) {
            return;
        }
        let marked = self.visible.iter().any(|life| {
            life.records
                .range(life.origin(), path.as_bytes())
                .take_while(|record| record.path_len == path.len())
                .any(|record| record.body == Body::Marker)
        });
        if !marked {
            self.put(path, Content::Marker);
        }
    }

    /// Path operations, one after the other.
    pub(crate) fn path_ops(&mut self, kind: Kind, ops: &[PathOp]) -> Result<(), Refusal> {
        match (kind, ops) {
            (Kind::Set, ops) => self.set_ops(ops),
            (_, [op]) => self.path_op(kind, op, 0),
            (_, ops) => self.sequence(kind, ops),
        }
    }

    /// A set's root is nothing but a set: no shapes to clear, and of one member the last word counts.
    fn set_ops(&mut self, ops: &[PathOp]) -> Result<(), Refusal> {
        let mut last = std::collections::BTreeMap::new();
        for op in ops {
            match op {
                PathOp::Add { path, member } if path.is_empty() => last.insert(member, true),
                PathOp::Remove { path, member } if path.is_empty() => last.insert(member, false),
                _ => return Err(Refusal::WrongKind),
            };
        }
        for (member, add) in last {
            self.clear(Clear::Member { path: Path::ROOT, member: member.clone() });
            if add {
                self.put(&Path::ROOT, Content::Member(member.clone()));
            }
        }
        Ok(())
    }

    fn path_op(&mut self, kind: Kind, op: &PathOp, at: usize) -> Result<(), Refusal> {
        if kind == Kind::Counter && !matches!(op, PathOp::Increment { path, .. } if path.is_empty()) {
            return Err(Refusal::WrongKind);
        }
        if matches!(kind, Kind::Session | Kind::Document) && op.path().is_empty() {
            return Err(Refusal::WrongShape { at, found: Shape::Object });
        }
        match op {
            PathOp::Set { path, value } => {
                self.open_ancestors(path);
                self.clear(Clear::Subtree(path.clone()));
                self.put_tree(&mut path.clone(), value, true);
            }
            PathOp::Unset { path } => self.unset(path),
            PathOp::Increment { path, by } => self.increment(path, *by, at)?,
            PathOp::Add { path, member } => self.add(path, member, at)?,
            PathOp::Remove { path, member } => self.remove(path, member, at)?,
        }
        Ok(())
    }

    /// Makes every proper ancestor an object, as the author will read it.
    fn open_ancestors(&mut self, path: &Path) {
        for above in path.proper_ancestors() {
            if self.shape(&above) == Some(Shape::Object) {
                self.clear_ancestor(above.clone());
                self.mark(&above);
            } else {
                self.clear(Clear::Subtree(above.clone()));
                self.put(&above, Content::Marker);
            }
        }
    }

    fn unset(&mut self, path: &Path) {
        for above in path.proper_ancestors() {
            match self.shape(&above) {
                Some(Shape::Object) => {
                    self.clear_ancestor(above.clone());
                    self.mark(&above);
                }
                // Nothing to remove below a value.
                _ => return,
            }
        }
        self.clear(Clear::Subtree(path.clone()));
    }

    fn expect_shape(&self, path: &Path, wanted: Shape, at: usize) -> Result<(), Refusal> {
        for above in path.proper_ancestors() {
            if let Some(found) = self.shape(&above).filter(|shape| *shape != Shape::Object) {
                return Err(Refusal::WrongShape { at, found });
            }
        }
        match self.shape(path) {
            None => Ok(()),
            Some(found) if found == wanted => Ok(()),
            Some(found) => Err(Refusal::WrongShape { at, found }),
        }
    }

    fn increment(&mut self, path: &Path, by: i64, at: usize) -> Result<(), Refusal> {
        self.expect_shape(path, Shape::Number, at)?;
        let overflow = Refusal::Overflow { at };
        let (base, value) = match resolve_at(&self.visible, path) {
            Resolved::Number(base, value) => (base, value),
            _ => (None, 0),
        };
        i64::try_from(value + i128::from(by)).map_err(|_| overflow.clone())?;
        self.open_ancestors(path);
        self.clear(Clear::NonNumber { path: path.clone(), base });
        let (accumulator, total) = match self.own_accumulator(path) {
            Some((name, total)) => (name, total.checked_add(by).ok_or(overflow)?),
            None => (self.ground.dot, by),
        };
        self.edit.increments.push(Increment { path: path.clone(), accumulator, delta: by, total });
        Ok(())
    }

    /// This replica's accumulator that still counts. A covered one is not continued: others may have dropped it.
    fn own_accumulator(&self, path: &Path) -> Option<(Dot, i64)> {
        let mut key = path.as_bytes().to_vec();
        key.push(ACCUMULATOR);
        let life = self.ground.object.life(&self.target)?;
        life.records.range(life.origin(), &key).find_map(|record| match &record.body {
            Body::Accumulator(known) if record.dot.actor == self.ground.dot.actor && !known.is_covered() => {
                Some((record.dot, known.total))
            }
            _ => None,
        })
    }

    fn add(&mut self, path: &Path, member: &str, at: usize) -> Result<(), Refusal> {
        self.expect_shape(path, Shape::Set, at)?;
        self.open_ancestors(path);
        self.clear(Clear::NonSet(path.clone()));
        self.clear(Clear::Member { path: path.clone(), member: member.into() });
        self.put(path, Content::Member(member.into()));
        Ok(())
    }

    fn remove(&mut self, path: &Path, member: &str, at: usize) -> Result<(), Refusal> {
        self.expect_shape(path, Shape::Set, at)?;
        if self.shape(path).is_some() {
            // As with a value that is taken away: nothing hidden may show when the last member is gone.
            self.open_ancestors(path);
            self.clear(Clear::NonSet(path.clone()));
            self.clear(Clear::Member { path: path.clone(), member: member.into() });
        }
        Ok(())
    }

    /// Runs operations on a copy, one by one, and keeps what is left of them.
    fn sequence(&mut self, kind: Kind, ops: &[PathOp]) -> Result<(), Refusal> {
        let mut copy = self.ground.object.clone();
        if self.target == self.ground.dot && copy.life(&self.ground.dot).is_none() {
            let barriers: Vec<Dot> = copy.barriers().iter().map(|(barrier, _)| *barrier).collect();
            copy.add_life(Life::new(self.ground.dot, self.ground.hlc, super::op::Lease::FOREVER, &barriers));
        }
        for (at, op) in ops.iter().enumerate() {
            let mut step = self.step_on(&copy);
            step.path_op(kind, op, at)?;
            let clears = step.clears.clone();
            let edit = step.finish();
            let mut ledger = Ledger::default();
            let mut change = Change {
                object: &mut copy,
                object_hash: self.ground.object_hash,
                ledger: &mut ledger,
                mutants: Mutants::NONE,
            };
            change.edit(self.ground.dot, self.ground.hlc, &self.target, &edit);
            self.absorb(clears, edit).ok_or(Refusal::Overflow { at })?;
        }
        Ok(())
    }

    fn step_on<'b>(&self, copy: &'b Object<'b>) -> Draft<'b> {
        let ground = Ground { object: copy, ..self.ground };
        Draft::new(ground, copy.visible(self.ground.now), self.target)
    }

    /// Adds a later step's edit: what it removes of this operation's own goes here and now.
    /// `None` when what is counted in one operation leaves 64 bits.
    fn absorb(&mut self, clears: Vec<Clear>, step: Edit) -> Option<()> {
        self.edit.puts.retain(|put| !clears.iter().any(|clear| put.is_in(clear, self.ground.dot)));
        for cover in &step.removal.covers {
            self.edit
                .increments
                .retain(|known| known.path != cover.path || known.accumulator != cover.accumulator);
        }
        for clear in clears {
            if !self.clears.contains(&clear) {
                self.clears.push(clear);
            }
        }
        self.edit.puts.extend(step.puts);
        for increment in step.increments {
            let same = |known: &&mut Increment| {
                known.path == increment.path && known.accumulator == increment.accumulator
            };
            match self.edit.increments.iter_mut().find(same) {
                Some(known) => {
                    known.delta = known.delta.checked_add(increment.delta)?;
                    known.total = increment.total;
                }
                None => self.edit.increments.push(increment),
            }
        }
        Some(())
    }

    /// The edit, with what it removes named from what is stored now.
    pub(crate) fn finish(mut self) -> Edit {
        self.edit.removal = self.removal(|_| true);
        self.edit
    }

    /// Only the removal, and only from lives without a lease.
    pub(crate) fn finish_outside_leases(self) -> Removal {
        self.removal(|life| !life.is_leased())
    }

    /// Scopes that hold nothing are left out: what is not stored here was removed in this operation's past.
    fn removal(&self, of: impl Fn(&Life<'_>) -> bool) -> Removal {
        let mut removal = Removal::default();
        for clear in &self.clears {
            let prefix = scope_prefix(clear);
            // Scopes overlap, and in one scope a record stands once.
            let elsewhere = removal.covers.len();
            let mut found = false;
            for life in self.ground.object.lives.iter().filter(|life| of(life)) {
                let records = life.records.range(life.origin(), &prefix);
                for record in records.filter(|record| in_scope(clear, record)) {
                    found |= remember(&mut removal, elsewhere, life, &record);
                }
            }
            if found {
                removal.clears.push(clear.clone());
            }
        }
        removal
    }
}

/// Names one record in a removal, of whose covers so many are of other scopes. Gives whether it takes a clear to remove it.
fn remember(removal: &mut Removal, elsewhere: usize, life: &Life<'_>, record: &Record<'_>) -> bool {
    if let Body::Accumulator(accumulator) = &record.body {
        if !accumulator.is_covered() {
            let Ok(path) = Path::from_encoded(record.path()) else { return false };
            let cover = Cover {
                life: life.id,
                path,
                accumulator: record.dot,
                counted: accumulator.counted,
                total: accumulator.total,
            };
            if !removal.covers.iter().take(elsewhere).any(|known| *known == cover) {
                removal.covers.push(cover);
            }
        }
        return false;
    }
    match removal.seen.iter_mut().find(|seen| seen.actor == record.dot.actor) {
        Some(seen) => seen.counter = seen.counter.max(record.dot.counter),
        None => removal.seen.push(record.dot),
    }
    true
}

impl PathOp {
    /// Where it acts.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Set { path, .. } | Self::Unset { path } | Self::Increment { path, .. } => path,
            Self::Add { path, .. } | Self::Remove { path, .. } => path,
        }
    }
}

impl Put {
    /// Bytes it takes in store, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Register(text) => text.as_str().len(),
            Content::Marker => 0,
            Content::Member(member) => member.len(),
        };
        self.path.len() + content + 4
    }

    /// Whether a clear takes it away again.
    fn is_in(&self, clear: &Clear, dot: Dot) -> bool {
        let origin = super::record::Origin { life: dot, created: Hlc(0) };
        let mut is_in = false;
        super::record::NewRecord::new(origin, self.path.as_bytes(), Body::of(&self.content), dot, Hlc(0))
            .read(origin, |record| is_in = in_scope(clear, record));
        is_in
    }
}
