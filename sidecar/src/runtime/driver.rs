//! The driver: the only caller of the core.
//!
//! Reads share the lock, everything else holds it alone, for a microsecond or two. Outputs are put out before it is
//! released, so what goes to one peer goes in the order in which it happened. Nothing waits under the lock: a send
//! is a push onto a bounded queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot, watch};

use super::alarms::Alarms;
use super::clocks::Clocks;
use crate::core::command::{Wait, WaitId, Waited};
use crate::core::identity::{Clock, ShardId};
use crate::core::message::{Message, PeerId};
use crate::core::node::{DiskHealth, Dropped, Input, Node, Output, SavedNode, UnsavedShard};
use crate::core::time::{MonoMicros, Now, UnixMillis};
use crate::storage::{Disk, Worker};

/// Where messages go.
pub trait Outlet: Send + Sync {
    /// Queues a message. Gives `false` when the queue was full: then what it held is dropped as well.
    fn send(&self, to: PeerId, message: &Arc<Message>) -> bool;
    /// Closes the link.
    fn disconnect(&self, peer: PeerId, why: &'static str);
}

/// Drives one node.
pub struct Driver {
    node: RwLock<Node>,
    clocks: Clocks,
    outlet: OnceLock<Arc<dyn Outlet>>,
    waits: Mutex<HashMap<WaitId, oneshot::Sender<Waited>>>,
    journal: watch::Sender<u64>,
    /// When the ticker means to wake up.
    armed: AtomicU64,
    rearm: Notify,
    alarms: Alarms,
    /// What the node drops, once it must start over.
    over: watch::Sender<Option<Arc<Dropped>>>,
    disk: OnceLock<Arc<Worker>>,
}

impl Driver {
    /// A driver of this node. It is silent until it has an outlet.
    #[must_use]
    pub fn new(node: Node, clocks: Clocks) -> Arc<Self> {
        let alarms = Alarms::default();
        Arc::new(Self {
            node: RwLock::new(node),
            clocks,
            outlet: OnceLock::new(),
            waits: Mutex::default(),
            journal: watch::Sender::new(0),
            armed: AtomicU64::new(0),
            rearm: Notify::new(),
            alarms,
            over: watch::Sender::new(None),
            disk: OnceLock::new(),
        })
    }

    /// Messages go there from now on. Once only.
    pub fn connect(&self, outlet: Arc<dyn Outlet>) {
        // A second outlet would split the cluster in two.
        let _ = self.outlet.set(outlet);
    }

    /// What is not saved goes there from now on. Once only.
    pub fn save_to(&self, disk: Arc<Worker>) {
        disk.wake();
        let _ = self.disk.set(disk);
    }

    /// Where it is saved.
    pub fn disk(&self) -> Option<&Worker> {
        self.disk.get().map(Arc::as_ref)
    }

    /// This moment.
    pub fn now(&self) -> Now {
        self.clocks.now()
    }

    /// Reads.
    pub fn read<R>(&self, read: impl FnOnce(&Node, Now) -> R) -> R {
        let node = self.node.read();
        read(&node, self.clocks.now())
    }

    /// Changes the node, and puts out what comes of it.
    pub fn change<R>(&self, change: impl FnOnce(&mut Node, Now) -> R) -> R {
        let mut node = self.node.write();
        let result = change(&mut node, self.clocks.now());
        self.put_out(&mut node);
        result
    }

    /// Changes the node by writes alone, and puts out what comes of them. They bring no deadline forward.
    pub fn write<R>(&self, write: impl FnOnce(&mut Node, Now) -> R) -> R {
        let mut node = self.node.write();
        let before = if cfg!(debug_assertions) { node.deadline() } else { MonoMicros::default() };
        let result = write(&mut node, self.clocks.now());
        debug_assert!(before <= node.deadline());
        self.put_out_all(&mut node);
        result
    }

    /// Hands in what happened outside.
    pub fn input(&self, input: Input) {
        self.change(|node, now| node.handle(now, input));
    }

    fn put_out(&self, node: &mut Node) {
        self.put_out_all(node);
        if node.deadline().0 < self.armed.load(Ordering::Relaxed) {
            self.rearm.notify_one();
        }
    }

