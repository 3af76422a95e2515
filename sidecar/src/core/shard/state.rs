//! A shard, whole: as it travels, and the join with one.
//!
//! All of it or nothing: a part joined under the whole clock would count as removal of the rest (semantics
//! finding 20).

use std::collections::BTreeMap;
use std::fmt;

use crdts::CvRDT;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Shard;
use super::outlook::Outlook;
use crate::core::digest::Ledger;
use crate::core::identity::{Clock, Dot, ObjectId, ReplicaId, ShardId};
use crate::core::merge::Join;
use crate::core::mutant::Rule;
use crate::core::object::Object;
use crate::core::objects::Objects;
use crate::core::packed::{NewOp, encode};
use crate::core::stored::Stored;
use crate::core::time::Hlc;

/// A shard, whole, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    /// The shard.
    pub shard: ShardId,
    /// The clock it was read under.
    pub clock: Clock,
    /// Nothing: its place in the encoding, where a protocol that was given up would have named replica ids.
    retired: Vec<Dot>,
    frontier: Vec<Dot>,
    latest: Hlc,
    objects: Vec<Stored>,
    pub(super) content_sum: u128,
}

/// A state that no honest node sends: it does not parse, or its digest does not fit its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedState;

impl fmt::Display for MalformedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shard state is malformed")
    }
}

impl std::error::Error for MalformedState {}

/// What a merge did.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// Objects whose content is another now.
    pub changed: Vec<ObjectId>,
    /// Authors whose operations came with it, and up to where.
    pub raised: Vec<Dot>,
    /// Operations that had waited for it.
    pub applied: Vec<NewOp>,
}

impl Shard {
    /// The whole shard as it travels.
    #[must_use]
    pub fn state(&self) -> ShardState {
        ShardState {
            shard: self.id,
            clock: self.clock.clone(),
            retired: Vec::new(),
            frontier: self.frontier().collect(),
            latest: self.latest,
            objects: self.objects.iter().cloned().collect(),
            content_sum: self.content_sum,
        }
    }

    /// Joins this shard with another's state: all of it or nothing.
    ///
    /// # Errors
    /// When the state is not one that an honest node sends, or names more processes than have room in a clock.
    pub fn merge_state(&mut self, state: ShardState) -> Result<Merged, MalformedState> {
        let Some(totals) = state.totals(self.fold_min()).filter(|_| state.shard == self.id) else {
            return Err(MalformedState);
        };
        if !self.clock.has_room_for_all(&state.clock) {
            return Err(MalformedState);
        }
        let mut merged = Merged::default();
        let they_have = |dot: &Dot| dot.counter <= state.clock.get(&dot.actor);
        self.revisions.all_changed();
        if self.is_untouched() {
            self.take_over(state.objects, totals, &mut merged);
        } else {
            self.merge_objects(state.objects, &they_have, &mut merged);
        }
        self.merge_frontier(&state.frontier, &they_have);
        self.latest = self.latest.max(state.latest);
        merged.raised = state.clock.beyond(&self.clock).collect();
        self.raise_all(&merged.raised);
        if !self.mutants.lacks(Rule::LogKeepsHole) {
            self.log.restart(&merged.raised);
        }
        #[cfg(any(test, feature = "mutants"))]
        for dot in &merged.raised {
            self.rebuilt.remove(&dot.actor);
        }
        self.drain(&mut merged.applied);
        Ok(merged)
    }

    /// Takes a state over into an empty shard.
    pub(super) fn adopt(&mut self, state: ShardState) -> Result<(), MalformedState> {
        let Some(totals) = state.totals(self.fold_min()).filter(|_| state.shard == self.id) else {
            return Err(MalformedState);
        };
        self.take_over(state.objects, totals, &mut Merged::default());
        let raised: Vec<Dot> = state.clock.iter().collect();
        self.raise_all(&raised);
        self.frontier = state.frontier.into_iter().map(|dot| (dot.actor, dot.counter)).collect();
        self.latest = state.latest;
        self.log.restart(&raised);
        Ok(())
    }

    /// Nothing has ever been applied here: a join with this gives the other side.
    fn is_untouched(&self) -> bool {
        self.clock.is_empty() && self.objects.len() == 0
    }

    fn take_over(&mut self, theirs: Vec<Stored>, totals: Totals, merged: &mut Merged) {
        self.book(&totals.sums);
        self.key_bytes = theirs.iter().map(|stored| stored.key().len() as u64).sum();
        self.residue.extend(totals.residue);
        totals.crowded.into_iter().for_each(|id| self.note_crowded(id));
        merged.changed.extend(theirs.iter().map(Stored::id));
        self.objects = Objects::of(theirs);
        self.outlook = totals.outlook;
        self.is_folded |= totals.folded;
    }

    fn merge_objects(&mut self, theirs: Vec<Stored>, they_have: &dyn Fn(&Dot) -> bool, merged: &mut Merged) {
        let mut theirs: BTreeMap<ObjectId, Stored> =
            theirs.into_iter().map(|stored| (stored.id(), stored)).collect();
        let mut joined = Vec::new();
        self.outlook = Outlook::NOTHING;
        let ours = std::mem::take(&mut self.objects);
        for our in ours.iter() {
            let id = our.id();
            let their = theirs.remove(&id);
            let other = their.as_ref().map(Stored::object).unwrap_or_default();
            joined.extend(self.join_object(&id, &our.object(), &other, they_have, merged));
        }
        for (id, their) in theirs {
            joined.extend(self.join_object(&id, &Object::default(), &their.object(), they_have, merged));
        }
        self.key_bytes = joined.iter().map(|stored| stored.key().len() as u64).sum();
        self.objects = Objects::of(joined);
    }

