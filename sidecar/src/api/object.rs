//! What sessions and documents have in common: a JSON object that is read, replaced, patched and destroyed.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName};

use super::answer::{About, Answer, Outcome, empty, json};
use super::body::{JSON, MERGE_PATCH, OPS, check_media_type, object_tree, unsupported};
use super::call::Call;
use super::change::{Done, Show, change, change_as_said, destroy};
use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::find::{Sight, find_patiently};
use super::headers::{Condition, ObjectHeaders, media_type};
use super::path_ops;
use super::query::Query;
use super::turn::Turn;
use crate::core::command::{Change, View};
use crate::core::identity::{Kind, ObjectId};
use crate::core::value::Tree;

/// Reads.
pub(super) async fn get(api: &Api, call: &Call, kind: Kind) -> Outcome {
    let object = call.object(kind)?;
    let headers = ObjectHeaders::parse(&call.parts.headers)?;
    if headers.are_seen(api) {
        let reading = api.read_lately.read(&*api.port, &object).ok_or_else(|| api.not_ready())?;
        if let Some(found) = reading {
            return found.answer(&object, &headers);
        }
    }
    // The rest waits: in a box, so that the request that need not wait stays small.
    let sight = Box::pin(find_patiently(api, call, object, headers)).await?;
    show(sight, |view| view.body, "{}")
}

/// Answers a read: the conditions decide, then `render` makes the body. `unwritten` is the body of what nobody has
/// written to.
pub(super) fn show<B: Into<bytes::Bytes>>(
    sight: Sight,
    render: impl FnOnce(View) -> B,
    unwritten: &'static str,
) -> Outcome {
    let token = sight.token;
    let Some(view) = sight.view else {
        return Ok(About::nothing(token, sight.behind).on(json(StatusCode::OK, unwritten)));
    };
    let about = About::view(token, &view, sight.behind);
    match sight.headers.condition(view.tag) {
        Condition::Holds => Ok(about.on(json(StatusCode::OK, render(view)))),
        Condition::NotModified => Ok(about.on(not_modified())),
        Condition::Failed => Err(about.on_problem(another_tag(&sight.object))),
    }
}

/// The problem of a read whose condition does not hold.
pub(super) fn another_tag(object: &ObjectId) -> Problem {
    Problem::new(Code::PreconditionFailed, format!("{object} has another tag"))
}

pub(super) fn not_modified() -> Answer {
    let mut answer = empty(StatusCode::NOT_MODIFIED);
    answer.headers_mut().reserve(6);
    answer
}

/// Creates or replaces.
pub(super) async fn put(api: &Api, call: &Call, kind: Kind) -> Outcome {
    let object = call.object(kind)?;
    check_media_type(&call.parts.headers, &[JSON])?;
    let tree = object_tree(&call.body)?;
    change(api, call, object, Change::Put(tree), Show::ObjectUnlessMinimal).await?.object()
}

/// Changes a part.
pub(super) async fn patch(api: &Api, call: &Call, kind: Kind) -> Outcome {
    let object = call.object(kind)?;
    let patch = patch_of(call)?;
    change(api, call, object, patch, Show::ObjectUnlessMinimal).await?.object()
}

/// Changes a part, for a call that names nothing but the object, how long it may wait, and what these headers say.
pub(super) async fn merge(
    api: &Api,
    object: ObjectId,
    wait_millis: Option<u64>,
    headers: ObjectHeaders,
    patch: Tree,
    turn: Option<Turn>,
) -> Answer {
    let (query, patch) = (Query { wait_millis, ..Query::default() }, Change::MergePatch(patch));
    let done = change_as_said(api, &query, headers, object, patch, Show::ObjectUnlessMinimal, turn).await;
    done.and_then(Done::object).unwrap_or_else(Answer::from)
}

fn patch_of(call: &Call) -> Result<Change, Problem> {
    let headers = &call.parts.headers;
    // As nearly everyone writes it: no text is copied.
    let as_sent = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    if matches!(as_sent, Some(b"application/json" | b"application/merge-patch+json")) {
        return object_tree(&call.body).map(Change::MergePatch);
    }
    match media_type(headers).as_deref() {
        Some(JSON | MERGE_PATCH) => object_tree(&call.body).map(Change::MergePatch),
        Some(OPS) => path_ops::parse(&call.body).map(Change::Ops),
        found => {
            let header = HeaderName::from_static("accept-patch");
            Err(unsupported(found.map(str::to_owned), &[MERGE_PATCH, JSON, OPS], header))
        }
    }
}

/// Destroys.
pub(super) async fn delete(api: &Api, call: &Call, kind: Kind) -> Outcome {
    destroy(api, call, call.object(kind)?).await?.no_content()
}
