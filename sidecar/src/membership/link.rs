//! The UDP socket: weather, seal and counts around it, and who was heard on it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use super::Weather;
use super::counts::{Counts, Reason};
use super::frame::{Body, DATAGRAM_BYTES_MAX, Frame, cluster_mark};
use super::replay::{Heard, Mailbox, NOWHERE, Replays};
use super::seal::Seal;
use crate::core::identity::{Replica, ReplicaId};
use crate::keyring::KeyRing;

/// Datagrams that the weather delays at one time, at most.
const DELAYED_MAX: usize = 1_024;

/// Peers whose last datagram is remembered, at most.
const HEARD_MAX: usize = 4_096;

/// A peer that was heard within this time is there.
const HEARD_LATELY: Duration = Duration::from_secs(3);

/// A living peer that was heard within this time is not asked: an exchange tells both sides everything. Of two
/// nodes one asks in every second round, and the other one when it does not.
const ASKS_AFTER: Duration = Duration::from_millis(500);
const ASKS_INSTEAD_AFTER: Duration = Duration::from_millis(1_100);

/// After an error of the socket that may come again at once.
const BREATH: Duration = Duration::from_millis(100);

/// Mailboxes told to those who do not know it, at most, in a second: who repeats old datagrams must not make this node
/// talk. Newcomers ask again.
const MAILBOXES_PER_SECOND: u32 = 200;

/// Who asks again, at most, at one time.
const AGAIN_MAX: usize = 256;

type Late = (SocketAddr, Vec<u8>);

pub(super) struct Link {
    socket: UdpSocket,
    ipv6: bool,
    weather: Arc<dyn Weather>,
    seal: Seal,
    cluster: [u8; 8],
    own: ReplicaId,
    pub(super) counts: Counts,
    peers: Mutex<Peers>,
    replays: Mutex<Replays>,
    number: AtomicU64,
    again: mpsc::Sender<SocketAddr>,
    delayed: Arc<Semaphore>,
    late: mpsc::Sender<Late>,
}

#[derive(Default)]
struct Peers {
    heard: HashMap<SocketAddr, (Instant, ReplicaId)>,
    live: HashSet<SocketAddr>,
    /// The mailbox of whoever spoke from an address last.
    mailboxes: HashMap<SocketAddr, Mailbox>,
    /// Since when, and how many, mailboxes were told.
    told: Option<(Instant, u32)>,
}

/// Where received datagrams come out.
pub(super) struct Inbox {
    late: mpsc::Receiver<Late>,
    buffer: Box<[u8]>,
}

impl Link {
    pub(super) fn new(
        socket: UdpSocket,
        weather: Arc<dyn Weather>,
        keys: Option<KeyRing>,
        cluster: &str,
        own: ReplicaId,
    ) -> io::Result<(Arc<Self>, Inbox, mpsc::Receiver<SocketAddr>)> {
        let (again, asks_again) = mpsc::channel(AGAIN_MAX);
        let (late, delayed_ones) = mpsc::channel(DELAYED_MAX);
        let link = Self {
            ipv6: socket.local_addr()?.is_ipv6(),
            socket,
            weather,
            seal: Seal::new(keys),
            cluster: cluster_mark(cluster),
            own,
            counts: Counts::default(),
            peers: Mutex::default(),
            replays: Mutex::new(Replays::new()),
            number: AtomicU64::new(0),
            again,
            delayed: Arc::new(Semaphore::new(DELAYED_MAX)),
            late,
        };
        // One byte more than any datagram has: nothing is cut off unseen.
        let buffer = vec![0; DATAGRAM_BYTES_MAX + 1].into_boxed_slice();
        Ok((Arc::new(link), Inbox { late: delayed_ones, buffer }, asks_again))
    }

