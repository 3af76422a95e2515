//! The shortest histories that broke a simpler rule, by the names they have in the protocol's findings.
//!
//! Where a rule can be switched off, the history is also shown to break without it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::core::check::rng::Rng;
use crate::core::check::world::{World, object};
use crate::core::command::{Change, Lookup, PathOp, Refusal, Write};
use crate::core::identity::{Kind, dot_order};
use crate::core::limits::DEPTH_MAX;
use crate::core::mutant::{Mutants, Rule};
use crate::core::op::{Action, Op};
use crate::core::path::Path;
use crate::core::value::Tree;

/// Nodes of a history.
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const D: usize = 3;

struct History(World);

impl History {
    fn of(nodes: usize) -> Self {
        Self::without(nodes, Mutants::NONE)
    }

    fn without(nodes: usize, mutants: Mutants) -> Self {
        Self(World::by_hand(&vec![0; nodes], mutants))
    }

    fn try_write(&mut self, node: usize, write: &Write) -> Option<Arc<Op>> {
        self.0.now = self.0.now.plus(10);
        self.0.write(node, write, &mut Rng::new(0)).unwrap_or_else(|violation| panic!("{violation:?}"))
    }

    fn write(&mut self, node: usize, kind: Kind, change: Change) -> Arc<Op> {
        self.try_write(node, &Write::new(object(kind), change)).unwrap()
    }

    fn put(&mut self, node: usize, body: &Value) -> Arc<Op> {
        self.write(node, Kind::Session, Change::Put(tree(body)))
    }

    fn patch(&mut self, node: usize, kind: Kind, body: &Value) -> Arc<Op> {
        self.write(node, kind, Change::MergePatch(tree(body)))
    }

    fn op(&mut self, node: usize, kind: Kind, op: PathOp) -> Arc<Op> {
        self.write(node, kind, Change::Ops(vec![op]))
    }

    fn count(&mut self, node: usize, by: i64) -> Arc<Op> {
        self.op(node, Kind::Counter, PathOp::Increment { path: Path::ROOT, by })
    }

    fn destroy(&mut self, node: usize, kind: Kind) -> Arc<Op> {
        self.write(node, kind, Change::Destroy)
    }

    fn send(&mut self, op: &Arc<Op>, to: &[usize]) {
        for node in to {
            self.0.receive(*node, Arc::clone(op));
        }
    }

    fn join(&mut self, from: usize, to: usize) {
        self.0.join(from, to).unwrap();
    }

    fn read(&self, node: usize, kind: Kind) -> Option<Value> {
        self.0.read(node, &object(kind))
    }

    /// Everybody catches up, everybody is as specified, and all read the same.
    fn heal(&mut self, kind: Kind) -> Option<Value> {
        self.0.heal().and_then(|()| self.0.inspect()).unwrap_or_else(|violation| panic!("{}", violation.0));
        let seen = self.read(A, kind);
        assert!((0..self.0.replicas.len()).all(|node| self.read(node, kind) == seen));
        seen
    }
}

fn tree(body: &Value) -> Tree {
    Tree::parse(body.to_string().as_bytes(), DEPTH_MAX).unwrap()
}

/// Finding 1: only what the other side has seen of a life may survive its end, or it comes back half.
#[test]
fn finding_1_entries_end_with_their_life_seen_or_not() {
    for (mutants, left) in
        [(Mutants::NONE, None), (Mutants::without(Rule::EntriesSurvive), Some(json!({"a": 1})))]
    {
        let mut h = History::without(2, mutants);
        let create = h.put(A, &json!({"u": 1}));
        h.send(&create, &[B]);
        h.destroy(A, Kind::Session);
        h.patch(B, Kind::Session, &json!({"a": 1}));
        h.join(A, B);
        assert_eq!(h.read(B, Kind::Session), left);
    }
}

