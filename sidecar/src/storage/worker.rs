//! The thread that writes: takes what the node has not saved yet, commits it, and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::StoreError;
use super::backend::Fsync;
use super::store::{Store, guarded};
use crate::core::identity::{Clock, ShardId};
use crate::core::node::{DiskHealth, SavedNode, UnsavedShard};
use crate::core::time::UnixMillis;

/// After a failure, between two tries.
const RETRY: Duration = Duration::from_secs(1);

/// Between commits when there is nothing to save: they save the time up to which leases may end.
const BEAT: Duration = Duration::from_secs(5);

/// Between looks when nobody wakes it.
const IDLE: Duration = Duration::from_secs(1);

/// The node, as the thread that writes sees it. None of it waits for long.
pub trait Disk: Send + Sync {
    /// Takes what is not saved yet.
    fn take(&self, images: &[ShardId]) -> (Vec<UnsavedShard>, SavedNode);
    /// It is on the disk.
    fn saved(&self, shards: Vec<(ShardId, Clock)>, time: UnixMillis);
    /// It is not.
    fn not_saved(&self, shards: Vec<ShardId>, health: DiskHealth);
}

/// What the thread has done.
#[derive(Debug, Default)]
pub struct DiskFigures {
    /// Commits.
    pub commits: AtomicU64,
    /// Commits that failed.
    pub failures: AtomicU64,
    /// How long the last commit took, in microseconds.
    pub commit_micros: AtomicU64,
    /// Bytes stored.
    pub bytes: AtomicU64,
    /// The failure that lasts, in words.
    pub error: Mutex<Option<String>>,
}

enum Order {
    Wake,
    /// Writes all there is, and ends; what is saved is no longer what the others count on when `left`.
    Stop {
        left: bool,
    },
}

/// The thread that writes.
#[derive(Debug)]
pub struct Worker {
    orders: SyncSender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
    figures: Arc<DiskFigures>,
}

impl Worker {
    /// Starts to write what this node has.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        store: Store,
        fsync: Fsync,
        interval: Duration,
        node: Arc<dyn Disk>,
    ) -> std::io::Result<Self> {
        let (orders, queue) = sync_channel(4);
        let figures = Arc::new(DiskFigures::default());
        figures.bytes.store(store.bytes(), Ordering::Relaxed);
        let interval = if fsync == Fsync::Always { Duration::ZERO } else { interval };
        let mut writer = Writer { store, node, figures: Arc::clone(&figures), failed: false };
        let thread =
            std::thread::Builder::new().name("storage".into()).spawn(move || writer.run(&queue, interval))?;
        Ok(Self { orders, thread: Mutex::new(Some(thread)), figures })
    }

    /// There is something to write.
    pub fn wake(&self) {
        // Full: it is awake, or about to be.
        let _ = self.orders.try_send(Order::Wake);
    }

    /// Writes what there is, and ends. Blocks until that is done.
    pub fn stop(&self, left: bool) {
        let _ = self.orders.send(Order::Stop { left });
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }

    /// What it has done.
    #[must_use]
    pub fn figures(&self) -> &DiskFigures {
        &self.figures
    }
}

struct Writer {
    store: Store,
    node: Arc<dyn Disk>,
    figures: Arc<DiskFigures>,
    failed: bool,
}

impl Writer {
    fn run(&mut self, orders: &Receiver<Order>, interval: Duration) {
        let mut begun = Instant::now() - interval;
        let mut looked = begun;
        let mut committed = begun;
        loop {
            // A failure leaves something unsaved, and so wakes this thread by itself.
            let patience = if self.failed { RETRY.saturating_sub(begun.elapsed()) } else { IDLE };
            let left = match orders.recv_timeout(patience) {
                Ok(Order::Stop { left }) => Some(left),
                Ok(Order::Wake) | Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(false),
            };
            if let Some(left) = left {
                while self.commit(false, !left) {}
                self.commit(true, !left);
                return;
            }
            if looked.elapsed() >= IDLE {
                looked = Instant::now();
                self.store.answer_requests();
            }
            if self.failed && begun.elapsed() < RETRY {
                continue;
            }
            // What comes meanwhile goes with it.
            std::thread::sleep((begun + interval).saturating_duration_since(Instant::now()));
            begun = Instant::now();
            let beat = committed.elapsed() >= BEAT;
            if beat {
                committed = begun;
            }
            while self.commit(beat, true) && interval.is_zero() {}
        }
    }

    /// Gives whether there may be more.
    fn commit(&mut self, even_nothing: bool, is_current: bool) -> bool {
        if self.failed && !self.reopen() {
            return false;
        }
        let (unsaved, node) = self.node.take(&self.store.wanted_images());
        if unsaved.is_empty() && !even_nothing && !self.failed {
            return false;
        }
        let clocks: Vec<(ShardId, Clock)> =
            unsaved.iter().map(|unsaved| (unsaved.shard, unsaved.clock.clone())).collect();
        let begun = Instant::now();
        match guarded(|| self.store.commit(unsaved, &node, is_current)) {
            Ok(()) => {
                self.figures.commits.fetch_add(1, Ordering::Relaxed);
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.figures.commit_micros.store(micros, Ordering::Relaxed);
                self.figures.bytes.store(self.store.bytes(), Ordering::Relaxed);
                self.recovered();
                let more = !clocks.is_empty();
                self.node.saved(clocks, node.time);
                more
            }
            Err(error) => {
                self.fail(&error, clocks.into_iter().map(|(shard, _)| shard).collect());
                false
            }
        }
    }

    /// The database does not go on after a failure: it must be opened again.
    fn reopen(&mut self) -> bool {
        match guarded(|| self.store.reopen()) {
            Ok(()) => true,
            Err(error) => {
                self.fail(&error, Vec::new());
                false
            }
        }
    }

    fn fail(&mut self, error: &StoreError, shards: Vec<ShardId>) {
        self.figures.failures.fetch_add(1, Ordering::Relaxed);
        if !self.failed {
            tracing::error!(%error, "what is written here cannot be saved: this node takes no writes until it can");
        }
        self.failed = true;
        *self.figures.error.lock() = Some(error.to_string());
        let health = if matches!(error, StoreError::Full) { DiskHealth::Full } else { DiskHealth::Failing };
        self.node.not_saved(shards, health);
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failed) {
            tracing::info!("the disk takes writes again");
            *self.figures.error.lock() = None;
        }
    }
}
