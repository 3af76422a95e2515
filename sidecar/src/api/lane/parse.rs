//! Requests that are whole, simple and at hand. Whatever is odd is not parsed here: hyper decides what becomes of it.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use httparse::{Header, Status};

use super::super::load::LARGE_BYTES;

/// Headers of a simple request.
const HEADERS_MAX: usize = 64;
/// Bytes of a simple request's head.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Bytes of a simple request's body: those that are not counted.
const BODY_BYTES_MAX: usize = LARGE_BYTES;

/// The path of a stream.
const WATCH: &str = "/v1/watch";

/// Room for the headers of a request.
pub(super) type HeaderRoom<'b> = [MaybeUninit<Header<'b>>; HEADERS_MAX];

/// An empty [`HeaderRoom`].
pub(super) const fn room<'b>() -> HeaderRoom<'b> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// What lies at the front of the bytes that were read.
pub(super) enum Found<'h, 'b> {
    /// The beginning of a head.
    Head,
    /// A head, and the beginning of a body: with both, the request has this many bytes.
    Body(usize),
    /// A simple request.
    Simple(Simple<'h, 'b>),
    /// Anything else.
    Odd,
}

/// A request whose meaning is beyond doubt: HTTP/1.1, one host, one length or none, nothing that changes how the bytes
/// after it are read.
pub(super) struct Simple<'h, 'b> {
    pub verb: Verb,
    /// Begins with a slash.
    pub target: &'b str,
    pub host: &'b [u8],
    pub authorization: Option<&'b [u8]>,
    /// No header says anything about an object, or about a web page that calls.
    pub plain: bool,
    /// The connection ends with the answer.
    pub close: bool,
    /// Bytes of the head and the body.
    pub bytes: usize,
    body: usize,
    pub headers: &'h [Header<'b>],
}

/// A method that the API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Head,
    Put,
    Post,
    Patch,
    Delete,
}

impl Verb {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }

    const fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Head => Method::HEAD,
            Self::Put => Method::PUT,
            Self::Post => Method::POST,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }

    const fn takes_body(self) -> bool {
        matches!(self, Self::Put | Self::Post | Self::Patch)
    }
}

/// Looks at what was read.
pub(super) fn look<'h, 'b>(bytes: &'b [u8], room: &'h mut HeaderRoom<'b>) -> Found<'h, 'b> {
    let mut request = httparse::Request::new(&mut []);
    let head = match request.parse_with_uninit_headers(bytes, room) {
        Ok(Status::Complete(head)) if head <= HEAD_BYTES_MAX => head,
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Found::Head,
        _ => return Found::Odd,
    };
    let (Some(verb), Some(target), Some(1)) =
        (request.method.and_then(Verb::of), request.path, request.version)
    else {
        return Found::Odd;
    };
    let Some(said) = said(request.headers) else { return Found::Odd };
    let in_bounds = said.length <= BODY_BYTES_MAX && (said.length == 0 || verb.takes_body());
    // Lines that end without a carriage return, or before the request line, are what smugglers hope for.
    let strict =
        bytes.first().is_some_and(u8::is_ascii_uppercase) && lines_end_right(&bytes[..head], request.headers);
    let Some(host) = said.host.filter(|_| in_bounds && strict && target.starts_with('/')) else {
        return Found::Odd;
    };
    let whole = head + said.length;
    if bytes.len() < whole {
        return Found::Body(whole);
    }
    Found::Simple(Simple {
        verb,
        target,
        host,
        authorization: said.authorization,
        plain: said.plain,
        close: said.close,
        bytes: whole,
        body: said.length,
        headers: request.headers,
    })
}

/// Whether each line ends in CR LF. Between the parts that the parser has found there are only line ends.
fn lines_end_right(head: &[u8], headers: &[Header<'_>]) -> bool {
    let begins_after_line = |header: &Header<'_>| {
        let start = range(head, header.name.as_bytes()).start;
        start >= 2 && head[start - 2..start] == *b"\r\n"
    };
    head.ends_with(b"\r\n\r\n") && headers.iter().all(begins_after_line)
}

