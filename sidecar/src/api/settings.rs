//! What an operator may set about the API.

use std::time::Duration;

use super::tokens::ApiTokens;
use crate::core::limits;
use crate::keyring::SessionIdHash;

/// Bounds and permissions of the API. The defaults fit a sidecar on loopback.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Host names besides the local ones that a request may name, without port, in lower case. Needed when the API
    /// is reached through anything but loopback.
    pub hosts: Vec<String>,
    /// Origins besides the API's own from which a web page may call, such as `https://admin.example.org`.
    pub origins: Vec<String>,
    /// What a client must show; none: nothing.
    pub tokens: Option<ApiTokens>,
    /// Session ids are stored as these hashes; none: as they are.
    pub session_ids: Option<SessionIdHash>,
    /// Requests at once; further ones get 503. What lives in a batch or a watch does not count.
    pub requests_max: usize,
    /// Bytes of large bodies at once, of requests and of answers; further requests get 503.
    pub body_bytes_max: usize,
    /// How long the head of a request may take to arrive, and a client may take nothing of its answer.
    pub slow_client_max: Duration,
    /// How long a connection may do nothing while hardly any place is left for others.
    pub idle_max: Duration,
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// Watchers at once; further ones get 503.
    pub watchers_max: usize,
    /// How often a silent watch says that it lives.
    pub heartbeat: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long requests may go on after the shutdown has begun. Longer than the longest wait, so that a request
    /// that waits is answered.
    pub drain: Duration,
    /// The memory of answers for `Idempotency-Key`.
    pub idempotency: IdempotencySettings,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            origins: Vec::new(),
            tokens: None,
            session_ids: None,
            requests_max: 4_096,
            body_bytes_max: 128 << 20,
            slow_client_max: Duration::from_secs(30),
            idle_max: Duration::from_secs(30),
            connections_max: 16_384,
            watchers_max: 1_024,
            heartbeat: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            drain: Duration::from_millis(limits::WAIT_MILLIS_MAX + 1_000),
            idempotency: IdempotencySettings::default(),
        }
    }
}

/// How many answers are kept for `Idempotency-Key`, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencySettings {
    /// How long an answer is kept.
    pub keep: Duration,
    /// Answers, at most; the oldest go first.
    pub answers_max: usize,
    /// Their bytes, at most.
    pub bytes_max: usize,
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self { keep: Duration::from_secs(10 * 60), answers_max: 100_000, bytes_max: 64 << 20 }
    }
}
