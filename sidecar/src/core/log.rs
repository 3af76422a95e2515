//! The operations of one shard that peers may still need, in the order in which they were applied here.
//!
//! That order is causal, so a peer can apply what it is sent as it comes. Dropping the oldest is always safe: a
//! peer that still needs them gets the shard instead. They are kept as they travel, packed into segments that go
//! whole: a burst leaves no holes among what stays.

use std::collections::VecDeque;
use std::sync::Arc;

use super::identity::{Clock, Dot, ReplicaId, ShardId};
use super::packed::PackedOp;
use super::past::Past;
use super::record::take_dot;

/// The smallest and the largest segment: the first ones of a log are small, since most logs are.
const SEGMENT_BYTES: (usize, usize) = (1 << 10, 64 << 10);

/// Stands before each operation: its length.
const PREFIX_BYTES: usize = size_of::<u32>();

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    segments: VecDeque<Segment>,
    ops: usize,
    bytes: u64,
    /// Per author, the highest sequence that is no longer here.
    floor: Clock,
}

/// Operations, each behind its length. It never grows: what has no room goes into the next one.
#[derive(Clone, Debug)]
struct Segment {
    bytes: Vec<u8>,
    /// Up to here they have been dropped.
    start: usize,
}

impl Segment {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[self.start..];
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first_chunk::<PREFIX_BYTES>()?;
            let (op, tail) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            rest = tail;
            Some(op)
        })
    }
}

/// The name of an encoded operation: it stands first.
fn dot_of(mut op: &[u8]) -> Dot {
    take_dot(&mut op).unwrap_or(Dot::new(ReplicaId::NOBODY, 0))
}

impl Log {
    pub(crate) fn len(&self) -> usize {
        self.ops
    }

    /// Bytes of what is here.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes an operation as it is encoded.
    pub(crate) fn push(&mut self, op: &[u8]) {
        let wanted = PREFIX_BYTES + op.len();
        let has_room = |last: &Segment| last.bytes.capacity() - last.bytes.len() >= wanted;
        if !self.segments.back().is_some_and(has_room) {
            let (least, most) = SEGMENT_BYTES;
            let capacity = usize::try_from(self.bytes).unwrap_or(most).clamp(least, most).max(wanted);
            self.segments.push_back(Segment { bytes: Vec::with_capacity(capacity), start: 0 });
        }
        if let Some(last) = self.segments.back_mut() {
            // No operation is near 4 GiB.
            last.bytes.extend_from_slice(&(op.len() as u32).to_le_bytes());
            last.bytes.extend_from_slice(op);
            self.ops += 1;
            self.bytes += wanted as u64;
        }
    }

    /// The name of the oldest operation.
    pub(crate) fn front(&self) -> Option<Dot> {
        self.iter().next().map(dot_of)
    }

