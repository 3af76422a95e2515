//! One node, and the connections to it.

use std::fmt;
use std::future::IntoFuture as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::call::Call;
use crate::connect::Connector;
use crate::error::Error;
use crate::name::{Kind, ObjectName};
use crate::object::{Counter, Object, Set};
use crate::repeat::Repeat;
use crate::scope::Scope;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(30);

/// A node's API. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    /// What requests are sent to: a URL, also where the connection is a socket file's.
    base: String,
    /// The node's address as people write it.
    api: String,
    timeout: Duration,
    authorization: Option<HeaderValue>,
    repeats: bool,
    scope: Option<Scope>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api", &self.api).field("timeout", &self.timeout).finish()
    }
}

impl Client {
    /// A client of the node at `api`: `HOST:PORT`, `http://HOST:PORT` or `unix:PATH`. Connects when it is first used.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `api` is none of these.
    pub fn new(api: &str) -> Result<Self, Error> {
        let (connector, base) = match api.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            Some(path) => (Connector::Unix(PathBuf::from(path).into()), "http://localhost".to_owned()),
            None => {
                let mut connector = HttpConnector::new();
                connector.set_nodelay(true);
                connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
                (Connector::Tcp(connector), base(api)?)
            }
        };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION_MAX)
            .build(connector);
        let api = if api.starts_with("unix:") { api.to_owned() } else { base.clone() };
        Ok(Self {
            http,
            base,
            api,
            timeout: TIMEOUT_DEFAULT,
            authorization: None,
            repeats: false,
            scope: None,
        })
    }

    /// The same node with another time limit for calls. What a call itself waits for comes on top.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same node, shown this token with each call: one of those in the file that its operator named by
    /// `--api-token-file`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it holds what no header can.
    pub fn with_token(mut self, token: &str) -> Result<Self, Error> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Error::Invalid("the token holds what a header cannot".to_owned()))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// The same node, shown the first token of a file.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the file cannot be read or holds none.
    pub fn with_token_file(self, path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match lines.next() {
            Some(token) => self.with_token(token),
            None => Err(Error::Invalid(format!("{} holds no token", path.display()))),
        }
    }

    /// The same node; a call whose answer was lost is made once more where that is safe: reads, touches and the end of a
    /// session; PATCH and POST with an `Idempotency-Key`, which is made up when there is none, on the process of the node
    /// that knows it. All others fail with [`Error::Broken`], as they all do without this.
    #[must_use]
    pub fn with_repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// The same node for one user's or one job's doings: each call sends the scope's tokens, and adds its own. Hand
    /// [`Scope::tokens`] to whoever goes on elsewhere.
    #[must_use]
    pub fn scoped(&self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self.clone() }
    }

    pub(crate) fn unscoped(&self) -> Self {
        Self { scope: None, ..self.clone() }
    }

    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    pub(crate) fn repeats(&self) -> bool {
        self.repeats
    }

    /// Whether what answers now is the process that answered at `unix_millis`. Two clocks may differ: only on one host.
    pub(crate) async fn same_process_since(&self, unix_millis: u64) -> bool {
        let plain = Self { repeats: false, scope: None, ..self.clone() };
        let status = plain.status().repeated(Repeat::Never).into_future();
        // A future of a type that is known: this is called within one of its own kind.
        let started = status.await.ok().and_then(|status| status.value["started_unix_millis"].as_u64());
        started.is_some_and(|started| started < unix_millis)
    }

    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The node's base URL, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A session.
    #[must_use]
    pub fn session(&self, id: &str) -> Object {
        self.object(ObjectName { kind: Kind::Sessions, key: id.to_owned() })
    }

    /// A document.
    #[must_use]
    pub fn document(&self, name: &str) -> Object {
        self.object(ObjectName { kind: Kind::Documents, key: name.to_owned() })
    }

    /// A session or document by its name; a counter or set can be read, explained and destroyed by it.
    #[must_use]
    pub fn object(&self, name: ObjectName) -> Object {
        Object::new(self.clone(), name)
    }

    /// A counter.
    #[must_use]
    pub fn counter(&self, name: &str) -> Counter {
        Counter(self.object(ObjectName { kind: Kind::Counters, key: name.to_owned() }))
    }

    /// A set of strings.
    #[must_use]
    pub fn set(&self, name: &str) -> Set {
        Set(self.object(ObjectName { kind: Kind::Sets, key: name.to_owned() }))
    }

    /// Any call: `path` starts with a slash and is percent-encoded.
    pub fn call<T>(&self, method: Method, path: impl Into<String>) -> Call<T> {
        Call::new(self.clone(), method, path.into())
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.http.request(request).await.map_err(|error| {
            if error.is_connect() {
                Error::Unreachable { api: self.api.clone(), source: deepest(&error).into() }
            } else {
                Error::Broken(deepest(&error).into())
            }
        })
    }
}

/// The innermost cause: the outer ones only say "client error".
pub(crate) fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn base(api: &str) -> Result<String, Error> {
    let authority = api.strip_prefix("http://").unwrap_or(api).trim_end_matches('/');
    let valid =
        authority.parse::<http::uri::Authority>().ok().filter(|authority| authority.port_u16().is_some());
    match valid {
        Some(authority) => Ok(format!("http://{authority}")),
        None => Err(Error::Invalid(format!(
            "{api:?} is no API address; write HOST:PORT, http://HOST:PORT or unix:PATH"
        ))),
    }
}
