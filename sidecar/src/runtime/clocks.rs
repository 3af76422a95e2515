//! The only place that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::core::time::{MonoMicros, Now, UnixMillis};

/// The machine's clocks, as the core is told of them.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    started: Instant,
    offset_millis: i64,
}

impl Clocks {
    /// Clocks that start now; the wall clock is off by `offset_millis`, to rehearse skew.
    #[must_use]
    pub fn new(offset_millis: i64) -> Self {
        Self { started: Instant::now(), offset_millis }
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = UnixMillis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Now { mono: MonoMicros(mono), wall: wall.offset(self.offset_millis) }
    }

    /// A monotonic moment as the timer wants it.
    #[must_use]
    pub fn instant(&self, moment: MonoMicros) -> Instant {
        // A timer fires in whole milliseconds; one microsecond early would be a second turn.
        self.started + Duration::from_micros(moment.0.saturating_add(1))
    }
}
