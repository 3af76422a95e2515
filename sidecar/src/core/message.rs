//! What nodes say to each other. The core makes and takes these values; `wire` turns them into bytes.
//!
//! None of it relies on order or on arrival: a link may drop, repeat or delay any message, and comparison mends
//! what is missing.

use serde::{Deserialize, Serialize};

use super::identity::{Clock, Dot, ObjectId, Replica, ReplicaId, ShardId};
use super::packed::PackedOp;
use super::shard::ShardState;
use super::time::{MonoMicros, UnixMillis};
use super::wave::{Echo, Question, Reach, Settled, WaveId};

/// One message from a peer to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The first message on a link, both ways.
    Hello(Hello),
    /// Who counts as a member, sent when it changes.
    Roster(Vec<RosterEntry>),
    /// Operations to apply.
    Ops(Vec<PackedOp>),
    /// How far the sender has applied, where that has changed. Acknowledges.
    Applied(Vec<Progress>),
    /// How far the sender has applied, in every shard that is not empty.
    Clocks(Vec<ShardClock>),
    /// A few of the sender's shards, to be compared with the receiver's.
    Digests {
        /// Over all shards.
        total: ShardDigest,
        /// Single shards, in rotation, where the last totals differed.
        shards: Vec<(ShardId, ShardDigest)>,
    },
    /// Asks for shards whole: the receiver cannot be caught up by operations.
    WantStates(Vec<ShardId>),
    /// One shard, whole, with the clock it was read under.
    State(Box<ShardState>),
    /// Asks for whatever is known about an object whose shard the asker may lag in.
    Ask {
        /// Pairs the answer with it.
        id: u64,
        /// The object.
        object: ObjectId,
        /// The asker's clock of the object's shard.
        clock: Clock,
    },
    /// Everything the asker lacked in that shard, and what the answerer remembers besides.
    Answer {
        /// The question.
        id: u64,
        /// What the asker's clock lacked.
        missing: Missing,
        /// The answerer remembers that a life of this object ended here.
        ended: bool,
    },
    /// Measures the round trip and the clocks; reports the sender's time.
    Ping {
        /// Comes back in the answer.
        sent: Micros,
        /// The sender's wall clock, uncorrected.
        wall: UnixMillis,
        /// The sender's time for deadlines.
        now: UnixMillis,
        /// The sum of the sender's clocks: tells whether the receiver knows them all.
        clock_sum: u64,
        /// Stands for the sender's last `Hello` and `Roster`: tells whether the receiver has them.
        introduction: u64,
    },
    /// Answers a ping.
    Pong {
        /// From the ping.
        sent: Micros,
        /// The answerer's wall clock, uncorrected.
        wall: UnixMillis,
        /// What the answerer thought of the ping's clock sum.
        clocks_known: bool,
        /// What it thought of the ping's introduction.
        introduction_known: bool,
    },
    /// The sender stops: it has said all it had to say, and will not say more.
    Leave,
    /// Operations to apply, and to pass on to those between the receiver and this place in the ring.
    Relay {
        /// The operations.
        ops: Vec<PackedOp>,
        /// Up to where.
        until: u64,
    },
    /// What is new in the sender's roster.
    Members(Vec<RosterEntry>),
    /// A question for the receiver and for others behind it.
    Wave {
        /// Which one.
        wave: WaveId,
        /// For whom.
        reach: Reach,
        /// What is asked.
        question: Question,
    },
    /// An answer to a question of the receiver's, or one that it has passed on.
    Echo {
        /// Which one.
        wave: WaveId,
        /// The answer.
        echo: Echo,
    },
    /// What came of a survey.
    Settled(Box<Settled>),
    /// The sender has a disk, and this is on it: in what it acknowledges, only that counts.
    Saved {
        /// How far.
        progress: Vec<Progress>,
        /// Stands for all that it has said to be saved: who has another sum has lost some of it.
        sum: u64,
    },
    /// Asks for all of it.
    WantSaved,
}

impl Message {
    /// Memory it takes while it waits to be sent, roughly.
    #[must_use]
    pub fn estimated_bytes(&self) -> usize {
        let ops = |ops: &[PackedOp]| ops.iter().map(PackedOp::waiting_bytes).sum::<usize>();
        64 + match self {
            Self::Ops(list)
            | Self::Relay { ops: list, .. }
            | Self::Answer { missing: Missing::Ops(list), .. }
            | Self::Echo { echo: Echo::Object { missing: Missing::Ops(list), .. }, .. } => ops(list),
            Self::State(state)
            | Self::Answer { missing: Missing::State(state), .. }
            | Self::Echo { echo: Echo::Object { missing: Missing::State(state), .. }, .. } => {
                state.estimated_bytes()
            }
            Self::Echo { echo: Echo::Survey(survey), .. } => 32 * survey.unsettled.len(),
            Self::Settled(settled) => 32 * settled.unsettled.len(),
            Self::Wave { question: Question::Applied(dots), .. } => 64 + 24 * dots.len(),
            Self::Applied(progress) | Self::Saved { progress, .. } => 24 * progress.len(),
            Self::Clocks(clocks) => clocks.iter().map(|clock| 32 + 32 * clock.clock.len()).sum(),
            Self::Digests { shards, .. } => 48 * shards.len(),
            Self::Roster(entries) | Self::Members(entries) => 96 * entries.len(),
            Self::WantStates(shards) => shards.len(),
            Self::Ask { clock, .. } => 64 + 32 * clock.len(),
            _ => 64,
        }
    }
}

/// A monotonic stamp of the process that made it; means nothing to any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Micros(pub u64);

impl From<MonoMicros> for Micros {
    fn from(moment: MonoMicros) -> Self {
        Self(moment.0)
    }
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The speaker.
    pub replica: Replica,
    /// The cluster it belongs to.
    pub cluster: String,
    /// Started without memory and not caught up yet: it has nothing to give.
    pub fresh: bool,
    /// The cluster history it has joined; 0 while fresh. Two histories meet by exchanging whole states.
    pub lineage: u64,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RosterEntry {
    /// Who.
    pub replica: Replica,
    /// It has left in order, having handed over all it had.
    pub left: bool,
}

/// The sender has applied everything up to this dot, by its author, in this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The shard.
    pub shard: ShardId,
    /// The author and its highest applied sequence.
    pub dot: Dot,
}

/// A shard's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardClock {
    /// The shard.
    pub shard: ShardId,
    /// How far it has got.
    pub clock: Clock,
}

/// Stands for a clock and the content under it, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDigest {
    /// Equal clocks have equal sums.
    pub clock_sum: u64,
    /// Equal contents have equal sums.
    pub content_sum: u128,
}

/// What a peer lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// These operations (none: the asker lacks nothing).
    Ops(Vec<PackedOp>),
    /// More than the log still holds: the whole shard.
    State(Box<ShardState>),
}

/// A peer, as the core names it: the process at the other end of a link.
pub type PeerId = ReplicaId;
