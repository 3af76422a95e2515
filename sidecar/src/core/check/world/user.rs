//! What users write, and what they are promised for it.

use std::sync::Arc;

use serde_json::Value;

use super::{Act, BlindDelete, Event, MAD_MILLIS, Violation, World, object};
use crate::core::check::promise::{Promise, promise};
use crate::core::check::replica::name_of;
use crate::core::check::rng::Rng;
use crate::core::check::spec::Known;
use crate::core::command::{Change, Lookup, PathOp, Refusal, Write};
use crate::core::identity::{Kind, ObjectId, dot_order};
use crate::core::limits::DEPTH_MAX;
use crate::core::op::{Action, Op};
use crate::core::path::Path;
use crate::core::value::Tree;

const NAMES: [&str; 3] = ["a", "b", "c"];

impl World {
    pub(super) fn user(&mut self, node: usize, act: Act, rng: &mut Rng) -> Result<(), Violation> {
        let write = match act {
            Act::Session => self.session_write(node, rng),
            Act::Document if self.setup.profile.plain => plain_document(rng),
            Act::Document => document_write(rng),
            Act::Counter => counter_write(rng, self.setup.profile.plain),
            _ => set_write(rng, self.setup.profile.plain),
        };
        self.write(node, &write, rng).map(drop)
    }

    fn session_write(&mut self, node: usize, rng: &mut Rng) -> Write {
        let change = match rng.weighted(&[20, 20, 12, 18, 14, 16]) {
            0 => Change::Put(random_object(rng, 1)),
            1 => Change::MergePatch(random_patch(rng, 1)),
            2 => Change::Ops(vec![random_op(rng)]),
            3 => Change::Ops(vec![PathOp::Increment { path: Path::of(["n"]), by: rng.pick(&[1, 2]) }]),
            4 => Change::Touch,
            _ => Change::Destroy,
        };
        let mut write = Write::new(object(Kind::Session), change);
        if !matches!(write.change, Change::Destroy) && rng.percent(70) {
            write.ttl_millis = Some(rng.pick(&[4_000, 8_000, 15_000, 60_000]));
        }
        if let Lookup::Found(view) = self.look_up(node, &write.object)
            && let Some(life) = view.life
            && !self.remembered.contains(&life)
        {
            self.remembered.push(life);
        }
        // A request that loaded the session some time ago, here or on another node.
        if rng.percent(25) && !self.remembered.is_empty() {
            write.life = Some(self.remembered[rng.index(self.remembered.len())]);
        }
        write
    }

    fn look_up(&self, node: usize, object: &ObjectId) -> Lookup {
        let replica = &self.replicas[node];
        replica.shard.look_up(object, replica.wall(self.now))
    }

    /// What a reader on a node sees of an object.
    #[must_use]
    pub fn read(&self, node: usize, object: &ObjectId) -> Option<Value> {
        match self.look_up(node, object) {
            Lookup::Found(view) => serde_json::from_slice(&view.body).ok(),
            Lookup::Ended | Lookup::Unknown => None,
        }
    }

    /// A write on a node, held against what it promises.
    ///
    /// # Errors
    /// The promise that was not kept.
    pub fn write(&mut self, node: usize, write: &Write, rng: &mut Rng) -> Result<Option<Arc<Op>>, Violation> {
        let before = self.read(node, &write.object);
        let promised = self.promised(node, write, before.as_ref());
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
        match promised {
            Promise::Reads(wanted) if wanted == after => Ok(op),
            promised => Err(Violation(format!(
                "{}: {:?} on {} gives {}, not {promised:?}",
                self.called(node),
                write.change,
                show(before.as_ref()),
                show(after.as_ref()),
            ))),
        }
    }

    fn promised(&self, node: usize, write: &Write, before: Option<&Value>) -> Promise {
        let shown = self.visible_lives(node, &write.object);
        match write.life {
            Some(life) if !shown.contains(&dot_order(&life)) => Promise::Missing,
            _ => promise(write.object.kind, before, &write.change),
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

fn document_write(rng: &mut Rng) -> Write {
    let change = match rng.weighted(&[8, 40, 42, 10]) {
        0 => Change::Put(random_object(rng, 2)),
        1 => Change::MergePatch(random_patch(rng, 2)),
        2 => Change::Ops((0..rng.pick(&[1, 1, 1, 2, 4])).map(|_| random_op(rng)).collect()),
        _ => Change::Destroy,
    };
    let leased = matches!(change, Change::Put(_)) && rng.percent(20);
    Write { ttl_millis: leased.then_some(15_000), ..Write::new(object(Kind::Document), change) }
}

fn plain_document(rng: &mut Rng) -> Write {
    let value = parse(&rng.below(1_000_000).to_string());
    Write::new(object(Kind::Document), Change::Ops(vec![PathOp::Set { path: Path::of(["r"]), value }]))
}

fn counter_write(rng: &mut Rng, plain: bool) -> Write {
    let by = rng.pick(&[1, 2, 5, -3]);
    let change = match rng.percent(15) && !plain {
        true => Change::Destroy,
        false => Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by }]),
    };
    Write::new(object(Kind::Counter), change)
}

fn set_write(rng: &mut Rng, plain: bool) -> Write {
    let mut op = || {
        let (path, member) = (Path::ROOT, rng.pick(&["m", "n", "o"]).into());
        if rng.percent(60) { PathOp::Add { path, member } } else { PathOp::Remove { path, member } }
    };
    let ops = if plain { vec![op()] } else { vec![op(), op()] };
    let change = if !plain && rng.percent(8) { Change::Destroy } else { Change::Ops(ops) };
    Write::new(object(Kind::Set), change)
}

fn random_path(rng: &mut Rng) -> Path {
    Path::of((0..rng.pick(&[1, 1, 2, 2, 3])).map(|_| rng.pick(&NAMES)))
}

fn random_op(rng: &mut Rng) -> PathOp {
    let path = random_path(rng);
    match rng.weighted(&[28, 18, 28, 14, 12]) {
        0 => PathOp::Set { path, value: parse(&random_value(rng, 1, true)) },
        1 => PathOp::Unset { path },
        2 => PathOp::Increment { path, by: rng.pick(&[1, 2, 5, -3]) },
        3 => PathOp::Add { path, member: rng.pick(&["m", "n"]).into() },
        _ => PathOp::Remove { path, member: rng.pick(&["m", "n"]).into() },
    }
}

fn random_object(rng: &mut Rng, depth: u64) -> Tree {
    parse(&random_members(rng, depth, true))
}

fn random_patch(rng: &mut Rng, depth: u64) -> Tree {
    parse(&random_members(rng, depth, true))
}

fn random_members(rng: &mut Rng, depth: u64, nulls: bool) -> String {
    let mut names = NAMES;
    rng.shuffle(&mut names);
    let members: Vec<_> = names[..rng.pick(&[0, 1, 1, 1, 2])]
        .iter()
        .map(|name| format!("\"{name}\":{}", random_value(rng, depth, nulls)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn random_value(rng: &mut Rng, depth: u64, nulls: bool) -> String {
    match rng.below(100) {
        0..25 if nulls => "null".into(),
        0..60 => rng.pick(&["1", "2", "7", "\"x\"", "\"y\"", "1.50", "true"]).into(),
        _ if depth == 0 => "{}".into(),
        _ => random_members(rng, depth - 1, nulls),
    }
}

fn parse(text: &str) -> Tree {
    Tree::parse(text.as_bytes(), DEPTH_MAX).unwrap_or(Tree::EMPTY)
}
