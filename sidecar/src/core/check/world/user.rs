//! What users write, and what they are promised for it.

use std::sync::Arc;

use serde_json::Value;

use super::{Act, BlindDelete, Event, MAD_MILLIS, Taste, Violation, World, object};
use crate::core::check::folds;
use crate::core::check::promise::{Promise, conditional};
use crate::core::check::replica::name_of;
use crate::core::check::rng::Rng;
use crate::core::check::spec::Known;
use crate::core::check::wishes;
use crate::core::command::{Change, EntityTag, Lookup, Refusal, Write};
use crate::core::identity::{Kind, LifeId, ObjectId, dot_order};
use crate::core::op::{Action, Op};

impl World {
    pub(super) fn user(&mut self, node: usize, act: Act, rng: &mut Rng) -> Result<(), Violation> {
        let taste = self.setup.profile.taste;
        let plain = taste == Taste::Plain;
        let kind = match act {
            Act::Session => Kind::Session,
            Act::Document => Kind::Document,
            Act::Counter => Kind::Counter,
            _ => Kind::Set,
        };
        let id = object(kind);
        let mut write = match (kind, taste) {
            (Kind::Session, _) => wishes::session(id.clone(), self.loaded(node, &id), rng),
            (Kind::Counter, _) => wishes::counter(id, rng, plain),
            (_, Taste::Large) => wishes::large(id, rng),
            (Kind::Set, _) => wishes::set(id, rng, plain),
            (Kind::Document, Taste::Plain) => wishes::register(id, rng),
            (Kind::Document, Taste::Narrow) => wishes::narrow_document(id, rng),
            (Kind::Document, Taste::Wide) => wishes::document(id.clone(), self.loaded(node, &id), rng),
        };
        if !plain {
            let tag = self.seen(node, &write.object).map(|(_, tag)| tag);
            write.precondition = wishes::condition(tag, rng);
        }
        self.write(node, &write, rng).map(drop)
    }

    /// A request may have loaded the object some time ago, here or on another node: the lives it may name.
    fn loaded(&mut self, node: usize, object: &ObjectId) -> &[LifeId] {
        let found = match self.look_up(node, object) {
            Lookup::Found(view) => view.life,
            Lookup::Ended | Lookup::Unknown => None,
        };
        let lives = self.remembered.entry(object.clone()).or_default();
        if let Some(life) = found.filter(|life| !lives.contains(life)) {
            lives.push(life);
        }
        lives
    }

    fn look_up(&self, node: usize, object: &ObjectId) -> Lookup {
        let replica = &self.replicas[node];
        replica.shard.look_up(object, replica.wall(self.now))
    }

    /// What a reader on a node sees of an object.
    #[must_use]
    pub fn read(&self, node: usize, object: &ObjectId) -> Option<Value> {
        self.seen(node, object).map(|(value, _)| value)
    }

    fn seen(&self, node: usize, object: &ObjectId) -> Option<(Value, EntityTag)> {
        match self.look_up(node, object) {
            Lookup::Found(view) => Some((serde_json::from_slice(&view.body).ok()?, view.tag)),
            Lookup::Ended | Lookup::Unknown => None,
        }
    }

    /// A write on a node, held against what it promises.
    ///
    /// # Errors
    /// The promise that was not kept.
    pub fn write(&mut self, node: usize, write: &Write, rng: &mut Rng) -> Result<Option<Arc<Op>>, Violation> {
        let before = self.seen(node, &write.object);
        let promised = self.promised(node, write, before.as_ref());
        let before = before.map(|(value, _)| value);
        let composed = match self.replicas[node].compose(self.now, write) {
            Ok(composed) => composed,
            Err(refusal) => return self.refused(node, write, &promised, &refusal),
        };
        let op = match composed.action {
            Some(action) => {
                self.legitimate(node, write, before.as_ref(), &action)?;
                Some(self.author(node, write.object.clone(), action, rng))
            }
            None => None,
        };
        if write.object.kind == Kind::Session && write.change == Change::Destroy && before.is_none() {
            self.count("blind deletes");
            let op = op.as_ref().map(|op| dot_order(&op.dot));
            self.deletes.push(BlindDelete { step: self.step, node, op });
        }
        let after = self.read(node, &write.object);
        if promised.is_kept_by(after.as_ref()) {
            return Ok(op);
        }
        let (before, after) = (show(before.as_ref()), show(after.as_ref()));
        let what =
            format!("{}: {:?} on {before} gives {after}, not {promised:?}", self.called(node), write.change);
        Err(Violation(what))
    }

    fn promised(&self, node: usize, write: &Write, before: Option<&(Value, EntityTag)>) -> Promise {
        let shown = self.visible_lives(node, &write.object);
        match write.life {
            Some(life) if !shown.contains(&dot_order(&life)) => Promise::Missing,
            _ => conditional(write, before.map(|(value, tag)| (value, *tag))),
        }
    }

    fn refused(
        &mut self,
        node: usize,
        write: &Write,
        promised: &Promise,
        refusal: &Refusal,
    ) -> Result<Option<Arc<Op>>, Violation> {
        let who = self.called(node);
        let known = write.life.is_some_and(|life| self.replicas[node].shard.has(&life));
        if !promised.allows(refusal) || known && *refusal == Refusal::Unknown {
            let what = format!("{who}: {:?} is refused with {refusal:?}, not {promised:?}", write.change);
            return Err(Violation(what));
        }
        self.count("refused");
        Ok(None)
    }

    /// Only a create makes a life, and only where none is seen; a change stays in the life that it names.
    fn legitimate(
        &self,
        node: usize,
        write: &Write,
        before: Option<&Value>,
        action: &Action,
    ) -> Result<(), Violation> {
        match action {
            Action::Create { .. } if write.object.kind == Kind::Session && before.is_some() => {
                Err(Violation(format!(
                    "{}: {:?} makes a second life of a live session",
                    self.called(node),
                    write.change
                )))
            }
            Action::Edit { life, .. } if write.life.is_some_and(|named| named != *life) => {
                Err(Violation(format!("{}: a change went to another life than it named", self.called(node))))
            }
            _ => Ok(()),
        }
    }

    /// Authors an action and sends it to some of the others.
    pub fn author(&mut self, node: usize, object: ObjectId, action: Action, rng: &mut Rng) -> Arc<Op> {
        let history = self.replicas[node].shard.clock().clone();
        let op = self.replicas[node].author(object, action);
        let dot = dot_order(&op.dot);
        for reset in folds::resets(&op, &history, self.known.values()) {
            self.count(reset);
        }
        self.known.insert(dot, Known { op: Arc::clone(&op), history });
        self.born.insert(dot, (self.step, node));
        self.kept.insert(dot);
        self.unchecked[node] = true;
        self.count("operations");
        self.say(|| format!("{} writes {:?} {:?} after {:?}", name_of(dot), op.hlc, op.action, op.deps));
        self.event(Event::Authored(node, Arc::clone(&op)));
        self.push(node, &op, rng);
        op
    }

    /// Whether a node's clock is beyond all limits, so that nothing is promised of its stamps.
    pub(super) fn is_mad(&self, node: usize) -> bool {
        self.setup.skews_millis[node] >= MAD_MILLIS
    }
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
