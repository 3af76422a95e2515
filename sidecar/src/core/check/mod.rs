//! The core's conscience: what it must do, written down a second time and compared with what it does.
//!
//! A replicated store that is wrong is wrong quietly, weeks later, on one node. So the rules stand here again, in
//! a form nobody would run in production: [`spec`] computes what a shard must hold from the *set* of operations
//! within its clock and their full causal histories, [`reading`] what a reader must see of it, [`promise`] what a
//! write must do. [`world`] drives replicas of one shard through everything a network and a machine can do to them,
//! [`cluster`] whole nodes, both out of one seed, and [`shrink`] makes the history that broke a rule short enough to
//! read. A checker that cannot fail proves nothing: each rule of [`mutant`](super::mutant) is switched off in turn,
//! and must be missed.
//!
//! Nothing here is part of a node, and nothing here shares code with what it checks.

pub mod cluster;
mod folds;
pub mod json;
pub mod promise;
pub mod reading;
pub mod replica;
pub mod rng;
pub mod shrink;
pub mod spec;
pub mod wishes;
pub mod world;

#[cfg(test)]
mod tests;

/// A number that a long test is told from outside.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "only tests that are told what to do from outside ask")]
pub(crate) fn told(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
