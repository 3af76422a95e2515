//! From bytes, as they come, to messages.

use std::cell::RefCell;

use bytes::Bytes;

use super::budget::{Budget, Room, SMALL_BYTES};
use super::encode::REFUSAL_BYTES_MAX;
use super::validate::validate;
use super::{
    CHECKED, CHECKSUM_BYTES, COMPRESSED, FRAME_BYTES_MAX, Format, Guard, Incoming, MESSAGE_BYTES_MAX, MORE,
    PREFIX_BYTES, REFUSAL, Version, WireError, bulk, checksum,
};
use crate::core::message::Message;

/// What comes next on a stream.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Ready(Incoming),
    /// A message that takes long to unpack.
    Large(Packed),
}

/// A message of more than a mebibyte, as it came. Holds its room until it is unpacked or dropped.
#[derive(Debug)]
pub struct Packed {
    version: Version,
    flags: u8,
    payload: Vec<u8>,
    message_bytes_max: usize,
    room: Room,
}

impl Packed {
    /// Bytes of it, packed and unpacked, as it says itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payload.len().saturating_add(unpacked_bytes(self.flags, &self.payload))
    }

    /// Unpacks it: milliseconds for each few mebibytes.
    ///
    /// # Errors
    /// It is no message of ours; the stream has failed then.
    pub fn unpack(mut self) -> Result<Incoming, WireError> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Self { version, flags, payload, message_bytes_max, room } = &mut self;
            open(*version, *flags, payload, *message_bytes_max, room, Some(scratch))
        })
    }
}

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
    format: Format,
    failed: Option<WireError>,
    room: Room,
}

impl Decoder {
    /// A decoder of a stream of this format.
    #[must_use]
    pub fn new(format: impl Into<Format>) -> Self {
        Self::with_limit(format, MESSAGE_BYTES_MAX)
    }

    /// A decoder that refuses messages above this many bytes.
    #[must_use]
    pub fn with_limit(format: impl Into<Format>, message_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            read: 0,
            parts: Vec::new(),
            flags: None,
            message_bytes_max,
            format: format.into(),
            failed: None,
            room: Room::of(&Budget::new(usize::MAX)),
        }
    }

    /// The same stream from now on with another limit: who has introduced itself may send more.
    #[must_use]
    pub fn raise_limit(mut self, message_bytes_max: usize) -> Self {
        self.message_bytes_max = message_bytes_max;
        self
    }

    /// Takes room for large messages from a budget that other streams take from, too.
    #[must_use]
    pub fn share(mut self, budget: &Budget) -> Self {
        self.room = Room::of(budget);
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
        match self.next_packed()? {
            None => Ok(None),
            Some(Next::Ready(incoming)) => Ok(Some(incoming)),
            Some(Next::Large(packed)) => packed.unpack().map(Some).inspect_err(|error| self.fail(*error)),
        }
    }

    /// The same; a large message is left as it came, for its reader to unpack where nobody waits.
    ///
    /// # Errors
    /// When the bytes are no stream of ours. It stays failed.
    pub fn next_packed(&mut self) -> Result<Option<Next>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.step().inspect_err(|error| self.fail(*error))
    }

    fn fail(&mut self, error: WireError) {
        self.failed = Some(error);
        (self.buffer, self.read) = (Vec::new(), 0);
        self.parts = Vec::new();
        self.room.hold(0);
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// It has failed, or ends within a message.
    pub fn finish(&self) -> Result<(), WireError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.read == self.buffer.len() && self.flags.is_none() => Ok(()),
            None => Err(WireError::Truncated),
        }
    }

    fn step(&mut self) -> Result<Option<Next>, WireError> {
        loop {
            let rest = &self.buffer[self.read..];
            let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_BYTES>() else {
                return Ok(None);
            };
            let [l0, l1, l2, l3, head] = *prefix;
            if head >> 4 != self.format.version.number() {
                return Err(WireError::UnknownVersion(head >> 4));
            }
            let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let stored_len = len.checked_sub(1).ok_or(WireError::BadFrame)?;
            if stored_len > FRAME_BYTES_MAX + CHECKSUM_BYTES {
                return Err(WireError::Oversized);
            }
            let Some(stored) = rest.get(..stored_len) else { return Ok(None) };
            let payload = guarded(head, stored, self.format.guard)?;
            if payload.len() > FRAME_BYTES_MAX {
                return Err(WireError::Oversized);
            }
            let flags = head & 0x0f & !CHECKED;
            check_flags(flags, self.flags)?;
            self.read += PREFIX_BYTES + stored_len;
            let alone = flags & MORE == 0 && self.flags.is_none();
            match (alone, payload.is_empty()) {
                // A keepalive; a message is never empty.
                (true, true) if flags == 0 => continue,
                (true, _) if unpacked_bytes(flags, payload) > SMALL_BYTES => {
                    let payload = payload.to_vec();
                    return Ok(Some(Next::Large(self.packed(flags, payload))));
                }
                (true, _) => {
                    let version = self.format.version;
                    let opened = open(version, flags, payload, self.message_bytes_max, &mut self.room, None);
                    self.room.hold(0);
                    return opened.map(|incoming| Some(Next::Ready(incoming)));
                }
                // A message could go on without end.
                (false, true) => return Err(WireError::BadFrame),
                (false, false) => {}
            }
            if self.parts.len() + payload.len() > self.message_bytes_max {
                return Err(WireError::Oversized);
            }
            if !self.room.hold(self.parts.len() + payload.len()) {
                return Err(WireError::NoRoom);
            }
            self.parts.extend_from_slice(payload);
            if flags & MORE != 0 {
                self.flags = Some(flags & !MORE);
                continue;
            }
            self.flags = None;
            let whole = std::mem::take(&mut self.parts);
            let packed = self.packed(flags, whole);
            return match unpacked_bytes(flags, &packed.payload) > SMALL_BYTES {
                true => Ok(Some(Next::Large(packed))),
                false => packed.unpack().map(|incoming| Some(Next::Ready(incoming))),
            };
        }
    }

    /// A message that is whole, and the room that it holds.
    fn packed(&mut self, flags: u8, payload: Vec<u8>) -> Packed {
        let room = self.room.take();
        let (version, message_bytes_max) = (self.format.version, self.message_bytes_max);
        Packed { version, flags, payload, message_bytes_max, room }
    }
}

