//! The description of a call, from which its route, the check of its query and its documentation are made.

use std::pin::Pin;
use std::sync::Arc;

use axum::routing::MethodFilter;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::answer::Outcome;
use super::call::Call;
use super::dispatch::Api;
use super::errors::Code;
use super::query::Param;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Verb {
    /// For the router; GET stands for HEAD as well.
    pub(super) const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// For the documentation.
    pub(super) const fn documented(self) -> HttpMethod {
        match self {
            Self::Get => HttpMethod::Get,
            Self::Put => HttpMethod::Put,
            Self::Post => HttpMethod::Post,
            Self::Patch => HttpMethod::Patch,
            Self::Delete => HttpMethod::Delete,
        }
    }

    /// Problems of every call with this method.
    pub(super) const fn codes(self) -> &'static [Code] {
        match self {
            Self::Get | Self::Delete => &[],
            Self::Put => &[Code::TooLarge, Code::IncompleteBody],
            Self::Post | Self::Patch => &[
                Code::TooLarge,
                Code::IncompleteBody,
                Code::BadIdempotencyKey,
                Code::IdempotencyKeyReused,
                Code::Internal,
            ],
        }
    }
}

/// A call under way.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// What an answer's body is.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// There is none.
    None,
    /// JSON of this schema.
    Json(Describe),
    /// Something else, of this content type.
    Other(&'static str),
}

/// Gives a schema.
pub(super) type Describe = fn() -> Described;

/// A schema, and those it refers to.
pub(super) struct Described {
    pub name: String,
    pub schema: RefOr<Schema>,
    pub parts: Vec<(String, RefOr<Schema>)>,
}

/// The schema of a type.
pub(super) fn of<T: ToSchema>() -> Described {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    Described { name: T::name().into_owned(), schema: T::schema(), parts }
}

/// A JSON object with any members.
pub(super) struct AnyObject;

impl PartialSchema for AnyObject {
    fn schema() -> RefOr<Schema> {
        let anything = AdditionalProperties::FreeForm(true);
        ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(anything)).into()
    }
}

impl ToSchema for AnyObject {}

/// Which headers the answers carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// None of ours.
    Nothing,
    /// Those about an object.
    Object,
}

/// An answer that is no problem.
pub(super) struct Given {
    pub status: u16,
    pub when: &'static str,
    pub content: Content,
}

impl Given {
    /// An answer with a body.
    pub(super) const fn json(status: u16, when: &'static str, schema: Describe) -> Self {
        Self { status, when, content: Content::Json(schema) }
    }

    /// An answer without one.
    pub(super) const fn empty(status: u16, when: &'static str) -> Self {
        Self { status, when, content: Content::None }
    }
}

/// A body that a call takes: its content types, and what it is.
pub(super) struct Takes {
    pub media_types: &'static [&'static str],
    pub schema: Describe,
}

/// A request's header, and what it is for.
pub(super) type HeaderNote = (&'static str, &'static str);

/// A call of the contract.
pub(super) struct Operation {
    pub verb: Verb,
    /// With names in braces.
    pub path: &'static str,
    /// Unique; what generated clients call it.
    pub id: &'static str,
    pub summary: &'static str,
    pub query: &'static [Param],
    pub headers: &'static [&'static [HeaderNote]],
    pub takes: Option<Takes>,
    pub about: About,
    pub given: &'static [Given],
    /// Its own problems; see [`codes`](Self::codes) for all.
    pub codes: &'static [&'static [Code]],
    pub run: for<'a> fn(&'a Arc<Api>, &'a Call) -> Running<'a>,
}

impl Operation {
    /// Every problem that the call may come to, sorted.
    pub(super) fn codes(&self) -> Vec<Code> {
        let probe = matches!(self.path, "/livez" | "/readyz");
        let guarded: &[Code] = if probe { &[] } else { &[Code::Unauthorized, Code::TooBusy] };
        let groups = [EVERYWHERE, guarded, self.verb.codes()].into_iter().chain(self.codes.iter().copied());
        let mut codes: Vec<Code> = groups.flatten().copied().collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// The kind of object that its path names, for the documentation.
    pub(super) fn tag(&self) -> &'static str {
        let first = self.path.trim_start_matches("/v1/").split('/').next();
        match first {
            Some(kind @ ("sessions" | "documents" | "counters" | "sets")) => kind,
            Some("batch" | "watch" | "explain") => "across objects",
            _ => "this node",
        }
    }
}

/// Problems of every call.
const EVERYWHERE: &[Code] =
    &[Code::HostNotLocal, Code::ForeignOrigin, Code::UnknownQueryParameter, Code::BadQueryValue];
/// Problems of reading an object.
pub(super) const READ: &[Code] =
    &[Code::BadKey, Code::BadToken, Code::BadPrecondition, Code::PreconditionFailed, Code::NotReady];
/// Problems of an object that may end.
pub(super) const MORTAL: &[Code] = &[Code::Unknown, Code::Ended];
/// Problems of changing an object. Also one that cannot end may be told to change a life it is not in.
pub(super) const CHANGE: &[Code] = &[
    Code::BadKey,
    Code::BadToken,
    Code::BadLife,
    Code::BadPrecondition,
    Code::PreconditionFailed,
    Code::NotReady,
    Code::NotEnoughAcks,
    Code::Unknown,
    Code::Ended,
    Code::DiskFull,
    Code::DiskFailing,
    Code::NotSaved,
];
/// Problems of a JSON body.
pub(super) const BODY: &[Code] =
    &[Code::UnsupportedMediaType, Code::BadJson, Code::DuplicateKey, Code::TooDeep];

/// Headers of a read.
pub(super) const READ_HEADERS: &[HeaderNote] = &[
    ("Sidetalk-After", "Tokens of what the client has seen. The node waits until it has seen it too."),
    ("If-None-Match", "An entity tag: 304 when the object is still the same."),
    ("If-Match", "An entity tag: 412 when the object is another."),
];
/// Headers of a change.
pub(super) const CHANGE_HEADERS: &[HeaderNote] = &[
    ("Sidetalk-After", "Tokens of what the client has seen. The write is later than all of it."),
    ("Sidetalk-Life", "Change this life only."),
    ("If-Match", "An entity tag of this node, or * for anything that lives."),
    ("If-None-Match", "An entity tag of this node, or * to create only."),
];
/// Headers of a change that answers with the object.
pub(super) const PREFER: &[HeaderNote] = &[(
    "Prefer",
    "`return=minimal`: an answer without a body, and without an ETag unless the request compares with one.",
)];
/// Headers of POST and PATCH.
pub(super) const IDEMPOTENT: &[HeaderNote] = &[(
    "Idempotency-Key",
    "Up to 255 visible ASCII characters, new for each request. A retry of the same request on the same node is \
     answered with the first answer, and changes nothing again, for some minutes.",
)];

/// Parameters of a read.
pub(super) const READ_QUERY: &[Param] = &[Param::Wait];
/// Parameters of a change.
pub(super) const CHANGE_QUERY: &[Param] = &[Param::Wait, Param::Acks, Param::Timeout];
/// Parameters of a change that may move a deadline.
pub(super) const LEASE_QUERY: &[Param] = &[Param::Ttl, Param::Wait, Param::Acks, Param::Timeout];
