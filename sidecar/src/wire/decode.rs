//! Frames to messages. Sans I/O: bytes come in as they arrive, messages come out as they are complete.

use bytes::{Buf, BytesMut};

use super::WireSettings;
use super::error::WireError;
use super::frame::{CHECKED, CHECKSUM_BYTES, COMPRESSED, CONTINUED, GOODBYE, Header, checksum, parse_length};
use super::validate::validate;
use crate::core::message::Message;

/// What a compressed body may take besides the block: its plain length.
const LENGTH_BYTES_MAX: usize = 4;

/// Reads one stream.
///
/// After an error it gives that error for ever: there is no way to tell where the next frame would start.
#[derive(Debug)]
pub struct Decoder {
    settings: WireSettings,
    /// What has arrived and is not looked at: at most one frame and one read.
    arrived: BytesMut,
    /// The frames so far of a message that goes on.
    assembled: Vec<u8>,
    unpacked: Vec<u8>,
    failed: Option<WireError>,
}

/// What a stream holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A message.
    Message(Message),
    /// The peer closes the stream, and says why.
    Goodbye(String),
}

impl Decoder {
    /// A reader of a new stream.
    #[must_use]
    pub fn new(settings: WireSettings) -> Self {
        Self { settings, arrived: BytesMut::new(), assembled: Vec::new(), unpacked: Vec::new(), failed: None }
    }

    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// Where bytes may be appended without a copy.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.arrived
    }

    /// The next message; `None` when more bytes are needed. Call until then after each piece of bytes: that bounds
    /// what is held.
    ///
    /// # Errors
    /// The stream is bad from here on.
    #[expect(clippy::should_implement_trait, reason = "an iterator that ends goes on when bytes arrive")]
    pub fn next(&mut self) -> Result<Option<Received>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance().inspect_err(|error| self.failed = Some(*error))
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// It is bad, or ends within a message.
    pub fn finish(&self) -> Result<(), WireError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.arrived.is_empty() && self.assembled.is_empty() => Ok(()),
            None => Err(WireError::Truncated),
        }
    }

    fn advance(&mut self) -> Result<Option<Received>, WireError> {
        loop {
            let body_len_max = self.settings.frame_bytes_max + LENGTH_BYTES_MAX;
            let Some(header) = Header::parse(&self.arrived, body_len_max)? else { return Ok(None) };
            let missing = header.total_len().saturating_sub(self.arrived.len());
            if missing > 0 {
                self.arrived.reserve(missing);
                return Ok(None);
            }
            let frame = self.arrived.split_to(header.total_len());
            if let Some(received) = self.frame(header, &frame[header.len..])? {
                return Ok(Some(received));
            }
        }
    }

    /// Takes one frame, without its header.
    fn frame(&mut self, header: Header, mut rest: &[u8]) -> Result<Option<Received>, WireError> {
        let stored = &rest[..header.body_len];
        rest.advance(header.body_len);
        let sum_is_right = rest.len() == CHECKSUM_BYTES && rest == checksum(header.flags, stored);
        if self.settings.checked && !header.has(CHECKED) || header.has(CHECKED) && !sum_is_right {
            return Err(WireError::Checksum);
        }
        if header.has(GOODBYE) {
            return goodbye(header, stored).map(Some);
        }
        let first_and_only = self.assembled.is_empty() && !header.has(CONTINUED);
        if stored.is_empty() && first_and_only {
            return Ok(None);
        }
        if header.has(COMPRESSED) {
            unpack(stored, self.settings.frame_bytes_max, &mut self.unpacked)?;
        }
        let plain = if header.has(COMPRESSED) { &self.unpacked[..] } else { stored };
        let bytes = self.assembled.len() + plain.len();
        if bytes > self.settings.message_bytes_max {
            return Err(WireError::Oversized { bytes, max: self.settings.message_bytes_max });
        }
        if first_and_only {
            return parse(plain).map(Some);
        }
        if plain.is_empty() {
            // A message could go on without end.
            return Err(WireError::Header);
        }
        self.assembled.extend_from_slice(plain);
        if header.has(CONTINUED) {
            return Ok(None);
        }
        parse(&std::mem::take(&mut self.assembled)).map(Some)
    }
}

fn goodbye(header: Header, reason: &[u8]) -> Result<Received, WireError> {
    if header.has(COMPRESSED) || header.has(CONTINUED) {
        return Err(WireError::Header);
    }
    // It goes to a log: one line, nothing that moves a cursor.
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    Ok(Received::Goodbye(String::from_utf8_lossy(reason).chars().map(printable).collect()))
}

/// Decompresses a body. What it says of its length is checked before anything is allocated.
fn unpack(stored: &[u8], plain_max: usize, plain: &mut Vec<u8>) -> Result<(), WireError> {
    let (plain_len, varint_len) = parse_length(stored)?.ok_or(WireError::Compression)?;
    if plain_len > plain_max {
        return Err(WireError::Oversized { bytes: plain_len, max: plain_max });
    }
    plain.resize(plain_len, 0);
    match lz4_flex::block::decompress_into(&stored[varint_len..], plain) {
        Ok(unpacked) if unpacked == plain_len => Ok(()),
        _ => Err(WireError::Compression),
    }
}

fn parse(plain: &[u8]) -> Result<Received, WireError> {
    let (message, rest) = postcard::take_from_bytes(plain).map_err(|_| WireError::Malformed)?;
    if !rest.is_empty() {
        return Err(WireError::Malformed);
    }
    validate(&message)?;
    Ok(Received::Message(message))
}
