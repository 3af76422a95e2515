//! The core's hot paths, each as one step that can be taken again and again: what `tests/allocations.rs` counts.

#![expect(clippy::expect_used, reason = "a guard that cannot set itself up must stop")]

use std::hint::black_box;

use sidetalk::core::command::{Change, Lookup, Write};
use sidetalk::core::identity::{Kind, ObjectId, Replica, ReplicaId};
use sidetalk::core::message::{Hello, Message, Progress};
use sidetalk::core::node::{Input, Node, NodeConfig, Output};
use sidetalk::core::shard::Shard;
use sidetalk::core::time::{MonoMicros, Now, UnixMillis};
use sidetalk::core::value::Tree;
use sidetalk::wire::{Decoder, Guard, Incoming, encode};

/// A session as express-session writes one, 282 bytes.
const SESSION: &str = r#"{"cookie":{"originalMaxAge":86400000,"expires":"2026-11-24T06:05:42.000Z","secure":true,"httpOnly":true,"path":"/","sameSite":"lax"},"user":{"id":184467,"name":"Ada Lovelace","email":"ada@example.org","roles":["admin","editor"]},"cart":[{"sku":"A-1","n":2}],"views":17,"csrf":"9f8e7d6c"}"#;

const NOW: Now = Now { mono: MonoMicros(1), wall: UnixMillis(1_790_000_000_000) };

/// One step, given its number.
pub(crate) type Step = Box<dyn FnMut(usize)>;

/// The names of all paths.
pub(crate) const PATHS: [&str; 10] = [
    "render a session",
    "create a session",
    "patch a field",
    "patch a field and hear that a peer has it",
    "apply a create",
    "apply a patch",
    "encode a patch",
    "decode a patch",
    "digest a shard anew",
    "take over a shard of 100 sessions",
];

fn replica(id: u64) -> Replica {
    Replica { node: format!("n{id}"), started: NOW.wall, id: ReplicaId(id) }
}

/// A node with one peer, which takes operations.
fn node(id: u64, peer: u64) -> Node {
    let config = NodeConfig { bootstrap_millis: 0, lineage: 7, ..NodeConfig::new(replica(id), "guard") };
    let mut node = Node::new(config, NOW);
    let peer = replica(peer);
    node.handle(NOW, Input::LinkUp(peer.id));
    let hello = Hello { replica: peer.clone(), cluster: "guard".into(), fresh: false, lineage: 7 };
    node.handle(NOW, Input::Message(peer.id, Message::Hello(hello)));
    drain(&mut node);
    node
}

fn drain(node: &mut Node) -> Vec<Message> {
    let mut sent = Vec::new();
    while let Some(output) = node.poll_output() {
        if let Output::Send(_, message) = output {
            sent.push(Message::clone(&message));
        }
    }
    sent
}

/// The names of sessions that lie in one shard.
fn ids(count: usize) -> Vec<ObjectId> {
    let all = (0..).map(|n| ObjectId::new(Kind::Session, &format!("sess:{n:028}")));
    let shard = ObjectId::new(Kind::Session, "here").shard();
    all.filter(|id| id.shard() == shard).take(count).collect()
}

fn put(id: &ObjectId) -> Write {
    Write::new(id.clone(), Change::Put(Tree::parse(SESSION.as_bytes(), 64).expect("JSON")))
}

