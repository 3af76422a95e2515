//! What Sidetalk promises, held against the real binary: nodes as processes, real sockets, real signals.

// All of it is tests, the helpers among them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catch_up;
mod command_line;
mod counters;
mod deploys;
mod documents;
mod durability;
mod flood;
mod hostile;
mod http;
mod keys;
mod kills;
mod members;
mod memory;
mod names;
mod security;
mod sessions;
mod sets;
mod skew;
mod sparse;
mod tokens;
mod unix_socket;
mod versions;
mod watch;
mod wiretap;

use serde_json::Value;
use sidetalk_client::{Answer, Error, Object, Token};

/// The token of a write.
fn token<T>(answer: &Answer<T>) -> Token {
    answer.token.clone().unwrap()
}

/// What a read came to, in short: the content, or the status of the refusal.
async fn outcome(object: &Object) -> Result<Value, u16> {
    match object.get().await {
        Ok(answer) => Ok(answer.value),
        Err(error) => Err(status(&error)),
    }
}

fn status(error: &Error) -> u16 {
    error.status().unwrap_or_else(|| panic!("no refusal: {error}"))
}
