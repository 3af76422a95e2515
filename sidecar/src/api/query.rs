//! Query parameters. One that a call does not take is an error: a misspelt `ttl` must not become a session that
//! lives for a day.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::errors::{Code, Problem};
use crate::core::command::Acks;
use crate::core::identity::Kind;
use crate::core::limits::{KEY_BYTES_MAX, TTL_MILLIS_MAX, WAIT_MILLIS_MAX};

/// How long a request waits for tokens and peers when it does not say.
pub(super) const WAIT_MILLIS_DEFAULT: u64 = 1_000;
/// How long a request waits for acknowledgements when it does not say.
pub(super) const TIMEOUT_MILLIS_DEFAULT: u64 = 5_000;
/// Keys in a page of a list when the request does not say.
pub(super) const LIMIT_DEFAULT: usize = 100;
/// Keys in a page of a list, at most.
pub(super) const LIMIT_MAX: usize = 1_000;
/// Nodes that a request may ask to acknowledge: more than any cluster has.
const ACKS_MAX: usize = 65_535;

/// A query parameter of some call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Ttl,
    Wait,
    Acks,
    Timeout,
    Siblings,
    Prefix,
    Limit,
    /// Of a list: the last key of the page before.
    AfterKey,
    /// Of a watch: the id of the last event.
    AfterCursor,
    Kind,
    Initial,
}

impl Param {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Wait => "wait",
            Self::Acks => "acks",
            Self::Timeout => "timeout",
            Self::Siblings => "siblings",
            Self::Prefix => "prefix",
            Self::Limit => "limit",
            Self::AfterKey | Self::AfterCursor => "after",
            Self::Kind => "kind",
            Self::Initial => "initial",
        }
    }

    /// What it means.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Ttl => {
                "How long the object lives on from now, in seconds. Without it: one day for a new session, \
                          no lease for a new document, the deadline as it is for what exists."
            }
            Self::Wait => {
                "How long to wait for the tokens of Sidetalk-After and for the answers of other nodes, \
                           together, in milliseconds. Default 1000."
            }
            Self::Acks => "How many nodes must have applied the write, this one among them.",
            Self::Timeout => "How long to wait for them, in milliseconds. Default 5000.",
            Self::Siblings => "Show the values that were written at once.",
            Self::Prefix => "Only keys that start with this.",
            Self::Limit => "Keys in the page. Default 100.",
            Self::AfterKey => "Go on after this key: `next` of the page before.",
            Self::AfterCursor => "Go on after this event, as Last-Event-ID does.",
            Self::Kind => "Only this kind.",
            Self::Initial => "Start with the state of all keys.",
        }
    }

    /// What it may be.
    pub(super) const fn allowed(self) -> &'static str {
        const { assert!(TTL_MILLIS_MAX == 316_224_000_000 && WAIT_MILLIS_MAX == 30_000 && KEY_BYTES_MAX == 512) };
        match self {
            Self::Ttl => "an integer from 1 to 316224000",
            Self::Wait | Self::Timeout => "an integer from 0 to 30000",
            Self::Acks => "an integer from 1 to 65535, majority, or all",
            Self::Siblings | Self::Initial => "true or false",
            Self::Prefix => "up to 512 bytes of UTF-8",
            Self::AfterKey => "1 to 512 bytes of UTF-8",
            Self::Limit => "an integer from 1 to 1000",
            Self::AfterCursor => "an event's id: 16 hexadecimal digits, a dash, digits",
            Self::Kind => "sessions, documents, counters, or sets",
        }
    }
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub ttl_millis: Option<u64>,
    pub wait_millis: Option<u64>,
    pub acks: Option<Acks>,
    pub timeout_millis: Option<u64>,
    pub siblings: bool,
    pub prefix: String,
    pub limit: Option<usize>,
    pub after: Option<String>,
    pub kind: Option<Kind>,
    pub initial: bool,
}

