//! Everything that can go wrong with a request: one stable code each, with its status and whose fault it is.
//!
//! An answer with one of these codes has changed nothing, except [`Code::NotEnoughAcks`] (the write stays) and
//! [`Code::Internal`] (nobody knows). Each body says so itself.

use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use super::answer::{Answer, ApiBody};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Code {
    HostNotLocal,
    ForeignOrigin,
    Unauthorized,
    NoSuchPath,
    MethodNotAllowed,
    BadKey,
    BadMember,
    UnknownQueryParameter,
    BadQueryValue,
    BadToken,
    BadLife,
    BadPrecondition,
    BadCursor,
    BadIdempotencyKey,
    IdempotencyKeyReused,
    UnsupportedMediaType,
    IncompleteBody,
    TooLarge,
    BadJson,
    DuplicateKey,
    TooDeep,
    BadBody,
    NotAnObject,
    WrongShape,
    WrongKind,
    Overflow,
    Unknown,
    NotAMember,
    Ended,
    PreconditionFailed,
    UnknownPeer,
    MemberAlive,
    NotInBatch,
    AnswerTooLarge,
    TooManyWatchers,
    TooBusy,
    OutOfMemory,
    NotReady,
    NotEnoughAcks,
    DiskFull,
    DiskFailing,
    NotSaved,
    Internal,
}

/// Who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is wrong, or does not fit the state.
    Caller,
    /// This node cannot serve it now.
    Node,
    /// Other nodes did not answer in time.
    Cluster,
}

/// What is the same in all answers with a code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub name: &'static str,
    pub status: StatusCode,
    pub title: &'static str,
    pub fault: Fault,
    /// What a right request looks like, where one sentence says it.
    pub allowed: Option<&'static str>,
}

const fn caller(status: StatusCode, name: &'static str, title: &'static str) -> Facts {
    Facts { name, status, title, fault: Fault::Caller, allowed: None }
}

const fn node(status: StatusCode, name: &'static str, title: &'static str) -> Facts {
    Facts { name, status, title, fault: Fault::Node, allowed: None }
}

impl Facts {
    const fn allows(mut self, what: &'static str) -> Self {
        self.allowed = Some(what);
        self
    }
}

impl Code {
    /// Every code.
    pub(super) const ALL: [Self; 43] = [
        Self::HostNotLocal,
        Self::ForeignOrigin,
        Self::Unauthorized,
        Self::NoSuchPath,
        Self::MethodNotAllowed,
        Self::BadKey,
        Self::BadMember,
        Self::UnknownQueryParameter,
        Self::BadQueryValue,
        Self::BadToken,
        Self::BadLife,
        Self::BadPrecondition,
        Self::BadCursor,
        Self::BadIdempotencyKey,
        Self::IdempotencyKeyReused,
        Self::UnsupportedMediaType,
        Self::IncompleteBody,
        Self::TooLarge,
        Self::BadJson,
        Self::DuplicateKey,
        Self::TooDeep,
        Self::BadBody,
        Self::NotAnObject,
        Self::WrongShape,
        Self::WrongKind,
        Self::Overflow,
        Self::Unknown,
        Self::NotAMember,
        Self::Ended,
        Self::PreconditionFailed,
        Self::UnknownPeer,
        Self::MemberAlive,
        Self::NotInBatch,
        Self::AnswerTooLarge,
        Self::TooManyWatchers,
        Self::TooBusy,
        Self::OutOfMemory,
        Self::NotReady,
        Self::NotEnoughAcks,
        Self::DiskFull,
        Self::DiskFailing,
        Self::NotSaved,
        Self::Internal,
    ];

