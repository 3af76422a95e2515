//! Coming, going, dying, and two of one name.

use std::time::Duration;

use tokio::time::Instant;

use super::harness::{PATIENCE, Plan, TestNode};
use crate::membership::Event;

#[tokio::test]
async fn two_nodes_find_each_other_and_a_crash_is_noticed() {
    let mut a = TestNode::start("a", &[]).await;
    let mut b = TestNode::start("b", &[&a]).await;
    let found = b.until_alive(&[&a.replica]).await;
    a.until_alive(&[&b.replica]).await;
    assert_eq!(a.alive[&b.replica], b.address);
    let crashed = b.replica.clone();
    drop(b);
    let begin = Instant::now();
    assert_eq!(a.event().await, Event::Dead(crashed));
    let noticed = begin.elapsed();
    println!("found after {found:?}, a crash noticed after {noticed:?}");
    assert!(found < Duration::from_secs(3), "{found:?}");
    assert!(noticed > Duration::from_secs(1), "a detector this nervous calls a busy node dead: {noticed:?}");
    assert!(noticed < Duration::from_secs(6), "{noticed:?}");
}

#[tokio::test]
async fn three_nodes_find_each_other_through_one_seed_and_a_goodbye_is_heard() {
    let mut a = TestNode::start("a", &[]).await;
    let mut b = TestNode::start("b", &[&a]).await;
    let mut c = TestNode::start("c", &[&a]).await;
    c.until_alive(&[&a.replica, &b.replica]).await;
    b.until_alive(&[&a.replica, &c.replica]).await;
    a.until_alive(&[&b.replica, &c.replica]).await;
    let begin = Instant::now();
    c.membership.leave().await;
    a.until_alive(&[&b.replica]).await;
    b.until_alive(&[&a.replica]).await;
    // Sooner than the failure detector could have known.
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    // The port is free when `leave` has returned.
    tokio::net::UdpSocket::bind(c.address).await.unwrap();
}

#[tokio::test]
async fn a_restart_is_another_replica_and_ends_the_one_before() {
    let mut a = TestNode::start("a", &[]).await;
    let b = TestNode::start("b", &[&a]).await;
    let (before, address) = (b.replica.clone(), b.address);
    a.until_alive(&[&before]).await;
    // As a process that is killed and started again at once.
    let TestNode { membership, .. } = b;
    membership.leave().await;
    let mut again = Plan { at: address, ..Plan::new("b", &[&a]) }.start().await;
    again.until_alive(&[&a.replica]).await;
    a.until_alive(&[&again.replica]).await;
    assert_ne!(before, again.replica);
}

#[tokio::test]
async fn a_restart_elsewhere_replaces_a_crashed_one_before_it_is_missed() {
    let mut a = TestNode::start("a", &[]).await;
    let b = TestNode::start("b", &[&a]).await;
    let before = b.replica.clone();
    a.until_alive(&[&before]).await;
    drop(b);
    let again = TestNode::start("b", &[&a]).await;
    assert_eq!(a.event().await, Event::Dead(before));
    a.until_alive(&[&again.replica]).await;
}

#[tokio::test]
async fn two_processes_of_one_name_are_told_and_others_see_the_later_one() {
    let mut a = TestNode::start("a", &[]).await;
    let mut first = TestNode::start("b", &[&a]).await;
    a.until_alive(&[&first.replica]).await;
    let mut second = TestNode::start("b", &[&a]).await;
    a.until_alive(&[&second.replica]).await;
    let (earlier, later) = (first.replica.clone(), second.replica.clone());
    for (node, other) in [(&mut first, later), (&mut second, earlier)] {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = node.event_until(deadline).await.expect("to be told");
            if let Event::NameTaken { replica, .. } = event {
                assert_eq!(replica, other);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_seed_that_comes_late_is_found() {
    // Reserved and free again: nobody is there yet.
    let address = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut a = Plan { join: vec![address], ..Plan::new("a", &[]) }.start().await;
    let before = a.membership.traffic().sent;
    while a.membership.traffic().sent < before + 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let b = Plan { at: address, ..Plan::new("b", &[]) }.start().await;
    a.until_alive(&[&b.replica]).await;
}

#[tokio::test]
async fn three_idle_nodes_send_less_than_a_kibibyte_each_second() {
    let mut a = TestNode::start("alpha", &[]).await;
    let mut b = TestNode::start("bravo", &[&a]).await;
    let mut c = TestNode::start("charlie", &[&a]).await;
    a.until_alive(&[&b.replica, &c.replica]).await;
    b.until_alive(&[&a.replica, &c.replica]).await;
    c.until_alive(&[&a.replica, &b.replica]).await;
    let measured = Duration::from_secs(6);
    let before = [&a, &b, &c].map(|node| node.membership.traffic());
    let begin = Instant::now();
    // Nothing may happen meanwhile, so this is no wait for anything.
    assert_eq!(a.event_until(begin + measured).await, None);
    let seconds = begin.elapsed().as_secs_f64();
    for (node, before) in [&a, &b, &c].into_iter().zip(before) {
        let after = node.membership.traffic();
        let rate = |after: u64, before: u64| (after - before) as f64 / seconds;
        let (sent, received) =
            (rate(after.sent_bytes, before.sent_bytes), rate(after.received_bytes, before.received_bytes));
        println!("{}: sends {sent:.0} B/s, receives {received:.0} B/s", node.replica.node);
        assert!(sent < 1024.0 && received < 1024.0, "{sent} {received}");
    }
}