    fn put_out_all(&self, node: &mut Node) {
        while let Some(output) = node.poll_output() {
            match output {
                Output::Send(peer, message) => self.send(node, peer, &message),
                Output::Done(wait, how) => self.end_wait(wait, how),
                Output::Changed(cursor) => {
                    // Costs eight locks, and mostly nobody watches.
                    if self.journal.receiver_count() > 0 {
                        self.journal.send_replace(cursor);
                    }
                }
                Output::Unsaved => {
                    if let Some(disk) = self.disk.get() {
                        disk.wake();
                    }
                }
                Output::Alarm(alarm) => self.alarms.tell(&alarm, self.clocks.now().mono),
                Output::StartOver(dropped) => {
                    self.over.send_replace(Some(Arc::from(dropped)));
                }
                Output::Disconnect(peer, why) => {
                    if let Some(outlet) = self.outlet.get() {
                        outlet.disconnect(peer, why);
                    }
                }
            }
        }
    }

    fn send(&self, node: &mut Node, peer: PeerId, message: &Arc<Message>) {
        let sent = self.outlet.get().is_some_and(|outlet| outlet.send(peer, message));
        if !sent {
            node.handle(self.clocks.now(), Input::Overflowed(peer));
            self.rearm.notify_one();
        }
    }

    fn end_wait(&self, wait: WaitId, how: Waited) {
        if let Some(waiter) = self.waits.lock().remove(&wait) {
            // Whoever waited may have hung up.
            let _ = waiter.send(how);
        }
    }

    /// Waits, at most this long. Dropping the future ends the wait.
    pub async fn wait(&self, wait: Wait, millis_max: u64) -> Waited {
        let (waiter, waited) = oneshot::channel();
        let id = {
            let mut node = self.node.write();
            let started = node.wait(self.clocks.now(), wait, millis_max);
            if let Err(id) = started {
                self.waits.lock().insert(id, waiter);
            }
            self.put_out(&mut node);
            match started {
                Ok(waited) => return waited,
                Err(id) => id,
            }
        };
        let _cancel = CancelOnDrop { driver: self, id };
        waited.await.unwrap_or(Waited::Behind)
    }

    /// Tells when the journal grows.
    pub fn journal(&self) -> watch::Receiver<u64> {
        let mut journal = self.journal.subscribe();
        // Nobody was told while nobody watched. Under the lock, so that no later word is overtaken.
        let node = self.node.read();
        let cursor = node.journal_cursor();
        self.journal.send_if_modified(|told| std::mem::replace(told, cursor) != cursor);
        journal.mark_unchanged();
        journal
    }

    /// Waits until the node stands still because the others have gone on without it. Gives what it drops.
    pub async fn over(&self) -> Arc<Dropped> {
        let mut over = self.over.subscribe();
        loop {
            if let Some(dropped) = over.borrow_and_update().clone() {
                return dropped;
            }
            if over.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ticks whenever the node wants it, for ever.
    pub async fn tick(&self) {
        loop {
            let deadline = {
                let node = self.node.read();
                // Under the lock: whoever brings the deadline forward must see what it is compared with.
                self.armed.store(node.deadline().0, Ordering::Relaxed);
                node.deadline()
            };
            tokio::select! {
                () = tokio::time::sleep_until(self.clocks.instant(deadline)) => {
                    // Awake: nobody needs to wake it, until it has looked again.
                    self.armed.store(MonoMicros::default().0, Ordering::Relaxed);
                    self.input(Input::Tick);
                }
                () = self.rearm.notified() => {}
            }
        }
    }
}

impl Disk for Driver {
    fn take(&self, images: &[ShardId]) -> (Vec<UnsavedShard>, SavedNode) {
        self.change(|node, _| (node.take_unsaved(images), node.saved_node()))
    }

    fn saved(&self, shards: Vec<(ShardId, Clock)>, time: UnixMillis) {
        self.input(Input::Saved(shards, time));
    }

    fn not_saved(&self, shards: Vec<ShardId>, health: DiskHealth) {
        self.input(Input::NotSaved(shards, health));
    }
}

struct CancelOnDrop<'a> {
    driver: &'a Driver,
    id: WaitId,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        // Still there: it has not ended.
        if self.driver.waits.lock().remove(&self.id).is_some() {
            self.driver.node.write().cancel(self.id);
        }
    }
}
