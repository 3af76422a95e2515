//! What the API needs of whoever drives the core. The runtime implements it; a test may.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::watch;

use crate::core::command::{
    Changes, Conflict, Explanation, KeptMember, Known, Lookup, MemberStatus, NodeStatus, Page, Reading,
    Refusal, Wait, Waited, Write, Written,
};
use crate::core::identity::{Kind, ObjectId};
use crate::core::time::UnixMillis;
use crate::core::token::Token;

/// A wait under way.
pub type Waiting<'a> = Pin<Box<dyn Future<Output = Waited> + Send + 'a>>;

/// The node as the API sees it. Everything but [`wait`](Port::wait) answers at once.
pub trait Port: Send + Sync + 'static {
    /// Whether the node may serve. Asked on every request: cheap.
    fn ready(&self) -> bool;
    /// Reads an object and the token of what was read, both only where `known` does not hold any more; `None` when
    /// the node is not ready. All of it under one lock: this is what a page load waits for.
    fn read(&self, object: &ObjectId, known: Option<&Known>) -> Option<Reading>;
    /// Reads an object.
    fn look_up(&self, object: &ObjectId) -> Lookup;
    /// The token of what a read of this object has seen.
    fn read_token(&self, object: &ObjectId) -> Token;
    /// Writes.
    fn write(&self, write: &Write) -> Result<Written, Refusal>;
    /// Makes the first of these writes one after the other, each on its own, and with nothing of anyone else's between them: as
    /// many as take little time, at least one. Gives what came of those.
    fn write_all(&self, writes: &[Write]) -> Vec<Result<Written, Refusal>> {
        writes.iter().map(|write| self.write(write)).collect()
    }
    /// Whether everything the tokens name has been applied here.
    fn seen(&self, tokens: &[Token]) -> bool;
    /// Waits, at most this long.
    fn wait(&self, wait: Wait, millis_max: u64) -> Waiting<'_>;
    /// Lists keys.
    fn list(&self, kind: Kind, prefix: &str, after: Option<&str>, limit: usize) -> Page;
    /// Where everything stored of an object came from; `None` when nothing is stored.
    fn explain(&self, object: &ObjectId) -> Option<Explanation>;
    /// Paths with more than one value.
    fn conflicts(&self, object: &ObjectId) -> Vec<Conflict>;
    /// The journal after a cursor, for one kind or all, under a prefix.
    fn changes(&self, after: u64, kind: Option<Kind>, prefix: &str, limit: usize) -> Changes;
    /// Tells when the journal grows.
    fn changed(&self) -> watch::Receiver<u64>;
    /// This node.
    fn status(&self) -> NodeStatus;
    /// The members.
    fn members(&self) -> Vec<MemberStatus>;
    /// Gives up a member that will not come back.
    ///
    /// # Errors
    /// Says why it is kept.
    fn give_up(&self, node: &str) -> Result<(), KeptMember>;
    /// The wall clock.
    fn now(&self) -> UnixMillis;
    /// Whether a write is answered only when it is on the disk.
    fn answers_when_saved(&self) -> bool {
        false
    }
    /// How the disk is; `None` where there is none.
    fn storage(&self) -> Option<StorageStatus> {
        None
    }
    /// Rehearses failures; `None` unless the node was started for that.
    fn chaos(&self) -> Option<&dyn Chaos>;
    /// Figures in the Prometheus text format.
    fn metrics(&self, api: &ApiFigures) -> String;
}

/// What is asked of the API at this moment, and what may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiFigures {
    /// Open connections, and how many may be.
    pub connections: (usize, usize),
    /// Requests under way, and how many may be.
    pub requests: (usize, usize),
    /// Bytes of large bodies, and how many may be.
    pub body_bytes: (usize, usize),
    /// Open watches, and how many may be.
    pub watchers: (usize, usize),
    /// Answers kept for `Idempotency-Key`, and how many may be.
    pub idempotency_answers: (usize, usize),
    /// Their bytes, and how many may be.
    pub idempotency_bytes: (usize, usize),
    /// Requests refused because of one of these limits.
    pub refused: u64,
    /// Requests that showed no token, or a wrong one.
    pub unauthorized: u64,
    /// Connections closed because their client was slow, or idle when places were short.
    pub closed_slow: u64,
}

/// How the disk is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct StorageStatus {
    /// Bytes of what is stored, compressed.
    pub bytes: u64,
    /// Bytes that wait for the disk.
    pub unsaved_bytes: u64,
    /// Group commits of this process.
    pub commits: u64,
    /// Commits that failed.
    pub failures: u64,
    /// How long the last one took.
    pub commit_micros: u64,
    /// What is wrong, while it is.
    pub error: Option<String>,
}

/// Rehearses failures between this node and its peers.
pub trait Chaos: Send + Sync {
    /// Replaces all faults.
    ///
    /// # Errors
    /// Names a peer that is not a member.
    fn set(&self, faults: Vec<(String, Fault)>) -> Result<(), String>;
    /// Ends all faults.
    fn clear(&self);
    /// The faults in force.
    fn faults(&self) -> Vec<(String, Fault)>;
}

/// What happens to all traffic with one peer, gossip and stream alike, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fault {
    /// Nothing passes.
    pub blocked: bool,
    /// Everything is this late, each way.
    pub delay_millis: u64,
    /// This share of messages is dropped, 0.0 to 1.0.
    pub loss: f64,
}
