//! Who wrote what: replica ids, dots, clocks, and the names of objects.
//!
//! A [`ReplicaId`] names one *process lifetime*, never a machine: a sequence that resumed after a restart would
//! reuse dots, and a reused dot silently destroys data (Riak, 2013; semantics finding 24).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One process lifetime of one node: 64 random bits, chosen at start and never used again.
///
/// Random bits instead of the node's name keep operations and stored entries small; [`Replica`] says whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

impl ReplicaId {
    /// Belongs to nobody. Names the one life of an unleased object.
    pub const NOBODY: Self = Self(0);
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// Random bits: eight fixed bytes are shorter than a varint.
impl Serialize for ReplicaId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReplicaId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 8]>::deserialize(deserializer).map(|bytes| Self(u64::from_le_bytes(bytes)))
    }
}

/// Names one operation of one shard: the replica that wrote it and its sequence there, from 1.
pub type Dot = crdts::Dot<ReplicaId>;

pub use super::clock::Clock;

/// The total order of dots that breaks ties between equal timestamps; the same on every node.
#[must_use]
pub fn dot_order(dot: &Dot) -> (ReplicaId, u64) {
    (dot.actor, dot.counter)
}

/// The name of a life: the dot of the operation that created it.
pub type LifeId = Dot;

/// The one life of an unleased object. It has no creator and never dies.
pub const UNLEASED: LifeId = Dot { actor: ReplicaId::NOBODY, counter: 0 };

/// A node's name and the process lifetime that bears it now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Replica {
    /// The node's stable name, unique in the cluster.
    pub node: String,
    /// When this process started: orders the incarnations of one name.
    pub started: super::time::UnixMillis,
    /// Names this process in dots.
    pub id: ReplicaId,
}

/// How many shards there are, in every cluster for ever: it is part of the wire format.
pub const SHARDS: usize = 256;

/// A fixed fraction of the key space: the unit of clock, log, digest and state transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u8);

impl ShardId {
    /// Every shard, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// The shard of a name with this hash.
    pub(crate) fn of(name_hash: u64) -> Self {
        Self((name_hash & 0xff) as u8)
    }

    /// Its place in an array of [`SHARDS`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What sort of object a key names. Each kind has a name space of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A leased JSON object: it dies, and a death is for ever.
    Session,
    /// A JSON object, leased only when its writer asks for it.
    Document,
    /// One number.
    Counter,
    /// One add-wins set of strings.
    Set,
}

impl Kind {
    /// The four kinds.
    pub const ALL: [Self; 4] = [Self::Session, Self::Document, Self::Counter, Self::Set];

    /// As in the API's paths: `sessions`, `documents`, `counters`, `sets`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Session => "sessions",
            Self::Document => "documents",
            Self::Counter => "counters",
            Self::Set => "sets",
        }
    }

    /// The kind whose [`plural`](Self::plural) this is.
    #[must_use]
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }
}

/// Names one object: its kind and its key (1 to [`KEY_BYTES_MAX`](super::limits::KEY_BYTES_MAX) bytes of UTF-8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "UncheckedObjectId")]
pub struct ObjectId {
    /// Its name space.
    pub kind: Kind,
    /// Its name there.
    pub key: Box<str>,
}

#[derive(Deserialize)]
struct UncheckedObjectId {
    kind: Kind,
    key: Box<str>,
}

impl TryFrom<UncheckedObjectId> for ObjectId {
    type Error = &'static str;

    fn try_from(UncheckedObjectId { kind, key }: UncheckedObjectId) -> Result<Self, Self::Error> {
        let fits = !key.is_empty() && key.len() <= super::limits::KEY_BYTES_MAX;
        if fits { Ok(Self { kind, key }) } else { Err("a key of 1 to 512 bytes") }
    }
}

impl ObjectId {
    /// Names `key` of `kind`. The caller has checked the key's length.
    #[must_use]
    pub fn new(kind: Kind, key: &str) -> Self {
        Self { kind, key: key.into() }
    }

    /// The shard it lives in: fixed by its name alone.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        ShardId::of(self.hash())
    }

    /// 64 bits that stand for this name where a full copy would cost too much.
    #[must_use]
    pub fn hash(&self) -> u64 {
        name_hash(self.kind, self.key.as_bytes())
    }

    /// The [`hash`](Self::hash) of the object with this name.
    #[must_use]
    pub fn hash_of(kind: Kind, key: &str) -> u64 {
        name_hash(kind, key.as_bytes())
    }
}

/// The hash of a name.
pub(crate) fn name_hash(kind: Kind, key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, kind as u64)
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.plural(), self.key)
    }
}
