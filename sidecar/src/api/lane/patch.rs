//! The merge patch of a caller that wants nothing back but that it is done, as session stores send it: straight from the
//! request's bytes to the node, and without a map of headers on the way in or out.

use httparse::Header;

use super::super::answer::{decimal, life_digits};
use super::super::body::{JSON, MERGE_PATCH, object_tree};
use super::super::dispatch::Api;
use super::super::headers::{ObjectHeaders, prefers_minimal};
use super::super::short::{self, Patched};
use super::parse::Simple;
use super::quick::Quick;
use super::write;
use crate::core::command::Written;

/// Makes the change that a plain `PATCH` asks for, if it is such a one and nothing about it needs a wait. It must have
/// been let in.
pub(super) fn answer(
    api: &Api,
    request: &Simple<'_, '_>,
    body: &[u8],
    close: bool,
    out: &mut Vec<u8>,
) -> Quick {
    if !wants_no_more(request.headers) || api.port.answers_when_saved() {
        return Quick::No;
    }
    let Some(object) = short::object(api, request.target) else { return Quick::No };
    let Ok(tree) = object_tree(body) else { return Quick::No };
    match short::patch(api, object, tree, &ObjectHeaders::default()) {
        Patched::Done(written) => {
            write_done(out, &written, close);
            Quick::Answered
        }
        Patched::Refused(problem) => Quick::Refused(Box::new(problem.into())),
        Patched::Unknown(..) => Quick::No,
    }
}

/// Whether the headers ask for a merge patch without a body in return, and for nothing else. Those that speak of an
/// object have been looked for.
fn wants_no_more(headers: &[Header<'_>]) -> bool {
    let (mut merges, mut minimal) = (false, false);
    for Header { name, value } in headers {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            6 if is("prefer") => minimal |= prefers_minimal(value),
            12 if is("content-type") => {
                let right = [JSON.as_bytes(), MERGE_PATCH.as_bytes()].contains(value);
                if merges || !right {
                    return false;
                }
                merges = true;
            }
            15 if is("idempotency-key") => return false,
            _ => {}
        }
    }
    merges && minimal
}

/// How the answer begins, up to its token.
const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\npreference-applied: return=minimal\r\nsidetalk-token: ";
const DONE: &[u8] = b"HTTP/1.1 204 No Content\r\npreference-applied: return=minimal\r\nsidetalk-token: ";

fn write_done(out: &mut Vec<u8>, written: &Written, close: bool) {
    let head: &[u8] = if written.created { CREATED } else { DONE };
    out.extend_from_slice(head);
    written.token.push_to(out);
    out.extend_from_slice(b"\r\n");
    if let Some(life) = &written.life {
        write::line(out, b"sidetalk-life", life_digits(life).bytes());
    }
    if let Some(millis) = written.expires_in_millis {
        write::line(out, b"sidetalk-expires-in", decimal(millis / 1_000, &mut [0; 20]));
    }
    if close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    if written.created {
        write::content_length(out, 0);
    }
    write::date(out);
    out.extend_from_slice(b"\r\n");
}
