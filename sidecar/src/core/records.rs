//! The entries of one life, packed: sorted runs of bytes instead of a tree of small allocations.
//!
//! A session of 300 bytes is one allocation here; a set of 100,000 members is some thousand runs of about
//! [`RUN_BYTES`], of which an edit rewrites one. The same bytes travel in state transfers and feed the digest.
//!
//! A record is `key length, key, flags, [dot, stamp], payload`. Its key is the encoded path, a tag for what stands
//! there, and for a member its text. Dot and stamp are left out where they are those of the life itself.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::identity::{Dot, LifeId, ReplicaId};
use super::path::{Path, split_segment, unescape};
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
}

impl Accumulator {
    /// Nothing of it counts any more. Decided by sequence: +1 and −1 make 0, and 0 is not absent.
    pub(crate) fn is_covered(&self) -> bool {
        self.covered >= self.counted
    }

    /// What it still adds to the counter.
    pub(crate) fn net(&self) -> i128 {
        i128::from(self.total) - i128::from(self.covered_total)
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Register(&'a str),
    Marker,
    Member(&'a str),
    Accumulator(Accumulator),
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

    fn order(&self) -> (&[u8], ReplicaId, u64) {
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
    key: Vec<u8>,
    dot: Dot,
    bytes: Vec<u8>,
}

impl NewRecord {
    pub(crate) fn new(origin: Origin, path: &[u8], body: Body<'_>, dot: Dot, hlc: Hlc) -> Self {
        let mut key = Vec::with_capacity(path.len() + 1);
        key.extend_from_slice(path);
        match body {
            Body::Register(_) => key.push(REGISTER),
            Body::Marker => key.push(MARKER),
            Body::Member(member) => {
                key.push(MEMBER);
                key.extend_from_slice(member.as_bytes());
            }
            Body::Accumulator(_) => key.push(ACCUMULATOR),
        }
        let bytes = encode(origin, &key, body, dot, hlc);
        Self { key, dot, bytes }
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

    fn order(&self) -> (&[u8], ReplicaId, u64) {
        (&self.key, self.dot.actor, self.dot.counter)
    }
}

const BORN: u8 = 1;
const HAS_COVER: u8 = 2;

fn encode(origin: Origin, key: &[u8], body: Body<'_>, dot: Dot, hlc: Hlc) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 24);
    put_varint(&mut out, key.len() as u64);
    out.extend_from_slice(key);
    let born = dot == origin.life && hlc == origin.created;
    let cover = match &body {
        Body::Accumulator(accumulator) => accumulator.cover,
        _ => None,
    };
    out.push(if born { BORN } else { 0 } | if cover.is_some() { HAS_COVER } else { 0 });
    if !born {
        put_dot(&mut out, dot);
        out.extend_from_slice(&hlc.0.to_le_bytes());
    }
    match body {
        Body::Register(text) => {
            put_varint(&mut out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        Body::Marker | Body::Member(_) => {}
        Body::Accumulator(accumulator) => {
            put_varint(&mut out, accumulator.counted);
            put_varint(&mut out, zigzag(accumulator.total));
            put_varint(&mut out, accumulator.covered);
            put_varint(&mut out, zigzag(accumulator.covered_total));
            if let Some(cover) = cover {
                put_dot(&mut out, cover);
            }
        }
    }
    out
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_dot(out: &mut Vec<u8>, dot: Dot) {
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
fn decode(origin: Origin, bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let mut rest = bytes;
    let key_len = usize::try_from(take_varint(&mut rest)?).ok()?;
    let key = take(&mut rest, key_len)?;
    let flags = *take(&mut rest, 1)?.first()?;
    let (dot, hlc) = if flags & BORN != 0 {
        (origin.life, origin.created)
    } else {
        (take_dot(&mut rest)?, Hlc(u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)))
    };
    let path_len = path_len(key)?;
    let body = match *key.get(path_len)? {
        REGISTER => {
            let len = usize::try_from(take_varint(&mut rest)?).ok()?;
            Body::Register(std::str::from_utf8(take(&mut rest, len)?).ok()?)
        }
        MARKER => Body::Marker,
        MEMBER => Body::Member(std::str::from_utf8(&key[path_len + 1..]).ok()?),
        ACCUMULATOR => Body::Accumulator(Accumulator {
            counted: take_varint(&mut rest)?,
            total: unzigzag(take_varint(&mut rest)?),
            covered: take_varint(&mut rest)?,
            covered_total: unzigzag(take_varint(&mut rest)?),
            cover: if flags & HAS_COVER != 0 { Some(take_dot(&mut rest)?) } else { None },
        }),
        _ => return None,
    };
    let used = bytes.len() - rest.len();
    Some((Record { key, path_len, dot, hlc, body, bytes: &bytes[..used] }, rest))
}

fn path_len(key: &[u8]) -> Option<usize> {
    // Only a member has something behind its tag: without that byte, the tag is the last one. Saves the walk
    // through the segments, which is what a reader would spend most of its time on. What is sound is checked where
    // records come from elsewhere.
    let (tag, path) = key.split_last()?;
    if matches!(*tag, REGISTER | MARKER | ACCUMULATOR) && !path.contains(&MEMBER) {
        return Some(path.len());
    }
    let mut rest = key;
    while *rest.first()? >= 0x10 {
        rest = split_segment(rest)?.1;
    }
    Some(key.len() - rest.len())
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    // Nearly every length is below 128.
    if let [byte @ ..0x80, tail @ ..] = *rest {
        *rest = tail;
        return Some(u64::from(*byte));
    }
    take_long_varint(rest)
}

fn take_long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_dot(rest: &mut &[u8]) -> Option<Dot> {
    let actor = ReplicaId(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?));
    Some(Dot { actor, counter: take_varint(rest)? })
}

/// A run is split when it grows beyond twice this.
const RUN_BYTES: usize = 2_048;

/// The sorted records of one life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    runs: Runs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::box_collection, reason = "many runs are rare: their header must not make every life larger")]
enum Runs {
    One(Box<[u8]>),
    Many(Box<Vec<Box<[u8]>>>),
}

impl Default for Runs {
    fn default() -> Self {
        Self::One(Box::default())
    }
}

impl Records {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs().iter().all(|run| run.is_empty())
    }

    /// Bytes of all records.
    pub(crate) fn bytes(&self) -> usize {
        self.runs().iter().map(|run| run.len()).sum()
    }

    fn runs(&self) -> &[Box<[u8]>] {
        match &self.runs {
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Many(runs) => runs,
        }
    }

    fn set_runs(&mut self, mut runs: Vec<Box<[u8]>>) {
        runs.retain(|run| !run.is_empty());
        self.runs = match runs.len() {
            0 => Runs::default(),
            1 => Runs::One(runs.swap_remove(0)),
            _ => Runs::Many(Box::new(runs)),
        };
    }

    /// Every record in order.
    pub(crate) fn iter(&self, origin: Origin) -> impl Iterator<Item = Record<'_>> {
        self.runs().iter().flat_map(move |run| RunIter { origin, rest: run })
    }

    /// The records whose key starts with `prefix`: with an encoded path, what stands at and below it.
    pub(crate) fn range<'a>(&'a self, origin: Origin, prefix: &[u8]) -> impl Iterator<Item = Record<'a>> {
        let start = self.run_of(origin, |record| record.key.cmp(prefix));
        self.runs()[start..]
            .iter()
            .flat_map(move |run| RunIter { origin, rest: run })
            .skip_while(move |record| record.key < prefix)
            .take_while(move |record| record.key.starts_with(prefix))
    }

    /// The accumulator of this name at this path.
    pub(crate) fn accumulator(&self, origin: Origin, path: &Path, name: Dot) -> Option<(Accumulator, Hlc)> {
        let mut key = path.as_bytes().to_vec();
        key.push(ACCUMULATOR);
        self.range(origin, &key).find(|record| record.dot == name).and_then(|record| match record.body {
            Body::Accumulator(accumulator) => Some((accumulator, record.hlc)),
            _ => None,
        })
    }

    /// The last run whose first record is not after what `compare` looks for.
    fn run_of(&self, origin: Origin, compare: impl Fn(&Record<'_>) -> Ordering) -> usize {
        let after = self.runs().partition_point(|run| {
            decode(origin, run).is_some_and(|(first, _)| compare(&first) == Ordering::Less)
        });
        after.saturating_sub(1)
    }

    /// Takes away the records under `prefix` for which `gone` says so, after telling `removed`.
    pub(crate) fn remove_range(
        &mut self,
        origin: Origin,
        prefix: &[u8],
        mut gone: impl FnMut(&Record<'_>) -> bool,
        mut removed: impl FnMut(&Record<'_>),
    ) {
        let start = self.run_of(origin, |record| record.key.cmp(prefix));
        let mut replaced: Vec<(usize, Vec<u8>)> = Vec::new();
        'runs: for (index, run) in self.runs().iter().enumerate().skip(start) {
            let mut kept: Option<Vec<u8>> = None;
            let mut at = 0;
            for record in (RunIter { origin, rest: run }) {
                let in_scope = record.key.starts_with(prefix);
                if !in_scope && record.key > prefix {
                    if let Some(mut kept) = kept.take() {
                        kept.extend_from_slice(&run[at..]);
                        replaced.push((index, kept));
                    }
                    break 'runs;
                }
                if in_scope && gone(&record) {
                    removed(&record);
                    kept.get_or_insert_with(|| run[..at].to_vec());
                } else if let Some(kept) = &mut kept {
                    kept.extend_from_slice(record.bytes);
                }
                at += record.bytes.len();
            }
            if let Some(kept) = kept {
                replaced.push((index, kept));
            }
        }
        self.replace(replaced);
    }

    fn replace(&mut self, replaced: Vec<(usize, Vec<u8>)>) {
        if replaced.is_empty() {
            return;
        }
        match &mut self.runs {
            Runs::One(run) => {
                for (_, bytes) in replaced {
                    *run = bytes.into_boxed_slice();
                }
            }
            Runs::Many(runs) => {
                let emptied = replaced.iter().any(|(_, bytes)| bytes.len() < RUN_BYTES / 2);
                for (index, bytes) in replaced {
                    runs[index] = bytes.into_boxed_slice();
                }
                if emptied {
                    let joined = join_small(std::mem::take(&mut **runs));
                    self.set_runs(joined);
                }
            }
        }
    }

    /// Writes records; one with the key and dot of a stored one takes its place.
    pub(crate) fn insert(
        &mut self,
        origin: Origin,
        mut new: Vec<NewRecord>,
        mut replaced: impl FnMut(&Record<'_>),
    ) {
        if new.is_empty() {
            return;
        }
        new.sort_by(|a, b| a.order().cmp(&b.order()));
        let mut runs = self.take_runs();
        let mut rest = new.as_slice();
        let mut index = runs.len();
        // From the back, so that a split moves no run that is still to be found.
        while let Some(last) = rest.last() {
            index = runs[..index]
                .partition_point(|run| {
                    decode(origin, run).is_none_or(|(first, _)| first.order() <= last.order())
                })
                .saturating_sub(1);
            let start = match decode(origin, &runs[index]) {
                Some((first, _)) if index > 0 => {
                    rest.partition_point(|record| record.order() < first.order())
                }
                _ => 0,
            };
            let mut parts = merge_run(origin, &runs[index], &rest[start..], &mut replaced);
            if parts.len() == 1 {
                runs[index] = parts.swap_remove(0);
            } else {
                runs.splice(index..=index, parts);
            }
            rest = &rest[..start];
        }
        self.set_runs(runs);
    }

    fn take_runs(&mut self) -> Vec<Box<[u8]>> {
        match std::mem::take(&mut self.runs) {
            Runs::One(run) => vec![run],
            Runs::Many(runs) => *runs,
        }
    }

    /// Builds from records in order.
    pub(crate) fn from_sorted<'a>(records: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut split = Splitter::default();
        records.for_each(|record| split.push(record));
        let mut built = Self::default();
        built.set_runs(split.finish());
        built
    }

    /// Checks bytes that came from elsewhere: well formed, sorted, JSON where JSON must be.
    pub(crate) fn validate(&self, origin: Origin) -> bool {
        let mut last: Option<Record<'_>> = None;
        for run in self.runs() {
            let mut rest = &**run;
            while !rest.is_empty() {
                let Some((record, tail)) = decode(origin, rest) else { return false };
                let sorted = last.as_ref().is_none_or(|last| last.order() < record.order());
                if !sorted || !is_sound(&record) {
                    return false;
                }
                last = Some(record);
                rest = tail;
            }
        }
        true
    }
}

fn is_sound(record: &Record<'_>) -> bool {
    let value_is_json = match record.body {
        Body::Register(text) => JsonText::is_json(text),
        _ => true,
    };
    let tail_is_empty = matches!(record.body, Body::Member(_)) || record.key.len() == record.path_len + 1;
    value_is_json && tail_is_empty && Path::from_encoded(record.path()).is_ok()
}

struct RunIter<'a> {
    origin: Origin,
    rest: &'a [u8],
}

impl<'a> Iterator for RunIter<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (record, rest) = decode(self.origin, self.rest)?;
        self.rest = rest;
        Some(record)
    }
}

fn merge_run(
    origin: Origin,
    run: &[u8],
    new: &[NewRecord],
    replaced: &mut impl FnMut(&Record<'_>),
) -> Vec<Box<[u8]>> {
    let mut split = Splitter::default();
    split.reserve(run.len() + new.iter().map(|record| record.bytes.len()).sum::<usize>());
    let mut new = new.iter().peekable();
    for old in (RunIter { origin, rest: run }) {
        while let Some(record) = new.next_if(|record| record.order() < old.order()) {
            split.push(&record.bytes);
        }
        match new.next_if(|record| record.order() == old.order()) {
            Some(record) => {
                replaced(&old);
                split.push(&record.bytes);
            }
            None => split.push(old.bytes),
        }
    }
    new.for_each(|record| split.push(&record.bytes));
    split.finish()
}

/// Cuts a stream of records into runs.
#[derive(Default)]
struct Splitter {
    current: Vec<u8>,
    done: Vec<Box<[u8]>>,
    boundary: usize,
}

impl Splitter {
    fn reserve(&mut self, bytes: usize) {
        self.current.reserve_exact(bytes.min(2 * RUN_BYTES));
    }

    fn push(&mut self, record: &[u8]) {
        if self.current.len() + record.len() > 2 * RUN_BYTES && self.boundary > 0 {
            let tail = self.current.split_off(self.boundary);
            let full = std::mem::replace(&mut self.current, tail);
            self.done.push(full.into_boxed_slice());
            self.boundary = 0;
        }
        self.current.extend_from_slice(record);
        if self.boundary == 0 && self.current.len() >= RUN_BYTES {
            self.boundary = self.current.len();
        }
    }

    fn finish(mut self) -> Vec<Box<[u8]>> {
        self.done.push(self.current.into_boxed_slice());
        self.done
    }
}

/// Joins neighbours that have become small.
fn join_small(runs: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
    let mut joined: Vec<Box<[u8]>> = Vec::with_capacity(runs.len());
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.len() + run.len() <= RUN_BYTES => {
                *last = [&**last, &*run].concat().into_boxed_slice();
            }
            _ => joined.push(run),
        }
    }
    joined
}

// As one string of bytes; `Life` checks them, since they can be read only with its origin.
impl Serialize for Records {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.runs() {
            [run] => serializer.serialize_bytes(run),
            runs => serializer.serialize_bytes(&runs.concat()),
        }
    }
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        // Cut at record boundaries; where these are cannot depend on the origin.
        let origin = Origin { life: super::identity::UNLEASED, created: Hlc(0) };
        let mut rest = bytes;
        let mut split = Splitter::default();
        while !rest.is_empty() {
            let (record, tail) =
                decode(origin, rest).ok_or_else(|| serde::de::Error::custom("malformed record"))?;
            split.push(record.bytes);
            rest = tail;
        }
        let mut records = Self::default();
        records.set_runs(split.finish());
        Ok(records)
    }
}

/// The object key that starts at byte `at` of an encoded key, and where the next level starts.
pub(crate) fn segment_at(key: &[u8], at: usize) -> Option<(std::borrow::Cow<'_, str>, usize)> {
    let (segment, rest) = split_segment(key.get(at..)?)?;
    Some((unescape(segment)?, key.len() - rest.len()))
}
