//! Two processes of one name, and processes that have said farewell: nothing that anybody acknowledges is refused.

use super::*;
use crate::core::mutant::Rule;
use crate::core::shard::Shard;

/// The node that has another process of its name, and where that one sits.
const OLD: usize = 2;
const NEW: usize = 3;

/// Three members, and a later process of the third one's name, linked with some of the others.
fn two_of_one_name(mut net: Net, linked: &[usize]) -> Net {
    net.run_millis(3_000);
    assert!(net.nodes.iter().all(|node| node.readiness() == Readiness::Ready));
    net.put(0, &session("shared"), "{}");
    net.over = Some(Vec::new());
    net.clock_offsets_millis.push(0);
    let config = net.config(NEW, "n2");
    let node = Node::with_mutants(config, net.now(NEW), net.mutants);
    seat(&mut net, node, linked);
    net
}

fn seat(net: &mut Net, node: Node, linked: &[usize]) {
    net.nodes.push(node);
    (0..NEW).for_each(|other| net.cut.extend([(NEW, other), (other, NEW)]));
    linked.iter().for_each(|other| net.link(NEW, *other));
}

fn three_of(mutants: Mutants) -> Net {
    Net::with(3, FULL_MESH_MAX, mutants)
}

fn try_put(net: &mut Net, index: usize, key: &str) -> bool {
    let now = net.now(index);
    let written = net.nodes[index].write(now, &Write::new(session(key), Change::Put(Tree::EMPTY)));
    net.flush(index);
    written.is_ok()
}

fn is_known(net: &Net, index: usize, id: ReplicaId) -> bool {
    net.nodes[index].roster.get(id).is_some()
}

/// Its process goes as soon as it starts over.
fn run_until_it_goes(net: &mut Net, index: usize) -> Dropped {
    for _ in 0..2_000 {
        net.run_millis(10);
        if let Some(at) = net.over.as_ref().unwrap().iter().position(|(who, _)| *who == index) {
            let (_, dropped) = net.over.as_mut().unwrap().remove(at);
            net.cut_off(index);
            return dropped;
        }
    }
    panic!("n{index} never goes");
}

fn write_after_a_farewell(mutants: Mutants) -> bool {
    let mut net = three_of(mutants);
    net.run_millis(2_000);
    net.input(OLD, Input::Leave);
    assert!(try_put(&mut net, OLD, "while it leaves"), "it serves until it is gone");
    net.run_millis(500);
    net.input(OLD, Input::Farewell);
    assert_eq!(net.read(OLD, &session("while it leaves")), "{}", "it may be read until it is gone");
    assert!(ShardId::all().all(|shard| !net.nodes[OLD].sweeps(shard)) || mutants != Mutants::NONE);
    let acknowledged = try_put(&mut net, OLD, "late");
    net.run_millis(5_000);
    assert_eq!(net.read(0, &session("while it leaves")), "{}");
    !acknowledged || net.read(0, &session("late")) == "{}"
}

#[test]
fn what_is_acknowledged_by_a_process_that_leaves_is_kept() {
    assert!(write_after_a_farewell(Mutants::NONE));
    assert!(!write_after_a_farewell(Mutants::without(Rule::LateWrites)), "the rule is missed");
}

#[test]
fn a_process_that_cannot_hand_over_has_not_left_and_writes_on() {
    let mut net = three_of(Mutants::NONE);
    net.run_millis(2_000);
    net.cut_off(OLD);
    assert!(try_put(&mut net, OLD, "alone"));
    net.input(OLD, Input::Leave);
    net.input(OLD, Input::Farewell);
    assert!(try_put(&mut net, OLD, "still alone"));
}

