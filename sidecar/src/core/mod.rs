//! The replicated core: a deterministic machine without I/O.
//!
//! No socket, no clock, no thread, no randomness that is not handed in, no iteration over a hash map. The exact
//! rules, and the histories that broke each simpler one, stand in `docs/protocol.md`.

#[cfg(any(test, feature = "mutants"))]
pub mod check;
pub mod command;
pub mod identity;
pub mod limits;
pub mod message;
pub mod mutant;
pub mod node;
pub mod op;
pub mod path;
pub mod shard;
pub mod time;
pub mod token;
pub mod value;
