//! The read of an object whose answer is kept: straight from the request's bytes to the answer's, without a wait
//! and without an allocation.

use std::borrow::Cow;

use super::super::answer::decimal;
use super::super::dispatch::Api;
use super::super::guard;
use super::super::read_lately::Found;
use super::parse::{Simple, Verb};
use super::write;
use crate::core::identity::Kind;
use crate::core::limits::KEY_BYTES_MAX;

/// Answers a request, if it is such a read that nothing stands against. The others go the long way, which has the
/// same answer.
pub(super) fn answer(api: &Api, request: &Simple<'_, '_>, close: bool, out: &mut Vec<u8>) -> bool {
    let Some((kind, key)) = named(request).filter(|_| may_pass(api, request)) else { return false };
    let key = match &api.settings.session_ids {
        Some(hash) if kind == Kind::Session => Cow::Owned(hash.hash(key)),
        _ => Cow::Borrowed(key),
    };
    let Some(found) = api.read_lately.again(&*api.port, kind, &key) else { return false };
    write_found(out, &found, close);
    true
}

/// The object that is read, where its name is written plainly.
fn named<'b>(request: &Simple<'_, 'b>) -> Option<(Kind, &'b str)> {
    if request.verb != Verb::Get || !request.plain {
        return None;
    }
    let rest = request.target.strip_prefix("/v1/")?;
    let (kind, key) = match rest.strip_prefix("sessions/") {
        Some(key) => (Kind::Session, key),
        None => (Kind::Document, rest.strip_prefix("documents/")?),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'~');
    ((1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(is_plain)).then_some((kind, key))
}

/// Whether the request would be let in.
fn may_pass(api: &Api, request: &Simple<'_, '_>) -> bool {
    let settings = &api.settings;
    std::str::from_utf8(request.host).is_ok_and(|host| guard::is_allowed(settings, host))
        && settings.tokens.as_ref().is_none_or(|tokens| request.authorization.is_some_and(|it| tokens.accept(it)))
        && api.load.has_place(settings.requests_max)
}

fn write_found(out: &mut Vec<u8>, found: &Found, close: bool) {
    let body = found.body();
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
    out.extend_from_slice(found.lines());
    if let Some(seconds) = found.expires_in_seconds() {
        write::line(out, b"sidetalk-expires-in", decimal(seconds, &mut [0; 20]));
    }
    if close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    write::content_length(out, body.len());
    write::date(out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}
