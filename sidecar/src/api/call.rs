//! One request, taken apart: its head, its whole body, its query.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::operation::Operation;
use super::query::Query;
use crate::core::identity::{Kind, ObjectId};
use crate::core::limits::{KEY_BYTES_MAX, MEMBER_BYTES_MAX};
use crate::keyring::SessionIdHash;

/// A request for an operation.
pub(super) struct Call {
    pub parts: Parts,
    pub body: Bytes,
    pub query: Query,
    session_ids: Option<SessionIdHash>,
}

impl Call {
    /// Takes a request apart for an operation whose path fits.
    ///
    /// # Errors
    /// `unknown_query_parameter`, `bad_query_value`.
    pub(super) fn new(api: &Api, operation: &Operation, parts: Parts, body: Bytes) -> Result<Self, Problem> {
        let query = Query::parse(parts.uri.query(), operation.query)?;
        Ok(Self { parts, body, query, session_ids: api.settings.session_ids.clone() })
    }

    /// A segment of the path after `/v1/`, as it was sent.
    fn segment(&self, index: usize) -> &str {
        let mut rest = self.parts.uri.path().as_bytes();
        for _ in 0..index + 2 {
            let Some(slash) = rest.iter().position(|byte| *byte == b'/') else { return "" };
            rest = &rest[slash + 1..];
        }
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    /// The object that `/v1/{kind}/{key}` names. The router has checked the kind.
    ///
    /// # Errors
    /// `bad_key`.
    pub(super) fn object(&self, kind: Kind) -> Result<ObjectId, Problem> {
        self.object_at(kind, 1)
    }

    /// The object that `/v1/explain/{kind}/{key}` names.
    ///
    /// # Errors
    /// `no_such_path`, `bad_key`.
    pub(super) fn explained_object(&self) -> Result<ObjectId, Problem> {
        let kind = Kind::from_plural(self.segment(1)).ok_or_else(|| no_such_path(self.parts.uri.path()))?;
        self.object_at(kind, 2)
    }

    fn object_at(&self, kind: Kind, index: usize) -> Result<ObjectId, Problem> {
        let key = decode(self.segment(index)).map_err(bad_key)?;
        match key.len() {
            1..=KEY_BYTES_MAX => match &self.session_ids {
                Some(hash) if kind == Kind::Session => Ok(ObjectId::new(kind, &hash.hash(&key))),
                _ => Ok(ObjectId::new(kind, &key)),
            },
            length => Err(bad_key(&format!("the key has {length} bytes"))),
        }
    }

    /// The node that `/v1/cluster/{node}` names.
    pub(super) fn node(&self) -> Result<Cow<'_, str>, &'static str> {
        decode(self.segment(1))
    }

    /// The member that `/v1/sets/{name}/{member}` names.
    ///
    /// # Errors
    /// `bad_member`.
    pub(super) fn member(&self) -> Result<Box<str>, Problem> {
        let member = decode(self.segment(2)).map_err(|why| Problem::new(Code::BadMember, why))?;
        check_member(&member)?;
        Ok(member.into())
    }
}

/// Checks a member's size.
///
/// # Errors
/// `bad_member`.
pub(super) fn check_member(member: &str) -> Result<(), Problem> {
    if member.len() > MEMBER_BYTES_MAX {
        return Err(Problem::new(Code::BadMember, format!("the member has {} bytes", member.len())));
    }
    Ok(())
}

/// The problem of a path that nothing answers to.
pub(super) fn no_such_path(path: &str) -> Problem {
    Problem::new(Code::NoSuchPath, format!("nothing answers to {path}"))
}

/// The problem of a key that is none.
pub(super) fn bad_key(why: &str) -> Problem {
    Problem::new(Code::BadKey, why)
}

fn decode(segment: &str) -> Result<Cow<'_, str>, &'static str> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !segment.split('%').skip(1).all(is_escape) {
        return Err("a percent sign is not followed by two hexadecimal digits");
    }
    percent_decode_str(segment).decode_utf8().map_err(|_| "the decoded bytes are not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_segment_is_decoded_or_refused() {
        assert_eq!(decode("a%2Fb+c").unwrap(), "a/b+c");
        assert_eq!(decode("%F0%9F%91%BB").unwrap(), "👻");
        for text in ["%", "a%2", "%zz", "%+1", "%ff", "%c3%28", "a%"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