impl Query {
    /// Parses the text after the question mark.
    ///
    /// # Errors
    /// `unknown_query_parameter` with the list of what the call takes; `bad_query_value` with what it may be.
    pub(super) fn parse(text: Option<&str>, takes: &'static [Param]) -> Result<Self, Problem> {
        let mut query = Self::default();
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(query) };
        let mut seen = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| unknown(name, takes))?;
            let param = takes.iter().copied().find(|param| param.name() == name);
            let param = param.ok_or_else(|| unknown(&name, takes))?;
            if seen.contains(&param) {
                return Err(bad(param, value, "the parameter stands twice"));
            }
            seen.push(param);
            let decoded =
                decode(value).ok_or_else(|| bad(param, value, "the value is not percent-encoded UTF-8"))?;
            query
                .set(param, &decoded)
                .ok_or_else(|| bad(param, &decoded, "the value is not one of those allowed"))?;
        }
        if query.timeout_millis.is_some() && query.acks.is_none() {
            return Err(bad(
                Param::Timeout,
                "",
                "timeout says how long to wait for acks, and acks is missing",
            ));
        }
        Ok(query)
    }

    fn set(&mut self, param: Param, value: &str) -> Option<()> {
        match param {
            Param::Ttl => self.ttl_millis = Some(integer(value, 1, TTL_MILLIS_MAX / 1_000)? * 1_000),
            Param::Wait => self.wait_millis = Some(integer(value, 0, WAIT_MILLIS_MAX)?),
            Param::Timeout => self.timeout_millis = Some(integer(value, 0, WAIT_MILLIS_MAX)?),
            Param::Acks => self.acks = Some(acks(value)?),
            Param::Siblings => self.siblings = truth(value)?,
            Param::Initial => self.initial = truth(value)?,
            Param::Prefix if value.len() <= KEY_BYTES_MAX => value.clone_into(&mut self.prefix),
            Param::AfterKey if (1..=KEY_BYTES_MAX).contains(&value.len()) => {
                self.after = Some(value.to_owned());
            }
            Param::AfterCursor => self.after = Some(value.to_owned()),
            Param::Limit => self.limit = usize::try_from(integer(value, 1, LIMIT_MAX as u64)?).ok(),
            Param::Kind => self.kind = Some(Kind::from_plural(value)?),
            Param::Prefix | Param::AfterKey => return None,
        }
        Some(())
    }

    /// How long the request may wait for tokens and peers.
    pub(super) fn wait_millis(&self) -> u64 {
        self.wait_millis.unwrap_or(WAIT_MILLIS_DEFAULT)
    }
}

/// Digits only: no sign, no point, no exponent.
pub(super) fn integer(text: &str, least: u64, most: u64) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| (least..=most).contains(value))
}

fn acks(text: &str) -> Option<Acks> {
    match text {
        "majority" => Some(Acks::Majority),
        "all" => Some(Acks::All),
        count => Some(Acks::Count(usize::try_from(integer(count, 1, ACKS_MAX as u64)?).ok()?)),
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Decodes as forms do: `+` is a space.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}

fn unknown(name: &str, takes: &'static [Param]) -> Problem {
    let takes: Vec<Value> = takes.iter().map(|param| param.name().into()).collect();
    Problem::new(Code::UnknownQueryParameter, format!("the call takes no query parameter {name:?}"))
        .with("parameter", name)
        .with("allowed", takes)
}

/// A parameter whose value will not do.
pub(super) fn bad(param: Param, value: &str, why: &str) -> Problem {
    Problem::new(Code::BadQueryValue, why)
        .with("parameter", param.name())
        .with("value", value)
        .with("allowed", param.allowed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKES: &[Param] =
        &[Param::Ttl, Param::Wait, Param::Acks, Param::Timeout, Param::Prefix, Param::Limit];

    fn code(text: &str) -> Option<Code> {
        Query::parse(Some(text), TAKES).err().map(|problem| problem.code())
    }

    #[test]
    fn values_are_read_with_their_units() {
        let query =
            Query::parse(Some("ttl=5&wait=0&acks=all&timeout=30000&prefix=a%2Fb+c&limit=1000"), TAKES);
        let query = query.unwrap();
        assert_eq!(query.ttl_millis, Some(5_000));
        assert_eq!(query.wait_millis(), 0);
        assert_eq!(query.acks, Some(Acks::All));
        assert_eq!(query.timeout_millis, Some(30_000));
        assert_eq!(query.prefix, "a/b c");
        assert_eq!(query.limit, Some(1_000));
        assert_eq!(Query::parse(Some(""), TAKES).unwrap().wait_millis(), WAIT_MILLIS_DEFAULT);
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for text in [
            "ttl=0",
            "ttl=1.5",
            "ttl=-1",
            "ttl=%2B1",
            "ttl=",
            "ttl",
            "ttl=1e3",
            "ttl=316224001",
            "ttl=99999999999999999999999",
            "wait=30001",
            "acks=0",
            "acks=most",
            "acks=1&timeout=30001",
            "timeout=1",
            "ttl=1&ttl=1",
            "limit=0",
            "limit=1001",
            "prefix=%ff",
        ] {
            assert_eq!(code(text), Some(Code::BadQueryValue), "{text}");
        }
        assert_eq!(code(&format!("prefix={}", "x".repeat(513))), Some(Code::BadQueryValue));
    }

    #[test]
    fn unknown_parameters_are_refused() {
        for text in ["TTL=1", "tll=1", "siblings=true", "%ff=1", "=1", "ttl=1&x"] {
            assert_eq!(code(text), Some(Code::UnknownQueryParameter), "{text}");
        }
    }
}
