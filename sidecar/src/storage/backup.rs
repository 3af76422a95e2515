//! Backups: a copy of what is stored, taken from a directory that is in use or not, and put back.
//!
//! Whoever uses the directory makes the copy, from one snapshot, while commits go on. Who wants one leaves a file with the
//! place for it in the directory, and finds another with the answer: only the node's own user can do that. A backup
//! says of itself that the others have gone on without it, so it is safe wherever and whenever it comes back.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use super::backend::{Backend, Fsync};
use super::record::{decode, encode};
use super::store::{CACHE_BYTES, DATABASE, Head, IMAGES, META, MODE, ROWS, Store, guarded, is_used};
use super::{StoreError, store};

const REQUEST: &str = "backup.request";
const ANSWER: &str = "backup.answer";

/// A backup on its way into a directory.
const PARTIAL: &str = "restore.partial";

/// A node looks once a second.
const PICKUP_MAX: Duration = Duration::from_secs(15);

/// How long a copy may take.
const COPY_MAX: Duration = Duration::from_secs(3_600);

const POLL: Duration = Duration::from_millis(50);

/// Between looks at whether the node still is there.
const LOOK: Duration = Duration::from_secs(1);

/// What a backup holds.
#[derive(Debug)]
pub struct Backup {
    /// Whose it is.
    pub node: String,
    /// Its cluster.
    pub cluster: String,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes a backup of a directory to a file, also while a node uses the directory. Blocks until it is on the disk.
///
/// # Errors
/// There is nothing to copy, the file exists, or cannot be written.
pub fn backup(directory: &Path, to: &Path) -> Result<u64, StoreError> {
    if to.exists() {
        return Err(StoreError::Io(format!("{} exists", to.display())));
    }
    if !directory.join(DATABASE).is_file() {
        return Err(StoreError::Io(format!("{} holds no data", directory.display())));
    }
    match guarded(|| Store::at(directory, Fsync::Interval)) {
        Ok(store) => copy(store.shared()?.as_ref(), to),
        Err(StoreError::InUse) => ask(directory, to),
        Err(error) => Err(error),
    }
}

/// Puts a backup into a directory that holds no data. Everything in it is checked first.
///
/// # Errors
/// The directory holds data or is in use; the backup is not whole.
pub fn restore(from: &Path, directory: &Path) -> Result<Backup, StoreError> {
    let mut backup = File::open(from).map_err(|error| named(from, error))?;
    std::fs::create_dir_all(directory).map_err(|error| named(directory, error))?;
    let place = directory.join(DATABASE);
    if place.exists() {
        return Err(StoreError::Io(format!("{} holds data: move it away", directory.display())));
    }
    let restored = take_in(&mut backup, directory, &place);
    if restored.is_err() {
        // Nothing is left that a node would start with.
        let _ = std::fs::remove_file(directory.join(PARTIAL));
        let _ = std::fs::remove_file(&place);
    }
    restored
}

fn take_in(backup: &mut File, directory: &Path, place: &Path) -> Result<Backup, StoreError> {
    let partial = directory.join(PARTIAL);
    // Left by one that was killed.
    let _ = std::fs::remove_file(&partial);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&partial)?;
    let bytes = std::io::copy(backup, &mut file)?;
    file.sync_all()?;
    std::fs::rename(&partial, place)?;
    let head = guarded(|| {
        let mut store = Store::at(directory, Fsync::Interval)?;
        store.load(None)?;
        store.set_back()
    })?;
    Ok(Backup { node: head.replica.node, cluster: head.cluster, bytes })
}

/// A failure with the name of what it is about.
fn named(path: &Path, error: std::io::Error) -> StoreError {
    match error.into() {
        StoreError::Io(why) => StoreError::Io(format!("{}: {why}", path.display())),
        other => other,
    }
}

/// Asks the node that uses a directory.
fn ask(directory: &Path, to: &Path) -> Result<u64, StoreError> {
    let (request, answer) = (directory.join(REQUEST), directory.join(ANSWER));
    let _ = std::fs::remove_file(&answer);
    put(&request, std::path::absolute(to)?.to_string_lossy().as_bytes())?;
    let begun = Instant::now();
    let mut looked = begun;
    loop {
        if let Ok(text) = std::fs::read_to_string(&answer) {
            std::fs::remove_file(&answer)?;
            return match text.split_once(' ') {
                Some(("ok", bytes)) => bytes.trim().parse().map_err(|_| StoreError::Io(text)),
                _ => Err(StoreError::Io(text)),
            };
        }
        let waited = begun.elapsed();
        if waited > COPY_MAX || (waited > PICKUP_MAX && request.exists()) {
            let _ = std::fs::remove_file(&request);
            return Err(StoreError::Io("the node that uses this directory does not answer".into()));
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            // It may have answered before it went.
            if !is_used(directory)? && !answer.exists() {
                let _ = std::fs::remove_file(&request);
                return Err(StoreError::Io("the node that used this directory has ended: try again".into()));
            }
        }
        std::thread::sleep(POLL);
    }
}

