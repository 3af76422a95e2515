//! A clock of one shard: how far it has got with each author.
//!
//! What is said here is what a plain map from author to counter says, whatever of it stands in the table of the past that it
//! leans on: [`crdts::VClock`] is the oracle in the tests. Nobody who reads or compares clocks can tell the difference but
//! by memory and time. It travels and is saved as the plain map.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::counters::Counters;
use super::identity::{Dot, ReplicaId, ShardId};
use super::limits::CLOCK_IDS_MAX;
use super::past::Past;

/// Replica id → highest applied sequence, without holes.
#[derive(Clone, Default)]
pub struct Clock {
    /// All that is not in the past, and what is further than it is there.
    dots: Counters,
    /// This clock is at least as far as this table's row for its shard says.
    base: Option<Base>,
}

#[derive(Clone)]
struct Base {
    past: Arc<Past>,
    shard: ShardId,
}

impl Base {
    fn counter(&self, actor: ReplicaId) -> u64 {
        self.past.counter(actor, self.shard)
    }

    fn extends_to(&self, past: &Past, shard: ShardId) -> bool {
        self.shard == shard && past.extends(&self.past)
    }

    /// What leans on this has all that leans on the other one counts on.
    fn extends(&self, other: &Self) -> bool {
        self.shard == other.shard && (Arc::ptr_eq(&self.past, &other.past) || self.past.extends(&other.past))
    }
}

impl Clock {
    /// How far it has got with this author; 0 where it has nothing of it.
    #[must_use]
    pub fn get(&self, actor: &ReplicaId) -> u64 {
        match (self.dots.get(actor), &self.base) {
            (Some(counter), _) => counter,
            (None, Some(base)) => base.counter(*actor),
            (None, None) => 0,
        }
    }

    /// It has nothing of anyone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// With how many authors it has got anywhere.
    #[must_use]
    pub fn len(&self) -> usize {
        if self.base.is_some() { self.iter().count() } else { self.dots.len() }
    }

    /// How many of them it names itself: what it takes of memory beside the past.
    #[must_use]
    pub fn named(&self) -> usize {
        self.dots.len()
    }

    /// Something has come of a process that was over.
    #[cfg(any(test, feature = "mutants"))]
    #[must_use]
    pub fn exceeds_past(&self) -> bool {
        self.base.as_ref().is_some_and(|base| self.names().any(|actor| base.counter(actor) > 0))
    }

    /// The authors that it names itself.
    pub(crate) fn names(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.dots.iter().map(|(actor, _)| actor)
    }

