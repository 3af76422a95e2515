//! From what a database holds to shards: images first, then the operations behind them. Nothing here touches a file.

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::record::decode;
use crate::core::identity::{SHARDS, ShardId};
use crate::core::packed::PackedOp;
use crate::core::shard::{Shard, ShardState};
use crate::wire::{is_sound_clock, is_sound_op};

/// A shard, whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Image {
    /// Rows from here on come after it.
    pub(super) row: u64,
    pub(super) state: ShardState,
}

/// Operations of a shard, in a row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) shard: ShardId,
    pub(super) ops: Vec<PackedOp>,
    /// The digest of the shard's content with them.
    pub(super) content_sum: u128,
}

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Loading {
    shards: Vec<Shard>,
    /// What is in the image: rows before it are older.
    image_rows: Vec<u64>,
    /// What the last row says that each shard comes to.
    sums: Vec<Option<u128>>,
    first_row: Vec<Option<u64>>,
    next_row: u64,
    ops: u64,
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
        Self {
            shards: ShardId::all().map(Shard::new).collect(),
            image_rows: vec![0; SHARDS],
            sums: vec![None; SHARDS],
            first_row: vec![None; SHARDS],
            next_row: 1,
            ops: 0,
        }
    }

    /// Takes all images.
    ///
    /// # Errors
    /// One is damaged.
    pub(super) fn images(&mut self, images: &[(ShardId, Vec<u8>)]) -> Result<(), StoreError> {
        for (id, row, shard) in decode_images(images)? {
            self.image_rows[id.index()] = row;
            self.shards[id.index()] = shard;
            self.next_row = self.next_row.max(row);
        }
        Ok(())
    }

    /// Takes a row, in the order of their numbers.
    ///
    /// # Errors
    /// It is damaged.
    pub(super) fn row(&mut self, row: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.next_row = self.next_row.max(row.saturating_add(1));
        for part in decode::<Vec<Part>>(bytes)? {
            let index = part.shard.index();
            if row < self.image_rows[index] {
                continue;
            }
            self.first_row[index].get_or_insert(row);
            self.sums[index] = Some(part.content_sum);
            for op in part.ops {
                let op = op.open().filter(|op| is_sound_op(&op.op));
                let op = op.ok_or_else(|| StoreError::Damaged("an operation cannot be read".into()))?;
                self.ops += 1;
                self.shards[index].receive(op);
            }
        }
        Ok(())
    }

    /// All of it, when it comes to what was saved.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn finish(self) -> Result<Loaded, StoreError> {
        let whole = |(shard, sum): (&Shard, &Option<u128>)| {
            sum.is_none_or(|sum| shard.digest().content_sum == sum) && shard.pending_len() == 0
        };
        if let Some(at) = self.shards.iter().zip(&self.sums).position(|pair| !whole(pair)) {
            return Err(StoreError::Damaged(format!("shard {at} does not come to its digest")));
        }
        let Self { shards, first_row, next_row, ops, .. } = self;
        Ok(Loaded { shards, first_row, next_row, ops })
    }
}

type DecodedImage = (ShardId, u64, Shard);

/// Images, on as many threads as there are processors: they are independent.
fn decode_images(images: &[(ShardId, Vec<u8>)]) -> Result<Vec<DecodedImage>, StoreError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = images.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let load = |images: &[(ShardId, Vec<u8>)]| {
            images.iter().map(|(shard, bytes)| decode_image(*shard, bytes)).collect::<Result<Vec<_>, _>>()
        };
        let loading: Vec<_> = images.chunks(chunk).map(|images| scope.spawn(move || load(images))).collect();
        let mut all = Vec::new();
        for part in loading {
            let part = part.join().map_err(|_| StoreError::Damaged("an image cannot be read".into()))?;
            all.extend(part?);
        }
        Ok(all)
    })
}

fn decode_image(shard: ShardId, bytes: &[u8]) -> Result<DecodedImage, StoreError> {
    let damaged = || StoreError::Damaged(format!("the image of shard {} is not whole", shard.0));
    let image: Image = decode(bytes)?;
    if !is_sound_clock(&image.state.clock) {
        return Err(damaged());
    }
    let loaded = Shard::from_state(shard, image.state).map_err(|_| damaged())?;
    Ok((shard, image.row, loaded))
}
