//! Which links stand: the one place where they come up and go down.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::chaos::Faults;
use super::link::{self, Introduced, Link, LinkError};
use super::links::Handler;
use super::secure::{OpenError, StreamSecrets};
use super::traffic::Traffic;
use crate::core::identity::{Replica, ReplicaId};
use crate::core::message::Hello;
use crate::wire::{Budget, Versions};

/// Between two log lines of one kind about one peer.
const QUIET: Duration = Duration::from_secs(10);

/// Kinds and peers that are kept quiet, at most.
const QUIET_MAX: usize = 256;

/// A link on which something came within this time is not replaced by its equal: keepalives come more often.
const LIVELY_MILLIS: u64 = 2_500;

/// Says that there is nothing wrong: in a large cluster not everyone is linked with everyone.
pub(super) const NOT_NEEDED: &str = "they are no neighbours";

/// Says that there is nothing wrong: of two links at once one has to go.
const STANDS: &str = "a link stands already";

/// Why two nodes of different clusters do not talk.
pub(super) const OTHER_CLUSTER: &str = "it belongs to another cluster";

pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) ours: Replica,
    pub(super) secrets: StreamSecrets,
    pub(super) faults: Arc<Faults>,
    pub(super) versions: Versions,
    pub(super) rehearses: bool,
    pub(super) traffic: Traffic,
    pub(super) queue_bytes_max: usize,
    /// Room for large messages that come in.
    pub(super) unpacking: Budget,
    pub(super) standing: RwLock<BTreeMap<ReplicaId, Standing>>,
    /// Grows whenever a link comes up or goes down.
    pub(super) changes: watch::Sender<u64>,
    pub(super) started: Instant,
    /// Held while a link comes up or goes down, so that the handler hears of it in order. Never wanted by anyone who
    /// holds the handler's own lock.
    pub(super) changing: Mutex<()>,
    pub(super) quiet_until: Mutex<BTreeMap<(&'static str, String), Instant>>,
}

pub(super) struct Standing {
    pub(super) link: Arc<Link>,
    pub(super) task: Option<AbortHandle>,
}

/// How links are closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closing {
    /// As if the network were gone.
    Cut,
    /// The peer is told why.
    Because(&'static str),
}

impl Shared {
    pub(super) fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a link to the node of this name stands.
    pub(super) fn has(&self, node: &str) -> bool {
        self.standing.read().values().any(|standing| standing.link.peer.node == node)
    }

    /// Whether a peer that says this may have a link, and whether it would be a preferred one.
    pub(super) fn admits(&self, hello: &Hello, dialled: bool) -> Result<bool, LinkError> {
        let (ours, theirs) = (self.handler.hello(), &hello.replica);
        if hello.cluster != ours.cluster {
            return Err(LinkError::Unwanted(OTHER_CLUSTER));
        }
        if theirs.id == ours.replica.id {
            return Err(LinkError::Unwanted("it is this node itself"));
        }
        if theirs.node == ours.replica.node {
            return Err(LinkError::Unwanted(
                "it bears the same node name: names must be unique in a cluster",
            ));
        }
        if self.faults.of(&theirs.node).blocked {
            return Err(LinkError::Blocked);
        }
        let preferred = dialled == (ours.replica.node < theirs.node);
        let standing = self.standing.read();
        // Another process of that name keeps its link: who of the two counts, the handler knows.
        if let Some(Standing { link, .. }) = standing.get(&theirs.id) {
            let heard = link.heard_millis.load(Ordering::Relaxed);
            let lively = self.millis().saturating_sub(heard) < LIVELY_MILLIS;
            if link.preferred && !preferred || link.preferred == preferred && lively {
                return Err(LinkError::Unwanted(STANDS));
            }
        }
        Ok(preferred)
    }

