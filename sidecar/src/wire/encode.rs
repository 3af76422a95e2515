//! From messages to frames.

use super::{COMPRESSED, FRAME_BYTES_MAX, MORE, PREFIX_BYTES, REFUSAL, VERSION};
use crate::core::message::Message;

/// Shorter messages are not worth compressing.
const COMPRESS_FROM_BYTES: usize = 512;

/// Bytes of a refusal's text, at most.
pub(super) const REFUSAL_BYTES_MAX: usize = 256;

/// Appends a message's frames.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    let body_start = out.len();
    if postcard::to_extend(message, Appender(out)).is_err() {
        // Only a value that cannot be serialized fails here, and there is none.
        out.truncate(start);
        return;
    }
    let body_len = out.len() - body_start;
    if body_len < COMPRESS_FROM_BYTES {
        write_prefix(&mut out[start..body_start], body_len, 0);
        return;
    }
    let body = out.split_off(body_start);
    out.truncate(start);
    let compressed = lz4_flex::block::compress_prepend_size(&body);
    if compressed.len() < body.len() - body.len() / 16 {
        write_frames(&compressed, COMPRESSED, out);
    } else {
        write_frames(&body, 0, out);
    }
}

/// Appends a frame that tells the peer why the link closes.
pub fn encode_refusal(why: &str, out: &mut Vec<u8>) {
    let mut end = why.len().min(REFUSAL_BYTES_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    write_frames(&why.as_bytes()[..end], REFUSAL, out);
}

fn write_frames(body: &[u8], flags: u8, out: &mut Vec<u8>) {
    out.reserve(body.len() + PREFIX_BYTES * (body.len() / FRAME_BYTES_MAX + 1));
    let mut chunks = body.chunks(FRAME_BYTES_MAX).peekable();
    while let Some(chunk) = chunks.next() {
        let more = if chunks.peek().is_some() { MORE } else { 0 };
        let mut prefix = [0; PREFIX_BYTES];
        write_prefix(&mut prefix, chunk.len(), flags | more);
        out.extend_from_slice(&prefix);
        out.extend_from_slice(chunk);
    }
}

fn write_prefix(prefix: &mut [u8], payload_len: usize, flags: u8) {
    // A frame's payload is far below 4 GiB.
    let len = payload_len as u32 + 1;
    prefix[..4].copy_from_slice(&len.to_le_bytes());
    prefix[4] = VERSION << 4 | flags;
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appender<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.0.extend(bytes);
    }
}
