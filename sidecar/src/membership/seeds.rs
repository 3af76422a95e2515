//! Whom to talk to before anybody is known, and after everybody is lost.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::ROUND;
use super::gossip::Gossip;
use super::link::Link;

/// Addresses of one name that are tried, at most.
const ADDRESSES_MAX: usize = 64;

/// Rounds in which a seed is knocked at as often as peers gossip: a cluster that starts as a whole finds itself.
const EAGER_ROUNDS: u32 = 10;
const PATIENT: Duration = Duration::from_secs(1);

/// A seed where nobody answers is told of after so long, and this often: who refuses this node must be known before it starts alone.
const SILENT_FIRST: Duration = Duration::from_secs(1);
const SILENT: Duration = Duration::from_secs(5);

/// Names are looked up this often while somebody there is missing, and otherwise.
const LOOK_UP_MISSING: Duration = Duration::from_secs(5);
const LOOK_UP_FOUND: Duration = Duration::from_secs(60);
const LOOK_UP_LONGEST: Duration = Duration::from_secs(5);

/// Knocks at every address of a seed where nobody of the cluster is, for ever. *Every* address: with one name for
/// all nodes, two halves that each found a part of it would never meet.
pub(super) async fn knock(
    host: String,
    port: u16,
    own: SocketAddr,
    link: Arc<Link>,
    gossip: Arc<Gossip>,
    silent: impl Fn(SocketAddr),
) {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut looked_up: Option<Instant> = None;
    let mut round = 0u32;
    let mut complain = Instant::now() + SILENT_FIRST;
    loop {
        let missing = addresses.is_empty() || addresses.iter().any(|&address| !link.reaches(address));
        let fresh = if missing { LOOK_UP_MISSING } else { LOOK_UP_FOUND };
        if looked_up.is_none_or(|looked_up| looked_up.elapsed() >= fresh) {
            if let Some(found) = look_up(&host, port, own).await {
                addresses = found;
            }
            looked_up = Some(Instant::now());
        }
        // Three heartbeats make a member alive. Who stops asking at the first one waits for the others to be told by chance,
        // and where many have crashed lately chance asks those.
        let eager = round < EAGER_ROUNDS;
        let wanting = |address: &&SocketAddr| match eager {
            true => !link.is_live(**address),
            false => !link.reaches(**address),
        };
        for &address in addresses.iter().filter(wanting) {
            gossip.ask(address);
        }
        if complain <= Instant::now() {
            complain = Instant::now() + SILENT;
            addresses.iter().filter(|&&address| !link.reaches(address)).for_each(|&address| silent(address));
        }
        round = round.saturating_add(1);
        sleep(if round <= EAGER_ROUNDS { ROUND } else { PATIENT }).await;
    }
}

/// Asks those again who have said where they are reached.
pub(super) async fn ask_again(mut again: mpsc::Receiver<SocketAddr>, gossip: Arc<Gossip>) {
    while let Some(address) = again.recv().await {
        gossip.ask(address);
    }
}

async fn look_up(host: &str, port: u16, own: SocketAddr) -> Option<Vec<SocketAddr>> {
    match timeout(LOOK_UP_LONGEST, lookup_host((host, port))).await {
        Ok(Ok(found)) => Some(found.filter(|&address| address != own).take(ADDRESSES_MAX).collect()),
        Ok(Err(error)) => {
            tracing::debug!(host, %error, "a seed has no address");
            None
        }
        Err(_) => {
            tracing::debug!(host, "a seed's address could not be looked up in time");
            None
        }
    }
}

/// Addresses of the dead that are remembered, at most, and for how long.
const REMEMBERED_MAX: usize = 256;
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3_600);

/// Asks so many of them, this often.
const REVISITS: usize = 4;
const REVISIT: Duration = Duration::from_secs(5);

/// Keeps asking where members once were. The failure detector forgets its dead after two minutes; a partition lasts
/// longer, and what a node was told to join may lie on its own side of it.
pub(super) async fn remember(link: Arc<Link>, gossip: Arc<Gossip>) {
    let mut last_alive: HashMap<SocketAddr, Instant> = HashMap::new();
    let mut turn = 0usize;
    loop {
        sleep(REVISIT).await;
        let now = Instant::now();
        last_alive.retain(|_, alive| now.duration_since(*alive) < REMEMBERED_FOR);
        last_alive.extend(link.live().into_iter().map(|address| (address, now)));
        while last_alive.len() > REMEMBERED_MAX {
            let Some(oldest) = last_alive.iter().min_by_key(|(_, alive)| **alive).map(|(peer, _)| *peer)
            else {
                break;
            };
            last_alive.remove(&oldest);
        }
        let mut lost: Vec<SocketAddr> =
            last_alive.keys().copied().filter(|&address| !link.reaches(address)).collect();
        lost.sort_unstable();
        for step in 0..REVISITS.min(lost.len()) {
            gossip.ask(lost[(turn + step) % lost.len()]);
        }
        turn = turn.wrapping_add(REVISITS) % REMEMBERED_MAX;
    }
}
