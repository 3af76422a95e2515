//! From messages to frames.

use std::cell::RefCell;
use std::fmt;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, compress_prepend_size, get_maximum_output_size,
};

use super::{
    CHECKED, CHECKSUM_BYTES, COMPRESSED, FRAME_BYTES_MAX, Format, Guard, MESSAGE_BYTES_MAX, MORE,
    PREFIX_BYTES, REFUSAL, bulk, checksum,
};
use crate::core::message::Message;
use crate::core::packed::PackedOp;

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
    if !bulk::append(message, out) && postcard::to_extend(message, Appender(out)).is_err() {
        // Only a value that cannot be serialized fails here, and there is none.
        out.truncate(start);
        return Ok(());
    }
    finish(start, format, out)
}

/// Appends the frames of one message with all of these operations.
///
/// # Errors
/// The message is too long. Nothing has been appended then.
pub fn encode_ops<'a>(
    ops: impl Iterator<Item = &'a PackedOp> + Clone,
    format: impl Into<Format>,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    bulk::append_each(ops, out);
    finish(start, format.into(), out)
}

/// Makes frames of the body that stands behind the room for a prefix.
fn finish(start: usize, format: Format, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let body_start = start + PREFIX_BYTES;
    let bytes = out.len() - body_start;
    if bytes > MESSAGE_BYTES_MAX {
        out.truncate(start);
        return Err(TooLong { bytes });
    }
    if bytes < COMPRESS_FROM_BYTES {
        finish_frame(start, 0, format, out);
        return Ok(());
    }
    PRESS.with_borrow_mut(|press| {
        let pressed = press.press(&out[body_start..]);
        if pressed.len() < bytes - bytes / 16 {
            out.truncate(start);
            write_frames(pressed, COMPRESSED, format, out);
        } else if bytes <= FRAME_BYTES_MAX {
            finish_frame(start, 0, format, out);
        } else {
            let body = out.split_off(body_start);
            out.truncate(start);
            write_frames(&body, 0, format, out);
        }
    });
    Ok(())
}

thread_local! {
    static PRESS: RefCell<Press> = RefCell::new(Press::new());
}

/// Compresses, and keeps what that takes of memory for the next time. What it was given last it gives again: the links of
/// a node mostly send the same operations, one after the other.
struct Press {
    table: CompressTable,
    /// Room for what is compressed; so many bytes of it are.
    bytes: Vec<u8>,
    len: usize,
    /// What they are of.
    body: Vec<u8>,
    #[cfg(test)]
    pressed: usize,
}

impl Press {
    /// Longer ones go with a table and room of their own: they are rare.
    const LEN_MAX: usize = 60 << 10;

    fn new() -> Self {
        Self {
            table: CompressTable::small(),
            bytes: Vec::new(),
            len: 0,
            body: Vec::new(),
            #[cfg(test)]
            pressed: 0,
        }
    }

    /// The length, and the compressed bytes.
    fn press(&mut self, body: &[u8]) -> &[u8] {
        if self.body != body || body.is_empty() {
            self.press_anew(body);
        }
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }

    fn press_anew(&mut self, body: &[u8]) {
        #[cfg(test)]
        {
            self.pressed += 1;
        }
        self.body.clear();
        if body.len() > Self::LEN_MAX {
            self.bytes = compress_prepend_size(body);
            self.len = self.bytes.len();
            return;
        }
        let (len, room) = (body.len() as u32, size_of::<u32>() + get_maximum_output_size(body.len()));
        if self.bytes.len() < room || self.bytes.len() > 2 * Self::LEN_MAX {
            self.bytes = vec![0; room];
        }
        let (prefix, rest) = self.bytes.split_at_mut(size_of::<u32>());
        prefix.copy_from_slice(&len.to_le_bytes());
        // There is room for the worst.
        let pressed = compress_into_with_table(body, rest, &mut self.table).unwrap_or(usize::MAX);
        self.len = size_of::<u32>().saturating_add(pressed);
        self.body.extend_from_slice(body);
    }
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

#[cfg(test)]
mod press_tests {
    use super::*;

    #[test]
    fn what_is_pressed_does_not_depend_on_what_was_pressed_before() {
        let mut press = Press::new();
        let body = |len: usize| (0..len).map(|at| (at * at / 7 % 31) as u8).collect::<Vec<u8>>();
        for len in [600, 5_000, 512, 70_000, 60 << 10, 513, 200_000, 1_000] {
            let body = body(len);
            for _ in 0..2 {
                assert_eq!(press.press(&body), compress_prepend_size(&body), "{len}");
            }
            assert!(len > Press::LEN_MAX || press.bytes.len() <= 2 * Press::LEN_MAX, "{len}");
            assert!(press.body.len() <= Press::LEN_MAX, "{len}");
        }
        // Of eight, two are too long to be kept.
        assert_eq!(press.pressed, 10);
    }
}
