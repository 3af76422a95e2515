//! What waits to be sent on one link: bounded by bytes, and never waited for.
//!
//! A peer that is too slow loses its queue, not our memory; comparison mends what was dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::message::Message;

/// A message and the moment from which it may go.
pub(super) type Queued = (Option<Instant>, Arc<Message>);

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Queued>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), bytes_max }
    }

    /// Queues a message. `false` when there was no room: then everything that waited is dropped with it. One message
    /// of any size has room in an empty queue, or it could never be sent.
    pub(super) fn push(&self, message: Arc<Message>, not_before: Option<Instant>) -> bool {
        let bytes = message.estimated_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return false;
        }
        if waiting.bytes + bytes > self.bytes_max && !waiting.messages.is_empty() {
            *waiting = Waiting::default();
            return false;
        }
        waiting.bytes += bytes;
        waiting.messages.push_back((not_before, message));
        drop(waiting);
        self.filled.notify_one();
        true
    }

    /// Everything that waits, once something does; `None` when the queue is closed.
    pub(super) async fn take(&self) -> Option<VecDeque<Queued>> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if !waiting.messages.is_empty() {
                    waiting.bytes = 0;
                    return Some(std::mem::take(&mut waiting.messages));
                }
                if waiting.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_one();
    }
}
