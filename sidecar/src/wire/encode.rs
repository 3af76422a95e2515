//! Messages to frames.

use std::fmt;

use postcard::ser_flavors::Flavor;

use super::WireSettings;
use super::frame::{CHECKED, COMPRESSED, CONTINUED, GOODBYE, checksum, write_header, write_length};
use crate::core::message::Message;

/// Shorter bodies are not worth the time.
const COMPRESS_BYTES_MIN: usize = 256;

/// A reason is one line.
const GOODBYE_BYTES_MAX: usize = 256;

/// What the encoder keeps between messages, at most.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

/// Turns messages into frames.
#[derive(Debug)]
pub struct Encoder {
    settings: WireSettings,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// The message has more bytes than any message may have. It cannot be sent at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its length.
    pub bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes cannot be sent", self.bytes)
    }
}

impl std::error::Error for TooLong {}

impl Encoder {
    /// An encoder within these bounds.
    #[must_use]
    pub fn new(settings: WireSettings) -> Self {
        Self { settings, plain: Vec::new(), packed: Vec::new() }
    }

    /// Appends the frames of a message.
    ///
    /// # Errors
    /// The message is longer than the limit. Nothing has been appended then.
    pub fn message(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        // Nothing in a message fails to serialize, and the buffer grows.
        let _ = postcard::serialize_with_flavor(message, Growing(&mut plain));
        let fits = plain.len() <= self.settings.message_bytes_max;
        if fits {
            let mut chunks = plain.chunks(self.settings.frame_bytes_max.max(1)).peekable();
            while let Some(chunk) = chunks.next() {
                self.frame(if chunks.peek().is_some() { CONTINUED } else { 0 }, chunk, out);
            }
        }
        let bytes = plain.len();
        plain.shrink_to(SCRATCH_BYTES_MAX);
        self.plain = plain;
        if fits { Ok(()) } else { Err(TooLong { bytes }) }
    }

    /// Appends a frame that says why the stream ends here.
    pub fn goodbye(&mut self, reason: &str, out: &mut Vec<u8>) {
        let end = reason.floor_char_boundary(GOODBYE_BYTES_MAX.min(self.settings.frame_bytes_max));
        self.frame(GOODBYE, &reason.as_bytes()[..end], out);
    }

    /// Appends a frame that says nothing, so that the reader knows that the sender lives.
    pub fn keepalive(&mut self, out: &mut Vec<u8>) {
        self.frame(0, &[], out);
    }

    fn frame(&mut self, flags: u8, plain: &[u8], out: &mut Vec<u8>) {
        let mut flags = flags | if self.settings.checked { CHECKED } else { 0 };
        let body = if self.pack(plain) {
            flags |= COMPRESSED;
            &self.packed
        } else {
            plain
        };
        write_header(flags, body.len(), out);
        out.extend_from_slice(body);
        if self.settings.checked {
            out.extend_from_slice(&checksum(flags, body));
        }
    }

    /// Compresses into the second buffer. Gives whether that pays: an eighth, or it costs the reader more than it
    /// saves the network.
    fn pack(&mut self, plain: &[u8]) -> bool {
        if plain.len() < COMPRESS_BYTES_MIN {
            return false;
        }
        self.packed.clear();
        write_length(plain.len(), &mut self.packed);
        let start = self.packed.len();
        self.packed.resize(start + lz4_flex::block::get_maximum_output_size(plain.len()), 0);
        let Ok(packed) = lz4_flex::block::compress_into(plain, &mut self.packed[start..]) else {
            return false;
        };
        self.packed.truncate(start + packed);
        self.packed.len() <= plain.len() - plain.len() / 8
    }
}

/// Bytes of a message before framing and compression.
#[must_use]
pub fn encoded_len(message: &Message) -> usize {
    postcard::serialize_with_flavor(message, postcard::ser_flavors::Size::default()).unwrap_or(usize::MAX)
}

/// Appends to a buffer that is used again.
struct Growing<'a>(&'a mut Vec<u8>);

impl Flavor for Growing<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
