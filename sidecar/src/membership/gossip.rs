//! Chitchat, and nothing else: the only file that names it.
//!
//! Chitchat believes that it sends its own messages over its own socket. Here its digests (who, and which
//! heartbeat) are turned into our frames and back. Its deltas are always empty, since nobody publishes key-values,
//! and stay at home, together with the acknowledgement that would carry them and nothing else.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, Deserializable, FailureDetectorConfig,
    NodeState, Serializable, spawn_chitchat,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::ROUND;
use super::frame::{Body, Entry};
use super::link::{Inbox, Link};
use crate::core::identity::{Replica, ReplicaId};
use crate::core::time::UnixMillis;

/// The digest's length, at most: chitchat sets no bound, and fails when it does not fit into a datagram.
const DIGEST_BYTES_MAX: usize = 60_000;

/// Heartbeat, last collected version, highest version, as chitchat writes them.
const NUMBERS_BYTES: usize = 24;

/// Goodbyes that wait to be read, at most.
const DEPARTURES_MAX: usize = 256;

/// The end of the gossip task is awaited this long.
const STOP: Duration = Duration::from_secs(1);

/// Dead within 4 seconds, and not because of one slow second.
///
/// Chitchat's phi is the silence divided by a mean interval, and that mean counts `initial_interval` five times. New
/// heartbeats arrive every 0.1 to 0.6 s, more often in larger clusters, where they come by several ways: a plain
/// mean would make a large cluster nervous. With no more than three samples it stays between 0.35 and 0.54 s, and
/// six times that is 2.1 to 3.2 s of silence. A round to notice and a last heartbeat that arrives by a detour add
/// 0.6 s. Longer pauses than `max_interval` are absences and no samples.
fn failure_detector() -> FailureDetectorConfig {
    FailureDetectorConfig {
        phi_threshold: 6.0,
        sampling_window_size: 3,
        max_interval: Duration::from_secs(2),
        initial_interval: Duration::from_millis(500),
        // Half of it they stay in every datagram. A node that crashes every second leaves 60, not thousands.
        dead_node_grace_period: Duration::from_secs(120),
    }
}

/// Running gossip. Dropping it ends the task.
pub(super) struct Gossip {
    handle: ChitchatHandle,
}

/// Starts to gossip. Gives the goodbyes of others too.
pub(super) async fn start(
    own: &Replica,
    cluster: &str,
    advertise: SocketAddr,
    link: Arc<Link>,
    inbox: Inbox,
) -> Result<(Gossip, mpsc::Receiver<Replica>), String> {
    let (departures, departed) = mpsc::channel(DEPARTURES_MAX);
    let wire = Wire { link, inbox, cluster: cluster.to_owned(), departures, known: Known::default() };
    let config = ChitchatConfig {
        chitchat_id: id_of(own, advertise),
        cluster_id: cluster.to_owned(),
        gossip_interval: ROUND,
        listen_addr: advertise,
        // Ours are looked up more often, see `seeds`.
        seed_nodes: Vec::new(),
        failure_detector_config: failure_detector(),
        marked_for_deletion_grace_period: Duration::from_secs(3_600),
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    let door = Door(Mutex::new(Some(wire)));
    let handle = spawn_chitchat(config, Vec::new(), &door).await.map_err(|error| format!("{error:#}"))?;
    Ok((Gossip { handle }, departed))
}

impl Gossip {
    /// Tells this address what is known here, and asks for the same.
    pub(super) fn ask(&self, address: SocketAddr) {
        // Fails when gossip has ended, which `ended` tells.
        let _ = self.handle.gossip(address);
    }

    pub(super) async fn living(&self) -> Living {
        Living(self.handle.chitchat().lock().await.live_nodes_watcher())
    }

    /// Waits until gossip ends, and says why.
    pub(super) fn ended(&self) -> impl Future<Output = String> + use<> {
        let ended = self.handle.termination_watcher();
        async move { ended.await.err().map_or_else(|| "it was stopped".to_owned(), |error| format!("{error:#}")) }
    }

    /// Stops, and waits until the socket is free.
    pub(super) async fn stop(&self) {
        // Fails when it has ended already.
        let _ = self.handle.initiate_shutdown();
        // A task that hangs is cut off; nothing waits for it.
        if timeout(STOP, self.handle.termination_watcher()).await.is_err() {
            self.handle.abort();
        }
    }
}

/// Who gossips.
pub(super) struct Living(watch::Receiver<BTreeMap<ChitchatId, NodeState>>);

impl Living {
    /// Waits for a change. For ever when gossip has ended.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn now(&mut self) -> BTreeMap<Replica, SocketAddr> {
        self.0.borrow_and_update().keys().filter_map(replica_of).collect()
    }
}

