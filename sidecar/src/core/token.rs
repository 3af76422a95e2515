//! Tokens: the dots a client must not see the past of, and the hybrid time of what it saw.
//!
//! A write's token is its one dot. A read's token is the shard's frontier, since a removal leaves nothing to
//! name (semantics finding 30). The time makes the client's next write later than its last, whatever the clocks
//! of the two nodes say (finding 28). A token names no address and fits a cookie.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use smallvec::SmallVec;

use super::identity::{Dot, ReplicaId, ShardId};
use super::limits::TOKEN_DOTS_MAX;
use super::time::Hlc;

/// What a client has seen of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The shard.
    pub shard: ShardId,
    /// The hybrid time a later write of this client must exceed.
    pub hlc: Hlc,
    /// Maximal dots: whoever has applied these has applied all that the client saw.
    pub dots: Vec<Dot>,
}

/// The text is not a token of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedToken;

const VERSION: u8 = 1;

/// Tokens of one or two dots are no longer.
const SHORT_BYTES: usize = 48;

impl Token {
    /// Appends its text.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        // Every answer carries one, and nearly all are short.
        let mut bytes: SmallVec<[u8; SHORT_BYTES]> = SmallVec::with_capacity(10 + self.dots.len() * 18);
        bytes.extend_from_slice(&[VERSION, self.shard.0]);
        bytes.extend_from_slice(&self.hlc.0.to_le_bytes());
        for dot in &self.dots {
            bytes.extend_from_slice(&dot.actor.0.to_le_bytes());
            let mut rest = dot.counter;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        // There is room for all of it.
        let len = BASE64.encode_slice(&bytes, &mut out[start..]).unwrap_or(0);
        out.truncate(start + len);
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.push_to(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl FromStr for Token {
    type Err = MalformedToken;

    fn from_str(text: &str) -> Result<Self, MalformedToken> {
        let bytes = BASE64.decode(text).map_err(|_| MalformedToken)?;
        let mut rest = bytes.as_slice();
        let [version, shard] = take(&mut rest)?;
        if version != VERSION {
            return Err(MalformedToken);
        }
        let hlc = Hlc(u64::from_le_bytes(take(&mut rest)?));
        let mut dots = Vec::new();
        while !rest.is_empty() {
            if dots.len() == TOKEN_DOTS_MAX {
                return Err(MalformedToken);
            }
            let actor = ReplicaId(u64::from_le_bytes(take(&mut rest)?));
            dots.push(Dot { actor, counter: take_varint(&mut rest)? });
        }
        Ok(Self { shard: ShardId(shard), hlc, dots })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], MalformedToken> {
    let (head, tail) = rest.split_first_chunk().ok_or(MalformedToken)?;
    *rest = tail;
    Ok(*head)
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, MalformedToken> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let [byte] = take(rest)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(MalformedToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        for dots in
            [vec![], vec![Dot::new(ReplicaId(7), 1)], vec![Dot::new(ReplicaId(u64::MAX), u64::MAX >> 1); 5]]
        {
            let token = Token { shard: ShardId(200), hlc: Hlc(0x0123_4567_89ab_cdef), dots };
            assert_eq!(token.to_string().parse(), Ok(token));
        }
    }

    #[test]
    fn a_writes_token_is_short() {
        let token = Token {
            shard: ShardId(1),
            hlc: Hlc(u64::MAX),
            dots: vec![Dot::new(ReplicaId(u64::MAX), 1 << 20)],
        };
        assert!(token.to_string().len() <= 30, "{token}");
    }

    #[test]
    fn rubbish_is_refused() {
        for text in ["", "A", "AAAA", "!!!!", "AgAAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAA", "é"] {
            assert_eq!(text.parse::<Token>(), Err(MalformedToken), "{text}");
        }
        assert_eq!("AQ".repeat(100_000).parse::<Token>(), Err(MalformedToken));
    }
}
