//! The database in a directory: one commit at a time, and loading what is there.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::backend::{Backend, Fsync};
use super::load::{GROUP_BYTES, Image, Loaded, Loading, Part};
use super::record::{decode, encode};
use crate::core::identity::{Replica, SHARDS, ShardId};
use crate::core::message::RosterEntry;
use crate::core::node::{Restored, SavedNode, UnsavedContent, UnsavedShard};
use crate::core::time::UnixMillis;

/// The layout that this version writes, and the only one it reads.
const FORMAT: u32 = 1;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const IMAGES: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("images");
pub(super) const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// Rows of operations may take this much, or half of what the images take, before shards are written anew.
const ROWS_BYTES: u64 = 64 << 20;

/// Shards written anew with one commit.
const IMAGES_PER_COMMIT: usize = 4;

/// The file in the directory.
pub(super) const DATABASE: &str = "sidetalk.redb";

/// How often, and with what pause, a node that starts tries to get its directory.
const LOCK_TRIES: u32 = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Of every file with content in it, whatever the directory allows: sessions are in it.
pub(super) const MODE: u32 = 0o600;

/// Pages kept in memory: everything is read once and written once.
pub(super) const CACHE_BYTES: usize = 16 << 20;

/// What stands beside the shards.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) cluster: String,
    pub(super) replica: Replica,
    lineage: u64,
    roster: Vec<RosterEntry>,
    time: UnixMillis,
    /// See [`Restored::is_current`].
    pub(super) is_current: bool,
    /// The machine's boot, where nothing was synced.
    boot: Option<String>,
}

/// Whose memory this is. Beside the head, which older releases wrote without it; a backup keeps it as it was.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Descent {
    /// See [`SavedNode::bearers`].
    bearers: Vec<Replica>,
    /// The last of them has left in order: all it had the others have.
    left: bool,
    /// That of the head that it was written with. An older release writes a head alone, and leaves this here.
    time: UnixMillis,
}

impl Head {
    /// What the node itself wants back.
    pub(super) fn into_node(self, descent: Descent) -> SavedNode {
        let Self { replica, lineage, roster, time, .. } = self;
        SavedNode { replica, bearers: descent.bearers, lineage, roster, time }
    }

    /// What an older release has meant.
    pub(super) fn descent(&self) -> Descent {
        let age = |replica: &Replica| (replica.started, replica.id);
        let same_name = self.roster.iter().map(|entry| &entry.replica);
        let same_name = same_name.filter(|other| other.node == self.replica.node);
        let mut bearers: Vec<Replica> =
            same_name.filter(|other| age(other) >= age(&self.replica)).cloned().collect();
        bearers.sort_by_key(age);
        Descent { bearers, left: !self.is_current, time: self.time }
    }
}

/// What a process finds in its directory.
#[derive(Debug)]
pub struct Found {
    /// What another process has saved; `None` in a new directory.
    pub restored: Option<Restored>,
    /// Operations behind the images.
    pub ops: u64,
}

/// Renames what is in a directory, so that whoever opens it next finds it empty. Gives the new name.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(directory: &Path, at: UnixMillis) -> std::io::Result<PathBuf> {
    let aside = directory.join(format!("forgotten-{}.redb", at.0));
    std::fs::rename(directory.join(DATABASE), &aside)?;
    Ok(aside)
}

