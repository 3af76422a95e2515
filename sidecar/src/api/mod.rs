//! The HTTP contract: what an application on this host can ask of its node.
//!
//! An application must be able to rely on every word of it, so each call is described once, as an
//! `Operation`: the router, the check of the query and `/openapi.json` all come from that
//! one description.
//!
//! The room owns requests and answers: parsing, bounds, waiting for what a client has seen, problem documents. It
//! holds no state of an object, decides nothing about its content, and knows the node only as a [`port::Port`].

pub mod port;

mod admin;
mod admit;
mod answer;
mod batch;
mod body;
mod call;
mod change;
mod chaos;
mod counters;
mod dispatch;
mod documents;
mod errors;
mod explain;
mod find;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod guard;
mod headers;
mod idempotency;
mod lane;
mod list;
mod load;
mod local;
mod object;
mod openapi;
mod operation;
mod pace;
mod path_ops;
mod query;
mod read_lately;
mod router;
mod serve;
mod sessions;
mod sets;
mod settings;
mod short;
mod tokens;
mod turn;
mod watch;
mod watch_events;

#[cfg(test)]
mod tests;

pub use serve::{Listener, serve};
pub use settings::{ApiSettings, IdempotencySettings};
pub use tokens::ApiTokens;
