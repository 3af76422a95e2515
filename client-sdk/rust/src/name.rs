//! What objects are called.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::Error;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one segment of a path, or as a value of a query.
pub(crate) fn encode(text: &str) -> String {
    // A path segment of dots alone means another one to whoever tidies paths.
    if matches!(text, "." | "..") {
        return text.replace('.', "%2E");
    }
    utf8_percent_encode(text, RESERVED).to_string()
}

/// What sort of object a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A leased JSON object.
    Sessions,
    /// A JSON object, leased only when its writer asks for it.
    Documents,
    /// One number.
    Counters,
    /// One set of strings.
    Sets,
}

impl Kind {
    /// The four kinds.
    pub const ALL: [Self; 4] = [Self::Sessions, Self::Documents, Self::Counters, Self::Sets];

    /// As in paths.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Documents => "documents",
            Self::Counters => "counters",
            Self::Sets => "sets",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            Error::Invalid(format!(
                "{text:?} is no kind of object; there are sessions, documents, counters, sets"
            ))
        })
    }
}

/// One object: `sessions/ID`, `documents/NAME`, `counters/NAME` or `sets/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// Its name space.
    pub kind: Kind,
    /// Its name there, as it is: not percent-encoded, and a slash in it is just a slash.
    pub key: String,
}

impl ObjectName {
    /// The object's path in the API.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/v1/{}/{}", self.kind, encode(&self.key))
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl FromStr for ObjectName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('/') {
            Some((kind, key)) if !key.is_empty() => Ok(Self { kind: kind.parse()?, key: key.to_owned() }),
            _ => Err(Error::Invalid(format!(
                "{text:?} names no object; write sessions/ID, documents/NAME, counters/NAME or sets/NAME"
            ))),
        }
    }
}
