//! How far the processes that are over got: each written down once, for all clocks of a node.
//!
//! A clock names every process that ever wrote, and a node has some thousand clocks: one for each shard, and those of each
//! peer's reports. Of a process that is over they all say the same, so they lean on this table instead (decision 18). It
//! owns numbers that nothing changes any more, and decides nothing: a clock means what it meant with every id of its own.

use std::fmt;
use std::sync::Arc;

use super::identity::{ReplicaId, SHARDS, ShardId};

/// How far one process got in each shard.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Finals {
    id: ReplicaId,
    /// Little-endian, all as wide as the greatest needs; nothing where it never wrote.
    counters: Box<[u8]>,
}

impl Finals {
    pub(crate) fn new(id: ReplicaId, counters: &[u64; SHARDS]) -> Self {
        let most = counters.iter().copied().max().unwrap_or(0);
        let width = 8 - most.leading_zeros() as usize / 8;
        let bytes = counters.iter().flat_map(|counter| counter.to_le_bytes().into_iter().take(width));
        Self { id, counters: bytes.collect() }
    }

    fn counter(&self, shard: ShardId) -> u64 {
        let width = self.counters.len() / SHARDS;
        let own = self.counters.chunks_exact(width.max(1)).nth(shard.index()).unwrap_or_default();
        own.iter().rev().fold(0, |counter, byte| counter << 8 | u64::from(*byte))
    }

    fn bytes(&self) -> usize {
        // Two reference counts, and its places in the table.
        size_of::<Self>()
            + self.counters.len()
            + 2 * size_of::<usize>()
            + size_of::<Place>()
            + size_of::<usize>()
    }
}

impl fmt::Debug for Finals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

/// An id, and its row.
type Place = (ReplicaId, u32);

/// The processes that are over, in the order in which they were taken in. It only ever grows, by a copy: whoever leans on
/// an older one finds there what it always found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    rows: Vec<Arc<Finals>>,
    /// In the order of ids.
    places: Vec<Place>,
}

impl Past {
    /// The same with some more, none of which it has.
    pub(crate) fn with(&self, more: Vec<Finals>) -> Self {
        let mut grown = self.clone();
        for row in more {
            grown.places.push((row.id, grown.rows.len() as u32));
            grown.rows.push(Arc::new(row));
        }
        grown.places.sort_unstable();
        grown
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory that it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.iter().map(|row| row.bytes()).sum()
    }

    pub(crate) fn has(&self, id: ReplicaId) -> bool {
        self.row(id).is_some()
    }

    fn row(&self, id: ReplicaId) -> Option<&Finals> {
        let at = self.places.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        let (_, row) = self.places.get(at)?;
        self.rows.get(*row as usize).map(|row| &**row)
    }

    /// How far a process got; 0 for one that is not here.
    pub(crate) fn counter(&self, id: ReplicaId, shard: ShardId) -> u64 {
        self.row(id).map_or(0, |row| row.counter(shard))
    }

    /// All that wrote in this shard, in the order of ids.
    pub(crate) fn iter(&self, shard: ShardId) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        let rows = self.places.iter().filter_map(|(_, row)| self.rows.get(*row as usize));
        rows.map(move |row| (row.id, row.counter(shard))).filter(|(_, counter)| *counter > 0)
    }

    /// It has grown from the other, or is it.
    pub(crate) fn extends(&self, other: &Self) -> bool {
        match other.rows.last() {
            // No row stands in two tables but where one has grown from the other.
            Some(last) => self.rows.get(other.len() - 1).is_some_and(|row| Arc::ptr_eq(row, last)),
            None => true,
        }
    }

    /// What it has in this shard beyond its first rows.
    pub(crate) fn since(&self, first: usize, shard: ShardId) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        let rows = self.rows.iter().skip(first).map(move |row| (row.id, row.counter(shard)));
        rows.filter(|(_, counter)| *counter > 0)
    }
}
