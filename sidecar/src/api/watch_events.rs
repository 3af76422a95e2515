//! The text of server-sent events.

use std::fmt;

use bytes::Bytes;
use serde_json::json;

use super::dispatch::Api;
use super::errors::{Code, Problem};
use crate::core::command::{Lookup, life_to_text};
use crate::core::identity::{ObjectId, ReplicaId};
use crate::core::value::JsonText;

/// A place in one process's journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub replica: ReplicaId,
    pub at: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.replica, self.at)
    }
}

impl Cursor {
    /// Reads an event's id.
    ///
    /// # Errors
    /// `bad_cursor`.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let bad = || Problem::new(Code::BadCursor, "this is no event's id").with("cursor", text);
        let (replica, at) = text.split_once('-').ok_or_else(bad)?;
        if replica.len() != 16 || !replica.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        if at.is_empty() || !at.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let replica = u64::from_str_radix(replica, 16).map_err(|_| bad())?;
        Ok(Self { replica: ReplicaId(replica), at: at.parse().map_err(|_| bad())? })
    }
}

/// Events that go out together.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<u8>);

impl Page {
    /// The state of an object now.
    pub(super) fn change(&mut self, api: &Api, object: &ObjectId, id: Option<Cursor>) {
        let found = match api.port.look_up(object) {
            Lookup::Found(view) => Some(view),
            Lookup::Ended | Lookup::Unknown => None,
        };
        // After the content, so that it names at least what was read.
        let token = api.port.read_token(object);
        self.text("event: change\n");
        if let Some(id) = id {
            self.text(&format!("id: {id}\n"));
        }
        let key = JsonText::string(&object.key);
        self.text(&format!(
            "data: {{\"kind\":\"{}\",\"key\":{},\"state\":",
            object.kind.plural(),
            key.as_str()
        ));
        self.text(if found.is_some() { "\"live\",\"value\":" } else { "\"ended\",\"value\":" });
        self.0.extend_from_slice(found.as_ref().map_or(b"null", |view| &view.body));
        match found.and_then(|view| view.life) {
            Some(life) => self.text(&format!(",\"life\":\"{}\"", life_to_text(&life))),
            None => self.text(",\"life\":null"),
        }
        self.text(&format!(",\"token\":\"{token}\"}}\n\n"));
    }

    /// The cursor is of no use.
    pub(super) fn reset(mut self, reason: &str, detail: &str) -> Self {
        let data = json!({ "reason": reason, "detail": detail });
        self.text(&format!("event: reset\ndata: {data}\n\n"));
        self
    }

    /// The state of all keys has been sent.
    pub(super) fn current(mut self, id: Cursor) -> Self {
        self.text(&format!("event: current\nid: {id}\ndata: {{}}\n\n"));
        self
    }

    /// A comment, and where the client is.
    pub(super) fn mark(mut self, id: Cursor, comment: &str) -> Self {
        self.text(&format!(": {comment}\nid: {id}\n\n"));
        self
    }

    /// As it goes out.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }

    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        let cursor = Cursor { replica: ReplicaId(0xabc), at: 17 };
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        for text in [
            "",
            "-",
            "1",
            "0000000000000abc",
            "0000000000000abc-",
            "0000000000000abc-+1",
            "abc-1",
            "+000000000000abc-1",
        ] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }
}