/// Finding 2: an operation for a dead life still clears.
#[test]
fn finding_2_a_dead_operation_still_clears() {
    let mut h = History::of(4);
    let one = h.put(A, &json!({"u": 1}));
    let two = h.put(B, &json!({"v": 2}));
    h.send(&one, &[B, C, D]);
    h.send(&two, &[C, D]);
    let set = h.patch(B, Kind::Session, &json!({"u": 5}));
    assert!(matches!(&set.action, Action::Edit { life, .. } if *life == two.dot));
    let destroy = h.0.author(
        C,
        object(Kind::Session),
        Action::Destroy { lives: vec![two.dot], removal: crate::core::op::Removal::default() },
        &mut Rng::new(0),
    );
    h.send(&set, &[A, D]);
    h.send(&destroy, &[D]);
    h.send(&destroy, &[A]);
    h.send(&set, &[C]);
    assert_eq!(h.heal(Kind::Session), Some(json!({})));
}

/// S3, finding 4: PUT on a live session replaces inside its life, so a DELETE that races with it wins.
#[test]
fn s3_a_put_that_races_with_a_delete_loses() {
    let mut h = History::of(3);
    let create = h.put(A, &json!({"u": 1}));
    h.send(&create, &[B]);
    h.put(B, &json!({"u": 2}));
    h.destroy(A, Kind::Session);
    assert_eq!(h.heal(Kind::Session), None);
}

/// S4, finding 5: a node that has applied the end believes no lagging peer, whatever that sends.
#[test]
fn s4_a_lagging_peer_is_not_believed() {
    let mut h = History::of(3);
    let create = h.put(A, &json!({"u": 1}));
    h.send(&create, &[B, C]);
    let destroy = h.destroy(A, Kind::Session);
    h.send(&destroy, &[B]);
    assert_eq!(h.read(C, Kind::Session), Some(json!({"u": 1})));
    h.send(&create, &[B]);
    h.join(C, B);
    assert_eq!(h.read(B, Kind::Session), None);
    let shard = &h.0.replicas[B].shard;
    assert!(shard.has(&create.dot));
    assert_eq!(shard.look_up(&object(Kind::Session), h.0.now), Lookup::Ended);
}

/// S5, finding 29: a change is never written before the operations that it changes.
#[test]
fn s5_what_was_asked_for_comes_by_the_normal_door() {
    let mut h = History::of(3);
    let create = h.put(A, &json!({"u": 1}));
    let patch = Write::new(object(Kind::Session), Change::MergePatch(tree(&json!({"u": 2}))));
    let now = h.0.now;
    assert_eq!(h.0.replicas[B].compose(now, &patch).unwrap_err(), Refusal::Unknown);
    let missing = h.0.replicas[A].shard.missing_ops(h.0.replicas[B].shard.clock()).unwrap();
    missing.iter().for_each(|op| h.send(op, &[B]));
    let change = h.patch(B, Kind::Session, &json!({"u": 2}));
    assert_eq!(change.deps, [create.dot]);
    h.send(&change, &[C]);
    assert_eq!(h.read(C, Kind::Session), None);
    h.send(&create, &[C]);
    assert_eq!(h.read(C, Kind::Session), Some(json!({"u": 2})));
    assert_eq!(h.heal(Kind::Session), Some(json!({"u": 2})));
}

/// S7, finding 16: what lost at an ancestor does not come back when the winner goes.
#[test]
fn s7_a_hidden_shape_does_not_come_back() {
    let mut h = History::of(2);
    h.patch(A, Kind::Document, &json!({"a": {}}));
    h.patch(B, Kind::Document, &json!({"a": 5}));
    h.patch(A, Kind::Document, &json!({"a": {"b": 1}}));
    assert_eq!(h.heal(Kind::Document), Some(json!({"a": {"b": 1}})));
    h.patch(A, Kind::Document, &json!({"a": {"b": null}}));
    assert_eq!(h.heal(Kind::Document), Some(json!({"a": {}})));
}

