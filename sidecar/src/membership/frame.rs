//! What a datagram says: bytes in the sidecar's own format, bounded and checked.
//!
//! Not the library's own bytes: those are twice as long, change with its version, and can hold key-values, which
//! nobody here publishes and which would be the way in for whoever wants to fill the memory.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::NAME_BYTES_MAX;
use super::counts::Reason;
use super::replay::Mailbox;
use crate::core::identity::{Replica, ReplicaId};

/// The longest UDP payload that IPv4 can carry.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_507;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frame {
    /// The cluster's name, hashed.
    pub(super) cluster: [u8; 8],
    pub(super) from: ReplicaId,
    /// Where the answer goes.
    pub(super) mailbox: Mailbox,
    /// Whom it is for.
    pub(super) to: Mailbox,
    /// Counts the sender's datagrams: none is heard twice.
    pub(super) number: u64,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Body {
    /// What its sender knows; wants an answer.
    Ask(Vec<Entry>),
    /// What its sender knows.
    Answer(Vec<Entry>),
    /// This process stops now.
    Goodbye(Replica),
    /// The last one was not for this process: this is its mailbox, say it again.
    Who,
}

/// What is known of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) replica: Replica,
    pub(super) address: SocketAddr,
    /// Grows as long as it lives.
    pub(super) heartbeat: u64,
}

/// Eight bytes that stand for a cluster's name.
#[must_use]
pub fn cluster_mark(cluster: &str) -> [u8; 8] {
    xxhash_rust::xxh3::xxh3_64(cluster.as_bytes()).to_le_bytes()
}

/// Whether a node can be there at all.
pub(super) fn reachable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

impl Frame {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Reason> {
        postcard::to_stdvec(self).map_err(|_| Reason::Oversized)
    }

    pub(super) fn decode(bytes: &[u8], cluster: [u8; 8]) -> Result<Self, Reason> {
        // Cluster first: another one may speak another version.
        if bytes.first_chunk().is_some_and(|theirs: &[u8; 8]| *theirs != cluster) {
            return Err(Reason::WrongCluster);
        }
        let (frame, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| Reason::Undecodable)?;
        if rest.is_empty() && frame.is_sane() { Ok(frame) } else { Err(Reason::Undecodable) }
    }

    fn is_sane(&self) -> bool {
        let named = |replica: &Replica| !replica.node.is_empty() && replica.node.len() <= NAME_BYTES_MAX;
        match &self.body {
            Body::Ask(entries) | Body::Answer(entries) => {
                entries.iter().all(|entry| named(&entry.replica) && reachable(entry.address))
            }
            Body::Who => true,
            Body::Goodbye(replica) => named(replica) && replica.id == self.from,
        }
    }
}
