//! What nodes that are not linked with everyone say to each other by way of their neighbours.

use serde::{Deserialize, Serialize};

use super::identity::{Dot, ObjectId, ReplicaId, ShardId};
use super::message::{Missing, Progress};
use super::time::UnixMillis;

/// Names a question that goes from neighbour to neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaveId {
    /// Who put it.
    pub root: ReplicaId,
    /// Counts what it has put.
    pub number: u64,
}

/// How far a question goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// To all neighbours, and so on: past every link that is broken, and over every link at least once.
    Everyone,
    /// To those between the receiver and this place in the ring: over as few links as there are members.
    Until(u64),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// How far have you got, and what time is it?
    Survey,
    /// What do you know of this object?
    Object(ObjectId),
    /// Tell me when you have applied all of these.
    Applied(Vec<Progress>),
}

/// What comes back to whom the question came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Echo {
    /// The question was there already, or cannot be answered.
    Again,
    /// The answer of the sender and of all whom it has asked.
    Survey(Box<Survey>),
    /// The sender has asked whom it could, and the operations that the receiver lacks of the object's shard.
    Object {
        /// The sum over the ids of those who have answered.
        members: u64,
        /// What the receiver lacked, as far as the sender knew.
        missing: Missing,
        /// The sum of the sender's clock of the shard.
        clock_sum: u64,
        /// Somebody remembers that a life of this object ended.
        ended: bool,
    },
    /// This process has applied them all.
    Applied(ReplicaId),
}

/// What a part of the cluster has reported, each at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The sum over the ids of those who have reported.
    pub members: u64,
    /// Stands for the roster of each of them.
    pub roster: u64,
    /// The earliest of their times for deadlines.
    pub time: UnixMillis,
    /// The sum of the sender's clocks.
    pub clock_sum: u64,
    /// Where not all of them are as far as the sender.
    pub unsettled: Vec<Unsettled>,
}

/// How far members have got in one author's operations of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// The shard and the author, and what the one who has most of it has applied.
    pub most: Progress,
    /// What the one who has least of it has applied; perhaps nothing.
    pub least: u64,
}

impl Unsettled {
    /// Shard and author.
    #[must_use]
    pub fn pair(&self) -> (ShardId, ReplicaId) {
        (self.most.shard, self.most.dot.actor)
    }

    /// From `least` to `most`.
    #[must_use]
    pub fn new((shard, actor): (ShardId, ReplicaId), least: u64, most: u64) -> Self {
        Self { most: Progress { shard, dot: Dot::new(actor, most) }, least }
    }
}

/// What everybody has reported, for everybody who has reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The question.
    pub wave: WaveId,
    /// Stands for the roster that all of them have.
    pub roster: u64,
    /// The earliest of their times for deadlines.
    pub time: UnixMillis,
    /// Where not all were equally far. Of everything else all had what the receiver had.
    pub unsettled: Vec<Unsettled>,
}