/// What the headers say that matters here.
struct Said<'b> {
    host: Option<&'b [u8]>,
    authorization: Option<&'b [u8]>,
    length: usize,
    plain: bool,
    close: bool,
}

/// `None` where they make the request an odd one.
fn said<'b>(headers: &[Header<'b>]) -> Option<Said<'b>> {
    let mut said = Said { host: None, authorization: None, length: 0, plain: true, close: false };
    let mut length = None;
    for &Header { name, value } in headers {
        match sort_of(name) {
            Sort::Other => {}
            Sort::Host if said.host.is_none() => said.host = Some(value),
            Sort::Authorization if said.authorization.is_none() => said.authorization = Some(value),
            Sort::Length if length.is_none() => length = Some(number(value)?),
            Sort::Connection if value.eq_ignore_ascii_case(b"close") => said.close = true,
            Sort::Connection if value.eq_ignore_ascii_case(b"keep-alive") => {}
            Sort::Meaning => said.plain = false,
            _ => return None,
        }
    }
    said.length = length.unwrap_or(0);
    Some(said)
}

/// What a header is to a reader of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Host,
    Authorization,
    Length,
    Connection,
    /// Says something about an object, or that a web page calls.
    Meaning,
    /// Changes how the request, or what follows it, is to be read.
    Framing,
    Other,
}

fn sort_of(name: &str) -> Sort {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    // Most headers are none of these, and few have the same length.
    match name.len() {
        4 if is("host") => Sort::Host,
        6 if is("origin") => Sort::Meaning,
        6 if is("expect") => Sort::Framing,
        7 if is("upgrade") || is("trailer") => Sort::Framing,
        8 if is("if-match") => Sort::Meaning,
        10 if is("connection") => Sort::Connection,
        13 if is("authorization") => Sort::Authorization,
        13 if is("if-none-match") || is("sidetalk-life") => Sort::Meaning,
        14 if is("content-length") => Sort::Length,
        14 if is("sidetalk-after") || is("sec-fetch-site") => Sort::Meaning,
        17 if is("transfer-encoding") => Sort::Framing,
        _ => Sort::Other,
    }
}

/// Digits only, and few of them.
fn number(digits: &[u8]) -> Option<usize> {
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

impl Simple<'_, '_> {
    /// Its body. `bytes` is what was looked at.
    pub(super) fn body<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.bytes - self.body..self.bytes]
    }

    /// The request as everything behind the lane knows it, and its body; `None` where hyper has to decide, and for a
    /// watch, which is a stream. `bytes` is what was looked at.
    pub(super) fn parts(&self, bytes: &[u8]) -> Option<(Parts, Bytes)> {
        if self.target.starts_with(WATCH) {
            return None;
        }
        let text = Bytes::copy_from_slice(&bytes[..self.bytes]);
        let slice = |part: &[u8]| text.slice(range(bytes, part));
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for header in self.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_maybe_shared(slice(header.value)).ok()?);
        }
        let mut parts = Request::new(()).into_parts().0;
        parts.method = self.verb.method();
        parts.uri = Uri::from_maybe_shared(slice(self.target.as_bytes())).ok()?;
        parts.headers = headers;
        Some((parts, text.slice(self.bytes - self.body..)))
    }
}