#[test]
fn a_later_process_of_a_name_waits_until_the_earlier_one_is_gone() {
    for full_mesh_max in [FULL_MESH_MAX, 2] {
        let mut net = two_of_one_name(Net::with(3, full_mesh_max, Mutants::NONE), &[0, 1]);
        net.run_millis(60_000);
        let new = net.nodes[NEW].id();
        assert_eq!(net.nodes[NEW].readiness(), Readiness::NameInUse);
        assert!(!is_known(&net, 0, new) && !is_known(&net, 1, new));
        // The others go on as if it were not there.
        assert!(try_put(&mut net, OLD, "meanwhile"));
        assert_eq!(
            net.wait(0, Wait::Asked(session("nothing")), 1_000),
            Waited::Asked { by_all: true, ended: false }
        );
        net.cut_off(OLD);
        net.run_millis(8_000);
        assert_eq!(net.nodes[NEW].readiness(), Readiness::Ready);
        assert!(is_known(&net, 0, new) && is_known(&net, 1, new));
        assert_eq!(net.read(NEW, &session("meanwhile")), "{}");
        assert!(net.over.unwrap().is_empty());
    }
}

#[test]
fn a_restart_after_a_farewell_or_a_crash_waits_for_nothing() {
    for leaves in [true, false] {
        let mut net = two_of_one_name(three_of(Mutants::NONE), &[]);
        if leaves {
            net.link(NEW, 0);
            net.link(NEW, 1);
            net.run_millis(500);
            net.input(OLD, Input::Leave);
            net.input(OLD, Input::Farewell);
            net.run_millis(20);
            net.cut_off(OLD);
        } else {
            net.cut_off(OLD);
            net.link(NEW, 0);
            net.link(NEW, 1);
        }
        net.run_millis(1_200);
        assert_eq!(net.nodes[NEW].readiness(), Readiness::Ready, "after a farewell: {leaves}");
    }
}

#[test]
fn a_link_that_is_back_at_once_leaves_the_earlier_process_what_it_is() {
    let mut net = two_of_one_name(three_of(Mutants::NONE), &[0, 1]);
    net.run_millis(1_000);
    net.cut_off(OLD);
    assert!(try_put(&mut net, OLD, "cut off"));
    net.run_millis(1_000);
    net.link(OLD, 0);
    net.link(OLD, 1);
    net.run_millis(20_000);
    assert_eq!(net.read(0, &session("cut off")), "{}");
    assert_eq!(net.nodes[OLD].readiness(), Readiness::Ready);
    assert_eq!(net.nodes[NEW].readiness(), Readiness::NameInUse);
}

/// The later process is a member for one that does not hear the earlier one: that one is told by those who do, hands over
/// what is still on its way, and goes.
fn superseded(full_mesh_max: usize, mutants: Mutants) -> Dropped {
    let mut net = two_of_one_name(Net::with(3, full_mesh_max, mutants), &[]);
    net.run_millis(500);
    net.unlink(OLD, 1);
    net.run_millis(500);
    // It takes longer than the news of the other process.
    net.delay_millis = 700;
    let mut written = 1;
    assert!(try_put(&mut net, OLD, "w0"));
    net.delay_millis = 1;
    net.link(NEW, 0);
    net.link(NEW, 1);
    net.run_millis(50);
    assert!(is_known(&net, 1, net.nodes[NEW].id()));
    while net.nodes[OLD].is_ready() && written < 400 {
        assert!(try_put(&mut net, OLD, &format!("w{written}")));
        written += 1;
        net.run_millis(50);
    }
    assert!(!net.nodes[OLD].is_ready(), "it is told");
    assert!(!try_put(&mut net, OLD, "refused"));
    let dropped = run_until_it_goes(&mut net, OLD);
    net.run_millis(20_000);
    assert_eq!(net.nodes[NEW].readiness(), Readiness::Ready);
    if dropped.count == 0 {
        for (index, key) in [0, 1, NEW].iter().flat_map(|index| (0..written).map(move |key| (*index, key))) {
            assert_eq!(net.read(index, &session(&format!("w{key}"))), "{}", "w{key} on n{index}");
        }
    }
    dropped
}

