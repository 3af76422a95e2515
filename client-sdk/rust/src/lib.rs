//! Client for the localhost API of Sidetalk.
//!
//! A [`Client`] talks to the sidecar of its own host, keeps its connections, and gives every call a time limit.
//! What a node knows about an object beside its content (token, life, entity tag, lease) comes with every
//! [`Answer`] and goes into the next [`Call`]:
//!
//! ```no_run
//! # async fn example() -> Result<(), sidetalk_client::Error> {
//! use serde_json::json;
//! use sidetalk_client::Client;
//!
//! let client = Client::new("127.0.0.1:7411")?;
//! let session = client.session("s3cr3t");
//! let login = session.put(&json!({"user": "ada"})).ttl_seconds(3600).await?;
//!
//! // Any node shows at least that write, wherever the next request lands.
//! let elsewhere = Client::new("127.0.0.1:7421")?;
//! let seen = elsewhere.session("s3cr3t").get().after(login.token.iter()).await?;
//! assert_eq!(seen.value["user"], "ada");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Scope`] carries tokens from call to call, so that nobody has to ([`Client::scoped`]).
//!
//! A call that broke may have happened, so by itself it is not made again. [`Client::with_repeats`] does so where it is safe;
//! or give it an [idempotency key](Call::idempotency_key) and repeat it on the same node.
//!
//! `examples/shop.rs` shows all kinds of objects at work.

mod admin;
mod batch;
mod call;
mod client;
mod connect;
mod error;
mod name;
mod object;
mod repeat;
mod scope;
mod sse;
#[cfg(test)]
mod tests;
mod watch;

pub use admin::{Cluster, Fault, Keys, Member};
pub use batch::{Batch, BatchResult};
pub use call::{Acks, Answer, Call, Token};
pub use client::Client;
pub use error::{Error, Problem};
pub use name::{Kind, ObjectName};
pub use object::{Count, Counter, Members, MembersChanged, Object, PathOp, Set};
pub use scope::Scope;
pub use watch::{Change, Event, State, Watch, WatchCall};
