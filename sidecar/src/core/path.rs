//! Paths into a JSON tree, encoded so that bytes sort like paths and a subtree is one contiguous range.
//!
//! Each segment is `0x10`, its UTF-8 bytes with `0x00` escaped as `00 ff`, and the end mark `00 00`. What stands
//! *at* a path (its slots) is tagged below `0x10`, so it sorts before everything that stands below.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

const SEGMENT: u8 = 0x10;
const END: [u8; 2] = [0, 0];
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];

/// No author writes deeper than `DEPTH_MAX`; this is what a reader's stack is safe with.
const DEPTH_CEILING: usize = 256;

/// Shorter paths need no memory of their own: nearly all.
const INLINE_BYTES: usize = 32;

/// A place in a JSON tree: zero or more object keys, the root first.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(SmallVec<[u8; INLINE_BYTES]>);

/// The bytes are not an encoded path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedPath;

impl Path {
    /// The root.
    pub const ROOT: Self = Self(SmallVec::new_const());

    /// The path of these object keys.
    pub fn of<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Self {
        let mut path = Self::ROOT;
        for segment in segments {
            path.push(segment.as_ref());
        }
        path
    }

    /// Goes one level down.
    pub fn push(&mut self, segment: &str) {
        self.0.push(SEGMENT);
        let mut parts = segment.as_bytes().split(|byte| *byte == 0);
        self.0.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            self.0.extend_from_slice(&ESCAPED_ZERO);
            self.0.extend_from_slice(part);
        }
        self.0.extend_from_slice(&END);
    }

    /// Goes back to a length that [`len`](Self::len) gave.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Bytes of the encoding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The encoding. A subtree is exactly the keys that start with these bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Accepts an encoding made elsewhere.
    ///
    /// # Errors
    /// When the bytes are not an encoded path, or a segment is not UTF-8.
    pub fn from_encoded(bytes: &[u8]) -> Result<Self, MalformedPath> {
        if Self::is_encoded(bytes) { Ok(Self(SmallVec::from_slice(bytes))) } else { Err(MalformedPath) }
    }

    /// Whether the bytes are an encoded path.
    pub(crate) fn is_encoded(bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let mut depth = 0;
        while !rest.is_empty() {
            let Some((segment, tail)) = split_segment(rest) else { return false };
            // What is escaped is not ASCII either.
            if !segment.is_ascii() && unescape(segment).is_none() {
                return false;
            }
            rest = tail;
            depth += 1;
        }
        depth <= DEPTH_CEILING
    }

    /// The object keys, the root first.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        segments(&self.0)
    }

    /// Every place strictly above, the root first and left out.
    pub fn proper_ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let mut end = 0;
        std::iter::from_fn(move || {
            let (_, tail) = split_segment(self.0.get(end..)?)?;
            end = self.0.len() - tail.len();
            (end < self.0.len()).then(|| Self(SmallVec::from_slice(&self.0[..end])))
        })
    }
}

/// The object keys of an encoding known to be well formed.
pub(crate) fn segments(mut bytes: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    std::iter::from_fn(move || {
        let (segment, tail) = split_segment(bytes)?;
        bytes = tail;
        unescape(segment)
    })
}

/// Splits off the first segment's escaped bytes; `None` where no segment starts.
pub(crate) fn split_segment(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if tag != SEGMENT {
        return None;
    }
    let mut at = 0;
    loop {
        at += rest.get(at..)?.iter().position(|&byte| byte == 0)?;
        match *rest.get(at + 1)? {
            0 => return Some((&rest[..at], &rest[at + 2..])),
            0xff => at += 2,
            _ => return None,
        }
    }
}

/// The text of an escaped segment; `None` when it is not UTF-8.
pub(crate) fn unescape(segment: &[u8]) -> Option<Cow<'_, str>> {
    if !segment.contains(&0) {
        return std::str::from_utf8(segment).ok().map(Cow::Borrowed);
    }
    let mut plain = Vec::with_capacity(segment.len());
    let mut bytes = segment.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(byte);
        if byte == 0 {
            bytes.next();
        }
    }
    String::from_utf8(plain).ok().map(Cow::Owned)
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.segments().try_for_each(|segment| write!(f, ".{segment}"))
    }
}

impl Serialize for Path {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        Self::from_encoded(bytes).map_err(|_| serde::de::Error::custom("malformed path"))
    }
}