    /// A link stands from now on, unless it must not: then it is given back. Another to the same process gives way.
    pub(super) fn register(
        self: &Arc<Self>,
        introduced: Introduced,
    ) -> Result<(), Box<(Introduced, LinkError)>> {
        let _changing = self.changing.lock();
        let preferred = match self.admits(&introduced.hello, introduced.dialled) {
            Ok(preferred) => preferred,
            Err(error) => return Err(Box::new((introduced, error))),
        };
        let hello = introduced.hello.clone();
        let (peer, dialled, key) = (hello.replica.clone(), introduced.dialled, introduced.key);
        self.close_some(|link| link.peer.id == peer.id, Closing::Because("another link takes its place"));
        let link = Arc::new(Link::new(self, peer.clone(), preferred, key));
        self.standing.write().insert(peer.id, Standing { link: Arc::clone(&link), task: None });
        self.traffic.opened();
        let version = introduced.version();
        tracing::info!(peer = %peer.node, id = %peer.id, dialled, %version, "link up");
        self.handler.up(hello, version);
        let task = tokio::spawn(keep(Arc::clone(self), introduced, link)).abort_handle();
        if let Some(standing) = self.standing.write().get_mut(&peer.id) {
            standing.task = Some(task);
        }
        self.changes.send_modify(|changes| *changes += 1);
        Ok(())
    }

    /// Closes links.
    pub(super) fn close(&self, which: impl Fn(&Link) -> bool, how: Closing) {
        let _changing = self.changing.lock();
        self.close_some(which, how);
    }

    /// The caller holds `changing`.
    fn close_some(&self, which: impl Fn(&Link) -> bool, how: Closing) {
        let closing: Vec<Arc<Link>> = {
            let standing = self.standing.read();
            standing.values().filter(|standing| which(&standing.link)).map(|s| Arc::clone(&s.link)).collect()
        };
        for link in closing {
            if let Closing::Because(why) = how {
                link.end(why);
            }
            let task = self.take_down(&link).flatten();
            if let (Closing::Cut, Some(task)) = (how, task) {
                task.abort();
            }
        }
    }

    /// Takes a link off the books, if it is still on them, and tells the handler. Gives its task. The caller holds
    /// `changing`.
    fn take_down(&self, link: &Arc<Link>) -> Option<Option<AbortHandle>> {
        let id = link.peer.id;
        let gone = {
            let mut standing = self.standing.write();
            let current = standing.get(&id).is_some_and(|known| Arc::ptr_eq(&known.link, link));
            if current { standing.remove(&id) } else { None }
        }?;
        link.shut();
        link.queue.close_empty();
        self.handler.down(id);
        self.changes.send_modify(|changes| *changes += 1);
        Some(gone.task)
    }

    /// One line now and then about each peer: one that cannot get in tries for ever.
    pub(super) fn complain(&self, kind: &'static str, who: &str, what: &str) {
        let now = Instant::now();
        let mut quiet_until = self.quiet_until.lock();
        if quiet_until.get(&(kind, who.to_owned())).is_some_and(|until| *until > now) {
            return;
        }
        quiet_until.retain(|_, until| *until > now);
        if quiet_until.len() < QUIET_MAX {
            quiet_until.insert((kind, who.to_owned()), now + QUIET);
            tracing::warn!(kind, "{what}");
        }
    }

    /// A link ended, or did not come up.
    pub(super) fn failed(&self, who: &str, error: &LinkError) {
        let kind = error.kind();
        let io_only = match error {
            LinkError::Io(error) | LinkError::Open(OpenError::Io(error)) => {
                error.kind() != io::ErrorKind::InvalidData
            }
            _ => false,
        };
        let harmless = match error {
            LinkError::Unwanted(why) => *why == STANDS,
            LinkError::Refused(why) => why == STANDS || why == NOT_NEEDED,
            LinkError::Closed | LinkError::Blocked => true,
            _ => io_only,
        };
        self.traffic.failed(kind);
        if harmless {
            tracing::debug!(peer = who, %error, "no link");
        } else {
            self.complain(kind, who, &format!("no link with {who}: {error}"));
        }
    }
}

/// Runs a link and takes it off the books.
async fn keep(shared: Arc<Shared>, introduced: Introduced, link: Arc<Link>) {
    let error = link::run(&shared, introduced, &link).await;
    shared.failed(&link.peer.node, &error);
    let _changing = shared.changing.lock();
    if shared.take_down(&link).is_some() {
        tracing::info!(peer = %link.peer.node, %error, "link down");
    }
}
