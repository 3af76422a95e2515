//! Rehearsed failures: what happens to traffic with each peer, by its node name, gossip and stream alike.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::api::port::Fault;

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults {
    by_node: RwLock<BTreeMap<String, Fault>>,
    dice: Dice,
}

impl Faults {
    /// Replaces all faults.
    pub fn replace(&self, faults: Vec<(String, Fault)>) {
        *self.by_node.write() = faults.into_iter().collect();
    }

    /// The faults in force, by node name.
    pub fn all(&self) -> Vec<(String, Fault)> {
        self.by_node.read().iter().map(|(node, fault)| (node.clone(), *fault)).collect()
    }

    /// What happens to traffic with this node.
    pub fn of(&self, node: &str) -> Fault {
        self.by_node.read().get(node).copied().unwrap_or_default()
    }

    /// The fate of one message or datagram: `None` drops it, `Some` lets it pass that much later.
    pub fn fate(&self, node: &str) -> Option<Duration> {
        let fault = self.of(node);
        let dropped = fault.blocked || fault.loss > 0.0 && self.dice.roll() < fault.loss;
        (!dropped).then(|| Duration::from_millis(fault.delay_millis))
    }
}

/// A small generator (splitmix64): chaos needs no good randomness, and a seed makes it repeatable.
#[derive(Debug)]
struct Dice(AtomicU64);

impl Default for Dice {
    fn default() -> Self {
        Self(AtomicU64::new(0x5eed))
    }
}

impl Dice {
    /// From 0 up to 1.
    fn roll(&self) -> f64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 11) as f64 / (1u64 << 53) as f64
    }
}
