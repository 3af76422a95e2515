//! Who joins is ready when it has what every member has, those who are linked late among them.

use super::super::join::BEYOND;
use super::*;

/// Two members, of which the second one has what nobody else has, and a third that has lost its memory and is linked with the first.
fn one_alone_has(net: &mut Net) {
    net.run_millis(3_000);
    assert!(net.nodes.iter().all(|node| node.readiness() == Readiness::Ready));
    net.cut_off(2);
    net.unlink(0, 1);
    net.put(1, &session("only here"), "{}");
    net.start(2);
    net.unlink(2, 1);
    net.run_millis(1_000);
    assert!(
        matches!(net.nodes[2].readiness(), Readiness::CatchingUp { .. }),
        "it has taken the first one's state"
    );
}

#[test]
fn a_process_that_joins_waits_for_a_member_that_does_not_gossip_yet() {
    let mut net = Net::new(3);
    one_alone_has(&mut net);
    net.link(2, 1);
    while net.nodes[2].readiness() != Readiness::Ready {
        net.run_millis(1);
        assert!(net.mono < MonoMicros(6_000_000), "it is ready in the end");
    }
    assert_eq!(net.read(2, &session("only here")), "{}", "it has what may be nowhere else");
}

#[test]
fn a_member_that_is_down_is_not_waited_for_as_long_as_one_that_gossips() {
    let mut net = Net::new(3);
    one_alone_has(&mut net);
    net.run_millis(1_000);
    assert_ne!(net.nodes[2].readiness(), Readiness::Ready, "gossip may show it still");
    net.run_millis(1_000);
    assert_eq!(net.nodes[2].readiness(), Readiness::Ready, "nobody hears of it");
}

/// What node 1 has asked node 0 for, until it is ready. Of the states on their way the `lost`th is lost.
fn asked_for_by_who_joins(lost: Option<usize>) -> Vec<Vec<ShardId>> {
    let mut net = Net::new(2);
    net.run_millis(3_000);
    net.put(0, &session("old"), "{}");
    net.start(1);
    let (mut asked, mut states) = (BTreeMap::new(), 0);
    while net.nodes[1].readiness() != Readiness::Ready {
        net.run_millis(1);
        assert!(net.mono < MonoMicros(20_000_000), "it is ready in the end");
        net.air.retain(|(at, from, _, message)| {
            if let (1, Message::WantStates(shards)) = (*from, message) {
                asked.insert((*at, shards.clone()), ());
            }
            if matches!(message, Message::State(_)) && *at == net.mono.plus_millis(net.delay_millis) {
                states += 1;
                return Some(states) != lost;
            }
            true
        });
    }
    assert_eq!(net.read(1, &session("old")), "{}");
    asked.into_keys().map(|(_, shards)| shards).collect()
}

#[test]
fn who_joins_asks_for_more_before_all_it_has_asked_for_is_there_and_for_nothing_twice() {
    let asked = asked_for_by_who_joins(None);
    let lengths: Vec<usize> = asked.iter().map(Vec::len).collect();
    assert_eq!((lengths[0], &lengths[1..]), (8, &[4; 62][..]));
    let shards: BTreeSet<ShardId> = asked.into_iter().flatten().collect();
    assert_eq!(shards.len(), 256);
}

#[test]
fn a_state_that_is_lost_is_asked_for_again() {
    let asked = asked_for_by_who_joins(Some(20));
    let mut times: BTreeMap<ShardId, usize> = BTreeMap::new();
    asked.into_iter().flatten().for_each(|shard| *times.entry(shard).or_default() += 1);
    let again: Vec<usize> = times.values().copied().filter(|times| *times > 1).collect();
    assert_eq!((times.len(), again), (256, vec![2]));
}

/// What it is told of a stranger, whose release is an old one perhaps. Gives whether it will have nothing to do with it.
fn parts_with(net: &mut Net, stranger: ReplicaId, is_outdated: bool) -> bool {
    let now = net.now(0);
    let node = &mut net.nodes[0];
    let replica = Replica { node: format!("n{stranger}"), started: now.wall, id: stranger };
    let hello = Hello { replica, cluster: "test".into(), fresh: true, lineage: 0 };
    node.handle(now, Input::LinkUp(stranger));
    if is_outdated {
        node.handle(now, Input::Outdated(stranger));
    }
    node.handle(now, Input::Message(stranger, Message::Hello(hello)));
    let outputs: Vec<Output> = std::iter::from_fn(|| node.poll_output()).collect();
    let parting = |output: &Output| matches!(output, Output::Disconnect(peer, why) if *peer == stranger && *why == BEYOND);
    outputs.iter().any(parting)
}

#[test]
fn a_release_that_cannot_read_what_is_folded_is_told_so_and_is_no_member() {
    let mut net = three();
    assert!(!parts_with(&mut net, ReplicaId(90), true), "nothing is folded yet");
    net.nodes[0].shards[7].is_folded = true;
    let members = net.nodes[0].roster.living().count();
    assert!(parts_with(&mut net, ReplicaId(91), true));
    assert_eq!(net.nodes[0].roster.living().count(), members);
    assert!(!parts_with(&mut net, ReplicaId(92), false));
    assert_eq!(net.nodes[0].roster.living().count(), members + 1);
}

#[test]
fn a_node_that_is_refused_does_not_start_alone_before_that_ends() {
    let mut net = Net::new(1);
    net.clock_offsets_millis.push(0);
    net.cut.extend([(0, 1), (1, 0)]);
    let config = net.config(1, "n1");
    let now = net.now(1);
    net.nodes.push(Node::new(config, now));
    for _ in 0..10 {
        net.input(1, Input::Refused);
        net.run_millis(5_000);
        assert_eq!(net.nodes[1].readiness(), Readiness::Refused);
    }
    // It has the right key now.
    net.link(0, 1);
    net.run_millis(1_000);
    assert_eq!(net.nodes[1].readiness(), Readiness::Ready);
    net.input(1, Input::Refused);
    assert_eq!(net.nodes[1].readiness(), Readiness::Ready, "a member is not asked any more");
    // And one that hears of it no more is alone after all.
    let config = net.config(1, "n1");
    net.cut_off(1);
    let now = net.now(1);
    net.nodes[1] = Node::new(config, now);
    net.input(1, Input::Refused);
    net.run_millis(11_000);
    assert_eq!(net.nodes[1].readiness(), Readiness::Refused);
    net.run_millis(2_000);
    assert_eq!(net.nodes[1].readiness(), Readiness::Ready);
}
