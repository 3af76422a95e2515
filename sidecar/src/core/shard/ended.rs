//! What ended lately: tells "destroyed" from "never heard of".

use std::collections::{BTreeMap, VecDeque};

/// Names of lately ended objects that a shard remembers.
const ENDED_MAX: usize = 512;
/// What ended lately, by the hash of its name: tells "destroyed" from "never heard of". Local, bounded, in no digest.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedLately {
    order: VecDeque<u64>,
    times: BTreeMap<u64, u32>,
}

impl EndedLately {
    pub(super) fn contains(&self, object_hash: u64) -> bool {
        self.times.contains_key(&object_hash)
    }

    pub(super) fn remember(&mut self, object_hash: u64) {
        self.order.push_back(object_hash);
        *self.times.entry(object_hash).or_default() += 1;
        if self.order.len() <= ENDED_MAX {
            return;
        }
        let Some(oldest) = self.order.pop_front() else { return };
        if let Some(times) = self.times.get_mut(&oldest) {
            *times -= 1;
            if *times == 0 {
                self.times.remove(&oldest);
            }
        }
    }
}
