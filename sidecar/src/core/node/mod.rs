//! One node: 256 shards, what its peers have told it, and what waits. The deterministic machine that the sidecar
//! drives with tokio and the simulator with a virtual world.
//!
//! Inputs are [`Input`] and the local calls; outputs are polled with [`Node::poll_output`]; [`Node::deadline`]
//! names the one moment at which it wants a tick. A local call answers at once.

use std::sync::Arc;

use super::command::{
    Changes, Conflict, Explanation, Lookup, MemberStatus, NodeStatus, Page, Refusal, Wait, WaitId, Waited,
    Write, Written,
};
use super::identity::{Kind, ObjectId, Replica};
use super::message::{Message, PeerId};
use super::time::{MonoMicros, Now};
use super::token::Token;

/// How a node is set up. Everything has a default but who it is.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Who this process is. The id comes from a random source outside the core.
    pub replica: Replica,
    /// The cluster it belongs to.
    pub cluster: String,
    /// It has been told of other members: it must catch up with one before it serves, unless none is to be found
    /// within `bootstrap_millis`.
    pub joins: bool,
    /// How long to look for a member before starting alone.
    pub bootstrap_millis: u64,
    /// Random bits for the history this node starts if it starts alone; not 0.
    pub lineage: u64,
    /// Bytes of log over all shards before the oldest operations go.
    pub log_bytes_max: u64,
    /// An absolute bound on the life of a session, in milliseconds.
    pub session_lifetime_millis: Option<u64>,
}

/// What happens to a node from outside, local calls aside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link to this peer stands. Messages to it may be sent from now on.
    LinkUp(PeerId),
    /// The link is gone.
    LinkDown(PeerId),
    /// A peer said something.
    Message(PeerId, Message),
    /// The failure detector's view of a node.
    Liveness {
        /// The node's process.
        replica: Replica,
        /// It gossips.
        alive: bool,
    },
    /// Messages to this peer were dropped: its queue was full.
    Overflowed(PeerId),
    /// The deadline has come.
    Tick,
    /// Stop being ready, hand over what peers lack.
    Leave,
}

/// What a node wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this to a peer.
    Send(PeerId, Arc<Message>),
    /// A wait has ended.
    Done(WaitId, Waited),
    /// The journal has grown up to here.
    Changed(u64),
    /// Something an operator must know.
    Alarm(Alarm),
    /// The peer is not one to talk with: close the link.
    Disconnect(PeerId, &'static str),
}

/// What an operator must know.
#[derive(Clone, Debug, PartialEq)]
pub enum Alarm {
    /// Equal clocks, different content.
    Diverged {
        /// The peer.
        peer: Replica,
        /// The shard.
        shard: super::identity::ShardId,
    },
    /// A stamp from beyond the drift limit.
    Skewed {
        /// The author.
        author: super::identity::ReplicaId,
        /// How far ahead of this node's time.
        ahead_millis: u64,
    },
    /// This node's clock is out of step with most; its stamps are corrected by this much.
    Corrected {
        /// The correction.
        millis: i64,
    },
}

/// What a leaving node could not hand over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// Operations written here that no other member has reported to have.
    pub held_by_nobody_else: u64,
    /// Linked peers that have not yet reported all of this node's operations.
    pub peers_behind: Vec<String>,
}

/// One node of a cluster.
#[derive(Debug)]
pub struct Node {}

#[allow(unused_variables, clippy::unimplemented, missing_docs)]
impl Node {
    pub fn new(config: NodeConfig, now: Now) -> Self {
        unimplemented!()
    }
    /// Takes one input. Outputs are polled afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        unimplemented!()
    }
    /// The next thing the node wants done.
    pub fn poll_output(&mut self) -> Option<Output> {
        unimplemented!()
    }
    /// When it wants a [`Input::Tick`].
    pub fn deadline(&self) -> MonoMicros {
        unimplemented!()
    }
    /// What this node would say in a [`Message::Hello`].
    pub fn hello(&self) -> super::message::Hello {
        unimplemented!()
    }
    pub fn look_up(&self, now: Now, object: &ObjectId) -> Lookup {
        unimplemented!()
    }
    pub fn read_token(&self, object: &ObjectId) -> Token {
        unimplemented!()
    }
    pub fn write(&mut self, now: Now, write: &Write) -> Result<Written, Refusal> {
        unimplemented!()
    }
    pub fn seen(&self, tokens: &[Token]) -> bool {
        unimplemented!()
    }
    /// Starts to wait, at most `millis_max`. `Ok` when there is nothing to wait for.
    pub fn wait(&mut self, now: Now, wait: Wait, millis_max: u64) -> Result<Waited, WaitId> {
        unimplemented!()
    }
    /// Nobody wants to know any more.
    pub fn cancel(&mut self, id: WaitId) {
        unimplemented!()
    }
    pub fn list(&self, now: Now, kind: Kind, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        unimplemented!()
    }
    pub fn explain(&self, now: Now, object: &ObjectId) -> Option<Explanation> {
        unimplemented!()
    }
    pub fn conflicts(&self, now: Now, object: &ObjectId) -> Vec<Conflict> {
        unimplemented!()
    }
    pub fn changes(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes {
        unimplemented!()
    }
    pub fn status(&self, now: Now) -> NodeStatus {
        unimplemented!()
    }
    pub fn members(&self, now: Now) -> Vec<MemberStatus> {
        unimplemented!()
    }
    /// What a leaving node has not handed over yet.
    pub fn hand_over(&self) -> HandOver {
        unimplemented!()
    }
}
