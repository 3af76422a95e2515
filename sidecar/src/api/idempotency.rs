//! `Idempotency-Key`: a retry after a lost answer gets the first answer, and counts nothing twice.
//!
//! Kept by this process, for minutes and within bounds. Only answers to requests that may have changed something
//! are kept: one that was refused may be sent again. The request runs in a task of its own, so that a client that
//! hangs up in the middle does not leave a change behind whose answer nobody remembers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use super::answer::{Answer, ApiBody, whole};
use super::dispatch::{Api, bug, route};
use super::errors::{Code, Problem};
use super::headers::{IDEMPOTENCY_KEY, REPLAYED};
use super::settings::IdempotencySettings;

/// Bytes of a key, at most.
const KEY_BYTES_MAX: usize = 255;

/// An answer that can be given again.
#[derive(Clone, Debug)]
struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

enum Slot {
    /// The first request is under way. The channel closes when it ends.
    Running { request: u128, ended: watch::Receiver<()> },
    /// It has been answered.
    Answered { request: u128, answer: Kept },
}

/// The memory of answers.
pub(super) struct Idempotency {
    settings: IdempotencySettings,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<Box<str>, Slot>,
    /// Answered keys, oldest first.
    order: VecDeque<(Instant, Box<str>)>,
    bytes: usize,
}

/// What to do with a request.
enum Turn {
    /// Run it; the key is held until the guard goes.
    First(Hold),
    /// Wait for the one that runs.
    Wait(watch::Receiver<()>),
    /// Give this again.
    Again(Kept),
    /// The key belongs to another request.
    Reused,
}

/// Holds a key while its first request runs. Without an answer by then, the key is free again.
struct Hold {
    api: Arc<Api>,
    key: Box<str>,
    request: u128,
    answer: Option<Kept>,
    /// Closes when this goes.
    _ended: watch::Sender<()>,
}

/// Answers a request that carries a key.
pub(super) async fn once(api: &Arc<Api>, parts: Parts, body: Bytes) -> Answer {
    let key = match key_of(&parts.headers) {
        Ok(key) => key,
        Err(problem) => return problem.into(),
    };
    let request = fingerprint(&parts, &body);
    loop {
        match api.idempotency.turn(api, &key, request) {
            Turn::First(hold) => return run(hold, parts, body).await,
            // An error: the first request has ended.
            Turn::Wait(mut ended) => while ended.changed().await.is_ok() {},
            Turn::Again(kept) => return kept.again(),
            Turn::Reused => {
                let detail = "another request was sent with this key: another path, or another body";
                return Problem::new(Code::IdempotencyKeyReused, detail).into();
            }
        }
    }
}

async fn run(mut hold: Hold, parts: Parts, body: Bytes) -> Answer {
    let task = tokio::spawn(async move {
        let (head, body) = whole(route(&hold.api, parts, body).await).await;
        if may_have_changed(head.status) {
            let Hold { answer, .. } = &mut hold;
            *answer = Some(Kept { status: head.status, headers: head.headers.clone(), body: body.clone() });
        }
        drop(hold);
        Response::from_parts(head, ApiBody::Full(body))
    });
    match task.await {
        Ok(answer) => answer,
        Err(error) => bug(format!("the request did not end: {error}")).into(),
    }
}

/// Whether an answer is one after which a retry would change something twice.
fn may_have_changed(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::GATEWAY_TIMEOUT
}

fn key_of(headers: &HeaderMap) -> Result<Box<str>, Problem> {
    let bad = |why: &str| Problem::new(Code::BadIdempotencyKey, why);
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(bad("the header stands twice"));
    };
    let bytes = value.as_bytes();
    if !(1..=KEY_BYTES_MAX).contains(&bytes.len()) {
        return Err(bad("the key has the wrong length").with("bytes", bytes.len()));
    }
    match std::str::from_utf8(bytes) {
        Ok(key) if key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => Ok(key.into()),
        _ => Err(bad("the key is not visible ASCII")),
    }
}

fn fingerprint(parts: &Parts, body: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(parts.method.as_str().as_bytes());
    hasher.update(&[0]);
    hasher.update(parts.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes());
    hasher.update(&[0]);
    hasher.update(parts.headers.get(http::header::CONTENT_TYPE).map_or(&[], |value| value.as_bytes()));
    hasher.update(&[0]);
    hasher.update(body);
    hasher.digest128()
}

impl Idempotency {
    /// An empty memory.
    pub(super) fn new(settings: IdempotencySettings) -> Self {
        Self { settings, slots: Mutex::default() }
    }

    /// Answers that are kept, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let slots = self.slots.lock();
        (slots.order.len(), slots.bytes)
    }

    fn turn(&self, api: &Arc<Api>, key: &str, request: u128) -> Turn {
        let mut slots = self.slots.lock();
        slots.forget(&self.settings, Instant::now());
        match slots.by_key.get(key) {
            Some(Slot::Running { request: first, .. } | Slot::Answered { request: first, .. })
                if *first != request =>
            {
                Turn::Reused
            }
            Some(Slot::Running { ended, .. }) => Turn::Wait(ended.clone()),
            Some(Slot::Answered { answer, .. }) => Turn::Again(answer.clone()),
            None => {
                let (sender, ended) = watch::channel(());
                slots.by_key.insert(key.into(), Slot::Running { request, ended });
                Turn::First(Hold {
                    api: Arc::clone(api),
                    key: key.into(),
                    request,
                    answer: None,
                    _ended: sender,
                })
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let idempotency = &self.api.idempotency;
        let mut slots = idempotency.slots.lock();
        match self.answer.take() {
            Some(answer) => {
                slots.bytes += answer.bytes() + self.key.len();
                slots.order.push_back((Instant::now(), self.key.clone()));
                slots.by_key.insert(self.key.clone(), Slot::Answered { request: self.request, answer });
                slots.forget(&idempotency.settings, Instant::now());
            }
            None => {
                slots.by_key.remove(&self.key);
            }
        }
    }
}

impl Slots {
    /// Drops what is too old or too much, the oldest first.
    fn forget(&mut self, settings: &IdempotencySettings, now: Instant) {
        while let Some((at, _)) = self.order.front() {
            let keeps = now.duration_since(*at) < settings.keep
                && self.order.len() <= settings.answers_max
                && self.bytes <= settings.bytes_max;
            if keeps {
                return;
            }
            let Some((_, key)) = self.order.pop_front() else { return };
            if let Some(Slot::Answered { answer, .. }) = self.by_key.remove(&key) {
                self.bytes = self.bytes.saturating_sub(answer.bytes() + key.len());
            }
        }
    }
}

impl Kept {
    /// About how much room it takes.
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        256 + headers + self.body.len()
    }

    fn again(self) -> Answer {
        let mut answer = Response::new(ApiBody::Full(self.body));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers;
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        answer
    }
}
