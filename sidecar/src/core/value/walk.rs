//! One pass over JSON text whose syntax is known to be right.
//!
//! Each byte is looked at a fixed number of times, however deep it stands: a body that is a megabyte of brackets costs no
//! more than one that is a megabyte of text.

use std::borrow::Cow;
use std::ops::Range;

use super::{BadJson, JsonText, Tree, push_string};

/// A place in the text.
pub(super) struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// Bytes looked at so far.
    #[cfg(test)]
    pub(super) visited: usize,
}

impl<'a> Walk<'a> {
    /// The beginning of a text without white space around it.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            #[cfg(test)]
            visited: 0,
        }
    }

    /// Takes a value as a tree.
    pub(super) fn tree(&mut self, depth_left: usize) -> Result<Tree, BadJson> {
        if self.peek() != b'{' {
            if let Some(text) = self.plain() {
                return Ok(Tree::Value(JsonText(text.into())));
            }
            let mut text = String::new();
            self.value(depth_left, &mut text)?;
            return Ok(Tree::Value(JsonText(text.into())));
        }
        let below = depth_left.checked_sub(1).ok_or(BadJson::TooDeep)?;
        let mut members: Vec<(Box<str>, Tree)> = Vec::new();
        self.go(1);
        while self.peek() != b'}' {
            let key = self.key()?;
            members.push((Box::from(key), self.tree(below)?));
            self.comma();
        }
        self.go(1);
        members.sort_by(|a, b| a.0.cmp(&b.0));
        check_unique(&members)?;
        Ok(Tree::Object(members))
    }

    /// Takes a value that is its own minified form: a number, a word, or a string without an escape. Has been peeked at.
    fn plain(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let len = match rest.as_bytes().first()? {
            b'[' => return None,
            b'"' => string_len(rest.as_bytes()),
            _ => plain_len(rest.as_bytes()),
        };
        let token = rest.get(..len).filter(|token| !token.is_empty() && !token.contains('\\'))?;
        self.go(len);
        Some(token)
    }

    /// Takes a value and appends its minified form.
    pub(super) fn value(&mut self, depth_left: usize, out: &mut String) -> Result<(), BadJson> {
        match self.peek() {
            b'{' => self.object(depth_left.checked_sub(1).ok_or(BadJson::TooDeep)?, out),
            b'[' => self.array(depth_left.checked_sub(1).ok_or(BadJson::TooDeep)?, out),
            b'"' => {
                let string = self.token(string_len);
                match string.contains('\\') {
                    true => push_string(&unescaped(string)?, out),
                    false => out.push_str(string),
                }
                Ok(())
            }
            _ => {
                let plain = self.token(plain_len);
                out.push_str(plain);
                if plain.is_empty() { Err(unexpected()) } else { Ok(()) }
            }
        }
    }

    fn object(&mut self, below: usize, out: &mut String) -> Result<(), BadJson> {
        self.go(1);
        out.push('{');
        let start = out.len();
        let mut members: Vec<(Cow<'a, str>, Range<usize>)> = Vec::new();
        while self.peek() != b'}' {
            if !members.is_empty() {
                out.push(',');
            }
            let (from, key) = (out.len(), self.key()?);
            push_string(&key, out);
            out.push(':');
            self.value(below, out)?;
            members.push((key, from..out.len()));
            self.comma();
        }
        self.go(1);
        if !members.is_sorted_by(|a, b| a.0 < b.0) {
            members.sort_by(|a, b| a.0.cmp(&b.0));
            check_unique(&members)?;
            let sorted: Vec<&str> = members.iter().map(|(_, at)| &out[at.clone()]).collect();
            let sorted = sorted.join(",");
            out.truncate(start);
            out.push_str(&sorted);
        }
        out.push('}');
        Ok(())
    }

    fn array(&mut self, below: usize, out: &mut String) -> Result<(), BadJson> {
        self.go(1);
        out.push('[');
        let start = out.len();
        while self.peek() != b']' {
            if out.len() > start {
                out.push(',');
            }
            self.value(below, out)?;
            self.comma();
        }
        self.go(1);
        out.push(']');
        Ok(())
    }

    /// Takes a key and its colon.
    fn key(&mut self) -> Result<Cow<'a, str>, BadJson> {
        if self.peek() != b'"' {
            return Err(unexpected());
        }
        let key = unescaped(self.token(string_len))?;
        if self.peek() == b':' {
            self.go(1);
        }
        Ok(key)
    }

    fn comma(&mut self) {
        if self.peek() == b',' {
            self.go(1);
        }
    }

    /// The next byte that is no white space; 0 at the end.
    fn peek(&mut self) -> u8 {
        let rest = &self.text.as_bytes()[self.at..];
        let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.go(space);
        rest.get(space).copied().unwrap_or(0)
    }

    fn token(&mut self, len: impl Fn(&[u8]) -> usize) -> &'a str {
        let rest = &self.text[self.at..];
        let token = &rest[..len(rest.as_bytes())];
        self.go(token.len());
        token
    }

    fn go(&mut self, bytes: usize) {
        self.at += bytes;
        #[cfg(test)]
        {
            self.visited += bytes + 1;
        }
    }
}

/// Bytes of the string that begins here, its quotes among them.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Bytes of the number or the word that begins here.
fn plain_len(bytes: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
    bytes.iter().position(ends).unwrap_or(bytes.len())
}

fn unescaped(quoted: &str) -> Result<Cow<'_, str>, BadJson> {
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        _ => Ok(Cow::Owned(serde_json::from_str(quoted)?)),
    }
}

fn check_unique<K: AsRef<str>, T>(sorted: &[(K, T)]) -> Result<(), BadJson> {
    match sorted.windows(2).find(|pair| pair[0].0.as_ref() == pair[1].0.as_ref()) {
        Some(pair) => Err(BadJson::DuplicateKey { key: pair[0].0.as_ref().to_owned() }),
        None => Ok(()),
    }
}

/// The syntax was looked at before.
fn unexpected() -> BadJson {
    BadJson::Syntax { message: "unexpected".to_owned() }
}
