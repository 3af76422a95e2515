//! The file under the database: syncs it, or leaves that to the system.

use std::fs::File;
use std::io;

use redb::StorageBackend;
use redb::backends::FileBackend;

/// When what was written is forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before a write is answered. Survives the power cord.
    Always,
    /// With each commit, a few times a second.
    Interval,
    /// When the system likes: survives the death of the process, not that of the machine.
    Never,
}

#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    syncs: bool,
}

impl Backend {
    pub(super) fn new(file: File, fsync: Fsync) -> Result<Self, redb::DatabaseError> {
        Ok(Self { file: FileBackend::new(file)?, syncs: fsync != Fsync::Never })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.syncs { self.file.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
