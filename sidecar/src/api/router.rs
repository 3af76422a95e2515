//! The router: every operation of the contract at its path, and answers for what is none.

use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::Request;
use axum::routing::on;
use http_body_util::BodyExt as _;

use super::answer::{Answer, Outcome};
use super::call::{Call, bad_key, no_such_path};
use super::dispatch::{Api, bug};
use super::errors::{Code, Problem};
use super::operation::Operation;
use super::{admin, batch, chaos, counters, documents, explain, list, sessions, sets, watch};
use crate::core::identity::Kind;

/// The whole contract.
pub(super) fn operations(with_chaos: bool) -> Vec<&'static Operation> {
    let mut operations = vec![
        &sessions::GET,
        &sessions::PUT,
        &sessions::PATCH,
        &sessions::DELETE,
        &sessions::TOUCH,
        &documents::GET,
        &documents::PUT,
        &documents::PATCH,
        &documents::DELETE,
        &counters::GET,
        &counters::POST,
        &counters::DELETE,
        &sets::GET,
        &sets::POST,
        &sets::DELETE,
        &sets::GET_MEMBER,
        &sets::PUT_MEMBER,
        &sets::DELETE_MEMBER,
        &list::SESSIONS,
        &list::DOCUMENTS,
        &list::COUNTERS,
        &list::SETS,
        &batch::POST,
        &watch::GET,
        &explain::GET,
        &admin::STATUS,
        &admin::CLUSTER,
        &admin::FORGET,
        &admin::LIVEZ,
        &admin::READYZ,
        &admin::METRICS,
        &admin::OPENAPI,
    ];
    if with_chaos {
        operations.extend([&chaos::GET, &chaos::PUT, &chaos::DELETE]);
    }
    operations
}

/// Routes the operations. The router is a part of the API, so it does not keep it alive.
pub(super) fn router(operations: &[&'static Operation], api: &Weak<Api>) -> Router {
    let mut router = Router::new();
    for &operation in operations {
        let api = api.clone();
        let handler = move |request: Request| run(api.clone(), operation, request);
        router = router.route(operation.path, on(operation.verb.filter(), handler));
    }
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed)
}

async fn run(api: Weak<Api>, operation: &'static Operation, request: Request) -> Answer {
    let outcome: Outcome = async {
        let Some(api): Option<Arc<Api>> = api.upgrade() else { return Err(bug("the API is gone")) };
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| bug(error.to_string()))?.to_bytes();
        let call = Call::new(&api, operation, parts, body)?;
        (operation.run)(&api, &call).await
    }
    .await;
    outcome.unwrap_or_else(Answer::from)
}

async fn not_found(request: Request) -> Answer {
    let path = request.uri().path();
    let is_object_without_key = Kind::ALL
        .iter()
        .any(|kind| path.strip_prefix("/v1/").and_then(|rest| rest.strip_suffix('/')) == Some(kind.plural()));
    let problem = if is_object_without_key { bad_key("the key is empty") } else { no_such_path(path) };
    problem.into()
}

async fn method_not_allowed(request: Request) -> Answer {
    // The router adds the header Allow.
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Problem::new(Code::MethodNotAllowed, detail).with("allowed", "the methods in the header Allow").into()
}
