//! What the API is given.

use std::sync::Arc;

use super::driver::Driver;
use crate::api::port::Chaos;
use crate::net::{Links, TrafficFigures};

/// One running node, as the API uses it.
pub(super) struct Service {
    pub(super) driver: Arc<Driver>,
    pub(super) links: Arc<Links>,
    pub(super) chaos: Option<Box<dyn Chaos>>,
}

impl Service {
    pub(super) fn traffic(&self) -> TrafficFigures {
        self.links.traffic().figures()
    }
}
