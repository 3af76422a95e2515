//! How the store of whole-session blobs is laid out, for the comparison with what people run today.

use serde::{Deserialize, Serialize};

use super::units::Span;

/// The store that Sidetalk is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BlobSpec {
    /// Who takes writes, and who answers reads.
    pub layout: Layout,
    /// How long a write waits before it is sent to the replicas, in addition to what the network takes.
    pub replication_delay: Span,
    /// How long the primary must be missing before its replicas choose another.
    pub failover: Span,
    /// How long a command may wait for a store that cannot be reached.
    pub command_timeout: Span,
    /// Every read of a session extends it, as express-session does at the end of a request that changed nothing.
    pub touch_on_read: bool,
}

impl Default for BlobSpec {
    fn default() -> Self {
        Self {
            layout: Layout::Primary,
            replication_delay: Span::millis(0),
            failover: Span::secs(5),
            command_timeout: Span::secs(5),
            touch_on_read: true,
        }
    }
}

/// Who takes writes, and who answers reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One primary does both; the others are there to take over (Redis with Sentinel).
    Primary,
    /// One primary takes writes; every node reads its own replica.
    ReplicaReads,
    /// Every node does both; the last write of a whole value wins (Couchbase with XDCR).
    MultiPrimary,
}
