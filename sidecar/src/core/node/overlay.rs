//! Who is linked with whom where there are too many for everyone to talk with everyone.
//!
//! A skip graph (Aspnes and Shah, *Skip Graphs*, 2003): all members stand in a ring, those whose hash begins with the
//! same bit in a ring of their own, and so on with two bits, three, until a member is alone. Everyone is a neighbour
//! of the next and the previous one in each of its rings: some log2 n of them, in every direction and at every
//! distance. A newcomer puts itself between two members in each of its rings and changes nothing else.
//!
//! Pure: everybody computes the same from the same list. It never asks who is alive.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::core::identity::ReplicaId;

/// Up to this many members everyone talks with everyone.
pub const FULL_MESH_MAX: usize = 32;

/// A member's place in the ring.
pub(super) fn place(id: ReplicaId) -> u64 {
    xxh3_64_with_seed(&id.0.to_le_bytes(), 0x0b1e)
}

/// The bits that say in which rings a member stands.
fn rings(id: ReplicaId) -> u64 {
    xxh3_64_with_seed(&id.0.to_le_bytes(), 0x5c1b)
}

/// All members in the order of the ring.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    ring: Vec<(u64, ReplicaId)>,
}

impl Overlay {
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn insert(&mut self, id: ReplicaId) {
        let member = (place(id), id);
        if let Err(at) = self.ring.binary_search(&member) {
            self.ring.insert(at, member);
        }
    }

    pub(super) fn remove(&mut self, id: ReplicaId) {
        if let Ok(at) = self.ring.binary_search(&(place(id), id)) {
            self.ring.remove(at);
        }
    }

    /// The same with fewer members.
    pub(super) fn of_those(&self, stays: impl Fn(&ReplicaId) -> bool) -> Self {
        Self { ring: self.ring.iter().filter(|(_, id)| stays(id)).copied().collect() }
    }

    /// With whom a member is linked. The same from both sides.
    pub(super) fn neighbours(&self, of: ReplicaId) -> BTreeSet<ReplicaId> {
        let (me, bits) = ((place(of), of), rings(of));
        let mut neighbours = BTreeSet::new();
        let mut ring = self.ring.clone();
        for bit in 0..u64::BITS {
            let Ok(at) = ring.binary_search(&me) else { break };
            if ring.len() < 2 {
                break;
            }
            neighbours.insert(ring[(at + 1) % ring.len()].1);
            neighbours.insert(ring[(at + ring.len() - 1) % ring.len()].1);
            ring.retain(|(_, id)| (rings(*id) ^ bits) >> bit & 1 == 0);
        }
        neighbours
    }
}

#[cfg(test)]
mod tests;
