//! Nodes of two releases.

use super::*;
use crate::wire::Version;

fn versions(oldest: u8, newest: u8) -> Versions {
    Versions::between(Version::of(oldest).unwrap(), Version::of(newest).unwrap()).unwrap()
}

fn speaking(oldest: u8, newest: u8, key: Option<[u8; 32]>) -> Options {
    Options { versions: versions(oldest, newest), key, ..Options::default() }
}

#[test]
fn the_newest_that_both_speak_is_agreed_on() {
    let common = |a: (u8, u8), b: (u8, u8)| versions(a.0, a.1).common(versions(b.0, b.1));
    for (a, b, agreed) in [
        ((1, 1), (1, 1), Some(1)),
        ((1, 2), (1, 1), Some(1)),
        ((1, 3), (2, 5), Some(3)),
        ((1, 1), (2, 3), None),
        ((4, 5), (1, 3), None),
    ] {
        assert_eq!(common(a, b), agreed.and_then(Version::of), "{a:?} {b:?}");
        assert_eq!(common(b, a), agreed.and_then(Version::of), "{b:?} {a:?}");
        assert_eq!(Versions::from_byte(versions(a.0, a.1).byte()), Some(versions(a.0, a.1)));
    }
    for byte in [0x00, 0x01, 0x10, 0x21, 0xf0] {
        assert_eq!(Versions::from_byte(byte), None);
    }
    assert_eq!(versions(1, 3).up_to(Version::OLDEST), versions(1, 1));
}

#[tokio::test]
async fn nodes_of_two_releases_talk_both_ways_with_a_key_and_without() {
    for key in [None, Some([1; 32])] {
        let old = Peer::start_with(replica("a", 1), speaking(1, 1, key)).await;
        let new = Peer::start_with(replica("b", 2), speaking(1, 3, key)).await;
        old.know(&new);
        linked(&old, &new).await;
        assert!(old.say(new.id(), 7) && new.say(old.id(), 8));
        until("both have heard", || new.numbers(old.id()) == [7] && old.numbers(new.id()) == [8]).await;
    }
}

#[tokio::test]
async fn without_a_version_in_common_there_is_no_link_and_both_know_why() {
    for key in [None, Some([1; 32])] {
        let old = Peer::start_with(replica("a", 1), speaking(1, 1, key)).await;
        let new = Peer::start_with(replica("b", 2), speaking(2, 3, key)).await;
        old.know(&new);
        let both = || old.failed("unknown_version") > 1 && new.failed("unknown_version") > 1;
        until("both have seen it twice", both).await;
        assert_eq!((old.events(), new.events()), (vec![], vec![]));
    }
}

/// Forwards one stream, and says of each side that it speaks nothing but version 1.
async fn talk_down(listener: tokio::net::TcpListener, to: SocketAddr) {
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(to).await.unwrap();
    let (mut one, mut other) = ([0; 6], [0; 6]);
    near.read_exact(&mut one).await.unwrap();
    far.read_exact(&mut other).await.unwrap();
    (one[4], other[4]) = (0x11, 0x11);
    far.write_all(&one).await.unwrap();
    near.write_all(&other).await.unwrap();
    // Either side may end it.
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
}

#[tokio::test]
async fn with_a_key_nobody_in_between_can_talk_the_version_down() {
    let options = || speaking(1, 2, Some([1; 32]));
    let a = Peer::start_with(replica("a", 1), options()).await;
    let b = Peer::start_with(replica("b", 2), options()).await;
    let listener = tokio::net::TcpListener::bind(ANY_PORT).await.unwrap();
    let between = listener.local_addr().unwrap();
    let task = tokio::spawn(talk_down(listener, b.address));
    a.links.probe(between);
    until("both refuse", || a.failed("key") == 1 && b.failed("key") == 1).await;
    assert_eq!((a.events(), b.events()), (vec![], vec![]));
    task.abort();
}