    /// Sends, or drops and counts: UDP promises no more.
    pub(super) async fn send(self: &Arc<Self>, to: SocketAddr, body: Body) {
        if matches!(body, Body::Ask(_)) && self.knows_enough(to) {
            return;
        }
        let mailbox = self.peers.lock().mailboxes.get(&to).copied().unwrap_or(NOWHERE);
        self.post(to, mailbox, body).await;
    }

    async fn post(self: &Arc<Self>, to: SocketAddr, mailbox: Mailbox, body: Body) {
        let ours = self.replays.lock().mailbox();
        let frame = Frame {
            cluster: self.cluster,
            from: self.own,
            mailbox: ours,
            to: mailbox,
            number: self.number.fetch_add(1, Ordering::Relaxed),
            body,
        };
        let datagram = match frame.encode().and_then(|plain| self.seal.close(&plain)) {
            Ok(datagram) if datagram.len() <= DATAGRAM_BYTES_MAX => datagram,
            Ok(_) => return self.counts.drop(Reason::Oversized, to),
            Err(reason) => return self.counts.drop(reason, to),
        };
        match self.weather.datagram(to, true) {
            None => {}
            Some(Duration::ZERO) => self.put(to, &datagram).await,
            Some(delay) => self.send_later(to, datagram, delay),
        }
    }

    async fn put(&self, to: SocketAddr, datagram: &[u8]) {
        match self.socket.send_to(datagram, self.native(to)).await {
            Ok(bytes) => self.counts.sent(bytes),
            Err(error) => {
                tracing::debug!(%to, %error, "a datagram was not sent");
                self.counts.drop(Reason::Unsent, to);
            }
        }
    }

