//! The same random histories in the types of the `crdts` crate, step for step: its add-wins set, its multi-value
//! register, its counter. (Its map resurrects what a life must not, so it is no oracle for sessions.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdts::{CmRDT, CvRDT, MVReg, Orswot, PNCounter, mvreg, orswot, pncounter};
use serde_json::{Value, json};

use crate::core::check::world::{Event, PLAIN, Setup, Tally, World, object, steps};
use crate::core::contents::DotKey;
use crate::core::identity::{Kind, ReplicaId, dot_order};
use crate::core::mutant::{Mutants, Rule};
use crate::core::op::{Action, Clear, Content, Op};

/// What one replica holds, in somebody else's types.
#[derive(Clone, Default)]
struct Mirror {
    set: Orswot<String, ReplicaId>,
    register: MVReg<String, ReplicaId>,
    counter: PNCounter<ReplicaId>,
}

/// One of our operations, in their words.
#[derive(Clone)]
enum Theirs {
    Set(orswot::Op<String, ReplicaId>),
    Register(mvreg::Op<String, ReplicaId>),
    Counter(pncounter::Op<ReplicaId>),
}

impl Mirror {
    /// What their types would have made of the same wish, on the same replica.
    fn translate(&self, op: &Op) -> Theirs {
        let me = op.dot.actor;
        let Action::Edit { edit, .. } = &op.action else { panic!("{op:?} is no plain edit") };
        match op.object.kind {
            Kind::Counter => {
                let steps = edit.increments[0].delta;
                let many = steps.unsigned_abs();
                Theirs::Counter(match steps > 0 {
                    true => self.counter.inc_many(me, many),
                    false => self.counter.dec_many(me, many),
                })
            }
            Kind::Set => Theirs::Set(match edit.puts.first().map(|put| &put.content) {
                Some(Content::Member(member)) => {
                    self.set.add(member.to_string(), self.set.read_ctx().derive_add_ctx(me))
                }
                _ => {
                    let Clear::Member { member, .. } = &edit.removal.clears[0] else { panic!("{op:?}") };
                    let member = member.to_string();
                    let seen = self.set.contains(&member).derive_rm_ctx();
                    self.set.rm(member, seen)
                }
            }),
            _ => {
                let value = edit.puts.iter().find_map(|put| match &put.content {
                    Content::Register(text) => Some(text.as_str().to_owned()),
                    _ => None,
                });
                let seen = self.register.read().derive_add_ctx(me);
                Theirs::Register(self.register.write(value.unwrap(), seen))
            }
        }
    }

    fn apply(&mut self, op: Theirs) {
        match op {
            Theirs::Set(op) => self.set.apply(op),
            Theirs::Register(op) => self.register.apply(op),
            Theirs::Counter(op) => self.counter.apply(op),
        }
    }

    fn merge(&mut self, other: Self) {
        self.set.merge(other.set);
        self.register.merge(other.register);
        self.counter.merge(other.counter);
    }
}

struct Mirrors {
    nodes: Vec<Mirror>,
    ops: BTreeMap<DotKey, Theirs>,
    copies: BTreeMap<u64, Mirror>,
}

impl Mirrors {
    fn follow(&mut self, event: Event) {
        match event {
            Event::Authored(node, op) => {
                let theirs = self.nodes[node].translate(&op);
                self.nodes[node].apply(theirs.clone());
                self.ops.insert(dot_order(&op.dot), theirs);
            }
            Event::Applied(node, op) => self.apply(node, &op),
            Event::Copied(node, copy) => {
                self.copies.insert(copy, self.nodes[node].clone());
            }
            Event::Merged(node, copy) => {
                let copy = self.copies[&copy].clone();
                self.nodes[node].merge(copy);
            }
            Event::Restarted(_, true) => {}
            Event::Restarted(node, false) => self.nodes[node] = Mirror::default(),
        }
    }

    fn apply(&mut self, node: usize, op: &Arc<Op>) {
        let theirs = self.ops[&dot_order(&op.dot)].clone();
        self.nodes[node].apply(theirs);
    }

    /// The first difference between a replica and its mirror.
    fn difference(&self, world: &World) -> Option<String> {
        self.nodes.iter().enumerate().find_map(|(node, mirror)| {
            let mut members: Vec<String> = mirror.set.read().val.into_iter().collect();
            members.sort_unstable();
            let members = Value::from(members);
            let seen = world.read(node, &object(Kind::Set)).unwrap_or_else(|| json!([]));
            if seen != members {
                return Some(format!("the set of node {node} is {seen}, theirs {members}"));
            }
            let counted = world.read(node, &object(Kind::Counter)).unwrap_or_else(|| json!(0));
            let theirs = mirror.counter.read();
            if format!("{counted}") != format!("{theirs}") {
                return Some(format!("the counter of node {node} is {counted}, theirs {theirs}"));
            }
            let theirs: BTreeSet<String> = mirror.register.read().val.into_iter().collect();
            let ours = siblings_of(world, node);
            (ours != theirs).then(|| format!("the siblings of node {node} are {ours:?}, theirs {theirs:?}"))
        })
    }
}

fn siblings_of(world: &World, node: usize) -> BTreeSet<String> {
    let contents = world.replicas[node].shard.contents();
    let lives = contents.get(&object(Kind::Document)).into_iter().flat_map(|object| object.lives.values());
    let registers =
        lives.flat_map(|life| life.entries.keys()).filter_map(|key| key.content.strip_prefix('='));
    registers.map(str::to_owned).collect()
}

/// Runs a seed beside its mirrors. Gives what happened how often, or the first difference.
fn run(seed: u64, mutants: Mutants) -> Result<Tally, String> {
    let setup = Setup::new(seed, PLAIN, mutants);
    let mut world = World::new(setup.clone());
    world.events = Some(Vec::new());
    let mut mirrors = Mirrors {
        nodes: vec![Mirror::default(); world.replicas.len()],
        ops: BTreeMap::new(),
        copies: BTreeMap::new(),
    };
    for (at, step) in steps(seed, &setup, 150).iter().enumerate() {
        world.run_one(at, step).map_err(|violation| violation.0)?;
        for event in world.events.replace(Vec::new()).unwrap() {
            mirrors.follow(event);
        }
        if at % 3 == 0
            && let Some(difference) = mirrors.difference(&world)
        {
            return Err(format!("seed {seed} step {at}: {difference}"));
        }
    }
    Ok(world.tally)
}

#[test]
fn the_types_of_the_crdts_crate_agree() {
    let mut total = Tally::new();
    for seed in 0..30 {
        for (what, times) in run(seed, Mutants::NONE).unwrap() {
            *total.entry(what).or_default() += times;
        }
    }
    for what in
        ["late states", "merges of two that differ both ways", "restarted without memory", "reordered"]
    {
        assert!(total[what] > 10, "{what}: {total:?}");
    }
}

#[test]
fn they_disagree_with_a_merge_that_brings_back_what_was_removed() {
    assert!((0..30).any(|seed| run(seed, Mutants::without(Rule::MergeUnion)).is_err()));
}