/// Where a part of the whole lies in it.
fn range(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort(text: &str) -> &'static str {
        match look(text.as_bytes(), &mut room()) {
            Found::Head => "head",
            Found::Body(_) => "body",
            Found::Simple(_) => "simple",
            Found::Odd => "odd",
        }
    }

    const GET: &str = "GET /v1/sessions/s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";

    #[test]
    fn a_simple_request_is_taken_apart() {
        let text = "PATCH /v1/sessions/s?ttl=9 HTTP/1.1\r\nhost:localhost:1\r\nCONTENT-LENGTH: 2\r\nauthorization: Bearer x\r\n\r\n{}GET";
        let mut room = room();
        let Found::Simple(request) = look(text.as_bytes(), &mut room) else { panic!("it is simple") };
        assert_eq!((request.verb, request.target), (Verb::Patch, "/v1/sessions/s?ttl=9"));
        assert_eq!((request.host, request.authorization), (&b"localhost:1"[..], Some(&b"Bearer x"[..])));
        assert!(request.plain && !request.close && request.bytes == text.len() - 3);
        let (parts, body) = request.parts(text.as_bytes()).unwrap();
        assert_eq!((&*body, parts.uri.query(), parts.headers.len()), (&b"{}"[..], Some("ttl=9"), 3));
        assert_eq!(parts.headers["content-length"], "2");
    }

    #[test]
    fn a_request_is_simple_only_when_it_is_whole() {
        for end in 1..GET.len() {
            assert_eq!(sort(&GET[..end]), "head", "{end}");
        }
        assert_eq!(sort(GET), "simple");
        assert_eq!(sort(&GET.repeat(2)), "simple");
        let put = "PUT /v1/sessions/s HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
        assert_eq!(sort(put), "body");
        assert_eq!(sort(&format!("{put}123456789")), "body");
        assert_eq!(sort(&format!("{put}1234567890")), "simple");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_odd() {
        let with = |lines: &str| GET.replace("Accept: */*", lines);
        for lines in [
            "Transfer-Encoding: chunked",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 0, 0",
            "Content-Length: +1",
            "Content-Length: -1",
            "Content-Length: 0x1",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
            "Content-Length: 1",
            "Content-Length : 0",
            "Host: localhost",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "Connection: upgrade",
            "Connection: close, x",
            "Trailer: x",
            "A: b\r\n c",
            "A: b\nC: d",
            "A: \0",
            " A: b",
            ": b",
            "A",
            "Authorization: a\r\nAuthorization: b",
        ] {
            assert_eq!(sort(&with(lines)), "odd", "{lines:?}");
        }
        for text in [
            GET.replace("HTTP/1.1", "HTTP/1.0"),
            GET.replace("HTTP/1.1", "HTTP/2.0"),
            GET.replace("GET /", "GET  /"),
            GET.replace("GET", "OPTIONS"),
            GET.replace("GET", "get"),
            GET.replace(" /v1", " http://localhost/v1"),
            GET.replace("/v1/sessions/s", "*"),
            GET.replace("Host: localhost\r\n", ""),
            GET.replace("\r\n", "\n"),
            format!("\r\n{GET}"),
            format!("\n{GET}"),
            GET.replace("Accept", &"x".repeat(HEAD_BYTES_MAX)),
            format!("GET /{}", "x".repeat(HEAD_BYTES_MAX)),
            with(&"A: b\r\n".repeat(HEADERS_MAX)),
            with("Content-Length: 65537").replace("GET", "PUT"),
            "PRI * HTTP/2.0\r\n\r\n".to_owned(),
            "\x16\x03\x01\x02".to_owned(),
        ] {
            assert_eq!(sort(&text), "odd", "{text:?}");
        }
        for lines in ["Connection: Keep-Alive", "Connection: CLOSE", "Content-Length: 0", "A: \u{e9}", "A:"] {
            assert_eq!(sort(&with(lines)), "simple", "{lines:?}");
        }
    }

    #[test]
    fn what_speaks_of_an_object_or_of_a_web_page_is_not_plain() {
        let plain = |lines: &str| {
            let text = GET.replace("Accept: */*", lines);
            match look(text.as_bytes(), &mut room()) {
                Found::Simple(request) => request.plain,
                _ => panic!("{lines} is odd"),
            }
        };
        let meaning =
            ["Origin", "Sec-Fetch-Site", "If-Match", "If-None-Match", "Sidetalk-After", "Sidetalk-Life"];
        for name in meaning {
            assert!(!plain(&format!("{name}: x")), "{name}");
        }
        assert!(plain("Prefer: return=minimal") && plain("Authorization: x"));
    }

    #[test]
    fn a_watch_is_nothing_for_the_lane() {
        let watch = GET.replace("/v1/sessions/s", "/v1/watch?kind=sessions");
        let mut room = room();
        let Found::Simple(request) = look(watch.as_bytes(), &mut room) else { panic!("it looks simple") };
        assert!(request.parts(watch.as_bytes()).is_none());
    }
}
