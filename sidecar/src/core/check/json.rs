//! JSON as its standards have it, for comparison: RFC 7396 word for word, and path operations in plain values.

use serde_json::{Map, Value};

use crate::core::path::Path;
use crate::core::value::{JsonText, Tree};

/// RFC 7396, section 2. `None` stands for a target that does not exist.
#[must_use]
pub fn merge_patch(target: Option<Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let old = target.remove(name);
            target.insert(name.clone(), merge_patch(old, value));
        }
    }
    Value::Object(target)
}

/// A body as a plain value.
#[must_use]
pub fn value_of(tree: &Tree) -> Value {
    match tree {
        Tree::Value(text) => value_of_text(text),
        Tree::Object(members) => {
            members.iter().map(|(name, member)| (name.to_string(), value_of(member))).collect()
        }
    }
}

/// A stored value as a plain one.
#[must_use]
pub fn value_of_text(text: &JsonText) -> Value {
    serde_json::from_str(text.as_str()).unwrap_or(Value::Null)
}

/// What stands at a path.
#[must_use]
pub fn get<'a>(root: &'a Value, path: &Path) -> Option<&'a Value> {
    path.segments().try_fold(root, |at, name| at.as_object()?.get(&*name))
}

/// Puts a value at a path; whatever stands above it becomes an object.
pub fn set(root: &mut Value, path: &Path, value: Value) {
    let mut at = root;
    for name in path.segments() {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(members) = at else { return };
        at = members.entry(name.into_owned()).or_insert(Value::Null);
    }
    *at = value;
}

/// Removes a path and all below it. What stands above stays as it is.
pub fn unset(root: &mut Value, path: &Path) {
    let mut names: Vec<_> = path.segments().map(std::borrow::Cow::into_owned).collect();
    let Some(last) = names.pop() else { return };
    let mut at = root;
    for name in names {
        let Some(below) = at.as_object_mut().and_then(|members| members.get_mut(&name)) else { return };
        at = below;
    }
    if let Some(members) = at.as_object_mut() {
        members.remove(&last);
    }
}
