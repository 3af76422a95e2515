//! Sidetalk: a sidecar that shares HTTP sessions and global objects between web processes by gossip.
//!
//! The rooms, and which way the arrows run: `runtime → api, net, membership, storage, wire, core`,
//! `net → wire → core`, `api → core`, and `core` needs nothing of ours. Without the `node` feature only `core`
//! and `wire` are built: that is what the simulator runs.

pub mod core;
pub mod wire;

#[cfg(feature = "node")]
pub mod api;
#[cfg(feature = "node")]
pub mod cli;
#[cfg(feature = "node")]
pub mod config;
#[cfg(all(feature = "node", any(test, feature = "fuzzing")))]
pub mod fuzzing;
#[cfg(feature = "node")]
pub mod keyring;
#[cfg(feature = "node")]
pub mod membership;
#[cfg(feature = "node")]
pub mod net;
#[cfg(feature = "node")]
pub mod runtime;
#[cfg(feature = "node")]
pub mod storage;
#[cfg(feature = "node")]
pub mod telemetry;
