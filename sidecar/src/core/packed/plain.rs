//! Plain edits (values and objects take the place of what stands at their paths), as nearly all operations are: read and
//! written by hand, in a third of the time that the general way takes. Whatever is anything else goes the general way,
//! which alone decides what is malformed.

use crate::core::identity::{Dot, Kind, ObjectId, ReplicaId};
use crate::core::limits::KEY_BYTES_MAX;
use crate::core::op::{Action, Clear, Content, Edit, Op, Put, Removal};
use crate::core::path::Path;
use crate::core::time::{Hlc, UnixMillis};
use crate::core::value::JsonText;

/// Their numbers among the variants: golden bytes hold them.
const EDIT: u8 = 1;
const SUBTREE: u8 = 0;
const REGISTER: u8 = 0;
const MARKER: u8 = 1;

/// Longer lists go the general way.
const ITEMS_MAX: u64 = 64;

/// Reads a plain edit at the front of some bytes, and what follows it. `None` says nothing.
pub(super) fn read(mut bytes: &[u8]) -> Option<(Op, &[u8])> {
    let rest = &mut bytes;
    let dot = read_dot(rest)?;
    let deps = read_list(rest, read_dot)?;
    let hlc = Hlc(u64::from_le_bytes(*take_chunk(rest)?));
    let kind = *Kind::ALL.get(usize::from(take_byte(rest)?))?;
    let key = read_text(rest).filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()))?;
    let object = ObjectId::new(kind, key);
    take_exactly(rest, EDIT)?;
    let life = read_dot(rest)?;
    let idle = match take_byte(rest)? {
        0 => None,
        1 => Some(UnixMillis(read_number(rest)?)),
        _ => return None,
    };
    let clears = read_list(rest, |rest| {
        take_exactly(rest, SUBTREE)?;
        Path::from_encoded(read_bytes(rest)?).ok().map(Clear::Subtree)
    })?;
    let seen = read_list(rest, read_dot)?;
    take_exactly(rest, 0)?;
    let puts = read_list(rest, |rest| {
        let path = read_path(rest, &clears)?;
        let content = match take_byte(rest)? {
            REGISTER => Content::Register(JsonText::checked(read_text(rest)?)?),
            MARKER => Content::Marker,
            _ => return None,
        };
        Some(Put { path, content })
    })?;
    take_exactly(rest, 0)?;
    let removal = Removal { clears, seen, covers: Vec::new() };
    let edit = Edit { removal, puts, increments: Vec::new() };
    let action = Action::Edit { life, idle, edit };
    Some((Op { dot, deps, hlc, object, action }, bytes))
}

fn take_chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(chunk)
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    take_chunk::<1>(rest).map(|[byte]| *byte)
}

fn take_exactly(rest: &mut &[u8], expected: u8) -> Option<()> {
    (take_byte(rest)? == expected).then_some(())
}

/// Of at most 63 bits: where the last one is, the general way looks closer.
fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (at, byte) in rest.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            *rest = &rest[at + 1..];
            return Some(value);
        }
    }
    None
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(read_number(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(bytes)
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(read_bytes(rest)?).ok()
}

/// What is written is mostly written where something is cleared.
fn read_path(rest: &mut &[u8], clears: &[Clear]) -> Option<Path> {
    let bytes = read_bytes(rest)?;
    match clears.iter().take(4).map(Clear::path).find(|path| path.as_bytes() == bytes) {
        Some(path) => Some(path.clone()),
        None => Path::from_encoded(bytes).ok(),
    }
}

fn read_dot(rest: &mut &[u8]) -> Option<Dot> {
    let actor = ReplicaId(u64::from_le_bytes(*take_chunk(rest)?));
    Some(Dot::new(actor, read_number(rest)?))
}

fn read_list<T>(rest: &mut &[u8], mut one: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = read_number(rest).filter(|count| *count <= ITEMS_MAX)?;
    let mut list = Vec::with_capacity(count as usize);
    for _ in 0..count {
        list.push(one(rest)?);
    }
    Some(list)
}

/// Where an encoding is made: nothing more goes in once it is full.
pub(super) struct Room<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Room<N> {
    pub(super) fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes.get_mut(self.len..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }

    fn put_byte(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len += 1;
        Some(())
    }

    fn put_number(&mut self, mut value: u64) -> Option<()> {
        while value >= 0x80 {
            self.put_byte(value as u8 | 0x80)?;
            value >>= 7;
        }
        self.put_byte(value as u8)
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.put_number(bytes.len() as u64)?;
        self.put(bytes)
    }

    fn put_dot(&mut self, dot: &Dot) -> Option<()> {
        self.put(&dot.actor.0.to_le_bytes())?;
        self.put_number(dot.counter)
    }

    fn put_list<T>(&mut self, list: &[T], mut one: impl FnMut(&mut Self, &T) -> Option<()>) -> Option<()> {
        self.put_number(list.len() as u64)?;
        list.iter().try_for_each(|item| one(self, item))
    }

    /// The encoding of a plain edit; `None` for any other operation, and for one that is longer than the room.
    pub(super) fn write(&mut self, op: &Op) -> Option<&[u8]> {
        let Action::Edit { life, idle, edit } = &op.action else { return None };
        if !edit.removal.covers.is_empty() || !edit.increments.is_empty() {
            return None;
        }
        self.put_dot(&op.dot)?;
        self.put_list(&op.deps, Self::put_dot)?;
        self.put(&op.hlc.0.to_le_bytes())?;
        self.put_byte(op.object.kind as u8)?;
        self.put_bytes(op.object.key.as_bytes())?;
        self.put_byte(EDIT)?;
        self.put_dot(life)?;
        match idle {
            None => self.put_byte(0)?,
            Some(idle) => {
                self.put_byte(1)?;
                self.put_number(idle.0)?;
            }
        }
        self.put_list(&edit.removal.clears, |room, clear| {
            let Clear::Subtree(path) = clear else { return None };
            room.put_byte(SUBTREE)?;
            room.put_bytes(path.as_bytes())
        })?;
        self.put_list(&edit.removal.seen, Self::put_dot)?;
        self.put_byte(0)?;
        self.put_list(&edit.puts, |room, put| {
            room.put_bytes(put.path.as_bytes())?;
            match &put.content {
                Content::Register(text) => {
                    room.put_byte(REGISTER)?;
                    room.put_bytes(text.as_str().as_bytes())
                }
                Content::Marker => room.put_byte(MARKER),
                Content::Member(_) => None,
            }
        })?;
        self.put_byte(0)?;
        Some(self.written())
    }
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
