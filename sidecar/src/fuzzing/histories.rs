//! Histories of honest replicas, step by step as the bytes say.

use std::sync::Arc;

use crate::core::check::rng::Rng;
use crate::core::check::world::{
    Act, CONFLICTS, COUNTERS, Event, LARGE, MIXED, SESSIONS, Setup, Step, TREES, World,
};
use crate::core::mutant::Mutants;
use crate::core::op::Op;
use crate::core::packed::NewOp;
use crate::core::shard::Shard;

const ACTS: [Act; 13] = [
    Act::Time,
    Act::Session,
    Act::Document,
    Act::Counter,
    Act::Set,
    Act::Deliver,
    Act::Sync,
    Act::Snapshot,
    Act::Join,
    Act::Truncate,
    Act::Restart,
    Act::Split,
    Act::Collect,
];

/// Steps that are taken, at most: each costs a fraction of a millisecond.
const STEPS_MAX: usize = 96;

/// Two bytes set the world up; each step takes four: what, where, and two of chance.
///
/// Every replica is what an independent specification makes of the operations that it has seen, promises to users are
/// kept, and all operations in two orders make one content.
pub(super) fn histories(data: &[u8]) {
    let Some((&[seed, profile], rest)) = data.split_first_chunk::<2>() else { return };
    let profiles = [MIXED, SESSIONS, COUNTERS, TREES, CONFLICTS, LARGE];
    let setup = Setup::new(u64::from(seed), profiles[usize::from(profile) % profiles.len()], Mutants::NONE);
    let nodes = setup.skews_millis.len();
    let steps: Vec<Step> = rest
        .chunks_exact(4)
        .take(STEPS_MAX)
        .map(|step| Step {
            act: ACTS[usize::from(step[0]) % ACTS.len()],
            node: usize::from(step[1]) % nodes,
            seed: u64::from(u16::from_le_bytes([step[2], step[3]])),
        })
        .collect();
    let mut world = World::new(setup);
    world.events = Some(Vec::new());
    if let Err(violation) = world.run(&steps, 16) {
        panic!("{violation:?}");
    }
    two_orders(&world, u64::from(seed));
}

fn two_orders(world: &World, seed: u64) {
    let written = |event: &Event| match event {
        Event::Authored(_, op) => Some(Arc::clone(op)),
        _ => None,
    };
    let mut ops: Vec<Arc<Op>> = world.events.iter().flatten().filter_map(written).collect();
    let Some(first) = ops.first() else { return };
    let id = first.object.shard();
    let all = |ops: &[Arc<Op>]| {
        let mut shard = Shard::new(id);
        for op in ops {
            shard.receive(NewOp::of(Arc::clone(op)));
        }
        shard
    };
    let one = all(&ops);
    Rng::new(seed).shuffle(&mut ops);
    let other = all(&ops);
    assert_eq!(one.clock(), other.clock());
    assert_eq!(one.digest(), other.digest(), "equal clocks, different content");
    assert_eq!(other.digest(), other.recomputed_digest());
}