/// Makes the copy that somebody has asked for, on a thread of its own.
pub(super) fn answer_requests(directory: &Path, store: &Store) {
    let request = directory.join(REQUEST);
    let Ok(to) = std::fs::read_to_string(&request) else { return };
    if std::fs::remove_file(&request).is_err() {
        return;
    }
    let (directory, database) = (directory.to_owned(), store.shared());
    let copying = move || {
        let copied = database.and_then(|database| copy(&database, Path::new(&to)));
        let text = match &copied {
            Ok(bytes) => {
                tracing::info!(file = to, bytes, "wrote a backup");
                format!("ok {bytes}")
            }
            Err(error) => {
                tracing::error!(file = to, %error, "could not write a backup");
                error.to_string()
            }
        };
        if let Err(error) = put(&directory.join(ANSWER), text.as_bytes()) {
            tracing::error!(%error, "could not say how a backup went");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("backup".into()).spawn(copying) {
        tracing::error!(%error, "could not begin a backup");
    }
}

/// One snapshot, whole, into a file that is there when it is complete.
fn copy(database: &Database, to: &Path) -> Result<u64, StoreError> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // Left by one that was killed. Of two at once each has a file of its own, and the later one stays.
    let _ = std::fs::remove_file(&partial);
    let copied = guarded(|| copy_to(database, &partial)).and_then(|()| {
        std::fs::rename(&partial, to)?;
        if let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(std::fs::metadata(to)?.len())
    });
    if copied.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

fn copy_to(database: &Database, partial: &Path) -> Result<(), StoreError> {
    let read = database.begin_read().map_err(redb::Error::from)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(MODE).open(partial);
    let file = file.map_err(|error| named(partial, error))?;
    let backend = Backend::new(file, Fsync::Interval).map_err(redb::Error::from)?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let target = builder.create_with_backend(backend).map_err(redb::Error::from)?;
    let write = target.begin_write().map_err(redb::Error::from)?;
    {
        let from = read.open_table(META).map_err(redb::Error::from)?;
        let mut meta = write.open_table(META).map_err(redb::Error::from)?;
        for entry in from.iter().map_err(redb::Error::from)? {
            let (key, value) = entry.map_err(redb::Error::from)?;
            meta.insert(key.value(), value.value()).map_err(redb::Error::from)?;
        }
        let head = from.get("head").map_err(redb::Error::from)?;
        let mut head: Head = decode(head.ok_or_else(store::no_head)?.value())?;
        head.is_current = false;
        let head = encode(&head)?;
        meta.insert("head", head.as_slice()).map_err(redb::Error::from)?;
        let mut images = write.open_table(IMAGES).map_err(redb::Error::from)?;
        for entry in read.open_table(IMAGES).map_err(redb::Error::from)?.iter().map_err(redb::Error::from)? {
            let (shard, image) = entry.map_err(redb::Error::from)?;
            images.insert(shard.value(), image.value()).map_err(redb::Error::from)?;
        }
        let mut rows = write.open_table(ROWS).map_err(redb::Error::from)?;
        for entry in read.open_table(ROWS).map_err(redb::Error::from)?.iter().map_err(redb::Error::from)? {
            let (row, operations) = entry.map_err(redb::Error::from)?;
            rows.insert(row.value(), operations.value()).map_err(redb::Error::from)?;
        }
    }
    write.commit().map_err(redb::Error::from)?;
    Ok(())
}

/// A small file that is there whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let partial = path.with_extension("partial");
    File::create(&partial)?.write_all(bytes)?;
    std::fs::rename(&partial, path)?;
    Ok(())
}

impl Store {
    /// The database, to read from while commits go on.
    pub(super) fn shared(&self) -> Result<Arc<Database>, StoreError> {
        self.database.clone().ok_or_else(|| StoreError::Io("the database is closed".into()))
    }

    /// Notes that the others have gone on without this image.
    fn set_back(&mut self) -> Result<Head, StoreError> {
        let write = self.shared()?.begin_write().map_err(redb::Error::from)?;
        let head = {
            let mut meta = write.open_table(META).map_err(redb::Error::from)?;
            let head: Option<Head> = match meta.get("head").map_err(redb::Error::from)? {
                Some(bytes) => Some(decode(bytes.value())?),
                None => None,
            };
            let mut head = head.ok_or_else(store::no_head)?;
            head.is_current = false;
            meta.insert("head", encode(&head)?.as_slice()).map_err(redb::Error::from)?;
            head
        };
        write.commit().map_err(redb::Error::from)?;
        Ok(head)
    }
}
