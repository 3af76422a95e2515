//! Objects as they are kept: each is one run of bytes, name and all, in the encoding in which it travels.
//!
//! An object in pieces (a name, a list of lives, their records, a place in a tree of wide nodes) takes a fifth more
//! memory, and a shard that is sent whole would have to be put together first. Readers see through the bytes; a change
//! makes new ones. Large objects are kept in pieces, so that a change rewrites only the piece.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Deref;

use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize};

use super::identity::{Dot, Kind, LifeId, ObjectId, name_hash};
use super::limits::KEY_BYTES_MAX;
use super::object::{Life, Object};
use super::op::Lease;
use super::record::{put_dot, put_varint, take, take_dot, take_varint};
use super::records::{PACKED_BYTES_MAX, Records};
use super::time::{Hlc, UnixMillis};

/// One object with its name. Compares by its key: each kind has a set of its own.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Packed(Box<[u8]>),
    Large(Box<(ObjectId, Object<'static>)>),
}

impl Stored {
    pub(crate) fn new(id: &ObjectId, object: Object<'_>) -> Self {
        let bytes: usize = object.lives.iter().map(|life| life.records.bytes()).sum();
        if bytes > PACKED_BYTES_MAX {
            return Self::Large(Box::new((id.clone(), object.detached())));
        }
        let mut out = Vec::with_capacity(bytes + id.key.len() + 64);
        pack(id, &object, &mut out);
        Self::Packed(out.into_boxed_slice())
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Packed(bytes) => kind_of(bytes.first()),
            Self::Large(large) => large.0.kind,
        }
    }

    fn key_bytes(&self) -> &[u8] {
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

fn pack(id: &ObjectId, object: &Object<'_>, out: &mut Vec<u8>) {
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

fn take_hlc(rest: &mut &[u8]) -> Option<Hlc> {
    Some(Hlc(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)))
}

/// Sees through bytes that were packed here.
fn unpack(mut rest: &[u8]) -> Option<Object<'_>> {
    let rest = &mut rest;
    let mut object = Object::default();
    for _ in 0..take_varint(rest)? {
        let id: LifeId = take_dot(rest)?;
        let created = take_hlc(rest)?;
        let (idle, absolute) = (UnixMillis(take_varint(rest)?), UnixMillis(take_varint(rest)?));
        let barriers_seen = take_list(rest, take_dot)?;
        let len = usize::try_from(take_varint(rest)?).ok()?;
        let records = Records::packed(take(rest, len)?);
        object.lives.push(Life { id, created, lease: Lease { idle, absolute }, barriers_seen, records });
    }
    object.barriers = take_list(rest, |rest| Some((take_dot(rest)?, take_hlc(rest)?)))?;
    Some(object)
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

/// A place in a set of objects of one kind, found by the bytes of its key.
#[derive(Clone, Debug)]
struct Place(Stored);

impl Borrow<[u8]> for Place {
    fn borrow(&self) -> &[u8] {
        self.0.key_bytes()
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.0.key_bytes() == other.0.key_bytes()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key_bytes().cmp(other.0.key_bytes())
    }
}

/// All objects of a shard, in the order of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    kinds: [BTreeSet<Place>; Kind::ALL.len()],
}

impl Objects {
    /// From objects in any order.
    pub(crate) fn of(all: impl IntoIterator<Item = Stored>) -> Self {
        let mut kinds: [Vec<Place>; Kind::ALL.len()] = Default::default();
        for stored in all {
            kinds[stored.kind() as usize].push(Place(stored));
        }
        Self { kinds: kinds.map(|places| places.into_iter().collect()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.kinds.iter().map(BTreeSet::len).sum()
    }

    pub(crate) fn len_by_kind(&self) -> [u64; Kind::ALL.len()] {
        std::array::from_fn(|kind| self.kinds[kind].len() as u64)
    }

    fn find(&self, id: &ObjectId) -> Option<&Stored> {
        self.kinds[id.kind as usize].get(id.key.as_bytes()).map(|place| &place.0)
    }

    pub(crate) fn get(&self, id: &ObjectId) -> Option<View<'_>> {
        self.find(id).map(Stored::object)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.kinds.iter().flatten().map(|place| &place.0)
    }

    /// Those of a kind, from a key on.
    pub(crate) fn range(&self, kind: Kind, from: &str) -> impl Iterator<Item = &Stored> {
        let from = (std::ops::Bound::Included(from.as_bytes()), std::ops::Bound::Unbounded);
        self.kinds[kind as usize].range::<[u8], _>(from).map(|place| &place.0)
    }

    /// Puts an object in the place of the one with its name.
    pub(crate) fn put(&mut self, stored: Stored) {
        self.kinds[stored.kind() as usize].replace(Place(stored));
    }

    pub(crate) fn take(&mut self, id: &ObjectId) -> Option<Stored> {
        self.kinds[id.kind as usize].take(id.key.as_bytes()).map(|place| place.0)
    }

    /// Changes one object, or a vacant one where there is none; what is vacant then is stored no longer.
    pub(crate) fn change<R>(&mut self, id: &ObjectId, change: impl FnOnce(&mut Object<'_>) -> R) -> R {
        let (result, new, stays) = match self.find(id) {
            Some(Stored::Large(_)) => {
                // Out of its place, or all of it would have to be copied.
                let mut object = match self.take(id) {
                    Some(Stored::Large(large)) => large.1,
                    _ => Object::default(),
                };
                (change(&mut object), changed(id, object), false)
            }
            Some(packed) => {
                let mut object = packed.object().into_object();
                (change(&mut object), changed(id, object), true)
            }
            None => {
                let mut object = Object::default();
                (change(&mut object), changed(id, object), false)
            }
        };
        match new {
            Some(new) => self.put(new),
            None if stays => drop(self.take(id)),
            None => {}
        }
        result
    }
}

fn changed(id: &ObjectId, object: Object<'_>) -> Option<Stored> {
    (!object.is_vacant()).then(|| Stored::new(id, object))
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
