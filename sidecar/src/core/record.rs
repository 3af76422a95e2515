//! One record of a life: its bytes, and what they say.
//!
//! A record is `key length, key, flags, [dot, stamp], payload`. Its key is the encoded path, a tag for what stands
//! there, and for a member its text. Dot and stamp are left out where they are those of the life itself.

use std::ops::Range;

use super::identity::{Dot, LifeId, ReplicaId};
use super::op::Content;
use super::path::{Path, split_segment};
use super::time::Hlc;
use super::value::JsonText;

pub(crate) const REGISTER: u8 = 1;
pub(crate) const MARKER: u8 = 2;
pub(crate) const MEMBER: u8 = 3;
pub(crate) const ACCUMULATOR: u8 = 4;

/// What every record of a life is relative to: the operation that created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) life: LifeId,
    pub(crate) created: Hlc,
}

/// One replica's running total at one path, named by the dot of its first increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accumulator {
    /// The owner's sequence at its last increment.
    pub(crate) counted: u64,
    /// The total there.
    pub(crate) total: i64,
    /// The sequence up to which resets have covered it.
    pub(crate) covered: u64,
    /// The total there.
    pub(crate) covered_total: i64,
    /// The operation that covered it last: when its owner has that, a full cover may go.
    pub(crate) cover: Option<Dot>,
    /// What others counted whose accumulators have been folded into this one.
    pub(crate) absorbed: Option<Absorbed>,
}

/// What an accumulator stands for besides what its owner counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Absorbed {
    /// Whoever has covered the accumulator up to this sequence has covered this.
    pub(crate) at: u64,
    /// What they counted.
    pub(crate) sum: i64,
    /// How many they were: of two states of one accumulator the one with more has folded later.
    pub(crate) number: u64,
}

impl Accumulator {
    /// A running total, of which nothing is covered.
    pub(crate) fn new(counted: u64, total: i64) -> Self {
        Self { counted, total, covered: 0, covered_total: 0, cover: None, absorbed: None }
    }

    /// Covers what was counted up to a sequence, where the total was this.
    pub(crate) fn cover(&mut self, counted: u64, total: i64, by: Option<Dot>) {
        self.covered = counted;
        self.covered_total = total;
        self.cover = by;
        self.absorbed = self.absorbed.filter(|absorbed| counted < absorbed.at);
    }

    /// Nothing of it counts any more. Decided by sequence: +1 and −1 make 0, and 0 is not absent.
    pub(crate) fn is_covered(&self) -> bool {
        self.covered >= self.counted
    }

    /// What it still adds to the counter.
    pub(crate) fn net(&self) -> i128 {
        let absorbed = self.absorbed.map_or(0, |absorbed| absorbed.sum);
        i128::from(self.total) - i128::from(self.covered_total) + i128::from(absorbed)
    }
}

/// Stored text. It was UTF-8 when it was stored, and is looked at again only where that matters: copying it out, as
/// rendering does, needs no second look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text.as_bytes())
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn as_str(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Register(Text<'a>),
    Marker,
    Member(Text<'a>),
    Accumulator(Accumulator),
}

impl<'a> Body<'a> {
    /// What an operation puts, as it is stored.
    pub(crate) fn of(content: &'a Content) -> Self {
        match content {
            Content::Register(text) => Self::Register(Text::new(text.as_str())),
            Content::Marker => Self::Marker,
            Content::Member(member) => Self::Member(Text::new(member)),
        }
    }
}

/// One record, as read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// Path, tag, and a member's text: the sort order.
    pub(crate) key: &'a [u8],
    /// Bytes of the key that are the path.
    pub(crate) path_len: usize,
    /// The operation that wrote it; of an accumulator, its name.
    pub(crate) dot: Dot,
    /// When it was written; of an accumulator, its last increment.
    pub(crate) hlc: Hlc,
    pub(crate) body: Body<'a>,
    /// Everything, as stored.
    pub(crate) bytes: &'a [u8],
}

impl Record<'_> {
    pub(crate) fn path(&self) -> &[u8] {
        &self.key[..self.path_len]
    }

    pub(crate) fn order(&self) -> (&[u8], ReplicaId, u64) {
        (self.key, self.dot.actor, self.dot.counter)
    }

    /// It counts, or is no accumulator.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(&self.body, Body::Accumulator(accumulator) if accumulator.is_covered())
    }
}

/// A record to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewRecord {
    pub(crate) dot: Dot,
    pub(crate) bytes: Vec<u8>,
    /// Where the key stands in the bytes.
    key: Range<usize>,
}

