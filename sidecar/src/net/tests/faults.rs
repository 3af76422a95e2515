//! Rehearsed failures do what they say, and are seen to have happened.

use std::time::Instant;

use super::*;
use crate::api::port::Fault;

async fn pair() -> (Peer, Peer) {
    let (a, b) = (Peer::start("a", 1).await, Peer::start("b", 2).await);
    a.know(&b);
    linked(&a, &b).await;
    (a, b)
}

fn on(node: &str, fault: Fault) -> Vec<(String, Fault)> {
    vec![(node.to_owned(), fault)]
}

#[tokio::test]
async fn a_block_cuts_the_link_refuses_new_ones_and_ends() {
    let (a, b) = pair().await;
    // Only the side that is dialled knows of it.
    b.faults.replace(on("a", Fault { blocked: true, ..Fault::default() }));
    b.links.cut_blocked();
    until("both are down", || !a.is_up(b.id()) && !b.is_up(a.id())).await;
    assert!(a.say(b.id(), 1), "a message without a link is no overflow");
    until("a is refused", || b.failed("blocked") >= 2).await;
    // It never looked like a link to a, and a was told nothing through the cut.
    assert_eq!((a.count(&Event::Up(b.id())), a.failed("refused")), (1, 0));
    b.faults.replace(Vec::new());
    linked(&a, &b).await;
    assert!(a.say(b.id(), 2));
    until("it comes through", || b.numbers(a.id()) == [2]).await;
}

#[tokio::test]
async fn a_delay_counts_each_way_and_keeps_the_order() {
    let (a, b) = pair().await;
    let delay = Duration::from_millis(150);
    a.faults.replace(on("b", Fault { delay_millis: 150, ..Fault::default() }));
    for (one, other) in [(&a, &b), (&b, &a)] {
        let started = Instant::now();
        for number in 0..50 {
            one.say(other.id(), number);
        }
        until("the first comes", || !other.numbers(one.id()).is_empty()).await;
        assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
        until("all come", || other.numbers(one.id()).len() == 50).await;
        assert_eq!(other.numbers(one.id()), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_is_due_does_not_wait_for_what_is_not() {
    let (a, b) = pair().await;
    a.faults.replace(on("b", Fault { delay_millis: 100, ..Fault::default() }));
    a.say(b.id(), 1);
    a.faults.replace(on("b", Fault { delay_millis: 5_000, ..Fault::default() }));
    a.say(b.id(), 2);
    let started = Instant::now();
    until("the first comes", || b.numbers(a.id()) == [1]).await;
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn nothing_that_was_held_back_comes_after_the_cut() {
    let (a, b) = pair().await;
    b.faults.replace(on("a", Fault { delay_millis: 300, ..Fault::default() }));
    a.say(b.id(), 1);
    until("it is held back", || b.links.traffic().figures().messages_in == 1).await;
    b.faults.replace(on("a", Fault { blocked: true, ..Fault::default() }));
    b.links.cut_blocked();
    until("b is down", || !b.is_up(a.id())).await;
    b.faults.replace(Vec::new());
    linked(&a, &b).await;
    a.say(b.id(), 2);
    until("the new link works", || b.numbers(a.id()).contains(&2)).await;
    let held_back_is_over = Instant::now() + Duration::from_millis(400);
    until("the time of what was held back is over", || Instant::now() > held_back_is_over).await;
    assert_eq!(b.numbers(a.id()), [2]);
}

#[tokio::test]
async fn a_link_stands_under_a_delay_longer_than_the_silence_that_ends_links() {
    let (a, b) = pair().await;
    a.faults.replace(on("b", Fault { delay_millis: 5_500, ..Fault::default() }));
    a.say(b.id(), 1);
    b.say(a.id(), 2);
    until("it comes in the end", || b.numbers(a.id()) == [1] && a.numbers(b.id()) == [2]).await;
    assert_eq!((a.count(&Event::Down(b.id())), b.count(&Event::Down(a.id()))), (0, 0));
}

#[tokio::test]
async fn loss_loses_a_share_of_the_messages_each_way() {
    let (a, b) = pair().await;
    a.faults.replace(on("b", Fault { loss: 0.5, ..Fault::default() }));
    for number in 0..1_000 {
        a.say(b.id(), number);
        b.say(a.id(), number);
    }
    until("all of b's have met their fate", || a.links.traffic().figures().messages_in == 1_000).await;
    a.faults.replace(Vec::new());
    a.say(b.id(), 5_000);
    until("the last comes", || b.numbers(a.id()).last() == Some(&5_000)).await;
    let (there, back) = (b.numbers(a.id()), a.numbers(b.id()));
    for numbers in [&there, &back] {
        assert!((400..600).contains(&numbers.len()), "{} of 1000 came", numbers.len());
        assert!(numbers.is_sorted());
    }
    let came = there.len() - 1 + back.len();
    assert_eq!(a.links.traffic().figures().rehearsed_losses, 2_000 - came as u64);
}
