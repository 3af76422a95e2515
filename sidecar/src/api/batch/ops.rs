//! The calls of a batch: taken from its JSON in one pass, their bodies left as they stand.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::body::{JSON, bad_json, check_media_type, object_tree};
use super::super::call::Call;
use super::super::dispatch::Api;
use super::super::errors::{Code, Problem};
use super::super::headers::ObjectHeaders;
use super::super::query::integer;
use super::super::short;
use crate::core::identity::ObjectId;
use crate::core::limits::WAIT_MILLIS_MAX;
use crate::core::value::Tree;

/// Calls in one batch, at most.
const OPS_MAX: usize = 1_000;

/// Many calls.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Batch<'a> {
    /// Up to 1000.
    #[serde(borrow)]
    pub(super) ops: Vec<BatchOp<'a>>,
}

/// One call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct BatchOp<'a> {
    /// `GET`, `PUT`, `POST`, `PATCH`, `DELETE` or `HEAD`.
    #[serde(borrow)]
    #[schema(value_type = String)]
    pub(super) method: Cow<'a, str>,
    /// The path with its query.
    #[serde(borrow)]
    #[schema(value_type = String)]
    pub(super) path: Cow<'a, str>,
    /// Any JSON, null among it.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<&'a RawValue>,
    /// Without a Content-Type, a body is `application/json`.
    #[serde(borrow, default, deserialize_with = "headers")]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(super) headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Null is there, only what is left out is not.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(deserializer).map(Some)
}

/// A text that is borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn headers<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Headers<'a>, D::Error> {
    struct Each;
    impl<'de> Visitor<'de> for Each {
        type Value = Headers<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut headers: Headers<'de> = Vec::new();
            while let Some((Text(name), Text(value))) = map.next_entry::<Text<'de>, Text<'de>>()? {
                // As everywhere in JSON that is read leniently: of two with one name, the last.
                headers.retain(|(other, _)| *other != name);
                headers.push((name, value));
            }
            Ok(headers)
        }
    }
    deserializer.deserialize_map(Each)
}

/// The calls.
///
/// # Errors
/// `unsupported_media_type`, `bad_json`, `bad_body`.
pub(super) fn parse(call: &Call) -> Result<Batch<'_>, Problem> {
    check_media_type(&call.parts.headers, &[JSON])?;
    // What is no JSON at all is another problem. Bodies within are checked by the calls that they belong to.
    let no_json = || match serde_json::from_slice::<&RawValue>(&call.body) {
        Ok(_) => None,
        Err(error) => Some(bad_json(error.into())),
    };
    let text = std::str::from_utf8(&call.body)
        .map_err(|error| no_json().unwrap_or_else(|| Problem::new(Code::BadJson, error.to_string())))?;
    let batch: Batch<'_> = serde_json::from_str(text)
        .map_err(|error| no_json().unwrap_or_else(|| Problem::new(Code::BadBody, error.to_string())))?;
    if batch.ops.len() > OPS_MAX {
        return Err(Problem::new(Code::BadBody, format!("there are {} calls", batch.ops.len()))
            .with("allowed", format!("up to {OPS_MAX} calls")));
    }
    Ok(batch)
}

/// What a merge patch of one object says, if a call is one and has nothing special about it.
pub(super) struct Patch {
    pub(super) object: ObjectId,
    pub(super) wait_millis: Option<u64>,
    pub(super) headers: ObjectHeaders,
    pub(super) tree: Tree,
}

/// The call as a patch; `None` where the long way is right, be it to find what is wrong.
pub(super) fn patch(api: &Api, op: &BatchOp<'_>) -> Option<Patch> {
    if op.method != "PATCH" {
        return None;
    }
    let headers = op.said(PATCH_HEADERS)?;
    let (path, wait_millis) = op.path_and_wait()?;
    let (object, body) = (short::object(api, path)?, op.body?);
    Some(Patch { object, wait_millis, headers, tree: object_tree(body.get().as_bytes()).ok()? })
}

impl BatchOp<'_> {
    /// The path, and how long the call may wait, where its query says nothing else.
    pub(super) fn path_and_wait(&self) -> Option<(&str, Option<u64>)> {
        // A search for one byte prepares nothing.
        let asked = self.path.split_once('?').map(|(path, query)| (path, query.strip_prefix("wait=")));
        match asked {
            Some((path, Some(millis))) => Some((path, Some(integer(millis, 0, WAIT_MILLIS_MAX)?))),
            _ => Some((&self.path, None)),
        }
    }

    /// What its headers say of the object, where it has no others than these.
    pub(super) fn said(&self, names: &[&str]) -> Option<ObjectHeaders> {
        if !self.headers.iter().all(|(name, _)| names.contains(&&**name)) {
            return None;
        }
        ObjectHeaders::of(self.headers.iter().map(|(name, value)| (&**name, value.as_bytes()))).ok()
    }
}

/// Headers that a read may have and still be answered with what is kept.
pub(super) const READ_HEADERS: &[&str] = &["sidetalk-after"];

/// Headers that a patch may have and still be taken the short way.
const PATCH_HEADERS: &[&str] = &["prefer", "sidetalk-life", "sidetalk-after", "if-match", "if-none-match"];

/// A call as if it had come alone. Its body is a part of the batch's.
///
/// # Errors
/// `bad_body`, `not_in_batch`.
pub(super) fn prepare(op: &BatchOp<'_>, whole: &Bytes) -> Result<(Parts, Bytes), Problem> {
    let bad = |field: &str, allowed: &str| {
        Problem::new(Code::BadBody, format!("{field:?} of the call is not right"))
            .with("field", field)
            .with("allowed", allowed)
    };
    let method = match &*op.method {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "PUT" => Method::PUT,
        "POST" => Method::POST,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        _ => return Err(bad("method", "GET, HEAD, PUT, POST, PATCH, or DELETE")),
    };
    let uri: Uri = match op.path.parse::<Uri>() {
        Ok(uri) if op.path.starts_with('/') => uri,
        _ => return Err(bad("path", "a path that starts with a slash, with its query")),
    };
    if matches!(uri.path(), "/v1/batch" | "/v1/watch") {
        return Err(Problem::new(Code::NotInBatch, format!("{} is not a call for a batch", uri.path())));
    }
    let mut headers = HeaderMap::with_capacity(op.headers.len() + 1);
    for (name, value) in &op.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(&**name), HeaderValue::try_from(&**value)) else {
            return Err(bad("headers", "names and values of HTTP headers"));
        };
        headers.append(name, value);
    }
    if op.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = method;
    parts.uri = uri;
    parts.headers = headers;
    let body = op.body.map_or_else(Bytes::new, |body| whole.slice_ref(body.get().as_bytes()));
    Ok((parts, body))
}
