//! Watching: server-sent events of what changes, resumable, and never a silent gap.
//!
//! A watcher reads the journal at its own pace and looks a value up when it sends it, so one that is slow gets the
//! latest state of each key and holds up nobody. No more than two pages of events exist per watcher.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::answer::{ApiBody, Outcome};
use super::call::Call;
use super::dispatch::Api;
use super::errors::{Code, Problem};
use super::headers::LAST_EVENT_ID;
use super::operation::{About, Content, Given, HeaderNote, Operation, Verb};
use super::query::Param;
use super::watch_events::{Cursor, Page};
use crate::core::command::Changes;
use crate::core::identity::{Kind, ObjectId};

/// Events that are sent at once, at most.
const PAGE: usize = 64;

const RESUME: &[HeaderNote] =
    &[("Last-Event-ID", "The id of the last event that the client has got. Browsers send it by themselves.")];

pub(super) static GET: Operation = Operation {
    verb: Verb::Get,
    path: "/v1/watch",
    id: "watch",
    summary: "Server-sent events. `change`: the state of a key now, as {kind, key, state (live or ended), value, life, \
              token}. `reset`: the cursor is of no use any more, as {reason, detail}; forget what you know, the \
              state of all keys follows. `current`: the state of all keys has been sent. A slow reader gets the \
              latest state of a key, not every one.",
    query: &[Param::Kind, Param::Prefix, Param::AfterCursor, Param::Initial],
    headers: &[RESUME],
    takes: None,
    about: About::Nothing,
    given: &[Given { status: 200, when: "The events.", content: Content::Other("text/event-stream") }],
    codes: &[&[Code::BadCursor, Code::TooManyWatchers, Code::NotReady]],
    run: |api, call| Box::pin(async move { start(api, call) }),
};

fn start(api: &Arc<Api>, call: &Call) -> Outcome {
    api.must_be_ready()?;
    let after = match &call.query.after {
        Some(text) => Some(text.as_str()),
        None => last_event_id(&call.parts.headers)?,
    };
    let after = after.map(Cursor::parse).transpose()?;
    let Ok(place) = Arc::clone(&api.watchers).try_acquire_owned() else {
        if !api.watchers_short.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                watchers_max = api.settings.watchers_max,
                "a watch was refused: all places are taken"
            );
        }
        let detail = format!("{} watches are open", api.settings.watchers_max);
        return Err(Problem::new(Code::TooManyWatchers, detail));
    };
    let mut grown = api.port.changed();
    // Before the answer begins: what changes once the client has its head is told.
    let newest = *grown.borrow_and_update();
    let (pages, body) = mpsc::channel(1);
    let watcher = Watcher {
        kind: call.query.kind,
        prefix: call.query.prefix.clone().into(),
        grown,
        closing: api.closing.clone(),
        api: Arc::clone(api),
        pages,
        _place: place,
    };
    tokio::spawn(watcher.run(newest, after, call.query.initial));
    let mut answer = Response::new(ApiBody::Events(body));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    match headers.get(LAST_EVENT_ID).map(HeaderValue::to_str) {
        None | Some(Ok("")) => Ok(None),
        Some(Ok(id)) => Ok(Some(id)),
        Some(Err(_)) => Err(Problem::new(Code::BadCursor, "Last-Event-ID is not ASCII")),
    }
}

struct Watcher {
    api: Arc<Api>,
    kind: Option<Kind>,
    prefix: Box<str>,
    grown: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    pages: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// The reader is gone, or the node is closing.
struct Over;

impl Watcher {
    async fn run(mut self, newest: u64, after: Option<Cursor>, initial: bool) {
        // Ends with an error always: a watch has no other end.
        let _ = self.watch(newest, after, initial).await;
    }

    async fn watch(&mut self, newest: u64, after: Option<Cursor>, initial: bool) -> Result<(), Over> {
        let mut cursor = match after {
            None if initial => {
                self.send_state(newest).await?;
                newest
            }
            None => self.begin(newest).await?,
            Some(cursor) if cursor.replica != self.api.replica => {
                self.reset("restarted", "the node has started anew since", newest).await?
            }
            Some(cursor) if cursor.at > newest => {
                self.reset("unknown", "this node has not given out this cursor", newest).await?
            }
            Some(cursor) => self.begin(cursor.at).await?,
        };
        loop {
            // Before the journal is read: what grows while it is read wakes the wait below.
            self.grown.borrow_and_update();
            match self.api.port.changes(cursor, self.kind, &self.prefix, PAGE) {
                Changes::Since { changes, cursor: next } => {
                    let is_all = changes.is_empty() && next == cursor;
                    let mut page = Page::default();
                    for change in &changes {
                        page.change(&self.api, &change.object, Some(self.name(change.cursor)));
                    }
                    cursor = next;
                    if !changes.is_empty() {
                        self.send(page).await?;
                    }
                    if is_all {
                        self.wait(cursor).await?;
                    }
                }
                Changes::TooOld { cursor: good } => {
                    cursor = self.reset("too_old", "more has changed since than is remembered", good).await?;
                }
            }
        }
    }

    fn name(&self, at: u64) -> Cursor {
        Cursor { replica: self.api.replica, at }
    }

    /// Waits until the journal has grown. Says now and then that the watch lives, with the cursor, so that a
    /// client whose keys seldom change comes back with one that is not too old.
    async fn wait(&mut self, cursor: u64) -> Result<(), Over> {
        loop {
            let beat = Instant::now() + self.api.settings.heartbeat;
            tokio::select! {
                grown = self.grown.changed() => return grown.map_err(|_| Over),
                () = sleep_until(beat) => {}
                _ = self.closing.wait_for(|closing| *closing) => return Err(Over),
                () = self.pages.closed() => return Err(Over),
            }
            self.send(Page::default().mark(self.name(cursor), "heartbeat")).await?;
        }
    }

    async fn send(&mut self, page: Page) -> Result<(), Over> {
        tokio::select! {
            sent = self.pages.send(page.into_bytes()) => sent.map_err(|_| Over),
            _ = self.closing.wait_for(|closing| *closing) => Err(Over),
        }
    }

    /// Tells the client where it is: one that hears nothing for a while has a cursor to come back with.
    async fn begin(&mut self, cursor: u64) -> Result<u64, Over> {
        self.send(Page::default().mark(self.name(cursor), "watching")).await?;
        Ok(cursor)
    }

    async fn reset(&mut self, reason: &str, detail: &str, cursor: u64) -> Result<u64, Over> {
        self.send(Page::default().reset(reason, detail)).await?;
        self.send_state(cursor).await?;
        Ok(cursor)
    }

    /// Sends the state of all keys in scope. Its events have no id: a client that hangs up in the middle comes back
    /// with the id it had, and gets the whole state again.
    async fn send_state(&mut self, cursor: u64) -> Result<(), Over> {
        let kinds = match self.kind {
            Some(kind) => vec![kind],
            None => Kind::ALL.to_vec(),
        };
        for kind in kinds {
            let mut after: Option<Box<str>> = None;
            loop {
                let keys = self.api.port.list(kind, &self.prefix, after.as_deref(), PAGE);
                let mut page = Page::default();
                for key in &keys.keys {
                    page.change(&self.api, &ObjectId::new(kind, key), None);
                }
                if !keys.keys.is_empty() {
                    self.send(page).await?;
                }
                let Some(next) = keys.next else { break };
                after = Some(next);
            }
        }
        self.send(Page::default().current(self.name(cursor))).await
    }
}
