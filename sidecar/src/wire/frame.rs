//! The header of a frame.

use super::error::WireError;

/// The version of the format that this program speaks.
pub const VERSION: u8 = 1;

/// The body is a varint with its plain length, then one LZ4 block.
pub(super) const COMPRESSED: u8 = 1;
/// The message goes on in the next frame.
pub(super) const CONTINUED: u8 = 2;
/// The body is the reason for which the sender closes the stream.
pub(super) const GOODBYE: u8 = 4;
/// A checksum of header byte and body follows the body.
pub(super) const CHECKED: u8 = 8;

pub(super) const CHECKSUM_BYTES: usize = 4;

/// A length takes at most four bytes of seven bits.
const LENGTH_BITS_MAX: u32 = 28;

/// A header that has arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) flags: u8,
    /// Of the body, as it travels.
    pub(super) body_len: usize,
    /// Of this header.
    pub(super) len: usize,
}

impl Header {
    /// Reads a header; `None` when more bytes are needed.
    pub(super) fn parse(bytes: &[u8], body_len_max: usize) -> Result<Option<Self>, WireError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        if first >> 4 != VERSION {
            return Err(WireError::UnknownVersion { version: first >> 4 });
        }
        let Some((body_len, varint_len)) = parse_length(rest)? else { return Ok(None) };
        if body_len > body_len_max {
            return Err(WireError::Oversized { bytes: body_len, max: body_len_max });
        }
        Ok(Some(Self { flags: first & 0x0f, body_len, len: 1 + varint_len }))
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Of the frame.
    pub(super) fn total_len(self) -> usize {
        let checksum = if self.has(CHECKED) { CHECKSUM_BYTES } else { 0 };
        self.len + self.body_len + checksum
    }
}

/// Appends a header.
pub(super) fn write_header(flags: u8, body_len: usize, out: &mut Vec<u8>) {
    out.push(first_byte(flags));
    write_length(body_len, out);
}

/// Version and flags.
pub(super) fn first_byte(flags: u8) -> u8 {
    VERSION << 4 | flags
}

/// Appends a length.
pub(super) fn write_length(mut len: usize, out: &mut Vec<u8>) {
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

/// Reads a length, and how many bytes it takes; `None` when more are needed.
pub(super) fn parse_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut len = 0;
    for (at, shift) in (0..LENGTH_BITS_MAX).step_by(7).enumerate() {
        let Some(&byte) = bytes.get(at) else { return Ok(None) };
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(Some((len, at + 1)));
        }
    }
    Err(WireError::Header)
}

/// Guards a frame against the network: not against anyone who means it.
pub(super) fn checksum(flags: u8, body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(body, u64::from(first_byte(flags)));
    (hash as u32).to_le_bytes()
}
