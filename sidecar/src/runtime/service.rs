//! What the API is given.

use std::sync::Arc;

use super::driver::Driver;
use crate::api::port::{ApiFigures, Chaos};
use crate::keyring::KeyRing;
use crate::membership::Meter;
use crate::net::Links;
use crate::telemetry::metrics::Sources;

/// One running node, as the API uses it.
pub(super) struct Service {
    pub(super) driver: Arc<Driver>,
    pub(super) links: Arc<Links>,
    pub(super) gossip: Meter,
    pub(super) keys: Option<KeyRing>,
    pub(super) chaos: Option<Box<dyn Chaos>>,
}

impl Service {
    /// Where the metrics come from.
    pub(super) fn sources(&self, api: ApiFigures) -> Sources {
        let (status, members) = self.driver.read(|node, now| (node.status(), node.members(now)));
        Sources {
            status,
            members,
            api,
            queues: self.links.queues(),
            keys: self.keys.as_ref().map_or(0, |keys| keys.ids().len()),
            links: self.links.traffic().figures(),
            gossip: self.gossip.traffic(),
            gossip_dropped: self.gossip.dropped(),
        }
    }
}
