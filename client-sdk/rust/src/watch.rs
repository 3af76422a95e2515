//! Changes as they happen.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use crate::call::{Call, Token, read_refusal};
use crate::client::{Client, deepest};
use crate::error::Error;
use crate::name::{Kind, ObjectName};
use crate::sse;

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An object has changed. A slow reader gets the latest state of each object, not every one between.
    Change(Change),
    /// The node no longer knows what changed since the cursor: forget what you know. The state of all keys follows as
    /// changes, then [`Event::Current`].
    Reset,
    /// The state of all keys has been told. What changes from now on follows.
    Current,
}

/// A visible change of one object.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Change {
    /// The object's kind.
    pub kind: Kind,
    /// The object's key.
    pub key: String,
    /// Its content after the change; none when it has ended.
    pub value: Option<Value>,
    /// Whether it lives.
    pub state: State,
    /// The life of a leased object.
    #[serde(default)]
    pub life: Option<String>,
    /// To be sent with calls that must see this change.
    #[serde(default)]
    pub token: Option<Token>,
    /// All of this as the node sent it: every digit of a number is still there.
    #[serde(skip)]
    pub text: String,
}

impl Change {
    /// The object's name.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        ObjectName { kind: self.kind, key: self.key.clone() }
    }
}

/// Whether an object lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can be read.
    Live,
    /// It was destroyed or cleared, or it has expired.
    Ended,
}

/// A watch that has not been opened yet.
#[must_use = "a watch begins when it is opened"]
pub struct WatchCall {
    client: Client,
    call: Call<()>,
}

impl Client {
    /// Watches for changes.
    pub fn watch(&self) -> WatchCall {
        let call = self.call(Method::GET, "/v1/watch").header("accept", "text/event-stream");
        WatchCall { client: self.clone(), call }
    }
}

impl WatchCall {
    /// Of this kind only.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.call = self.call.query("kind", kind);
        self
    }

    /// Of keys that begin with this only.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.call = self.call.query("prefix", prefix);
        self
    }

    /// The state of all keys first, then [`Event::Current`].
    pub fn with_state(mut self) -> Self {
        self.call = self.call.query("initial", true);
        self
    }

    /// What has changed since this [cursor](Watch::cursor) of the same node first.
    pub fn since(mut self, cursor: &str) -> Self {
        self.call = self.call.header("last-event-id", cursor);
        self
    }

    /// Begins to watch. What changes after this has returned is told.
    ///
    /// # Errors
    /// The node cannot be reached or says no.
    pub async fn open(self) -> Result<Watch, Error> {
        let limit = self.client.timeout();
        let (client, request) = self.call.into_request()?;
        let begin = async {
            let answer = client.send(request).await?;
            if answer.status().is_success() {
                return Ok(Watch {
                    body: answer.into_body(),
                    reader: sse::Reader::default(),
                    ready: VecDeque::new(),
                    cursor: None,
                });
            }
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_else(|_| Bytes::new());
            Err(read_refusal(head.status, &head.headers, &body))
        };
        tokio::time::timeout(limit, begin).await.unwrap_or(Err(Error::TimedOut(limit)))
    }
}

/// A watch under way. Ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    body: Incoming,
    reader: sse::Reader,
    ready: VecDeque<sse::Message>,
    cursor: Option<String>,
}

impl Watch {
    /// Where the last event stands: [`WatchCall::since`] goes on from there.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The next event; `None` when the node has ended the watch.
    ///
    /// # Errors
    /// The connection broke. Open a new watch since the [cursor](Self::cursor).
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        while let Some(message) = self.next_message().await? {
            if !message.id.is_empty() {
                self.cursor = Some(message.id);
            }
            match message.event.as_str() {
                "change" => {
                    return serde_json::from_str(&message.data)
                        .map(|change| Some(Event::Change(Change { text: message.data, ..change })))
                        .map_err(|error| Error::Unintelligible {
                            status: 200,
                            reason: error.to_string(),
                            token: None,
                        });
                }
                "reset" => return Ok(Some(Event::Reset)),
                "current" => return Ok(Some(Event::Current)),
                // A newer node may tell more than this client knows of.
                _ => (),
            }
        }
        Ok(None)
    }

    async fn next_message(&mut self) -> Result<Option<sse::Message>, Error> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.ready.extend(self.reader.feed(&bytes));
                    }
                }
                Some(Err(error)) => return Err(Error::Broken(deepest(&error).into())),
                None => return Ok(None),
            }
        }
    }
}
