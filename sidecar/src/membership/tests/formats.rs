//! Bytes, and the roster's rules.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::identity::{Replica, ReplicaId};
use crate::core::time::UnixMillis;
use crate::keyring::{ClusterKey, KeyRing};
use crate::membership::Event;
use crate::membership::counts::Reason;
use crate::membership::frame::{Body, Entry, Frame, cluster_mark};
use crate::membership::roster::Roster;
use crate::membership::seal::Seal;

fn replica(node: &str, started: u64) -> Replica {
    Replica { node: node.into(), started: UnixMillis(started), id: ReplicaId(started) }
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn sample() -> Frame {
    let entry =
        |node, started, port| Entry { replica: replica(node, started), address: at(port), heartbeat: 300 };
    let body = Body::Ask(vec![entry("a", 1, 7412), entry("b", 2, 7422)]);
    Frame { cluster: cluster_mark("test"), from: ReplicaId(1), mailbox: [2; 8], to: [3; 8], number: 4, body }
}

#[test]
fn the_bytes_of_a_frame_are_these() {
    let hex: String = sample().encode().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let (cluster, from) = ("40fc7d8d91f7c99e", "0100000000000000");
    let (mailbox, to, number, ask) = ("0202020202020202", "0303030303030303", "04", "00");
    // Name, started, id, address, heartbeat.
    let a = ["0161", "01", "0100000000000000", "007f000001f439", "ac02"].concat();
    let b = ["0162", "02", "0200000000000000", "007f000001fe39", "ac02"].concat();
    assert_eq!(hex, format!("{cluster}{from}{mailbox}{to}{number}{ask}02{a}{b}"));
}

fn seal(keys: &[u8]) -> Seal {
    let keys: Vec<_> = keys.iter().map(|byte| ClusterKey::new([*byte; 32])).collect();
    Seal::new(Some(KeyRing::new(&keys)))
}

#[test]
fn a_datagram_is_sealed_with_the_first_key_and_opened_with_any() {
    let [old, both, swapped, new] = [seal(&[1]), seal(&[1, 2]), seal(&[2, 1]), seal(&[2])];
    // Every pair of neighbours in a rotation understands each other, both ways.
    for (one, other) in [(&old, &both), (&both, &swapped), (&swapped, &new)] {
        assert_eq!(other.open(&one.close(b"x").unwrap()).unwrap(), b"x");
        assert_eq!(one.open(&other.close(b"x").unwrap()).unwrap(), b"x");
    }
    assert!(matches!(new.open(&old.close(b"x").unwrap()), Err(Reason::Undecryptable)));
}

#[test]
fn a_sealed_frame_opens_with_its_key_only() {
    let (key, other) = (seal(&[1]), seal(&[2]));
    let plain = sample().encode().unwrap();
    let sealed = key.close(&plain).unwrap();
    assert_eq!(key.open(&sealed).unwrap(), plain);
    assert!(matches!(other.open(&sealed), Err(Reason::Undecryptable)));
    assert!(matches!(Seal::Plain.open(&sealed), Err(Reason::KeyMismatch)));
    assert_ne!(key.close(&plain).unwrap(), sealed, "every datagram has a nonce of its own");
    for index in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[index] ^= 1;
        assert!(key.open(&damaged).is_err(), "{index}");
    }
    assert_eq!(Frame::decode(&plain, cluster_mark("test")).unwrap(), sample());
    assert!(matches!(Frame::decode(&plain, cluster_mark("other")), Err(Reason::WrongCluster)));
}

#[test]
fn the_latest_process_of_a_name_counts() {
    let mut roster = Roster::new(replica("own", 5), at(1));
    let now = Instant::now();
    let (old, new) = (replica("b", 1), replica("b", 2));
    let alive = |replica: &Replica, port| Event::Alive { replica: replica.clone(), address: at(port) };
    let both: BTreeMap<_, _> = [(old.clone(), at(2)), (new.clone(), at(3))].into();
    assert_eq!(roster.observe(now, [(old.clone(), at(2))].into()), [alive(&old, 2)]);
    assert_eq!(roster.observe(now, both.clone()), [Event::Dead(old.clone()), alive(&new, 3)]);
    assert_eq!(roster.observe(now, both.clone()), []);
    // A goodbye counts at once, and until the process is missed as well.
    roster.depart(new.clone());
    assert_eq!(roster.observe(now, both), [Event::Dead(new), alive(&old, 2)]);
    assert_eq!(roster.observe(now, BTreeMap::new()), [Event::Dead(old)]);
}

#[test]
fn a_rival_is_told_once_and_a_predecessor_never() {
    let mut roster = Roster::new(replica("own", 5), at(1));
    let now = Instant::now();
    let later = now + Duration::from_secs(7);
    let taken = |started, port| Event::NameTaken { replica: replica("own", started), address: at(port) };
    // The one before, at this very address and at another one, fading.
    assert_eq!(roster.observe(now, [(replica("own", 1), at(1)), (replica("own", 2), at(2))].into()), []);
    assert_eq!(roster.observe(later, [(replica("own", 1), at(1))].into()), []);
    // A later one is alive for certain, an older one when it does not fade.
    let rivals: BTreeMap<_, _> = [(replica("own", 3), at(3)), (replica("own", 9), at(9))].into();
    assert_eq!(roster.observe(now, rivals.clone()), [taken(9, 9)]);
    assert_eq!(roster.observe(later, rivals.clone()), [taken(3, 3)]);
    assert_eq!(roster.observe(later, rivals), []);
}