/// Finding 16: a number that lost does not become what a counter stands on.
#[test]
fn finding_16_a_hidden_number_is_not_counted_on() {
    let mut h = History::of(2);
    h.patch(A, Kind::Document, &json!({"n": "x"}));
    h.patch(B, Kind::Document, &json!({"n": 4}));
    assert_eq!(h.heal(Kind::Document), Some(json!({"n": 4})));
    h.op(A, Kind::Document, PathOp::Increment { path: Path::of(["n"]), by: 3 });
    assert_eq!(h.heal(Kind::Document), Some(json!({"n": 7})));
    h.op(B, Kind::Document, PathOp::Increment { path: Path::of(["n"]), by: -1 });
    assert_eq!(h.heal(Kind::Document), Some(json!({"n": 6})));
}

/// The same for what lost below a set, when its last member goes.
#[test]
fn a_value_hidden_by_a_set_does_not_come_back() {
    let mut h = History::of(3);
    let open = h.patch(A, Kind::Document, &json!({"b": {}}));
    h.send(&open, &[C]);
    h.patch(B, Kind::Document, &json!({"b": 5}));
    let member = || PathOp::Add { path: Path::of(["b", "b"]), member: "m".into() };
    h.op(C, Kind::Document, member());
    assert_eq!(h.heal(Kind::Document), Some(json!({"b": {"b": ["m"]}})));
    h.op(A, Kind::Document, PathOp::Remove { path: Path::of(["b", "b"]), member: "m".into() });
    assert_eq!(h.heal(Kind::Document), Some(json!({"b": {}})));
}

/// Finding 17: an object outlives its last member, as RFC 7396 has it.
#[test]
fn finding_17_an_empty_object_is_there() {
    let mut h = History::of(2);
    h.patch(A, Kind::Document, &json!({"a": {"b": 1}}));
    h.heal(Kind::Document);
    h.patch(B, Kind::Document, &json!({"a": {"b": null}}));
    assert_eq!(h.heal(Kind::Document), Some(json!({"a": {}})));
}

/// A DELETE that took the root's marker from under a concurrent PATCH leaves a document that can be emptied.
#[test]
fn a_document_outlives_its_last_member_after_a_concurrent_delete() {
    let mut h = History::of(2);
    h.patch(A, Kind::Document, &json!({"a": 1}));
    h.heal(Kind::Document);
    h.destroy(A, Kind::Document);
    h.patch(B, Kind::Document, &json!({"b": 1}));
    assert_eq!(h.heal(Kind::Document), Some(json!({"b": 1})));
    h.patch(A, Kind::Document, &json!({"b": null}));
    assert_eq!(h.heal(Kind::Document), Some(json!({})));
}

/// S8, finding 27: a stamp from far ahead holds nothing up, and the next write that saw it replaces it.
#[test]
fn s8_one_fast_clock_stops_nothing() {
    let mut h = History(World::by_hand(&[3_600_000, 0, 0], Mutants::NONE));
    let mad = h.patch(A, Kind::Document, &json!({"x": "mad"}));
    h.send(&mad, &[B, C]);
    let sane = h.patch(B, Kind::Document, &json!({"x": "sane"}));
    assert!(sane.hlc < mad.hlc, "a stamp from beyond the limit drags no clock");
    h.send(&sane, &[C]);
    assert_eq!(h.read(C, Kind::Document), Some(json!({"x": "sane"})));
    assert_eq!(h.heal(Kind::Document), Some(json!({"x": "sane"})));
}

/// S9, finding 28: a client's second write beats its first, on a node that is behind in every way.
#[test]
fn s9_a_write_that_comes_with_a_token_is_later() {
    let mut h = History(World::by_hand(&[2_000, 0], Mutants::NONE));
    let first = h.patch(A, Kind::Document, &json!({"x": 1}));
    h.0.now = h.0.now.plus(1_000);
    let second = Change::MergePatch(tree(&json!({"x": 2})));
    let second = Write { after: Some(first.hlc), ..Write::new(object(Kind::Document), second) };
    h.try_write(B, &second);
    assert_eq!(h.heal(Kind::Document), Some(json!({"x": 2})));
}

