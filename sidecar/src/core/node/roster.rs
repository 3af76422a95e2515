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
    /// Whose standing the last entries may have changed.
    touched: BTreeSet<ReplicaId>,
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
            roster.add(entry.clone());
        }
        roster
    }

    /// Takes in an entry. A departure stays, and the later start. Gives whether anything is new.
    pub(super) fn add(&mut self, entry: RosterEntry) -> bool {
        let id = entry.replica.id;
        let replaced = self.note_newest(&entry.replica);
        let news = match self.entries.get_mut(&id) {
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
                self.entries.insert(id, entry);
                true
            }
        };
        if news {
            self.judge(id);
            replaced.into_iter().for_each(|replaced| self.judge(replaced));
        }
        news
    }

    /// Gives whom this one has replaced.
    fn note_newest(&mut self, replica: &Replica) -> Option<ReplicaId> {
        match self.newest.get_mut(&replica.node) {
            Some(known) if age(known) < age(replica) => {
                Some(std::mem::replace(known, replica.clone()).id).filter(|id| *id != replica.id)
            }
            Some(_) => None,
            None => {
                self.newest.insert(replica.node.clone(), replica.clone());
                None
            }
        }
    }

    /// Whether a process is over. A later start may have made it the newest of its name.
    fn judge(&mut self, id: ReplicaId) {
        let Some(entry) = self.entries.get(&id) else { return };
        self.touched.insert(id);
        if !(entry.left || self.is_superseded(&entry.replica)) {
            self.sealed.remove(&id);
        } else if self.sealed.insert(id) {
            self.newly_sealed.push(id);
        }
    }

    /// Whose standing has changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<ReplicaId> {
        std::mem::take(&mut self.touched)
    }

    /// The latest process of a name.
    pub(super) fn newest(&self, node: &str) -> Option<&Replica> {
        self.newest.get(node)
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

    /// Whether another process of its name has not left.
    pub(super) fn has_namesake(&self, of: &Replica) -> bool {
        let others = self.entries.values().filter(|entry| !entry.left && entry.replica.id != of.id);
        others.map(|entry| &entry.replica.node).any(|node| *node == of.node)
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
