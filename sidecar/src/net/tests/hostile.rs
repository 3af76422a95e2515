//! Whoever is not one of us, or has gone mad.

use super::*;
use crate::core::identity::{Dot, ShardId};
use crate::core::limits::CLOCK_IDS_HEARD_MAX;
use crate::core::message::ShardClock;
use crate::wire::Version;

/// Two nodes with a link, that must not notice anything.
async fn pair() -> (Peer, Peer) {
    let (a, b) = (Peer::start("a", 1).await, Peer::start("b", 2).await);
    a.know(&b);
    linked(&a, &b).await;
    (a, b)
}

async fn undisturbed(a: &Peer, b: &Peer) {
    let number = a.links.traffic().figures().messages_in + 1;
    assert!(b.say(a.id(), number));
    until("the others go on", || a.numbers(b.id()).contains(&number)).await;
    assert_eq!((a.count(&Event::Up(b.id())), a.count(&Event::Down(b.id()))), (1, 0));
}

/// The errors that both sides of a refused handshake count.
async fn refused(a: Options, b: Options, dialler: &str, acceptor: &str) {
    let a = Peer::start_with(replica("a", 1), a).await;
    let b = Peer::start_with(replica("b", 2), b).await;
    a.know(&b);
    until(&format!("a counts {dialler} and b {acceptor}"), || {
        a.failed(dialler) > 0 && b.failed(acceptor) > 0
    })
    .await;
    assert_eq!((a.events(), b.events()), (vec![], vec![]));
}

#[tokio::test]
async fn another_cluster_is_refused_and_told() {
    let other = Options { cluster: "other", ..Options::default() };
    refused(Options::default(), other, "refused", "unwanted").await;
}

#[tokio::test]
async fn another_key_is_refused_and_told() {
    let keyed = |key| Options { key: Some([key; 32]), ..Options::default() };
    refused(keyed(1), keyed(2), "key", "key").await;
}

#[tokio::test]
async fn who_has_the_key_and_belongs_elsewhere_is_told_before_anybody_says_who_it_is() {
    let keyed = || Options { key: Some([1; 32]), ..Options::default() };
    refused(keyed(), Options { cluster: "other", ..keyed() }, "cluster", "cluster").await;
    refused(keyed(), Options { session_ids: [7; 8], ..keyed() }, "session_ids", "session_ids").await;
}

#[tokio::test]
async fn with_a_key_and_without_do_not_talk_and_both_know_why() {
    let keyed = || Options { key: Some([1; 32]), ..Options::default() };
    refused(keyed(), Options::default(), "key", "key").await;
    refused(Options::default(), keyed(), "key", "key").await;
}

#[tokio::test]
async fn who_bears_this_nodes_own_name_is_refused_and_told() {
    let a = Peer::start("a", 1).await;
    let mut twin = Raw::introduced(a.address, replica("a", 2)).await;
    assert!(twin.refusal().await.unwrap().contains("the same node name"));
    let mut itself = Raw::introduced(a.address, replica("a", 1)).await;
    assert_eq!(itself.refusal().await.as_deref(), Some("it is this node itself"));
    until("both are counted", || a.failed("unwanted") == 2).await;
    assert_eq!(a.events(), []);
}

#[tokio::test]
async fn whoever_speaks_another_protocol_is_counted_and_let_go() {
    let (a, b) = pair().await;
    let then = |rest: &[u8]| [&opening(), rest].concat();
    for (bytes, kind) in [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "not_ours"),
        (b"sdtk\xee\x00".to_vec(), "unknown_version"),
        (b"sdtk\x21\x00".to_vec(), "not_ours"),
        (b"sdtk\x01\x00".to_vec(), "not_ours"),
        ([&opening()[..5], &[1]].concat(), "key"),
        (then(&[0xff, 0xff, 0xff, 0x7f, Version::NEWEST.number() << 4 | 8]), "oversized"),
        (then(&[0, 0, 0, 0, Version::NEWEST.number() << 4 | 8]), "bad_frame"),
        (then(&[2, 0, 0, 0, Version::NEWEST.number() << 4, 12]), "checksum"),
        (then(b"\x02\x00\x00\x00\xe0\x0c"), "unknown_version"),
    ] {
        let before = a.failed(kind);
        let mut raw = Raw::connect(a.address, &bytes).await;
        until(kind, || a.failed(kind) == before + 1).await;
        let mut rest = Vec::new();
        // The end, one way or the other.
        let _ = raw.stream.read_to_end(&mut rest).await;
        undisturbed(&a, &b).await;
    }
}

