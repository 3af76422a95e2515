//! Placeholder for shard state.
use super::identity::{Clock, ShardId};
use serde::{Deserialize, Serialize};

/// A shard, whole, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    /// The shard.
    pub shard: ShardId,
    /// The clock it was read under.
    pub clock: Clock,
}
