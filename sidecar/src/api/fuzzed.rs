//! The API without its sockets, for fuzzers.

#![allow(clippy::expect_used)]

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use tokio::sync::watch;

use super::answer::whole;
use super::dispatch::{Api, dispatch};
use super::port::{Fault, Port};
use super::{ApiSettings, chaos, guard, serve};

/// Takes requests whose body is there already.
pub(crate) struct Door {
    api: Arc<Api>,
    _open: watch::Sender<bool>,
}

impl Door {
    pub(crate) fn new(port: Arc<dyn Port>) -> Self {
        let (open, closing) = watch::channel(false);
        Self {
            api: serve::documented(port, ApiSettings::default(), closing, Bytes::from_static(b"{}")),
            _open: open,
        }
    }

    /// Status, content type and body of the answer.
    pub(crate) async fn ask(&self, request: Request<Bytes>) -> (StatusCode, String, Bytes) {
        let (parts, body) = request.into_parts();
        let answer = match guard::check(&self.api.settings, &parts) {
            Ok(()) => dispatch(&self.api, parts, body).await,
            Err(problem) => problem.into(),
        };
        let (head, body) = whole(answer).await;
        let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        (head.status, media_type.to_owned(), body)
    }
}

/// The faults that a chaos document asks for, when the API takes it.
pub(crate) fn chaos_document(body: &[u8]) -> Option<Vec<(String, Fault)>> {
    let text = std::str::from_utf8(body).ok()?;
    crate::core::value::JsonText::parse(text, crate::core::limits::DEPTH_MAX).ok()?;
    chaos::wanted(serde_json::from_str(text).ok()?).ok()
}
