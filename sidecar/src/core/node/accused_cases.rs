//! Who comes back with a disk is told too little, too late, or too much.

use super::*;

/// What this node has, as its disk holds it.
fn disk_of(net: &Net, index: usize) -> Restored {
    let node = &net.nodes[index];
    let shards = ShardId::all().map(|id| node.shard(id).clone()).collect();
    Restored { shards, node: node.saved_node(), is_current: true, is_awaited: true }
}

/// A process starts with a disk. It has no link yet.
fn restore(net: &mut Net, index: usize, disk: Restored) {
    net.cut_off(index);
    net.nodes[index] = Node::restore(net.config(index, &format!("n{index}")), net.now(index), disk);
}

/// So many members now, and place for three.
fn small(count: usize) -> Net {
    let mut net = Net::new(count);
    net.clock_offsets_millis = vec![0; 3];
    net.run_millis(10_000);
    assert!(net.nodes.iter().all(|node| node.readiness() == Readiness::Ready));
    net
}

/// A session that nobody has heard of is destroyed, and nobody has to remember that in the end.
fn log_out(net: &mut Net, index: usize) {
    net.write(index, &Write::new(session("alone"), Change::Destroy));
    net.run_millis(120_000);
}

fn over(net: &mut Net) -> Vec<usize> {
    let mut over: Vec<usize> = net.over.take().unwrap().iter().map(|(index, _)| *index).collect();
    over.sort_unstable();
    over
}

/// They start over, empty, and nobody has what was logged out.
fn start_over(net: &mut Net, expected: &[usize]) {
    for index in (0..net.nodes.len()).filter(|index| !expected.contains(index)) {
        assert!(!net.read(index, &session("alone")).starts_with('{'), "n{index} has it back");
    }
    assert_eq!(over(net), expected);
    expected.iter().for_each(|index| net.start(*index));
    net.run_millis(60_000);
    for (index, node) in net.nodes.iter().enumerate() {
        assert_eq!(node.readiness(), Readiness::Ready, "n{index}");
        assert!(!net.read(index, &session("alone")).starts_with('{'), "n{index}");
    }
}