    fn join_object(
        &mut self,
        id: &ObjectId,
        ours: &Object<'_>,
        theirs: &Object<'_>,
        they_have: &dyn Fn(&Dot) -> bool,
        merged: &mut Merged,
    ) -> Option<Stored> {
        let join = Join { ours: &|dot| self.has(dot), theirs: they_have, mutants: self.mutants };
        let joined = join.objects(ours, theirs);
        self.outlook.note(&joined);
        if joined != *ours {
            let hash = id.hash();
            let (before, after) = (ours.sums(hash), joined.sums(hash));
            self.book(&Ledger { content_sum: after.content_sum, bytes: after.bytes });
            self.book(&Ledger { content_sum: before.content_sum.wrapping_neg(), bytes: -before.bytes });
            let gone = |object: &Object<'_>| object.lives.iter().any(|life| joined.life(&life.id).is_none());
            if gone(ours) || gone(theirs) {
                self.ended.remember(hash);
            }
            merged.changed.push(id.clone());
            let leftovers = joined.leftovers(self.fold_min());
            if leftovers.residue {
                self.residue.insert(id.clone());
            }
            self.is_folded |= leftovers.folded;
            if leftovers.crowded {
                self.note_crowded(id.clone());
            }
        }
        (!joined.is_vacant()).then(|| Stored::new(id, joined))
    }

    /// A dot stays maximal if both have it so, or the other side has not got that far.
    fn merge_frontier(&mut self, theirs: &[Dot], they_have: &dyn Fn(&Dot) -> bool) {
        let mut theirs: SmallVec<[(ReplicaId, u64); 8]> =
            theirs.iter().map(|dot| (dot.actor, dot.counter)).collect();
        theirs.sort_unstable();
        let mut joined: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        let mut keep = |dot: Dot| {
            let counter = joined.entry(dot.actor).or_default();
            *counter = (*counter).max(dot.counter);
        };
        for dot in self.frontier() {
            if theirs.binary_search(&(dot.actor, dot.counter)).is_ok() || !they_have(&dot) {
                keep(dot);
            }
        }
        for dot in theirs.into_iter().map(Dot::from) {
            if !self.has(&dot) {
                keep(dot);
            }
        }
        self.frontier = joined.into_iter().collect();
    }
}

impl ShardState {
    /// Memory it takes, roughly.
    #[must_use]
    pub fn estimated_bytes(&self) -> usize {
        self.objects.iter().map(|stored| 32 + stored.bytes()).sum()
    }

    /// Reads the encoding, all of it; `None` where it is malformed.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head = postcard::take_from_bytes(bytes).ok()?;
        let ((shard, clock, retired, frontier, latest, count), mut rest): ((_, _, _, _, _, u64), &[u8]) =
            head;
        // Nothing is reserved for what is only announced.
        let mut objects = Vec::new();
        for _ in 0..count {
            objects.push(match Stored::read_plain(&mut rest) {
                Some(stored) => stored,
                None => {
                    let stored;
                    (stored, rest) = postcard::take_from_bytes(rest).ok()?;
                    stored
                }
            });
        }
        let (content_sum, []) = postcard::take_from_bytes(rest).ok()? else { return None };
        Some(Self { shard, clock, retired, frontier, latest, objects, content_sum })
    }

    /// Appends the encoding: what postcard makes of it, in one piece.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let Self { shard, clock, retired, frontier, latest, objects, content_sum } = self;
        let length = objects.len() as u64;
        out.extend_from_slice(&encode(&(shard, clock, retired, frontier, latest, length)));
        out.reserve(objects.iter().map(Stored::bytes).sum());
        objects.iter().for_each(|stored| stored.append_to(out));
        out.extend_from_slice(&encode(content_sum));
    }

    /// Checks what came from elsewhere, and counts it; `None` where no honest node sends it.
    fn totals(&self, fold_min: usize) -> Option<Totals> {
        let mut totals = Totals::default();
        if !self.retired.is_empty()
            // One of each author at most, that has been applied.
            || self.frontier.len() > self.clock.len()
            || self.frontier.iter().any(|dot| dot.counter > self.clock.get(&dot.actor))
            || !self.objects.is_sorted_by(|a, b| (a.kind(), a.key_bytes()) < (b.kind(), b.key_bytes()))
        {
            return None;
        }
        for stored in &self.objects {
            let (object, hash) = (stored.object(), stored.hash());
            let (sums, leftovers) =
                object.audit(hash, fold_min).filter(|_| ShardId::of(hash) == self.shard)?;
            totals.sums.add(sums.content_sum);
            totals.sums.bytes += sums.bytes;
            totals.outlook.note(&object);
            if leftovers.residue {
                totals.residue.push(stored.id());
            }
            totals.folded |= leftovers.folded;
            if leftovers.crowded {
                totals.crowded.push(stored.id());
            }
        }
        (totals.sums.content_sum == self.content_sum).then_some(totals)
    }
}

/// What the objects of a state come to.
#[derive(Debug, Default)]
struct Totals {
    sums: Ledger,
    /// Those with counts that are covered.
    residue: Vec<ObjectId>,
    /// Those in which many have counted.
    crowded: Vec<ObjectId>,
    /// Some counts stand for others as well.
    folded: bool,
    outlook: Outlook,
}

impl CvRDT for Shard {
    type Validation = MalformedState;

    fn validate_merge(&self, other: &Self) -> Result<(), MalformedState> {
        if other.id == self.id { Ok(()) } else { Err(MalformedState) }
    }

    fn merge(&mut self, other: Self) {
        // Another shard's state is sound by construction; one with another id changes nothing.
        let _ = self.merge_state(other.state());
    }
}
