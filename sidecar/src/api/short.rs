//! The short way to one object: reads that need nothing but its kept answer, which is what most page loads are, changes
//! that are answered without it, and names that need no decoding.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::change::refused;
use super::dispatch::Api;
use super::errors::Problem;
use super::headers::ObjectHeaders;
use super::read_lately::Found;
use crate::core::command::{Change, Refusal, Write, Written};
use crate::core::identity::{Kind, ObjectId};
use crate::core::limits::KEY_BYTES_MAX;
use crate::core::value::Tree;

/// The answer to `GET target`, if it is kept and the target names its object plainly: no query, nothing encoded. A
/// request whose headers say something about the object must not come here.
pub(super) fn read(api: &Api, target: &str) -> Option<Found> {
    let (kind, key) = named(target)?;
    api.read_lately.again(&*api.port, kind, &stored(api, kind, key))
}

/// The object that a target names plainly.
pub(super) fn object(api: &Api, target: &str) -> Option<ObjectId> {
    let (kind, key) = named(target)?;
    Some(ObjectId::new(kind, &stored(api, kind, key)))
}

/// What came of a merge patch.
pub(super) enum Patched {
    /// It is done.
    Done(Written),
    /// The node refuses.
    Refused(Problem),
    /// The node knows of no such object: the others may.
    Unknown(ObjectId, Tree),
}

/// Makes a change whose caller wants nothing back but that it is done, and has seen nothing that this node has not.
pub(super) fn patch(api: &Api, object: ObjectId, tree: Tree, said: &ObjectHeaders) -> Patched {
    let write = write(object, tree, said);
    patched(api, api.port.write(&write), write)
}

/// The same for the first of many, at least one, one after the other and in one turn of the node. They are taken out.
pub(super) fn patch_some(api: &Api, writes: &mut VecDeque<Write>) -> Vec<Patched> {
    let outcomes = api.port.write_all(writes.make_contiguous());
    let made = outcomes.len().min(writes.len());
    outcomes
        .into_iter()
        .zip(writes.drain(..made))
        .map(|(outcome, write)| patched(api, outcome, write))
        .collect()
}

/// What is written.
pub(super) fn write(object: ObjectId, tree: Tree, said: &ObjectHeaders) -> Write {
    Write { life: said.life, after: said.after_hlc(), ..Write::new(object, Change::MergePatch(tree)) }
}

fn patched(api: &Api, outcome: Result<Written, Refusal>, write: Write) -> Patched {
    match (outcome, write) {
        (Ok(written), _) => Patched::Done(written),
        (Err(Refusal::Unknown), Write { object, change: Change::MergePatch(tree), .. }) => {
            Patched::Unknown(object, tree)
        }
        (Err(refusal), write) => Patched::Refused(refused(api, &write.object, &refusal, false)),
    }
}

/// The key under which an object is stored.
fn stored<'a>(api: &Api, kind: Kind, key: &'a str) -> Cow<'a, str> {
    match &api.settings.session_ids {
        Some(hash) if kind == Kind::Session => Cow::Owned(hash.hash(key)),
        _ => Cow::Borrowed(key),
    }
}

fn named(target: &str) -> Option<(Kind, &str)> {
    let rest = target.strip_prefix("/v1/")?;
    let (kind, key) = match rest.strip_prefix("sessions/") {
        Some(key) => (Kind::Session, key),
        None => (Kind::Document, rest.strip_prefix("documents/")?),
    };
    let is_plain = key.bytes().all(|byte| PLAIN[usize::from(byte)]);
    ((1..=KEY_BYTES_MAX).contains(&key.len()) && is_plain).then_some((kind, key))
}

/// Bytes of a name that stand for themselves in a target.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        let one = byte as u8;
        plain[byte] = one.is_ascii_alphanumeric() || matches!(one, b'-' | b'_' | b'.' | b':' | b'~');
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_is_short() {
        assert_eq!(named("/v1/sessions/a-B_c.1~:2"), Some((Kind::Session, "a-B_c.1~:2")));
        assert_eq!(named("/v1/documents/d"), Some((Kind::Document, "d")));
        let long = format!("/v1/sessions/{}", "k".repeat(KEY_BYTES_MAX + 1));
        for target in [
            "/v1/sessions/",
            "/v1/sessions/a/b",
            "/v1/sessions/a%20",
            "/v1/sessions/a?wait=1",
            "/v1/sessions/a#b",
            "/v1/sessions/\u{e9}",
            "/v1/counters/c",
            "/v2/sessions/a",
            "/v1/sessions",
            &long,
        ] {
            assert_eq!(named(target), None, "{target}");
        }
    }
}
