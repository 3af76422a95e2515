//! All links of a node, as their owner sees them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::books::{Closing, Shared};
use super::chaos::Faults;
use super::dial::{self, Target};
use super::link::Link;
use super::queue::Pushed;
use super::secure::StreamSecrets;
use super::traffic::Traffic;
use crate::core::identity::Replica;
use crate::core::message::{Hello, Message, PeerId};
use crate::wire::{Budget, MESSAGE_BYTES_MAX, Version, Versions};

/// Bytes of large messages in the making, over all links: two of the largest.
const UNPACKING_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Whoever the links serve. Called from the tasks that read, one call at a time for each peer: [`up`](Self::up), then
/// its messages, then [`down`](Self::down). Must not block for long.
pub trait Handler: Send + Sync + 'static {
    /// What this node says first.
    fn hello(&self) -> Hello;
    /// Whether a link to this process should stand. Where not, it is not dialled, and a link that its other end has
    /// made is dropped after a while.
    fn wants(&self, _peer: PeerId) -> bool {
        true
    }
    /// A link stands, on which this version is spoken.
    fn up(&self, hello: Hello, version: Version);
    /// A peer said something.
    fn message(&self, from: PeerId, message: Message);
    /// A link is gone.
    fn down(&self, peer: PeerId);
    /// A node that was dialled lives, and refuses this one for what it is.
    fn refused(&self) {}
}

/// How links are set up.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// What makes a stream this cluster's.
    pub secrets: StreamSecrets,
    /// Bytes that may wait on one link.
    pub queue_bytes_max: usize,
    /// What this node speaks.
    pub versions: Versions,
    /// Failures may be rehearsed.
    pub rehearses: bool,
}

/// What waits on the links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Links that stand.
    pub links: usize,
    /// Bytes that wait to be sent on the link where most do.
    pub bytes_longest: usize,
    /// What may wait on one link.
    pub bytes_max: usize,
    /// Bytes of large messages that are not whole yet, or not unpacked, over all links.
    pub unpacking: usize,
    /// What they may be.
    pub unpacking_max: usize,
}

/// All links of a node.
pub struct Links {
    shared: Arc<Shared>,
    /// By node name.
    dialling: Mutex<BTreeMap<String, Dialling>>,
    /// What accepts links, and what drops those that are not wanted.
    tasks: Mutex<Vec<AbortHandle>>,
}

struct Dialling {
    target: watch::Sender<Target>,
    task: AbortHandle,
}

impl Links {
    /// No links yet: whoever is to be called can be made ready first.
    pub fn new(settings: &LinkSettings, faults: Arc<Faults>, handler: Arc<dyn Handler>) -> Self {
        let shared = Arc::new(Shared {
            ours: handler.hello().replica,
            handler,
            secrets: settings.secrets.clone(),
            faults,
            versions: settings.versions,
            rehearses: settings.rehearses,
            traffic: Traffic::default(),
            queue_bytes_max: settings.queue_bytes_max,
            unpacking: Budget::new(UNPACKING_BYTES_MAX),
            standing: RwLock::default(),
            changes: watch::Sender::new(0),
            started: Instant::now(),
            changing: Mutex::default(),
            quiet_until: Mutex::default(),
        });
        Self { shared, dialling: Mutex::default(), tasks: Mutex::default() }
    }

    /// Accepts links from now on. Must be called within a tokio runtime, and once.
    pub fn listen(&self, listener: TcpListener) {
        let accept = tokio::spawn(dial::accept(Arc::clone(&self.shared), listener));
        let drop_unwanted = tokio::spawn(dial::drop_unwanted(Arc::clone(&self.shared)));
        self.tasks.lock().extend([accept.abort_handle(), drop_unwanted.abort_handle()]);
    }

    /// This process is there, at this address, and it is the current one of its name. A link to it is kept up from
    /// now on.
    pub fn know(&self, replica: &Replica, address: SocketAddr) {
        if replica.node == self.shared.ours.node {
            return;
        }
        let target = Target { replica: replica.clone(), address, lost: None };
        let mut dialling = self.dialling.lock();
        dialling.retain(|_, dialling| !dialling.task.is_finished());
        match dialling.get(&replica.node) {
            Some(known) => drop(known.target.send_replace(target)),
            None => {
                let (target, targets) = watch::channel(target);
                let dial = dial::keep_linked(Arc::clone(&self.shared), replica.node.clone(), targets);
                let task = tokio::spawn(dial).abort_handle();
                dialling.insert(replica.node.clone(), Dialling { target, task });
            }
        }
    }

