//! The request's headers that say something about an object, parsed once and in one pass.

use http::HeaderMap;
use http::header::HeaderName;

use super::dispatch::Api;
use super::errors::{Code, Problem};
use crate::core::command::{EntityTag, Precondition, life_from_text};
use crate::core::identity::LifeId;
use crate::core::limits::TOKENS_MAX;
use crate::core::time::Hlc;
use crate::core::token::Token;

pub(super) const TOKEN: HeaderName = HeaderName::from_static("sidetalk-token");
pub(super) const BEHIND: HeaderName = HeaderName::from_static("sidetalk-behind");
pub(super) const LIFE: HeaderName = HeaderName::from_static("sidetalk-life");
pub(super) const EXPIRES_IN: HeaderName = HeaderName::from_static("sidetalk-expires-in");
pub(super) const ACKS: HeaderName = HeaderName::from_static("sidetalk-acks");
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request says about the object it names.
#[derive(Debug, Default)]
pub(super) struct ObjectHeaders {
    /// What the client has seen.
    pub after: Vec<Token>,
    /// The life the request is for.
    pub life: Option<LifeId>,
    /// A body is not wanted.
    pub minimal: bool,
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// An operand of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<EntityTag>),
}

impl ObjectHeaders {
    /// Reads the headers.
    ///
    /// # Errors
    /// `bad_token`, `bad_life`, `bad_precondition`.
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        Self::of(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    }

    /// Reads headers whose names are in lower case.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(super) fn of<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        for (name, value) in headers {
            match name {
                "sidetalk-after" => take_tokens(value, &mut parsed.after)?,
                "sidetalk-life" => parsed.life = Some(life(value)?),
                "if-match" => take_tags(value, &mut parsed.if_match, Comparison::Strong)?,
                "if-none-match" => take_tags(value, &mut parsed.if_none_match, Comparison::Weak)?,
                "prefer" => parsed.minimal |= prefers_minimal(value),
                _ => {}
            }
        }
        if parsed.if_match.is_some() && parsed.if_none_match.is_some() {
            return Err(Problem::new(Code::BadPrecondition, "both If-Match and If-None-Match are there"));
        }
        Ok(parsed)
    }

    /// A body is not wanted, nor anything that takes one: there are no conditions.
    pub(super) fn want_no_body(&self) -> bool {
        self.minimal && self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// The node has seen all that the caller has.
    pub(super) fn are_seen(&self, api: &Api) -> bool {
        self.after.is_empty() || api.port.seen(&self.after)
    }

    /// What a write must find.
    pub(super) fn precondition(&self) -> Precondition {
        match (self.if_match.clone(), self.if_none_match.clone()) {
            (Some(Tags::Any), _) => Precondition::Live,
            (Some(Tags::These(tags)), _) => Precondition::Matches(tags),
            (None, Some(Tags::Any)) => Precondition::Absent,
            (None, Some(Tags::These(tags))) => Precondition::Differs(tags),
            (None, None) => Precondition::None,
        }
    }

    /// How a read of an object with this tag goes on.
    pub(super) fn condition(&self, tag: EntityTag) -> Condition {
        let names = |tags: &Tags| match tags {
            Tags::Any => true,
            Tags::These(tags) => tags.contains(&tag),
        };
        if self.if_match.as_ref().is_some_and(|tags| !names(tags)) {
            Condition::Failed
        } else if self.if_none_match.as_ref().is_some_and(names) {
            Condition::NotModified
        } else {
            Condition::Holds
        }
    }

    /// The latest hybrid time among what the client has seen.
    pub(super) fn after_hlc(&self) -> Option<Hlc> {
        self.after.iter().map(|token| token.hlc).max()
    }
}

/// How the conditions of a read turn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Holds,
    NotModified,
    Failed,
}

/// A header's value as text; `None` where it has more than visible ASCII, as `HeaderValue::to_str` has it.
fn text_of(value: &[u8]) -> Option<&str> {
    let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    value.iter().all(visible).then(|| std::str::from_utf8(value).ok()).flatten()
}

fn take_tokens(value: &[u8], tokens: &mut Vec<Token>) -> Result<(), Problem> {
    let bad = |what: &str| Problem::new(Code::BadToken, what);
    let text = text_of(value).ok_or_else(|| bad("the header is not ASCII"))?;
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if tokens.len() == TOKENS_MAX {
            return Err(bad("there are too many tokens"));
        }
        let token = word.parse().map_err(|_| bad("this is no token").with("token", word))?;
        tokens.push(token);
    }
    if tokens.is_empty() { Err(bad("the header is empty")) } else { Ok(()) }
}

