//! What fuzzers are let loose on: each target is a plain function that takes bytes, and panics when a rule does not hold.
//!
//! The fuzz targets in `tests/fuzz` call these functions, and so does a test here, with all that fuzzers have found worth
//! keeping and some thousand mutations of it: nothing is left to those who have a fuzzer. Built for tests and with the
//! feature `fuzzing` only.

// A panic is how a target says that it has found something.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod histories;
mod http;
mod json;
mod link;
mod messages;
pub mod mutate;
#[cfg(test)]
mod tests;
mod wire;

use crate::core::fuzzed::records;
use crate::membership::fuzzed::datagram;
use crate::storage::fuzzed::disk;

/// A target: takes any bytes, and panics when a rule does not hold.
pub type Target = fn(&[u8]);

/// All targets, by the names of their fuzzers.
pub const TARGETS: [(&str, Target); 9] = [
    ("wire", wire::wire),
    ("datagram", datagram),
    ("messages", messages::messages),
    ("histories", histories::histories),
    ("json", json::json),
    ("http", http::http),
    ("records", records),
    ("link", link::link),
    ("disk", disk),
];

/// The target of this name.
///
/// # Panics
/// There is none.
#[must_use]
pub fn target(name: &str) -> Target {
    TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name").1
}
