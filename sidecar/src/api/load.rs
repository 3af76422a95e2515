//! How much is asked of this API at once, and how much may be.
//!
//! A request costs two additions here: no lock, no allocation, no timer. Large bodies are counted by their bytes, since
//! a thousand requests of a mebibyte are more than a small machine has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bodies up to this size are not counted: connections are.
pub(super) const LARGE_BYTES: usize = 64 << 10;

/// What is under way.
#[derive(Default)]
pub(super) struct Load {
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
    /// Requests that were refused for their number, or for the bytes of others.
    pub(super) refused: AtomicU64,
    /// Requests that showed no token, or a wrong one.
    pub(super) unauthorized: AtomicU64,
    /// Connections that were closed because their client was slow, or idle when places were short.
    pub(super) closed_slow: AtomicU64,
}

impl Load {
    /// A place for a request, if there is one.
    pub(super) fn enter(&self, requests_max: usize) -> Option<Place<'_>> {
        let place = Place(self);
        if self.requests.fetch_add(1, Ordering::Relaxed) < requests_max {
            return Some(place);
        }
        drop(place);
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Whether there is a place: for a request that is answered before anybody else could take it.
    pub(super) fn has_place(&self, requests_max: usize) -> bool {
        self.requests.load(Ordering::Relaxed) < requests_max
    }

    /// Requests under way.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of large bodies in memory.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes.load(Ordering::Relaxed)
    }
}

/// A request's place; free again when this goes.
pub(super) struct Place<'a>(&'a Load);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room for the bytes of one large body; free again when this goes.
pub(super) struct Room {
    load: Arc<Load>,
    bytes: usize,
}

impl Room {
    /// No room yet.
    pub(super) fn none(load: &Arc<Load>) -> Self {
        Self { load: Arc::clone(load), bytes: 0 }
    }

    /// More room, if there is any. One body of any size has room where nothing else is.
    pub(super) fn grow(&mut self, bytes: usize, bytes_max: usize) -> bool {
        let before = self.load.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before == self.bytes || before + bytes <= bytes_max {
            self.bytes += bytes;
            return true;
        }
        self.load.body_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.load.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// More room, whether there is any or not: what was done must be answered.
    pub(super) fn take(&mut self, bytes: usize) {
        self.load.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.load.body_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_room_come_back() {
        let load = Arc::new(Load::default());
        let first = load.enter(1);
        assert!(first.is_some() && load.enter(1).is_none() && load.requests() == 1);
        drop(first);
        assert!(load.enter(1).is_some());
        let (mut one, mut other) = (Room::none(&load), Room::none(&load));
        assert!(one.grow(100, 10) && one.grow(100, 10), "it is alone");
        assert!(!other.grow(1, 10));
        drop(one);
        assert!(other.grow(1, 10));
        other.take(50);
        assert_eq!((load.body_bytes(), load.refused.load(Ordering::Relaxed)), (51, 2));
        drop(other);
        assert_eq!((load.body_bytes(), load.requests()), (0, 0));
    }
}
