//! Counters: one number each, exact whatever the network does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Outcome;
use super::body::{JSON, fixed};
use super::call::Call;
use super::change::{Show, change};
use super::dispatch::Api;
use super::errors::Code;
use super::find::find;
use super::object::{delete, show};
use super::operation::{
    About, BODY, CHANGE, CHANGE_HEADERS, CHANGE_QUERY, Given, IDEMPOTENT, Operation, READ, READ_HEADERS,
    READ_QUERY, Takes, Verb, of,
};
use crate::core::command::{Change, PathOp, View};
use crate::core::identity::Kind;
use crate::core::path::Path;

/// A counter's value.
#[derive(Serialize, ToSchema)]
pub(super) struct CounterValue {
    /// The sum of all increments since the last reset.
    value: i64,
}

/// An increment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CounterAdd {
    /// How much; may be negative.
    add: i64,
}

pub(super) static GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/counters/{name}",
    id: "getCounter",
    summary: "Read a counter. One that nobody has written to is 0.",
    query: READ_QUERY,
    headers: &[READ_HEADERS],
    takes: None,
    about: About::Object,
    given: &[
        Given::json(200, "The counter.", of::<CounterValue>),
        Given::empty(304, "It is still what If-None-Match names."),
    ],
    codes: &[READ],
    run: |api, call| Box::pin(get(api, call)),
};

pub(super) static POST: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/counters/{name}",
    id: "addToCounter",
    summary: "Add to a counter.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS, IDEMPOTENT],
    takes: Some(Takes { media_types: &[JSON], schema: of::<CounterAdd> }),
    about: About::Object,
    given: &[Given::json(200, "The counter now.", of::<CounterValue>)],
    codes: &[CHANGE, BODY, &[Code::BadBody, Code::Overflow, Code::OutOfMemory]],
    run: |api, call| Box::pin(post(api, call)),
};

pub(super) static DELETE: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/counters/{name}",
    id: "resetCounter",
    summary: "Take back the increments that this node has seen; those made elsewhere at the same time stay.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "It is reset.")],
    codes: &[CHANGE],
    run: |api, call| Box::pin(delete(api, call, Kind::Counter)),
};

async fn get(api: &Api, call: &Call) -> Outcome {
    let sight = find(api, call, Kind::Counter).await?;
    show(sight, |view| body(&view), "{\"value\":0}")
}

fn body(view: &View) -> Vec<u8> {
    [b"{\"value\":".as_slice(), &view.body, b"}"].concat()
}

async fn post(api: &Api, call: &Call) -> Outcome {
    let object = call.object(Kind::Counter)?;
    let CounterAdd { add } = fixed(call)?;
    let increment = PathOp::Increment { path: Path::ROOT, by: add };
    let done = change(api, call, object, Change::Ops(vec![increment]), Show::Object).await?;
    let body = done.view.as_ref().map_or_else(|| b"{\"value\":0}".to_vec(), body);
    done.json(body)
}