#[test]
fn a_superseded_process_hands_over_to_those_who_hear_it() {
    for full_mesh_max in [FULL_MESH_MAX, 2] {
        let dropped = superseded(full_mesh_max, Mutants::NONE);
        assert_eq!((dropped.why, dropped.count, dropped.ops.len()), (DroppedWhy::Superseded, 0, 0));
        let dropped = superseded(full_mesh_max, Mutants::without(Rule::HastySuccession));
        assert!(dropped.count > 0, "the rule is missed");
    }
}

/// Nobody hears it: what it has not shared is dropped, and named.
#[test]
fn a_process_that_nobody_hears_is_superseded_after_a_while() {
    let mut net = two_of_one_name(three_of(Mutants::NONE), &[]);
    net.cut_off(OLD);
    net.link(NEW, 0);
    net.link(NEW, 1);
    net.run_millis(3_000);
    assert_eq!(net.nodes[NEW].readiness(), Readiness::Ready);
    assert!(try_put(&mut net, OLD, "alone"));
    net.link(OLD, 0);
    let dropped = run_until_it_goes(&mut net, OLD);
    assert_eq!((dropped.why, dropped.count, dropped.ops.len()), (DroppedWhy::Superseded, 1, 1));
    assert_eq!(dropped.told_by, "n0");
}

/// A process with a disk is no better: it may not write before it is on the others' rosters.
#[test]
fn a_process_that_comes_back_with_a_disk_waits_as_well() {
    let mut net = two_of_one_name(three_of(Mutants::NONE), &[]);
    net.run_millis(1_000);
    let old = &net.nodes[OLD];
    let state = |id| Shard::from_state(id, old.shard(id).state()).unwrap();
    let restored = Restored {
        shards: ShardId::all().map(state).collect(),
        node: old.saved_node(),
        is_current: true,
        is_awaited: true,
    };
    net.nodes.pop();
    let config = net.config(NEW, "n2");
    let node = Node::restore(config, net.now(NEW), restored);
    seat(&mut net, node, &[0, 1]);
    net.run_millis(30_000);
    assert_eq!(net.nodes[NEW].readiness(), Readiness::NameInUse);
    assert!(!try_put(&mut net, NEW, "too early"));
    assert!(try_put(&mut net, OLD, "meanwhile"));
    net.run_millis(100);
    net.cut_off(OLD);
    net.run_millis(8_000);
    assert_eq!(net.nodes[NEW].readiness(), Readiness::Ready);
    assert_eq!(net.read(NEW, &session("meanwhile")), "{}");
}

/// A link that breaks for an instant is no reason to begin a history, however long it has waited.
#[test]
fn who_waits_for_its_name_goes_on_waiting_when_a_link_breaks() {
    let mut net = two_of_one_name(three_of(Mutants::NONE), &[1]);
    net.run_millis(60_000);
    assert_eq!(net.nodes[NEW].readiness(), Readiness::NameInUse);
    net.cut_off(NEW);
    net.run_millis(1_000);
    assert_ne!(net.nodes[NEW].readiness(), Readiness::Ready);
    net.link(NEW, 1);
    net.run_millis(20_000);
    assert_eq!(net.nodes[NEW].readiness(), Readiness::NameInUse);
    assert_eq!(net.nodes[OLD].readiness(), Readiness::Ready);
}

/// They may share a host, whose network stumbles.
#[test]
fn the_earlier_process_is_waited_for_when_both_lose_their_links_whichever_is_first() {
    for first in [OLD, NEW] {
        let mut net = two_of_one_name(three_of(Mutants::NONE), &[0, 1]);
        net.run_millis(1_000);
        net.cut_off(first);
        net.cut_off(OLD + NEW - first);
        assert!(try_put(&mut net, OLD, "cut off"));
        net.run_millis(500);
        net.link(NEW, 0);
        net.link(NEW, 1);
        net.run_millis(500);
        net.link(OLD, 0);
        net.link(OLD, 1);
        net.run_millis(20_000);
        assert_eq!(net.read(0, &session("cut off")), "{}", "{first} first");
        assert_eq!(net.nodes[OLD].readiness(), Readiness::Ready);
    }
}
