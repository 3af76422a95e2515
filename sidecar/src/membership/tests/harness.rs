//! Nodes on loopback whose events are collected.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::super::{Clear, Event, Membership, Settings, Weather};
use crate::core::identity::{Replica, ReplicaId};
use crate::core::time::UnixMillis;
use crate::keyring::{ClusterKey, KeyRing};

/// No wait of a test is longer. Ten times what it should take: the machine may be busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const KEY: [u8; 32] = [7; 32];

/// How a node differs from the others.
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) cluster: &'static str,
    pub(super) key: Option<[u8; 32]>,
    pub(super) join: Vec<SocketAddr>,
    pub(super) weather: Arc<dyn Weather>,
    pub(super) at: SocketAddr,
}

impl Plan {
    pub(super) fn new(name: &'static str, join: &[&TestNode]) -> Self {
        Self {
            name,
            cluster: "test",
            key: Some(KEY),
            join: join.iter().map(|node| node.address).collect(),
            weather: Arc::new(Clear),
            at: ([127, 0, 0, 1], 0).into(),
        }
    }

    pub(super) async fn start(self) -> TestNode {
        // Every later one is a later process.
        static STARTED: AtomicU64 = AtomicU64::new(1_790_000_000_000);
        let started = STARTED.fetch_add(1, Ordering::Relaxed);
        let replica = Replica {
            node: self.name.to_owned(),
            started: UnixMillis(started),
            id: ReplicaId(started.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        };
        let socket = UdpSocket::bind(self.at).await.unwrap();
        let address = socket.local_addr().unwrap();
        let settings = Settings {
            replica: replica.clone(),
            cluster: self.cluster.to_owned(),
            advertise: address,
            join: self.join.iter().map(|seed| (seed.ip().to_string(), seed.port())).collect(),
            keys: self.key.map(|key| KeyRing::new(&[ClusterKey::new(key)])),
        };
        let (sender, events) = mpsc::unbounded_channel();
        let tell = move |event| match event {
            // Comes whenever a seed is silent.
            Event::Unanswered(_) => {}
            event => drop(sender.send(event)),
        };
        let membership = Membership::start(settings, socket, self.weather, tell).await.unwrap();
        TestNode { membership, replica, address, events, alive: BTreeMap::new() }
    }
}

pub(super) struct TestNode {
    pub(super) membership: Membership,
    pub(super) replica: Replica,
    pub(super) address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
    /// As the events so far have it.
    pub(super) alive: BTreeMap<Replica, SocketAddr>,
}

impl TestNode {
    pub(super) async fn start(name: &'static str, join: &[&TestNode]) -> Self {
        Plan::new(name, join).start().await
    }

    pub(super) async fn event(&mut self) -> Event {
        self.event_until(Instant::now() + PATIENCE).await.expect("an event in time")
    }

    pub(super) async fn event_until(&mut self, deadline: Instant) -> Option<Event> {
        let event = timeout_at(deadline, self.events.recv()).await.ok()?.expect("membership runs");
        match &event {
            Event::Alive { replica, address } => drop(self.alive.insert(replica.clone(), *address)),
            Event::Dead(replica) => drop(self.alive.remove(replica).expect("only the living die")),
            Event::NameTaken { .. } | Event::Unanswered(_) => {}
        }
        Some(event)
    }

    /// Waits until exactly these are alive, and says how long it took.
    pub(super) async fn until_alive(&mut self, others: &[&Replica]) -> Duration {
        let (begin, deadline) = (Instant::now(), Instant::now() + PATIENCE);
        while !(self.alive.len() == others.len() && others.iter().all(|one| self.alive.contains_key(*one))) {
            let seen = &self.alive;
            let missing = format!("{:?} to see {others:?}, it sees {seen:?}", self.replica);
            self.event_until(deadline).await.expect(&missing);
        }
        begin.elapsed()
    }

    /// Waits until `count` says that more than `least` were dropped.
    pub(super) async fn until_dropped(
        &self,
        count: impl Fn(super::super::DroppedDatagrams) -> u64,
        least: u64,
    ) {
        let deadline = Instant::now() + PATIENCE;
        while count(self.membership.dropped()) <= least {
            assert!(Instant::now() < deadline, "{:?}", self.membership.dropped());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
