//! One replica of the shard under test, as a process would hold it: its id, its clock, its memory.

use std::sync::Arc;

use crate::core::author::Composed;
use crate::core::command::{Refusal, Write};
use crate::core::identity::{ObjectId, ReplicaId, ShardId};
use crate::core::limits::DRIFT_MILLIS_MAX;
use crate::core::mutant::Mutants;
use crate::core::op::{Action, Op};
use crate::core::shard::Shard;
use crate::core::time::{Hlc, UnixMillis};

/// One process lifetime of one of the world's nodes.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its id: the node's letter and the incarnation.
    pub id: ReplicaId,
    /// How many processes this node has had.
    pub incarnation: u64,
    /// What it holds.
    pub shard: Shard,
    /// Its wall clock less the true time, in milliseconds.
    pub skew_millis: i64,
    /// Started without memory, and nobody has brought it up yet.
    pub fresh: bool,
    /// The bound on a session's life here, in milliseconds.
    pub session_lifetime_millis: Option<u64>,
    hlc: Hlc,
}

impl Replica {
    /// The first process of a node, with an empty shard.
    #[must_use]
    pub fn new(node: usize, shard: ShardId, skew_millis: i64, mutants: Mutants) -> Self {
        Self {
            id: id_of(node, 1),
            incarnation: 1,
            shard: folding_soon(Shard::with_mutants(shard, mutants)),
            skew_millis,
            fresh: false,
            session_lifetime_millis: None,
            hlc: Hlc::default(),
        }
    }

    /// The next process of the same node, with the disk of the last one or without.
    #[must_use]
    pub fn restarted(&self, node: usize, disk: bool, mutants: Mutants) -> Self {
        let mut next = Self::new(node, self.shard.id(), self.skew_millis, mutants);
        next.incarnation = self.incarnation + 1;
        next.id = id_of(node, next.incarnation);
        next.fresh = !disk;
        next.session_lifetime_millis = self.session_lifetime_millis;
        if disk {
            next.shard = self.shard.clone();
            next.shard.start_life();
            next.hlc = self.hlc;
        }
        next
    }

    /// What this replica takes for the time.
    #[must_use]
    pub fn wall(&self, now: UnixMillis) -> UnixMillis {
        now.offset(self.skew_millis)
    }

    /// Its latest stamp.
    #[must_use]
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// Turns a write into an action, as the node would.
    ///
    /// # Errors
    /// As the core has it.
    pub(crate) fn compose(&mut self, now: UnixMillis, write: &Write) -> Result<Composed, Refusal> {
        let wall = self.wall(now);
        self.hlc =
            self.hlc.next().max(Hlc::from_wall(wall)).max(write.after.map(Hlc::next).unwrap_or_default());
        self.shard.compose(self.id, self.hlc, wall, self.session_lifetime_millis, write)
    }

    /// Authors an action with the stamp that it was composed for.
    pub fn author(&mut self, object: ObjectId, action: Action) -> Arc<Op> {
        self.shard.author(self.id, self.hlc, object, action).op
    }

    /// Follows the stamps of others, up to the drift limit.
    pub fn observe(&mut self, hlc: Hlc, now: UnixMillis) {
        if hlc <= Hlc::end_of(self.wall(now).plus(DRIFT_MILLIS_MAX)) {
            self.hlc = self.hlc.max(hlc);
        }
    }
}

fn folding_soon(mut shard: Shard) -> Shard {
    shard.fold_from(2);
    shard
}

/// The id of a node's process: readable, and in the order of the nodes.
#[must_use]
pub fn id_of(node: usize, incarnation: u64) -> ReplicaId {
    ReplicaId((node as u64 + 0xa) << 16 | incarnation)
}

/// A dot as histories print it: `a1:3`.
#[must_use]
pub fn name_of((id, sequence): (ReplicaId, u64)) -> String {
    format!("{:x}{}:{sequence}", id.0 >> 16, id.0 & 0xffff)
}