/// Takes a directory for this process.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let lock = OpenOptions::new().create(true).append(true).mode(MODE).open(directory.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Whether a process has a directory.
pub(super) fn is_used(directory: &Path) -> Result<bool, StoreError> {
    match lock(directory) {
        Ok(_) => Ok(false),
        Err(StoreError::InUse) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A directory that this process has for itself.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    cluster: String,
    fsync: Fsync,
    pub(super) database: Option<Arc<Database>>,
    /// Held as long as the store is.
    _lock: File,
    next_row: u64,
    /// The first row with operations of a shard since its image.
    first_row: Vec<Option<u64>>,
    image_bytes: Vec<u64>,
    rows: VecDeque<(u64, u64)>,
    rows_bytes: u64,
}

impl Store {
    /// Opens a directory, makes it where there is none, and loads what is in it.
    ///
    /// # Errors
    /// It is in use, is another node's, or what is in it is not whole.
    pub fn open(
        directory: &Path,
        cluster: &str,
        node: &str,
        fsync: Fsync,
    ) -> Result<(Self, Found), StoreError> {
        guarded(|| {
            // Who only looks whether somebody is here has the lock for a moment.
            let mut tries = (0..LOCK_TRIES).map(|_| Self::at(directory, fsync));
            let in_use = |tried: &Result<Self, StoreError>| {
                let in_use = matches!(tried, Err(StoreError::InUse));
                if in_use {
                    std::thread::sleep(LOCK_PAUSE);
                }
                in_use
            };
            let mut store = tries.find(|tried| !in_use(tried)).unwrap_or(Err(StoreError::InUse))?;
            cluster.clone_into(&mut store.cluster);
            let found = store.load(Some((cluster, node)))?;
            Ok((store, found))
        })
    }

    /// Opens a directory without looking into it.
    pub(super) fn at(directory: &Path, fsync: Fsync) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)?;
        let lock = lock(directory)?;
        let mut store = Self {
            directory: directory.to_owned(),
            cluster: String::new(),
            fsync,
            database: None,
            _lock: lock,
            next_row: 1,
            first_row: vec![None; SHARDS],
            image_bytes: vec![0; SHARDS],
            rows: VecDeque::new(),
            rows_bytes: 0,
        };
        store.reopen()?;
        Ok(store)
    }

    /// Opens the database again, as it must be after a failure.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        self.database = None;
        let path = self.directory.join(DATABASE);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
        let backend = Backend::new(file, self.fsync).map_err(redb::Error::from)?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        self.database = Some(Arc::new(builder.create_with_backend(backend).map_err(redb::Error::from)?));
        Ok(())
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_deref().ok_or_else(|| StoreError::Io("the database is closed".into()))
    }

    /// Makes a backup where somebody has asked for one.
    pub(super) fn answer_requests(&self) {
        super::backup::answer_requests(&self.directory, self);
    }

    /// Bytes of all images and rows.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rows_bytes + self.image_bytes.iter().sum::<u64>()
    }

    /// Loads what is there, if it is of this cluster and node.
    pub(super) fn load(&mut self, whose: Option<(&str, &str)>) -> Result<Found, StoreError> {
        let nothing = Found { restored: None, ops: 0 };
        let read = self.database()?.begin_read().map_err(redb::Error::from)?;
        let meta = match read.open_table(META) {
            Ok(meta) => meta,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(nothing),
            Err(error) => return Err(redb::Error::from(error).into()),
        };
        let value = |key: &str| {
            let value = meta.get(key).map_err(redb::Error::from)?;
            Ok::<_, StoreError>(value.map(|value| value.value().to_vec()))
        };
        let format = value("format")?.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        if format != Some(FORMAT) {
            return Err(StoreError::Foreign(format!(
                "its format is {format:?}, this version reads {FORMAT} only"
            )));
        }
        let head: Head = decode(&value("head")?.ok_or_else(no_head)?)?;
        if whose.is_some_and(|whose| whose != (head.cluster.as_str(), head.replica.node.as_str())) {
            return Err(StoreError::Foreign(format!(
                "it is of node {:?} of cluster {:?}",
                head.replica.node, head.cluster
            )));
        }
        let mut loading = Loading::new();
        let images = read.open_table(IMAGES).map_err(redb::Error::from)?;
        let mut found = Vec::new();
        for entry in images.iter().map_err(redb::Error::from)? {
            let (shard, bytes) = entry.map_err(redb::Error::from)?;
            found.push((ShardId(shard.value()), bytes.value().to_vec()));
        }
        for (shard, bytes) in &found {
            self.image_bytes[shard.index()] = bytes.len() as u64;
        }
        loading.images(&found)?;
        let rows = read.open_table(ROWS).map_err(redb::Error::from)?;
        let (mut group, mut group_bytes) = (Vec::new(), 0);
        for entry in rows.iter().map_err(redb::Error::from)? {
            let (row, bytes) = entry.map_err(redb::Error::from)?;
            let (row, bytes) = (row.value(), bytes.value());
            self.rows.push_back((row, bytes.len() as u64));
            self.rows_bytes += bytes.len() as u64;
            group.push((row, bytes.to_vec()));
            group_bytes += bytes.len();
            if group_bytes >= GROUP_BYTES {
                loading.rows(&group)?;
                (group, group_bytes) = (Vec::new(), 0);
            }
        }
        loading.rows(&group)?;
        let Loaded { shards, first_row, next_row, ops } = loading.finish()?;
        self.first_row = first_row;
        self.next_row = next_row;
        let is_current = head.is_current && (head.boot.is_none() || head.boot == boot());
        let descent: Option<Descent> = value("descent")?.map(|bytes| decode(&bytes)).transpose()?;
        let descent = descent.filter(|descent| descent.time == head.time).unwrap_or_else(|| head.descent());
        let is_awaited = !descent.left;
        let node = head.into_node(descent);
        Ok(Found { restored: Some(Restored { shards, node, is_current, is_awaited }), ops })
    }

    /// Shards that should be written anew, so that the rows before them can go.
    #[must_use]
    pub fn wanted_images(&self) -> Vec<ShardId> {
        let images: u64 = self.image_bytes.iter().sum();
        if self.rows_bytes <= ROWS_BYTES.max(images / 2) {
            return Vec::new();
        }
        let mut behind: Vec<(u64, ShardId)> = ShardId::all()
            .filter_map(|shard| self.first_row[shard.index()].map(|row| (row, shard)))
            .collect();
        behind.sort_unstable();
        behind.into_iter().take(IMAGES_PER_COMMIT).map(|(_, shard)| shard).collect()
    }

    /// Notes which process has this memory from now on, and forces that to the disk whatever [`Fsync`] says: before the process has
    /// met anybody. A member whom the others know and this directory does not has lived without what is in it.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn begin(&mut self, node: &SavedNode) -> Result<(), StoreError> {
        guarded(|| {
            self.commit(Vec::new(), node, true)?;
            File::open(self.directory.join(DATABASE))?.sync_all()?;
            Ok(File::open(&self.directory)?.sync_all()?)
        })
    }

    /// Writes all of it or nothing. When this returns it is on the disk, as far as [`Fsync`] says so.
    ///
    /// # Errors
    /// The disk is full, or fails. The store must be reopened then.
    pub fn commit(
        &mut self,
        unsaved: Vec<UnsavedShard>,
        node: &SavedNode,
        is_current: bool,
    ) -> Result<(), StoreError> {
        let row = self.next_row;
        // A commit that failed may be there all the same: its number is not used again.
        self.next_row += 1;
        let mut parts = Vec::new();
        let mut images = Vec::new();
        for UnsavedShard { shard, content, content_sum, .. } in unsaved {
            match content {
                UnsavedContent::Ops(ops) => parts.push(Part { shard, ops, content_sum }),
                UnsavedContent::Image(state) => {
                    images.push((shard, encode(&Image { row: row + 1, state: *state })?));
                }
            }
        }
        let written: Vec<ShardId> = parts.iter().map(|part| part.shard).collect();
        let imaged: Vec<(ShardId, u64)> =
            images.iter().map(|(shard, bytes)| (*shard, bytes.len() as u64)).collect();
        let part_bytes = if parts.is_empty() { None } else { Some(encode(&parts)?) };
        let head = Head {
            cluster: self.cluster.clone(),
            replica: node.replica.clone(),
            lineage: node.lineage,
            roster: node.roster.clone(),
            time: node.time,
            is_current,
            boot: if self.fsync == Fsync::Never { boot() } else { None },
        };
        let descent = Descent { bearers: node.bearers.clone(), left: !is_current, time: node.time };
        let mut first_row = self.first_row.clone();
        for shard in &written {
            first_row[shard.index()].get_or_insert(row);
        }
        for (shard, _) in &imaged {
            first_row[shard.index()] = None;
        }
        let keep_from = first_row.iter().flatten().min().copied().unwrap_or(row + 1);
        let gone: Vec<u64> =
            self.rows.iter().map(|(row, _)| *row).take_while(|row| *row < keep_from).collect();
        let meta = [("head", encode(&head)?), ("descent", encode(&descent)?)];
        self.write(row, part_bytes.as_deref(), &images, &meta, &gone)?;
        self.first_row = first_row;
        for (shard, bytes) in imaged {
            self.image_bytes[shard.index()] = bytes;
        }
        if let Some(bytes) = part_bytes {
            self.rows.push_back((row, bytes.len() as u64));
            self.rows_bytes += bytes.len() as u64;
        }
        for _ in gone {
            if let Some((_, bytes)) = self.rows.pop_front() {
                self.rows_bytes -= bytes;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        row: u64,
        parts: Option<&[u8]>,
        images: &[(ShardId, Vec<u8>)],
        entries: &[(&str, Vec<u8>)],
        gone: &[u64],
    ) -> Result<(), StoreError> {
        let write = self.database()?.begin_write().map_err(redb::Error::from)?;
        {
            let mut meta = write.open_table(META).map_err(redb::Error::from)?;
            meta.insert("format", FORMAT.to_le_bytes().as_slice()).map_err(redb::Error::from)?;
            for (key, value) in entries {
                meta.insert(*key, value.as_slice()).map_err(redb::Error::from)?;
            }
            let mut rows = write.open_table(ROWS).map_err(redb::Error::from)?;
            if let Some(parts) = parts {
                rows.insert(row, parts).map_err(redb::Error::from)?;
            }
            for row in gone {
                rows.remove(row).map_err(redb::Error::from)?;
            }
            let mut table = write.open_table(IMAGES).map_err(redb::Error::from)?;
            for (shard, image) in images {
                table.insert(shard.0, image.as_slice()).map_err(redb::Error::from)?;
            }
        }
        write.commit().map_err(redb::Error::from)?;
        Ok(())
    }
}

/// Does something with a database. The library checks little of what it reads back: of a page that the disk has
/// damaged it may make a panic, which must become an answer, and must not end the thread that writes.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // What was being done is given up whole: the database is opened again before it is used again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(StoreError::Damaged(text.to_owned()))
    })
}

pub(super) fn no_head() -> StoreError {
    StoreError::Damaged("there is no head".into())
}

/// Names this boot of the machine: what was not synced in another may be lost.
fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()
}
