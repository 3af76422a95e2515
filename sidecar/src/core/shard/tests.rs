//! One shard by hand: the plainest histories. Random ones stand in `check`.

use super::*;
use crate::core::command::{Change, PathOp, Precondition};
use crate::core::identity::ShardId;
use crate::core::limits::DEPTH_MAX;
use crate::core::path::Path;
use crate::core::value::Tree;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn tree(json: &str) -> Tree {
    Tree::parse(json.as_bytes(), DEPTH_MAX).unwrap()
}

struct Replica {
    shard: Shard,
    me: ReplicaId,
    hlc: Hlc,
}

impl Replica {
    fn new(me: u64, id: &ObjectId) -> Self {
        Self { shard: Shard::new(id.shard()), me: ReplicaId(me), hlc: Hlc::from_wall(NOW) }
    }

    fn try_write(&mut self, write: &Write) -> Result<Option<Arc<Op>>, Refusal> {
        self.hlc = self.hlc.next();
        let composed = self.shard.compose(self.me, self.hlc, NOW, None, write)?;
        Ok(composed
            .action
            .map(|action| self.shard.author(self.me, self.hlc, write.object.clone(), action).op))
    }

    fn write(&mut self, id: &ObjectId, change: Change) -> Arc<Op> {
        self.try_write(&Write::new(id.clone(), change)).unwrap().unwrap()
    }

    fn read(&self, id: &ObjectId) -> String {
        match self.shard.look_up(id, NOW) {
            Lookup::Found(view) => String::from_utf8(view.body.into()).unwrap(),
            other => format!("{other:?}"),
        }
    }
}

fn session() -> ObjectId {
    ObjectId::new(Kind::Session, "s")
}

fn pair(id: &ObjectId) -> (Replica, Replica) {
    (Replica::new(1, id), Replica::new(2, id))
}

