//! From bytes, as they come, to messages.

use super::encode::REFUSAL_BYTES_MAX;
use super::{
    COMPRESSED, FRAME_BYTES_MAX, Incoming, MESSAGE_BYTES_MAX, MORE, PREFIX_BYTES, REFUSAL, VERSION, WireError,
};
use crate::core::message::Message;

/// Takes a stream's bytes and gives its messages. After an error it gives nothing but that error.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of the buffer that have been read.
    read: usize,
    /// The message so far, when it came in several frames.
    parts: Vec<u8>,
    /// The flags of those frames, the last one's `MORE` left out.
    flags: Option<u8>,
    message_bytes_max: usize,
    failed: Option<WireError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MESSAGE_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that refuses messages above this many bytes.
    #[must_use]
    pub fn with_limit(message_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), read: 0, parts: Vec::new(), flags: None, message_bytes_max, failed: None }
    }

    /// The same stream from now on with another limit: who has introduced itself may send more.
    #[must_use]
    pub fn raise_limit(mut self, message_bytes_max: usize) -> Self {
        self.message_bytes_max = message_bytes_max;
        self
    }

    /// Takes what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message; `None` until more bytes come.
    ///
    /// # Errors
    /// When the bytes are no stream of ours. It stays failed.
    pub fn next_message(&mut self) -> Result<Option<Incoming>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.step().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer = Vec::new();
            self.parts = Vec::new();
        })
    }

    fn step(&mut self) -> Result<Option<Incoming>, WireError> {
        loop {
            let rest = &self.buffer[self.read..];
            let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_BYTES>() else {
                return Ok(None);
            };
            let [l0, l1, l2, l3, head] = *prefix;
            if head >> 4 != VERSION {
                return Err(WireError::UnknownVersion(head >> 4));
            }
            let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let payload_len = len.checked_sub(1).ok_or(WireError::BadFrame)?;
            if payload_len > FRAME_BYTES_MAX {
                return Err(WireError::Oversized);
            }
            let Some(payload) = rest.get(..payload_len) else { return Ok(None) };
            let flags = head & 0x0f;
            check_flags(flags, self.flags)?;
            self.read += PREFIX_BYTES + payload_len;
            if flags & MORE != 0 || self.flags.is_some() {
                if self.parts.len() + payload_len > self.message_bytes_max {
                    return Err(WireError::Oversized);
                }
                self.parts.extend_from_slice(payload);
                if flags & MORE != 0 {
                    self.flags = Some(flags & !MORE);
                    continue;
                }
                self.flags = None;
                let whole = std::mem::take(&mut self.parts);
                return open(flags, &whole, self.message_bytes_max).map(Some);
            }
            return open(flags, payload, self.message_bytes_max).map(Some);
        }
    }
}

fn check_flags(flags: u8, begun: Option<u8>) -> Result<(), WireError> {
    let known = flags & !(MORE | COMPRESSED | REFUSAL) == 0;
    let refusal_alone = flags & REFUSAL == 0 || flags == REFUSAL;
    let goes_on = begun.is_none_or(|begun| begun == flags & !MORE);
    if known && refusal_alone && goes_on { Ok(()) } else { Err(WireError::BadFrame) }
}

fn open(flags: u8, payload: &[u8], message_bytes_max: usize) -> Result<Incoming, WireError> {
    if flags & REFUSAL != 0 {
        let text = &payload[..payload.len().min(REFUSAL_BYTES_MAX)];
        return Ok(Incoming::Refusal(String::from_utf8_lossy(text).into_owned()));
    }
    if flags & COMPRESSED == 0 {
        return message(payload);
    }
    let (size, rest) = lz4_flex::block::uncompressed_size(payload).map_err(|_| WireError::BadCompression)?;
    // lz4 shrinks to no less than 1 part in 255.
    if size > message_bytes_max || size / 255 > rest.len() {
        return Err(WireError::Oversized);
    }
    let plain = lz4_flex::block::decompress(rest, size).map_err(|_| WireError::BadCompression)?;
    message(&plain)
}

fn message(bytes: &[u8]) -> Result<Incoming, WireError> {
    match postcard::take_from_bytes::<Message>(bytes) {
        Ok((message, [])) => Ok(Incoming::Message(Box::new(message))),
        _ => Err(WireError::Malformed),
    }
}
