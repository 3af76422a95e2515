//! What went over the links, for the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Counters of all links of a node.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    overflows: AtomicU64,
    links_opened: AtomicU64,
    rehearsed_losses: AtomicU64,
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

/// What the counters showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficFigures {
    /// Bytes received, encryption aside.
    pub bytes_in: u64,
    /// Bytes sent, encryption aside.
    pub bytes_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Queues that were full and were dropped.
    pub overflows: u64,
    /// Links that came up.
    pub links_opened: u64,
    /// Messages that a rehearsed failure dropped.
    pub rehearsed_losses: u64,
    /// Links that ended badly, and handshakes that failed, by reason.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Traffic {
    pub(super) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn message_in(&self) {
        self.messages_in.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize, messages: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        self.messages_out.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(super) fn overflowed(&self) {
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.links_opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rehearsed_loss(&self) {
        self.rehearsed_losses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, kind: &'static str) {
        *self.errors.lock().entry(kind).or_default() += 1;
    }

    /// What the counters show.
    pub fn figures(&self) -> TrafficFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficFigures {
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            messages_in: read(&self.messages_in),
            messages_out: read(&self.messages_out),
            overflows: read(&self.overflows),
            links_opened: read(&self.links_opened),
            rehearsed_losses: read(&self.rehearsed_losses),
            errors: self.errors.lock().clone(),
        }
    }
}
