//! Links come up, stay up, come back, and end in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn three_nodes_have_one_link_a_pair_and_messages_go_both_ways() {
    let nodes = [Peer::start("a", 1).await, Peer::start("b", 2).await, Peer::start("c", 3).await];
    for one in &nodes {
        for other in &nodes {
            one.know(other);
        }
    }
    let pairs = || nodes.iter().flat_map(|one| nodes.iter().map(move |other| (one, other)));
    for (one, other) in pairs().filter(|(one, other)| one.id() != other.id()) {
        linked(one, other).await;
        for number in 0..100 {
            assert!(one.say(other.id(), number));
        }
    }
    for (one, other) in pairs().filter(|(one, other)| one.id() != other.id()) {
        until("everything has come", || other.numbers(one.id()).len() == 100).await;
        assert_eq!(other.numbers(one.id()), (0..100).collect::<Vec<_>>());
        assert_eq!(one.count(&Event::Up(other.id())), 1);
        assert_eq!(one.count(&Event::Down(other.id())), 0);
    }
}

#[tokio::test]
async fn either_side_may_be_the_only_one_that_knows_the_address() {
    for knower in [0, 1] {
        let nodes = [Peer::start("a", 1).await, Peer::start("b", 2).await];
        nodes[knower].know(&nodes[1 - knower]);
        linked(&nodes[0], &nodes[1]).await;
    }
}

#[tokio::test]
async fn with_a_key_long_messages_arrive_whole() {
    let options = Options { key: Some([7; 32]), ..Options::default() };
    let a = Peer::start_with(replica("a", 1), options.clone()).await;
    let b = Peer::start_with(replica("b", 2), options).await;
    a.know(&b);
    linked(&a, &b).await;
    let long = bulky(3 << 20);
    for (one, other) in [(&a, &b), (&b, &a)] {
        assert!(one.links.send(other.id(), &Arc::new(long.clone())));
        until("it has come", || other.count(&Event::Message(one.id(), long.clone())) == 1).await;
    }
}

#[tokio::test]
async fn a_link_that_is_cut_comes_back() {
    let (a, b) = (Peer::start("a", 1).await, Peer::start("b", 2).await);
    a.know(&b);
    linked(&a, &b).await;
    b.links.disconnect(a.id(), "a test wants it closed");
    until("a was told", || a.failed("refused") == 1).await;
    until("both are up again", || a.count(&Event::Up(b.id())) == 2 && b.count(&Event::Up(a.id())) == 2).await;
    let order = [Event::Up(b.id()), Event::Down(b.id()), Event::Up(b.id())];
    assert_eq!(a.events(), order);
}

#[tokio::test]
async fn a_restarted_node_is_linked_as_the_new_process() {
    let a = Peer::start("a", 1).await;
    let old = Peer::start("b", 2).await;
    let address = old.address;
    a.know(&old);
    linked(&a, &old).await;
    drop(old);
    until("the old process is down", || a.count(&Event::Down(ReplicaId(2))) == 1).await;
    // At the same address, and not even announced: the name counts.
    let new = Peer::start_with(replica("b", 3), Options { address, ..Options::default() }).await;
    linked(&a, &new).await;
    a.know(&new);
    assert!(a.say(new.id(), 5));
    until("the new process is spoken to", || new.numbers(a.id()) == [5]).await;
    assert_eq!(a.events(), [Event::Up(ReplicaId(2)), Event::Down(ReplicaId(2)), Event::Up(ReplicaId(3))]);
}

/// What an earlier process has sent is not cut off by a later one of its name; which of them counts is not the links' business.
#[tokio::test]
async fn two_processes_of_one_name_keep_a_link_each() {
    let a = Peer::start("a", 1).await;
    let mut early = Raw::introduced(a.address, replica("b", 2)).await;
    early.hello().await;
    until("the early one is up", || a.is_up(ReplicaId(2))).await;
    let mut late = Raw::introduced(a.address, replica("b", 3)).await;
    late.hello().await;
    until("the late one is up", || a.is_up(ReplicaId(3))).await;
    assert!(a.is_up(ReplicaId(2)));
    for (number, link) in [(4, &mut early), (5, &mut late)] {
        assert!(a.say(ReplicaId(number - 2), number));
        assert_eq!(link.next().await, Some(Incoming::Message(Box::new(numbered(number)))));
    }
}

