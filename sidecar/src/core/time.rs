//! Time as it is handed in: the core reads no clock.
//!
//! The hybrid logical clock is Kulkarni et al., *Logical Physical Clocks* (2014), packed into 64 bits. Two
//! departures: a remote stamp beyond the drift limit never moves it (one fast clock would drag the whole
//! cluster; semantics finding 27), and a correction may move it back, since stamps decide between concurrent
//! siblings only.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, as some node's wall clock tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Later than anything: the deadline of what never expires.
    pub const NEVER: Self = Self(u64::MAX);

    /// This moment and `millis` more.
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This moment moved by a signed amount.
    #[must_use]
    pub fn offset(self, millis: i64) -> Self {
        Self(self.0.saturating_add_signed(millis))
    }

    /// Milliseconds from `earlier` to this moment, 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Microseconds of this process's monotonic clock. Never crosses the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoMicros(pub u64);

impl MonoMicros {
    /// This moment and `millis` more.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000)))
    }

    /// Microseconds from `earlier` to this moment, 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One moment, read by the driver and handed in with every input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timeouts.
    pub mono: MonoMicros,
    /// For deadlines and stamps; may be wrong, and may step.
    pub wall: UnixMillis,
}

/// A hybrid timestamp: 48 bits of milliseconds, 16 bits of logic.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

const LOGICAL_BITS: u32 = 16;

impl Hlc {
    /// The first stamp of a millisecond.
    #[must_use]
    pub fn from_wall(wall: UnixMillis) -> Self {
        Self(wall.0.min(u64::MAX >> LOGICAL_BITS) << LOGICAL_BITS)
    }

    /// The last stamp of a millisecond.
    #[must_use]
    pub fn end_of(wall: UnixMillis) -> Self {
        Self(Self::from_wall(wall).0 | ((1 << LOGICAL_BITS) - 1))
    }

    /// The millisecond it stands in.
    #[must_use]
    pub fn wall(self) -> UnixMillis {
        UnixMillis(self.0 >> LOGICAL_BITS)
    }

    /// The next stamp. Saturates: a peer's stamp is data, and must not overflow.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.wall().0, self.0 & ((1 << LOGICAL_BITS) - 1))
    }
}

// The high bits are always set: eight fixed bytes are shorter than a varint.
impl Serialize for Hlc {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hlc {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| Self(u64::from_le_bytes(bytes)))
    }
}
