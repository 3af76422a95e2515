use crate::core::command::{Change, Lookup, PathOp, Write};
use crate::core::identity::{Dot, Kind, ObjectId, ReplicaId, UNLEASED};
use crate::core::op::{Action, Edit, Fold, Increment, Removal};
use crate::core::packed::NewOp;
use crate::core::path::Path;
use crate::core::shard::Shard;
use crate::core::time::{Hlc, UnixMillis};

/// Who folds, and who resets at the same time.
const FOLDER: ReplicaId = ReplicaId(1_000);
const OTHER: ReplicaId = ReplicaId(1_001);

fn counter() -> ObjectId {
    ObjectId::new(Kind::Counter, "visits")
}

fn increment(by: i64) -> Change {
    Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by }])
}

fn add(shard: &mut Shard, who: u64, by: i64) -> NewOp {
    write(shard, ReplicaId(who), increment(by))
}

fn write(shard: &mut Shard, who: ReplicaId, change: Change) -> NewOp {
    let hlc = Hlc(1_000 + shard.clock().iter().map(|dot| dot.counter).sum::<u64>());
    write_at(shard, who, change, hlc)
}

fn write_at(shard: &mut Shard, who: ReplicaId, change: Change, hlc: Hlc) -> NewOp {
    let composed = shard.compose(who, hlc, UnixMillis(1), None, &Write::new(counter(), change)).unwrap();
    shard.author(who, hlc, counter(), composed.action.unwrap())
}

/// Ten processes that are over have counted 1 + 2 + … + 10, one of them a decrement.
fn crowd() -> Shard {
    let mut shard = Shard::new(counter().shard());
    for who in 1..=10 {
        add(&mut shard, who, who as i64);
    }
    add(&mut shard, 3, -6);
    shard
}

const SUM: i64 = 49;

fn fold(shard: &mut Shard) -> NewOp {
    let mut due = shard.folds(|name| name.actor < FOLDER);
    assert_eq!(due.len(), 1, "{due:?}");
    let (object, action) = due.remove(0);
    shard.author(FOLDER, Hlc(5_000), object, action)
}

fn value(shard: &Shard) -> String {
    match shard.look_up(&counter(), UnixMillis(2)) {
        Lookup::Found(view) => String::from_utf8(view.body.into()).unwrap(),
        other => format!("{other:?}"),
    }
}

fn accumulators(shard: &Shard) -> usize {
    shard
        .objects()
        .get(&counter())
        .map_or(0, |object| object.lives.iter().map(|life| life.records.iter(life.origin()).count()).sum())
}

/// The same from all orders, by operations and by states.
fn agree(shards: &[&Shard]) {
    for shard in shards {
        assert_eq!(shard.digest(), shards[0].digest());
        assert_eq!(shard.digest(), shard.recomputed_digest());
        assert_eq!(shard.contents(), shards[0].contents());
        assert_eq!(value(shard), value(shards[0]));
        let made_anew = Shard::from_state(shard.id(), shard.state()).unwrap();
        assert_eq!((made_anew.digest(), made_anew.content_bytes()), (shard.digest(), shard.content_bytes()));
    }
}

fn joined(a: &Shard, b: &Shard) -> Shard {
    let mut joined = a.clone();
    joined.merge_state(b.state()).unwrap();
    joined
}

#[test]
fn a_fold_leaves_one_small_accumulator_and_changes_nothing_that_can_be_seen() {
    let mut folded = crowd();
    let before = (folded.contents(), value(&folded), folded.content_bytes());
    let mut applied = folded.clone();
    let fold = fold(&mut folded);
    assert_eq!((folded.contents(), value(&folded)), (before.0, before.1));
    assert_eq!(value(&folded), SUM.to_string());
    assert_eq!(accumulators(&folded), 1);
    assert!(folded.content_bytes() < before.2 / 5, "{} of {}", folded.content_bytes(), before.2);
    let (by_state, by_state_too) = (joined(&applied, &folded), joined(&folded, &applied));
    applied.receive(fold);
    agree(&[&folded, &applied, &by_state, &by_state_too]);
    assert!(folded.folds(|_| true).is_empty());
}

#[test]
fn a_reset_beside_a_fold_resets_what_is_folded() {
    let (mut folding, mut resetting) = (crowd(), crowd());
    let fold = fold(&mut folding);
    let reset = write(&mut resetting, OTHER, Change::Destroy);
    let count = add(&mut resetting, OTHER.0, 5);
    let (by_state, by_state_too) = (joined(&folding, &resetting), joined(&resetting, &folding));
    folding.receive(reset);
    folding.receive(count);
    resetting.receive(fold);
    agree(&[&folding, &resetting, &by_state, &by_state_too]);
    assert_eq!(value(&folding), "5");
    // And one that has seen the fold.
    let mut folded = crowd();
    self::fold(&mut folded);
    write(&mut folded, OTHER, Change::Destroy);
    assert_eq!(folded.recomputed_digest(), folded.digest());
    assert!(!matches!(folded.look_up(&counter(), UnixMillis(2)), Lookup::Found(_)));
}

