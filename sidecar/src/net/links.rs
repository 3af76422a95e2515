//! All links of a node: who is dialled, who is accepted, where a message goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::chaos::Faults;
use super::link::{self, Introduced, LinkError};
use super::queue::Queue;
use super::traffic::Traffic;
use crate::core::identity::{Replica, ReplicaId};
use crate::core::message::{Hello, Message, PeerId};

/// A dial that takes longer has failed.
const DIAL_MAX: Duration = Duration::from_secs(2);

/// Between dials, at first and at most.
const BACKOFF_MILLIS: u64 = 50;
const BACKOFF_MILLIS_MAX: u64 = 2_000;

/// Between two log lines about failing links.
const QUIET: Duration = Duration::from_secs(10);

/// Whoever the links serve.
pub trait Handler: Send + Sync + 'static {
    /// What this node says first.
    fn hello(&self) -> Hello;
    /// A link stands.
    fn up(&self, hello: Hello);
    /// A peer said something.
    fn message(&self, from: PeerId, message: Message);
    /// A link is gone.
    fn down(&self, peer: PeerId);
}

/// How links are set up.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The cluster's key; none: plain text.
    pub key: Option<[u8; 32]>,
    /// Bytes that may wait on one link.
    pub queue_bytes_max: usize,
    /// Failures may be rehearsed.
    pub rehearses: bool,
}

pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) key: Option<[u8; 32]>,
    pub(super) faults: Arc<Faults>,
    pub(super) rehearses: bool,
    pub(super) traffic: Traffic,
    queue_bytes_max: usize,
    standing: RwLock<BTreeMap<ReplicaId, Standing>>,
    /// Held while a link comes up or goes down, so that the handler hears of it in order. Never held by a sender.
    changing: Mutex<()>,
    generations: AtomicU64,
    quiet_until: Mutex<Option<Instant>>,
}

struct Standing {
    generation: u64,
    node: String,
    queue: Arc<Queue>,
    task: Option<AbortHandle>,
}

/// All links of a node.
pub struct Links {
    shared: Arc<Shared>,
    dialling: Mutex<BTreeMap<ReplicaId, AbortHandle>>,
    accepting: AbortHandle,
}

