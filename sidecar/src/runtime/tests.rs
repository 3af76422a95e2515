//! The driver with a core, and links that are made up.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::alarms::Alarms;
use super::{Clocks, Driver, Outlet};
use crate::config::ApiAddress;
use crate::core::command::{Acks, Change, Wait, Waited, Write};
use crate::core::identity::{Dot, Kind, ObjectId, Replica, ReplicaId, ShardId};
use crate::core::message::{Message, PeerId};
use crate::core::node::{Alarm, Input, Node, NodeConfig, Output};
use crate::core::time::{Hlc, MonoMicros, UnixMillis};
use crate::core::token::Token;
use crate::core::value::Tree;

const PEER: PeerId = ReplicaId(2);

fn replica(node: &str, id: ReplicaId) -> Replica {
    Replica { node: node.to_owned(), started: UnixMillis(1), id }
}

/// A node that started alone and serves.
fn driver() -> Arc<Driver> {
    let clocks = Clocks::new(0);
    let config = NodeConfig {
        bootstrap_millis: 0,
        log_bytes_max: 1 << 20,
        ..NodeConfig::new(replica("a", ReplicaId(1)), "test")
    };
    Driver::new(Node::new(config, clocks.now()), clocks)
}

#[derive(Default)]
struct Recorder {
    sent: Mutex<Vec<Arc<Message>>>,
    full: bool,
}

impl Outlet for Recorder {
    fn send(&self, _: PeerId, message: &Arc<Message>) -> bool {
        self.sent.lock().push(Arc::clone(message));
        !self.full
    }

    fn disconnect(&self, _: PeerId, _: &'static str) {}
}

fn link(driver: &Driver, outlet: Recorder) -> Arc<Recorder> {
    let outlet = Arc::new(outlet);
    driver.connect(outlet.clone());
    driver.change(|node, now| {
        let config = NodeConfig { lineage: 1, ..NodeConfig::new(replica("b", PEER), "test") };
        let mut peer = Node::new(config, now);
        peer.handle(now, Input::LinkUp(node.id()));
        node.handle(now, Input::LinkUp(PEER));
        while let Some(said) = peer.poll_output() {
            if let Output::Send(_, message) = said {
                node.handle(now, Input::Message(PEER, (*message).clone()));
            }
        }
    });
    outlet
}

fn write(driver: &Driver, key: &str) -> Token {
    let object = ObjectId::new(Kind::Document, key);
    let put = Write::new(object, Change::Put(Tree::EMPTY));
    driver.change(|node, now| node.write(now, &put)).unwrap().token
}

fn unheard_of() -> Wait {
    let dots = vec![Dot::new(ReplicaId(9), 9)];
    Wait::Seen(vec![Token { shard: ShardId(0), hlc: Hlc(1), dots }])
}

fn open_waits(driver: &Driver) -> u64 {
    driver.read(|node, _| node.status().figures.waits)
}

async fn with_ticker(driver: &Arc<Driver>) {
    let ticking = Arc::clone(driver);
    tokio::spawn(async move { ticking.tick().await });
    // Let it look at its first deadline.
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_its_time_is_over_although_the_ticker_slept() {
    let driver = driver();
    with_ticker(&driver).await;
    let started = Instant::now();
    assert_eq!(driver.wait(unheard_of(), 7).await, Waited::Behind);
    let took = started.elapsed();
    assert!((7..=12).contains(&took.as_millis()), "{took:?}");
    assert_eq!(open_waits(&driver), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_nobody_waits_for_is_taken_off_the_books() {
    let driver = driver();
    let waiting = tokio::time::timeout(Duration::from_millis(5), driver.wait(unheard_of(), 10_000)).await;
    assert!(waiting.is_err());
    assert_eq!(open_waits(&driver), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_once_when_a_peer_acknowledges() {
    let driver = driver();
    link(&driver, Recorder::default());
    let token = write(&driver, "d");
    let wait = Wait::Acks { token: token.clone(), need: Acks::Count(2) };
    let waiter = {
        let driver = Arc::clone(&driver);
        tokio::spawn(async move { driver.wait(wait, 10_000).await })
    };
    while open_waits(&driver) == 0 {
        tokio::task::yield_now().await;
    }
    let progress = crate::core::message::Progress { shard: token.shard, dot: token.dots[0] };
    driver.input(Input::Message(PEER, Message::Applied(vec![progress])));
    assert_eq!(waiter.await.unwrap(), Waited::Acks { have: 2, need: 2 });
}

#[tokio::test]
async fn a_write_goes_out_before_the_call_returns_and_moves_the_journal() {
    let driver = driver();
    let outlet = link(&driver, Recorder::default());
    let mut journal = driver.journal();
    let before = *journal.borrow_and_update();
    outlet.sent.lock().clear();
    write(&driver, "d");
    assert!(
        outlet.sent.lock().iter().any(|message| matches!(&**message, Message::Ops(ops) if ops.len() == 1))
    );
    assert!(journal.has_changed().unwrap() && *journal.borrow_and_update() > before);
}

#[tokio::test]
async fn who_begins_to_watch_knows_what_nobody_was_told() {
    let driver = driver();
    write(&driver, "a");
    let first = *driver.journal().borrow();
    write(&driver, "b");
    let (one, other) = (driver.journal(), driver.journal());
    assert!(first > 0 && *one.borrow() > first);
    assert!(!one.has_changed().unwrap() && *one.borrow() == *other.borrow(), "nothing has grown");
    write(&driver, "c");
    assert!(one.has_changed().unwrap() && *one.borrow() == *other.borrow());
}

#[tokio::test]
async fn an_outlet_that_is_always_full_does_not_hold_up_the_node() {
    let driver = driver();
    let outlet = link(&driver, Recorder { full: true, ..Recorder::default() });
    for n in 0..10 {
        write(&driver, &n.to_string());
    }
    assert!(outlet.sent.lock().len() < 1_000);
}

#[test]
fn each_alarm_is_told_once_in_a_while() {
    let alarms = Alarms::default();
    let diverged = |shard| Alarm::Diverged { peer: replica("b", PEER), shard: ShardId(shard) };
    let at = |seconds: u64| MonoMicros(seconds * 1_000_000);
    let told: Vec<bool> = [
        (diverged(1), at(0)),
        (diverged(1), at(9)),
        (diverged(2), at(9)),
        (Alarm::Corrected { millis: 5 }, at(9)),
        (Alarm::Corrected { millis: 6 }, at(9)),
        (diverged(1), at(10)),
    ]
    .iter()
    .map(|(alarm, now)| alarms.is_due(alarm, *now))
    .collect();
    assert_eq!(told, [true, false, true, true, false, true]);
}

#[tokio::test]
async fn a_burst_of_connections_finds_places_before_any_is_accepted() {
    let (listener, _, address) =
        super::serve::bind_api(&ApiAddress::Tcp(([127, 0, 0, 1], 0).into())).await.unwrap();
    let ApiAddress::Tcp(address) = address else { panic!("it was one") };
    let mut open = Vec::new();
    // Nobody accepts: one that overflows would wait for ever.
    let burst = async {
        for _ in 0..1_000 {
            open.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(20), burst).await.expect("there is room for all of them");
    drop(listener);
}