    /// This process is no longer heard of. It is dialled for a while all the same, then given up.
    pub fn lost(&self, replica: &Replica) {
        if let Some(known) = self.dialling.lock().get(&replica.node) {
            // Nothing to be woken up for.
            known.target.send_if_modified(|target| {
                if target.replica == *replica {
                    target.lost.get_or_insert_with(Instant::now);
                }
                false
            });
        }
    }

    /// Queues a message. `false` when the link's queue was full, and is empty now. A peer without a link loses it
    /// without a word: it is caught up when it comes.
    pub fn send(&self, to: PeerId, message: &Arc<Message>) -> bool {
        let standing = self.shared.standing.read();
        let Some(standing) = standing.get(&to) else { return true };
        let mut not_before = None;
        if self.shared.rehearses {
            match self.shared.faults.fate(&standing.link.peer.node) {
                None => {
                    self.shared.traffic.rehearsed_loss();
                    return true;
                }
                Some(late) if late.is_zero() => {}
                Some(late) => not_before = Some(Instant::now() + late),
            }
        }
        let pushed = standing.link.queue.push(Arc::clone(message), not_before);
        if pushed == Pushed::Overflowed {
            self.shared.traffic.overflowed();
        }
        pushed != Pushed::Overflowed
    }

    /// Closes the link to a process, and tells it why.
    pub fn disconnect(&self, peer: PeerId, why: &'static str) {
        self.shared.complain("unwanted", &peer.to_string(), &format!("the link to {peer} is closed: {why}"));
        self.shared.close(|link| link.peer.id == peer, Closing::Because(why));
    }

    /// Cuts the links that rehearsed failures block.
    pub fn cut_blocked(&self) {
        let faults = Arc::clone(&self.shared.faults);
        self.shared.close(|link| faults.of(&link.peer.node).blocked, Closing::Cut);
    }

    /// The cluster's keys are others now: links that were opened with one that counts no longer are opened anew, so
    /// that taking a key away takes away what it has opened.
    pub fn keys_changed(&self) {
        let Some(keys) = &self.shared.secrets.keys else { return };
        let stale = |link: &Link| link.key.is_some_and(|key| !keys.accepts(key));
        self.shared.close(stale, Closing::Because("its cluster key is no longer accepted"));
    }

    /// Somebody should be there, and gossip is not answered: opens a stream, whose handshake says what is wrong. If
    /// nothing is, a link stands.
    pub fn probe(&self, address: SocketAddr) {
        tokio::spawn(dial::probe(Arc::clone(&self.shared), address));
    }

    /// The links' queues, and the bytes that wait to be written or handed on.
    pub fn queues(&self) -> Queues {
        let standing = self.shared.standing.read();
        let bytes = standing.values().map(|standing| standing.link.queue.bytes());
        Queues {
            links: standing.len(),
            bytes_longest: bytes.max().unwrap_or(0),
            bytes_max: self.shared.queue_bytes_max,
            unpacking: self.shared.unpacking.used(),
            unpacking_max: self.shared.unpacking.max(),
        }
    }

    /// What went over the links.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// Writes out what is queued, then closes everything.
    pub async fn close(&self, within: Duration) {
        self.stop_growing();
        let tasks: Vec<AbortHandle> = {
            let standing = self.shared.standing.read();
            standing.values().for_each(|standing| standing.link.queue.close());
            standing.values().filter_map(|standing| standing.task.clone()).collect()
        };
        let mut changes = self.shared.changes.subscribe();
        let finished = async {
            while tasks.iter().any(|task| !task.is_finished()) {
                // A task takes its link off the books as the last thing it does, or nearly so.
                let _ = timeout(Duration::from_millis(5), changes.changed()).await;
            }
        };
        // What a dead peer does not take is lost in any case.
        let _ = timeout(within, finished).await;
        self.shared.close(|_| true, Closing::Cut);
    }

    fn stop_growing(&self) {
        std::mem::take(&mut *self.tasks.lock()).iter().for_each(AbortHandle::abort);
        std::mem::take(&mut *self.dialling.lock()).values().for_each(|dialling| dialling.task.abort());
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.stop_growing();
        self.shared.close(|_| true, Closing::Cut);
    }
}
