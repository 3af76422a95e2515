//! Everything semantic that a shard stores, in plain values: what checks compare with a specification.

use std::collections::BTreeMap;

use super::identity::{ObjectId, ReplicaId, dot_order};
use super::object::{Life, Object};
use super::op::{Content, Lease};
use super::path::Path;
use super::record::Body;
use super::shard::Shard;
use super::time::Hlc;
use super::value::JsonText;

/// A dot that sorts.
pub type DotKey = (ReplicaId, u64);

/// One object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectContents {
    /// Its lives, by their ids.
    pub lives: BTreeMap<DotKey, LifeContents>,
    /// Its barriers, and until when each hides.
    pub barriers: BTreeMap<DotKey, Hlc>,
}

/// One life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeContents {
    /// Its deadlines.
    pub lease: Lease,
    /// Its entries and their stamps.
    pub entries: BTreeMap<EntryKey, Hlc>,
    /// What is counted at each path where an increment still counts.
    pub counts: BTreeMap<Path, i128>,
}

/// Names one entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// Where it stands.
    pub path: Path,
    /// What it is: `""` for a marker, `=` and JSON for a register, `+` and text for a member.
    pub content: String,
    /// What wrote it.
    pub dot: DotKey,
}

impl EntryKey {
    /// The key of an entry.
    #[must_use]
    pub fn new(path: Path, content: &Content, dot: DotKey) -> Self {
        let content = match content {
            Content::Register(text) => format!("={}", text.as_str()),
            Content::Marker => String::new(),
            Content::Member(member) => format!("+{member}"),
        };
        Self { path, content, dot }
    }
}

impl Shard {
    /// Everything semantic that is stored. Objects of which nothing semantic is left do not count.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<ObjectId, ObjectContents> {
        let objects = self.objects().iter().map(|stored| (stored.id(), object_contents(&stored.object())));
        objects.filter(|(_, contents)| *contents != ObjectContents::default()).collect()
    }
}

fn object_contents(object: &Object<'_>) -> ObjectContents {
    let mut contents = ObjectContents::default();
    for (barrier, until) in object.barriers() {
        contents.barriers.insert(dot_order(barrier), *until);
    }
    for life in &object.lives {
        let found = life_contents(life);
        if life.is_leased() || !found.entries.is_empty() || !found.counts.is_empty() {
            contents.lives.insert(dot_order(&life.id), found);
        }
    }
    contents
}

fn life_contents(life: &Life<'_>) -> LifeContents {
    let mut contents = LifeContents { lease: life.lease, entries: BTreeMap::new(), counts: BTreeMap::new() };
    for record in life.records.iter(life.origin()) {
        let path = Path::from_encoded(record.path()).unwrap_or_default();
        let content = match record.body {
            Body::Accumulator(accumulator) if accumulator.is_covered() => continue,
            Body::Accumulator(accumulator) => {
                *contents.counts.entry(path).or_default() += accumulator.net();
                continue;
            }
            Body::Register(text) => Content::Register(JsonText::stored(text.as_str())),
            Body::Marker => Content::Marker,
            Body::Member(member) => Content::Member(member.as_str().into()),
        };
        contents.entries.insert(EntryKey::new(path, &content, dot_order(&record.dot)), record.hlc);
    }
    contents
}
