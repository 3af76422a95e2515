//! The contract, over real connections against a node that is none.

mod admin;
mod bad_input;
mod batch;
mod client;
mod conditions;
mod contract;
mod fake;
mod fake_write;
mod idempotency;
mod lane;
mod limits;
mod sessions;
mod shutdown;
mod values;
mod waits;
mod watch;
