//! Requests that can be answered from their bytes, without a wait: the read of an object whose answer is kept, and
//! the change of one whose caller wants nothing back.

use super::super::answer::{Answer, decimal};
use super::super::dispatch::Api;
use super::super::read_lately::Found;
use super::super::{guard, short};
use super::parse::{Simple, Verb};
use super::{patch, write};

/// The host that a connection has named, and may: nearly all of its requests name the same.
#[derive(Default)]
pub(super) struct KnownHost(Vec<u8>);

impl KnownHost {
    fn is_allowed(&mut self, api: &Api, host: &[u8]) -> bool {
        if self.0 == host && !host.is_empty() {
            return true;
        }
        let allowed = std::str::from_utf8(host).is_ok_and(|host| guard::is_allowed(&api.settings, host));
        if allowed {
            self.0.clear();
            self.0.extend_from_slice(host);
        }
        allowed
    }
}

/// What came of a request.
pub(super) enum Quick {
    /// It is answered.
    Answered,
    /// It is refused, in these words.
    Refused(Box<Answer>),
    /// Nothing: it is to go the long way, which has the same answer, or finds what is wrong.
    No,
}

/// Answers a request, if it is such a one and nothing stands against it. `bytes` is what was looked at. `close`: the
/// connection ends with the answer.
pub(super) fn answer(
    api: &Api,
    request: &Simple<'_, '_>,
    bytes: &[u8],
    host: &mut KnownHost,
    close: bool,
    out: &mut Vec<u8>,
) -> Quick {
    if !request.plain || !matches!(request.verb, Verb::Get | Verb::Patch) || !may_pass(api, request, host) {
        return Quick::No;
    }
    if request.verb == Verb::Patch {
        return patch::answer(api, request, request.body(bytes), close, out);
    }
    let Some(found) = short::read(api, request.target) else { return Quick::No };
    write_found(out, &found, close);
    Quick::Answered
}

/// Whether the request would be let in.
fn may_pass(api: &Api, request: &Simple<'_, '_>, host: &mut KnownHost) -> bool {
    let shows_token = match &api.settings.tokens {
        Some(tokens) => request.authorization.is_some_and(|shown| tokens.accept(shown)),
        None => true,
    };
    shows_token && host.is_allowed(api, request.host) && api.load.has_place(api.settings.requests_max)
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
