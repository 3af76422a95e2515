//! Versions of what nodes say, so that nodes of two releases make one cluster while it is upgraded.
//!
//! A node speaks every version from an oldest to a newest, and says which when a stream is opened; both ends use the newest
//! that both speak. What a version says, and how its bytes stand, never changes; a later one adds to it.

use std::fmt;

use super::Guard;
use crate::core::message::Message;

/// One version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u8);

impl Version {
    /// The first there was, and the oldest that this build speaks.
    pub const OLDEST: Self = Self(1);

    /// The newest that this build speaks.
    pub const NEWEST: Self = Self(3);

    /// The first in which a node with a disk says what is on it. Who does not hear that would hold to be known everywhere
    /// what a restart forgets, so a node with a disk speaks nothing older.
    pub const SAVED: Self = Self(2);

    /// The first in which counters are folded: it has no message of its own, but an operation that older ones cannot read. Nobody
    /// makes one as long as a member speaks something older.
    pub const FOLDS: Self = Self(3);

    /// The version of this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// It has four bits in each frame.
    const MAX: u8 = 15;

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The one before it; the first one is its own.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.max(2) - 1)
    }

    /// Whether who speaks this version knows such a message. What it does not know it is never sent.
    #[must_use]
    pub fn carries(self, message: &Message) -> bool {
        since(message) <= self
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first version with such a message.
///
/// A new kind of message belongs to a version that no release speaks yet, and its sender must do without it towards those
/// who do not know it.
fn since(message: &Message) -> Version {
    match message {
        Message::Hello(_)
        | Message::Roster(_)
        | Message::Ops(_)
        | Message::Applied(_)
        | Message::Clocks(_)
        | Message::Digests { .. }
        | Message::WantStates(_)
        | Message::State(_)
        | Message::Ask { .. }
        | Message::Answer { .. }
        | Message::Ping { .. }
        | Message::Pong { .. }
        | Message::Leave
        | Message::Relay { .. }
        | Message::Members(_)
        | Message::Wave { .. }
        | Message::Echo { .. }
        | Message::Settled(_) => Version::OLDEST,
        Message::Saved { .. } | Message::WantSaved => Version::SAVED,
    }
}

/// All versions from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    oldest: Version,
    newest: Version,
}

impl Versions {
    /// Those that this build speaks.
    pub const SPOKEN: Self = Self { oldest: Version::OLDEST, newest: Version::NEWEST };

    /// From `oldest` to `newest`; none when they are the wrong way round.
    #[must_use]
    pub fn between(oldest: Version, newest: Version) -> Option<Self> {
        (oldest <= newest).then_some(Self { oldest, newest })
    }

    /// The same but for those before `oldest`; none when nothing is left.
    #[must_use]
    pub fn from(self, oldest: Version) -> Option<Self> {
        Self::between(self.oldest.max(oldest), self.newest)
    }

    /// The same but for those after `newest`.
    #[must_use]
    pub fn up_to(self, newest: Version) -> Self {
        Self { oldest: self.oldest.min(newest), newest: self.newest.min(newest) }
    }

    /// As it is said: the oldest in the high four bits, the newest in the low ones.
    #[must_use]
    pub fn byte(self) -> u8 {
        self.oldest.0 << 4 | self.newest.0
    }

    /// From what is said.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::between(Version::of(byte >> 4)?, Version::of(byte & 0x0f)?)
    }

    /// The newest that both speak.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Version> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest == self.newest {
            true => write!(f, "version {}", self.newest),
            false => write!(f, "versions {} to {}", self.oldest, self.newest),
        }
    }
}

/// How messages stand on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What both ends speak.
    pub version: Version,
    /// What finds out that bytes were changed on their way.
    pub guard: Guard,
}

impl From<Guard> for Format {
    /// The newest version under this guard.
    fn from(guard: Guard) -> Self {
        Self { version: Version::NEWEST, guard }
    }
}