/// The payload of a frame, once what guards it has been looked at.
fn guarded(head: u8, stored: &[u8], guard: Guard) -> Result<&[u8], WireError> {
    if head & CHECKED == 0 {
        return if guard == Guard::Transport { Ok(stored) } else { Err(WireError::Checksum) };
    }
    let (payload, sum) = stored.split_last_chunk::<CHECKSUM_BYTES>().ok_or(WireError::Checksum)?;
    if *sum == checksum(head, payload) { Ok(payload) } else { Err(WireError::Checksum) }
}

fn check_flags(flags: u8, begun: Option<u8>) -> Result<(), WireError> {
    let known = flags & !(MORE | COMPRESSED | REFUSAL) == 0;
    let refusal_alone = flags & REFUSAL == 0 || flags == REFUSAL;
    let goes_on = begun.is_none_or(|begun| begun == flags & !MORE);
    if known && refusal_alone && goes_on { Ok(()) } else { Err(WireError::BadFrame) }
}

/// Bytes of a large message, unpacked, for which room is kept: a shard of a million sessions, and one of the next size.
const SCRATCH_BYTES: usize = 8 << 20;

thread_local! {
    /// Room for what a thread unpacks next: fresh memory for each would cost as much as the unpacking.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a message says that it takes, unpacked.
fn unpacked_bytes(flags: u8, payload: &[u8]) -> usize {
    let said = || lz4_flex::block::uncompressed_size(payload).map_or(0, |(size, _)| size);
    if flags & COMPRESSED == 0 { payload.len() } else { said().max(payload.len()) }
}

fn open(
    version: Version,
    flags: u8,
    payload: &[u8],
    message_bytes_max: usize,
    room: &mut Room,
    scratch: Option<&mut Vec<u8>>,
) -> Result<Incoming, WireError> {
    if flags & REFUSAL != 0 {
        let text = &payload[..payload.len().min(REFUSAL_BYTES_MAX)];
        // It goes to a log: one line, nothing that moves a cursor.
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        return Ok(Incoming::Refusal(String::from_utf8_lossy(text).chars().map(printable).collect()));
    }
    if flags & COMPRESSED == 0 {
        return match bulk::is_ops(payload) {
            true => ops_message(Bytes::copy_from_slice(payload)),
            false => message(version, payload),
        };
    }
    let (size, rest) = lz4_flex::block::uncompressed_size(payload).map_err(|_| WireError::BadCompression)?;
    // lz4 shrinks to no less than 1 part in 255.
    if size > message_bytes_max || size / 255 > rest.len() {
        return Err(WireError::Oversized);
    }
    if !room.hold(payload.len() + size) {
        return Err(WireError::NoRoom);
    }
    if let Some(scratch) = scratch.filter(|_| size <= SCRATCH_BYTES) {
        scratch.resize(scratch.len().max(size), 0);
        let plain = &mut scratch[..size];
        let len = lz4_flex::block::decompress_into(rest, plain).map_err(|_| WireError::BadCompression)?;
        let plain = plain.get(..len).unwrap_or_default();
        return if bulk::is_ops(plain) {
            ops_message(Bytes::copy_from_slice(plain))
        } else {
            message(version, plain)
        };
    }
    let plain = lz4_flex::block::decompress(rest, size).map_err(|_| WireError::BadCompression)?;
    if bulk::is_ops(&plain) { ops_message(plain.into()) } else { message(version, &plain) }
}

fn ops_message(bytes: Bytes) -> Result<Incoming, WireError> {
    let message = bulk::read(bytes).ok_or(WireError::Malformed)?;
    validate(&message)?;
    Ok(Incoming::Message(Box::new(message)))
}

fn message(version: Version, bytes: &[u8]) -> Result<Incoming, WireError> {
    if let Some(message) = bulk::read_state(bytes) {
        validate(&message)?;
        return Ok(Incoming::Message(Box::new(message)));
    }
    match postcard::take_from_bytes::<Message>(bytes) {
        Ok((message, [])) => {
            if !version.carries(&message) {
                return Err(WireError::Forbidden("a message that the version agreed on does not have"));
            }
            validate(&message)?;
            Ok(Incoming::Message(Box::new(message)))
        }
        _ => Err(WireError::Malformed),
    }
}
