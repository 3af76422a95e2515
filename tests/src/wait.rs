//! Waiting for conditions.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// No condition is waited for longer: far more than any takes, so that only a condition that never holds fails.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(15);

/// Tries until it succeeds, and gives what it gave.
///
/// # Panics
/// It did not within [`WAIT_MAX`]: says what was waited for, and the last reason why not.
pub async fn eventually<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    attempt: impl FnMut() -> F,
) -> T {
    within(WAIT_MAX, what, attempt).await
}

/// Tries until it succeeds, at most this long, and gives what it gave.
///
/// # Panics
/// It did not: says what was waited for, and the last reason why not.
pub async fn within<T, E: Display, F: Future<Output = Result<T, E>>>(
    limit: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(reason) if started.elapsed() > limit => {
                panic!("not within {limit:?}: {what}; at last: {reason}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
