//! From what a database holds to shards: images first, then the operations behind them. Nothing here touches a file.
//!
//! Shards are independent of each other, so all processors take part: a node does not serve before this is done.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::record::{decode, unpack};
use crate::core::identity::{SHARDS, ShardId};
use crate::core::packed::{NewOp, PackedOp};
use crate::core::shard::{Shard, ShardState};
use crate::wire::{is_sound_clock, is_sound_op};

/// Rows are taken in groups of so many bytes as they are stored: few enough that their operations fit into memory beside
/// the shards, and enough that starting threads costs nothing.
pub(super) const GROUP_BYTES: usize = 256 << 10;

/// A shard, whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Image {
    /// Rows from here on come after it.
    pub(super) row: u64,
    pub(super) state: ShardState,
}

/// Operations of a shard, in a row.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    pub(super) shard: ShardId,
    pub(super) ops: Vec<PackedOp>,
    /// The digest of the shard's content with them.
    pub(super) content_sum: u128,
}

/// A shard as far as it has come.
#[derive(Debug)]
struct Slot {
    shard: Shard,
    /// Rows before this one are in the image.
    image_row: u64,
    /// The first row with operations since the image.
    first_row: Option<u64>,
    /// What the last row says that it comes to.
    sum: Option<u128>,
    /// Operations behind the image.
    ops: u64,
}

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Loading {
    slots: Vec<Slot>,
    next_row: u64,
}

/// All of it, whole.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) shards: Vec<Shard>,
    /// The first row with operations of a shard since its image.
    pub(super) first_row: Vec<Option<u64>>,
    /// The number of the next row.
    pub(super) next_row: u64,
    /// Operations behind the images.
    pub(super) ops: u64,
}

impl Loading {
    pub(super) fn new() -> Self {
        let slot = |id| Slot { shard: Shard::new(id), image_row: 0, first_row: None, sum: None, ops: 0 };
        Self { slots: ShardId::all().map(slot).collect(), next_row: 1 }
    }

    /// Takes all images.
    ///
    /// # Errors
    /// One is damaged.
    pub(super) fn images(&mut self, images: &[(ShardId, Vec<u8>)]) -> Result<(), StoreError> {
        for (id, row, shard) in on_all_processors(images, |(id, bytes)| decode_image(*id, bytes))? {
            let slot = &mut self.slots[id.index()];
            (slot.image_row, slot.shard) = (row, shard);
            self.next_row = self.next_row.max(row);
        }
        Ok(())
    }

    /// Takes rows, in the order of their numbers.
    ///
    /// # Errors
    /// One is damaged.
    pub(super) fn rows(&mut self, rows: &[(u64, Vec<u8>)]) -> Result<(), StoreError> {
        let mut lanes: Vec<Vec<(u64, Part)>> = Vec::new();
        let of_lane = SHARDS.div_ceil(processors());
        lanes.resize_with(SHARDS.div_ceil(of_lane), Vec::new);
        for (row, parts) in on_all_processors(rows, |(row, bytes)| Ok((*row, decode_parts(bytes)?)))? {
            self.next_row = self.next_row.max(row.saturating_add(1));
            for part in parts {
                lanes[part.shard.index() / of_lane].push((row, part));
            }
        }
        std::thread::scope(|scope| {
            let applying: Vec<_> = self
                .slots
                .chunks_mut(of_lane)
                .zip(lanes)
                .map(|(slots, lane)| scope.spawn(|| apply(slots, lane)))
                .collect();
            applying.into_iter().try_for_each(|lane| {
                lane.join().unwrap_or_else(|_| Err(StoreError::Damaged("a row cannot be applied".into())))
            })
        })
    }

    /// All of it, when it comes to what was saved.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn finish(self) -> Result<Loaded, StoreError> {
        let whole = |slot: &Slot| {
            let Slot { shard, sum, .. } = slot;
            sum.is_none_or(|sum| shard.digest().content_sum == sum) && shard.pending_len() == 0
        };
        if let Some(at) = self.slots.iter().position(|slot| !whole(slot)) {
            return Err(StoreError::Damaged(format!("shard {at} does not come to its digest")));
        }
        let ops = self.slots.iter().map(|slot| slot.ops).sum();
        let first_row = self.slots.iter().map(|slot| slot.first_row).collect();
        let shards = self.slots.into_iter().map(|slot| slot.shard).collect();
        Ok(Loaded { shards, first_row, next_row: self.next_row, ops })
    }
}

/// Applies what is in some rows to shards that follow each other.
fn apply(slots: &mut [Slot], lane: Vec<(u64, Part)>) -> Result<(), StoreError> {
    let first = slots.first().map_or(0, |slot| slot.shard.id().index());
    for (row, part) in lane {
        let slot = &mut slots[part.shard.index() - first];
        if row < slot.image_row {
            continue;
        }
        slot.first_row.get_or_insert(row);
        slot.sum = Some(part.content_sum);
        for op in part.ops {
            let op = op.open().filter(|NewOp { op, .. }| is_sound_op(op));
            let op = op.ok_or_else(|| StoreError::Damaged("an operation cannot be read".into()))?;
            slot.ops += 1;
            slot.shard.receive(op);
        }
    }
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads records on as many threads as there are processors, and gives what they say in their order.
fn on_all_processors<T: Sync, R: Send>(
    records: &[T],
    read: impl Fn(&T) -> Result<R, StoreError> + Sync,
) -> Result<Vec<R>, StoreError> {
    let chunk = records.len().div_ceil(processors()).max(1);
    let read_all = |records: &[T]| records.iter().map(&read).collect::<Result<Vec<R>, _>>();
    let read_all = &read_all;
    std::thread::scope(|scope| {
        let reading: Vec<_> =
            records.chunks(chunk).map(|records| scope.spawn(move || read_all(records))).collect();
        let mut all = Vec::with_capacity(records.len());
        for part in reading {
            let part = part.join().map_err(|_| StoreError::Damaged("a record cannot be read".into()))?;
            all.extend(part?);
        }
        Ok(all)
    })
}

fn decode_image(shard: ShardId, bytes: &[u8]) -> Result<(ShardId, u64, Shard), StoreError> {
    let damaged = || StoreError::Damaged(format!("the image of shard {} is not whole", shard.0));
    let image: Image = decode(bytes)?;
    if !is_sound_clock(&image.state.clock) {
        return Err(damaged());
    }
    let loaded = Shard::from_state(shard, image.state).map_err(|_| damaged())?;
    Ok((shard, image.row, loaded))
}

fn decode_parts(bytes: &[u8]) -> Result<Vec<Part>, StoreError> {
    let plain = Bytes::from(unpack(bytes)?);
    take_parts(plain).ok_or_else(|| StoreError::Damaged("a row does not parse".into()))
}

/// What serde would read; the bytes of operations are kept as they stand instead of being made again.
fn take_parts(mut rest: Bytes) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for _ in 0..take::<u64>(&mut rest)? {
        let (shard, count) = take::<(ShardId, u64)>(&mut rest)?;
        let mut ops = Vec::new();
        for _ in 0..count {
            ops.push(PackedOp::split_from(&mut rest)?);
        }
        parts.push(Part { shard, ops, content_sum: take(&mut rest)? });
    }
    rest.is_empty().then_some(parts)
}

fn take<T: for<'a> Deserialize<'a>>(bytes: &mut Bytes) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    let read = bytes.len() - rest.len();
    drop(bytes.split_to(read));
    Some(value)
}
