//! Sessions: leased objects that die for ever.

use super::body::{JSON, MERGE_PATCH, OPS};
use super::change::{Show, change};
use super::errors::Code;
use super::object;
use super::operation::{
    About, AnyObject, BODY, CHANGE, CHANGE_HEADERS, CHANGE_QUERY, Given, IDEMPOTENT, LEASE_QUERY, MORTAL,
    Operation, PREFER, READ, READ_HEADERS, READ_QUERY, Takes, Verb, of,
};
use crate::core::command::Change;
use crate::core::identity::Kind;

pub(super) static GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions/{id}",
    id: "getSession",
    summary: "Read a session. One that is unknown here is asked for before the answer is no.",
    query: READ_QUERY,
    headers: &[READ_HEADERS],
    takes: None,
    about: About::Object,
    given: &[
        Given::json(200, "The session.", of::<AnyObject>),
        Given::empty(304, "It is still what If-None-Match names."),
    ],
    codes: &[READ, MORTAL],
    run: |api, call| Box::pin(object::get(api, call, Kind::Session)),
};

pub(super) static PUT: Operation = Operation {
    verb: Verb::Put,
    path: "/v1/sessions/{id}",
    id: "putSession",
    summary: "Create a session, or replace what is in it. `If-None-Match: *` only creates, `If-Match: *` only replaces.",
    query: LEASE_QUERY,
    headers: &[CHANGE_HEADERS, PREFER],
    takes: Some(Takes { media_types: &[JSON], schema: of::<AnyObject> }),
    about: About::Object,
    given: &[
        Given::json(200, "It was replaced: the session now.", of::<AnyObject>),
        Given::json(201, "It was created: the session now.", of::<AnyObject>),
        Given::empty(204, "It was replaced, and the client prefers a minimal answer."),
    ],
    codes: &[CHANGE, BODY, &[Code::NotAnObject, Code::OutOfMemory]],
    run: |api, call| Box::pin(object::put(api, call, Kind::Session)),
};

pub(super) static PATCH: Operation = Operation {
    verb: Verb::Patch,
    path: "/v1/sessions/{id}",
    id: "patchSession",
    summary: "Change a part of a live session: a JSON Merge Patch (RFC 7396), or a list of operations on paths.",
    query: LEASE_QUERY,
    headers: &[CHANGE_HEADERS, PREFER, IDEMPOTENT],
    takes: Some(Takes { media_types: &[MERGE_PATCH, JSON, OPS], schema: of::<AnyObject> }),
    about: About::Object,
    given: &[
        Given::json(200, "The session now.", of::<AnyObject>),
        Given::empty(204, "It was changed, and the client prefers a minimal answer."),
    ],
    codes: &[CHANGE, BODY, PATCHED],
    run: |api, call| Box::pin(object::patch(api, call, Kind::Session)),
};

/// Problems of a patch.
pub(super) const PATCHED: &[Code] = &[
    Code::NotAnObject,
    Code::BadBody,
    Code::BadMember,
    Code::WrongShape,
    Code::WrongKind,
    Code::Overflow,
    Code::TooLarge,
    Code::OutOfMemory,
];

pub(super) static TOUCH: Operation = Operation {
    verb: Verb::Post,
    path: "/v1/sessions/{id}/touch",
    id: "touchSession",
    summary: "Extend a live session's idle deadline. Costs a write only when the deadline moves by more than a slack.",
    query: LEASE_QUERY,
    headers: &[CHANGE_HEADERS, IDEMPOTENT],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "The session lives on.")],
    codes: &[CHANGE],
    run: |api, call| {
        Box::pin(async move {
            let object = call.object(Kind::Session)?;
            change(api, call, object, Change::Touch, Show::Object).await?.no_content()
        })
    },
};

pub(super) static DELETE: Operation = Operation {
    verb: Verb::Delete,
    path: "/v1/sessions/{id}",
    id: "deleteSession",
    summary: "Destroy a session for ever, also when this node has not heard of it.",
    query: CHANGE_QUERY,
    headers: &[CHANGE_HEADERS],
    takes: None,
    about: About::Object,
    given: &[Given::empty(204, "It is destroyed.")],
    codes: &[CHANGE],
    run: |api, call| Box::pin(object::delete(api, call, Kind::Session)),
};
