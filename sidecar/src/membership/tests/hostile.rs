//! Other keys, other clusters, and rubbish.

use tokio::net::UdpSocket;

use super::harness::{KEY, Plan, TestNode};
use crate::core::identity::{Replica, ReplicaId};
use crate::core::time::UnixMillis;
use crate::keyring::{ClusterKey, KeyRing};
use crate::membership::frame::{Body, Entry, Frame, cluster_mark};
use crate::membership::replay::{Mailbox, NOWHERE};
use crate::membership::seal::Seal;

/// `b` reached `a` and was refused, and two that belong together find each other beside them.
async fn refused(b: Plan, count: impl Fn(crate::membership::DroppedDatagrams) -> u64 + Copy) {
    let mut a = TestNode::start("a", &[]).await;
    let b = Plan { join: vec![a.address], ..b }.start().await;
    a.until_dropped(count, 2).await;
    let c = TestNode::start("c", &[&a]).await;
    a.until_alive(&[&c.replica]).await;
    assert!(b.alive.is_empty());
}

#[tokio::test]
async fn another_key_is_not_heard() {
    refused(Plan { key: Some([8; 32]), ..Plan::new("b", &[]) }, |dropped| dropped.undecryptable).await;
}

#[tokio::test]
async fn no_key_and_a_key_do_not_talk() {
    refused(Plan { key: None, ..Plan::new("b", &[]) }, |dropped| dropped.key_mismatch).await;
    let plain = Plan { key: None, ..Plan::new("a", &[]) }.start().await;
    let _keyed = Plan::new("b", &[&plain]).start().await;
    plain.until_dropped(|dropped| dropped.key_mismatch, 2).await;
}

#[tokio::test]
async fn another_cluster_is_not_heard() {
    refused(Plan { cluster: "other", ..Plan::new("b", &[]) }, |dropped| dropped.wrong_cluster).await;
}

#[tokio::test]
async fn plain_nodes_find_each_other() {
    let mut a = Plan { key: None, ..Plan::new("a", &[]) }.start().await;
    let b = Plan { key: None, ..Plan::new("b", &[&a]) }.start().await;
    a.until_alive(&[&b.replica]).await;
}

fn frame(body: Body) -> Frame {
    frame_to(NOWHERE, 0, body)
}

fn frame_to(to: Mailbox, number: u64, body: Body) -> Frame {
    Frame { cluster: cluster_mark("test"), from: ReplicaId(9), mailbox: [9; 8], to, number, body }
}

/// Where a node is reached, as it tells a stranger with the key.
pub(super) async fn mailbox_of(stranger: &UdpSocket, seal: &Seal, address: std::net::SocketAddr) -> Mailbox {
    let ask = seal.close(&frame(Body::Ask(Vec::new())).encode().unwrap()).unwrap();
    stranger.send_to(&ask, address).await.unwrap();
    let mut buffer = [0; 2_000];
    let (length, _) = stranger.recv_from(&mut buffer).await.unwrap();
    let who = Frame::decode(&seal.open(&buffer[..length]).unwrap(), cluster_mark("test")).unwrap();
    assert_eq!((&who.body, who.to), (&Body::Who, [9; 8]));
    who.mailbox
}

fn entry(name: &str, id: u64, heartbeat: u64) -> Entry {
    let replica = Replica { node: name.into(), started: UnixMillis(1), id: ReplicaId(id) };
    Entry { replica, address: ([127, 0, 0, 1], 9).into(), heartbeat }
}

#[tokio::test]
async fn rubbish_is_counted_and_dropped() {
    let mut a = Plan { key: None, ..Plan::new("a", &[]) }.start().await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sane = Seal::Plain.close(&frame(Body::Ask(vec![entry("x", 1, 1)])).encode().unwrap()).unwrap();
    let nowhere = Entry { address: ([0, 0, 0, 0], 0).into(), ..entry("x", 1, 1) };
    let insane = [
        frame(Body::Ask(vec![nowhere])),
        frame(Body::Answer(vec![entry(&"x".repeat(65), 1, 1)])),
        frame(Body::Answer(vec![entry("", 1, 1)])),
        frame(Body::Goodbye(a.replica.clone())),
    ];
    let mut rubbish: Vec<Vec<u8>> = insane
        .iter()
        .map(|frame| Seal::Plain.close(&frame.encode().unwrap()).unwrap())
        .chain([vec![], vec![0], vec![0xff; 1_400], vec![0x52; 60_000], [sane.as_slice(), &[0]].concat()])
        .collect();
    // Every beginning of a sound datagram, long enough to name the cluster.
    rubbish.extend((9..sane.len()).map(|length| sane[..length].to_vec()));
    for datagram in &rubbish {
        stranger.send_to(datagram, a.address).await.unwrap();
    }
    // One of them is all `R`: a plain datagram of a cluster of that name.
    a.until_dropped(|dropped| dropped.undecodable + dropped.wrong_cluster, rubbish.len() as u64 - 1).await;
    let b = Plan { key: None, ..Plan::new("b", &[&a]) }.start().await;
    a.until_alive(&[&b.replica]).await;
}

#[tokio::test]
async fn the_largest_heartbeat_and_a_crowd_do_no_harm() {
    let mut a = TestNode::start("a", &[]).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let seal = Seal::new(Some(KeyRing::new(&[ClusterKey::new(KEY)])));
    let name = "n".repeat(64);
    let mailbox = mailbox_of(&stranger, &seal, a.address).await;
    // More members than chitchat's datagrams hold.
    for batch in 0..10u64 {
        let mut entries: Vec<Entry> =
            (0..200).map(|index| entry(&name, batch * 1_000 + index + 1, u64::MAX)).collect();
        entries.push(Entry { replica: a.replica.clone(), address: a.address, heartbeat: u64::MAX });
        let datagram =
            seal.close(&frame_to(mailbox, batch, Body::Answer(entries)).encode().unwrap()).unwrap();
        stranger.send_to(&datagram, a.address).await.unwrap();
    }
    a.until_dropped(|dropped| dropped.crowded, 3).await;
    assert_eq!(a.membership.dropped().oversized, 0);
    // Those who are known already still gossip; a node that nobody knows has to wait for room. It asks, and is
    // answered, so chitchat lives.
    let b = TestNode::start("b", &[&a]).await;
    a.until_dropped(|dropped| dropped.crowded, 8).await;
    assert_eq!(a.event_until(tokio::time::Instant::now()).await, None);
    let before = a.membership.traffic().sent;
    while a.membership.traffic().sent < before + 3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(b);
}
