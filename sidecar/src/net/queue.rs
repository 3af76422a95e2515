//! What waits to be sent on one link: bounded, and never waited for.
//!
//! A peer that is too slow loses its queue, not our memory; comparison mends what was dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::message::Message;

/// Messages that may wait, whatever their size.
const MESSAGES_MAX: usize = 1 << 18;

/// A message that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) message: Arc<Message>,
    /// The moment from which it may go.
    pub(super) not_before: Option<Instant>,
    pub(super) bytes: usize,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits.
    Queued,
    /// There was no room: it is dropped, with all that waited.
    Overflowed,
    /// The link is closing: nothing goes any more.
    Closed,
}

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

    /// Queues a message. One message of any size has room in an empty queue, or it could never be sent.
    pub(super) fn push(&self, message: Arc<Message>, not_before: Option<Instant>) -> Pushed {
        let bytes = message.estimated_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Pushed::Closed;
        }
        let full = waiting.bytes + bytes > self.bytes_max || waiting.messages.len() >= MESSAGES_MAX;
        if full && !waiting.messages.is_empty() {
            let dropped = std::mem::take(&mut *waiting);
            drop(waiting);
            // Outside the lock: there may be many.
            drop(dropped);
            return Pushed::Overflowed;
        }
        waiting.bytes += bytes;
        waiting.messages.push_back(Queued { message, not_before, bytes });
        drop(waiting);
        self.filled.notify_one();
        Pushed::Queued
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// What waits, once something does: about this many bytes, at least one message. `None` when the queue is closed
    /// and empty. Dropping the future loses nothing.
    ///
    /// All other tasks that are ready run first: what they queue goes along, in one frame and one system call, where a
    /// task that is woken by the first message would take just that one.
    pub(super) async fn take(&self, bytes_max: usize) -> Option<Vec<Queued>> {
        loop {
            if self.waiting.lock().is_quiet() {
                self.filled.notified().await;
                continue;
            }
            tokio::task::yield_now().await;
            let mut waiting = self.waiting.lock();
            if !waiting.messages.is_empty() {
                return Some(waiting.take(bytes_max));
            }
            if waiting.closed {
                return None;
            }
        }
    }

    /// Takes nothing more. What waits still goes.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_one();
    }

    /// Takes nothing more, and forgets what waits.
    pub(super) fn close_empty(&self) {
        *self.waiting.lock() = Waiting { closed: true, ..Waiting::default() };
        self.filled.notify_one();
    }
}

impl Waiting {
    /// Nothing is there to be done.
    fn is_quiet(&self) -> bool {
        self.messages.is_empty() && !self.closed
    }

    fn take(&mut self, bytes_max: usize) -> Vec<Queued> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.messages.front() {
            if !taken.is_empty() && bytes + next.bytes > bytes_max {
                break;
            }
            bytes += next.bytes;
            taken.extend(self.messages.pop_front());
        }
        self.bytes -= bytes;
        taken
    }
}