/// Into the accumulator that stays, or, where others have counted later than it, with it into another one.
#[test]
fn a_second_fold_takes_what_the_first_one_has_left() {
    for hlc in [Hlc(1), Hlc(3_000)] {
        let mut shard = crowd();
        let early = shard.clone();
        fold(&mut shard);
        let between = shard.clone();
        for who in 11..=18 {
            write_at(&mut shard, ReplicaId(who), increment(100), hlc);
        }
        let mut resetting = shard.clone();
        fold(&mut shard);
        assert_eq!((value(&shard), accumulators(&shard)), ((SUM + 800).to_string(), 1));
        agree(&[&shard, &joined(&early, &shard), &joined(&between, &shard), &joined(&shard, &between)]);
        let behind = shard.missing(early.clock()).unwrap();
        let mut late = early;
        for op in behind {
            late.receive(op.open().unwrap());
        }
        agree(&[&shard, &late]);
        let reset = write(&mut resetting, OTHER, Change::Destroy);
        let together = joined(&resetting, &shard);
        shard.receive(reset);
        agree(&[&shard, &together]);
        assert!(!matches!(shard.look_up(&counter(), UnixMillis(2)), Lookup::Found(_)));
    }
}

/// A disk comes back on which there is one more increment of a process whose accumulator has been folded.
#[test]
fn what_comes_late_of_one_that_is_folded_counts_once() {
    for who in [4, 10] {
        let mut folded = crowd();
        let mut behind = folded.clone();
        let late = add(&mut behind, who, 1_000);
        let fold = fold(&mut folded);
        folded.receive(late);
        behind.receive(fold);
        agree(&[&folded, &behind, &joined(&folded, &behind)]);
        assert_eq!(value(&folded), (SUM + 1_000).to_string());
        write(&mut folded, OTHER, Change::Destroy);
        assert!(!matches!(folded.look_up(&counter(), UnixMillis(2)), Lookup::Found(_)));
    }
}

/// The one that stays is reset, goes on all the same, and takes in others once more: an older state of the same adds nothing.
#[test]
fn what_is_folded_into_one_that_was_reset_in_between_is_kept_beside_what_is_older() {
    let mut shard = crowd();
    for _ in 0..10 {
        add(&mut shard, 10, 0);
    }
    let mut behind = shard.clone();
    let late = add(&mut behind, 10, 1_000);
    fold(&mut shard);
    let old = shard.clone();
    write(&mut shard, OTHER, Change::Destroy);
    for who in 11..=13 {
        write_at(&mut shard, ReplicaId(who), increment(100), Hlc(2));
    }
    shard.receive(late);
    shard.fold_from(2);
    fold(&mut shard);
    assert_eq!((value(&shard), accumulators(&shard)), ("1300".to_owned(), 1));
    agree(&[&shard, &joined(&old, &shard), &joined(&shard, &old)]);
}

#[test]
fn sums_that_no_accumulator_holds_are_left_as_they_are() {
    let mut shard = Shard::new(counter().shard());
    for who in 1..=8 {
        let name = Dot::new(ReplicaId(who), 1);
        let increments =
            vec![Increment { path: Path::ROOT, accumulator: name, delta: i64::MAX, total: i64::MAX }];
        let edit = Edit { removal: Removal::default(), puts: Vec::new(), increments };
        let count = Action::Edit { life: UNLEASED, idle: None, edit };
        shard.author(name.actor, Hlc(who), counter(), count);
    }
    let Fold { into, from, .. } = match shard.folds(|_| true).remove(0) {
        (_, Action::Fold(fold)) => *fold,
        other => panic!("{other:?}"),
    };
    assert_eq!((into.actor, from.len()), (ReplicaId(8), 1));
}

#[test]
fn that_something_is_folded_is_known_by_operations_and_by_states() {
    let (mut folds, mut hears, mut joins) = (crowd(), crowd(), crowd());
    assert!(!folds.is_folded());
    let op = fold(&mut folds);
    hears.receive(op);
    joins.merge_state(folds.state()).unwrap();
    let anew = Shard::from_state(folds.id(), folds.state()).unwrap();
    assert!([folds, hears, joins, anew].iter().all(Shard::is_folded));
}
