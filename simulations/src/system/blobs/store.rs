//! What one store process holds: whole values, each under one version.

use std::collections::BTreeMap;

use sidetalk::core::identity::{Dot, ObjectId, ReplicaId, SHARDS, dot_order};
use sidetalk::core::time::UnixMillis;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::message::content_bytes;
use crate::system::{Content, Digest};

/// Up to which effect of each author: replication offsets.
pub(super) type Offsets = BTreeMap<ReplicaId, u64>;

/// Whether `ours` has all that `theirs` stands for.
pub(super) fn covers(ours: &Offsets, theirs: &Offsets) -> bool {
    theirs.iter().all(|(author, offset)| ours.get(author).copied().unwrap_or(0) >= *offset)
}

/// What a command does to a store; this is what is replicated.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// `SET`, or a whole value in a store where the last one wins.
    Put(Content, Option<UnixMillis>),
    /// `PEXPIREAT`.
    Expire(UnixMillis),
    /// `DEL`.
    Remove,
    /// `INCRBY`.
    Add(i64),
    /// `SADD` or `SREM`.
    Member(Box<str>, bool),
}

/// One effect, in the order in which its author wrote.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) dot: Dot,
    /// The author's wall clock, where that decides.
    pub(super) stamp: u64,
    pub(super) object: ObjectId,
    pub(super) effect: Effect,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// `None`: it was removed, and that is remembered so that an older write does not bring it back.
    pub(super) content: Option<Content>,
    pub(super) expires: Option<UnixMillis>,
    pub(super) dot: Dot,
    pub(super) stamp: u64,
}

impl Entry {
    pub(super) fn rank(&self) -> (u64, (ReplicaId, u64)) {
        (self.stamp, dot_order(&self.dot))
    }
}

/// The values of one process.
#[derive(Debug)]
pub(super) struct Store {
    entries: BTreeMap<ObjectId, Entry>,
    /// The latest stamp wins, whatever comes first.
    last_wins: bool,
    parts: Vec<(u64, u128)>,
    bytes: u64,
}

impl Store {
    pub(super) fn new(last_wins: bool) -> Self {
        Self { entries: BTreeMap::new(), last_wins, parts: vec![(0, 0); SHARDS], bytes: 0 }
    }

    /// The value, unless it has expired.
    pub(super) fn get(&self, object: &ObjectId, wall: UnixMillis) -> Option<&Content> {
        let entry = self.entries.get(object)?;
        let runs = entry.expires.is_none_or(|expires| wall < expires);
        entry.content.as_ref().filter(|_| runs)
    }

    /// The value and all that belongs to it, removed and expired ones as well.
    pub(super) fn entry(&self, object: &ObjectId) -> Option<&Entry> {
        self.entries.get(object)
    }

    pub(super) fn entries(&self) -> &BTreeMap<ObjectId, Entry> {
        &self.entries
    }

    /// Does what was written.
    pub(super) fn apply(&mut self, written: &Written) {
        let Written { dot, stamp, object, effect } = written;
        let known = self.entries.get(object);
        if let Effect::Expire(at) = effect {
            if let Some(entry) = self.entries.get_mut(object) {
                entry.expires = entry.expires.max(Some(*at));
            }
            return;
        }
        let (content, expires) = match effect {
            Effect::Put(content, expires) => (Some(content.clone()), *expires),
            Effect::Remove | Effect::Expire(_) => (None, None),
            Effect::Add(by) => {
                let mut content = known.and_then(|entry| entry.content.clone()).unwrap_or_default();
                content.value += by;
                (Some(content), None)
            }
            Effect::Member(member, adds) => {
                let mut content = known.and_then(|entry| entry.content.clone()).unwrap_or_default();
                if *adds {
                    content.members.insert(member.clone());
                } else {
                    content.members.remove(member);
                }
                (Some(content), None)
            }
        };
        self.put(object, Entry { content, expires, dot: *dot, stamp: *stamp });
    }

    /// Puts an entry in the place of what is there, where it wins.
    pub(super) fn put(&mut self, object: &ObjectId, entry: Entry) {
        let old = self.entries.get(object);
        if self.last_wins && old.is_some_and(|old| old.rank() >= entry.rank()) {
            return;
        }
        if let Some(old) = old {
            let (sums, bytes) = (sums(object, old), size(object, old));
            self.account(object, sums, bytes, false);
        }
        if entry.content.is_none() && !self.last_wins {
            self.entries.remove(object);
            return;
        }
        self.account(object, sums(object, &entry), size(object, &entry), true);
        self.entries.insert(object.clone(), entry);
    }

    fn account(&mut self, object: &ObjectId, (version, content): (u64, u128), bytes: u64, comes: bool) {
        let part = &mut self.parts[object.shard().index()];
        if comes {
            *part = (part.0.wrapping_add(version), part.1.wrapping_add(content));
            self.bytes += bytes;
        } else {
            *part = (part.0.wrapping_sub(version), part.1.wrapping_sub(content));
            self.bytes -= bytes;
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn digest(&self) -> Digest {
        Digest { parts: self.parts.clone() }
    }
}

fn size(object: &ObjectId, entry: &Entry) -> u64 {
    object.key.len() as u64 + entry.content.as_ref().map_or(0, content_bytes)
}

/// Stands for the version and for the content. Deadlines stay out of it.
fn sums(object: &ObjectId, entry: &Entry) -> (u64, u128) {
    let mut version = [0; 24];
    version[..8].copy_from_slice(&object.hash().to_le_bytes());
    version[8..16].copy_from_slice(&entry.dot.actor.0.to_le_bytes());
    version[16..].copy_from_slice(&entry.dot.counter.to_le_bytes());
    let mut content = Xxh3::new();
    content.update(&object.hash().to_le_bytes());
    let empty = Content::default();
    let held = entry.content.as_ref().unwrap_or(&empty);
    content.update(&[u8::from(entry.content.is_some())]);
    for (field, write) in &held.fields {
        content.update(field.as_bytes());
        content.update(&write.to_le_bytes());
    }
    for (field, count) in &held.counts {
        content.update(field.as_bytes());
        content.update(&count.to_le_bytes());
    }
    content.update(&held.value.to_le_bytes());
    for member in &held.members {
        content.update(member.as_bytes());
        content.update(&[0]);
    }
    (xxh3_64(&version), content.digest128())
}
