//! Where nodes keep what they are told to keep.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cluster::Options;

/// Directories of a test's nodes. Removed when this is dropped.
#[derive(Debug)]
pub struct Disks(PathBuf);

impl Disks {
    /// Names a place that nobody else uses; nothing is there yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two of them are never the same")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("sidetalk-disks-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    /// The directory of a node, by its index.
    #[must_use]
    pub fn of(&self, node: usize) -> PathBuf {
        self.0.join(format!("n{node}"))
    }

    /// A directory for anything else, made now.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn other(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).expect("a directory can be made");
        path
    }

    /// Options for so many nodes: these arguments for all, and for each its directory.
    #[must_use]
    pub fn options(&self, nodes: usize, arguments: &str) -> Options {
        (0..nodes).fold(Options::new(arguments), |options, node| {
            options.node(node, &format!("--data-dir {}", self.of(node).display()))
        })
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