/// The process as chitchat knows it. The id comes first: it has a fixed length, and a name may hold dots.
fn id_of(replica: &Replica, address: SocketAddr) -> ChitchatId {
    ChitchatId::new(format!("{}.{}", replica.id, replica.node), replica.started.0, address)
}

fn replica_of(id: &ChitchatId) -> Option<(Replica, SocketAddr)> {
    let (hex, node) = id.node_id.split_once('.')?;
    let replica = Replica {
        node: node.to_owned(),
        started: UnixMillis(id.generation_id),
        id: ReplicaId(u64::from_str_radix(hex, 16).ok()?),
    };
    Some((replica, id.gossip_advertise_addr))
}

/// Gives the wire to chitchat, once.
struct Door(Mutex<Option<Wire>>);

#[async_trait]
impl Transport for Door {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let wire = self.0.lock().take().ok_or_else(|| anyhow::anyhow!("the socket is in use"))?;
        Ok(Box::new(wire))
    }
}

struct Wire {
    link: Arc<Link>,
    inbox: Inbox,
    cluster: String,
    departures: mpsc::Sender<Replica>,
    known: Known,
}

/// Whom chitchat's last digest named.
#[derive(Default)]
struct Known {
    ids: HashSet<ChitchatId>,
    bytes: usize,
}

#[async_trait]
impl Socket for Wire {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let body = match message {
            ChitchatMessage::Syn { digest, .. } => Body::Ask(self.entries(&digest.serialize_to_vec())?),
            ChitchatMessage::SynAck { digest, .. } => Body::Answer(self.entries(&digest.serialize_to_vec())?),
            ChitchatMessage::Ack { .. } | ChitchatMessage::BadCluster => return Ok(()),
        };
        self.link.send(to, body).await;
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (from, frame) = self.link.receive(&mut self.inbox).await;
            match frame.body {
                Body::Ask(entries) => {
                    let digest = Deserializable::deserialize(&mut self.admit(from, entries).as_slice())?;
                    return Ok((from, ChitchatMessage::Syn { cluster_id: self.cluster.clone(), digest }));
                }
                Body::Answer(entries) => {
                    let digest = Deserializable::deserialize(&mut self.admit(from, entries).as_slice())?;
                    return Ok((from, ChitchatMessage::SynAck { digest, delta: Default::default() }));
                }
                // Full: then its silence tells it.
                Body::Goodbye(replica) => drop(self.departures.try_send(replica)),
                // The link has seen to it.
                Body::Who => {}
            }
        }
    }
}

impl Wire {
    /// The entries of a digest in chitchat's own bytes.
    fn entries(&mut self, mut digest: &[u8]) -> anyhow::Result<Vec<Entry>> {
        self.known = Known { ids: HashSet::new(), bytes: digest.len() };
        let count = u16::deserialize(&mut digest)?;
        let mut entries = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let id = ChitchatId::deserialize(&mut digest)?;
            let heartbeat = u64::deserialize(&mut digest)?;
            let _versions = (u64::deserialize(&mut digest)?, u64::deserialize(&mut digest)?);
            if let Some((replica, address)) = replica_of(&id) {
                entries.push(Entry { replica, address, heartbeat });
            }
            self.known.ids.insert(id);
        }
        Ok(entries)
    }

    /// A digest in chitchat's own bytes, of those entries that it may learn.
    fn admit(&mut self, from: SocketAddr, entries: Vec<Entry>) -> Vec<u8> {
        let (mut count, mut body, mut crowded) = (0u16, Vec::new(), false);
        for Entry { replica, address, heartbeat } in entries {
            let id = id_of(&replica, address);
            let bytes = id.serialized_len() + NUMBERS_BYTES;
            if !self.known.ids.contains(&id) {
                if self.known.bytes + bytes > DIGEST_BYTES_MAX {
                    crowded = true;
                    continue;
                }
                self.known.bytes += bytes;
                self.known.ids.insert(id.clone());
            }
            id.serialize(&mut body);
            [heartbeat, 0, 0].iter().for_each(|number: &u64| number.serialize(&mut body));
            count = count.saturating_add(1);
        }
        if crowded {
            self.link.drop_crowd(from);
        }
        [count.to_le_bytes().as_slice(), &body].concat()
    }
}
