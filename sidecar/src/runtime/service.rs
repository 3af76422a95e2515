//! What the API is given.

use std::sync::Arc;

use super::driver::Driver;
use crate::api::port::Chaos;
use crate::membership::Meter;
use crate::net::Links;
use crate::telemetry::metrics::Sources;

/// One running node, as the API uses it.
pub(super) struct Service {
    pub(super) driver: Arc<Driver>,
    pub(super) links: Arc<Links>,
    pub(super) gossip: Meter,
    pub(super) chaos: Option<Box<dyn Chaos>>,
}

impl Service {
    /// Where the metrics come from.
    pub(super) fn sources(&self) -> Sources {
        let (status, members) = self.driver.read(|node, now| (node.status(), node.members(now)));
        Sources {
            status,
            members,
            links: self.links.traffic().figures(),
            gossip: self.gossip.traffic(),
            gossip_dropped: self.gossip.dropped(),
        }
    }
}
