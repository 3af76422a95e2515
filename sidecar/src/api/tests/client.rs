//! A server on loopback and a client of it. Every answer is checked against the documentation.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fake::Fake;
use crate::api::settings::ApiSettings;
use crate::api::{openapi, router, serve};

/// Longer than anything here takes; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Server {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    /// Operations and the statuses they have given.
    pub given: Mutex<BTreeSet<(String, u16)>>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        let code = problem["code"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("urn:sidetalk:problem:{code}"));
        for member in ["title", "detail", "fault"] {
            assert!(problem[member].is_string(), "{member}: {self:?}");
        }
        code
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with(Fake::new(), ApiSettings::default()).await
    }

    pub(super) async fn with(fake: Arc<Fake>, settings: ApiSettings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let port = Arc::clone(&fake);
        let task = tokio::spawn(serve(listener, port, settings, async {
            let _ = stopped.await;
        }));
        Self { fake, address, given: Mutex::default(), stop: Some(stop), task: Some(task) }
    }

    /// Begins the shutdown; the task ends when it is over.
    pub(super) fn shut_down(&mut self) -> JoinHandle<()> {
        drop(self.stop.take());
        self.task.take().unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], "").await
    }

    pub(super) async fn put(&self, path: &str, body: &str) -> Reply {
        self.call("PUT", path, &[("content-type", "application/json")], body).await
    }

    pub(super) async fn patch(&self, path: &str, body: &str) -> Reply {
        self.call("PATCH", path, &[("content-type", "application/merge-patch+json")], body).await
    }

    pub(super) async fn ops(&self, path: &str, body: &str) -> Reply {
        self.call("PATCH", path, &[("content-type", "application/vnd.sidetalk.ops+json")], body).await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Reply {
        self.call("POST", path, &[("content-type", "application/json")], body).await
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, &[], "").await
    }

    pub(super) async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let (head, body) = self.open(method, path, headers, body).await.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let reply = Reply { status: head.status.as_u16(), headers: head.headers, body };
        self.check(method, path, &reply);
        reply
    }

    /// Sends a request on a connection of its own and returns once the head of the answer is there.
    pub(super) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
    }

    /// Sends bytes and returns all that comes back until the server closes.
    pub(super) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Everything that is answered is documented, with its status and its code.
    fn check(&self, method: &str, path: &str, reply: &Reply) {
        let path = path.split('?').next().unwrap_or(path);
        let Some(operation) = documented(method, path) else {
            assert!(
                matches!(reply.status, 400 | 403 | 404 | 405),
                "{method} {path} is not documented: {reply:?}"
            );
            return;
        };
        let response = &operation["responses"][reply.status.to_string()];
        let id = operation["operationId"].as_str().unwrap();
        assert!(response.is_object(), "{id} does not document {reply:?}");
        if reply.header("content-type") == Some("application/problem+json") && method != "HEAD" {
            let codes = response["x-codes"].as_array().unwrap_or_else(|| panic!("{id}: {reply:?}"));
            assert!(codes.contains(&reply.json()["code"]), "{id} does not document the code of {reply:?}");
        }
        self.given.lock().insert((id.to_owned(), reply.status));
    }
}

/// The document with every path in it.
pub(super) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(&openapi::document(&router::operations(true))).unwrap());

/// The documentation of an operation.
pub(super) fn documented(method: &str, path: &str) -> Option<&'static Value> {
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().find(|(template, _)| fits(template, path))?.1.get(method)
}

fn fits(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = template.split('/').all(|part| {
        segments
            .next()
            .is_some_and(|segment| part == segment || (part.starts_with('{') && !segment.is_empty()))
    });
    fits && segments.next().is_none()
}