impl Links {
    /// Accepts links from now on.
    pub fn start(
        listener: TcpListener,
        settings: &LinkSettings,
        faults: Arc<Faults>,
        handler: Arc<dyn Handler>,
    ) -> Self {
        let shared = Arc::new(Shared {
            handler,
            key: settings.key,
            faults,
            rehearses: settings.rehearses,
            traffic: Traffic::default(),
            queue_bytes_max: settings.queue_bytes_max,
            standing: RwLock::default(),
            changing: Mutex::default(),
            generations: AtomicU64::new(0),
            quiet_until: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(Arc::clone(&shared), listener)).abort_handle();
        Self { shared, dialling: Mutex::default(), accepting }
    }

    /// A process is there, at this address. It is dialled from now on if it is ours to dial.
    pub fn know(&self, replica: &Replica, address: SocketAddr) {
        let ours = self.shared.handler.hello().replica;
        if ours.node >= replica.node {
            return;
        }
        let mut dialling = self.dialling.lock();
        dialling.entry(replica.id).or_insert_with(|| {
            let dial = dial_for_ever(Arc::clone(&self.shared), replica.clone(), address);
            tokio::spawn(dial).abort_handle()
        });
    }

    /// A process is gone: it is dialled no more.
    pub fn forget(&self, replica: ReplicaId) {
        if let Some(dial) = self.dialling.lock().remove(&replica) {
            dial.abort();
        }
    }

    /// Queues a message. `false` when the link's queue was full, and is empty now. A peer without a link loses it
    /// without a word: it is caught up when it comes.
    pub fn send(&self, to: PeerId, message: &Arc<Message>) -> bool {
        let standing = self.shared.standing.read();
        let Some(link) = standing.get(&to) else { return true };
        let mut not_before = None;
        if self.shared.rehearses {
            match self.shared.faults.fate(&link.node) {
                None => return true,
                Some(late) if late.is_zero() => {}
                Some(late) => not_before = Some(Instant::now() + late),
            }
        }
        let queued = link.queue.push(Arc::clone(message), not_before);
        if !queued {
            self.shared.traffic.overflowed();
        }
        queued
    }

    /// Closes the link to a process.
    pub fn disconnect(&self, peer: PeerId, why: &str) {
        self.shared.complain(&format!("the link to {peer} is closed: {why}"));
        self.shared.close(|id, _| id == peer);
    }

    /// Cuts the links that rehearsed failures block.
    pub fn cut_blocked(&self) {
        let faults = Arc::clone(&self.shared.faults);
        self.shared.close(|_, node| faults.of(node).blocked);
    }

    /// What went over the links.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// Writes out what is queued, then closes everything.
    pub async fn close(&self, within: Duration) {
        self.accepting.abort();
        std::mem::take(&mut *self.dialling.lock()).values().for_each(AbortHandle::abort);
        let tasks: Vec<AbortHandle> = {
            let standing = self.shared.standing.read();
            standing.values().for_each(|link| link.queue.close());
            standing.values().filter_map(|link| link.task.clone()).collect()
        };
        let finished = async {
            while tasks.iter().any(|task| !task.is_finished()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // What a dead peer does not take is lost in any case.
        let _ = timeout(within, finished).await;
        self.shared.close(|_, _| true);
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.accepting.abort();
        self.dialling.lock().values().for_each(AbortHandle::abort);
        self.shared.close(|_, _| true);
    }
}

impl Shared {
    /// A link stands: an older one to the same process gives way.
    fn register(self: &Arc<Self>, introduced: Introduced) -> Arc<Queue> {
        let hello = introduced.hello.clone();
        let id = hello.replica.id;
        let queue = Arc::new(Queue::new(self.queue_bytes_max));
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let _changing = self.changing.lock();
        self.take_down(id, None);
        let standing =
            Standing { generation, node: hello.replica.node.clone(), queue: Arc::clone(&queue), task: None };
        self.standing.write().insert(id, standing);
        self.traffic.opened();
        self.handler.up(hello);
        let task = tokio::spawn(keep(Arc::clone(self), introduced, Arc::clone(&queue), generation));
        if let Some(standing) = self.standing.write().get_mut(&id) {
            standing.task = Some(task.abort_handle());
        }
        queue
    }

    /// Takes a link off the books, if it is still that one, and tells the handler.
    fn take_down(&self, id: ReplicaId, generation: Option<u64>) {
        let gone = {
            let mut standing = self.standing.write();
            let current =
                standing.get(&id).is_some_and(|link| generation.is_none_or(|g| g == link.generation));
            if current { standing.remove(&id) } else { None }
        };
        if let Some(link) = gone {
            link.queue.close();
            self.handler.down(id);
            if let Some(task) = link.task.filter(|_| generation.is_none()) {
                task.abort();
            }
        }
    }

    fn close(&self, which: impl Fn(ReplicaId, &str) -> bool) {
        let _changing = self.changing.lock();
        let closing: Vec<ReplicaId> = self
            .standing
            .read()
            .iter()
            .filter(|(id, link)| which(**id, &link.node))
            .map(|(id, _)| *id)
            .collect();
        for id in closing {
            self.take_down(id, None);
        }
    }

    fn has(&self, id: ReplicaId) -> bool {
        self.standing.read().contains_key(&id)
    }

    /// One line now and then: a peer that cannot get in tries for ever.
    fn complain(&self, what: &str) {
        let mut quiet_until = self.quiet_until.lock();
        if quiet_until.is_none_or(|until| until <= Instant::now()) {
            *quiet_until = Some(Instant::now() + QUIET);
            tracing::warn!("{what}");
        }
    }

    fn failed(&self, who: &str, error: &LinkError) {
        self.traffic.failed(error.kind());
        match error {
            LinkError::Closed => {}
            LinkError::Io(io) if io.kind() != std::io::ErrorKind::InvalidData => {
                tracing::debug!(peer = who, %error, "no link");
            }
            _ => self.complain(&format!("no link with {who}: {error}")),
        }
    }
}

async fn keep(shared: Arc<Shared>, introduced: Introduced, queue: Arc<Queue>, generation: u64) {
    let Replica { id, node, .. } = introduced.hello.replica.clone();
    let error = link::run(Arc::clone(&shared), introduced, queue).await;
    shared.failed(&node, &error);
    let _changing = shared.changing.lock();
    shared.take_down(id, Some(generation));
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { meet(&shared, stream, from).await });
            }
            Err(error) => {
                shared.complain(&format!("cannot accept links: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn meet(shared: &Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    match link::introduce(shared, stream, false).await {
        Ok(introduced) => {
            shared.register(introduced);
        }
        Err(error) => shared.failed(&from.to_string(), &error),
    }
}

async fn dial_for_ever(shared: Arc<Shared>, replica: Replica, address: SocketAddr) {
    let mut backoff_millis = BACKOFF_MILLIS;
    loop {
        let blocked = shared.faults.of(&replica.node).blocked;
        if !blocked && !shared.has(replica.id) {
            match dial(&shared, &replica, address).await {
                Ok(()) => backoff_millis = BACKOFF_MILLIS,
                Err(error) => {
                    shared.failed(&format!("{} at {address}", replica.node), &error);
                    backoff_millis = (backoff_millis * 2).min(BACKOFF_MILLIS_MAX);
                }
            }
        }
        let pause_millis = if blocked { BACKOFF_MILLIS } else { backoff_millis };
        tokio::time::sleep(Duration::from_millis(pause_millis + jitter(pause_millis))).await;
    }
}

async fn dial(shared: &Arc<Shared>, replica: &Replica, address: SocketAddr) -> Result<(), LinkError> {
    let stream = timeout(DIAL_MAX, TcpStream::connect(address)).await.map_err(|_| LinkError::Silent)??;
    let introduced = link::introduce(shared, stream, true).await?;
    if introduced.hello.replica.id != replica.id {
        return Err(LinkError::Unwanted("another process has taken the address"));
    }
    shared.register(introduced);
    Ok(())
}

/// Nodes that lost each other at once must not come back at once.
fn jitter(millis: u64) -> u64 {
    getrandom::u32().map_or(0, |random| u64::from(random) % (millis / 2 + 1))
}