#[test]
fn a_session_is_written_patched_and_destroyed() {
    let id = session();
    let (mut a, mut b) = pair(&id);
    let put = a.write(&id, Change::Put(tree(r#"{"user":{"name":"ada","age":36},"cart":[1,2],"x":null}"#)));
    b.shard.receive(NewOp::of(put));
    let patch = b.write(&id, Change::MergePatch(tree(r#"{"user":{"age":null,"admin":true},"x":{}}"#)));
    a.shard.receive(NewOp::of(patch));
    let expected = r#"{"cart":[1,2],"user":{"admin":true,"name":"ada"},"x":{}}"#;
    assert_eq!(a.read(&id), expected);
    assert_eq!(b.read(&id), expected);
    assert_eq!(a.shard.digest(), b.shard.digest());
    assert_eq!(a.shard.digest(), a.shard.recomputed_digest());
    let end = a.write(&id, Change::Destroy);
    b.shard.receive(NewOp::of(end));
    assert_eq!(b.read(&id), "Ended");
    assert_eq!(b.shard.digest().content_sum, 0);
    assert_eq!(b.shard.content_bytes(), 0);
}

#[test]
fn operations_of_one_patch_take_effect_one_after_the_other() {
    let id = ObjectId::new(Kind::Document, "d");
    let (mut a, mut b) = pair(&id);
    let path = |name: &str| Path::of([name]);
    let op = a.write(
        &id,
        Change::Ops(vec![
            PathOp::Set { path: path("n"), value: tree("5") },
            PathOp::Increment { path: path("n"), by: 2 },
            PathOp::Increment { path: path("n"), by: -1 },
            PathOp::Set { path: path("gone"), value: tree(r#"{"a":{"b":1}}"#) },
            PathOp::Unset { path: path("gone") },
            PathOp::Increment { path: path("m"), by: 4 },
            PathOp::Unset { path: path("m") },
            PathOp::Increment { path: path("m"), by: 1 },
            PathOp::Add { path: Path::of(["deep", "set"]), member: "z".into() },
            PathOp::Add { path: Path::of(["deep", "set"]), member: "y".into() },
            PathOp::Remove { path: Path::of(["deep", "set"]), member: "z".into() },
        ]),
    );
    assert_eq!(a.read(&id), r#"{"deep":{"set":["y"]},"m":1,"n":6}"#);
    b.shard.receive(NewOp::of(op));
    assert_eq!(b.read(&id), a.read(&id));
    assert_eq!(b.shard.digest(), a.shard.digest());
    let wrong = Write::new(id, Change::Ops(vec![PathOp::Increment { path: Path::of(["deep"]), by: 1 }]));
    assert!(matches!(a.try_write(&wrong), Err(Refusal::WrongShape { at: 0, .. })));
}

#[test]
fn only_the_id_of_a_session_is_never_used_again() {
    for (kind, again) in [(Kind::Session, Err(Refusal::Ended)), (Kind::Document, Ok(()))] {
        let id = ObjectId::new(kind, "x");
        let mut a = Replica::new(1, &id);
        let create = Write {
            precondition: Precondition::Absent,
            ttl_millis: Some(60_000),
            ..Write::new(id.clone(), Change::Put(tree("{}")))
        };
        assert!(a.try_write(&create).is_ok());
        assert_eq!(a.try_write(&create).unwrap_err(), Refusal::PreconditionFailed);
        a.write(&id, Change::Destroy);
        assert_eq!(a.try_write(&create).map(drop), again);
    }
}

#[test]
fn a_counter_survives_reset_and_merge() {
    let id = ObjectId::new(Kind::Counter, "c");
    let (mut a, mut b) = pair(&id);
    let add = |by| Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by }]);
    a.write(&id, add(5));
    b.write(&id, add(-3));
    b.shard.merge_state(a.shard.state()).unwrap();
    assert_eq!(b.read(&id), "2");
    b.write(&id, Change::Destroy);
    a.write(&id, add(10));
    a.shard.merge_state(b.shard.state()).unwrap();
    b.shard.merge_state(a.shard.state()).unwrap();
    assert_eq!((a.read(&id), b.read(&id)), ("10".into(), "10".into()));
    assert_eq!(a.shard.digest(), b.shard.digest());
}

#[test]
fn a_large_set_is_kept_in_runs_that_stay_small() {
    let id = ObjectId::new(Kind::Set, "big");
    let mut a = Replica::new(1, &id);
    for chunk in 0..200 {
        let ops = (0..100)
            .map(|n| PathOp::Add {
                path: Path::ROOT,
                member: format!("member-{:05}", (n * 7919 + chunk * 31) % 20_000).into(),
            })
            .collect();
        a.write(&id, Change::Ops(ops));
    }
    assert_eq!(a.shard.digest(), a.shard.recomputed_digest());
    let mut b = Replica::new(2, &id);
    b.shard.merge_state(a.shard.state()).unwrap();
    assert_eq!(a.read(&id), b.read(&id));
    let members: Vec<String> = serde_json::from_str(&a.read(&id)).unwrap();
    assert!(members.is_sorted() && members.len() > 5_000);
    let ops =
        members.iter().map(|m| PathOp::Remove { path: Path::ROOT, member: m.as_str().into() }).collect();
    b.write(&id, Change::Ops(ops));
    assert_eq!(b.read(&id), "Unknown");
    assert_eq!(b.shard.content_bytes(), 0);
}

#[test]
fn an_empty_document_exists() {
    let id = ObjectId::new(Kind::Document, "d");
    let mut a = Replica::new(1, &id);
    assert_eq!(a.read(&id), "Unknown");
    a.write(&id, Change::Put(tree("{}")));
    assert_eq!(a.read(&id), "{}");
    a.write(&id, Change::MergePatch(tree(r#"{"a":1}"#)));
    a.write(&id, Change::MergePatch(tree(r#"{"a":null}"#)));
    assert_eq!(a.read(&id), "{}");
    a.write(&id, Change::Destroy);
    assert_eq!(a.read(&id), "Unknown");
    assert!(a.shard.contents().is_empty());
}

#[test]
fn a_blind_destroy_hides_what_was_created_before_it() {
    let id = session();
    let (mut a, mut b) = pair(&id);
    let create = a.write(&id, Change::Put(tree("{}")));
    b.write(&id, Change::Destroy);
    b.shard.receive(NewOp::of(create));
    assert_eq!(b.read(&id), "Ended");
    b.write(&id, Change::Put(tree(r#"{"again":true}"#)));
    assert_eq!(b.read(&id), r#"{"again":true}"#);
}

#[test]
fn a_state_that_does_not_fit_its_digest_changes_nothing() {
    let id = session();
    let (mut a, mut b) = pair(&id);
    a.write(&id, Change::Put(tree("{}")));
    let mut state = a.shard.state();
    state.content_sum ^= 1;
    assert!(b.shard.merge_state(state).is_err());
    assert!(b.shard.merge_state(Shard::new(ShardId(id.shard().0 ^ 1)).state()).is_err());
    assert_eq!(b.shard.digest(), Shard::new(id.shard()).digest());
}

#[test]
fn what_waits_is_bounded_by_number_and_by_bytes_and_comes_again() {
    let id = ObjectId::new(Kind::Document, "d");
    let (mut a, mut b) = pair(&id);
    let mut written = Vec::new();
    for n in 0..PENDING_MAX + 100 {
        written.push(a.write(&id, Change::Put(tree(&format!("{{\"n\":{n}}}")))));
    }
    // All but the first, each of which waits for it.
    let late = |b: &mut Replica| {
        written[1..].iter().for_each(|op| drop(b.shard.receive(NewOp::of(Arc::clone(op)))));
    };
    let before = b.shard.memory_bytes();
    late(&mut b);
    assert_eq!(b.shard.pending_len(), PENDING_MAX, "the bound is reached, and holds");
    late(&mut b);
    assert_eq!(b.shard.pending_len(), PENDING_MAX);
    assert_eq!(b.shard.memory_bytes(), before + b.shard.pending_bytes());
    assert_eq!(b.shard.receive(NewOp::of(Arc::clone(&written[0]))).len(), PENDING_MAX + 1);
    assert_eq!((b.shard.pending_len(), b.shard.pending_bytes()), (0, 0));
    late(&mut b);
    assert_eq!(b.read(&id), a.read(&id), "what was dropped has come again");

    let large = format!("{{\"s\":\"{}\"}}", "x".repeat(900_000));
    let missing = a.write(&id, Change::Put(tree("{}")));
    let large: Vec<_> = (0..40).map(|_| a.write(&id, Change::Put(tree(&large)))).collect();
    large.iter().for_each(|op| drop(b.shard.receive(NewOp::of(Arc::clone(op)))));
    assert!(b.shard.pending_len() > 1 && b.shard.pending_bytes() <= PENDING_BYTES_MAX, "36 MB came");
    b.shard.drop_pending_of(a.me);
    assert_eq!((b.shard.pending_len(), b.shard.pending_bytes()), (0, 0));
    b.shard.receive(NewOp::of(missing));
    large.iter().for_each(|op| drop(b.shard.receive(NewOp::of(Arc::clone(op)))));
    assert_eq!(b.read(&id), a.read(&id));
}

#[test]
fn a_state_is_read_as_the_general_way_reads_it() {
    let id = session();
    let (mut a, _) = pair(&id);
    a.write(&id, Change::Put(tree(r#"{"user":{"name":"ada","age":36},"cart":[1,2],"x":null}"#)));
    let large = format!(
        r#"{{"a":[1],{}"z":0}}"#,
        (0..500).map(|n| format!(r#""{n}":"{n:020}","#)).collect::<String>()
    );
    for name in 0.. {
        let other = ObjectId::new(Kind::Document, &format!("d{name}"));
        if other.shard() == id.shard() {
            a.write(&other, Change::Put(tree(&large)));
            break;
        }
    }
    for state in [a.shard.state(), Shard::new(id.shard()).state()] {
        let mut bytes = Vec::new();
        state.append_to(&mut bytes);
        assert_eq!(ShardState::read(&bytes), Some(state.clone()));
        assert_eq!(postcard::from_bytes::<ShardState>(&bytes), Ok(state));
        for len in (0..bytes.len()).step_by(7) {
            assert_eq!(ShardState::read(&bytes[..len]), None, "{len}");
        }
        bytes.push(0);
        assert_eq!(ShardState::read(&bytes), None);
    }
}
