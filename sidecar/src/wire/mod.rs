//! Bytes between nodes: messages of the core in frames, and back.
//!
//! A frame is four bytes of length (little endian, of what follows), one byte that holds the version (high four
//! bits) and flags, a payload, and a checksum of four bytes where the transport does not authenticate
//! ([`Guard`]). A message that is longer than a frame goes as several; one that shrinks by it is compressed as a
//! whole. The payload of a message is [postcard](https://postcard.jamesmunns.com/wire-format) of [`Message`]; golden
//! bytes per version stand in the tests. A frame without a payload says nothing but that its sender lives.
//!
//! The room owns the layout and its bounds. It never reads a socket, and never panics on what it is given: anything
//! malformed is a [`WireError`], after which the stream is of no use.

// The ambient world is banned here (.clippy.toml).
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod budget;
mod bulk;
mod decode;
mod encode;
#[cfg(test)]
mod tests;
mod validate;
mod version;

use std::fmt;

pub use budget::Budget;
pub use decode::{Decoder, Next, Packed};
pub use encode::{TooLong, encode, encode_keepalive, encode_ops, encode_refusal};
pub use validate::{NAME_BYTES_MAX, is_name, is_sound_clock, is_sound_op};
pub use version::{Format, Version, Versions};

use crate::core::limits::CLOCK_IDS_HEARD_MAX;
use crate::core::message::Message;

/// Bytes of a frame's payload, at most.
pub const FRAME_BYTES_MAX: usize = 256 << 10;

/// Bytes of a message, at most, compressed or not: a shard with all that is in it.
pub const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// Bytes of the length and the head.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The message goes on in the next frame.
pub(crate) const MORE: u8 = 1;
/// The message is compressed (lz4 block, its size first).
pub(crate) const COMPRESSED: u8 = 2;
/// No message but the reason why the sender closes.
pub(crate) const REFUSAL: u8 = 4;
/// A checksum of the head and the payload follows the payload.
pub(crate) const CHECKED: u8 = 8;

/// Bytes of a checksum.
pub(crate) const CHECKSUM_BYTES: usize = 4;

/// What finds out that a frame was changed on its way.
///
/// A flipped bit that TCP's sixteen bits miss would be applied here, refused there, and be an alarm for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// A checksum in each frame. A frame without one is refused.
    #[default]
    Checksum,
    /// The transport, which authenticates every byte.
    Transport,
}

/// Guards against accidents, not against anyone who means it: that takes a cluster key.
pub(crate) fn checksum(head: u8, payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    (xxhash_rust::xxh3::xxh3_64_with_seed(payload, u64::from(head)) as u32).to_le_bytes()
}

/// What a stream yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A message.
    Message(Box<Message>),
    /// The peer closes, and says why.
    Refusal(String),
}

/// Why bytes are not a message. The stream they came from cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Another version of the protocol than was agreed on, or no protocol of ours.
    UnknownVersion(u8),
    /// A frame or a message above the limit.
    Oversized,
    /// Too many large messages at one time, over all streams.
    NoRoom,
    /// Frames in an order, or with flags, that no version has.
    BadFrame,
    /// The bytes do not decompress to what they claim.
    BadCompression,
    /// The bytes are not a message.
    Malformed,
    /// A checksum is wrong, or missing where there must be one.
    Checksum,
    /// The stream ended within a message.
    Truncated,
    /// A clock that names more processes than any cluster has.
    Crowded,
    /// A message, but one that no honest node sends.
    Forbidden(&'static str),
}

impl WireError {
    /// A name for counters.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::UnknownVersion(_) => "unknown_version",
            Self::Oversized => "oversized",
            Self::NoRoom => "no_room",
            Self::BadFrame => "bad_frame",
            Self::BadCompression => "bad_compression",
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::Truncated => "truncated",
            Self::Crowded => "crowded_clock",
            Self::Forbidden(_) => "forbidden",
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(version) => {
                write!(f, "a frame of version {version} of the protocol, which was not agreed on")
            }
            Self::Oversized => {
                write!(f, "a frame above {FRAME_BYTES_MAX} or a message above {MESSAGE_BYTES_MAX} bytes")
            }
            Self::NoRoom => {
                f.write_str("too many large messages come in at one time; this one may come again")
            }
            Self::BadFrame => f.write_str("a frame that does not fit the one before it"),
            Self::BadCompression => f.write_str("a message that does not decompress"),
            Self::Malformed => f.write_str("bytes that are no message"),
            Self::Checksum => f.write_str("a frame whose checksum is wrong or missing"),
            Self::Truncated => f.write_str("the stream ended within a message"),
            Self::Crowded => {
                write!(f, "a clock that names more than {CLOCK_IDS_HEARD_MAX} processes")
            }
            Self::Forbidden(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for WireError {}
