//! A disk that may hold anything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::StoreError;
use super::load::{Image, Loaded, Loading};
use super::record::{decode, encode, seal};
use super::store::Head;
use crate::core::identity::{Replica, ReplicaId, ShardId};
use crate::core::node::{Node, NodeConfig, Restored, SavedNode};
use crate::core::time::{MonoMicros, Now, UnixMillis};

/// The checksum is as it came.
const AS_IT_IS: u8 = 2;
/// The checksum is made right: what a fuzzer would not find.
const SUMMED: u8 = 1;

/// Records as they may stand in a database: a byte for the kind (0 head, 1 image, 2 row) and, from the third bit on, how
/// its bytes are to be taken (0: packed here; 1: packed, with a right checksum put before; 2: as they are), a byte for the
/// shard, two for the length, and the bytes.
///
/// What is damaged is an error. What is not makes a node whose digests are those of what it stores, and survives being saved again.
///
/// # Panics
/// A rule does not hold.
pub(crate) fn disk(data: &[u8]) {
    let mut rest = data;
    let (mut head, mut images, mut rows) = (None, Vec::new(), Vec::new());
    while let Some(([kind, shard, l0, l1], after)) = rest.split_first_chunk::<4>() {
        let len = usize::from(u16::from_le_bytes([*l0, *l1])).min(after.len());
        let (bytes, after) = after.split_at(len);
        rest = after;
        let record = match kind >> 2 {
            AS_IT_IS => bytes.to_vec(),
            SUMMED => seal(bytes),
            _ => seal(&lz4_flex::block::compress_prepend_size(bytes)),
        };
        match kind & 3 {
            0 => head = decode::<Head>(&record).ok().or(head),
            1 => images.push((ShardId(*shard), record)),
            _ => rows.push(record),
        }
    }
    // As a database has them: one for each shard, in order.
    images.sort_by_key(|(shard, _)| *shard);
    images.dedup_by_key(|(shard, _)| *shard);
    match load(&images, &rows) {
        Ok(loaded) => serves(head, loaded),
        Err(StoreError::Damaged(why)) => assert!(!why.is_empty()),
        Err(other) => panic!("what is damaged is {other}"),
    }
}

fn load(images: &[(ShardId, Vec<u8>)], rows: &[Vec<u8>]) -> Result<Loaded, StoreError> {
    let mut loading = Loading::new();
    loading.images(images)?;
    let rows: Vec<(u64, Vec<u8>)> = (1..).zip(rows.iter().cloned()).collect();
    loading.rows(&rows)?;
    loading.finish()
}

fn serves(head: Option<Head>, loaded: Loaded) {
    let sums: Vec<u128> = loaded.shards.iter().map(|shard| shard.digest().content_sum).collect();
    for shard in &loaded.shards {
        assert_eq!(shard.digest(), shard.recomputed_digest());
    }
    let replica = |id| Replica { node: "n".into(), started: UnixMillis(id), id: ReplicaId(id) };
    let now = Now { mono: MonoMicros(1), wall: UnixMillis(1_700_000_000_000) };
    let node = match head {
        Some(head) => {
            let descent = head.descent();
            head.into_node(descent)
        }
        None => SavedNode {
            replica: replica(7),
            bearers: vec![replica(7)],
            lineage: 7,
            roster: Vec::new(),
            time: now.wall,
        },
    };
    let restored = Restored { shards: loaded.shards, node, is_current: true, is_awaited: true };
    let mut node = Node::restore(NodeConfig::new(replica(8), "c"), now, restored);
    let all: Vec<ShardId> = ShardId::all().collect();
    let images: Vec<(ShardId, Vec<u8>)> = all
        .iter()
        .map(|shard| (*shard, encode(&Image { row: 1, state: node.shard(*shard).state() }).unwrap()))
        .collect();
    let again = load(&images, &[]).expect("what was loaded can be saved and loaded");
    for (shard, sum) in again.shards.iter().zip(sums) {
        assert_eq!(shard.digest().content_sum, sum);
    }
    let _ = (node.members(now), node.status(), node.take_unsaved(&[]));
}
