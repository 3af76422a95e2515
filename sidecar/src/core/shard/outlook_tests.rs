//! The bounds by hand. That a look which they spare would have shown nothing is asserted at every look of every random
//! history (`node::collect`).

use super::*;
use crate::core::author::Times;
use crate::core::command::{Change, Write};
use crate::core::identity::{Kind, ObjectId, ReplicaId, ShardId};
use crate::core::packed::NewOp;
use crate::core::time::Hlc;
use crate::core::value::Tree;

const TTL_MILLIS: u64 = 60_000;

fn session() -> ObjectId {
    ObjectId::new(Kind::Session, "s")
}

fn at(millis: u64) -> UnixMillis {
    UnixMillis(1_000_000 + millis)
}

/// One that is empty, and has been looked at.
fn looked_at(shard: ShardId) -> Shard {
    let mut shard = Shard::new(shard);
    shard.look_ahead(at(0));
    shard
}

fn write(shard: &mut Shard, me: u64, time: UnixMillis, change: Change) -> NewOp {
    let (me, hlc) = (ReplicaId(me), Hlc::from_wall(time));
    let write = Write { ttl_millis: Some(TTL_MILLIS), ..Write::new(session(), change) };
    let composed = shard.compose(me, hlc, Times::from(time), None, &write).unwrap();
    shard.author(me, hlc, session(), composed.action.unwrap())
}

fn put() -> Change {
    Change::Put(Tree::parse(b"{}", 4).unwrap())
}

/// Whether there can be something to see to, for those who watch and for everyone.
fn open(shard: &Shard, time: UnixMillis) -> (bool, bool) {
    (shard.may_have_expired(time), shard.may_be_due(Some(time)))
}

#[test]
fn a_shard_is_left_alone_until_its_first_lease_ends() {
    let mut shard = looked_at(session().shard());
    assert_eq!(open(&shard, UnixMillis::NEVER), (true, false), "never is a time like others");
    assert_eq!(open(&shard, at(TTL_MILLIS * 100)), (false, false));
    write(&mut shard, 1, at(0), put());
    assert_eq!(open(&shard, at(TTL_MILLIS - 1)), (false, false));
    assert_eq!(open(&shard, at(TTL_MILLIS * 2)), (true, true));
    assert!(!shard.may_be_due(None), "nobody knows what everyone knows");
}

#[test]
fn a_lease_that_was_extended_from_elsewhere_costs_one_look() {
    let (mut ours, mut theirs) = (looked_at(session().shard()), looked_at(session().shard()));
    let create = write(&mut theirs, 2, at(0), put());
    ours.receive(create);
    ours.receive(write(&mut theirs, 2, at(TTL_MILLIS - 1), Change::Touch));
    let then = at(TTL_MILLIS + TTL_MILLIS / 2);
    assert_eq!(open(&ours, then), (true, true));
    ours.look_ahead(then);
    assert_eq!(open(&ours, then), (false, false));
    assert_eq!(open(&ours, at(3 * TTL_MILLIS)), (true, true));
}

#[test]
fn what_has_ended_is_told_once_and_stays_due() {
    let mut shard = looked_at(session().shard());
    write(&mut shard, 1, at(0), put());
    let then = at(2 * TTL_MILLIS);
    shard.look_ahead(then);
    assert_eq!(open(&shard, then.plus(1)), (false, true));
    assert!(!shard.may_be_due(None));
}

#[test]
fn a_state_that_was_taken_over_or_merged_or_restored_brings_its_ends_along() {
    let mut theirs = looked_at(session().shard());
    write(&mut theirs, 2, at(0), put());
    let mut taken = looked_at(session().shard());
    taken.merge_state(theirs.state()).unwrap();
    let mut merged = taken.clone();
    merged.look_ahead(at(0));
    write(&mut theirs, 2, at(0), Change::MergePatch(Tree::parse(br#"{"a":1}"#, 4).unwrap()));
    merged.merge_state(theirs.state()).unwrap();
    let restored = Shard::from_state(theirs.id(), theirs.state()).unwrap();
    for shard in [taken, merged, restored] {
        assert_eq!(open(&shard, at(TTL_MILLIS - 1)), (false, false));
        assert_eq!(open(&shard, at(2 * TTL_MILLIS)), (true, true));
    }
}

#[test]
fn barriers_are_looked_at_until_they_are_gone() {
    let mut shard = looked_at(session().shard());
    write(&mut shard, 1, at(0), Change::Destroy);
    shard.look_ahead(at(0));
    assert!(shard.may_be_due(None), "who it hides goes without everyone's word");
    let barriers: Vec<_> =
        shard.objects().get(&session()).unwrap().barriers().iter().map(|(dot, _)| *dot).collect();
    assert_eq!(barriers.len(), 1);
    let unbar = crate::core::op::Action::Unbarrier { barriers };
    shard.author(ReplicaId(1), Hlc::from_wall(at(1)), session(), unbar);
    shard.look_ahead(at(1));
    assert_eq!(open(&shard, at(10 * TTL_MILLIS)), (false, false));
}
