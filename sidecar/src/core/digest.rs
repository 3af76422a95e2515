//! Content digests: equal clocks must mean equal sums (promise 8).
//!
//! A shard's digest is the wrapping sum of 128-bit hashes over everything semantic: lives with their deadlines,
//! entries, uncovered accumulators, barriers. A sum, so that an edit costs what it touches. Logs, residue and
//! provenance stay out: they may differ between equals.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::identity::{Dot, LifeId};
use super::op::Lease;
use super::record::{Body, Record};
use super::time::Hlc;

/// What an edit changed in a shard's sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Of the content digest.
    pub(crate) content_sum: u128,
    /// Of the stored bytes.
    pub(crate) bytes: i64,
}

impl Ledger {
    pub(crate) fn add(&mut self, hash: u128) {
        self.content_sum = self.content_sum.wrapping_add(hash);
    }

    pub(crate) fn subtract(&mut self, hash: u128) {
        self.content_sum = self.content_sum.wrapping_sub(hash);
    }

    pub(crate) fn add_record(&mut self, seed: LifeSeed, record: &Record<'_>) {
        self.bytes += record.bytes.len() as i64;
        self.add(record_hash(seed, record));
    }

    pub(crate) fn subtract_record(&mut self, seed: LifeSeed, record: &Record<'_>) {
        self.bytes -= record.bytes.len() as i64;
        self.subtract(record_hash(seed, record));
    }
}

/// Mixed into every hash of one life, so that equal records of two lives differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LifeSeed(u64);

impl LifeSeed {
    pub(crate) fn new(object_hash: u64, life: &LifeId) -> Self {
        Self(xxh3_64_with_seed(&dot_bytes(life), object_hash))
    }
}

fn dot_bytes(dot: &Dot) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&dot.actor.0.to_le_bytes());
    bytes[8..].copy_from_slice(&dot.counter.to_le_bytes());
    bytes
}

/// A life itself, without what is in it.
pub(crate) fn life_hash(seed: LifeSeed, lease: &Lease) -> u128 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&lease.idle.0.to_le_bytes());
    bytes[8..].copy_from_slice(&lease.absolute.0.to_le_bytes());
    xxh3_128_with_seed(&bytes, seed.0)
}

/// One entry: the stored bytes are canonical. An accumulator counts with what it adds, not with how it came to
/// that; one that is covered does not count.
pub(crate) fn record_hash(seed: LifeSeed, record: &Record<'_>) -> u128 {
    let Body::Accumulator(accumulator) = record.body else {
        return xxh3_128_with_seed(record.bytes, seed.0);
    };
    if accumulator.is_covered() {
        return 0;
    }
    let mut bytes = record.key.to_vec();
    bytes.extend_from_slice(&dot_bytes(&record.dot));
    bytes.extend_from_slice(&accumulator.net().to_le_bytes());
    bytes.extend_from_slice(&record.hlc.0.to_le_bytes());
    xxh3_128_with_seed(&bytes, seed.0)
}

/// One barrier.
pub(crate) fn barrier_hash(object_hash: u64, barrier: &Dot, until: Hlc) -> u128 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&dot_bytes(barrier));
    bytes[16..].copy_from_slice(&until.0.to_le_bytes());
    xxh3_128_with_seed(&bytes, object_hash)
}

/// One author's place in a clock: clock sums are sums of these.
#[must_use]
pub(crate) fn clock_hash(shard: u8, dot: &Dot) -> u64 {
    xxh3_64_with_seed(&dot_bytes(dot), u64::from(shard))
}