/// S10, finding 3: DELETE on a node that has not heard of the session wins; a login after it is a new one.
#[test]
fn s10_a_blind_delete_wins() {
    for (mutants, left) in [(Mutants::NONE, None), (Mutants::without(Rule::NoBarrier), Some(json!({"u": 1})))]
    {
        let mut h = History::without(3, mutants);
        h.put(A, &json!({"u": 1}));
        h.try_write(B, &Write::new(object(Kind::Session), Change::Destroy));
        assert_eq!(h.heal(Kind::Session), left);
    }
    let mut h = History::of(3);
    h.put(A, &json!({"u": 1}));
    h.destroy(B, Kind::Session);
    h.put(B, &json!({"u": 2}));
    assert_eq!(h.heal(Kind::Session), Some(json!({"u": 2})));
}

/// The same where the node remembers an earlier end, or holds an earlier barrier, of that name.
#[test]
fn a_blind_delete_wins_whatever_ended_before() {
    let mut h = History::of(3);
    let create = h.put(A, &json!({"u": 1}));
    h.send(&create, &[B]);
    let destroy = h.destroy(B, Kind::Session);
    h.send(&destroy, &[A]);
    h.put(A, &json!({"u": 2}));
    h.destroy(B, Kind::Session);
    assert_eq!(h.heal(Kind::Session), None);

    let mut h = History::of(3);
    let barrier = h.destroy(B, Kind::Session);
    h.send(&barrier, &[A]);
    h.put(A, &json!({"u": 1}));
    h.destroy(B, Kind::Session);
    assert_eq!(h.heal(Kind::Session), None);
}

/// The same where the node holds an expired life of that name.
#[test]
fn a_blind_delete_wins_over_what_came_after_an_expired_life() {
    let mut h = History::of(2);
    let short = Write {
        ttl_millis: Some(1_000),
        ..Write::new(object(Kind::Session), Change::Put(tree(&json!({"u": 1}))))
    };
    let create = h.try_write(A, &short).unwrap();
    h.send(&create, &[B]);
    h.0.now = h.0.now.plus(5_000);
    h.put(A, &json!({"u": 2}));
    h.destroy(B, Kind::Session);
    assert_eq!(h.heal(Kind::Session), None);
}

/// S11: an increment that comes again after a reset counts nothing.
#[test]
fn s11_a_relayed_increment_counts_once() {
    let mut h = History::of(3);
    let five = h.count(A, 5);
    h.send(&five, &[B, C]);
    h.0.die(A, false);
    h.destroy(B, Kind::Counter);
    h.send(&five, &[B]);
    assert_eq!(h.read(B, Kind::Counter), None);
    assert_eq!(h.heal(Kind::Counter), None);
}

/// Finding 6: two creates at once both live and read as one; a DELETE that saw one leaves the other.
#[test]
fn finding_6_two_lives_read_as_one() {
    let mut h = History::of(3);
    h.put(A, &json!({"u": 1}));
    let two = h.put(B, &json!({"v": 2}));
    h.send(&two, &[C]);
    h.0.heal().unwrap();
    assert_eq!(h.heal(Kind::Session), Some(json!({"u": 1, "v": 2})));
    h.destroy(C, Kind::Session);
    assert_eq!(h.heal(Kind::Session), None);

    let mut h = History::of(2);
    h.put(A, &json!({"u": 1}));
    h.put(B, &json!({"v": 2}));
    h.destroy(A, Kind::Session);
    assert_eq!(h.heal(Kind::Session), Some(json!({"v": 2})));
}

/// A change that names its life never touches the next one.
#[test]
fn a_change_of_a_replaced_session_is_refused() {
    let mut h = History::of(2);
    let old = h.put(A, &json!({"u": 1}));
    h.destroy(A, Kind::Session);
    h.put(A, &json!({"u": 2}));
    let late = Change::MergePatch(tree(&json!({"u": 9})));
    let late = Write { life: Some(old.dot), ..Write::new(object(Kind::Session), late) };
    let now = h.0.now;
    assert_eq!(h.0.replicas[A].compose(now, &late).unwrap_err(), Refusal::Ended);
    assert_eq!(h.heal(Kind::Session), Some(json!({"u": 2})));
}

