//! Documents: global objects, leased only when a writer gives a `ttl`.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::Outcome;
use super::body::{JSON, MERGE_PATCH, OPS};
use super::call::Call;
use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::find::find;
use super::object;
use super::operation::{
    About, AnyObject, BODY, CHANGE, CHANGE_HEADERS, CHANGE_QUERY, Given, IDEMPOTENT, LEASE_QUERY, MORTAL,
    Operation, PREFER, READ, READ_HEADERS, Takes, Verb, of,
};
use super::query::Param;
use super::sessions::PATCHED;
use crate::core::command::{Conflict, Sibling};
use crate::core::identity::Kind;
use crate::core::value::JsonText;

/// A document and the values that were written at once.
#[derive(Serialize, ToSchema)]
pub(super) struct DocumentWithSiblings<'a> {
    /// The document as every reader sees it.
    #[schema(value_type = serde_json::Value)]
    value: &'a RawValue,
    /// Where there is more than one value. Any write to such a path that has seen them settles it.
    siblings: Vec<SiblingsAtPath>,
}

/// A document, with `siblings=true` with what was written at once.
#[derive(ToSchema)]
#[schema(as = DocumentShown)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum DocumentShown {
    Document(AnyObject),
    WithSiblings(DocumentWithSiblings<'static>),
}

/// The values at one path.
#[derive(Serialize, ToSchema)]
pub(super) struct SiblingsAtPath {
    /// Object keys, the root first.
    path: Vec<String>,
    /// The values: first the one that readers see.
    values: Vec<SiblingValue>,
}

/// One of the values that were written at once.
#[derive(Serialize, ToSchema)]
pub(super) struct SiblingValue {
    /// The value.
    #[schema(value_type = serde_json::Value)]
    value: Box<RawValue>,
    /// Names the operation that wrote it.
    dot: String,
    /// When it was written by its author's clock, in milliseconds since 1970.
    written_unix_millis: u64,
}

pub(super) static GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/documents/{name}",
    id: "getDocument",
    summary: "Read a document. Peers are asked about an unknown one only when `wait` is given.",
    query: &[Param::Wait, Param::Siblings],
    headers: &[READ_HEADERS],
    takes: None,
    about: About::Object,
    given: &[
        Given::json(
            200,
            "The document; with `siblings=true` what is around it as well.",
            of::<DocumentShown>,
        ),
        Given::empty(304, "It is still what If-None-Match names."),
    ],
    codes: &[READ, MORTAL],
    run: |api, call| Box::pin(get(api, call)),
};

pub(super) static PUT: Operation = Operation {
    verb: Verb::Put,
    path: "/v1/documents/{name}",
    id: "putDocument",
    summary: "Create a document, or replace what is in it. With `ttl` it is leased.",
    query: LEASE_QUERY,
    headers: &[CHANGE_HEADERS, PREFER],
    takes: Some(Takes { media_types: &[JSON], schema: of::<AnyObject> }),
    about: About::Object,
    given: &[
        Given::json(200, "It was replaced: the document now.", of::<AnyObject>),
        Given::json(201, "It was created: the document now.", of::<AnyObject>),
        Given::empty(204, "It was replaced, and the client prefers a minimal answer."),
    ],
    codes: &[CHANGE, BODY, &[Code::NotAnObject, Code::OutOfMemory]],
    run: |api, call| Box::pin(object::put(api, call, Kind::Document)),
};

pub(super) static PATCH: Operation = Operation {
    verb: Verb::Patch,
    path: "/v1/documents/{name}",
    id: "patchDocument",
    summary: "Change a part of a document, or create it: a JSON Merge Patch (RFC 7396), or a list of operations on paths.",
    query: LEASE_QUERY,
    headers: &[CHANGE_HEADERS, PREFER, IDEMPOTENT],
    takes: Some(Takes { media_types: &[MERGE_PATCH, JSON, OPS], schema: of::<AnyObject> }),
    about: About::Object,
    given: &[
        Given::json(200, "It was changed: the document now.", of::<AnyObject>),
        Given::json(201, "It was created: the document now.", of::<AnyObject>),
        Given::empty(204, "It was changed, and the client prefers a minimal answer."),
    ],
    codes: &[CHANGE, BODY, PATCHED],
    run: |api, call| Box::pin(object::patch(api, call, Kind::Document)),
};

pub(super) static DELETE: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/documents/{name}",
    id: "deleteDocument",
    summary: "Remove what this node has seen of a document; what is written elsewhere at the same time stays.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "It is removed, or was not there.")],
    codes: &[CHANGE],
    run: |api, call| Box::pin(object::delete(api, call, Kind::Document)),
};

/// Reads.
pub(super) async fn get(api: &Api, call: &Call) -> Outcome {
    if call.query.siblings {
        return Box::pin(get_with_siblings(api, call)).await;
    }
    object::get(api, call, Kind::Document).await
}

async fn get_with_siblings(api: &Api, call: &Call) -> Outcome {
    let sight = find(api, call, Kind::Document).await?;
    let conflicts = api.port.conflicts(&sight.object);
    let siblings = conflicts.iter().map(at_path).collect::<Result<_, _>>().map_err(internal)?;
    let body = match &sight.view {
        Some(view) => {
            let value = serde_json::from_slice(&view.body).map_err(internal)?;
            serde_json::to_vec(&DocumentWithSiblings { value, siblings }).map_err(internal)?
        }
        None => Vec::new(),
    };
    object::show(sight, |_| body, "{}")
}

fn at_path(conflict: &Conflict) -> serde_json::Result<SiblingsAtPath> {
    let path = conflict.path.segments().map(String::from).collect();
    let values = conflict.siblings.iter().map(value).collect::<Result<_, _>>()?;
    Ok(SiblingsAtPath { path, values })
}

fn value(sibling: &Sibling) -> serde_json::Result<SiblingValue> {
    Ok(SiblingValue {
        value: raw(&sibling.value)?,
        dot: format!("{}-{}", sibling.dot.actor, sibling.dot.counter),
        written_unix_millis: sibling.written.0,
    })
}

/// A stored value as a part of an answer.
pub(super) fn raw(value: &JsonText) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(value.as_str().to_owned())
}

/// Stored JSON that is none.
pub(super) fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Internal, format!("what is stored cannot be shown: {error}"))
}
