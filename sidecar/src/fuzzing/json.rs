//! Trees, and what a merge patch makes of them.

use serde_json::Value;

use super::messages::{linked, now};
use crate::core::command::{Change, Lookup, Write};
use crate::core::identity::{Kind, ObjectId};
use crate::core::limits::DEPTH_MAX;
use crate::core::value::{BadJson, JsonText, Tree};

/// Two texts, with a byte `1e` between them.
///
/// A text is taken exactly if it is JSON within the bounds; what is canonical stays as it is and means the same; a document
/// that the second one patches reads as RFC 7396 says.
pub(super) fn json(data: &[u8]) {
    let mut texts = data.splitn(2, |byte| *byte == 0x1e);
    let first = texts.next().unwrap_or_default();
    let Some(first) = checked(first) else { return };
    let Some(second) = texts.next().and_then(checked) else { return };
    let (Tree::Object(_), Tree::Object(_)) = (&first.0, &second.0) else { return };
    let document = ObjectId::new(Kind::Document, "d");
    let mut node = linked();
    let write = |change| Write::new(document.clone(), change);
    if node.write(now(1), &write(Change::Put(first.0))).is_err() {
        return;
    }
    assert_eq!(content(node.look_up(now(1), &document)), Some(first.1.clone()));
    if node.write(now(2), &write(Change::MergePatch(second.0))).is_err() {
        return;
    }
    let mut patched = first.1;
    merge(&mut patched, second.1);
    assert_eq!(content(node.look_up(now(2), &document)), Some(patched));
}

/// The tree, and the same as another parser reads it.
fn checked(text: &[u8]) -> Option<(Tree, Value)> {
    let tree = Tree::parse(text, DEPTH_MAX);
    let value = serde_json::from_slice::<Value>(text);
    let tree = match (tree, &value) {
        (Ok(tree), Ok(_)) => tree,
        // The other parser reads numbers as doubles; one of 1e400 is kept as it was written.
        (Ok(tree), Err(error)) => {
            assert!(error.to_string().contains("number out of range"), "taken, and {error}");
            drop(tree);
            return None;
        }
        (Err(BadJson::Syntax { message }), Ok(_)) => panic!("refused: {message}"),
        (Err(_), _) => return None,
    };
    let canonical = JsonText::parse(std::str::from_utf8(text).ok()?, DEPTH_MAX).expect("it was a tree");
    let again = JsonText::parse(canonical.as_str(), DEPTH_MAX).expect("it is JSON");
    assert_eq!(again, canonical);
    let value = value.ok()?;
    assert_eq!(serde_json::from_str::<Value>(canonical.as_str()).expect("it is JSON"), value);
    Some((tree, value))
}

fn content(lookup: Lookup) -> Option<Value> {
    match lookup {
        Lookup::Found(view) => Some(serde_json::from_slice(&view.body).expect("a body is JSON")),
        _ => None,
    }
}

/// RFC 7396, as it is written there.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}
