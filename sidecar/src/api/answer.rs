//! Answers: their bodies, and the headers that every answer about an object carries.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;

use super::errors::{Code, Problem};
use super::headers;
use super::load::{LARGE_BYTES, Room};
use crate::core::command::{EntityTag, View};
use crate::core::identity::LifeId;
use crate::core::token::Token;

/// An answer to one request.
pub(super) type Answer = Response<ApiBody>;

/// What a call comes to.
pub(super) type Outcome = Result<Answer, Problem>;

/// The body of an answer.
pub(super) enum ApiBody {
    /// All at once.
    Full(Bytes),
    /// All at once, and large: it goes in pieces, so that its room is held until nearly all of it is gone.
    Large { bytes: Bytes, _room: Room },
    /// As it comes: what a watch sends.
    Events(mpsc::Receiver<Bytes>),
    /// What came through the router.
    Routed(axum::body::Body),
}

impl<T: Into<Bytes>> From<T> for ApiBody {
    fn from(bytes: T) -> Self {
        Self::Full(bytes.into())
    }
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Large { bytes, .. } if bytes.is_empty() => Poll::Ready(None),
            Self::Large { bytes, .. } => {
                let piece = bytes.split_to(bytes.len().min(LARGE_BYTES));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Self::Events(events) => {
                events.poll_recv(context).map(|page| page.map(|page| Ok(Frame::data(page))))
            }
            Self::Routed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) | Self::Large { bytes, .. } => bytes.is_empty(),
            Self::Events(_) => false,
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) | Self::Large { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Events(_) => SizeHint::new(),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

/// Splits an answer that is no stream into its head and its whole body.
pub(super) async fn whole(answer: Answer) -> (http::response::Parts, Bytes) {
    let (head, body) = answer.into_parts();
    let bytes = match body {
        ApiBody::Full(bytes) => bytes,
        // The bytes are in memory already: nothing can fail.
        streamed => streamed.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
    };
    (head, bytes)
}

/// Whether an answer's bytes are counted until its client has taken them.
pub(super) fn is_large(answer: &Answer) -> bool {
    answer.body().size_hint().exact().is_some_and(|bytes| bytes > LARGE_BYTES as u64)
}

/// Whether an answer goes on as a stream.
pub(super) fn streams(answer: &Answer) -> bool {
    answer.body().size_hint().exact().is_none()
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(ApiBody::Full(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// An answer that is JSON already. Has room for the headers about an object.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(ApiBody::Full(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().reserve(6);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The JSON of a value of ours.
pub(super) fn text_of<T: Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

/// An answer made into JSON.
pub(super) fn json_of<T: Serialize>(value: &T) -> Outcome {
    text_of(value).map(|body| json(StatusCode::OK, body))
}

/// A header's value of digits and signs, put together without an allocation of its own.
pub(super) struct Digits {
    // An id, a dash, a number, two quotes.
    bytes: [u8; 40],
    len: usize,
}

impl Digits {
    const NONE: Self = Self { bytes: [0; 40], len: 0 };

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Sixteen digits, as `{:016x}` writes them, without the way through a formatter.
    fn push_hex(&mut self, bits: u64) {
        for byte in bits.to_be_bytes() {
            self.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
            self.push(b"0123456789abcdef"[usize::from(byte & 0xf)]);
        }
    }

    fn push_decimal(&mut self, number: u64) {
        let mut digits = [0; 20];
        decimal(number, &mut digits).iter().for_each(|digit| self.push(*digit));
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn value(&self) -> HeaderValue {
        // Digits make a header's value, always.
        HeaderValue::from_bytes(self.bytes()).unwrap_or(HeaderValue::from_static(""))
    }
}

/// The digits of a number, in a place that is handed in.
pub(super) fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// An entity tag as `ETag` writes it.
pub(super) fn tag_text(EntityTag(tag): EntityTag) -> HeaderValue {
    let mut text = Digits::NONE;
    text.push(b'"');
    text.push_hex(tag);
    text.push(b'"');
    text.value()
}

/// A life as `Sidetalk-Life` names it.
pub(super) fn life_text(life: &LifeId) -> HeaderValue {
    life_digits(life).value()
}

/// The same as bytes.
pub(super) fn life_digits(life: &LifeId) -> Digits {
    let mut text = Digits::NONE;
    text.push_hex(life.actor.0);
    text.push(b'-');
    text.push_decimal(life.counter);
    text
}

/// A token as `Sidetalk-Token` carries it.
pub(super) fn token_text(token: &Token) -> HeaderValue {
    let mut text = Vec::with_capacity(64);
    token.push_to(&mut text);
    // Base64 makes a header's value, always.
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

/// What the headers of an answer say about an object.
#[derive(Debug)]
pub(super) struct About {
    pub token: Token,
    pub tag: Option<EntityTag>,
    pub life: Option<LifeId>,
    pub expires_in_millis: Option<u64>,
    /// The node could not catch up, or could not ask everyone.
    pub behind: bool,
}

impl About {
    /// About an object that nobody sees.
    pub(super) fn nothing(token: Token, behind: bool) -> Self {
        Self { token, tag: None, life: None, expires_in_millis: None, behind }
    }

    /// About an object in sight.
    pub(super) fn view(token: Token, view: &View, behind: bool) -> Self {
        Self {
            token,
            tag: Some(view.tag),
            life: view.life,
            expires_in_millis: view.expires_in_millis,
            behind,
        }
    }

    /// Writes the headers.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(headers::TOKEN, token_text(&self.token));
        if let Some(tag) = self.tag {
            headers.insert(ETAG, tag_text(tag));
        }
        if let Some(life) = &self.life {
            headers.insert(headers::LIFE, life_text(life));
        }
        if let Some(millis) = self.expires_in_millis {
            headers.insert(headers::EXPIRES_IN, HeaderValue::from(millis / 1_000));
        }
        if self.behind {
            headers.insert(headers::BEHIND, HeaderValue::from_static("true"));
        }
    }

    /// Puts the headers on an answer.
    pub(super) fn on(&self, mut answer: Answer) -> Answer {
        self.write(answer.headers_mut());
        answer
    }

    /// Puts the headers on a problem.
    pub(super) fn on_problem(&self, problem: Problem) -> Problem {
        problem.headers(|headers| self.write(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::identity::ReplicaId;

    #[test]
    fn numbers_are_written_as_a_formatter_writes_them() {
        for number in [0, 7, 10, 0xabc, 99_999, u64::MAX] {
            let life = LifeId { actor: ReplicaId(number), counter: number };
            assert_eq!(life_text(&life), *format!("{number:016x}-{number}"));
            assert_eq!(tag_text(EntityTag(number)), *format!("\"{number:016x}\""));
        }
    }
}
