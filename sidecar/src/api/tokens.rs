//! What a client must show: a bearer token (RFC 6750), compared in constant time.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq as _;

use super::errors::{Code, Problem};
use super::guard::is_probe;
use crate::keyring::read_secret;

/// Bytes of a token: shorter ones can be guessed, longer ones are no tokens.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// Tokens in one file, at most.
const TOKENS_MAX: usize = 8;

/// The tokens that are accepted; they may change while the API runs.
#[derive(Clone)]
pub struct ApiTokens(Arc<ArcSwap<Vec<Box<[u8]>>>>);

impl ApiTokens {
    /// Reads a file of tokens, one a line, all of them accepted. `#` begins a comment.
    ///
    /// # Errors
    /// It cannot be read, others than its owner can read it, or a line is no token. Tells nothing of what it holds.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::parse(&read_secret(path).map_err(|error| error.to_string())?)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<Box<[u8]>> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !TOKEN_BYTES.contains(&line.len()) || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!(
                    "line {number} must hold 16 to 512 visible ASCII characters without a space"
                ));
            }
            tokens.push(line.as_bytes().into());
        }
        match tokens.len() {
            0 => Err("holds no token; `sidetalk keygen FILE` writes one".to_owned()),
            1..=TOKENS_MAX => Ok(Self(Arc::new(ArcSwap::from_pointee(tokens)))),
            many => Err(format!("holds {many} tokens; at most {TOKENS_MAX} are accepted at a time")),
        }
    }

    /// From now on it is these tokens.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// Whether both accept the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        **self.0.load() == **other.0.load()
    }

    /// Refuses a request that shows none of the tokens. Its length is no secret, its bytes are.
    ///
    /// # Errors
    /// `unauthorized`.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Problem> {
        match shown(&request.headers) {
            Some(shown) if self.accepts(shown) => Ok(()),
            _ if is_probe(request) => Ok(()),
            Some(_) => Err(unauthorized("the token is none that this node accepts", true)),
            None => Err(unauthorized("there is no bearer token", false)),
        }
    }

    /// Whether the value of a header `Authorization` shows one of the tokens.
    pub(super) fn accept(&self, authorization: &[u8]) -> bool {
        shown_in(authorization).is_some_and(|shown| self.accepts(shown))
    }

    fn accepts(&self, shown: &[u8]) -> bool {
        let tokens = self.0.load();
        // All of them: which one it was takes no other time than that none was.
        tokens.iter().fold(false, |found, token| found | bool::from(token.ct_eq(shown)))
    }
}

impl fmt::Debug for ApiTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiTokens(..)")
    }
}

impl PartialEq for ApiTokens {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    shown_in(headers.get(AUTHORIZATION)?.as_bytes())
}

fn shown_in(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn unauthorized(detail: &str, wrong: bool) -> Problem {
    let challenge = if wrong {
        "Bearer realm=\"sidetalk\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"sidetalk\""
    };
    Problem::new(Code::Unauthorized, detail).header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "a-token-of-24-characters";
    const TWO: &str = "another-token-of-its-own";

    fn outcome(tokens: &ApiTokens, path: &str, header: Option<&str>) -> Option<Code> {
        let mut request = http::Request::builder().uri(path);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        tokens.check(&request.body(()).unwrap().into_parts().0).err().map(|problem| problem.code())
    }

    #[test]
    fn each_token_of_the_file_is_accepted_and_nothing_else() {
        let tokens = ApiTokens::parse(&format!("# old\n{ONE}\n{TWO}\n")).unwrap();
        for good in [format!("Bearer {ONE}"), format!("bearer {TWO}"), format!("BEARER  {ONE} ")] {
            assert_eq!(outcome(&tokens, "/v1/sessions/s", Some(&good)), None, "{good}");
        }
        let long = format!("Bearer {ONE}x");
        for bad in
            [None, Some(""), Some("Bearer "), Some(&long[..30]), Some(&*long), Some(ONE), Some("Basic abc")]
        {
            assert_eq!(outcome(&tokens, "/v1/sessions/s", bad), Some(Code::Unauthorized), "{bad:?}");
            assert_eq!(outcome(&tokens, "/livez", bad), None);
        }
        assert!(!format!("{tokens:?}").contains(ONE));
        tokens.replace(&ApiTokens::parse(TWO).unwrap());
        assert_eq!(outcome(&tokens, "/metrics", Some(&format!("Bearer {ONE}"))), Some(Code::Unauthorized));
    }

    #[test]
    fn what_can_be_guessed_is_no_token() {
        for bad in ["", "short", "has a space in the middle", "sixteen-but-\u{e9}-wide"] {
            assert!(ApiTokens::parse(bad).is_err(), "{bad}");
        }
        assert!(ApiTokens::parse(&format!("{ONE}\n").repeat(9)).is_err());
    }
}
