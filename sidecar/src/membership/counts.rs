//! What came, what went, and what was dropped and why. One line in the log per reason and ten seconds: a log that
//! floods is not read, and whoever can send a datagram could fill the disk.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const QUIET: Duration = Duration::from_secs(10);

/// Why a datagram, or a part of it, was dropped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    Undecryptable,
    KeyMismatch,
    Undecodable,
    WrongCluster,
    Oversized,
    Unsent,
    Overdue,
    Crowded,
    Replayed,
    Unaddressed,
}

impl Reason {
    const COUNT: usize = Self::Unaddressed as usize + 1;

    fn meaning(self) -> &'static str {
        match self {
            Self::Undecryptable => "a peer's cluster key is another one than this node's",
            Self::KeyMismatch => "of a peer and this node only one has a cluster key",
            Self::Undecodable => "a datagram that is none of ours",
            Self::WrongCluster => "a peer belongs to another cluster",
            Self::Oversized => "the member list does not fit into a datagram",
            Self::Unsent => "a datagram could not be sent",
            Self::Overdue => "too many delayed datagrams",
            Self::Crowded => "too many members: newcomers are turned away",
            Self::Replayed => "a datagram came a second time: the network repeats it, or somebody does",
            Self::Unaddressed => "a datagram for nobody",
        }
    }
}

/// Datagrams that were dropped, by reason. What the [`Weather`](super::Weather) dropped is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedDatagrams {
    /// Sealed with another key, or damaged.
    pub undecryptable: u64,
    /// Plain where there is a key, or sealed where there is none.
    pub key_mismatch: u64,
    /// Not of this protocol, or out of its bounds.
    pub undecodable: u64,
    /// From another cluster.
    pub wrong_cluster: u64,
    /// Ours, and too long to be sent.
    pub oversized: u64,
    /// Ours, and refused by the operating system.
    pub unsent: u64,
    /// Delayed by the weather while too many others were.
    pub overdue: u64,
    /// Received datagrams with members that were turned away, because the list would not fit into a datagram.
    pub crowded: u64,
    /// Heard before.
    pub replayed: u64,
    /// For no mailbox, as a newcomer's first, or for that of an earlier process. Its sender is told the mailbox.
    pub unaddressed: u64,
}

/// What was sent and received, without the headers of UDP and IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Datagrams received, dropped ones included.
    pub received: u64,
    /// Bytes received, dropped ones included.
    pub received_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    dropped: [AtomicU64; Reason::COUNT],
    told: Mutex<[Option<Instant>; Reason::COUNT]>,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
}

impl Counts {
    pub(super) fn drop(&self, reason: Reason, peer: SocketAddr) {
        if matches!(reason, Reason::Unaddressed) {
            // Every newcomer's first: no news.
            self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
            return;
        }
        let total = self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        {
            let mut told = self.told.lock();
            let told = &mut told[reason as usize];
            if told.is_some_and(|told| now < told + QUIET) {
                return;
            }
            *told = Some(now);
        }
        tracing::warn!(%peer, total, "gossip: {}", reason.meaning());
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> DroppedDatagrams {
        let of = |reason: Reason| self.dropped[reason as usize].load(Ordering::Relaxed);
        DroppedDatagrams {
            undecryptable: of(Reason::Undecryptable),
            key_mismatch: of(Reason::KeyMismatch),
            undecodable: of(Reason::Undecodable),
            wrong_cluster: of(Reason::WrongCluster),
            oversized: of(Reason::Oversized),
            unsent: of(Reason::Unsent),
            overdue: of(Reason::Overdue),
            crowded: of(Reason::Crowded),
            replayed: of(Reason::Replayed),
            unaddressed: of(Reason::Unaddressed),
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.sent.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
        }
    }
}
