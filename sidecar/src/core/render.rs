//! The short way from records to JSON: one pass, for an object in which nothing competes.
//!
//! Records come in key order, so the tree can be written as they come. The first sign of siblings, counters or sets
//! sends the reader the long way round (`read`), which gives the same text for what this can do.

use super::object::Life;
use super::path::unescape;
use super::record::{Body, Record, segment_at};
use super::value::write_string;

/// Appends the JSON of a life's tree. `false` when something competes in it: nothing is appended then.
pub(crate) fn render_plain(life: &Life<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut writer = Writer { out, open: Vec::new(), last: &[], last_is_object: true, empty: true };
    writer.out.push(b'{');
    let plain = life.records.iter(life.origin()).all(|record| writer.write(&record).is_some());
    if !plain {
        out.truncate(start);
        return false;
    }
    while writer.open.pop().is_some() {
        writer.out.push(b'}');
    }
    writer.out.push(b'}');
    true
}

/// Appends an object key, from its escaped bytes.
pub(crate) fn write_name(escaped: &[u8], out: &mut Vec<u8>) {
    if escaped.iter().all(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(escaped);
        out.push(b'"');
    } else {
        write_string(&unescape(escaped).unwrap_or_default(), out);
    }
}

/// Appends the object key that starts at byte `at` of an encoded path. Gives where the next level starts.
fn write_name_at(path: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let name = path.get(at + 1..)?;
    let plain = name.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    if name[plain..].starts_with(&[0, 0]) {
        // One pass finds the end, and that nothing needs an escape: nearly every key is like that.
        out.push(b'"');
        out.extend_from_slice(&name[..plain]);
        out.push(b'"');
        return Some(at + 1 + plain + 2);
    }
    let (name, end) = segment_at(path, at)?;
    write_name(name, out);
    Some(end)
}

struct Writer<'a, 'o> {
    out: &'o mut Vec<u8>,
    /// How many bytes of `last` name each open object, the root left out.
    open: Vec<usize>,
    /// The path written last.
    last: &'a [u8],
    /// What stands there is an open object.
    last_is_object: bool,
    /// Nothing stands in the innermost open object yet.
    empty: bool,
}

impl<'a> Writer<'a, '_> {
    /// `None` where this record competes with another.
    fn write(&mut self, record: &Record<'a>) -> Option<()> {
        let path: &'a [u8] = &record.key[..record.path_len];
        if path.is_empty() {
            // The marker of an unleased document's root.
            return (record.body == Body::Marker).then_some(());
        }
        if path == self.last || !self.last_is_object && path.starts_with(self.last) {
            return None;
        }
        while self.open.last().is_some_and(|&len| !path.starts_with(&self.last[..len])) {
            self.open.pop();
            self.out.push(b'}');
            self.empty = false;
        }
        let mut at = self.open.last().copied().unwrap_or(0);
        self.last = path;
        loop {
            if !self.empty {
                self.out.push(b',');
            }
            let end = write_name_at(path, at, self.out)?;
            self.out.push(b':');
            if end == path.len() {
                break;
            }
            self.enter(end);
            at = end;
        }
        match record.body {
            Body::Register(text) => {
                self.out.extend_from_slice(text.bytes());
                self.empty = false;
                self.last_is_object = false;
            }
            Body::Marker => self.enter(path.len()),
            Body::Member(_) | Body::Accumulator(_) => return None,
        }
        Some(())
    }

    fn enter(&mut self, path_len: usize) {
        self.out.push(b'{');
        self.open.push(path_len);
        self.empty = true;
        self.last_is_object = true;
    }
}
