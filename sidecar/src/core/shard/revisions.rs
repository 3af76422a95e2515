//! When objects changed last, in few bytes: lets a reader keep what it has read, and ask whether it still holds.
//!
//! Not a part of the state: no other node hears of it, and nothing that is stored depends on it.

use crate::core::command::Revision;

/// Objects share places: each change of one ends what readers know of all in its place.
const PLACES: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Revisions {
    /// Counts the changes.
    latest: u64,
    /// The last change of each place.
    places: Box<[u64; PLACES]>,
}

impl Default for Revisions {
    fn default() -> Self {
        Self { latest: 0, places: Box::new([0; PLACES]) }
    }
}

impl Revisions {
    fn place(object_hash: u64) -> usize {
        // The low byte names the shard.
        (object_hash >> 8) as usize % PLACES
    }

    pub(super) fn of(&self, object_hash: u64) -> Revision {
        Revision { object: self.places[Self::place(object_hash)], shard: self.latest }
    }

    pub(super) fn changed(&mut self, object_hash: u64) {
        self.latest += 1;
        self.places[Self::place(object_hash)] = self.latest;
    }

    pub(super) fn all_changed(&mut self) {
        self.latest += 1;
        self.places.fill(self.latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_moves_its_object_and_the_shard() {
        let mut revisions = Revisions::default();
        let (one, other) = (0x0100, 0x0200);
        let before = (revisions.of(one), revisions.of(other));
        revisions.changed(one);
        let after = (revisions.of(one), revisions.of(other));
        assert_ne!(after.0.object, before.0.object);
        assert_eq!(after.1.object, before.1.object);
        assert!(after.0.shard != before.0.shard && after.1.shard == after.0.shard);
        revisions.all_changed();
        assert_ne!(revisions.of(other).object, after.1.object);
    }
}
