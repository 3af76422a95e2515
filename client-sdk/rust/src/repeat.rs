//! When a call whose answer was lost may be made again.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;

use crate::error::Error;

/// Whether a call may be made again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing the second time.
    Free,
    /// With an `Idempotency-Key`, which the same process of the sidecar knows again.
    Keyed,
    Never,
}

impl Repeat {
    /// What a method says by itself.
    pub(crate) fn of(method: &Method) -> Self {
        if *method == Method::GET || *method == Method::HEAD { Self::Free } else { Self::Never }
    }
}

/// A key that nobody else makes up.
///
/// # Errors
/// [`Error::Invalid`] when the system gives no random numbers.
pub(crate) fn random_key() -> Result<String, Error> {
    let part = || getrandom::u64().map_err(|error| Error::Invalid(format!("no random numbers: {error}")));
    Ok(format!("{:016x}{:016x}", part()?, part()?))
}

/// Now, in milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
