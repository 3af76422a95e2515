//! What users store, as JSON and back. A field holds the number of the write it came from, and padding.

use std::fmt::Write as _;

use serde_json::Value;
use sidetalk::core::command::{Change, PathOp};
use sidetalk::core::identity::Kind;
use sidetalk::core::path::Path;
use sidetalk::core::value::{JsonText, Tree};

use crate::system::{Content, Edit, Field, WriteId};

/// The value of a field: `"17 xxxx"`.
fn value(write: WriteId, bytes: usize) -> Tree {
    let mut text = String::with_capacity(bytes.max(20));
    let _ = write!(text, "{write} ");
    while text.len() < bytes {
        text.push('x');
    }
    Tree::Value(JsonText::string(&text))
}

fn path_of(field: &str) -> Path {
    Path::of(field.split('/'))
}

/// A tree with these members, nested ones in objects of their own.
pub(super) fn tree(fields: impl IntoIterator<Item = (Field, Tree)>) -> Tree {
    let mut root: Vec<(Box<str>, Tree)> = Vec::new();
    for (field, leaf) in fields {
        match field.split_once('/') {
            None => root.push((field, leaf)),
            Some((outer, inner)) => {
                let at = root.iter().position(|(key, _)| **key == *outer).unwrap_or_else(|| {
                    root.push((outer.into(), Tree::EMPTY));
                    root.len() - 1
                });
                if let Tree::Object(members) = &mut root[at].1 {
                    members.push((inner.into(), leaf));
                    members.sort_by(|a, b| a.0.cmp(&b.0));
                }
            }
        }
    }
    root.sort_by(|a, b| a.0.cmp(&b.0));
    Tree::Object(root)
}

/// A new session's content.
pub(super) fn created(fields: Vec<(Field, WriteId)>, bytes: usize) -> Tree {
    tree(fields.into_iter().map(|(field, write)| (field, value(write, bytes))))
}

/// A merge patch where it can say it, path operations where it cannot.
pub(super) fn change(edits: Vec<Edit>, bytes: usize) -> Change {
    if edits.iter().any(|edit| matches!(edit, Edit::Count(..))) {
        return Change::Ops(edits.into_iter().map(|edit| path_op(edit, bytes)).collect());
    }
    let members = edits.into_iter().filter_map(|edit| match edit {
        Edit::Set(field, write) => Some((field, value(write, bytes))),
        Edit::Unset(field) => Some((field, Tree::Value(JsonText::null()))),
        Edit::Count(..) => None,
    });
    Change::MergePatch(tree(members))
}

fn path_op(edit: Edit, bytes: usize) -> PathOp {
    match edit {
        Edit::Set(field, write) => PathOp::Set { path: path_of(&field), value: value(write, bytes) },
        Edit::Unset(field) => PathOp::Unset { path: path_of(&field) },
        Edit::Count(field, by) => PathOp::Increment { path: path_of(&field), by },
    }
}

/// What a body holds.
pub(super) fn parse(kind: Kind, body: &[u8]) -> Content {
    let mut content = Content::default();
    match (kind, serde_json::from_slice::<Value>(body)) {
        (Kind::Counter, Ok(Value::Number(number))) => content.value = number.as_i64().unwrap_or(i64::MAX),
        (Kind::Set, Ok(Value::Array(members))) => {
            content.members = members.iter().filter_map(Value::as_str).map(Box::from).collect();
        }
        (Kind::Session | Kind::Document, Ok(Value::Object(members))) => {
            for (key, member) in members {
                collect(&key, &member, &mut content);
            }
        }
        _ => {}
    }
    content
}

fn collect(field: &str, value: &Value, content: &mut Content) {
    match value {
        Value::String(text) => {
            let write = text.split(' ').next().and_then(|number| number.parse().ok());
            content.fields.insert(field.into(), write.unwrap_or_default());
        }
        Value::Number(number) => {
            content.counts.insert(field.into(), number.as_i64().unwrap_or(i64::MAX));
        }
        Value::Object(members) => {
            for (key, member) in members {
                collect(&format!("{field}/{key}"), member, content);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let fields: Vec<(Field, WriteId)> =
            vec![("page".into(), 3), ("cart/p2".into(), 4), ("cart/p1".into(), 5)];
        let Tree::Object(members) = created(fields, 10) else { panic!("no object") };
        assert_eq!(members.len(), 2);
        let body = br#"{"cart":{"p1":"5 xxxxxxx","p2":"4 xxxxxxx"},"page":"3 xxxxxxx","views":7}"#;
        let content = parse(Kind::Session, body);
        let fields: Vec<(&str, WriteId)> = content.fields.iter().map(|(key, id)| (&**key, *id)).collect();
        assert_eq!(fields, [("cart/p1", 5), ("cart/p2", 4), ("page", 3)]);
        assert_eq!(content.counts.get("views"), Some(&7));
    }
}
