//! JSON as it is stored: the canonical text of single values, and the tree that a body is.
//!
//! A number is kept as it was written: a reader that goes through a double loses digits that it never had to
//! look at. Duplicate keys in one object are an error: RFC 8259 leaves them open, and two readers that disagree
//! about them are a security hole.

mod walk;

use std::fmt;

use serde::{Deserialize, Serialize, de};
use serde_json::value::RawValue;

use self::walk::Walk;

/// One JSON value as minified text. Equal strings are equal values; numbers keep their spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct JsonText(Box<str>);

impl JsonText {
    /// Parses any JSON value, objects and arrays among them, as one value.
    ///
    /// # Errors
    /// See [`BadJson`].
    pub fn parse(text: &str, depth_max: usize) -> Result<Self, BadJson> {
        let text = check_syntax(text.as_bytes())?;
        let mut out = String::with_capacity(text.len());
        Walk::new(text).value(depth_max, &mut out)?;
        Ok(Self(out.into()))
    }

    /// `null`.
    #[must_use]
    pub fn null() -> Self {
        Self("null".into())
    }

    /// A JSON string.
    #[must_use]
    pub fn string(plain: &str) -> Self {
        let mut out = Vec::with_capacity(plain.len() + 2);
        write_string(plain, &mut out);
        Self(String::from_utf8_lossy(&out).into())
    }

    /// An integer.
    #[must_use]
    pub fn integer(value: i64) -> Self {
        Self(value.to_string().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Text that was canonical when it was stored.
    pub(crate) fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// Text that a peer says is canonical: it is embedded in answers as it stands, so it must be JSON.
    pub(crate) fn checked(text: &str) -> Option<Self> {
        (is_plain(text.as_bytes()) || Self::is_json(text)).then(|| Self(text.into()))
    }

    /// Whether this text is JSON.
    pub(crate) fn is_json(text: &str) -> bool {
        check_syntax(text.as_bytes()).is_ok()
    }

    /// Whether these bytes are JSON.
    pub(crate) fn is_json_bytes(text: &[u8]) -> bool {
        text.is_ascii() && is_plain(text) || std::str::from_utf8(text).is_ok_and(Self::is_json)
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }
}

/// The value of an integer of at most 64 bits: what a counter may stand on.
#[must_use]
pub fn as_integer(json: &str) -> Option<i64> {
    // `parse` would take a leading plus, which no JSON has.
    json.parse().ok()
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// What a peer sends is embedded in answers as it stands, so it must be JSON.
impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        check_syntax(text.as_bytes()).map_err(de::Error::custom)?;
        Ok(Self::stored(text))
    }
}

/// A parsed body: objects as trees, everything else as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Anything but an object.
    Value(JsonText),
    /// An object: unique keys in byte order.
    Object(Vec<(Box<str>, Tree)>),
}

impl Tree {
    /// `{}`.
    pub const EMPTY: Self = Self::Object(Vec::new());

    /// Parses a body.
    ///
    /// # Errors
    /// See [`BadJson`].
    pub fn parse(body: &[u8], depth_max: usize) -> Result<Self, BadJson> {
        Walk::new(check_syntax(body)?).tree(depth_max)
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Value(text) if text.is_null())
    }
}

/// Why a text is no JSON that can be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadJson {
    /// Not JSON at all.
    Syntax {
        /// What the parser says, with line and column.
        message: String,
    },
    /// Two members of one object have this key.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// More levels than allowed.
    TooDeep,
}

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { message } => write!(f, "not JSON: {message}"),
            Self::DuplicateKey { key } => write!(f, "the key {key:?} stands twice in one object"),
            Self::TooDeep => f.write_str("nested too deeply"),
        }
    }
}

impl std::error::Error for BadJson {}

impl From<serde_json::Error> for BadJson {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax { message: error.to_string() }
    }
}

fn check_syntax(body: &[u8]) -> Result<&str, BadJson> {
    Ok(serde_json::from_slice::<&RawValue>(body)?.get().trim())
}

