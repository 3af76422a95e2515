//! The replicated core: a deterministic machine without I/O.
//!
//! No socket, no clock, no thread, no randomness that is not handed in, no iteration over a hash map. The exact
//! rules, and the histories that broke each simpler one, stand in `docs/protocol.md`.

// The ambient world is banned here (.clippy.toml).
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod apply;
mod author;
#[cfg(any(test, feature = "mutants"))]
pub mod check;
pub mod clock;
pub mod command;
#[cfg(any(test, feature = "mutants"))]
pub mod contents;
mod counters;
mod digest;
mod draft;
mod fold;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzed;
pub mod identity;
pub mod limits;
mod lives;
mod log;
mod merge;
pub mod message;
pub mod mutant;
pub mod node;
mod object;
mod objects;
pub mod op;
pub mod packed;
mod past;
pub mod path;
mod read;
mod record;
mod records;
mod render;
pub mod shard;
mod stored;
pub mod time;
pub mod token;
pub mod value;
pub mod wave;
