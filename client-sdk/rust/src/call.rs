//! One call: what it carries, and what comes back.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::{Error, Problem};
use crate::name::encode;
use crate::repeat::{Repeat, random_key, unix_millis};

/// No answer of a node is larger; a larger one is not read to its end.
const ANSWER_BYTES_MAX: usize = 256 << 20;

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const PATH_OPS: &str = "application/vnd.sidetalk.ops+json";

/// What its holder must not see the past of. Opaque; fits a cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many members must have applied a write before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// This many, the node that takes the write among them.
    Count(usize),
    /// More than half of all members, alive or not.
    Majority,
    /// Every member, alive or not.
    All,
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Majority => f.write_str("majority"),
            Self::All => f.write_str("all"),
        }
    }
}

/// What a node says to a call that it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The HTTP status: 200, 201 or 204.
    pub status: u16,
    /// The body.
    pub value: T,
    /// To be sent with the client's next call, wherever it goes.
    pub token: Option<Token>,
    /// The node could not catch up with the tokens that were sent, or not ask every member, in time.
    pub behind: bool,
    /// The life of a leased object; to be sent with changes that mean this one.
    pub life: Option<String>,
    /// How long a leased object lives on.
    pub expires_in_seconds: Option<u64>,
    /// How many members have applied the write, when acknowledgements were asked for.
    pub acks: Option<usize>,
    /// The entity tag of the content, for `If-Match` and `If-None-Match` on the same node.
    pub etag: Option<String>,
}

/// A call that has not been made yet: `await` makes it.
#[must_use = "a call is made when it is awaited"]
pub struct Call<T> {
    client: Client,
    pub(crate) method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Result<Vec<u8>, String>>,
    patience: Duration,
    repeat: Repeat,
    answer: PhantomData<fn() -> T>,
}

impl<T> Call<T> {
    pub(crate) fn new(client: Client, method: Method, path: String) -> Self {
        let (query, headers, repeat) = (Vec::new(), Vec::new(), Repeat::of(&method));
        Self {
            client,
            method,
            path,
            query,
            headers,
            body: None,
            patience: Duration::ZERO,
            repeat,
            answer: PhantomData,
        }
    }

    /// Sends a body.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.body_as(JSON, body)
    }

    pub(crate) fn body_as(mut self, content_type: &'static str, body: &(impl Serialize + ?Sized)) -> Self {
        self.body = Some(serde_json::to_vec(body).map_err(|error| error.to_string()));
        self.header(header::CONTENT_TYPE.as_str(), content_type)
    }

    /// Sends a body as it stands: the node is the one to judge it.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(Ok(body.into()));
        self.header(header::CONTENT_TYPE.as_str(), content_type)
    }

    /// A query parameter.
    pub fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// A header.
    pub fn header(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// How long a leased object lives on from now.
    pub fn ttl_seconds(self, seconds: u64) -> Self {
        self.query("ttl", seconds)
    }

    /// Bounds how long the node may wait for tokens and peers.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.patience += wait;
        self.query("wait", wait.as_millis())
    }

    /// Answers only when this many members have applied the write, or fails with `not_enough_acks` after `timeout`;
    /// the write stays in both cases.
    pub fn acks(mut self, acks: Acks, timeout: Duration) -> Self {
        self.patience += timeout;
        self.query("acks", acks).query("timeout", timeout.as_millis())
    }

    /// Sees and stamps at least what these tokens name.
    pub fn after<'a>(self, tokens: impl IntoIterator<Item = &'a Token>) -> Self {
        let tokens: Vec<_> = tokens.into_iter().map(|token| token.0.as_str()).collect();
        if tokens.is_empty() { self } else { self.header("sidetalk-after", tokens.join(",")) }
    }

    /// Changes this life or nothing.
    pub fn life(self, life: &str) -> Self {
        self.header("sidetalk-life", life)
    }

    /// `If-Match`: an entity tag of this node, or `*` for "only when it lives".
    pub fn if_match(self, etag: &str) -> Self {
        self.header("if-match", etag)
    }

    /// `If-None-Match`: an entity tag of this node, or `*` for "only when it does not live".
    pub fn if_none_match(self, etag: &str) -> Self {
        self.header("if-none-match", etag)
    }

    /// A repetition with the same key does not happen twice on the same node.
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Leaves the object out of the answer to a write.
    pub fn minimal(self) -> Call<()> {
        self.header("prefer", "return=minimal").typed()
    }

    /// Reads the answer as another type; `Box<RawValue>` keeps every digit as it was written.
    pub fn typed<U>(self) -> Call<U> {
        let Self { client, method, path, query, headers, body, patience, repeat, answer: _ } = self;
        Call { client, method, path, query, headers, body, patience, repeat, answer: PhantomData }
    }

    pub(crate) fn repeated(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// The path with its query.
    pub(crate) fn target(&self) -> String {
        let mut target = self.path.clone();
        for (at, (name, value)) in self.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(&format!("{name}={}", encode(value)));
        }
        target
    }

    pub(crate) fn into_request(self) -> Result<(Client, Request<Full<Bytes>>), Error> {
        let uri = format!("{}{}", self.client.base(), self.target());
        let mut request = Request::builder().method(self.method).uri(uri);
        if let Some(authorization) = self.client.authorization() {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = self.body.transpose().map_err(Error::Invalid)?.unwrap_or_default();
        let request =
            request.body(Full::new(body.into())).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok((self.client, request))
    }
}

