//! Bytes to messages and back: versions, caps, golden bytes.
//!
//! A stream is a row of frames. A frame is one byte of version and flags, the length of its body as a varint, the
//! body, and, on a transport that does not authenticate, a checksum. A message that is longer than a frame goes on
//! over several. Each frame is compressed on its own, and only when that pays.
//!
//! What a peer sends is data: no input makes this room panic, recurse without bound, or allocate more than the caps
//! say. It owns the format and nothing else: it opens no socket and reads no clock, and the simulator uses it too.

// The ambient world is banned here (clippy.toml).
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod decode;
mod encode;
mod error;
mod frame;
mod validate;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Received};
pub use encode::{Encoder, TooLong, encoded_len};
pub use error::WireError;
pub use frame::VERSION;
pub use validate::{NAME_BYTES_MAX, is_name};

/// Bounds of one stream. Both ends use the same, except that a reader may allow more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireSettings {
    /// Bytes of one frame's body before compression, at most. Rule of thumb: what is copied without being noticed.
    pub frame_bytes_max: usize,
    /// Bytes of one message before compression, at most: what a peer can make this process hold.
    pub message_bytes_max: usize,
    /// Frames carry a checksum, and one without is refused. Off where the transport authenticates.
    pub checked: bool,
}

impl Default for WireSettings {
    fn default() -> Self {
        Self { frame_bytes_max: 256 << 10, message_bytes_max: 512 << 20, checked: true }
    }
}
