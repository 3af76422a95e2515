//! Answers to bytes, as hyper writes them.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::response::Parts;
use http::{HeaderValue, StatusCode};
use httpdate::HttpDate;

use super::super::answer::decimal;

/// Writes an answer's head. `length` is that of its body, `to_head` whether it answers a HEAD, `close` whether the
/// connection ends with it.
pub(super) fn head(out: &mut Vec<u8>, head: &mut Parts, length: usize, to_head: bool, close: bool) {
    status_line(out, head.status);
    if close {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut measured = false;
    for (name, value) in &head.headers {
        if name == CONTENT_LENGTH {
            // The router has measured the body, that of an answer to HEAD as well.
            if length == 0 && !to_head {
                continue;
            }
            measured = true;
        }
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    let may = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !measured && may && !(to_head && length == 0) {
        content_length(out, length);
    }
    date(out);
    out.extend_from_slice(b"\r\n");
}

/// Whether an answer like this has a body on the wire.
pub(super) fn has_body(status: StatusCode, to_head: bool) -> bool {
    !to_head && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes one header.
pub(super) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the header `Content-Length`.
pub(super) fn content_length(out: &mut Vec<u8>, length: usize) {
    line(out, b"content-length", decimal(length as u64, &mut [0; 20]));
}

/// Writes the header `Date`.
pub(super) fn date(out: &mut Vec<u8>) {
    thread_local!(static LAST: RefCell<Dated> = const { RefCell::new(Dated::NEVER) });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|last| {
        if last.unix_seconds != now {
            last.render(now);
        }
        out.extend_from_slice(&last.line);
    });
}

/// The header of one second.
struct Dated {
    unix_seconds: u64,
    line: [u8; 37],
}

impl Dated {
    const NEVER: Self = Self { unix_seconds: u64::MAX, line: *b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" };

    fn render(&mut self, unix_seconds: u64) {
        self.unix_seconds = unix_seconds;
        let time = UNIX_EPOCH + Duration::from_secs(unix_seconds);
        // It has the length that it has.
        let _ = write!(&mut self.line[6..35], "{}", HttpDate::from(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_what_the_rfc_shows() {
        let mut dated = Dated::NEVER;
        dated.render(784_111_777);
        assert_eq!(&dated.line, b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    }
}
