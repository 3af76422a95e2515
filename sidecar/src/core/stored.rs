//! Objects as they are kept: each is one run of bytes, name and all, in the encoding in which it travels.
//!
//! An object in pieces (a name, a list of lives, their records, a place in a tree of wide nodes) takes a fifth more
//! memory, and a shard that is sent whole would have to be put together first. Readers see through the bytes; a change
//! makes new ones. Large objects are kept in pieces, so that a change rewrites only the piece.

use std::ops::Deref;

use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize};

use super::identity::{Dot, Kind, LifeId, ObjectId, name_hash};
use super::limits::KEY_BYTES_MAX;
use super::lives::Lives;
use super::object::{Life, Object};
use super::op::Lease;
use super::record::{put_dot, put_varint, take, take_dot, take_varint, varint_len};
use super::records::{PACKED_BYTES_MAX, Records};
use super::time::{Hlc, UnixMillis};

/// One object with its name.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Packed(Box<[u8]>),
    Large(Box<(ObjectId, Object<'static>)>),
}

impl Stored {
    pub(crate) fn new(id: &ObjectId, object: Object<'_>) -> Self {
        if is_large(&object) {
            return Self::Large(Box::new((id.clone(), object.detached())));
        }
        let bytes: usize = object.lives.iter().map(|life| life.records.bytes()).sum();
        let mut out = Vec::with_capacity(bytes + id.key.len() + 64);
        pack(id, &object, &mut out);
        // Not by shrinking: an allocator may leave what shrinks a little where it is.
        Self::Packed(out.as_slice().into())
    }

    /// Reads one as it travels, where it is like most: one life, and nothing that is rare. `None` says nothing, the general
    /// reader decides; then nothing is taken.
    pub(crate) fn read_plain(bytes: &mut &[u8]) -> Option<Self> {
        let mut rest = *bytes;
        let kind = take(&mut rest, 1)?;
        Kind::ALL.get(usize::from(*kind.first()?))?;
        let key_len = usize::try_from(take_least(&mut rest)?).ok()?;
        let key = take(&mut rest, key_len)?;
        if !(1..=KEY_BYTES_MAX).contains(&key_len)
            || std::str::from_utf8(key).is_err()
            || take(&mut rest, 1)? != [1]
        {
            return None;
        }
        // The life: who made it, the counter, when, its deadlines, and no barriers that it has seen.
        take(&mut rest, 8)?;
        take_least(&mut rest)?;
        take(&mut rest, 8)?;
        take_least(&mut rest)?;
        take_least(&mut rest)?;
        if take(&mut rest, 1)? != [0] {
            return None;
        }
        let len = usize::try_from(take_least(&mut rest)?).ok().filter(|len| *len <= PACKED_BYTES_MAX)?;
        Records::cut(take(&mut rest, len)?)?;
        if take(&mut rest, 1)? != [0] {
            return None;
        }
        let packed = bytes.get(..bytes.len() - rest.len())?;
        *bytes = rest;
        Some(Self::Packed(packed.into()))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Packed(bytes) => kind_of(bytes.first()),
            Self::Large(large) => large.0.kind,
        }
    }

    pub(crate) fn key_bytes(&self) -> &[u8] {
        match self {
            Self::Packed(bytes) => take_name(bytes).map_or(&[], |(name, _)| name),
            Self::Large(large) => large.0.key.as_bytes(),
        }
    }

    pub(crate) fn key(&self) -> &str {
        std::str::from_utf8(self.key_bytes()).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> ObjectId {
        ObjectId::new(self.kind(), self.key())
    }

    pub(crate) fn hash(&self) -> u64 {
        name_hash(self.kind(), self.key_bytes())
    }

    /// Changes the records of an object that is packed, with one life and without barriers. There were so many bytes of them.
    pub(crate) fn replace_records(&mut self, len: usize, records: &[u8]) {
        let Self::Packed(bytes) = self else { return };
        // Behind the records it says that there are no barriers, before them how long they are.
        let start = bytes.len().saturating_sub(len + 1);
        if records.len() == len {
            bytes[start..start + len].copy_from_slice(records);
            return;
        }
        let head = start.saturating_sub(varint_len(len as u64));
        let mut out = Vec::with_capacity(head + varint_len(records.len() as u64) + records.len() + 1);
        out.extend_from_slice(&bytes[..head]);
        put_varint(&mut out, records.len() as u64);
        out.extend_from_slice(records);
        out.push(0);
        *bytes = out.into_boxed_slice();
    }

    /// What is stored under the name.
    pub(crate) fn object(&self) -> View<'_> {
        match self {
            Self::Packed(bytes) => {
                let object = take_name(bytes).and_then(|(_, rest)| unpack(rest));
                View::Packed(object.unwrap_or_default())
            }
            Self::Large(large) => View::Large(&large.1),
        }
    }

    /// Appends the encoding.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Packed(bytes) => out.extend_from_slice(bytes),
            Self::Large(large) => pack(&large.0, &large.1, out),
        }
    }

    /// Bytes of the encoding, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.len(),
            Self::Large(large) => large.1.lives.iter().map(|life| 64 + life.records.bytes()).sum(),
        }
    }
}

/// An object, seen where it is stored.
#[derive(Clone, Debug)]
pub(crate) enum View<'a> {
    Packed(Object<'a>),
    Large(&'a Object<'static>),
}

impl<'a> View<'a> {
    /// To be changed. Of a large one this is a copy.
    pub(crate) fn into_object(self) -> Object<'a> {
        match self {
            Self::Packed(object) => object,
            Self::Large(object) => object.clone(),
        }
    }
}

