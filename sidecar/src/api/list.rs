//! Lists of keys, in pages.

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Outcome, json_of};
use super::call::Call;
use super::dispatch::Api;
use super::errors::Code;
use super::find::Patience;
use super::headers::{self, ObjectHeaders};
use super::operation::{About, Given, HeaderNote, Operation, READ_HEADERS, Verb, of};
use super::query::{LIMIT_DEFAULT, Param};
use crate::core::identity::Kind;

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(super) struct Keys {
    /// Keys in the order of their bytes.
    keys: Vec<Box<str>>,
    /// The `after` of the next page; null on the last.
    next: Option<Box<str>>,
}

const QUERY: &[Param] = &[Param::Prefix, Param::Limit, Param::AfterKey, Param::Wait];
const AFTER_ONLY: &[HeaderNote] = &[READ_HEADERS[0]];
const GIVEN: &[Given] = &[Given::json(200, "A page of keys.", of::<Keys>)];
const CODES: &[&[Code]] = &[&[Code::BadToken, Code::BadPrecondition, Code::BadLife, Code::NotReady]];

pub(super) static SESSIONS: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sessions",
    id: "listSessions",
    summary: "List the ids of live sessions that this node knows.",
    query: QUERY,
    headers: &[AFTER_ONLY],
    takes: None,
    about: About::Nothing,
    given: GIVEN,
    codes: CODES,
    run: |api, call| Box::pin(list(api, call, Kind::Session)),
};

pub(super) static DOCUMENTS: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/documents",
    id: "listDocuments",
    summary: "List the names of documents.",
    query: QUERY,
    headers: &[AFTER_ONLY],
    takes: None,
    about: About::Nothing,
    given: GIVEN,
    codes: CODES,
    run: |api, call| Box::pin(list(api, call, Kind::Document)),
};

pub(super) static COUNTERS: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/counters",
    id: "listCounters",
    summary: "List the names of counters.",
    query: QUERY,
    headers: &[AFTER_ONLY],
    takes: None,
    about: About::Nothing,
    given: GIVEN,
    codes: CODES,
    run: |api, call| Box::pin(list(api, call, Kind::Counter)),
};

pub(super) static SETS: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/sets",
    id: "listSets",
    summary: "List the names of sets.",
    query: QUERY,
    headers: &[AFTER_ONLY],
    takes: None,
    about: About::Nothing,
    given: GIVEN,
    codes: CODES,
    run: |api, call| Box::pin(list(api, call, Kind::Set)),
};

async fn list(api: &Api, call: &Call, kind: Kind) -> Outcome {
    api.must_be_ready()?;
    let seen = ObjectHeaders::parse(&call.parts.headers)?;
    let mut patience = Patience::of(&call.query);
    patience.catch_up(api, &seen.after).await;
    let query = &call.query;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let page = api.port.list(kind, &query.prefix, query.after.as_deref(), limit);
    let mut answer = json_of(&Keys { keys: page.keys, next: page.next })?;
    if patience.behind {
        answer.headers_mut().insert(headers::BEHIND, http::HeaderValue::from_static("true"));
    }
    Ok(answer)
}