    /// Every author and how far it has got with it, in the order of ids.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.both(true)
    }

    fn both(&self, with_past: bool) -> impl Iterator<Item = Dot> + '_ {
        let base = self.base.as_ref().filter(|_| with_past);
        let past = base.into_iter().flat_map(|base| base.past.iter(base.shard));
        Merged { dots: self.dots.iter().peekable(), past: past.peekable() }
    }

    /// What it has and another lacks, in the order of ids: of each author the last that it has.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Dot> + 'a {
        let all = self.both(!other.has_base_of(self));
        all.filter(|dot| dot.counter > other.get(&dot.actor))
    }

    /// It is at least as far as another, with every author.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.beyond(self).next().is_none()
    }

    /// It leans on all that the other one leans on.
    fn has_base_of(&self, other: &Self) -> bool {
        match (&self.base, &other.base) {
            (_, None) => true,
            (Some(ours), Some(theirs)) => ours.extends(theirs),
            (None, Some(_)) => false,
        }
    }

    /// Has got this far with its author, if it was not. Gives whether it was not.
    pub fn raise(&mut self, dot: Dot) -> bool {
        let higher = dot.counter > self.get(&dot.actor);
        if higher {
            self.dots.insert(dot.actor, dot.counter);
        }
        higher
    }

    /// Has got this far with their authors, where it was not. They come in the order of ids, each once.
    pub(crate) fn raise_all(&mut self, dots: impl IntoIterator<Item = Dot>) {
        let higher = dots.into_iter().filter(|dot| dot.counter > self.get(&dot.actor));
        let higher: SmallVec<[(ReplicaId, u64); 4]> = higher.map(|dot| (dot.actor, dot.counter)).collect();
        self.dots.insert_all(&higher);
    }

    /// Whether it takes no operation of this author, for all those that it names.
    pub(crate) fn has_no_room_for(&self, actor: &ReplicaId) -> bool {
        let at_most = self.dots.len() + self.base.as_ref().map_or(0, |base| base.past.len());
        at_most >= CLOCK_IDS_MAX && self.get(actor) == 0 && self.len() >= CLOCK_IDS_MAX
    }

    /// Whether all that another one names has room beside what it names.
    pub(crate) fn has_room_for_all(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.len(), other.len());
        let more = || other.iter().filter(|dot| self.get(&dot.actor) == 0).count();
        ours + theirs <= CLOCK_IDS_MAX || ours + more() <= CLOCK_IDS_MAX.max(ours)
    }

    /// Has got as far as this with an author, wherever it was.
    pub fn set(&mut self, actor: ReplicaId, counter: u64) {
        if self.base.as_ref().is_some_and(|base| counter < base.counter(actor)) {
            self.stand_alone();
        }
        match self.base.as_ref().map_or(0, |base| base.counter(actor)) == counter {
            true => self.dots.remove(&actor),
            false => self.dots.insert(actor, counter),
        };
    }

    /// Nothing of this author.
    pub fn remove(&mut self, actor: &ReplicaId) {
        self.set(*actor, 0);
    }

    /// Is no further than another, with any author.
    pub(crate) fn lower_to(&mut self, other: &Self) {
        if !other.has_base_of(self) {
            self.stand_alone();
        }
        let base = &self.base;
        self.dots.retain(|actor, counter| {
            *counter = (*counter).min(other.get(&actor));
            *counter > base.as_ref().map_or(0, |base| base.counter(actor))
        });
    }

    /// Names everything itself.
    fn stand_alone(&mut self) {
        if self.base.is_some() {
            self.dots = self.iter().map(|dot| (dot.actor, dot.counter)).collect();
            self.base = None;
        }
    }

    /// Whether it could lean on this past and does not.
    pub(crate) fn may_lean_on(&self, past: &Past, shard: ShardId) -> bool {
        let first = match &self.base {
            Some(base) if std::ptr::eq(&raw const *base.past, &raw const *past) => return false,
            Some(base) if base.extends_to(past, shard) => base.past.len(),
            _ => 0,
        };
        past.since(first, shard).all(|(actor, counter)| self.get(&actor) >= counter)
    }

    /// Leans on the past as far as it can: not where it is behind it. Says the same as before.
    pub(crate) fn lean_on(&mut self, past: &Arc<Past>, shard: ShardId) {
        if !self.may_lean_on(past, shard) {
            return;
        }
        if self.base.as_ref().is_some_and(|base| !base.extends_to(past, shard)) {
            self.stand_alone();
        }
        // In one pass: to take out one after the other moves all that follow each time.
        self.dots.retain(|actor, counter| *counter != past.counter(actor, shard));
        self.base = Some(Base { past: Arc::clone(past), shard });
    }
}

/// What is named and what is past, in the order of ids. What is named counts.
struct Merged<N: Iterator<Item = (ReplicaId, u64)>, P: Iterator<Item = (ReplicaId, u64)>> {
    dots: Peekable<N>,
    past: Peekable<P>,
}

impl<N, P> Iterator for Merged<N, P>
where
    N: Iterator<Item = (ReplicaId, u64)>,
    P: Iterator<Item = (ReplicaId, u64)>,
{
    type Item = Dot;

    fn next(&mut self) -> Option<Dot> {
        let named = self.dots.peek().map(|(actor, _)| *actor);
        let past = self.past.peek().map(|(actor, _)| *actor);
        match (named, past) {
            (Some(named), Some(past)) if past < named => self.past.next().map(Dot::from),
            (None, _) => self.past.next().map(Dot::from),
            (Some(named), past) => {
                if past == Some(named) {
                    self.past.next();
                }
                self.dots.next().map(Dot::from)
            }
        }
    }
}

impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        self.covers(other) && other.covers(self)
    }
}

impl Eq for Clock {}

impl PartialOrd for Clock {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl FromIterator<Dot> for Clock {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut clock = Self::default();
        for dot in dots {
            clock.raise(dot);
        }
        clock
    }
}

impl From<BTreeMap<ReplicaId, u64>> for Clock {
    fn from(dots: BTreeMap<ReplicaId, u64>) -> Self {
        Self { dots: dots.into_iter().collect(), base: None }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<")?;
        for (place, Dot { actor, counter }) in self.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{actor}:{counter}")?;
        }
        f.write_str(">")
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Clock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for Dot { actor, counter } in self.iter() {
            map.serialize_entry(&actor, &counter)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
