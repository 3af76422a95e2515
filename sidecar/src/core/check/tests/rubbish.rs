//! What a peer sends may be anything: a node takes it or drops it, and goes on.

use crate::core::check::rng::Rng;
use crate::core::check::world::{MIXED, Setup, World, object, steps};
use crate::core::command::{Change, Lookup, Write};
use crate::core::fuzzed::{PEER, linked, now};
use crate::core::identity::{Clock, Dot, Kind, ReplicaId};
use crate::core::message::{Message, Missing, ShardClock};
use crate::core::mutant::Mutants;
use crate::core::node::Input;
use crate::core::value::Tree;

/// Honest messages about the shard of a random world.
fn honest(seed: u64) -> Vec<Message> {
    let setup = Setup::new(seed, MIXED, Mutants::NONE);
    let mut world = World::new(setup.clone());
    for (at, step) in steps(seed, &setup, 60).iter().enumerate() {
        world.run_one(at, step).unwrap();
    }
    let mut messages = Vec::new();
    for replica in &world.replicas {
        let shard = &replica.shard;
        let ops = shard.missing(&Clock::default()).unwrap_or_default();
        messages.extend(ops.iter().map(|op| Message::Ops(vec![op.clone()])));
        messages.push(Message::Answer { id: 1, missing: Missing::Ops(ops), ended: false });
        messages.push(Message::State(Box::new(shard.state())));
        messages.push(Message::Answer {
            id: 1,
            missing: Missing::State(Box::new(shard.state())),
            ended: true,
        });
        messages.push(Message::Clocks(vec![ShardClock { shard: shard.id(), clock: shard.clock().clone() }]));
        messages.push(Message::Digests { total: shard.digest(), shards: vec![(shard.id(), shard.digest())] });
        let (id, object) = (3, object(Kind::Session));
        messages.push(Message::Ask { id, object, clock: shard.clock().clone() });
    }
    messages
}

/// The same message with a few bytes changed, where that is still a message.
fn mangled(message: &Message, rng: &mut Rng) -> Option<Message> {
    let mut bytes = postcard::to_allocvec(message).unwrap();
    for _ in 0..rng.pick(&[1, 1, 2, 8]) {
        let at = rng.index(bytes.len());
        bytes[at] = match rng.below(4) {
            0 => 0,
            1 => 0xff,
            2 => bytes[at] ^ (1 << rng.below(8)),
            _ => rng.below(256) as u8,
        };
    }
    postcard::from_bytes(&bytes).ok()
}

/// The same authors, all as far as a number goes.
fn raised(clock: &Clock) -> Clock {
    clock.iter().map(|dot| Dot::new(dot.actor, u64::MAX)).collect()
}

#[test]
fn a_node_survives_the_largest_numbers() {
    let mut node = linked();
    let honest = honest(1);
    let boasts = honest.into_iter().map(|mut message| {
        match &mut message {
            Message::State(state) | Message::Answer { missing: Missing::State(state), .. } => {
                state.clock = raised(&state.clock);
            }
            Message::Clocks(clocks) => {
                for clock in clocks {
                    clock.clock = raised(&clock.clock);
                }
            }
            _ => {}
        }
        message
    });
    for (step, message) in boasts.enumerate() {
        node.handle(now(step as u64 * 20), Input::Message(PEER, message));
        let _ = node.members(now(step as u64 * 20));
        let _ = node.status();
        let _ = node.hand_over();
        while node.poll_output().is_some() {}
    }
}

#[test]
fn a_node_survives_whatever_parses() {
    let mut taken = 0;
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let mut node = linked();
        let honest = honest(seed);
        for step in 1..3_000 {
            let message = &honest[rng.index(honest.len())];
            if let Some(message) = mangled(message, &mut rng) {
                taken += 1;
                node.handle(now(step), Input::Message(PEER, message));
            }
            if step % 50 == 0 {
                let kind = Kind::ALL[rng.index(4)];
                let _ = node.look_up(now(step), &object(kind));
                let _ = node.explain(now(step), &object(kind));
                let _ = node.conflicts(now(step), &object(kind));
                let patch = Tree::parse(br#"{"a":{"b":1},"c":null}"#, 8).unwrap();
                let write = Write::new(object(kind), Change::MergePatch(patch));
                let _ = node.write(now(step), &write);
                let _ = node.write(now(step), &Write::new(object(kind), Change::Destroy));
                node.handle(now(step), Input::Tick);
            }
            while node.poll_output().is_some() {}
        }
        let put = Change::Put(Tree::EMPTY);
        let login = crate::core::identity::ObjectId::new(Kind::Session, "somebody");
        node.write(now(3_000), &Write::new(login.clone(), put)).unwrap();
        assert!(matches!(node.look_up(now(3_000), &login), Lookup::Found(_)));
        assert_eq!(Dot::new(node.id(), 0).actor, ReplicaId(7));
    }
    assert!(taken > 5_000, "{taken} mangled messages parsed");
}