/// Finding 10: of several idle deadlines the latest counts.
#[test]
fn finding_10_a_deadline_is_never_shortened() {
    let mut h = History::of(2);
    let put = |ttl| Write {
        ttl_millis: Some(ttl),
        ..Write::new(object(Kind::Session), Change::Put(tree(&json!({"u": 1}))))
    };
    h.try_write(A, &put(3_600_000));
    h.try_write(A, &put(60_000));
    h.0.now = h.0.now.plus(600_000);
    assert_eq!(h.heal(Kind::Session), Some(json!({"u": 1})));
}

/// S2, finding 11: all concurrent resets count, not only the winner's.
#[test]
fn s2_every_increment_that_a_reset_saw_is_gone() {
    let mut h = History::of(2);
    let set = || PathOp::Set { path: Path::of(["n"]), value: tree(&json!(0)) };
    let increment = |by| PathOp::Increment { path: Path::of(["n"]), by };
    let five = h.op(A, Kind::Document, increment(5));
    h.send(&five, &[B]);
    h.op(B, Kind::Document, increment(3));
    h.op(B, Kind::Document, set());
    h.op(A, Kind::Document, set());
    assert_eq!(h.heal(Kind::Document), Some(json!({"n": 0})));
}

/// Finding 12: the later total wins, not the larger.
#[test]
fn finding_12_a_decrement_survives_a_merge() {
    for (mutants, left) in [(Mutants::NONE, 2), (Mutants::without(Rule::TotalMax), 5)] {
        let mut h = History::without(2, mutants);
        let five = h.count(A, 5);
        h.send(&five, &[B]);
        h.count(A, -3);
        h.join(A, B);
        assert_eq!(h.read(B, Kind::Counter), Some(json!(left)));
    }
}

/// Finding 13: +1 and -1 make 0, which is not nothing; and what is covered stays until its owner knows.
#[test]
fn finding_13_zero_is_not_absent_and_residue_stays_while_it_is_needed() {
    let mut h = History::of(2);
    h.count(A, 1);
    h.count(A, -1);
    assert_eq!(h.heal(Kind::Counter), Some(json!(0)));

    for (mutants, left) in [(Mutants::NONE, Some(json!(1))), (Mutants::without(Rule::NoResidue), None)] {
        let mut h = History::without(3, mutants);
        let minus = h.count(C, -3);
        h.send(&minus, &[A, B]);
        let reset = h.destroy(B, Kind::Counter);
        h.send(&reset, &[A]);
        h.count(C, 1);
        h.join(C, A);
        assert_eq!(h.read(A, Kind::Counter), left);
    }
}

/// A count that would leave 64 bits is refused where it is made; those that were made apart add up all the same.
#[test]
fn a_count_is_refused_before_it_overflows() {
    let mut h = History::of(2);
    let add = |by| Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by }]);
    let refused = |h: &mut History, change| {
        let now = h.0.now;
        h.0.replicas[A].compose(now, &Write::new(object(Kind::Counter), change)).unwrap_err()
    };
    h.count(A, i64::MAX - 5);
    assert_eq!(refused(&mut h, add(6)), Refusal::Overflow { at: 0 });
    let by = |by| PathOp::Increment { path: Path::ROOT, by };
    let several = Change::Ops(vec![by(1), by(2), by(3)]);
    assert_eq!(refused(&mut h, several), Refusal::Overflow { at: 2 });
    h.count(B, i64::MAX);
    h.0.heal().unwrap();
    let Lookup::Found(view) = h.0.replicas[A].shard.look_up(&object(Kind::Counter), h.0.now) else {
        panic!()
    };
    assert_eq!(String::from_utf8(view.body.into()).unwrap(), (2 * i128::from(i64::MAX) - 5).to_string());
    h.destroy(A, Kind::Counter);
    assert_eq!(h.heal(Kind::Counter), None);
    h.count(B, 1);
    assert_eq!(h.heal(Kind::Counter), Some(json!(1)));
}

