//! From the processes that gossip to the events that the owner hears.
//!
//! Of several processes of one name the latest counts. A process replaced by a restart falls silent and stays in
//! the list of the living for some seconds more: nobody shall send to it any longer.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Event;
use super::gossip::Gossip;
use super::link::Link;
use crate::core::identity::Replica;

/// An *older* process of this node's name may be its own predecessor, which others still take for alive. One
/// that is alive for longer than it takes to find out is a rival.
const PREDECESSOR_FADES: Duration = Duration::from_secs(6);

/// Looks again this often, for rivals that have become old enough.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Roster {
    own: Replica,
    address: SocketAddr,
    alive: BTreeMap<Replica, SocketAddr>,
    /// Processes of this node's name: since when, and whether the owner knows.
    rivals: BTreeMap<Replica, (Instant, bool)>,
    /// Said goodbye, and not yet missed by the failure detector.
    departed: BTreeSet<Replica>,
}

impl Roster {
    pub(super) fn new(own: Replica, address: SocketAddr) -> Self {
        Self { own, address, alive: BTreeMap::new(), rivals: BTreeMap::new(), departed: BTreeSet::new() }
    }

    /// A process said goodbye.
    pub(super) fn depart(&mut self, replica: Replica) {
        if self.alive.contains_key(&replica) || self.rivals.contains_key(&replica) {
            self.departed.insert(replica);
        }
    }

    /// Compares who gossips now with who was alive before.
    pub(super) fn observe(&mut self, now: Instant, live: BTreeMap<Replica, SocketAddr>) -> Vec<Event> {
        self.departed.retain(|replica| live.contains_key(replica));
        let (rivals, others): (Vec<_>, Vec<_>) = live
            .into_iter()
            .filter(|(replica, _)| *replica != self.own && !self.departed.contains(replica))
            .partition(|(replica, _)| replica.node == self.own.node);
        // In the order of replicas the latest of a name comes last, and stays.
        let latest: BTreeMap<String, (Replica, SocketAddr)> =
            others.into_iter().map(|(replica, address)| (replica.node.clone(), (replica, address))).collect();
        let mut events = self.take_over(latest.into_values().collect());
        self.watch_rivals(now, rivals, &mut events);
        events
    }

    fn take_over(&mut self, next: BTreeMap<Replica, SocketAddr>) -> Vec<Event> {
        let before = std::mem::replace(&mut self.alive, next);
        let dead =
            before.keys().filter(|replica| !self.alive.contains_key(replica)).cloned().map(Event::Dead);
        let alive = self
            .alive
            .iter()
            .filter(|(replica, address)| before.get(replica) != Some(address))
            .map(|(replica, &address)| Event::Alive { replica: replica.clone(), address });
        dead.chain(alive).collect()
    }

    fn watch_rivals(&mut self, now: Instant, live: Vec<(Replica, SocketAddr)>, events: &mut Vec<Event>) {
        let before = std::mem::take(&mut self.rivals);
        for (replica, address) in live {
            // This process holds that port: whoever had it is gone.
            if address == self.address {
                continue;
            }
            let (since, told) = before.get(&replica).copied().unwrap_or((now, false));
            let certain = replica > self.own || now.duration_since(since) >= PREDECESSOR_FADES;
            if certain && !told {
                events.push(Event::NameTaken { replica: replica.clone(), address });
            }
            self.rivals.insert(replica, (since, told || certain));
        }
    }

    fn everyone_dies(&mut self) -> Vec<Event> {
        self.take_over(BTreeMap::new())
    }
}

/// Tells `events` what changes, until gossip ends.
pub(super) async fn watch(
    mut roster: Roster,
    gossip: Arc<Gossip>,
    mut departures: mpsc::Receiver<Replica>,
    link: Arc<Link>,
    events: impl Fn(Event) + Send + Sync + 'static,
) {
    let mut living = gossip.living().await;
    let ended = gossip.ended();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            why = &mut ended => {
                tracing::error!(%why, "gossip has ended: this node sees nobody until it is restarted");
                break;
            }
            () = living.changed() => {}
            Some(replica) = departures.recv() => roster.depart(replica),
            () = sleep(LOOK) => {}
        }
        roster.observe(Instant::now(), living.now()).into_iter().for_each(&events);
        link.set_live(roster.addresses());
    }
    roster.everyone_dies().into_iter().for_each(&events);
}

impl Roster {
    /// Where someone alive is.
    fn addresses(&self) -> HashSet<SocketAddr> {
        self.alive.values().copied().collect()
    }
}
