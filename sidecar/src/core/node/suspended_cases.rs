//! A machine that was suspended: its wall clock has moved, its monotonic clock has not.

use super::*;

/// Longer than a lease.
const SUSPENDED_MILLIS: i64 = 20_000;

fn suspend(net: &mut Net, nodes: &[usize]) {
    for node in nodes {
        net.clock_offsets_millis[*node] += SUSPENDED_MILLIS;
    }
}

/// Three members, and pongs on their way to the first.
fn three_and_pongs() -> Net {
    let mut net = three();
    net.delay_millis = 20;
    let pong = |net: &Net| {
        let to_first = |(_, _, to, message): &(_, _, usize, Message)| {
            *to == 0 && matches!(message, Message::Pong { .. })
        };
        net.air.iter().filter(|sent| to_first(sent)).count() == 2
    };
    for _ in 0..2_000 {
        if pong(&net) {
            return net;
        }
        net.run_millis(1);
    }
    panic!("nobody pings the first");
}

fn login(net: &mut Net, node: usize) {
    let tree = Tree::parse(b"{}", DEPTH_MAX).unwrap();
    let put = Write { ttl_millis: Some(10_000), ..Write::new(session("s"), Change::Put(tree)) };
    net.write(node, &put);
}

/// The answer to a ping from before looks quick, and says that the peer's clock is twenty seconds behind. Believed, it
/// put the first out of step as its links went down, and its logins had ended for all others.
#[test]
fn a_pong_that_answers_a_ping_from_before_says_nothing_of_the_clocks() {
    let mut net = three_and_pongs();
    suspend(&mut net, &[0, 1, 2]);
    net.run_millis(20);
    assert!(net.air.iter().all(|(_, _, to, message)| *to != 0 || !matches!(message, Message::Pong { .. })));
    assert!(!net.alarms.iter().any(|(node, alarm)| *node == 0 && matches!(alarm, Alarm::Corrected { .. })));
    net.cut_off(0);
    assert_eq!(net.nodes[0].status().correction_millis, 0);
    login(&mut net, 0);
    net.connect(0);
    net.run_millis(1_000);
    assert_eq!(net.read(1, &session("s")), "{}");
}

/// One that has measured nobody yet has no reason to doubt its clock, and a pong from before is none either.
#[test]
fn a_pong_from_before_is_no_first_measurement() {
    let mut net = three();
    net.delay_millis = 20;
    net.cut_off(0);
    net.connect(0);
    net.run_millis(21);
    suspend(&mut net, &[0, 1, 2]);
    net.run_millis(20);
    assert_eq!(net.nodes[0].status().correction_millis, 0);
    assert_eq!(net.nodes[0].status().skew_millis, 0);
}

/// What peers' clocks showed before is no vote on what has happened since; those that are linked are asked at once.
#[test]
fn peers_are_asked_at_once_and_most_must_have_answered() {
    let mut net = three();
    net.run_millis(100);
    net.delay_millis = 20;
    suspend(&mut net, &[0, 1, 2]);
    net.run_millis(150);
    for node in 0..3 {
        assert_eq!(net.nodes[node].status().correction_millis, 0, "node {node}");
    }
    login(&mut net, 0);
    net.run_millis(20);
    assert_eq!(net.read(1, &session("s")), "{}");
}

#[test]
fn a_clock_that_was_set_wrong_is_told_so_at_once() {
    let mut net = three();
    net.run_millis(100);
    suspend(&mut net, &[0]);
    net.run_millis(150);
    let correction_millis = net.nodes[0].status().correction_millis;
    assert!((correction_millis + SUSPENDED_MILLIS).abs() < 10, "{correction_millis}");
}

/// While nobody has said whether the clock was set or the time has passed, a login lasts as long as asked either way.
#[test]
fn a_login_right_after_waking_lives_by_the_others_clocks() {
    let mut net = three();
    net.run_millis(100);
    suspend(&mut net, &[0, 1, 2]);
    login(&mut net, 0);
    net.run_millis(200);
    for node in 0..3 {
        assert_eq!(net.read(node, &session("s")), "{}", "node {node}");
    }
}

/// A clock that is set back and that nobody can contradict counts, and stamps go back with it: else a logout on a node that has
/// not heard of a login there would not reach it.
#[test]
fn stamps_go_back_with_a_clock_that_nobody_contradicts() {
    let mut net = three();
    login(&mut net, 0);
    net.run_millis(100);
    net.clock_offsets_millis[0] -= 3_600_000;
    net.run_millis(50);
    net.cut_off(0);
    let before = net.now(0).wall;
    let object = session("later");
    let token = net.put(0, &object, "{}").token;
    assert!(token.hlc.wall().since(before) < 1_000, "{:?}", token.hlc);
    net.write(1, &Write::new(object.clone(), Change::Destroy));
    net.connect(0);
    net.run_millis(3_000);
    for node in 0..3 {
        assert_eq!(net.read(node, &object), "Ended", "node {node}");
    }
}