    /// Drops the oldest operation.
    pub(crate) fn pop_front(&mut self) {
        let Some(oldest) = self.iter().next() else { return };
        let (dot, taken) = (dot_of(oldest), PREFIX_BYTES + oldest.len());
        self.raise_floor(&dot);
        self.ops -= 1;
        self.bytes -= taken as u64;
        if let Some(first) = self.segments.front_mut() {
            first.start += taken;
            if first.start == first.bytes.len() {
                self.segments.pop_front();
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.segments.iter().flat_map(Segment::iter)
    }

    fn raise_floor(&mut self, dot: &Dot) {
        self.floor.raise(*dot);
    }

    /// Nothing of this author is here, of all that a clock has of it.
    pub(crate) fn has_dropped(&self, dot: &Dot) -> bool {
        self.floor.get(&dot.actor) >= dot.counter
    }

    /// What is over need not be named.
    pub(crate) fn lean_on(&mut self, past: &Arc<Past>, shard: ShardId) {
        self.floor.lean_on(past, shard);
    }

    /// Ids that it names itself.
    #[cfg(test)]
    pub(crate) fn named(&self) -> usize {
        self.floor.named()
    }

    /// After a jump of the clock: what was logged of these authors has a hole now, so it starts again behind it. They come in the
    /// order of ids.
    pub(crate) fn restart(&mut self, raised: &[Dot]) {
        self.floor.raise_all(raised.iter().copied());
        if self.ops > 0 {
            self.keep(|dot| raised.binary_search_by_key(&dot.actor, |gone| gone.actor).is_err());
        }
    }

    fn keep(&mut self, stays: impl Fn(&Dot) -> bool) {
        let mut kept = Self { floor: std::mem::take(&mut self.floor), ..Self::default() };
        self.iter().filter(|op| stays(&dot_of(op))).for_each(|op| kept.push(op));
        *self = kept;
    }

    /// What a clock lacks of ours, oldest first; `None` when the log does not reach back far enough.
    pub(crate) fn missing(&self, ours: &Clock, theirs: &Clock) -> Option<Vec<PackedOp>> {
        let mut lacks = false;
        for Dot { actor, .. } in ours.beyond(theirs) {
            lacks = true;
            if self.floor.get(&actor) > theirs.get(&actor) {
                return None;
            }
        }
        if !lacks {
            return Some(Vec::new());
        }
        Some(self.beyond(theirs).collect())
    }

    /// What is here and a clock lacks, oldest first.
    pub(crate) fn beyond(&self, theirs: &Clock) -> impl Iterator<Item = PackedOp> {
        let lacked = |dot: Dot| dot.counter > theirs.get(&dot.actor);
        self.iter().filter(move |op| lacked(dot_of(op))).map(PackedOp::stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(counter: u64, len: usize) -> Vec<u8> {
        let mut bytes = crate::core::packed::encode(&Dot::new(ReplicaId(1 + counter % 2), counter));
        bytes.resize(bytes.len().max(len), 7);
        bytes
    }

    fn listed(log: &Log) -> Vec<u64> {
        log.iter().map(|op| dot_of(op).counter).collect()
    }

    #[test]
    fn segments_go_when_all_that_is_in_them_has_gone() {
        let mut log = Log::default();
        (1..=1_000).for_each(|counter| log.push(&op(counter, 300)));
        assert_eq!(log.bytes(), 1_000 * 304);
        let held = |log: &Log| log.segments.iter().map(|segment| segment.bytes.capacity()).sum::<usize>();
        assert!(held(&log) < 400_000, "{}", held(&log));
        assert!(log.segments.iter().all(|segment| segment.bytes.capacity() <= SEGMENT_BYTES.1));
        for gone in 1..=1_000 {
            assert_eq!(log.front(), Some(Dot::new(ReplicaId(1 + gone % 2), gone)));
            log.pop_front();
        }
        assert_eq!((log.len(), log.bytes(), held(&log)), (0, 0, 0));
        assert_eq!(log.front(), None);
    }

    #[test]
    fn an_operation_longer_than_a_segment_has_one_to_itself() {
        let mut log = Log::default();
        for (counter, len) in [(1, 20), (2, 200_000), (3, 20)] {
            log.push(&op(counter, len));
        }
        assert_eq!(listed(&log), [1, 2, 3]);
        assert_eq!(log.segments.len(), 3);
    }

    #[test]
    fn after_a_jump_only_the_others_are_left() {
        let mut log = Log::default();
        (1..=9).for_each(|counter| log.push(&op(counter, 40)));
        log.restart(&[Dot::new(ReplicaId(1), 20)]);
        assert_eq!(listed(&log), [1, 3, 5, 7, 9]);
        assert_eq!(log.bytes(), 5 * 44);
        let ours: Clock = [Dot::new(ReplicaId(1), 20), Dot::new(ReplicaId(2), 9)].into_iter().collect();
        assert_eq!(log.missing(&ours, &Clock::default()), None);
        let theirs: Clock = [Dot::new(ReplicaId(1), 20), Dot::new(ReplicaId(2), 5)].into_iter().collect();
        assert_eq!(log.missing(&ours, &theirs).map(|ops| ops.len()), Some(2));
    }
}
