//! What a write does to the one map.

use serde_json::{Map, Value, json};

use super::fake::{REPLICA, State, Stored, look_up};
use crate::core::command::{Change, Lookup, PathOp, Precondition, Refusal, Shape, Write};
use crate::core::identity::{Dot, Kind};
use crate::core::limits::{BODY_BYTES_MAX, TTL_MILLIS_DEFAULT};
use crate::core::path::Path;
use crate::core::value::Tree;

pub(super) struct Outcome {
    pub created: bool,
    pub changed: bool,
}

enum Next {
    Same,
    Nothing,
    Stored(Stored),
}

impl State {
    pub(super) fn write(&mut self, write: &Write) -> Result<Outcome, Refusal> {
        assert_ne!(&*write.object.key, "panic", "as the test wants it");
        self.writes.push(write.clone());
        if self.readiness != crate::core::command::Readiness::Ready {
            return Err(Refusal::NotReady);
        }
        if let Some(refusal) = self.refuse.take() {
            return Err(refusal);
        }
        let found = look_up(self, &write.object);
        check(&found, write)?;
        let stored = self.objects.get(&write.object).cloned();
        let created = !matches!(found, Lookup::Found(_));
        match self.after(stored, write)? {
            Next::Same => Ok(Outcome { created: false, changed: false }),
            Next::Nothing => {
                let changed = self.objects.remove(&write.object).is_some();
                Ok(Outcome { created: false, changed })
            }
            Next::Stored(next) => {
                if let Stored::Live { content, .. } = &next
                    && content.to_string().len() > BODY_BYTES_MAX
                {
                    return Err(Refusal::TooLarge);
                }
                self.objects.insert(write.object.clone(), next);
                Ok(Outcome { created: created && write.change != Change::Destroy, changed: true })
            }
        }
    }

    fn after(&self, stored: Option<Stored>, write: &Write) -> Result<Next, Refusal> {
        let kind = write.object.kind;
        let leased = kind == Kind::Session || write.ttl_millis.is_some();
        let new_life = leased.then(|| Dot::new(REPLICA, self.clock + 1));
        let ttl = leased.then(|| write.ttl_millis.unwrap_or(TTL_MILLIS_DEFAULT));
        let (content, life, expires) = match stored {
            Some(Stored::Live { content, life, expires_in_millis }) => {
                (Some(content), life, write.ttl_millis.or(expires_in_millis))
            }
            _ => (None, new_life, ttl),
        };
        let live = |content| Next::Stored(Stored::Live { content, life, expires_in_millis: expires });
        let blank = || match kind {
            Kind::Counter => json!(0),
            Kind::Set => json!([]),
            Kind::Session | Kind::Document => json!({}),
        };
        match &write.change {
            Change::Put(tree) => Ok(live(value_of(tree))),
            Change::MergePatch(tree) => {
                let mut content = content.unwrap_or_else(blank);
                merge(&mut content, &value_of(tree));
                Ok(live(content))
            }
            Change::Ops(ops) => {
                let mut content = content.unwrap_or_else(blank);
                for (at, op) in ops.iter().enumerate() {
                    apply(kind, &mut content, at, op)?;
                }
                Ok(live(content))
            }
            Change::Touch => Ok(content.map_or(Next::Same, live)),
            Change::Destroy if matches!(kind, Kind::Counter | Kind::Set) => Ok(live(blank())),
            Change::Destroy if kind == Kind::Document && life.is_none() => Ok(Next::Nothing),
            Change::Destroy => Ok(Next::Stored(Stored::Ended)),
        }
    }
}

fn check(found: &Lookup, write: &Write) -> Result<(), Refusal> {
    let must_live =
        write.object.kind == Kind::Session && !matches!(write.change, Change::Put(_) | Change::Destroy);
    let needs = |precondition: &Precondition| {
        matches!(precondition, Precondition::Live | Precondition::Matches(_))
            && write.object.kind == Kind::Session
    };
    match found {
        Lookup::Unknown if must_live || write.life.is_some() || needs(&write.precondition) => {
            return Err(Refusal::Unknown);
        }
        Lookup::Ended if must_live || write.life.is_some() || write.precondition != Precondition::None => {
            return Err(Refusal::Ended);
        }
        Lookup::Found(view) if write.life.is_some() && write.life != view.life => return Err(Refusal::Ended),
        _ => {}
    }
    let tag = match found {
        Lookup::Found(view) => Some(view.tag),
        _ => None,
    };
    let holds = match &write.precondition {
        Precondition::None => true,
        Precondition::Absent => tag.is_none(),
        Precondition::Live => tag.is_some(),
        Precondition::Matches(tags) => tag.is_some_and(|tag| tags.contains(&tag)),
        Precondition::Differs(tags) => tag.is_none_or(|tag| !tags.contains(&tag)),
    };
    if holds { Ok(()) } else { Err(Refusal::PreconditionFailed) }
}

fn value_of(tree: &Tree) -> Value {
    match tree {
        Tree::Value(text) => serde_json::from_str(text.as_str()).unwrap(),
        Tree::Object(members) => {
            members.iter().map(|(key, tree)| (key.to_string(), value_of(tree))).collect()
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { unreachable!() };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn apply(kind: Kind, content: &mut Value, at: usize, op: &PathOp) -> Result<(), Refusal> {
    let (PathOp::Set { path, .. }
    | PathOp::Unset { path }
    | PathOp::Increment { path, .. }
    | PathOp::Add { path, .. }
    | PathOp::Remove { path, .. }) = op;
    if path == &Path::ROOT && matches!(kind, Kind::Session | Kind::Document) {
        return Err(Refusal::WrongKind);
    }
    let mut place = content;
    for segment in path.segments() {
        if !place.is_object() {
            *place = json!({});
        }
        let Value::Object(members) = place else { unreachable!() };
        place = members.entry(segment).or_insert(Value::Null);
    }
    let wrong = |found| Err(Refusal::WrongShape { at, found });
    match op {
        PathOp::Set { value, .. } => *place = value_of(value),
        PathOp::Unset { .. } => *place = Value::Null,
        PathOp::Increment { by, .. } => {
            let old = match &*place {
                Value::Null => 0,
                Value::Object(_) => return wrong(Shape::Object),
                value => match value.as_i64() {
                    Some(old) => old,
                    None => return wrong(Shape::Value),
                },
            };
            *place = json!(old.checked_add(*by).ok_or(Refusal::Overflow { at })?);
        }
        PathOp::Add { member, .. } | PathOp::Remove { member, .. } => {
            let mut members = match &*place {
                Value::Null => Vec::new(),
                Value::Array(members) => members.clone(),
                _ => return wrong(Shape::Value),
            };
            members.retain(|other| other.as_str() != Some(member));
            if matches!(op, PathOp::Add { .. }) {
                members.push(json!(member));
            }
            members.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            *place = Value::Array(members);
        }
    }
    Ok(())
}
