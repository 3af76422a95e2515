//! Short histories that once broke a promise: each lost, revived or stuck something.

use super::*;
use crate::core::op::{Action, Op};
use crate::core::time::Hlc;

impl Net {
    /// Has a node look at a shard for what can be collected, now.
    fn sweep_now(&mut self, index: usize, shard: ShardId) {
        self.nodes[index].sweep_next = shard;
        self.nodes[index].sweep_at = self.mono;
        self.input(index, Input::Tick);
    }

    /// A session whose shard this node collects.
    fn session_swept_by(&self, index: usize) -> ObjectId {
        let mut keys = (0..).map(|n| session(&format!("s{n}")));
        keys.find(|key| self.nodes[index].sweeps(key.shard())).unwrap()
    }
}

fn patch(json: &str) -> Change {
    Change::MergePatch(Tree::parse(json.as_bytes(), DEPTH_MAX).unwrap())
}

/// Writes something elsewhere every quarter of a second, for ten seconds.
fn keep_busy(net: &mut Net) {
    for n in 0..40 {
        net.put(0, &session(&format!("other{n}")), "{}");
        net.run_millis(250);
    }
}

#[test]
fn a_write_right_after_a_reconnection_does_not_hide_what_was_missed() {
    let mut net = Net::new(2);
    net.run_millis(2_000);
    net.cut_off(1);
    net.put(0, &session("s"), r#"{"a":1}"#);
    net.run_millis(1_000);
    net.connect(1);
    net.run_millis(5);
    net.write(0, &Write::new(session("s"), patch(r#"{"a":2}"#)));
    keep_busy(&mut net);
    assert_eq!(net.read(1, &session("s")), r#"{"a":2}"#);
}

#[test]
fn one_lost_message_comes_again_while_everything_else_moves() {
    let mut net = Net::new(2);
    net.run_millis(2_000);
    net.put(0, &session("s"), r#"{"a":1}"#);
    net.air.clear();
    keep_busy(&mut net);
    assert_eq!(net.read(1, &session("s")), r#"{"a":1}"#);
}

#[test]
fn what_a_dead_process_had_is_not_handed_over() {
    let mut net = Net::new(2);
    net.run_millis(2_000);
    net.put(0, &session("s"), "{}");
    net.run_millis(1_000);
    // A rolling restart: the other node has just come back, without memory.
    net.start(1);
    net.input(0, Input::Leave);
    assert_eq!(net.nodes[0].hand_over().held_by_nobody_else, 1);
    net.run_millis(2_000);
    assert_eq!(net.nodes[0].hand_over(), HandOver::default());
    assert_eq!(net.read(1, &session("s")), "{}");
}

#[test]
fn the_last_copy_of_what_others_wrote_is_handed_over_too() {
    let mut net = three();
    net.unlink(1, 2);
    net.put(2, &session("s"), "{}");
    net.run_millis(2);
    net.cut_off(2);
    net.input(0, Input::Leave);
    assert_eq!(net.nodes[0].hand_over().held_by_nobody_else, 1);
    net.run_millis(2_000);
    assert_eq!(net.nodes[0].hand_over(), HandOver::default());
    assert_eq!(net.read(1, &session("s")), "{}");
}

#[test]
fn a_meeting_of_two_histories_survives_a_broken_link() {
    let mut net = three();
    // n1 comes back with a history of its own.
    net.cut_off(1);
    let id = ReplicaId(u64::MAX - 1);
    let replica = Replica { id, ..net.nodes[1].config.replica.clone() };
    let config = NodeConfig { replica, joins: false, lineage: id.0, ..net.nodes[1].config.clone() };
    let now = net.now(1);
    net.nodes[1] = Node::new(config, now);
    net.put(1, &session("theirs"), "{}");
    net.link(0, 1);
    net.run_millis(10);
    net.unlink(0, 1);
    net.link(1, 2);
    net.run_millis(5_000);
    assert_eq!(net.nodes[1].lineage, net.nodes[0].lineage);
    net.unlink(1, 2);
    net.unlink(0, 2);
    net.link(0, 1);
    net.run_millis(3_000);
    for n in 0..300 {
        net.put(0, &session(&format!("s{n}")), "{}");
    }
    net.run_millis(10);
    let unknown = (0..300).filter(|n| net.read(1, &session(&format!("s{n}"))) != "{}").count();
    assert_eq!(unknown, 0);
    assert_eq!(net.read(0, &session("theirs")), "{}");
}

#[test]
fn residue_of_a_node_that_left_stays_until_all_it_wrote_is_here() {
    let mut net = three();
    let counter = ObjectId::new(Kind::Counter, "c");
    net.write(2, &Write::new(counter.clone(), add(3)));
    net.run_millis(2_000);
    net.unlink(0, 2);
    net.write(2, &Write::new(counter.clone(), add(1)));
    net.write(0, &Write::new(counter.clone(), Change::Destroy));
    net.run_millis(3);
    assert_eq!(net.nodes[2].hand_over().held_by_nobody_else, 0);
    net.input(2, Input::Leave);
    net.input(2, Input::Farewell);
    net.run_millis(3);
    net.cut_off(2);
    net.sweep_now(0, counter.shard());
    // It comes as a state, which cannot tell an increment from one that was covered.
    net.nodes[1].shard_mut(counter.shard()).truncate_log(0, |_| true);
    net.run_millis(5_000);
    assert_eq!((net.read(0, &counter).as_str(), net.read(1, &counter).as_str()), ("1", "1"));
    assert!(net.alarms.is_empty(), "{:?}", net.alarms);
}

#[test]
fn a_barrier_stays_while_an_operation_from_before_it_is_lost() {
    let mut net = Net::new(2);
    net.run_millis(2_000);
    let s = net.session_swept_by(0);
    net.put(1, &s, "{}");
    net.air.clear();
    net.write(0, &Write::new(s.clone(), Change::Destroy));
    for _ in 0..1_000 {
        net.run_millis(1);
        net.sweep_now(0, s.shard());
    }
    net.run_millis(10_000);
    assert_ne!(net.read(0, &s), "{}");
    assert_ne!(net.read(1, &s), "{}");
}

#[test]
fn a_session_that_a_leaving_node_touched_is_not_reaped() {
    let mut net = Net::new(2);
    net.clock_offsets_millis.push(-5_000);
    net.start(2);
    net.run_millis(2_000);
    let s = net.session_swept_by(0);
    let write = Write { ttl_millis: Some(4_000), ..Write::new(s.clone(), Change::Put(Tree::EMPTY)) };
    net.write(0, &write);
    net.run_millis(6_000);
    net.unlink(0, 2);
    // By its clock the session lives.
    net.write(2, &Write { ttl_millis: Some(3_600_000), ..Write::new(s.clone(), Change::Touch) });
    net.run_millis(2);
    net.input(2, Input::Leave);
    assert_eq!(net.nodes[2].hand_over().held_by_nobody_else, 0);
    net.input(2, Input::Farewell);
    net.run_millis(2);
    net.cut_off(2);
    for _ in 0..100 {
        net.sweep_now(0, s.shard());
        net.run_millis(10);
    }
    net.run_millis(5_000);
    assert_eq!((net.read(0, &s).as_str(), net.read(1, &s).as_str()), ("{}", "{}"));
}

#[test]
fn a_node_that_starts_with_a_fast_clock_does_not_end_sessions_early() {
    let mut net = three();
    net.clock_offsets_millis[2] = 3_600_000;
    net.start(2);
    net.run_millis(5_000);
    let write = Write { ttl_millis: Some(600_000), ..Write::new(session("s"), Change::Put(Tree::EMPTY)) };
    net.write(0, &write);
    net.run_millis(10);
    assert_eq!(net.read(2, &session("s")), "{}");
}

#[test]
fn a_joining_node_that_loses_its_sponsor_looks_for_another_one() {
    let mut net = Net::new(1);
    net.delay_millis = 200;
    net.put(0, &session("s"), "{}");
    net.clock_offsets_millis.push(0);
    net.start(1);
    net.run_millis(8_000);
    assert!(matches!(net.nodes[1].readiness(), Readiness::CatchingUp { .. }));
    net.cut_off(1);
    assert_ne!(net.nodes[1].readiness(), Readiness::Ready);
    net.run_millis(1_000);
    net.connect(1);
    net.run_millis(30_000);
    assert_eq!(net.nodes[1].readiness(), Readiness::Ready);
    assert_eq!(net.read(1, &session("s")), "{}");
    assert_eq!(net.nodes[0].lineage, net.nodes[1].lineage);
}

#[test]
fn who_asks_later_gets_later_answers() {
    let mut net = three();
    let now = net.now(1);
    net.nodes[1].wait(now, Wait::Asked(session("s")), 5_000).unwrap_err();
    net.flush(1);
    net.run_millis(1);
    let is_late = |message: &(MonoMicros, usize, usize, Message)| {
        message.1 == 2 && matches!(message.3, Message::Answer { .. })
    };
    let (late, rest): (Vec<_>, Vec<_>) = net.air.drain(..).partition(is_late);
    assert_eq!(late.len(), 1);
    net.air = rest.into();
    net.run_millis(2);
    // n0 has answered; now somebody logs in there, and comes here.
    net.put(0, &session("s"), "{}");
    net.air.clear();
    let now = net.now(1);
    let second = net.nodes[1].wait(now, Wait::Asked(session("s")), 5_000).unwrap_err();
    net.flush(1);
    net.air.extend(late);
    net.run_millis(5);
    assert!(net.done.contains_key(&(1, second)));
    assert_eq!(net.read(1, &session("s")), "{}");
}

#[test]
fn an_answer_that_it_ended_counts_though_others_keep_silent() {
    let mut net = three();
    net.put(0, &session("s"), "{}");
    net.run_millis(500);
    net.write(0, &Write::new(session("s"), Change::Destroy));
    net.run_millis(500);
    net.start(1);
    net.run_millis(2_000);
    // n2 hears nothing more, and nobody knows.
    net.cut.insert((1, 2));
    let waited = net.wait(1, Wait::Asked(session("s")), 1_000);
    assert_eq!(waited, Waited::Asked { by_all: false, ended: true });
}

#[test]
fn counters_count_towards_the_size_of_an_object() {
    let mut net = Net::new(1);
    net.put(0, &session("s"), "{}");
    let write = |part: usize| {
        let path = |n| Path::of([format!("{part}-{n}-{}", "x".repeat(900))]);
        let ops = (0..1_000).map(|n| PathOp::Increment { path: path(n), by: 1 }).collect();
        Write::new(session("s"), Change::Ops(ops))
    };
    let now = net.now(0);
    let admitted = (0..6).filter(|part| net.nodes[0].write(now, &write(*part)).is_ok()).count();
    assert!(admitted < 6);
    // What is counted already can be counted on.
    net.write(0, &write(0));
}

#[test]
fn a_divergence_is_told_once_and_over_when_the_peer_has_started_again() {
    let mut net = three();
    net.put(0, &session("s"), r#"{"a":1}"#);
    net.run_millis(1_000);
    net.nodes[1].corrupt(&session("s"));
    for n in 0..20 {
        net.put(0, &session(&format!("other{n}")), "{}");
        net.run_millis(500);
    }
    assert_eq!(net.alarms.iter().filter(|(node, _)| *node == 0).count(), 1, "{:?}", net.alarms);
    assert_eq!(net.nodes[0].status().diverged, [session("s").shard()]);
    net.start(1);
    net.run_millis(5_000);
    assert_eq!(net.nodes[0].status().diverged, []);
}

#[test]
fn a_node_that_comes_back_with_an_earlier_clock_counts() {
    let mut net = three();
    net.clock_offsets_millis[2] = -5_000;
    net.start(2);
    net.run_millis(5_000);
    let token = net.put(0, &session("s"), "{}").token;
    assert_eq!(net.wait(0, Wait::Acks { token, need: Acks::All }, 100), Waited::Acks { have: 3, need: 3 });
    assert_eq!(net.wait(1, Wait::Asked(session("no")), 100), Waited::Asked { by_all: true, ended: false });
}

#[test]
fn a_slow_way_there_is_no_wrong_clock() {
    let mut net = three();
    net.delay_millis = 25_000;
    net.run_millis(30_000);
    // The way back is quick again.
    net.delay_millis = 1;
    net.run_millis(30_000);
    assert!(net.alarms.is_empty(), "{:?}", net.alarms);
}

#[test]
fn a_node_that_joins_sees_nothing_alive_that_the_others_may_reap() {
    let mut net = Net::new(1);
    let write = Write { ttl_millis: Some(2_000), ..Write::new(session("s"), Change::Put(Tree::EMPTY)) };
    net.write(0, &write);
    net.run_millis(2_500);
    net.clock_offsets_millis.push(-5_000);
    net.start(1);
    while net.nodes[1].readiness() != Readiness::Ready {
        net.run_millis(10);
    }
    assert_eq!(net.read(1, &session("s")), "Ended");
}

#[test]
fn counts_that_wrap_do_not_stop_a_node() {
    let mut net = Net::new(2);
    net.run_millis(2_000);
    let liar = net.nodes[1].id();
    let progress = |counter| Progress { shard: ShardId(0), dot: Dot::new(liar, counter) };
    net.input(0, Input::Message(liar, Message::Applied(vec![progress(u64::MAX)])));
    let op = |counter| {
        let object = session("s");
        let action = Action::Touch { lives: Vec::new(), idle: UnixMillis(0) };
        let dot = Dot::new(ReplicaId(9), counter);
        Arc::new(Op { dot, deps: Vec::new(), hlc: Hlc(u64::MAX), object, action }).into()
    };
    net.input(0, Input::Message(liar, Message::Ops(vec![op(u64::MAX), op(1), op(0)])));
    net.put(0, &session("s"), "{}");
    net.run_millis(2_000);
    assert_eq!(net.nodes[0].members(net.now(0)).len(), 2);
    assert_eq!(net.nodes[0].readiness(), Readiness::Ready);
}

#[test]
fn a_wall_clock_that_is_set_forward_does_not_end_sessions_early() {
    let mut net = three();
    let write = Write { ttl_millis: Some(600_000), ..Write::new(session("s"), Change::Put(Tree::EMPTY)) };
    net.write(0, &write);
    net.run_millis(1_000);
    net.clock_offsets_millis[1] = 3_600_000;
    for _ in 0..100 {
        assert_eq!(net.read(1, &session("s")), "{}");
        net.run_millis(50);
    }
    assert!(net.nodes[1].status().correction_millis < -3_500_000);
    assert!(net.alarms.iter().any(|(node, alarm)| *node == 1 && matches!(alarm, Alarm::Corrected { .. })));
    // And where all have been set, all go with the time: the machines had been suspended.
    net.clock_offsets_millis = vec![3_600_000; 3];
    net.run_millis(5_000);
    assert_eq!(net.nodes.iter().map(|node| node.status().correction_millis).collect::<Vec<_>>(), [0; 3]);
    assert_eq!(net.read(0, &session("s")), "Ended");
}
