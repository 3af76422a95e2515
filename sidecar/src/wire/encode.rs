//! From messages to frames.

use std::fmt;

use super::{
    CHECKED, CHECKSUM_BYTES, COMPRESSED, FRAME_BYTES_MAX, Format, Guard, MESSAGE_BYTES_MAX, MORE,
    PREFIX_BYTES, REFUSAL, bulk, checksum,
};
use crate::core::message::Message;

/// Shorter messages are not worth compressing.
const COMPRESS_FROM_BYTES: usize = 512;

/// Bytes of a refusal's text, at most.
pub(super) const REFUSAL_BYTES_MAX: usize = 256;

/// The message has more bytes than any message may have: no peer would take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its length.
    pub bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes, above the {MESSAGE_BYTES_MAX} that a peer takes", self.bytes)
    }
}

impl std::error::Error for TooLong {}

/// Appends a message's frames.
///
/// # Errors
/// The message is too long. Nothing has been appended then.
pub fn encode(message: &Message, format: impl Into<Format>, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let format = format.into();
    debug_assert!(format.version.carries(message), "{message:?} is not for version {}", format.version);
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    let body_start = out.len();
    if !bulk::append(message, out) && postcard::to_extend(message, Appender(out)).is_err() {
        // Only a value that cannot be serialized fails here, and there is none.
        out.truncate(start);
        return Ok(());
    }
    let bytes = out.len() - body_start;
    if bytes > MESSAGE_BYTES_MAX {
        out.truncate(start);
        return Err(TooLong { bytes });
    }
    if bytes < COMPRESS_FROM_BYTES {
        finish_frame(start, 0, format, out);
        return Ok(());
    }
    let body = out.split_off(body_start);
    out.truncate(start);
    let compressed = lz4_flex::block::compress_prepend_size(&body);
    if compressed.len() < body.len() - body.len() / 16 {
        write_frames(&compressed, COMPRESSED, format, out);
    } else {
        write_frames(&body, 0, format, out);
    }
    Ok(())
}

/// Appends a frame that tells the peer why the link closes.
pub fn encode_refusal(why: &str, format: impl Into<Format>, out: &mut Vec<u8>) {
    let end = why.floor_char_boundary(REFUSAL_BYTES_MAX);
    write_frame(&why.as_bytes()[..end], REFUSAL, format.into(), out);
}

/// Appends a frame that says nothing: the sender lives.
pub fn encode_keepalive(format: impl Into<Format>, out: &mut Vec<u8>) {
    write_frame(&[], 0, format.into(), out);
}

fn write_frames(body: &[u8], flags: u8, format: Format, out: &mut Vec<u8>) {
    out.reserve(body.len() + (PREFIX_BYTES + CHECKSUM_BYTES) * (body.len() / FRAME_BYTES_MAX + 1));
    let mut chunks = body.chunks(FRAME_BYTES_MAX).peekable();
    while let Some(chunk) = chunks.next() {
        let more = if chunks.peek().is_some() { MORE } else { 0 };
        write_frame(chunk, flags | more, format, out);
    }
}

fn write_frame(payload: &[u8], flags: u8, format: Format, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.extend_from_slice(payload);
    finish_frame(start, flags, format, out);
}

/// Fills in the prefix of a frame whose payload stands behind it already, and adds the checksum.
fn finish_frame(start: usize, flags: u8, format: Format, out: &mut Vec<u8>) {
    let checked = if format.guard == Guard::Checksum { CHECKED } else { 0 };
    let head = format.version.number() << 4 | flags | checked;
    if format.guard == Guard::Checksum {
        let sum = checksum(head, &out[start + PREFIX_BYTES..]);
        out.extend_from_slice(&sum);
    }
    // A frame is far below 4 GiB. The head counts, the length does not.
    let len = (out.len() - start - (PREFIX_BYTES - 1)) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4] = head;
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appender<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.0.extend(bytes);
    }
}