fn life(value: &[u8]) -> Result<LifeId, Problem> {
    text_of(value)
        .and_then(life_from_text)
        .ok_or_else(|| Problem::new(Code::BadLife, "the header's value names no life"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// A weak tag never matches.
    Strong,
    /// A weak tag stands for the strong one.
    Weak,
}

fn take_tags(value: &[u8], tags: &mut Option<Tags>, comparison: Comparison) -> Result<(), Problem> {
    let bad = || Problem::new(Code::BadPrecondition, "the header holds no list of entity tags");
    let text = text_of(value).ok_or_else(bad)?.trim();
    if text == "*" {
        if tags.is_some() {
            return Err(bad());
        }
        *tags = Some(Tags::Any);
        return Ok(());
    }
    let Tags::These(list) = tags.get_or_insert_with(|| Tags::These(Vec::new())) else { return Err(bad()) };
    let mut words = 0;
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        words += 1;
        let (weak, quoted) = match word.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, word),
        };
        let opaque = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(bad)?;
        // A tag that this node cannot have given matches nothing, and is no error.
        if let Some(tag) = tag_from_text(opaque).filter(|_| !weak || comparison == Comparison::Weak) {
            list.push(tag);
        }
    }
    if words == 0 { Err(bad()) } else { Ok(()) }
}

fn tag_from_text(text: &str) -> Option<EntityTag> {
    let right = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    right.then(|| u64::from_str_radix(text, 16).ok().map(EntityTag)).flatten()
}

/// Whether a header `Prefer` says that a body is not wanted.
pub(super) fn prefers_minimal(value: &[u8]) -> bool {
    // As nearly everyone writes it.
    if value == b"return=minimal" {
        return true;
    }
    let Some(text) = text_of(value) else { return false };
    text.split(',').any(|word| {
        let word = word.split(';').next().unwrap_or(word).trim();
        word.eq_ignore_ascii_case("return=minimal")
    })
}

/// The content type without its parameters, in lower case; `None` without the header.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(http::header::CONTENT_TYPE)?;
    let text = value.to_str().unwrap_or("?");
    Some(text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[(&'static str, &str)]) -> Result<ObjectHeaders, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        ObjectHeaders::parse(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn conditions_follow_rfc_9110() {
        let tag = EntityTag(0xab);
        let is = |lines| parse(lines).unwrap().condition(tag);
        assert_eq!(is(&[]), Condition::Holds);
        assert_eq!(is(&[("if-match", "*")]), Condition::Holds);
        assert_eq!(is(&[("if-match", "\"00000000000000ab\"")]), Condition::Holds);
        assert_eq!(is(&[("if-match", "W/\"00000000000000ab\"")]), Condition::Failed);
        assert_eq!(is(&[("if-match", "\"of-another-server\"")]), Condition::Failed);
        assert_eq!(is(&[("if-none-match", "W/\"00000000000000ab\"")]), Condition::NotModified);
        assert_eq!(is(&[("if-none-match", "\"0\", \"00000000000000ab\"")]), Condition::NotModified);
        assert_eq!(
            is(&[("if-none-match", "\"1\""), ("if-none-match", "\"00000000000000ab\"")]),
            Condition::NotModified
        );
        assert_eq!(is(&[("if-none-match", "*")]), Condition::NotModified);
        assert_eq!(is(&[("if-none-match", "\"00000000000000AB\"")]), Condition::Holds);
    }

    #[test]
    fn conditions_that_cannot_be_understood_are_refused() {
        for value in ["", "abc", "\"", "\"a", "*, \"a\"", ","] {
            assert_eq!(parse(&[("if-match", value)]).unwrap_err(), Code::BadPrecondition, "{value}");
        }
        let both = [("if-match", "*"), ("if-none-match", "*")];
        assert_eq!(parse(&both).unwrap_err(), Code::BadPrecondition);
    }

    #[test]
    fn a_write_is_told_its_condition() {
        let of = |lines| parse(lines).unwrap().precondition();
        assert_eq!(of(&[]), Precondition::None);
        assert_eq!(of(&[("if-match", "*")]), Precondition::Live);
        assert_eq!(of(&[("if-none-match", "*")]), Precondition::Absent);
        assert_eq!(of(&[("if-match", "\"000000000000000f\"")]), Precondition::Matches(vec![EntityTag(15)]));
        assert_eq!(of(&[("if-none-match", "\"x\"")]), Precondition::Differs(vec![]));
    }

    #[test]
    fn preferences_are_found_among_others() {
        assert!(parse(&[("prefer", "respond-async, return=minimal; x=1")]).unwrap().minimal);
        assert!(!parse(&[("prefer", "return=representation")]).unwrap().minimal);
    }
}