    /// The one table of all codes.
    pub(super) const fn facts(self) -> Facts {
        use StatusCode as S;
        match self {
            Self::HostNotLocal => caller(S::FORBIDDEN, "host_not_local", "The host named is not this one")
                .allows("Host: localhost, 127.0.0.0/8 or [::1], with any port, or a host name that the operator allowed"),
            Self::ForeignOrigin => caller(S::FORBIDDEN, "foreign_origin", "A web page may not call this")
                .allows("no Origin header, the API's own origin, or an origin that the operator allowed"),
            Self::Unauthorized => caller(S::UNAUTHORIZED, "unauthorized", "A token is needed")
                .allows("Authorization: Bearer and a token of the file that the operator named by --api-token-file"),
            Self::NoSuchPath => caller(S::NOT_FOUND, "no_such_path", "No such path").allows("the paths in /openapi.json"),
            Self::MethodNotAllowed => {
                caller(S::METHOD_NOT_ALLOWED, "method_not_allowed", "The path does not take this method")
            }
            Self::BadKey => caller(S::BAD_REQUEST, "bad_key", "The key is not one")
                .allows("1 to 512 bytes of UTF-8, percent-encoded as one path segment"),
            Self::BadMember => caller(S::BAD_REQUEST, "bad_member", "The member is not one")
                .allows("up to 4096 bytes of UTF-8; in a path at least one, percent-encoded as one segment"),
            Self::UnknownQueryParameter => {
                caller(S::BAD_REQUEST, "unknown_query_parameter", "The call does not take this query parameter")
            }
            Self::BadQueryValue => caller(S::BAD_REQUEST, "bad_query_value", "A query parameter has a bad value"),
            Self::BadToken => caller(S::BAD_REQUEST, "bad_token", "Sidetalk-After holds no tokens")
                .allows("1 to 64 tokens as Sidetalk-Token gave them, separated by commas"),
            Self::BadLife => caller(S::BAD_REQUEST, "bad_life", "Sidetalk-Life names no life")
                .allows("one life, as a Sidetalk-Life header gave it"),
            Self::BadPrecondition => caller(S::BAD_REQUEST, "bad_precondition", "The condition cannot be understood")
                .allows("one of If-Match and If-None-Match, each with * or a list of entity tags"),
            Self::BadCursor => caller(S::BAD_REQUEST, "bad_cursor", "The cursor is not one")
                .allows("an id as the watch gave it: 16 hexadecimal digits, a dash, digits"),
            Self::BadIdempotencyKey => caller(S::BAD_REQUEST, "bad_idempotency_key", "The Idempotency-Key is not one")
                .allows("1 to 255 visible ASCII characters, once"),
            Self::IdempotencyKeyReused => caller(
                S::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "The Idempotency-Key belongs to a different request",
            )
            .allows("a new key for every new request"),
            Self::UnsupportedMediaType => {
                caller(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The call does not take this content type")
            }
            Self::IncompleteBody => {
                caller(S::REQUEST_TIMEOUT, "incomplete_body", "The body did not arrive whole and in time")
            }
            Self::TooLarge => caller(S::PAYLOAD_TOO_LARGE, "too_large", "Too large")
                .allows("a body, and an object as it would be after the change, of up to 1048576 bytes"),
            Self::BadJson => caller(S::BAD_REQUEST, "bad_json", "The body is not JSON"),
            Self::DuplicateKey => caller(S::BAD_REQUEST, "duplicate_key", "A key stands twice in one object"),
            Self::TooDeep => caller(S::BAD_REQUEST, "too_deep", "Nested too deeply")
                .allows("up to 64 levels of objects and arrays"),
            Self::BadBody => caller(S::UNPROCESSABLE_ENTITY, "bad_body", "The body does not say what the call needs"),
            Self::NotAnObject => caller(S::UNPROCESSABLE_ENTITY, "not_an_object", "The body must be a JSON object")
                .allows("a JSON object at the root"),
            Self::WrongShape => {
                caller(S::UNPROCESSABLE_ENTITY, "wrong_shape", "An operation does not fit what stands at its path")
            }
            Self::WrongKind => {
                caller(S::UNPROCESSABLE_ENTITY, "wrong_kind", "This kind of object does not take this change")
            }
            Self::Overflow => caller(S::UNPROCESSABLE_ENTITY, "overflow", "The count would leave 64 bits")
                .allows("sums from -9223372036854775808 to 9223372036854775807"),
            Self::Unknown => caller(S::NOT_FOUND, "unknown", "Nothing is known under this name"),
            Self::NotAMember => caller(S::NOT_FOUND, "not_a_member", "The set does not hold this member"),
            Self::Ended => caller(S::GONE, "ended", "It was destroyed, or has expired"),
            Self::PreconditionFailed => {
                caller(S::PRECONDITION_FAILED, "precondition_failed", "The condition does not hold")
            }
            Self::UnknownPeer => caller(S::UNPROCESSABLE_ENTITY, "unknown_peer", "No member has this name")
                .allows("the names of other nodes in /v1/cluster"),
            Self::MemberAlive => caller(S::CONFLICT, "member_alive", "The member is this node, or is heard by it")
                .allows("a member that /v1/cluster shows as down"),
            Self::NotInBatch => caller(S::UNPROCESSABLE_ENTITY, "not_in_batch", "A batch cannot hold this call")
                .allows("any call but batch and watch"),
            Self::AnswerTooLarge => {
                caller(S::PAYLOAD_TOO_LARGE, "answer_too_large", "The batch's answers take too much room")
                    .allows("answers of up to 33554432 bytes in one batch")
            }
            Self::TooManyWatchers => node(S::SERVICE_UNAVAILABLE, "too_many_watchers", "Too many watchers"),
            Self::TooBusy => node(S::SERVICE_UNAVAILABLE, "too_busy", "Too many requests at once"),
            Self::OutOfMemory => node(
                S::INSUFFICIENT_STORAGE,
                "out_of_memory",
                "The state has reached the limit on memory; this write would make it grow",
            )
            .allows("reads, deletes, resets and changes that add nothing; raise --max-memory on every node, or destroy what is not needed"),
            Self::NotReady => node(S::SERVICE_UNAVAILABLE, "not_ready", "This node is not ready"),
            Self::NotEnoughAcks => Facts {
                fault: Fault::Cluster,
                ..node(S::GATEWAY_TIMEOUT, "not_enough_acks", "Too few nodes have acknowledged the write; it stays")
            },
            Self::DiskFull => node(S::INSUFFICIENT_STORAGE, "disk_full", "This node's disk is full: it takes no writes"),
            Self::DiskFailing => {
                node(S::SERVICE_UNAVAILABLE, "disk_failing", "This node's disk fails: it takes no writes")
            }
            Self::NotSaved => node(S::SERVICE_UNAVAILABLE, "not_saved", "The write is not on disk; it stays"),
            Self::Internal => node(S::INTERNAL_SERVER_ERROR, "internal", "A bug in this node"),
        }
    }

    /// Whether the state may have changed; `None` when nobody knows.
    pub(super) const fn changed(self) -> Option<bool> {
        match self {
            Self::NotEnoughAcks | Self::NotSaved => Some(true),
            Self::Internal => None,
            _ => Some(false),
        }
    }
}

/// An answer with a code: a problem document (RFC 9457).
#[derive(Debug)]
pub(super) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// A problem with what is special about this one.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Inner { code, detail, members: Map::new(), headers: HeaderMap::new() }))
    }

    /// The problem of a request that there is no room for now.
    pub(super) fn too_busy(detail: &str) -> Self {
        Self::new(Code::TooBusy, detail).header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// Which kind of problem.
    #[cfg(test)]
    pub(super) fn code(&self) -> Code {
        self.0.code
    }

    /// One more member of the document; replaces what the code has under that name.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// One more header.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Many more headers.
    pub(super) fn headers(mut self, fill: impl FnOnce(&mut HeaderMap)) -> Self {
        fill(&mut self.0.headers);
        self
    }

    fn document(&self) -> Value {
        let facts = self.0.code.facts();
        let mut document = Map::new();
        document.insert("type".into(), format!("urn:sidetalk:problem:{}", facts.name).into());
        document.insert("title".into(), facts.title.into());
        document.insert("status".into(), facts.status.as_u16().into());
        document.insert("code".into(), facts.name.into());
        document.insert("detail".into(), self.0.detail.as_str().into());
        document.insert("fault".into(), facts.fault.name().into());
        document.insert("changed".into(), self.0.code.changed().into());
        if let Some(allowed) = facts.allowed {
            document.insert("allowed".into(), allowed.into());
        }
        document.extend(self.0.members.clone());
        Value::Object(document)
    }
}

impl Fault {
    /// As the document names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Node => "node",
            Self::Cluster => "cluster",
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let body = problem.document().to_string();
        let mut answer = Response::new(ApiBody::from(body));
        *answer.status_mut() = problem.0.code.facts().status;
        *answer.headers_mut() = problem.0.headers;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        answer
    }
}