/// Whether this is JSON at first sight: digits, or a string without an escape.
fn is_plain(text: &[u8]) -> bool {
    match text {
        [b'0'..=b'9'] => true,
        [b'1'..=b'9', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        [b'"', inner @ .., b'"'] => inner.iter().all(|byte| *byte >= b' ' && !matches!(byte, b'"' | b'\\')),
        _ => false,
    }
}

fn push_string(plain: &str, out: &mut String) {
    let mut quoted = Vec::with_capacity(plain.len() + 2);
    write_string(plain, &mut quoted);
    out.push_str(&String::from_utf8_lossy(&quoted));
}

/// Appends a JSON string.
pub(crate) fn write_string(plain: &str, out: &mut Vec<u8>) {
    if plain.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(out, plain);
    } else {
        out.push(b'"');
        out.extend_from_slice(plain.as_bytes());
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<String, BadJson> {
        JsonText::parse(text, 8).map(|json| json.as_str().to_owned())
    }

    #[test]
    fn values_are_minified_and_numbers_keep_their_spelling() {
        assert_eq!(
            canonical(" [ 1 , 1.50, 123456789012345678901234567890 , \"a b\" ] ").unwrap(),
            "[1,1.50,123456789012345678901234567890,\"a b\"]"
        );
        assert_eq!(canonical(r#"{"b":1,"a":"\u0041\n"}"#).unwrap(), r#"{"a":"A\n","b":1}"#);
    }

    #[test]
    fn duplicate_keys_are_refused_at_every_level() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"k":1,"k":1}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(matches!(Tree::parse(text.as_bytes(), 8), Err(BadJson::DuplicateKey { .. })), "{text}");
        }
    }

    #[test]
    fn depth_counts_objects_and_arrays() {
        assert!(Tree::parse(br#"{"a":[1]}"#, 2).is_ok());
        assert_eq!(Tree::parse(br#"{"a":[1]}"#, 1), Err(BadJson::TooDeep));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(Tree::parse(deep.as_bytes(), 64).is_err());
    }

    #[test]
    fn each_byte_is_looked_at_a_few_times_however_deep_it_stands() {
        let (depth, long) = (500, " ".repeat(100_000));
        let arrays = format!("{}1{long}{}", "[".repeat(depth), "]".repeat(depth));
        let objects = format!("{}1{long}{}", "{\"k\":".repeat(depth), "}".repeat(depth));
        for text in [arrays, objects] {
            let bytes_max = 3 * text.len();
            let mut walk = Walk::new(&text);
            walk.value(depth, &mut String::new()).unwrap();
            assert!(walk.visited <= bytes_max, "{} bytes of {}", walk.visited, text.len());
            let mut walk = Walk::new(&text);
            walk.tree(depth).unwrap();
            assert!(walk.visited <= bytes_max, "{} bytes of {}", walk.visited, text.len());
            // What is too deep is refused where it becomes so.
            let mut walk = Walk::new(&text);
            assert_eq!(walk.tree(64), Err(BadJson::TooDeep));
            assert!(walk.visited < 2_000, "{} bytes", walk.visited);
        }
    }

    #[test]
    fn objects_within_arrays_are_sorted_and_unique() {
        let text = r#"[{"b":[{"z":1,"y":{}}],"a":"\\\"","":[]},{}]"#;
        assert_eq!(canonical(text).unwrap(), r#"[{"":[],"a":"\\\"","b":[{"y":{},"z":1}]},{}]"#);
        assert!(
            matches!(canonical(r#"[{"b":1,"a":2,"b":3}]"#), Err(BadJson::DuplicateKey { key }) if key == "b")
        );
    }

    #[test]
    fn what_is_json_at_first_sight_is_json() {
        let texts = [
            "0",
            "7",
            "10",
            "907",
            "\"\"",
            "\"a b\"",
            "\"\u{fc}/\u{7f}\"",
            "01",
            "00",
            "-1",
            "1.5",
            "\"",
            "\"a\"b\"",
        ];
        let more = ["\"\\\"", "\"\t\"", "", "1 ", "null", "[]", "{}", "1e5", "\"\\u0041\""];
        let plain = |text: &&str| is_plain(text.as_bytes());
        assert_eq!(texts.iter().chain(&more).filter(|text| plain(text)).count(), 7);
        assert!(texts.iter().chain(&more).filter(|text| plain(text)).all(|text| JsonText::is_json(text)));
    }

    #[test]
    fn rubbish_is_an_error_that_says_where() {
        for text in ["", "{", "{\"a\":}", "nul", "\"\\ud800\"", "1 2", "{\"a\":\"\\ud800\"}"] {
            assert!(matches!(Tree::parse(text.as_bytes(), 8), Err(BadJson::Syntax { .. })), "{text}");
        }
    }
}
