use std::collections::BTreeMap;

use super::*;
use crate::core::check::rng::Rng;
use crate::core::identity::{Dot, ReplicaId};
use crate::core::object::Life;
use crate::core::op::Lease;
use crate::core::record::{Body, NewRecord, Text};
use crate::core::time::{Hlc, UnixMillis};

fn life(number: u64, records: u64) -> Life<'static> {
    let id = Dot::new(ReplicaId(1), number);
    let lease = Lease { idle: UnixMillis(900), absolute: UnixMillis::NEVER };
    let mut life = Life::new(id, Hlc(77 << 40), lease, &[]);
    let origin = life.origin();
    let new = |n| {
        let path = crate::core::path::Path::of([format!("field {n:05}")]);
        let dot = Dot::new(ReplicaId(5), n);
        NewRecord::new(origin, path.as_bytes(), Body::Register(Text::new("17")), dot, Hlc(n))
    };
    life.records.insert(origin, (1..=records).map(new).collect(), |_| {});
    life
}

fn session(n: u64) -> ObjectId {
    ObjectId::new(Kind::Session, &format!("s{n:04}"))
}

fn end(object: &mut Object<'_>, number: u64) -> bool {
    object.end_life(&Dot::new(ReplicaId(1), number), 0, &mut crate::core::digest::Ledger::default())
}

#[test]
fn objects_change_where_they_are_and_go_when_they_are_vacant() {
    let mut objects = Objects::default();
    let document = ObjectId::new(Kind::Document, "d");
    for n in (0..200).rev() {
        let size = if n % 10 == 0 { 400 } else { 3 };
        objects.change(&session(n), |object| object.add_life(life(n + 1, size)));
    }
    objects.change(&document, |object| object.add_life(life(9, 1)));
    assert_eq!((objects.len(), objects.len_by_kind()), (201, [200, 1, 0, 0]));
    let keys: Vec<&str> = objects.range(Kind::Session, "s0150").map(Stored::key).collect();
    assert_eq!((keys.len(), keys[0]), (50, "s0150"));
    for n in 0..200 {
        assert!(objects.change(&session(n), |object| end(object, n + 1)));
    }
    assert_eq!(objects.iter().map(Stored::id).collect::<Vec<_>>(), [document]);
    objects.change(&session(1), |_| {});
    assert_eq!(objects.len(), 1);
}

/// As a list in pieces and as a tree: changes of all kinds, and after each hundred all that can be asked.
#[test]
fn pieces_hold_what_a_tree_holds() {
    let (mut objects, mut tree) = (Objects::default(), BTreeMap::new());
    let mut rng = Rng::new(7);
    let (mut most, mut joined) = (0, 0);
    for step in 0..20_000u64 {
        // It grows, shrinks to little, and grows again.
        let grows = step % 10_000 < 5_000;
        let n = rng.below(1_500);
        let pieces = objects.kinds[0].pieces.len();
        if rng.percent(if grows { 80 } else { 20 }) {
            let records = [0, 1, 3, 400][rng.weighted(&[10, 40, 40, 1])];
            objects.put(Stored::new(&session(n), object_of(n, records)));
            tree.insert(session(n), records);
        } else if rng.percent(50) {
            assert_eq!(objects.take(&session(n)).is_some(), tree.remove(&session(n)).is_some());
        } else {
            let ended = objects.change(&session(n), |object| end(object, n));
            assert_eq!(ended, tree.remove(&session(n)).is_some());
        }
        most = most.max(objects.kinds[0].pieces.len());
        joined += usize::from(objects.kinds[0].pieces.len() < pieces);
        if step % 100 == 0 {
            is_the_same(&objects, &tree, &session(rng.below(1_500)));
        }
    }
    assert!(most > 8 && joined > 3, "{most} pieces, {joined} joined");
}

fn object_of(n: u64, records: u64) -> Object<'static> {
    let mut object = Object::default();
    object.add_life(life(n, records));
    object
}

fn is_the_same(objects: &Objects, tree: &BTreeMap<ObjectId, u64>, from: &ObjectId) {
    assert_eq!(objects.len(), tree.len());
    assert!(objects.iter().map(Stored::id).eq(tree.keys().cloned()));
    let range: Vec<ObjectId> = objects.range(Kind::Session, &from.key).map(Stored::id).collect();
    assert!(range.iter().eq(tree.range(from..).map(|(id, _)| id)));
    assert_eq!(objects.get(from).is_some(), tree.contains_key(from));
    for piece in &objects.kinds[0].pieces {
        assert!((1..=PIECE_MAX).contains(&piece.len()) && piece.capacity() <= (2 * piece.len()).max(4));
    }
    assert!(Objects::of(objects.iter().cloned()).iter().eq(objects.iter()));
}

#[test]
fn of_two_with_one_name_the_later_one_counts() {
    let two = [1, 2].map(|records| Stored::new(&session(1), object_of(1, records)));
    let objects = Objects::of(two.clone());
    assert_eq!(objects.iter().collect::<Vec<_>>(), [&two[1]]);
}

/// What is put together from the bytes that were there is what would be put together anew.
#[test]
fn an_object_with_other_records_is_as_if_it_were_new() {
    for (before, after) in [(0, 0), (0, 1), (3, 3), (3, 8), (8, 3), (1, 200), (200, 1), (200, 400), (400, 3)]
    {
        for more in 0..4 {
            let mut object = object_of(1, before);
            let mut objects = Objects::default();
            if more & 1 > 0 {
                object.set_barriers(vec![(Dot::new(ReplicaId(3), 1), Hlc(4))]);
            }
            objects.put(Stored::new(&session(1), object));
            objects.change(&session(1), |object| {
                object.lives[0].records = life(1, after).records;
                if more & 2 > 0 {
                    object.lives[0].lease.idle = UnixMillis(1 << 50);
                }
            });
            let stored = objects.iter().next().unwrap();
            let (mut bytes, mut anew) = (Vec::new(), Vec::new());
            stored.append_to(&mut bytes);
            crate::core::stored::pack(&session(1), &stored.object(), &mut anew);
            assert_eq!(bytes, anew);
            assert_eq!(stored.object().lives[0].records, life(1, after).records);
        }
    }
}