impl NewRecord {
    pub(crate) fn new(origin: Origin, path: &[u8], body: Body<'_>, dot: Dot, hlc: Hlc) -> Self {
        let (tag, member): (u8, &[u8]) = match body {
            Body::Register(_) => (REGISTER, &[]),
            Body::Marker => (MARKER, &[]),
            Body::Member(member) => (MEMBER, member.bytes()),
            Body::Accumulator(_) => (ACCUMULATOR, &[]),
        };
        let key_len = path.len() + 1 + member.len();
        let text_len = if let Body::Register(text) = body { text.bytes().len() } else { 0 };
        let mut bytes = Vec::with_capacity(key_len + text_len + 24);
        put_varint(&mut bytes, key_len as u64);
        let start = bytes.len();
        bytes.extend_from_slice(path);
        bytes.push(tag);
        bytes.extend_from_slice(member);
        encode_rest(origin, body, dot, hlc, &mut bytes);
        Self { dot, bytes, key: start..start + key_len }
    }

    /// Path, tag, and a member's text.
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[self.key.clone()]
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Hands itself out as it will be read.
    pub(crate) fn read(&self, origin: Origin, reader: impl FnOnce(&Record<'_>)) {
        if let Some((record, _)) = decode(origin, &self.bytes) {
            reader(&record);
        }
    }

    pub(crate) fn order(&self) -> (&[u8], ReplicaId, u64) {
        (self.key(), self.dot.actor, self.dot.counter)
    }
}

const BORN: u8 = 1;
const HAS_COVER: u8 = 2;
/// A member's text stands behind the tag. Without it the tag is the key's last byte, and no reader has to walk through
/// the segments of the path to find it.
const HAS_MEMBER: u8 = 4;
const HAS_ABSORBED: u8 = 8;

/// Appends what stands behind the key.
fn encode_rest(origin: Origin, body: Body<'_>, dot: Dot, hlc: Hlc, out: &mut Vec<u8>) {
    let born = dot == origin.life && hlc == origin.created;
    let (cover, absorbed) = match &body {
        Body::Accumulator(accumulator) => (accumulator.cover, accumulator.absorbed),
        _ => (None, None),
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let member = matches!(body, Body::Member(_));
    let carries = flag(cover.is_some(), HAS_COVER) | flag(absorbed.is_some(), HAS_ABSORBED);
    out.push(flag(born, BORN) | carries | flag(member, HAS_MEMBER));
    if !born {
        put_dot(out, dot);
        out.extend_from_slice(&hlc.0.to_le_bytes());
    }
    match body {
        Body::Register(text) => {
            put_varint(out, text.bytes().len() as u64);
            out.extend_from_slice(text.bytes());
        }
        Body::Marker | Body::Member(_) => {}
        Body::Accumulator(accumulator) => {
            put_varint(out, accumulator.counted);
            put_varint(out, zigzag(accumulator.total));
            put_varint(out, accumulator.covered);
            put_varint(out, zigzag(accumulator.covered_total));
            if let Some(cover) = cover {
                put_dot(out, cover);
            }
            if let Some(Absorbed { at, sum, number }) = absorbed {
                put_varint(out, at);
                put_varint(out, zigzag(sum));
                put_varint(out, number);
            }
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    if value < 0x80 {
        return out.push(value as u8);
    }
    let (mut bytes, mut len) = ([0; 10], 0);
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    out.extend_from_slice(&bytes[..=len]);
}

/// Bytes that such a number takes.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(crate) fn put_dot(out: &mut Vec<u8>, dot: Dot) {
    out.extend_from_slice(&dot.actor.0.to_le_bytes());
    put_varint(out, dot.counter);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads one record and what follows it; `None` at the end and on anything malformed.
pub(crate) fn decode(origin: Origin, bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let mut rest = bytes;
    let key_len = usize::try_from(take_varint(&mut rest)?).ok()?;
    let key = take(&mut rest, key_len)?;
    let flags = *take(&mut rest, 1)?.first()?;
    let (dot, hlc) = if flags & BORN != 0 {
        (origin.life, origin.created)
    } else {
        (take_dot(&mut rest)?, Hlc(u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)))
    };
    let has_member = flags & HAS_MEMBER != 0;
    let path_len = if has_member { path_len(key)? } else { key.len().checked_sub(1)? };
    let tag = *key.get(path_len)?;
    if (tag == MEMBER) != has_member {
        return None;
    }
    let body = match tag {
        REGISTER => {
            let len = usize::try_from(take_varint(&mut rest)?).ok()?;
            Body::Register(Text(take(&mut rest, len)?))
        }
        MARKER => Body::Marker,
        MEMBER => Body::Member(Text(&key[path_len + 1..])),
        ACCUMULATOR => Body::Accumulator(Accumulator {
            counted: take_varint(&mut rest)?,
            total: unzigzag(take_varint(&mut rest)?),
            covered: take_varint(&mut rest)?,
            covered_total: unzigzag(take_varint(&mut rest)?),
            cover: if flags & HAS_COVER != 0 { Some(take_dot(&mut rest)?) } else { None },
            absorbed: if flags & HAS_ABSORBED != 0 { Some(take_absorbed(&mut rest)?) } else { None },
        }),
        _ => return None,
    };
    let used = bytes.len() - rest.len();
    Some((Record { key, path_len, dot, hlc, body, bytes: &bytes[..used] }, rest))
}

fn take_absorbed(rest: &mut &[u8]) -> Option<Absorbed> {
    let (at, sum, number) = (take_varint(rest)?, unzigzag(take_varint(rest)?), take_varint(rest)?);
    Some(Absorbed { at, sum, number })
}

/// The records before the first whose key is not below `key`, and the others.
pub(crate) fn split_before<'a>(records: &'a [u8], key: &[u8]) -> (&'a [u8], &'a [u8]) {
    let head = head_of(key, key.len());
    let mut rest = records;
    loop {
        if let Some(after) = skip_plain(rest, head).and_then(|len| rest.get(len..)) {
            rest = after;
        } else if let Some(after) = skip_below(rest, key, head) {
            rest = after;
        } else {
            return records.split_at(records.len() - rest.len());
        }
    }
}

/// The length of the first record, if it is like most (a short value that its life was born with) and its first bytes
/// say that it is below. `None` says nothing.
#[inline]
fn skip_plain(records: &[u8], below_head: u64) -> Option<usize> {
    let [key_len @ ..0x80, rest @ ..] = records else { return None };
    let key_len = usize::from(*key_len);
    let head = head_of(rest, key_len);
    match *records.get(key_len..)?.first_chunk::<3>()? {
        [REGISTER, BORN, text_len @ ..0x80] if head < below_head => Some(key_len + 3 + usize::from(text_len)),
        _ => None,
    }
}

/// The first eight of so many bytes as a number that orders as they do. Most keys differ in it.
#[inline]
fn head_of(bytes: &[u8], len: usize) -> u64 {
    let head = match bytes.first_chunk::<8>() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            bytes.iter().fold(0, |head, byte| head << 8 | u64::from(*byte)) << (64 - 8 * bytes.len().max(1))
        }
    };
    if len < 8 { head & !(u64::MAX >> (8 * len)) } else { head }
}

