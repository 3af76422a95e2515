//! Datagrams that somebody has captured and sends again.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::harness::{Plan, TestNode};

/// Forwards what comes to an address, and what is answered, and keeps the former.
async fn tap(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let (front, back) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (address, captured) = (front.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let kept = captured.clone();
    tokio::spawn(async move {
        let (mut one, mut other, mut client) = (vec![0; 65_536], vec![0; 65_536], None);
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut one) => {
                    client = Some(from);
                    kept.lock().push(one[..length].to_vec());
                    back.send_to(&one[..length], to).await.unwrap();
                }
                Ok((length, _)) = back.recv_from(&mut other) => {
                    front.send_to(&other[..length], client.unwrap()).await.unwrap();
                }
            }
        }
    });
    (address, captured)
}

#[tokio::test]
async fn a_captured_datagram_is_not_heard_again_in_this_life_or_the_next() {
    let mut a = TestNode::start("a", &[]).await;
    let (tapped, captured) = tap(a.address).await;
    let b = Plan { join: vec![tapped], ..Plan::new("b", &[]) }.start().await;
    a.until_alive(&[&b.replica]).await;
    while captured.lock().len() < 8 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let captured = captured.lock().clone();
    let attacker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dropped = a.membership.dropped();
    for datagram in &captured {
        attacker.send_to(datagram, a.address).await.unwrap();
    }
    let again = |dropped: crate::membership::DroppedDatagrams| dropped.replayed + dropped.unaddressed;
    a.until_dropped(again, again(dropped) + captured.len() as u64 - 1).await;
    assert!(a.membership.dropped().replayed > dropped.replayed, "some were for this very process");
    // The member itself is heard all the while.
    assert_eq!(a.event_until(Instant::now() + std::time::Duration::from_secs(1)).await, None);
    let (address, gone) = (a.address, b.replica.clone());
    drop(b);
    let TestNode { membership, .. } = a;
    membership.leave().await;
    // The next process at this address believes none of it.
    let mut a = Plan { at: address, ..Plan::new("a", &[]) }.start().await;
    for datagram in &captured {
        attacker.send_to(datagram, address).await.unwrap();
    }
    a.until_dropped(|dropped| dropped.unaddressed, captured.len() as u64 - 1).await;
    assert_eq!(a.event_until(Instant::now() + std::time::Duration::from_secs(2)).await, None, "{gone:?}");
    assert_eq!(a.membership.dropped().replayed, 0);
}