    fn send_later(self: &Arc<Self>, to: SocketAddr, datagram: Vec<u8>, delay: Duration) {
        let Ok(permit) = self.delayed.clone().try_acquire_owned() else {
            return self.counts.drop(Reason::Overdue, to);
        };
        // Weak: a datagram in flight keeps no socket open.
        let link = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(delay).await;
            if let Some(link) = link.upgrade() {
                link.put(to, &datagram).await;
            }
            drop(permit);
        });
    }

    /// The next datagram that is sound and not our own. Loses nothing when its future is dropped.
    pub(super) async fn receive(self: &Arc<Self>, inbox: &mut Inbox) -> (SocketAddr, Frame) {
        loop {
            let (from, frame) = tokio::select! {
                received = self.socket.recv_from(&mut inbox.buffer) => match received {
                    Ok((bytes, from)) => {
                        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                        self.counts.received(bytes);
                        (from, self.arrived(from, &inbox.buffer[..bytes]))
                    }
                    Err(error) => {
                        // Some systems report here that an earlier datagram met a closed port.
                        tracing::debug!(%error, "no datagram was received");
                        sleep(BREATH).await;
                        continue;
                    }
                },
                Some((from, datagram)) = inbox.late.recv() => (from, self.open(from, &datagram)),
            };
            let Some(frame) = frame else { continue };
            if let Some(frame) = self.hear(from, frame).await {
                return (from, frame);
            }
        }
    }

    fn arrived(&self, from: SocketAddr, datagram: &[u8]) -> Option<Frame> {
        let delay = self.weather.datagram(from, false)?;
        if delay.is_zero() {
            return self.open(from, datagram);
        }
        let Ok(permit) = self.delayed.clone().try_acquire_owned() else {
            self.counts.drop(Reason::Overdue, from);
            return None;
        };
        let (late, datagram) = (self.late.clone(), datagram.to_vec());
        tokio::spawn(async move {
            sleep(delay).await;
            // Full only when nobody listens any more: there are as many places as permits.
            let _ = late.try_send((from, datagram));
            drop(permit);
        });
        None
    }

    fn open(&self, from: SocketAddr, datagram: &[u8]) -> Option<Frame> {
        let frame = self.seal.open(datagram).and_then(|plain| Frame::decode(&plain, self.cluster));
        match frame {
            Ok(frame) => Some(frame),
            Err(reason) => {
                self.counts.drop(reason, from);
                None
            }
        }
    }

    /// What there is to be done about a datagram, if anything.
    async fn hear(self: &Arc<Self>, from: SocketAddr, frame: Frame) -> Option<Frame> {
        let heard = self.replays.lock().hear(frame.from, frame.to, frame.number);
        match heard {
            Heard::New => {}
            Heard::Again => {
                self.counts.drop(Reason::Replayed, from);
                return None;
            }
            Heard::Unaddressed => {
                self.counts.drop(Reason::Unaddressed, from);
                if matches!(frame.body, Body::Ask(_)) && self.peers.lock().may_tell() {
                    // Not kept: an old datagram must not move a mailbox that is known.
                    self.post(from, frame.mailbox, Body::Who).await;
                }
                return None;
            }
        }
        self.peers.lock().reached_by(from, frame.mailbox);
        if matches!(frame.body, Body::Who) {
            // Full: the next round asks as well.
            let _ = self.again.try_send(from);
            return None;
        }
        self.peers.lock().hear(from, frame.from);
        // A seed's name may resolve to this very node: it was heard, and has nothing to say.
        (frame.from != self.own).then_some(frame)
    }

    /// Tells everyone alive that this process stops.
    pub(super) async fn say_goodbye(self: &Arc<Self>, own: &Replica) {
        let live: Vec<SocketAddr> = self.peers.lock().live.iter().copied().collect();
        for peer in live {
            self.send(peer, Body::Goodbye(own.clone())).await;
        }
    }

    pub(super) fn set_live(&self, live: HashSet<SocketAddr>) {
        self.peers.lock().live = live;
    }

    pub(super) fn live(&self) -> HashSet<SocketAddr> {
        self.peers.lock().live.clone()
    }

    /// A living member is there.
    pub(super) fn is_live(&self, peer: SocketAddr) -> bool {
        self.peers.lock().live.contains(&peer)
    }

    /// Somebody of the cluster is there: a living member, or whoever spoke from there lately.
    pub(super) fn reaches(&self, peer: SocketAddr) -> bool {
        let peers = self.peers.lock();
        peers.live.contains(&peer) || peers.heard_within(peer, |_| HEARD_LATELY)
    }

    fn knows_enough(&self, peer: SocketAddr) -> bool {
        let peers = self.peers.lock();
        peers.live.contains(&peer)
            && peers.heard_within(peer, |who| if self.own < who { ASKS_AFTER } else { ASKS_INSTEAD_AFTER })
    }

    pub(super) fn drop_crowd(&self, from: SocketAddr) {
        self.counts.drop(Reason::Crowded, from);
    }

    /// An IPv6 socket reaches IPv4 peers under mapped addresses.
    fn native(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) if self.ipv6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }
}

impl Peers {
    fn hear(&mut self, from: SocketAddr, who: ReplicaId) {
        if self.heard.len() >= HEARD_MAX {
            self.heard.retain(|_, (heard, _)| heard.elapsed() < HEARD_LATELY);
        }
        if self.heard.len() < HEARD_MAX || self.heard.contains_key(&from) {
            self.heard.insert(from, (Instant::now(), who));
        }
    }

    fn reached_by(&mut self, from: SocketAddr, mailbox: Mailbox) {
        if self.mailboxes.len() >= HEARD_MAX && !self.mailboxes.contains_key(&from) {
            // They are told again by whom they belong to.
            self.mailboxes.clear();
        }
        self.mailboxes.insert(from, mailbox);
    }

    fn may_tell(&mut self) -> bool {
        let (since, told) = self.told.get_or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *told) = (Instant::now(), 0);
        }
        *told += 1;
        *told <= MAILBOXES_PER_SECOND
    }

    fn heard_within(&self, peer: SocketAddr, time: impl Fn(ReplicaId) -> Duration) -> bool {
        self.heard.get(&peer).is_some_and(|(heard, who)| heard.elapsed() < time(*who))
    }
}
