//! Operations in their encoding: made once by the author, and from there on the same bytes are logged, sent to every
//! peer and passed on. A tree of small allocations for each would cost four times the memory, and leave it in pieces.

mod plain;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize};

use super::op::Op;

/// Room for most encodings, so that they are made in one go.
const ROOM_BYTES: usize = 512;

/// Memory that an operation takes besides its bytes while it waits, roughly.
const WAITING_BYTES: usize = 96;

/// An operation as it travels: its [postcard](https://postcard.jamesmunns.com/wire-format) bytes.
#[derive(Clone)]
pub struct PackedOp {
    bytes: Bytes,
    /// What they say, where somebody has looked at it already.
    op: Option<Arc<Op>>,
}

/// An operation that was made here, or has come and been read.
#[derive(Clone, Debug)]
pub struct NewOp {
    /// What it says.
    pub op: Arc<Op>,
    /// The same, as it travels.
    pub bytes: Bytes,
}

impl NewOp {
    /// Encodes an operation.
    #[must_use]
    pub fn of(op: Arc<Op>) -> Self {
        let bytes = match plain::Room::<ROOM_BYTES>::new().write(&op) {
            Some(bytes) => Bytes::copy_from_slice(bytes),
            None => encoded(&op),
        };
        Self { op, bytes }
    }

    /// To be sent, where nobody here needs it any more.
    #[must_use]
    pub fn into_packed(self) -> PackedOp {
        PackedOp { bytes: self.bytes, op: None }
    }

    /// To be sent: without what it says, so that it takes few bytes while it waits.
    #[must_use]
    pub fn packed(&self) -> PackedOp {
        PackedOp { bytes: self.bytes.clone(), op: None }
    }
}

/// An operation as any operation can be encoded.
fn encoded(op: &Op) -> Bytes {
    let mut room = [0; ROOM_BYTES];
    match postcard::to_slice(op, &mut room) {
        Ok(bytes) => Bytes::copy_from_slice(bytes),
        // It is longer than most.
        Err(_) => Bytes::copy_from_slice(&encode(op)),
    }
}

/// Reads one operation at the front of some bytes, and what follows it.
fn read(bytes: &[u8]) -> Option<(Op, &[u8])> {
    plain::read(bytes).or_else(|| postcard::take_from_bytes(bytes).ok())
}

impl PackedOp {
    /// Reads one operation at the front of some bytes and splits it off; `None` where they are malformed.
    #[must_use]
    pub fn split_from(bytes: &mut Bytes) -> Option<Self> {
        let (op, rest) = read(bytes)?;
        let len = bytes.len() - rest.len();
        Some(Self { bytes: bytes.split_to(len), op: Some(Arc::new(op)) })
    }

    /// An operation whose bytes were right when they were stored.
    pub(crate) fn stored(bytes: &[u8]) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), op: None }
    }

    /// The encoding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says, where that is known without reading it.
    #[must_use]
    pub fn read_already(&self) -> Option<&Op> {
        self.op.as_deref()
    }

    /// Reads it. `None` where it is malformed, which what has passed [`split_from`](Self::split_from) is not.
    #[must_use]
    pub fn open(self) -> Option<NewOp> {
        let op = match self.op {
            Some(op) => op,
            None => Arc::new(read(&self.bytes)?.0),
        };
        Some(NewOp { op, bytes: self.bytes })
    }

    /// Memory it takes while it waits, roughly.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        WAITING_BYTES + self.bytes.len()
    }
}

/// The bytes of a value of this core: none of them can fail to be encoded.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, Vec::with_capacity(ROOM_BYTES)).unwrap_or_default()
}

impl PartialEq for PackedOp {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PackedOp {}

impl From<Arc<Op>> for PackedOp {
    fn from(op: Arc<Op>) -> Self {
        NewOp::of(op).packed()
    }
}

impl fmt::Debug for PackedOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.clone().open() {
            Some(known) => known.op.fmt(f),
            None => write!(f, "malformed {:?}", self.bytes),
        }
    }
}

// As the bytes stand, without a length: exactly as the operation itself would be encoded.
impl Serialize for PackedOp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.bytes.len())?;
        self.bytes.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for PackedOp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let NewOp { op, bytes } = NewOp::of(Arc::new(Op::deserialize(deserializer)?));
        Ok(Self { bytes, op: Some(op) })
    }
}
