//! Short histories of forgetting: what an operator may say, what a disk remembers, and what somebody who was away is told.

use super::*;
use crate::core::command::KeptMember;

/// Three members, the third of which is out of reach.
fn two_and_one() -> Net {
    let mut net = three();
    net.put(2, &session("shared"), r#"{"a":1}"#);
    net.run_millis(2_000);
    net.cut_off(2);
    net
}

fn expired_and_gone(net: &mut Net) -> bool {
    net.run_millis(120_000);
    net.nodes[0].status().figures.content_bytes == 0
}

#[test]
fn only_a_member_that_is_not_heard_is_given_up() {
    let mut net = three();
    assert_eq!(net.nodes[0].give_up("n1"), Err(KeptMember::Alive));
    assert_eq!(net.nodes[0].give_up("n0"), Err(KeptMember::Alive));
    assert_eq!(net.nodes[0].give_up("n9"), Err(KeptMember::Unknown));
    net.cut_off(2);
    let replica = net.nodes[2].config.replica.clone();
    net.input(0, Input::Liveness { replica: replica.clone(), alive: true });
    assert_eq!(net.nodes[0].give_up("n2"), Err(KeptMember::Alive), "it gossips");
    net.input(0, Input::Liveness { replica, alive: false });
    assert_eq!(net.nodes[0].give_up("n2"), Ok(()));
    net.flush(0);
    assert_eq!(net.nodes[0].give_up("n2"), Ok(()), "once more changes nothing");
}

/// Finding 25, and what it is good for: a silent member keeps everybody from collecting anything, until it is given up.
#[test]
fn a_member_given_up_is_waited_for_no_more_and_starts_over_when_it_is_back() {
    let mut net = two_and_one();
    net.over = Some(Vec::new());
    net.put(2, &session("alone"), r#"{"b":2}"#);
    net.write(0, &Write::new(session("shared"), Change::Destroy));
    let brief = Change::Put(Tree::parse(br#"{"a":1}"#, DEPTH_MAX).unwrap());
    net.write(0, &Write { ttl_millis: Some(1_000), ..Write::new(session("brief"), brief) });
    assert!(!expired_and_gone(&mut net), "the third could be using it");
    net.nodes[0].give_up("n2").unwrap();
    net.flush(0);
    assert!(expired_and_gone(&mut net));
    net.connect(2);
    net.run_millis(10_000);
    let over = net.over.take().unwrap();
    assert_eq!(over.len(), 1, "only the one that was given up");
    let (index, dropped) = &over[0];
    assert_eq!((*index, dropped.why, dropped.count), (2, DroppedWhy::Forgotten, 1));
    assert_eq!(dropped.ops[0].object, session("alone"));
    for index in 0..2 {
        assert!(!net.read(index, &session("shared")).starts_with('{'), "what was destroyed stays so");
        assert!(!net.read(index, &session("alone")).starts_with('{'));
    }
    net.start(2);
    net.run_millis(10_000);
    assert_eq!(net.nodes[2].readiness(), Readiness::Ready);
    net.put(2, &session("again"), "{}");
    net.run_millis(1_000);
    assert_eq!(net.read(0, &session("again")), "{}");
}

/// It was down when it was given up, and is started again with its disk.
#[test]
fn a_member_given_up_that_comes_back_with_its_disk_shares_nothing_of_it_and_starts_over() {
    let mut net = two_and_one();
    net.put(2, &session("alone"), r#"{"b":2}"#);
    let old = &net.nodes[2];
    let state = |id| Shard::from_state(id, old.shard(id).state()).unwrap();
    let (shards, node) = (ShardId::all().map(state).collect(), old.saved_node());
    net.nodes[0].give_up("n2").unwrap();
    net.flush(0);
    net.over = Some(Vec::new());
    let restored = Restored { shards, node, is_current: true, is_awaited: true };
    net.nodes[2] = Node::restore(net.config(2, "n2"), net.now(2), restored);
    net.connect(2);
    net.run_millis(10_000);
    let over = net.over.take().unwrap();
    let (index, dropped) = &over[0];
    assert_eq!((over.len(), *index, dropped.why, dropped.count), (1, 2, DroppedWhy::Forgotten, 1));
    assert!((0..2).all(|index| !net.read(index, &session("alone")).starts_with('{')));
}
