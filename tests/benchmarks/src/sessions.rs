//! The sessions that everything is measured with.

use serde_json::{Value, json};

/// A session as express-session writes one, 282 bytes.
pub(crate) const SESSION: &str = r#"{"cookie":{"originalMaxAge":86400000,"expires":"2026-11-24T06:05:42.000Z","secure":true,"httpOnly":true,"path":"/","sameSite":"lax"},"user":{"id":184467,"name":"Ada King","email":"ada@example.org","roles":["admin","editor"]},"cart":[{"sku":"A-1","n":2}],"views":7,"csrf":"9f8e7d6c"}"#;

/// A session that holds next to nothing, 100 bytes.
const TINY: &str =
    r#"{"cookie":{"originalMaxAge":86400000,"httpOnly":true},"user":{"id":184467},"csrf":"9f8e7d6c0a1b2c3"}"#;

/// How large a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// 100 bytes.
    Tiny,
    /// 282 bytes.
    Small,
    /// 4 KiB: as the small one, and a basket of forty things.
    Large,
}

impl Size {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tiny => "100 B",
            Self::Small => "300 B",
            Self::Large => "4 KiB",
        }
    }

    /// Tells one size's keys from the other's.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "sess",
            Self::Large => "large",
        }
    }

    /// The session's JSON.
    pub(crate) fn json(self) -> String {
        match self {
            Self::Tiny => return TINY.to_owned(),
            Self::Small => return SESSION.to_owned(),
            Self::Large => {}
        }
        let mut session: Value = serde_json::from_str(SESSION).expect("JSON");
        let thing = |n| json!({ "sku": format!("B-{n:04}"), "title": "a thing that somebody put into the basket for later", "n": n });
        session["basket"] = (0..40).map(thing).collect();
        session.to_string()
    }
}

/// An id of 33 bytes.
pub(crate) fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}:{number:0width$}", width = 32 - prefix.len())
}
