//! From a request to its operation: the short way for the calls that every page load makes, the router for the
//! rest. Both end in the same functions.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use super::answer::{Answer, ApiBody};
use super::call::Call;
use super::errors::{Code, Problem};
use super::idempotency::Idempotency;
use super::load::Load;
use super::pace::Paces;
use super::port::{ApiFigures, Port};
use super::read_lately::ReadLately;
use super::settings::ApiSettings;
use super::{admin, batch, documents, headers, idempotency, object, sessions};
use crate::core::command::Lookup;
use crate::core::identity::{Kind, ObjectId, ReplicaId};
use crate::core::token::Token;

/// What all requests share.
pub(super) struct Api {
    pub port: Arc<dyn Port>,
    pub settings: ApiSettings,
    pub load: Arc<Load>,
    pub paces: Arc<Paces>,
    pub router: axum::Router,
    pub openapi: Bytes,
    pub read_lately: ReadLately,
    pub idempotency: Idempotency,
    /// Places for watchers.
    pub watchers: Arc<Semaphore>,
    /// Turns true when the shutdown begins.
    pub closing: watch::Receiver<bool>,
    /// Names this process in cursors.
    pub replica: ReplicaId,
    /// A watch could not be served for lack of places: said once in the log.
    pub watchers_short: AtomicBool,
}

impl Api {
    /// # Errors
    /// `not_ready`.
    pub(super) fn must_be_ready(&self) -> Result<(), Problem> {
        if self.port.ready() { Ok(()) } else { Err(self.not_ready()) }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// `not_ready`.
    pub(super) fn read(&self, object: &ObjectId) -> Result<(Lookup, Token), Problem> {
        let reading = self.port.read(object, None).ok_or_else(|| self.not_ready())?;
        reading.lookup.zip(reading.token).ok_or_else(|| bug("a reader that knew nothing was told nothing"))
    }

    /// What is asked of the API at this moment.
    pub(super) fn figures(&self) -> ApiFigures {
        let settings = &self.settings;
        let (answers, bytes) = self.idempotency.size();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        ApiFigures {
            connections: (self.paces.len(), settings.connections_max),
            requests: (self.load.requests(), settings.requests_max),
            body_bytes: (self.load.body_bytes(), settings.body_bytes_max),
            watchers: (settings.watchers_max - self.watchers.available_permits(), settings.watchers_max),
            idempotency_answers: (answers, settings.idempotency.answers_max),
            idempotency_bytes: (bytes, settings.idempotency.bytes_max),
            refused: load(&self.load.refused),
            unauthorized: load(&self.load.unauthorized),
            closed_slow: load(&self.load.closed_slow),
        }
    }

    /// Why the node does not serve.
    pub(super) fn not_ready(&self) -> Problem {
        admin::not_ready(self)
    }
}

/// Answers a request that the guard has let in.
pub(super) async fn dispatch(api: &Arc<Api>, parts: Parts, body: Bytes) -> Answer {
    let repeatable = parts.method == Method::POST || parts.method == Method::PATCH;
    if repeatable && parts.headers.contains_key(headers::IDEMPOTENCY_KEY) {
        return Box::pin(idempotency::once(api, parts, body)).await;
    }
    route(api, parts, body).await
}

/// Answers a request without a look at its `Idempotency-Key`.
pub(super) async fn route(api: &Arc<Api>, parts: Parts, body: Bytes) -> Answer {
    let outcome = match shortcut(&parts) {
        Some(Shortcut::GetSession) => match Call::new(api, &sessions::GET, parts, body) {
            Ok(call) => object::get(api, &call, Kind::Session).await,
            Err(problem) => Err(problem),
        },
        Some(Shortcut::PatchSession) => match Call::new(api, &sessions::PATCH, parts, body) {
            Ok(call) => object::patch(api, &call, Kind::Session).await,
            Err(problem) => Err(problem),
        },
        Some(Shortcut::GetDocument) => match Call::new(api, &documents::GET, parts, body) {
            Ok(call) => documents::get(api, &call).await,
            Err(problem) => Err(problem),
        },
        Some(Shortcut::PatchDocument) => match Call::new(api, &documents::PATCH, parts, body) {
            Ok(call) => object::patch(api, &call, Kind::Document).await,
            Err(problem) => Err(problem),
        },
        Some(Shortcut::Batch) => match Call::new(api, &batch::POST, parts, body) {
            Ok(call) => Box::pin(batch::run(api, &call)).await,
            Err(problem) => Err(problem),
        },
        None => Ok(Box::pin(through_router(api, parts, body)).await),
    };
    outcome.unwrap_or_else(Answer::from)
}

/// A call that does not need the router to be recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortcut {
    GetSession,
    PatchSession,
    GetDocument,
    PatchDocument,
    Batch,
}

fn shortcut(parts: &Parts) -> Option<Shortcut> {
    let rest = parts.uri.path().strip_prefix("/v1/")?;
    if rest == "batch" && parts.method == Method::POST {
        return Some(Shortcut::Batch);
    }
    let (key, get, patch) = match rest.strip_prefix("sessions/") {
        Some(key) => (key, Shortcut::GetSession, Shortcut::PatchSession),
        None => (rest.strip_prefix("documents/")?, Shortcut::GetDocument, Shortcut::PatchDocument),
    };
    if key.is_empty() || key.as_bytes().contains(&b'/') {
        return None;
    }
    match parts.method {
        Method::GET => Some(get),
        Method::PATCH => Some(patch),
        _ => None,
    }
}

async fn through_router(api: &Arc<Api>, parts: Parts, body: Bytes) -> Answer {
    let request = Request::from_parts(parts, axum::body::Body::from(body));
    let answered: Result<axum::response::Response, Infallible> = api.router.clone().oneshot(request).await;
    match answered {
        Ok(answer) => answer.map(ApiBody::Routed),
        Err(never) => match never {},
    }
}

/// The problem of a bug.
pub(super) fn bug(what: impl Into<String>) -> Problem {
    Problem::new(Code::Internal, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, uri: &str) -> Option<Shortcut> {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        shortcut(&request.into_parts().0)
    }

    #[test]
    fn only_one_object_is_short() {
        assert_eq!(of(Method::GET, "/v1/sessions/a?wait=1"), Some(Shortcut::GetSession));
        assert_eq!(of(Method::PATCH, "/v1/sessions/a%2Fb"), Some(Shortcut::PatchSession));
        assert_eq!(of(Method::GET, "/v1/documents/a"), Some(Shortcut::GetDocument));
        assert_eq!(of(Method::PATCH, "http://localhost/v1/documents/a"), Some(Shortcut::PatchDocument));
        assert_eq!(of(Method::POST, "/v1/batch"), Some(Shortcut::Batch));
        for (method, uri) in [
            (Method::GET, "/v1/batch"),
            (Method::POST, "/v1/batch/"),
            (Method::GET, "/v1/sessions/"),
            (Method::GET, "/v1/sessions"),
            (Method::GET, "/v1/sessions/a/b"),
            (Method::HEAD, "/v1/sessions/a"),
            (Method::DELETE, "/v1/sessions/a"),
            (Method::GET, "/v1/counters/a"),
            (Method::GET, "/v2/sessions/a"),
        ] {
            assert_eq!(of(method.clone(), uri), None, "{method} {uri}");
        }
    }
}