impl<T: DeserializeOwned> Call<T> {
    async fn make(mut self) -> Result<Answer<T>, Error> {
        let limit = self.client.timeout() + self.patience;
        let Some(scope) = self.client.scope().cloned() else { return self.within(limit).await };
        let (object, sent) = (object_of(&self.path), scope.before());
        if !sent.is_empty() {
            self = self.also_after(&sent);
        }
        let reads = Repeat::of(&self.method) == Repeat::Free;
        let made = self.within(limit).await;
        match &made {
            Ok(answer) => scope.after(&object, &sent, answer.token.as_ref(), answer.behind, !reads),
            // The write stays although too few have acknowledged it.
            Err(Error::Refused(problem)) => {
                let stays = !reads && problem.status == 504;
                scope.after(&object, &sent, problem.token.as_ref(), problem.behind, stays);
            }
            // The write stays although nobody can read what it came to, nor whether the node was behind.
            Err(Error::Unintelligible { token, .. }) => {
                scope.after(&object, &sent, token.as_ref(), true, !reads);
            }
            Err(_) => (),
        }
        made
    }

    async fn within(self, limit: Duration) -> Result<Answer<T>, Error> {
        let exchange =
            async { if self.client.repeats() { self.perhaps_twice().await } else { self.once().await } };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Error::TimedOut(limit)))
    }

    async fn once(self) -> Result<Answer<T>, Error> {
        let (client, request) = self.into_request()?;
        exchange(&client, request).await
    }

    /// Makes it again when its answer was lost, where that is safe.
    async fn perhaps_twice(mut self) -> Result<Answer<T>, Error> {
        // A node knows the keys of these two only.
        let takes_keys = matches!(self.method, Method::POST | Method::PATCH);
        if takes_keys && self.headers.iter().any(|(name, _)| *name == "idempotency-key") {
            self.repeat = Repeat::Keyed;
        } else if self.repeat == Repeat::Keyed {
            self = self.idempotency_key(&random_key()?);
        }
        let (repeat, sent_at) = (self.repeat, unix_millis());
        let (client, request) = self.into_request()?;
        let again = request.clone();
        let lost = match exchange(&client, request).await {
            Err(lost @ Error::Broken(_)) => lost,
            made => return made,
        };
        let safe = match repeat {
            Repeat::Free => true,
            Repeat::Keyed => client.same_process_since(sent_at).await,
            Repeat::Never => false,
        };
        if safe { exchange(&client, again).await } else { Err(lost) }
    }

    fn also_after(mut self, tokens: &[Token]) -> Self {
        let joined = tokens.iter().map(|token| token.0.as_str()).collect::<Vec<_>>().join(",");
        match self.headers.iter_mut().find(|(name, _)| *name == "sidetalk-after") {
            Some((_, value)) => {
                value.push(',');
                value.push_str(&joined);
            }
            None => self.headers.push(("sidetalk-after", joined)),
        }
        self
    }
}

/// The path of the object that a call is about: the first three segments.
pub(crate) fn object_of(path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    path.splitn(5, '/').take(4).collect::<Vec<_>>().join("/")
}

async fn exchange<T: DeserializeOwned>(
    client: &Client,
    request: Request<Full<Bytes>>,
) -> Result<Answer<T>, Error> {
    let (head, body) = client.send(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Broken)?.to_bytes();
    read_answer(head.status, &head.headers, &body)
}

impl<T: DeserializeOwned + 'static> IntoFuture for Call<T> {
    type Output = Result<Answer<T>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

fn read_answer<T: DeserializeOwned>(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Answer<T>, Error> {
    if status == StatusCode::NOT_MODIFIED {
        return Err(Error::NotModified);
    }
    if !status.is_success() {
        return Err(read_refusal(status, headers, body));
    }
    let body = if body.is_empty() { b"null" } else { body };
    let value = serde_json::from_slice(body).map_err(|error| Error::Unintelligible {
        status: status.as_u16(),
        reason: error.to_string(),
        token: token(headers),
    })?;
    Ok(Answer {
        status: status.as_u16(),
        value,
        token: token(headers),
        behind: behind(headers),
        life: text(headers, "sidetalk-life").map(str::to_owned),
        expires_in_seconds: text(headers, "sidetalk-expires-in").and_then(|text| text.parse().ok()),
        acks: text(headers, "sidetalk-acks").and_then(|text| text.parse().ok()),
        etag: text(headers, "etag").map(str::to_owned),
    })
}

pub(crate) fn read_refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if !problem.code.is_empty() => Error::Refused(Box::new(Problem {
            status: status.as_u16(),
            token: token(headers),
            behind: behind(headers),
            ..problem
        })),
        // The answer to HEAD has no body, and a proxy's answer is no problem document.
        _ => Error::Refused(Box::new(Problem {
            status: status.as_u16(),
            code: "unexplained".to_owned(),
            detail: status.to_string(),
            token: token(headers),
            behind: behind(headers),
            ..Problem::default()
        })),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn token(headers: &HeaderMap) -> Option<Token> {
    text(headers, "sidetalk-token").map(|token| Token(token.to_owned()))
}

fn behind(headers: &HeaderMap) -> bool {
    text(headers, "sidetalk-behind") == Some("true")
}