#[tokio::test]
async fn bad_bytes_on_a_standing_link_end_it_and_the_peer_is_told() {
    let (a, b) = pair().await;
    let mut good = Vec::new();
    wire::encode(&numbered(1), Guard::Checksum, &mut good).unwrap();
    let mut flipped = good.clone();
    flipped[7] ^= 1;
    let mut unchecked = Vec::new();
    wire::encode(&numbered(1), Guard::Transport, &mut unchecked).unwrap();
    let crowded = ShardClock {
        shard: ShardId(1),
        clock: (1..).take(CLOCK_IDS_HEARD_MAX + 1).map(|id| Dot::new(ReplicaId(id), 1)).collect(),
    };
    let mut clocks = Vec::new();
    wire::encode(&Message::Clocks(vec![crowded]), Guard::Checksum, &mut clocks).unwrap();
    for (round, (bytes, kind)) in [
        (&flipped, "checksum"),
        (&unchecked, "checksum"),
        (&vec![0xff; 64], "unknown_version"),
        (&clocks, "crowded_clock"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = ReplicaId(50 + round as u64);
        let mut raw = Raw::introduced(a.address, replica("mad", id.0)).await;
        raw.hello().await;
        until("it is up", || a.is_up(id)).await;
        raw.write(&good).await;
        let before = a.failed(kind);
        raw.write(bytes).await;
        assert!(raw.refusal().await.is_some());
        until("it is down", || !a.is_up(id)).await;
        assert_eq!((a.failed(kind), a.numbers(id)), (before + 1, vec![1]));
        undisturbed(&a, &b).await;
    }
}

#[tokio::test]
async fn a_stream_that_ends_within_a_message_is_told_from_one_that_ends() {
    let a = Peer::start("a", 1).await;
    for (round, (cut, kind)) in [(0, "closed"), (3, "truncated")].into_iter().enumerate() {
        let mut raw = Raw::introduced(a.address, replica("b", 2 + round as u64)).await;
        raw.hello().await;
        let mut bytes = Vec::new();
        wire::encode(&numbered(1), Guard::Checksum, &mut bytes).unwrap();
        raw.write(&bytes[..cut]).await;
        drop(raw);
        until(kind, || a.failed(kind) == 1).await;
    }
}

#[tokio::test]
async fn a_stranger_cannot_send_much_before_it_is_known() {
    let a = Peer::start("a", 1).await;
    let mut raw = Raw::connect(a.address, &opening()).await;
    raw.skip_opening().await;
    let mut long = Vec::new();
    wire::encode(&bulky(1 << 20), Guard::Checksum, &mut long).unwrap();
    // It is cut off somewhere within.
    let _ = raw.stream.write_all(&long).await;
    until("it is refused", || a.failed("oversized") == 1).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_queue_and_nobody_waits() {
    let options = Options { queue_bytes_max: 4 << 20, ..Options::default() };
    let a = Peer::start_with(replica("a", 1), options).await;
    let mut raw = Raw::introduced(a.address, replica("b", 2)).await;
    raw.hello().await;
    until("it is up", || a.is_up(ReplicaId(2))).await;
    // More than the sockets can hold.
    let piece = Arc::new(bulky(64 << 10));
    let sent = (0..2_000).find(|_| !a.links.send(ReplicaId(2), &piece));
    assert!(sent.is_some(), "128 MiB went to a peer that reads nothing");
    assert_eq!(a.links.traffic().figures().overflows, 1);
    // What was dropped made room. The link stands, and when the peer reads again, what is new comes.
    assert!(a.say(ReplicaId(2), 42));
    assert!(a.is_up(ReplicaId(2)));
    loop {
        match raw.next().await {
            Some(Incoming::Message(message)) if *message == numbered(42) => break,
            Some(_) => {}
            None => panic!("the link has ended"),
        }
    }
}

#[tokio::test]
async fn one_message_above_the_bound_of_an_empty_queue_still_goes() {
    let options = Options { queue_bytes_max: 1_000, ..Options::default() };
    let a = Peer::start_with(replica("a", 1), options).await;
    let b = Peer::start("b", 2).await;
    a.know(&b);
    linked(&a, &b).await;
    let long = bulky(1 << 20);
    assert!(a.links.send(b.id(), &Arc::new(long.clone())));
    until("it has come", || b.count(&Event::Message(a.id(), long.clone())) == 1).await;
}
