//! What the API is given.

use std::sync::Arc;

use std::sync::atomic::Ordering;

use super::driver::Driver;
use crate::api::port::{ApiFigures, Chaos, StorageStatus};
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
    pub(super) answers_when_saved: bool,
}

impl Service {
    /// How the disk is, where there is one.
    pub(super) fn storage_status(&self) -> Option<StorageStatus> {
        let figures = self.driver.disk()?.figures();
        let unsaved_bytes = self.driver.read(|node, _| node.unsaved_bytes());
        Some(StorageStatus {
            bytes: figures.bytes.load(Ordering::Relaxed),
            unsaved_bytes,
            commits: figures.commits.load(Ordering::Relaxed),
            failures: figures.failures.load(Ordering::Relaxed),
            commit_micros: figures.commit_micros.load(Ordering::Relaxed),
            error: figures.error.lock().clone(),
        })
    }

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
            storage: self.storage_status(),
        }
    }
}
