//! Over real loopback sockets. Nothing sleeps to wait: a test waits for an event, for a bounded time.

mod formats;
mod harness;
mod hostile;
mod liveness;
mod replay;
mod weather;
