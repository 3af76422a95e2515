//! Rehearsed failures, as the API asks for them and as gossip meets them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::driver::Driver;
use crate::api::port::{Chaos, Fault};
use crate::membership::Weather;
use crate::net::{Faults, Links};

/// Sets faults, and cuts the links that they block.
pub(super) struct Rehearsal {
    pub(super) faults: Arc<Faults>,
    pub(super) links: Arc<Links>,
    pub(super) driver: Arc<Driver>,
}

impl Chaos for Rehearsal {
    fn set(&self, faults: Vec<(String, Fault)>) -> Result<(), String> {
        let members = self.driver.read(|node, now| node.members(now));
        let others = || members.iter().filter(|member| !member.is_self).map(|member| &member.replica.node);
        if let Some((unknown, _)) = faults.iter().find(|(node, _)| !others().any(|known| known == node)) {
            return Err(unknown.clone());
        }
        self.faults.replace(faults);
        self.links.cut_blocked();
        Ok(())
    }

    fn clear(&self) {
        self.faults.replace(Vec::new());
    }

    fn faults(&self) -> Vec<(String, Fault)> {
        self.faults.all()
    }
}

/// The fate of datagrams: of whatever comes from or goes to the address of a node that has a fault.
#[derive(Default)]
pub(super) struct GossipWeather {
    pub(super) faults: Arc<Faults>,
    pub(super) nodes: RwLock<BTreeMap<SocketAddr, String>>,
}

impl GossipWeather {
    /// A node is here now. Where it was before counts no longer; where a node that is silent was, does.
    pub(super) fn moved(&self, node: &str, address: SocketAddr) {
        let mut nodes = self.nodes.write();
        nodes.retain(|_, known| known != node);
        nodes.insert(address, node.to_owned());
    }
}

impl Weather for GossipWeather {
    fn datagram(&self, peer: SocketAddr, _outgoing: bool) -> Option<Duration> {
        match self.nodes.read().get(&peer) {
            Some(node) => self.faults.fate(node),
            None => Some(Duration::ZERO),
        }
    }
}
