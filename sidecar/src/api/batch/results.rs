//! The answers of a batch, written one behind the other as they come; what is still waited for is put in at the end.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::response;

use super::super::answer::{Answer, decimal, life_digits, whole};
use super::super::read_lately::Found;
use crate::core::command::Written;

/// Bytes of one answer, as a guess.
const ANSWER_BYTES: usize = 640;

/// What stands for an answer that was lost.
const LOST: &[u8] = b"{\"status\":500,\"headers\":{},\"body\":null}";

/// How the answer to a change begins whose caller wants nothing back, up to its token.
const CREATED: &[u8] =
    br#"{"status":201,"headers":{"preference-applied":"return=minimal","sidetalk-token":""#;
const DONE: &[u8] = br#"{"status":204,"headers":{"preference-applied":"return=minimal","sidetalk-token":""#;

/// The answers so far, as JSON.
pub(super) struct Results {
    text: Vec<u8>,
    count: usize,
    /// Where an answer that is waited for belongs, and that answer once it is there.
    late: Vec<(usize, Option<Vec<u8>>)>,
    /// Bytes of bodies.
    bytes: usize,
}

/// An answer that is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late(usize);

impl Results {
    /// None of so many.
    pub(super) fn new(count: usize) -> Self {
        let mut text = Vec::with_capacity(16 + count * ANSWER_BYTES);
        text.extend_from_slice(b"{\"results\":[");
        Self { text, count: 0, late: Vec::new(), bytes: 0 }
    }

    /// Bytes of the bodies so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next answer: what is kept of an object.
    pub(super) fn found(&mut self, found: &Found) {
        self.next();
        let body = found.body();
        self.bytes += body.len();
        let out = &mut self.text;
        out.extend_from_slice(b"{\"status\":200,\"headers\":{");
        out.extend_from_slice(found.members());
        if let Some(seconds) = found.expires_in_seconds() {
            out.extend_from_slice(b",\"sidetalk-expires-in\":\"");
            out.extend_from_slice(decimal(seconds, &mut [0; 20]));
            out.push(b'"');
        }
        out.extend_from_slice(b",\"content-type\":\"application/json\"},\"body\":");
        out.extend_from_slice(body);
        out.push(b'}');
    }

    /// The next answer: a change is made, and its caller wants nothing back.
    pub(super) fn written(&mut self, written: &Written) {
        self.next();
        let out = &mut self.text;
        let head: &[u8] = if written.created { CREATED } else { DONE };
        out.extend_from_slice(head);
        // Base64: nothing of it has to be escaped.
        written.token.push_to(out);
        if let Some(life) = &written.life {
            out.extend_from_slice(b"\",\"sidetalk-life\":\"");
            out.extend_from_slice(life_digits(life).bytes());
        }
        if let Some(millis) = written.expires_in_millis {
            out.extend_from_slice(b"\",\"sidetalk-expires-in\":\"");
            out.extend_from_slice(decimal(millis / 1_000, &mut [0; 20]));
        }
        out.extend_from_slice(b"\"},\"body\":null}");
    }

    /// The next answer.
    pub(super) async fn put(&mut self, answer: Answer) {
        self.next();
        let (head, body) = whole(answer).await;
        self.bytes += body.len();
        write(&mut self.text, &head, &body);
    }

    /// The next answer is waited for.
    pub(super) fn wait(&mut self) -> Late {
        self.next();
        self.late.push((self.text.len(), None));
        Late(self.late.len() - 1)
    }

    /// It has come.
    pub(super) async fn put_late(&mut self, Late(late): Late, answer: Answer) {
        let (head, body) = whole(answer).await;
        self.bytes += body.len();
        let mut text = Vec::with_capacity(ANSWER_BYTES);
        write(&mut text, &head, &body);
        if let Some((_, place)) = self.late.get_mut(late) {
            *place = Some(text);
        }
    }

    /// All of them.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.text.extend_from_slice(b"]}");
        if self.late.is_empty() {
            return self.text;
        }
        let mut whole = Vec::with_capacity(self.text.len() + self.late.len() * ANSWER_BYTES);
        let mut from = 0;
        for (at, text) in &self.late {
            whole.extend_from_slice(&self.text[from..*at]);
            whole.extend_from_slice(text.as_deref().unwrap_or(LOST));
            from = *at;
        }
        whole.extend_from_slice(&self.text[from..]);
        whole
    }

    fn next(&mut self) {
        // Not the text's end: the place of one that is waited for is empty.
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += 1;
    }
}

fn write(out: &mut Vec<u8>, head: &response::Parts, body: &[u8]) {
    out.extend_from_slice(b"{\"status\":");
    out.extend_from_slice(decimal(u64::from(head.status.as_u16()), &mut [0; 20]));
    out.extend_from_slice(b",\"headers\":{");
    for (name, value) in &head.headers {
        // Each name once, or it were no good JSON: no answer has one twice.
        if let Ok(value) = value.to_str()
            && head.headers.get(name).is_some_and(|first| first.as_bytes() == value.as_bytes())
        {
            write_member(out, name.as_str(), value);
        }
    }
    out.extend_from_slice(b"},\"body\":");
    out.extend_from_slice(if is_json(&head.headers) && !body.is_empty() { body } else { b"null" });
    out.push(b'}');
}

/// Writes a header as a member of a JSON object, behind those that are there already.
pub(in super::super) fn write_member(out: &mut Vec<u8>, name: &str, value: &str) {
    if !matches!(out.last(), None | Some(b'{')) {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    if value.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..=0x1f)) {
        // Nothing can fail: text into memory.
        let _ = serde_json::to_writer(out, value);
    } else {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
}

/// Whether a body is JSON; then it is written by this API, and needs no check.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    matches!(media_type, Some(b"application/json" | b"application/problem+json"))
}
