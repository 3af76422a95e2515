//! What an operator sees of a node from outside: its log lines and its figures.

pub mod log;
pub mod metrics;
