//! Who is there: which processes of the cluster live, and where they are reached.
//!
//! Chitchat gossips heartbeats over UDP and judges by phi-accrual who is dead (Hayashibara et al., *The φ Accrual
//! Failure Detector*, 2004). Here is everything around it: datagrams of our own, sealed with the cluster's key; the
//! seeds, whose names are resolved again and again, since names move; and the rule for several processes of one
//! name. Why chitchat, and why it carries no data: decision 2.
//!
//! Every process is a member of its own for chitchat, named by its whole [`Replica`] and its address, and
//! publishes nothing else. So a datagram is a list of heartbeats and nothing that can grow, save with the cluster:
//! chitchat subtracts the length of that list from a datagram's without a check, and fails past some 1,000
//! members (500 with the longest names). Newcomers beyond 60,000 bytes of it are turned away and counted.
//!
//! Owns the UDP socket. Never opens a stream, never stores anything, and believes no datagram before it is
//! authenticated, decoded and bounded.

mod counts;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod gossip;
mod link;
mod replay;
mod roster;
mod seal;
mod seeds;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::core::identity::Replica;
use crate::keyring::KeyRing;
use gossip::Gossip;
use link::Link;
use roster::Roster;

pub use counts::{DroppedDatagrams, Traffic};
pub use frame::cluster_mark;

/// Between two rounds of gossip. A newcomer is alive after three heartbeats and the judgement after them: a second.
const ROUND: Duration = Duration::from_millis(300);

/// Bytes of a node's name, at most. The settings allow no longer one either.
const NAME_BYTES_MAX: usize = 64;

/// Who this node is, and whom it looks for.
pub struct Settings {
    /// This process.
    pub replica: Replica,
    /// The cluster's name: nodes of another one are not heard.
    pub cluster: String,
    /// Where others reach its gossip (UDP) and its streams (TCP, the same port).
    pub advertise: SocketAddr,
    /// Hosts and ports to knock at, again and again while nobody there answers.
    pub join: Vec<(String, u16)>,
    /// The secrets that all nodes share. Without them datagrams are plain: for loopback only.
    pub keys: Option<KeyRing>,
}

/// What membership tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This process lives, and is reached there.
    Alive {
        /// The process.
        replica: Replica,
        /// Its gossip and its streams.
        address: SocketAddr,
    },
    /// This process was alive, and has left, fallen silent, or been replaced by a later one of its name.
    Dead(Replica),
    /// Nobody answers at this address, where a member should be. Told now and then.
    Unanswered(SocketAddr),
    /// Another living process bears this node's name: the operator started two of them.
    NameTaken {
        /// The other one.
        replica: Replica,
        /// Where it is.
        address: SocketAddr,
    },
}

/// Decides the fate of a datagram. Fault injection implements it.
pub trait Weather: Send + Sync + 'static {
    /// `None` drops the datagram, `Some(delay)` lets it pass after that long. `peer` is the socket's address at the
    /// other end: for a received datagram, where it came from.
    fn datagram(&self, peer: SocketAddr, outgoing: bool) -> Option<Duration>;
}

/// Lets everything pass at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clear;

impl Weather for Clear {
    fn datagram(&self, _: SocketAddr, _: bool) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// Why membership could not start.
#[derive(Debug)]
pub enum StartError {
    /// Nobody can reach a node there: no address, or port 0.
    Advertise(SocketAddr),
    /// The node's name is empty or longer than 64 bytes.
    Name(String),
    /// The socket does not know its own address.
    Socket(io::Error),
    /// The gossip library refused.
    Gossip(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Advertise(address) => {
                write!(f, "{address} cannot be advertised: name an address and a port")
            }
            Self::Name(name) => write!(f, "{name:?} is no node name: 1 to {NAME_BYTES_MAX} bytes"),
            Self::Socket(error) => write!(f, "the gossip socket is of no use: {error}"),
            Self::Gossip(error) => write!(f, "gossip did not start: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket(error) => Some(error),
            Self::Advertise(_) | Self::Name(_) | Self::Gossip(_) => None,
        }
    }
}

/// Takes part in the cluster until it is dropped (a silent death, for the others) or [leaves](Self::leave).
pub struct Membership {
    own: Replica,
    link: Arc<Link>,
    gossip: Arc<Gossip>,
    /// Dropping it ends them.
    tasks: JoinSet<()>,
}

impl Membership {
    /// Starts to gossip on a socket that is already bound. What lives and dies is told from one task,
    /// one event after the other. `events` must not block. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The settings or the socket are of no use.
    pub async fn start(
        settings: Settings,
        socket: UdpSocket,
        weather: Arc<dyn Weather>,
        events: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let Settings { replica: own, cluster, advertise, join, keys } = settings;
        check(&own, advertise)?;
        let (link, inbox, again) =
            Link::new(socket, weather, keys, &cluster, own.id).map_err(StartError::Socket)?;
        let (gossip, departures) = gossip::start(&own, &cluster, advertise, link.clone(), inbox)
            .await
            .map_err(StartError::Gossip)?;
        let gossip = Arc::new(gossip);
        let roster = Roster::new(own.clone(), advertise);
        let mut tasks = JoinSet::new();
        let events: Arc<dyn Fn(Event) + Send + Sync> = Arc::new(events);
        let tell = Arc::clone(&events);
        tasks
            .spawn(roster::watch(roster, gossip.clone(), departures, link.clone(), move |event| tell(event)));
        for (host, port) in join {
            let silent = Arc::clone(&events);
            let silent = move |address| silent(Event::Unanswered(address));
            tasks.spawn(seeds::knock(host, port, advertise, link.clone(), gossip.clone(), silent));
        }
        tasks.spawn(seeds::ask_again(again, gossip.clone()));
        tasks.spawn(seeds::remember(link.clone(), gossip.clone()));
        Ok(Self { own, link, gossip, tasks })
    }

    /// Says goodbye to everyone alive, so that they need not find out, and stops.
    pub async fn leave(mut self) {
        self.tasks.shutdown().await;
        self.link.say_goodbye(&self.own).await;
        self.gossip.stop().await;
    }

    /// Reads this node's gossip figures, also while it leaves.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter(Arc::clone(&self.link))
    }

    /// Datagrams that were dropped, by reason.
    #[must_use]
    pub fn dropped(&self) -> DroppedDatagrams {
        self.meter().dropped()
    }

    /// What was sent and received.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.meter().traffic()
    }
}

fn check(own: &Replica, advertise: SocketAddr) -> Result<(), StartError> {
    if own.node.is_empty() || own.node.len() > NAME_BYTES_MAX {
        return Err(StartError::Name(own.node.clone()));
    }
    if frame::reachable(advertise) { Ok(()) } else { Err(StartError::Advertise(advertise)) }
}

/// Gossip figures, for metrics.
#[derive(Clone)]
pub struct Meter(Arc<Link>);

impl Meter {
    /// Datagrams that were dropped, by reason.
    #[must_use]
    pub fn dropped(&self) -> DroppedDatagrams {
        self.0.counts.dropped()
    }

    /// What was sent and received.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.counts.traffic()
    }
}
