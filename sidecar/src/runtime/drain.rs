//! Handing over: what a node that stops waits for, and what it says of it.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::driver::Driver;
use crate::core::node::{HandOver, Node};

/// Between looks at what is still to be handed over.
const POLL: Duration = Duration::from_millis(20);

/// What became of what a node held when it stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Operations that no other member had reported to have when the stop began, or that were written after it, and that
    /// some member has reported since.
    pub handed_over: u64,
    /// Operations that no other member has reported: gone, unless a disk has them.
    pub left_behind: u64,
    /// Other members that were linked at the end.
    pub peers: usize,
    /// Those of them that have not reported all that this node wrote: they get the rest from the others.
    pub peers_behind: Vec<String>,
    /// How long it took, requests under way among it.
    pub took: Duration,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handed_over, left_behind, peers, peers_behind, took } = self;
        let (behind, millis) = (peers_behind.len(), took.as_millis());
        write!(
            f,
            "handed-over={handed_over} left-behind={left_behind} peers={peers} peers-behind={behind} millis={millis}"
        )
    }
}

/// The beginning of a stop.
pub(super) struct Drain {
    begun: Instant,
    held: u64,
    written: u64,
}

impl Drain {
    /// From now on.
    pub(super) fn begin(driver: &Driver) -> Self {
        let (held, written) =
            driver.read(|node, _| (node.hand_over().held_by_nobody_else, node.status().figures.ops_authored));
        Self { begun: Instant::now(), held, written }
    }

    /// Waits until there is nothing left to hand over, at most until then.
    pub(super) async fn wait(&self, driver: &Driver, until: Instant) -> Drained {
        loop {
            let (left, drained) = driver.read(|node, _| (node.hand_over(), self.so_far(node)));
            if left == HandOver::default() || Instant::now() >= until {
                return drained;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn so_far(&self, node: &Node) -> Drained {
        let left = node.hand_over();
        let peers = node.heirs();
        let written = node.status().figures.ops_authored.saturating_sub(self.written);
        let had = self.held.saturating_add(written);
        Drained {
            // Where nobody is, there is nobody to ask what it has.
            handed_over: if peers == 0 { 0 } else { had.saturating_sub(left.held_by_nobody_else) },
            left_behind: left.held_by_nobody_else,
            peers,
            peers_behind: left.peers_behind,
            took: self.begun.elapsed(),
        }
    }
}

impl Drained {
    /// Tells the log.
    pub(super) fn tell(&self) {
        let Self { handed_over, left_behind, peers, peers_behind, .. } = self;
        let millis = self.took.as_millis();
        if *left_behind > 0 {
            tracing::error!(
                operations = left_behind,
                handed_over,
                peers,
                millis,
                "stopped, and no other member has reported to have some of the writes this node held"
            );
        } else if !peers_behind.is_empty() {
            let behind = peers_behind;
            tracing::warn!(
                handed_over,
                peers,
                ?behind,
                millis,
                "stopped: these peers will get the rest from others"
            );
        } else if *peers == 0 {
            tracing::info!(millis, "stopped: there is no other member to hand anything over to");
        } else {
            tracing::info!(handed_over, peers, millis, "stopped: everything was handed over");
        }
    }
}
