//! How links come about: who is dialled and when, and who is let in.
//!
//! The node with the smaller name dials. The other one does too when no link has come after a while: perhaps only it
//! knows the address, or only it is let through. Of two links at once both keep the one that the smaller name
//! dialled, so neither two nor none can last.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::books::{Closing, NOT_NEEDED, Shared};
use super::link::{self, LinkError};
use crate::core::identity::{Replica, ReplicaId};

/// A dial that takes longer has failed.
const DIAL_MAX: Duration = Duration::from_secs(2);

/// Between dials, at first and at most.
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long the node with the greater name leaves dialling to the other one.
const COURTESY: Duration = Duration::from_secs(1);

/// A link that stood so long was a good one: the next dial need not wait.
const STEADY: Duration = Duration::from_secs(5);

/// A process that is gone is dialled for so long: it may be the network that is gone.
const GIVE_UP: Duration = Duration::from_secs(10 * 60);

/// Between looks at whether a rehearsed failure has ended.
const BLOCKED_LOOK: Duration = Duration::from_millis(50);

/// Between looks at which links are wanted, and how many of them in a row must find that one is not before it goes:
/// whose list of members is older still wants it.
const WANTED_LOOK: Duration = Duration::from_millis(500);
const UNWANTED_LOOKS: u32 = 10;

/// Strangers who are introducing themselves, at most. More wait to be accepted.
const STRANGERS_MAX: usize = 128;

/// A process to be linked with.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) replica: Replica,
    pub(super) address: SocketAddr,
    /// It is no longer heard of, since then.
    pub(super) lost: Option<Instant>,
}

/// Keeps up a link with one node, whatever process bears its name, until it is given up.
pub(super) async fn keep_linked(shared: Arc<Shared>, node: String, mut target: watch::Receiver<Target>) {
    let mut changes = shared.changes.subscribe();
    let courtesy = if shared.ours.node < node { Duration::ZERO } else { COURTESY };
    let mut backoff = Duration::ZERO;
    loop {
        let since = Instant::now();
        while shared.has(&node) {
            if changes.changed().await.is_err() {
                return;
            }
        }
        if since.elapsed() >= STEADY {
            backoff = Duration::ZERO;
        }
        tokio::select! {
            () = sleep(jittered(backoff.max(courtesy))) => {}
            // Another address, or heard of again.
            known = target.changed() => match known {
                Ok(()) => backoff = Duration::ZERO,
                Err(_) => return,
            },
        }
        let Target { address, lost, replica } = target.borrow_and_update().clone();
        if lost.is_some_and(|lost| lost.elapsed() >= GIVE_UP) {
            return;
        }
        if shared.faults.of(&node).blocked {
            sleep(BLOCKED_LOOK).await;
            continue;
        }
        if !shared.handler.wants(replica.id) {
            sleep(WANTED_LOOK).await;
            continue;
        }
        if shared.has(&node) {
            continue;
        }
        backoff = (backoff * 2).clamp(BACKOFF, BACKOFF_MAX);
        if let Err(error) = dial(&shared, address).await {
            shared.failed(&format!("{node} at {address}"), &error);
        }
    }
}

/// Dials somebody who is known by nothing but an address.
pub(super) async fn probe(shared: Arc<Shared>, address: SocketAddr) {
    if let Err(error) = dial(&shared, address).await {
        shared.failed(&address.to_string(), &error);
    }
}

async fn dial(shared: &Arc<Shared>, address: SocketAddr) -> Result<(), LinkError> {
    let stream = timeout(DIAL_MAX, TcpStream::connect(address)).await.map_err(|_| LinkError::Silent)??;
    // Whoever answers is who it says it is: a node that has taken another's address is a member, too.
    let met = meet(shared, stream, true).await;
    if met.as_ref().is_err_and(LinkError::is_refusal) {
        shared.handler.refused();
    }
    met
}

async fn meet(shared: &Arc<Shared>, stream: TcpStream, dialled: bool) -> Result<(), LinkError> {
    let introduced = link::introduce(shared, stream, dialled).await?;
    match shared.register(introduced) {
        Ok(()) => Ok(()),
        Err(refused) => {
            let (introduced, error) = *refused;
            link::turn_away(introduced, &error).await;
            Err(error)
        }
    }
}

/// Lets others in, for ever.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = meet(&shared, stream, false).await {
                        shared.failed(&from.ip().to_string(), &error);
                    }
                    drop(place);
                });
            }
            Err(error) => {
                shared.complain("accept", "", &format!("cannot accept links: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Closes links that stand and are not wanted, for ever.
pub(super) async fn drop_unwanted(shared: Arc<Shared>) {
    let mut looks: BTreeMap<ReplicaId, u32> = BTreeMap::new();
    loop {
        sleep(WANTED_LOOK).await;
        let standing: Vec<ReplicaId> = shared.standing.read().keys().copied().collect();
        looks.retain(|id, _| standing.contains(id));
        for id in standing {
            if shared.handler.wants(id) {
                looks.remove(&id);
                continue;
            }
            let unwanted = looks.entry(id).or_default();
            *unwanted += 1;
            if *unwanted > UNWANTED_LOOKS {
                shared.close(|link| link.peer.id == id, Closing::Because(NOT_NEEDED));
            }
        }
    }
}

/// Nodes that lost each other at once must not come back at once.
fn jittered(pause: Duration) -> Duration {
    let half = u32::try_from(pause.as_millis() / 2).unwrap_or(u32::MAX);
    pause + Duration::from_millis(getrandom::u32().map_or(0, |random| u64::from(random % (half + 1))))
}
