//! Bodies of requests: read within bounds of size and time, and parsed within bounds of depth.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, EXPECT, HeaderName};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};
use serde_json::value::RawValue;
use std::sync::Arc;

use super::call::Call;
use super::errors::{Code, Problem};
use super::headers::media_type;
use super::load::{LARGE_BYTES, Load, Room};
use super::settings::ApiSettings;
use crate::core::limits::{BODY_BYTES_MAX, DEPTH_MAX};
use crate::core::value::{BadJson, JsonText, Tree};

/// Bytes read and thrown away after the limit, so that a client that sends first and listens then hears why.
const DISCARD_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;

/// JSON.
pub(super) const JSON: &str = "application/json";
/// RFC 7396.
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
/// A list of path operations.
pub(super) const OPS: &str = "application/vnd.sidetalk.ops+json";

/// Reads a body whole. The room that a large one takes comes with it.
///
/// # Errors
/// `too_large`, `incomplete_body`, `too_busy`.
pub(super) async fn collect(
    settings: &ApiSettings,
    load: &Arc<Load>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<(Bytes, Option<Room>), Problem> {
    let declared = body.size_hint().lower();
    let waits = headers.contains_key(EXPECT) && declared > BODY_BYTES_MAX as u64;
    // Nobody reads that much to be polite.
    if waits || declared > DISCARD_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(settings.body_timeout, collect_bounded(settings, load, body)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Problem::new(Code::IncompleteBody, "the body took too long to arrive")),
    }
}

async fn collect_bounded(
    settings: &ApiSettings,
    load: &Arc<Load>,
    mut body: Incoming,
) -> Result<(Bytes, Option<Room>), Problem> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut room: Option<Room> = None;
    let (mut total, mut counted) = (0, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(Code::IncompleteBody, format!("the body ends before it should: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
        if total > DISCARD_BYTES_MAX {
            return Err(too_large());
        }
        if total > BODY_BYTES_MAX {
            (first, rest, room) = (Bytes::new(), BytesMut::new(), None);
            continue;
        }
        if total > LARGE_BYTES {
            let room = room.get_or_insert_with(|| Room::none(load));
            if !room.grow(total - counted, settings.body_bytes_max) {
                return Err(Problem::too_busy("as many bytes as this node takes are on their way"));
            }
            counted = total;
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    match total {
        _ if total > BODY_BYTES_MAX => Err(too_large()),
        _ if rest.is_empty() => Ok((first, room)),
        _ => Ok((rest.freeze(), room)),
    }
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge, "the body is too large")
}

/// Checks the content type against what the call takes; a request without one passes where `none` does.
///
/// # Errors
/// `unsupported_media_type`.
pub(super) fn check_media_type(headers: &HeaderMap, allowed: &'static [&'static str]) -> Result<(), Problem> {
    match media_type(headers) {
        None => Ok(()),
        Some(found) if allowed.contains(&found.as_str()) => Ok(()),
        found => Err(unsupported(found, allowed, ACCEPT)),
    }
}

/// The problem of a content type that the call does not take. `header` is the one that lists what it takes.
pub(super) fn unsupported(
    found: Option<String>,
    allowed: &'static [&'static str],
    header: HeaderName,
) -> Problem {
    let detail = match found {
        Some(found) => format!("the content type is {found:?}"),
        None => "there is no Content-Type header".to_owned(),
    };
    let problem = Problem::new(Code::UnsupportedMediaType, detail).with("allowed", allowed);
    match HeaderValue::from_str(&allowed.join(", ")) {
        Ok(list) => problem.header(header, list),
        Err(_) => problem,
    }
}

/// Parses a body as a tree.
///
/// # Errors
/// `bad_json`, `duplicate_key`, `too_deep`.
pub(super) fn tree(body: &[u8]) -> Result<Tree, Problem> {
    Tree::parse(body, DEPTH_MAX).map_err(bad_json)
}

/// Parses a body as an object's tree.
///
/// # Errors
/// As [`tree`], and `not_an_object`.
pub(super) fn object_tree(body: &[u8]) -> Result<Tree, Problem> {
    match tree(body)? {
        Tree::Value(_) => Err(Problem::new(Code::NotAnObject, "the root of the body is not an object")),
        object => Ok(object),
    }
}

/// Parses the JSON body of a call that takes fixed members.
///
/// # Errors
/// `unsupported_media_type`, `bad_json`, `duplicate_key`, `too_deep`, `bad_body`.
pub(super) fn fixed<T: DeserializeOwned>(call: &Call) -> Result<T, Problem> {
    check_media_type(&call.parts.headers, &[JSON])?;
    let text = std::str::from_utf8(&call.body)
        .map_err(|error| Problem::new(Code::BadJson, format!("the body is not UTF-8: {error}")))?;
    JsonText::parse(text, DEPTH_MAX).map_err(bad_json)?;
    serde_json::from_str(text).map_err(|error| Problem::new(Code::BadBody, error.to_string()))
}

/// For an optional member that may be null: null is there, only what is left out is not.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// What is wrong with a JSON text.
pub(super) fn bad_json(error: BadJson) -> Problem {
    let detail = error.to_string();
    match error {
        BadJson::Syntax { .. } => Problem::new(Code::BadJson, detail),
        BadJson::DuplicateKey { key } => Problem::new(Code::DuplicateKey, detail).with("key", key),
        BadJson::TooDeep => Problem::new(Code::TooDeep, detail),
    }
}