/// Finding 19: after a jump nobody can rebuild what an author had seen, so its operations say what they remove.
#[test]
fn finding_19_a_jump_breaks_no_removal() {
    for (mutants, siblings) in [(Mutants::NONE, 2), (Mutants::without(Rule::DiffRemove), 1)] {
        let mut h = History::without(4, mutants);
        let document = |value: i64| json!({"x": value});
        h.patch(B, Kind::Document, &document(1));
        h.patch(C, Kind::Document, &document(0));
        h.join(C, D);
        h.join(B, D);
        let blind = h.patch(C, Kind::Document, &document(2));
        h.send(&blind, &[D]);
        let contents = h.0.replicas[D].shard.contents();
        let entries = contents[&object(Kind::Document)].lives.values().flat_map(|life| life.entries.keys());
        assert_eq!(entries.filter(|entry| entry.content.starts_with('=')).count(), siblings);
    }
}

/// Finding 20: after a jump the log starts again behind it, and says so.
#[test]
fn finding_20_a_log_with_a_hole_is_not_served() {
    for (mutants, serves) in [(Mutants::NONE, false), (Mutants::without(Rule::LogKeepsHole), true)] {
        let mut h = History::without(3, mutants);
        let one = h.count(A, 1);
        h.send(&one, &[B]);
        h.count(A, 2);
        h.join(A, B);
        let missing = h.0.replicas[B].shard.missing_ops(h.0.replicas[C].shard.clock());
        assert_eq!(missing.is_some(), serves);
    }
}

/// Finding 26: equal clocks and unequal contents are told by the digests; a merge would keep only what both have.
#[test]
fn finding_26_a_mismatch_shows_and_a_merge_would_lose() {
    let mut h = History::of(2);
    let put = h.put(A, &json!({"u": 1}));
    h.send(&put, &[B]);
    h.0.replicas[B].shard.corrupt(&object(Kind::Session));
    let digest = |node: usize| h.0.replicas[node].shard.digest();
    assert_eq!(digest(A).clock_sum, digest(B).clock_sum);
    assert_ne!(digest(A).content_sum, digest(B).content_sum);
    h.join(B, A);
    assert_eq!(h.read(A, Kind::Session), None);
}

/// Finding 30: what a reader has seen go is within the frontier, though nothing is left to name.
#[test]
fn finding_30_a_frontier_names_removals() {
    let mut h = History::of(2);
    let put = h.put(A, &json!({"u": 1}));
    h.send(&put, &[B]);
    let destroy = h.destroy(B, Kind::Session);
    h.send(&destroy, &[A]);
    let frontier: Vec<_> = h.0.replicas[A].shard.frontier().map(|dot| dot_order(&dot)).collect();
    assert_eq!(frontier, [dot_order(&destroy.dot)]);
}

/// An operation that comes before what it depends on waits, and comes out by itself.
#[test]
fn operations_wait_for_what_they_depend_on() {
    let mut h = History::of(3);
    let one = h.count(A, 1);
    let two = h.count(A, 2);
    h.send(&one, &[B]);
    h.send(&two, &[B]);
    let three = h.count(B, 4);
    for op in [&three, &two] {
        h.send(op, &[C]);
        assert_eq!(h.read(C, Kind::Counter), None);
    }
    h.send(&one, &[C]);
    assert_eq!(h.read(C, Kind::Counter), Some(json!(7)));
    assert_eq!(h.0.replicas[C].shard.pending_len(), 0);
}

/// A process that restarts with its disk writes under a new id, and names what it had.
#[test]
fn a_restart_reuses_no_dot() {
    let mut h = History::of(2);
    let old = h.count(A, 1);
    h.0.die(A, true);
    let new = h.count(A, 2);
    assert_ne!(old.dot.actor, new.dot.actor);
    assert_eq!((new.dot.counter, new.deps.as_slice()), (1, [old.dot].as_slice()));
    assert_eq!(h.heal(Kind::Counter), Some(json!(3)));
}
