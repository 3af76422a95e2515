//! Optional durability: what is written to disk when, and what a process finds there when it starts.
//!
//! A directory holds one database (redb) and a lock. In the database: per shard the last image, and behind it rows of
//! operations, one row for each group commit. What is loaded is checked by checksums and by each shard's digest: all
//! of it counts, or nothing does. The room owns the files and the thread that writes them. It never decides what an
//! operation means, and it never holds the node's lock while it reads or writes.

mod backend;
mod backup;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod load;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::io;

pub use backend::Fsync;
pub use backup::{Backup, backup, restore};
pub use store::{Found, Store, set_aside};
pub use worker::{Disk, DiskFigures, Worker};

/// Why a directory cannot be used, or a commit failed.
#[derive(Debug)]
pub enum StoreError {
    /// Another process uses it.
    InUse,
    /// It belongs to something else, or was written in a format that this version does not know.
    Foreign(String),
    /// What is there is not whole.
    Damaged(String),
    /// There is no room.
    Full,
    /// The system refuses.
    Io(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another process uses this directory"),
            Self::Foreign(why) => write!(f, "this directory is not for this node: {why}"),
            Self::Damaged(why) => write!(
                f,
                "what is stored is damaged ({why}): restore a backup, or move the directory away, and the node takes \
                 everything from its peers"
            ),
            Self::Full => f.write_str("the disk is full"),
            Self::Io(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            // Something else is in the file, or it is torn.
            io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Corrupted(why) => Self::Damaged(why),
            other => Self::Io(other.to_string()),
        }
    }
}
