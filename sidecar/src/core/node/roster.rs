//! Who counts as a member: everyone who has neither left nor been forgotten, alive or not. A majority of those who
//! happen to be alive would lie (semantics finding 21).
//!
//! Also who is *sealed*: a process that has left, was given up, or bears a name of which a later process is known.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::core::identity::{Replica, ReplicaId};
use crate::core::message::RosterEntry;
use crate::core::time::UnixMillis;

#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: BTreeMap<ReplicaId, RosterEntry>,
    /// Stands for all entries.
    sum: u64,
    /// The latest process of each name: what is known of the others is over.
    newest: BTreeMap<String, Replica>,
    sealed: BTreeSet<ReplicaId>,
    /// Those of them of whom the node has not been told.
    newly_sealed: Vec<ReplicaId>,
}

/// Incarnations of one name, in order.
pub(super) fn age(replica: &Replica) -> impl Ord + use<> {
    (replica.started, replica.id)
}

fn entry_hash(entry: &RosterEntry) -> u64 {
    let mut bytes = [0; 17];
    bytes[..8].copy_from_slice(&entry.replica.id.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.replica.started.0.to_le_bytes());
    bytes[16] = u8::from(entry.left);
    xxh3_64(&bytes)
}

impl Roster {
    /// What somebody else has said.
    pub(super) fn of(entries: &[RosterEntry]) -> Self {
        let mut roster = Self::default();
        for entry in entries {
            roster.note_newest(&entry.replica);
            roster.entries.insert(entry.replica.id, entry.clone());
        }
        roster.seal();
        roster
    }

    /// Takes in an entry. A departure stays, and the later start. Gives whether anything is new.
    pub(super) fn add(&mut self, entry: RosterEntry) -> bool {
        self.note_newest(&entry.replica);
        let news = match self.entries.get_mut(&entry.replica.id) {
            Some(known) => {
                let left = known.left || entry.left;
                let started = known.replica.started.max(entry.replica.started);
                let news = (left, started) != (known.left, known.replica.started);
                self.sum = self.sum.wrapping_sub(entry_hash(known));
                known.left = left;
                known.replica.started = started;
                self.sum = self.sum.wrapping_add(entry_hash(known));
                news
            }
            None => {
                self.sum = self.sum.wrapping_add(entry_hash(&entry));
                self.entries.insert(entry.replica.id, entry);
                true
            }
        };
        if news {
            self.seal();
        }
        news
    }

    fn note_newest(&mut self, replica: &Replica) {
        match self.newest.get_mut(&replica.node) {
            Some(known) if age(known) < age(replica) => *known = replica.clone(),
            Some(_) => {}
            None => {
                self.newest.insert(replica.node.clone(), replica.clone());
            }
        }
    }

    fn seal(&mut self) {
        let over = |entry: &RosterEntry| entry.left || self.is_superseded(&entry.replica);
        let sealed: BTreeSet<ReplicaId> =
            self.entries.values().filter(|entry| over(entry)).map(|entry| entry.replica.id).collect();
        self.newly_sealed.extend(sealed.difference(&self.sealed));
        self.sealed = sealed;
    }

    /// Whom it has sealed since the last call.
    pub(super) fn take_newly_sealed(&mut self) -> Vec<ReplicaId> {
        std::mem::take(&mut self.newly_sealed)
    }

    /// A later process of its name is known.
    pub(super) fn is_superseded(&self, replica: &Replica) -> bool {
        self.newest.get(&replica.node).is_some_and(|newest| age(newest) > age(replica))
    }

    pub(super) fn get(&self, id: ReplicaId) -> Option<&RosterEntry> {
        self.entries.get(&id)
    }

    /// Equal rosters have equal sums.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// All processes of one node name.
    pub(super) fn of_name(&self, node: &str) -> Vec<&RosterEntry> {
        self.entries.values().filter(|entry| entry.replica.node == node).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RosterEntry> {
        self.entries.values()
    }

    pub(super) fn entries(&self) -> Vec<RosterEntry> {
        self.entries.values().cloned().collect()
    }

    /// Processes that are over.
    pub(super) fn sealed(&self) -> &BTreeSet<ReplicaId> {
        &self.sealed
    }

    /// When the last other process of this name started.
    pub(super) fn last_start(&self, of: &Replica) -> Option<UnixMillis> {
        let others = self.entries.values().map(|entry| &entry.replica);
        others.filter(|other| other.node == of.node && other.id != of.id).map(|other| other.started).max()
    }

    /// Processes whose word is needed before anything counts as known everywhere: all that are not over.
    pub(super) fn needed(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.living().map(|replica| replica.id)
    }

    /// Processes that are not over.
    pub(super) fn living(&self) -> impl Iterator<Item = &Replica> {
        self.entries.values().map(|entry| &entry.replica).filter(|replica| !self.sealed.contains(&replica.id))
    }

    /// The newest process of each node name, those that have left among them.
    pub(super) fn current(&self) -> BTreeMap<&str, &RosterEntry> {
        let mut newest: BTreeMap<&str, &RosterEntry> = BTreeMap::new();
        for entry in self.entries.values() {
            let known = newest.entry(&entry.replica.node).or_insert(entry);
            if age(&entry.replica) > age(&known.replica) {
                *known = entry;
            }
        }
        newest
    }

    /// The processes that stand for the members today, one a name.
    pub(super) fn members(&self) -> impl Iterator<Item = &Replica> {
        self.current().into_values().filter(|entry| !entry.left).map(|entry| &entry.replica)
    }
}