impl Default for View<'_> {
    fn default() -> Self {
        Self::Packed(Object::default())
    }
}

impl<'a> Deref for View<'a> {
    type Target = Object<'a>;

    fn deref(&self) -> &Object<'a> {
        match self {
            Self::Packed(object) => object,
            Self::Large(object) => object,
        }
    }
}

fn kind_of(byte: Option<&u8>) -> Kind {
    let index = byte.map_or(0, |byte| usize::from(*byte));
    Kind::ALL.get(index).copied().unwrap_or(Kind::Session)
}

/// The key, and what follows it.
fn take_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes.get(1..)?;
    let len = usize::try_from(take_varint(&mut rest)?).ok()?;
    Some((take(&mut rest, len)?, rest))
}

/// Whether an object is kept in pieces.
pub(crate) fn is_large(object: &Object<'_>) -> bool {
    object.lives.iter().map(|life| life.records.bytes()).sum::<usize>() > PACKED_BYTES_MAX
}

/// Appends the encoding of an object.
pub(super) fn pack(id: &ObjectId, object: &Object<'_>, out: &mut Vec<u8>) {
    out.push(id.kind as u8);
    put_varint(out, id.key.len() as u64);
    out.extend_from_slice(id.key.as_bytes());
    put_varint(out, object.lives.len() as u64);
    for life in &object.lives {
        put_dot(out, life.id);
        out.extend_from_slice(&life.created.0.to_le_bytes());
        put_varint(out, life.lease.idle.0);
        put_varint(out, life.lease.absolute.0);
        put_list(out, life.barriers_seen.as_ref().map(|seen| seen.as_slice()), |out, dot| put_dot(out, *dot));
        put_varint(out, life.records.bytes() as u64);
        life.records.append_to(out);
    }
    put_list(out, object.barriers.as_ref().map(|all| all.as_slice()), |out, (dot, until)| {
        put_dot(out, *dot);
        out.extend_from_slice(&until.0.to_le_bytes());
    });
}

fn put_list<T>(out: &mut Vec<u8>, list: Option<&[T]>, put: impl Fn(&mut Vec<u8>, &T)) {
    let Some(list) = list else { return out.push(0) };
    out.push(1);
    put_varint(out, list.len() as u64);
    list.iter().for_each(|item| put(out, item));
}

fn take_list<T>(rest: &mut &[u8], one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Option<Box<Vec<T>>>> {
    if take(rest, 1)? == [0] {
        return Some(None);
    }
    let count = take_varint(rest)?;
    let list: Option<Vec<T>> = (0..count).map(|_| one(rest)).collect();
    Some(Some(Box::new(list?)))
}

/// A number in as few bytes as it takes: another one is not kept as it came.
fn take_least(rest: &mut &[u8]) -> Option<u64> {
    let before = *rest;
    let value = take_varint(rest)?;
    let used = before.len() - rest.len();
    // Of the tenth byte one bit counts.
    let fits = before.get(9).is_none_or(|last| used < 10 || *last == 1);
    (used == varint_len(value) && fits).then_some(value)
}

fn take_hlc(rest: &mut &[u8]) -> Option<Hlc> {
    Some(Hlc(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)))
}

/// Sees through bytes that were packed here.
fn unpack(mut rest: &[u8]) -> Option<Object<'_>> {
    let rest = &mut rest;
    let lives = match take_varint(rest)? {
        1 => Lives::One([unpack_life(rest)?]),
        count => (0..count).map(|_| unpack_life(rest)).collect::<Option<_>>()?,
    };
    let barriers = take_list(rest, |rest| Some((take_dot(rest)?, take_hlc(rest)?)))?;
    Some(Object { lives, barriers })
}

fn unpack_life<'a>(rest: &mut &'a [u8]) -> Option<Life<'a>> {
    let id: LifeId = take_dot(rest)?;
    let created = take_hlc(rest)?;
    let (idle, absolute) = (UnixMillis(take_varint(rest)?), UnixMillis(take_varint(rest)?));
    let barriers_seen = take_list(rest, take_dot)?;
    let len = usize::try_from(take_varint(rest)?).ok()?;
    let records = Records::packed(take(rest, len)?);
    Some(Life { id, created, lease: Lease { idle, absolute }, barriers_seen, records })
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
            && self.key_bytes() == other.key_bytes()
            && *self.object() == *other.object()
    }
}

impl Eq for Stored {}

/// An object as it comes.
#[derive(Deserialize)]
struct Travelled<'a> {
    kind: Kind,
    key: &'a str,
    #[serde(borrow)]
    lives: Vec<TravelledLife<'a>>,
    barriers: Option<Vec<(Dot, Hlc)>>,
}

#[derive(Deserialize)]
struct TravelledLife<'a> {
    id: LifeId,
    created: Hlc,
    lease: Lease,
    barriers_seen: Option<Vec<Dot>>,
    records: &'a [u8],
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Travelled { kind, key, lives, barriers } = Travelled::deserialize(deserializer)?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(serde::de::Error::custom("a key of 1 to 512 bytes"));
        }
        let mut object = Object { barriers: barriers.map(Box::new), ..Object::default() };
        for TravelledLife { id, created, lease, barriers_seen, records } in lives {
            let records =
                Records::cut(records).ok_or_else(|| serde::de::Error::custom("malformed record"))?;
            let barriers_seen = barriers_seen.map(Box::new);
            object.lives.push(Life { id, created, lease, barriers_seen, records });
        }
        Ok(Self::new(&ObjectId::new(kind, key), object))
    }
}

// As the bytes stand: what postcard makes of a name and an object.
impl Serialize for Stored {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        let mut tuple = serializer.serialize_tuple(bytes.len())?;
        bytes.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
