//! Who joins is ready when it has what every member has, those who are linked late among them.

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