fn patch(id: &ObjectId) -> Write {
    Write::new(id.clone(), Change::MergePatch(Tree::parse(br#"{"views":18}"#, 64).expect("JSON")))
}

/// A node that has made these writes, and what it has told its peer of each.
fn written(writes: &[Write]) -> (Node, Vec<Message>) {
    let mut writer = node(1, 2);
    let told = writes.iter().map(|write| {
        writer.write(NOW, write).expect("written");
        drain(&mut writer).pop().expect("its peer is told")
    });
    let told = told.collect();
    (writer, told)
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, Guard::Transport, &mut bytes).expect("it is short");
    bytes
}

fn decoded(bytes: &[u8]) -> Message {
    let mut decoder = Decoder::new(Guard::Transport);
    decoder.push(bytes);
    match decoder.next_message().expect("it is one of ours") {
        Some(Incoming::Message(message)) => *message,
        _ => unreachable!("it is whole"),
    }
}

/// What a peer receives, step by step.
fn receive(mut receiver: Node, told: &[Message]) -> Step {
    let mut told = told.iter().map(|message| decoded(&bytes_of(message))).collect::<Vec<_>>().into_iter();
    Box::new(move |_| {
        let message = told.next().expect("there is one for each step");
        receiver.handle(NOW, Input::Message(ReplicaId(1), message));
        while receiver.poll_output().is_some() {}
    })
}

/// A node by itself.
pub(crate) fn alone() -> Node {
    let config = NodeConfig { bootstrap_millis: 0, lineage: 7, ..NodeConfig::new(replica(1), "guard") };
    Node::new(config, NOW)
}

/// Writes many sessions, and lets it take its time to empty its logs.
pub(crate) fn fill(node: &mut Node, count: usize) {
    for n in 0..count {
        node.write(NOW, &put(&ObjectId::new(Kind::Session, &format!("sess:{n:028}")))).expect("written");
        while node.poll_output().is_some() {}
    }
    for second in 1..=30 {
        for tenth in 0..10 {
            let mono = NOW.mono.plus_millis(second * 1_000 + tenth * 100);
            node.handle(Now { mono, wall: NOW.wall.plus(second * 1_000 + tenth * 100) }, Input::Tick);
        }
    }
    assert_eq!(node.status().figures.log_ops, 0);
    while node.poll_output().is_some() {}
}

/// One of [`PATHS`], made ready for so many steps.
pub(crate) fn path(name: &str, steps: usize) -> Step {
    let ids = ids(steps.max(100));
    let id = ids[0].clone();
    match name {
        "render a session" => {
            let (node, _) = written(&[put(&id)]);
            Box::new(move |_| assert!(matches!(node.look_up(NOW, black_box(&id)), Lookup::Found(_))))
        }
        "create a session" => {
            let mut node = node(1, 2);
            let writes: Vec<Write> = ids.iter().map(put).collect();
            Box::new(move |step| {
                node.write(NOW, &writes[step]).expect("written");
                while node.poll_output().is_some() {}
            })
        }
        "patch a field" => {
            let (mut node, _) = written(&[put(&id)]);
            let write = patch(&id);
            Box::new(move |_| {
                node.write(NOW, black_box(&write)).expect("written");
                while node.poll_output().is_some() {}
            })
        }
        "patch a field and hear that a peer has it" => {
            let (mut node, _) = written(&[put(&id)]);
            let write = patch(&id);
            Box::new(move |_| {
                let dot = node.write(NOW, black_box(&write)).expect("written").token.dots[0];
                let progress = Progress { shard: id.shard(), dot };
                node.handle(NOW, Input::Message(ReplicaId(2), Message::Applied(vec![progress])));
                while node.poll_output().is_some() {}
            })
        }
        "apply a create" => receive(node(2, 1), &written(&ids.iter().map(put).collect::<Vec<_>>()).1),
        "apply a patch" => {
            let writes: Vec<Write> =
                std::iter::once(put(&id)).chain((0..steps).map(|_| patch(&id))).collect();
            let mut told = written(&writes).1;
            let mut receiver = node(2, 1);
            receiver.handle(NOW, Input::Message(ReplicaId(1), decoded(&bytes_of(&told.remove(0)))));
            receive(receiver, &told)
        }
        "encode a patch" => {
            let message = written(&[put(&id), patch(&id)]).1.pop().expect("two");
            let mut bytes = Vec::with_capacity(4_096);
            Box::new(move |_| {
                bytes.clear();
                encode(black_box(&message), Guard::Transport, &mut bytes).expect("it is short");
            })
        }
        "decode a patch" => {
            let bytes = bytes_of(&written(&[put(&id), patch(&id)]).1.pop().expect("two"));
            Box::new(move |_| drop(black_box(decoded(&bytes))))
        }
        "digest a shard anew" => {
            let (node, _) = written(&ids.iter().take(100).map(put).collect::<Vec<_>>());
            Box::new(move |_| {
                let shard = node.shard(id.shard());
                assert_eq!(shard.recomputed_digest(), shard.digest());
            })
        }
        "take over a shard of 100 sessions" => {
            let (node, _) = written(&ids.iter().take(100).map(put).collect::<Vec<_>>());
            let message = Message::State(Box::new(node.shard(id.shard()).state()));
            Box::new(move |_| {
                let Message::State(state) = decoded(&bytes_of(&message)) else { unreachable!("it is one") };
                let mut shard = Shard::new(id.shard());
                assert_eq!(shard.merge_state(*state).map(|merged| merged.changed.len()), Ok(100));
            })
        }
        other => unreachable!("there is no path {other:?}"),
    }
}