/// What follows the first record, if its key is below `key`. Reads no more of it than that takes.
fn skip_below<'a>(records: &'a [u8], below: &[u8], below_head: u64) -> Option<&'a [u8]> {
    let mut rest = records;
    let key_len = usize::try_from(take_varint(&mut rest)?).ok()?;
    let head = head_of(rest, key_len);
    let key = take(&mut rest, key_len)?;
    if head > below_head || head == below_head && key >= below {
        return None;
    }
    let (&flags, tail) = rest.split_first()?;
    rest = tail;
    if flags & BORN == 0 {
        take(&mut rest, 8)?;
        take_varint(&mut rest)?;
        take(&mut rest, 8)?;
    }
    match *key.last()? {
        _ if flags & HAS_MEMBER != 0 => {}
        REGISTER => {
            let len = usize::try_from(take_varint(&mut rest)?).ok()?;
            take(&mut rest, len)?;
        }
        ACCUMULATOR => {
            for _ in 0..4 {
                take_varint(&mut rest)?;
            }
            if flags & HAS_COVER != 0 {
                take_dot(&mut rest)?;
            }
            if flags & HAS_ABSORBED != 0 {
                take_absorbed(&mut rest)?;
            }
        }
        _ => {}
    }
    Some(rest)
}

fn path_len(key: &[u8]) -> Option<usize> {
    let mut rest = key;
    while *rest.first()? >= 0x10 {
        rest = split_segment(rest)?.1;
    }
    Some(key.len() - rest.len())
}

#[inline]
pub(crate) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

#[inline]
pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    // Nearly every length is below 128.
    if let [byte @ ..0x80, tail @ ..] = *rest {
        *rest = tail;
        return Some(u64::from(*byte));
    }
    take_long_varint(rest)
}

fn take_long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (at, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            *rest = &rest[at + 1..];
            return Some(value);
        }
    }
    None
}

pub(crate) fn take_dot(rest: &mut &[u8]) -> Option<Dot> {
    let actor = ReplicaId(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?));
    Some(Dot { actor, counter: take_varint(rest)? })
}

/// Whether bytes that came from elsewhere may be stored: JSON where JSON must be, text where text must be.
pub(crate) fn is_sound(record: &Record<'_>) -> bool {
    let text_is_sound = match record.body {
        Body::Register(text) => JsonText::is_json_bytes(text.bytes()),
        Body::Member(member) => std::str::from_utf8(member.bytes()).is_ok(),
        Body::Marker | Body::Accumulator(_) => true,
    };
    let tail_is_empty = matches!(record.body, Body::Member(_)) || record.key.len() == record.path_len + 1;
    text_is_sound && tail_is_empty && Path::is_encoded(record.path())
}

/// The escaped object key that starts at byte `at` of an encoded key, and where the next level starts.
pub(crate) fn segment_at(key: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (segment, rest) = split_segment(key.get(at..)?)?;
    Some((segment, key.len() - rest.len()))
}