/// The disk is from when its process was the only member, and the next one goes on with it before it has met anybody:
/// that nobody is there who could say anything is not everybody's word.
#[test]
fn a_disk_from_before_there_were_others_is_on_probation_until_it_has_met_one() {
    let mut net = small(1);
    net.put(0, &session("alone"), r#"{"b":2}"#);
    let disk = disk_of(&net, 0);
    net.run_millis(1_000);
    (0..3).for_each(|index| net.start(index));
    net.run_millis(10_000);
    log_out(&mut net, 1);
    net.over = Some(Vec::new());
    restore(&mut net, 0, disk);
    net.run_millis(1_000);
    net.connect(0);
    net.run_millis(10_000);
    start_over(&mut net, &[0]);
}

/// Two disks from before the third member, which has gone on without either: they let each other in before they meet it.
#[test]
#[ignore = "does not hold: each is the other's only member, and whoever is let in is not asked about again"]
fn two_disks_from_before_the_third_member_do_not_let_each_other_in() {
    let mut net = small(2);
    net.cut_off(1);
    net.put(1, &session("alone"), r#"{"b":2}"#);
    let disks = (disk_of(&net, 0), disk_of(&net, 1));
    net.run_millis(1_000);
    (0..3).for_each(|index| net.start(index));
    net.run_millis(10_000);
    log_out(&mut net, 2);
    net.over = Some(Vec::new());
    restore(&mut net, 0, disks.0);
    restore(&mut net, 1, disks.1);
    net.link(0, 1);
    net.run_millis(3_000);
    net.link(0, 2);
    net.link(1, 2);
    net.run_millis(10_000);
    start_over(&mut net, &[0, 1]);
}

/// The wrong directory is tried first, and refused. The right one, with what its last process alone has acknowledged, comes next.
#[test]
#[ignore = "does not hold: who is refused has been on the members' rosters for a moment, and the right disk does not know of it"]
fn a_refused_disk_takes_nothing_from_the_right_one() {
    let mut net = three();
    let wrong = disk_of(&net, 2);
    net.run_millis(1_000);
    net.start(2);
    net.run_millis(10_000);
    net.cut_off(2);
    net.put(2, &session("alone"), r#"{"b":2}"#);
    let right = disk_of(&net, 2);
    net.run_millis(1_000);
    net.over = Some(Vec::new());
    restore(&mut net, 2, wrong);
    net.connect(2);
    net.run_millis(10_000);
    assert_eq!(over(&mut net), [2]);
    restore(&mut net, 2, right);
    net.connect(2);
    net.run_millis(10_000);
    assert_eq!(net.read(0, &session("alone")), r#"{"b":2}"#);
}

/// Six members, each with few neighbours.
fn sparse() -> Net {
    let mut net = Net::with(6, 3, Mutants::NONE);
    net.run_millis(10_000);
    assert!(net.nodes.iter().all(|node| node.readiness() == Readiness::Ready));
    net.cut_off(5);
    net.put(5, &session("alone"), r#"{"b":2}"#);
    net
}

#[test]
fn among_many_a_disk_is_let_in() {
    let mut net = sparse();
    let disk = disk_of(&net, 5);
    net.run_millis(1_000);
    restore(&mut net, 5, disk);
    net.connect(5);
    net.run_millis(20_000);
    for index in 0..6 {
        assert_eq!(net.nodes[index].readiness(), Readiness::Ready, "n{index}");
        assert_eq!(net.read(index, &session("alone")), r#"{"b":2}"#, "n{index}");
    }
}

#[test]
fn among_many_a_disk_that_was_done_without_is_not_let_in() {
    let mut net = sparse();
    let disk = disk_of(&net, 5);
    net.run_millis(1_000);
    net.start(5);
    net.run_millis(10_000);
    log_out(&mut net, 1);
    net.over = Some(Vec::new());
    restore(&mut net, 5, disk);
    net.connect(5);
    net.run_millis(10_000);
    start_over(&mut net, &[5]);
}

/// The word on who is a member is lost again and again.
#[test]
fn nothing_is_shared_before_the_roster_has_come() {
    let mut net = three();
    net.cut_off(2);
    net.put(2, &session("alone"), r#"{"b":2}"#);
    let disk = disk_of(&net, 2);
    net.run_millis(1_000);
    net.start(2);
    net.run_millis(10_000);
    log_out(&mut net, 0);
    net.over = Some(Vec::new());
    restore(&mut net, 2, disk);
    net.connect(2);
    let mut lost = 0;
    for _ in 0..8_000 {
        let before = net.air.len();
        let names = |message: &Message| matches!(message, Message::Roster(_) | Message::Members(_));
        net.air.retain(|(_, _, to, message)| *to != 2 || !names(message));
        lost += before - net.air.len();
        net.run_millis(1);
    }
    assert!(lost > 0);
    assert!(!net.read(0, &session("alone")).starts_with('{'));
    net.run_millis(10_000);
    start_over(&mut net, &[2]);
}

/// What it was told on a link before does not stand for what was lost on this one.
#[test]
fn a_roster_that_is_lost_on_a_later_link_is_said_again() {
    let mut net = Net::new(2);
    net.run_millis(3_000);
    let disk = disk_of(&net, 1);
    restore(&mut net, 1, disk);
    net.link(0, 1);
    while !net.nodes[1].peers.values().any(|peer| peer.admits) {
        net.run_millis(1);
    }
    assert_ne!(net.nodes[1].readiness(), Readiness::Ready);
    net.cut_off(1);
    net.connect(1);
    let mut lost = 0;
    for _ in 0..500 {
        let before = net.air.len();
        net.air.retain(|(_, _, to, message)| *to != 1 || !matches!(message, Message::Roster(_)));
        lost += before - net.air.len();
        net.run_millis(1);
    }
    assert!(lost > 0);
    net.run_millis(5_000);
    assert_eq!(net.nodes[1].readiness(), Readiness::Ready);
}

/// All were out of reach of each other, and all of them have a directory of another age: somebody's stays.
#[test]
fn after_a_blackout_with_directories_of_several_ages_what_the_last_had_is_there() {
    let mut net = three();
    let old = [0, 1, 2].map(|index| disk_of(&net, index));
    let [old_0, old_1, _] = old;
    net.run_millis(1_000);
    net.start(0);
    net.run_millis(10_000);
    net.start(1);
    net.run_millis(10_000);
    net.cut_off(2);
    net.put(2, &session("wanted"), r#"{"b":2}"#);
    let current = disk_of(&net, 2);
    net.run_millis(1_000);
    (0..3).for_each(|index| net.cut_off(index));
    net.over = Some(Vec::new());
    restore(&mut net, 0, old_0);
    restore(&mut net, 1, old_1);
    restore(&mut net, 2, current);
    net.link(0, 1);
    net.run_millis(100);
    net.connect(2);
    net.run_millis(10_000);
    assert_eq!(over(&mut net), [0, 1]);
    net.start(0);
    net.start(1);
    net.run_millis(30_000);
    for index in 0..3 {
        assert_eq!(net.read(index, &session("wanted")), r#"{"b":2}"#, "n{index}");
    }
}
