//! A harness that runs the real binary: nodes as processes, on ports that the system picks.
//!
//! Nothing here waits by sleeping for a fixed time: [`eventually`] tries a condition until it holds, and fails
//! with the last reason why it did not. When a test fails, the logs of all its nodes are printed. No node outlives
//! its test, not even when the test process is killed.

// A harness fails by panicking: its caller is a test.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stderr)]

mod binary;
mod cluster;
mod disks;
mod node;
mod secret;
mod tap;
mod wait;

pub use binary::{Output, sidetalk, sidetalk_binary};
pub use cluster::{Cluster, Options};
pub use disks::Disks;
pub use node::Node;
pub use secret::SecretFile;
pub use tap::Tap;
pub use wait::{WAIT_MAX, eventually, within};