#[tokio::test]
async fn of_two_links_the_one_that_the_smaller_name_dialled_stays() {
    let m = Peer::start("m", 13).await;
    // Only m knows a: it dials in the end, although that is a's part.
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    m.links.know(&replica("a", 1), listener.local_addr().unwrap());
    let (stream, _) = listener.accept().await.unwrap();
    let mut second_choice = Raw { stream, decoder: Decoder::new(Guard::Checksum) };
    second_choice.write(&opening()).await;
    second_choice.skip_opening().await;
    second_choice.hello().await;
    second_choice.say(&Message::Hello(hello(replica("a", 1)))).await;
    until("m's own link stands", || m.is_up(ReplicaId(1))).await;

    let mut first_choice = Raw::introduced(m.address, replica("a", 1)).await;
    first_choice.hello().await;
    assert_eq!(second_choice.refusal().await.as_deref(), Some("another link takes its place"));
    until("a's link stands", || m.count(&Event::Up(ReplicaId(1))) == 2).await;
    assert!(m.is_up(ReplicaId(1)));

    // One more of the same kind is one too many.
    let mut third = Raw::introduced(m.address, replica("a", 1)).await;
    assert_eq!(third.refusal().await.as_deref(), Some("a link stands already"));
    assert!(m.say(ReplicaId(1), 9));
    assert_eq!(first_choice.next().await, Some(Incoming::Message(Box::new(numbered(9)))));
}

#[tokio::test]
async fn closing_writes_out_what_is_queued() {
    let (a, b) = (Peer::start("a", 1).await, Peer::start("b", 2).await);
    a.know(&b);
    linked(&a, &b).await;
    // Bytes that a never reads must not cost b the end of what a says.
    b.links.send(a.id(), &Arc::new(bulky(1 << 20)));
    for number in 0..20_000 {
        assert!(a.say(b.id(), number));
    }
    assert!(a.links.send(b.id(), &Arc::new(numbered(77))));
    a.links.close(WAIT_MAX).await;
    assert_eq!(a.events().last(), Some(&Event::Down(b.id())));
    until("b hears the end", || b.count(&Event::Down(a.id())) == 1).await;
    let numbers = b.numbers(a.id());
    assert_eq!((numbers.len(), numbers.last()), (20_001, Some(&77)));
}

#[tokio::test]
async fn a_port_for_both_protocols_is_found() {
    let (listener, socket) = bind(ANY_PORT).await.unwrap();
    assert_eq!(listener.local_addr().unwrap(), socket.local_addr().unwrap());
    let taken = bind(listener.local_addr().unwrap()).await;
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_silent_link_is_closed_and_an_idle_one_is_not() {
    let a = Peer::start("a", 1).await;
    let mut raw = Raw::introduced(a.address, replica("b", 2)).await;
    raw.hello().await;
    until("it is up", || a.is_up(ReplicaId(2))).await;
    tokio::time::pause();
    for _ in 0..4 {
        // Something comes: a keepalive will do.
        let mut bytes = Vec::new();
        wire::encode_keepalive(Guard::Checksum, &mut bytes);
        let before = a.links.traffic().figures().bytes_in;
        raw.write(&bytes).await;
        until("it has come", || a.links.traffic().figures().bytes_in > before).await;
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(a.is_up(ReplicaId(2)));
    }
    until("the silence is noticed", || a.failed("silent") == 1).await;
    assert!(!a.is_up(ReplicaId(2)));
}

#[tokio::test]
async fn what_is_said_after_long_messages_is_heard_after_them() {
    let (a, b) = (Peer::start("a", 1).await, Peer::start("b", 2).await);
    a.know(&b);
    linked(&a, &b).await;
    let said = [
        bulky(3 << 20),
        numbered(1),
        bulky(2 << 20),
        bulky(4 << 20),
        numbered(2),
        numbered(3),
        bulky(1 << 20),
    ];
    for message in &said {
        assert!(a.links.send(b.id(), &Arc::new(message.clone())));
    }
    until("everything has come", || b.events().len() == 1 + said.len()).await;
    let heard = said.into_iter().map(|message| Event::Message(a.id(), message));
    assert_eq!(b.events()[1..], heard.collect::<Vec<_>>());
    assert_eq!(b.links.queues().unpacking, 0);
}

#[tokio::test]
async fn a_long_message_that_was_whole_is_heard_before_the_link_ends() {
    let a = Peer::start("a", 1).await;
    let mut raw = Raw::introduced(a.address, replica("b", 2)).await;
    raw.hello().await;
    let long = bulky(3 << 20);
    raw.say(&long).await;
    raw.say(&numbered(7)).await;
    raw.say(&long).await;
    drop(raw);
    until("the link has ended", || a.count(&Event::Down(ReplicaId(2))) == 1).await;
    let message = |message| Event::Message(ReplicaId(2), message);
    let heard = [
        Event::Up(ReplicaId(2)),
        message(long.clone()),
        message(numbered(7)),
        message(long),
        Event::Down(ReplicaId(2)),
    ];
    assert_eq!(a.events(), heard);
}
