//! What is over is named once, when everybody that counts has the same of it; and is named again should more of it come.

use super::*;
use crate::core::op::{Action, Edit, Lease};

/// Node 2's first process has written and is over.
fn one_is_over() -> (Net, ReplicaId, ObjectId) {
    let mut net = three();
    let (id, dead) = (session("s"), net.nodes[2].id());
    net.put(2, &id, r#"{"a":1}"#);
    net.run_millis(2_000);
    (net, dead, id)
}

fn is_past(net: &Net, index: usize, dead: ReplicaId) -> bool {
    net.nodes[index].past.has(dead)
}

fn all_agree(net: &Net) {
    for shard in ShardId::all() {
        let [a, b, c] = [0, 1, 2].map(|index| net.nodes[index].shard(shard));
        assert!(
            a.clock() == b.clock() && b.clock() == c.clock(),
            "{} {} {}",
            a.clock(),
            b.clock(),
            c.clock()
        );
        assert!(a.digest() == b.digest() && b.digest() == c.digest());
        assert_eq!(a.digest(), a.recomputed_digest());
    }
    assert_eq!(net.alarms, []);
}

#[test]
fn a_process_that_is_over_is_past_everywhere_and_known_as_before() {
    let (mut net, dead, id) = one_is_over();
    assert!(!is_past(&net, 0, dead), "it lives");
    net.start(2);
    net.run_millis(20_000);
    for index in 0..3 {
        assert!(is_past(&net, index, dead));
        let shard = net.nodes[index].shard(id.shard());
        assert_eq!(shard.clock().get(&dead), 1);
        assert_eq!(shard.named(), [0; 3]);
    }
    let peer = net.nodes[2].id();
    assert_eq!(net.nodes[0].peers[&peer].known.named(id.shard()), 0);
    assert_eq!(net.nodes[0].peers[&peer].known.counter(id.shard(), dead), 1);
    all_agree(&net);
}

#[test]
fn nothing_is_past_while_a_member_that_counts_is_away() {
    let (mut net, dead, _) = one_is_over();
    net.cut_off(1);
    net.start(2);
    net.cut_off(1);
    net.run_millis(60_000);
    assert!(!is_past(&net, 0, dead), "node 1 has not heard that it is over");
    net.connect(1);
    net.run_millis(20_000);
    assert!((0..3).all(|index| is_past(&net, index, dead)));
    all_agree(&net);
}

/// A disk may return with what nobody had, in the hands of somebody who lives.
#[test]
fn more_of_what_is_past_reaches_everyone_and_is_past_no_more() {
    let (mut net, dead, id) = one_is_over();
    let mut disk = net.nodes[2].shard(id.shard()).clone();
    net.start(2);
    net.run_millis(20_000);
    let lease = Lease { idle: UnixMillis::NEVER, absolute: UnixMillis::NEVER };
    let action =
        Action::Create { lease, kills: Vec::new(), barriers_seen: Vec::new(), edit: Edit::default() };
    let late = disk.author(dead, disk.latest().next(), id.clone(), action);
    let from = net.nodes[1].id();
    net.input(0, Input::Message(from, Message::Ops(vec![late.packed()])));
    net.run_millis(20_000);
    for index in 0..3 {
        let shard = net.nodes[index].shard(id.shard());
        assert_eq!(shard.clock().get(&dead), 2);
        assert!(shard.clock().exceeds_past());
    }
    all_agree(&net);
    // And what is written on top of it, by somebody who then dies as well.
    let next = net.nodes[1].id();
    net.put(1, &id, r#"{"b":2}"#);
    net.run_millis(2_000);
    net.start(1);
    net.run_millis(20_000);
    assert!((0..3).all(|index| is_past(&net, index, next)));
    all_agree(&net);
}

/// The first word of a life names all that its author has seen: also what is past.
#[test]
fn the_first_operation_of_a_life_names_the_past() {
    let (mut net, dead, id) = one_is_over();
    net.start(2);
    net.run_millis(20_000);
    net.put(2, &id, r#"{"b":2}"#);
    let ours = net.nodes[2].id();
    let since: Clock =
        net.nodes[2].shard(id.shard()).clock().iter().filter(|dot| dot.actor != ours).collect();
    let ops = net.nodes[2].shard(id.shard()).missing_ops(&since).unwrap();
    assert_eq!(ops.last().unwrap().deps, [Dot::new(dead, 1)]);
    net.run_millis(2_000);
    all_agree(&net);
}
