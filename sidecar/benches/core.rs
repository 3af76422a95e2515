//! The core's hot paths: `cargo bench -p sidetalk --bench core`.
//!
//! Times are medians of a noisy machine; allocations are exact.

#![expect(clippy::expect_used, reason = "a benchmark that cannot set itself up must stop")]

use divan::{AllocProfiler, Bencher, black_box};
use sidetalk::core::command::{Change, Lookup, PathOp, Write};
use sidetalk::core::identity::{Kind, ObjectId, Replica, ReplicaId, ShardId};
use sidetalk::core::message::Message;
use sidetalk::core::node::{Input, Node, NodeConfig};
use sidetalk::core::packed::{NewOp, PackedOp};
use sidetalk::core::path::Path;
use sidetalk::core::shard::Shard;
use sidetalk::core::time::{MonoMicros, Now, UnixMillis};
use sidetalk::core::value::Tree;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A session as express-session writes one, 282 bytes.
const SESSION: &str = r#"{"cookie":{"originalMaxAge":86400000,"expires":"2026-11-24T06:05:42.000Z","secure":true,"httpOnly":true,"path":"/","sameSite":"lax"},"user":{"id":184467,"name":"Ada Lovelace","email":"ada@example.org","roles":["admin","editor"]},"cart":[{"sku":"A-1","n":2}],"views":17,"csrf":"9f8e7d6c"}"#;

const NOW: Now = Now { mono: MonoMicros(1), wall: UnixMillis(1_790_000_000_000) };

fn node(id: u64) -> Node {
    let replica = Replica { node: format!("n{id}"), started: NOW.wall, id: ReplicaId(id) };
    let config = NodeConfig { bootstrap_millis: 0, lineage: 7, ..NodeConfig::new(replica, "bench") };
    Node::new(config, NOW)
}

fn session(n: usize) -> ObjectId {
    ObjectId::new(Kind::Session, &format!("sess:{n:028}"))
}

fn put(object: ObjectId) -> Write {
    Write::new(object, Change::Put(Tree::parse(SESSION.as_bytes(), 64).expect("JSON")))
}

fn patch(object: ObjectId) -> Write {
    Write::new(object, Change::MergePatch(Tree::parse(br#"{"views":18}"#, 64).expect("JSON")))
}

/// What one node writes, as another receives it.
fn written(writer: &mut Node, write: &Write) -> NewOp {
    writer.write(NOW, write).expect("written");
    let object = write.object.clone();
    let shard = writer.shard(object.shard());
    let ops = shard.missing(&Default::default()).expect("the log reaches back");
    ops.into_iter().next_back().and_then(PackedOp::open).expect("an operation")
}

#[divan::bench]
fn render_a_session(bencher: Bencher<'_, '_>) {
    assert!((270..310).contains(&SESSION.len()), "{}", SESSION.len());
    let mut node = node(1);
    node.write(NOW, &put(session(1))).expect("written");
    let id = session(1);
    bencher.bench_local(|| match node.look_up(NOW, black_box(&id)) {
        Lookup::Found(view) => view.body.len(),
        _ => unreachable!(),
    });
}

#[divan::bench]
fn apply_a_remote_patch(bencher: Bencher<'_, '_>) {
    let (mut a, shard) = (node(1), session(1).shard());
    let create = written(&mut a, &put(session(1)));
    let edit = written(&mut a, &patch(session(1)));
    let mut b = Shard::new(shard);
    b.receive(create);
    bencher.with_inputs(|| (b.clone(), edit.clone())).bench_local_values(|(mut shard, op)| {
        assert_eq!(shard.receive(op).len(), 1);
        shard
    });
}

#[divan::bench]
fn apply_a_remote_create(bencher: Bencher<'_, '_>) {
    let mut a = node(1);
    let create = written(&mut a, &put(session(1)));
    bencher.with_inputs(|| (Shard::new(session(1).shard()), create.clone())).bench_local_values(
        |(mut shard, op)| {
            assert_eq!(shard.receive(op).len(), 1);
            shard
        },
    );
}

#[divan::bench]
fn write_one_field(bencher: Bencher<'_, '_>) {
    let mut a = node(1);
    a.write(NOW, &put(session(1))).expect("written");
    let write = patch(session(1));
    bencher.bench_local(|| {
        a.write(NOW, black_box(&write)).expect("written");
        while a.poll_output().is_some() {}
    });
}

#[divan::bench]
fn count(bencher: Bencher<'_, '_>) {
    let mut a = node(1);
    let add = Change::Ops(vec![PathOp::Increment { path: Path::ROOT, by: 1 }]);
    let write = Write::new(ObjectId::new(Kind::Counter, "hits"), add);
    bencher.bench_local(|| {
        a.write(NOW, black_box(&write)).expect("written");
        while a.poll_output().is_some() {}
    });
}

/// Ten thousand sessions of 282 bytes, everyone having them, so without a log: `alloc` divided by 10,000 is what
/// one costs.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn hold_ten_thousand_sessions(bencher: Bencher<'_, '_>) {
    let mut a = node(1);
    for n in 0..10_000 {
        a.write(NOW, &put(session(n))).expect("written");
    }
    let shards: Vec<Shard> = ShardId::all()
        .map(|id| {
            let mut shard = a.shard(id).clone();
            shard.truncate_log(0, |_| true);
            shard
        })
        .collect();
    bencher.bench_local(|| shards.clone());
}

/// The smallest message, as a baseline for the others.
#[divan::bench]
fn handle_an_empty_message(bencher: Bencher<'_, '_>) {
    let mut a = node(1);
    let peer = ReplicaId(2);
    a.handle(NOW, Input::LinkUp(peer));
    bencher.bench_local(|| {
        a.handle(NOW, Input::Message(peer, Message::Applied(Vec::new())));
        while a.poll_output().is_some() {}
    });
}
