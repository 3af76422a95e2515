//! The HTTP contract.

pub mod port;
