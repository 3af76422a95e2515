//! What a local write must do to what its author sees, whatever siblings and hidden shapes lie underneath.
//!
//! In plain JSON: RFC 7396 for a patch, an addition for a counter. A write that gives anything else has let
//! something hidden come back, or has counted wrong.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::json::{get, merge_patch, set, unset, value_of};
use crate::core::command::{Change, EntityTag, PathOp, Precondition, Refusal, Write};
use crate::core::identity::Kind;
use crate::core::path::Path;

/// What must come of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Promise {
    /// The object reads so afterwards; `None`: it cannot be found.
    Reads(Option<Value>),
    /// It is refused: there is nothing to change.
    Missing,
    /// It is refused: something else stands there.
    Misfit,
    /// It is refused: the precondition does not hold.
    Failed,
    /// It is refused: the precondition does not hold, since nothing is there.
    FailedOrMissing,
    /// It may be refused for what ended here lately; where it is not, this holds.
    UnlessEnded(Box<Promise>),
    /// It may be refused where the document has no lease; where it is not, this holds.
    UnlessUnleased(Box<Promise>),
}

impl Promise {
    /// Whether this refusal keeps the promise.
    #[must_use]
    pub fn allows(&self, refusal: &Refusal) -> bool {
        match self {
            Self::Reads(_) => false,
            Self::Missing => matches!(refusal, Refusal::Unknown | Refusal::Ended),
            Self::Misfit => matches!(refusal, Refusal::WrongShape { .. }),
            Self::Failed => *refusal == Refusal::PreconditionFailed,
            Self::FailedOrMissing => Self::Failed.allows(refusal) || Self::Missing.allows(refusal),
            Self::UnlessUnleased(promise) => *refusal == Refusal::WrongKind || promise.allows(refusal),
            Self::UnlessEnded(promise) => *refusal == Refusal::Ended || promise.allows(refusal),
        }
    }

    /// Whether a write that was done keeps the promise.
    #[must_use]
    pub fn is_kept_by(&self, after: Option<&Value>) -> bool {
        match self {
            Self::Reads(wanted) => wanted.as_ref() == after,
            Self::UnlessEnded(promise) | Self::UnlessUnleased(promise) => promise.is_kept_by(after),
            Self::Missing | Self::Misfit | Self::Failed | Self::FailedOrMissing => false,
        }
    }
}

/// What a write promises to an author who sees `before` under this entity tag.
#[must_use]
pub fn conditional(write: &Write, before: Option<(&Value, EntityTag)>) -> Promise {
    let promise = || {
        let promise = promise(write.object.kind, before.map(|(value, _)| value), &write.change);
        // A patch never gives a lease to what has none, and there is none to extend.
        let extends = write.ttl_millis.is_some() && !matches!(write.change, Change::Put(_));
        match write.object.kind == Kind::Document && (extends || write.change == Change::Touch) {
            true => Promise::UnlessUnleased(Box::new(promise)),
            false => promise,
        }
    };
    let has = |tags: &[EntityTag]| before.is_some_and(|(_, tag)| tags.contains(&tag));
    match (&write.precondition, before) {
        (Precondition::Absent, Some(_)) => Promise::Failed,
        // Where something ended here lately, the name is not free.
        (Precondition::Absent, None) => Promise::UnlessEnded(Box::new(promise())),
        (Precondition::Live, None) => Promise::Missing,
        (Precondition::Matches(_), None) => Promise::FailedOrMissing,
        (Precondition::Matches(tags), _) if !has(tags) => Promise::Failed,
        (Precondition::Differs(tags), _) if has(tags) => Promise::Failed,
        _ => promise(),
    }
}

/// What an unconditional write promises to an author who sees `before`.
#[must_use]
pub fn promise(kind: Kind, before: Option<&Value>, change: &Change) -> Promise {
    let must_live = matches!(change, Change::Touch)
        || kind == Kind::Session && matches!(change, Change::MergePatch(_) | Change::Ops(_));
    if must_live && before.is_none() {
        return Promise::Missing;
    }
    match change {
        Change::Put(tree) => Promise::Reads(Some(value_of(tree))),
        Change::MergePatch(tree) => Promise::Reads(Some(merge_patch(before.cloned(), &value_of(tree)))),
        Change::Touch => Promise::Reads(before.cloned()),
        Change::Destroy => Promise::Reads(None),
        Change::Ops(ops) => match kind {
            Kind::Counter => counter(before, ops),
            Kind::Set => members(before, ops),
            Kind::Session | Kind::Document => tree(before, ops),
        },
    }
}

fn counter(before: Option<&Value>, ops: &[PathOp]) -> Promise {
    let mut sum = before.and_then(Value::as_i64).unwrap_or(0);
    for op in ops {
        if let PathOp::Increment { by, .. } = op {
            sum += by;
        }
    }
    Promise::Reads(Some(sum.into()))
}

fn members(before: Option<&Value>, ops: &[PathOp]) -> Promise {
    let mut members = strings(before);
    for op in ops {
        match op {
            PathOp::Add { member, .. } => members.insert(member.to_string()),
            PathOp::Remove { member, .. } => members.remove(&**member),
            _ => false,
        };
    }
    Promise::Reads((!members.is_empty()).then(|| members.into_iter().collect()))
}

fn strings(value: Option<&Value>) -> BTreeSet<String> {
    let strings = value.and_then(Value::as_array).into_iter().flatten();
    strings.filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

fn tree(before: Option<&Value>, ops: &[PathOp]) -> Promise {
    let mut root = before.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    for op in ops {
        if !step(&mut root, op) {
            return Promise::Misfit;
        }
    }
    Promise::Reads(Some(root))
}

/// One path operation on plain JSON, in which every array is a set. Gives whether it fits.
fn step(root: &mut Value, op: &PathOp) -> bool {
    match op {
        PathOp::Set { path, value } => set(root, path, value_of(value)),
        PathOp::Unset { path } => unset(root, path),
        PathOp::Increment { path, by } => match get(root, path).map(Value::as_i64) {
            Some(None) => return false,
            found if reachable(root, path) => set(root, path, (found.flatten().unwrap_or(0) + by).into()),
            _ => return false,
        },
        PathOp::Add { path, member } | PathOp::Remove { path, member } => {
            let found = get(root, path);
            if !reachable(root, path) || found.is_some_and(|value| !value.is_array()) {
                return false;
            }
            let (existed, mut members) = (found.is_some(), strings(found));
            if matches!(op, PathOp::Add { .. }) {
                members.insert(member.to_string());
            } else {
                members.remove(&**member);
            }
            if !members.is_empty() {
                set(root, path, members.into_iter().collect());
            } else if existed {
                unset(root, path);
            }
        }
    }
    true
}

/// Nothing but objects stands above the path.
fn reachable(root: &Value, path: &Path) -> bool {
    path.proper_ancestors().all(|above| get(root, &above).is_none_or(Value::is_object))
}
