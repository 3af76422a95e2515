//! Who counts as a member: everyone who has neither left nor been forgotten, alive or not. A majority of those who
//! happen to be alive would lie (semantics finding 21).

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::core::identity::{Replica, ReplicaId};
use crate::core::message::RosterEntry;
use crate::core::time::UnixMillis;

#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: BTreeMap<ReplicaId, RosterEntry>,
    /// Stands for all entries.
    sum: u64,
}

fn entry_hash(entry: &RosterEntry) -> u64 {
    let mut bytes = [0; 17];
    bytes[..8].copy_from_slice(&entry.replica.id.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.replica.started.0.to_le_bytes());
    bytes[16] = u8::from(entry.left);
    xxh3_64(&bytes)
}

impl Roster {
    /// Takes in an entry. A departure stays, and the later start. Gives whether anything is new.
    pub(super) fn add(&mut self, entry: RosterEntry) -> bool {
        match self.entries.get_mut(&entry.replica.id) {
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
        }
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

    pub(super) fn entries(&self) -> Vec<RosterEntry> {
        self.entries.values().cloned().collect()
    }

    /// When the last other process of this name started.
    pub(super) fn last_start(&self, of: &Replica) -> Option<UnixMillis> {
        let others = self.entries.values().map(|entry| &entry.replica);
        others.filter(|other| other.node == of.node && other.id != of.id).map(|other| other.started).max()
    }

    /// Processes whose word is needed before anything counts as known everywhere: all that have not left, the dead
    /// predecessors of a restarted node among them.
    pub(super) fn needed(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.entries.values().filter(|entry| !entry.left).map(|entry| entry.replica.id)
    }

    /// The newest process of each node name, those that have left among them.
    pub(super) fn current(&self) -> BTreeMap<&str, &RosterEntry> {
        let mut newest: BTreeMap<&str, &RosterEntry> = BTreeMap::new();
        let age = |replica: &Replica| (replica.started, replica.id);
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
