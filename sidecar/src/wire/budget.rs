//! Room for large messages while they come in: one peer may send one of half a gibibyte, and ten must not do so at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Messages up to this size take no room: there is one at a time for each stream.
pub(super) const SMALL_BYTES: usize = 1 << 20;

/// Room that several decoders share.
#[derive(Clone, Debug)]
pub struct Budget {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Budget {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { used: Arc::default(), max: bytes_max }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes there are.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }
}

/// Room that one decoder holds.
#[derive(Debug)]
pub(super) struct Room {
    budget: Budget,
    held: usize,
}

impl Room {
    pub(super) fn of(budget: &Budget) -> Self {
        Self { budget: budget.clone(), held: 0 }
    }

    /// All that is held, for somebody else to hold on to; nothing is held here then.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::of(&self.budget);
        std::mem::replace(self, empty)
    }

    /// Holds room for so many bytes from now on, if there is any.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        let bytes = if bytes <= SMALL_BYTES { 0 } else { bytes };
        if bytes > self.held {
            let more = bytes - self.held;
            let before = self.budget.used.fetch_add(more, Ordering::Relaxed);
            if before + more > self.budget.max {
                self.budget.used.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            self.budget.used.fetch_sub(self.held - bytes, Ordering::Relaxed);
        }
        self.held = bytes;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}
