//! Derived tables: ordered key-value maps that say at which block and log position they stand.
//!
//! The tables are a cache of the log with an index. They are written without waiting for the disk, so after a crash they
//! may stand at an earlier block; [`Tables::standing`] says which, and the owner re-applies the log from there. A batch is
//! applied whole or not at all, its standing included, so what is found after a crash is always the state at some block.
//! When the folder is damaged, or there is doubt, delete it: it is rebuilt from the start of the log.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};
use thiserror::Error;

use crate::log::Position;

/// Name of the table in which the standing is kept; refused as a name for others.
const STANDING_TABLE: &str = "_standing";
const STANDING_KEY: &[u8] = b"standing";
const STANDING_LEN: usize = 16;

/// Bytes of an immutable, cheaply cloned key or value.
pub type Slice = fjall::Slice;

/// Memory that the tables may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablesOptions {
    /// Cache of decoded blocks for all tables together. Default 32 MiB.
    pub cache_bytes: u64,
    /// Writes of one table held in memory before they go to a sorted file. Default 4 MiB; at least 1 MiB.
    pub memtable_bytes: u64,
    /// Journal of the tables on disk. Default (and least) 64 MiB.
    pub journal_bytes: u64,
    /// Threads that flush and compact. Default 1.
    pub worker_threads: usize,
}

impl Default for TablesOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, memtable_bytes: 4 << 20, journal_bytes: 64 << 20, worker_threads: 1 }
    }
}

/// Up to where the log has been applied to the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Number of the last block applied.
    pub block: u64,
    /// First log position that has *not* been applied: continue from here.
    pub position: Position,
}

/// Why a table operation failed.
#[derive(Debug, Error)]
pub enum TablesError {
    /// The folder cannot be opened as tables.
    #[error(
        "tables in {path} cannot be opened ({reason}): delete that folder; it is rebuilt from the log at the next start"
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// The disk has no space left.
    #[error("no space left for the tables in {path}: free space and start again; the log holds everything")]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// The table was not named when the tables were opened.
    #[error("there is no table `{0}`")]
    UnknownTable(String),
    /// Reading or writing failed. After a failed write no further one is accepted: stop and start again.
    #[error("tables in {path}: {reason}: stop and start again; the log holds everything")]
    Failed {
        /// The folder.
        path: PathBuf,
        /// What the engine said.
        reason: String,
    },
}

impl TablesError {
    /// Whether deleting the tables folder and applying the log again is the remedy.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// A handle to one table; cheap to clone.
#[derive(Clone)]
pub struct Table {
    keyspace: Keyspace,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.keyspace.name()).finish()
    }
}

/// All tables of a chain, in one folder, written together.
#[derive(Clone)]
pub struct Tables {
    database: Database,
    standing: Keyspace,
    tables: Vec<(String, Table)>,
    path: PathBuf,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Tables {
    /// Opens or creates the tables called `names` in the folder `path`.
    ///
    /// Names are made of letters, digits, `_` and `-`. Tables found in the folder but not named are left alone.
    ///
    /// # Errors
    /// [`TablesError::Damaged`] when the folder cannot be read; see [`Tables::rebuild`].
    pub fn open(path: impl AsRef<Path>, names: &[&str], options: TablesOptions) -> Result<Self, TablesError> {
        let path = path.as_ref().to_owned();
        let damaged = |error: fjall::Error| sort_error(&path, &error, true);
        let database = Database::builder(&path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes.max(64 << 20))
            .worker_threads(options.worker_threads.max(1))
            .open()
            .map_err(damaged)?;
        let memtable_bytes = options.memtable_bytes.max(1 << 20);
        let create = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
        let standing = database.keyspace(STANDING_TABLE, create).map_err(damaged)?;
        let mut tables = Vec::with_capacity(names.len());
        for name in names.iter().filter(|name| **name != STANDING_TABLE) {
            let keyspace = database.keyspace(name, create).map_err(damaged)?;
            tables.push(((*name).to_owned(), Table { keyspace }));
        }
        Ok(Self { database, standing, tables, path })
    }

    /// Deletes the folder and opens it empty: the owner then applies the log from its start.
    ///
    /// # Errors
    /// When the folder cannot be deleted or created.
    pub fn rebuild(path: impl AsRef<Path>, names: &[&str], options: TablesOptions) -> Result<Self, TablesError> {
        let path = path.as_ref();
        match std::fs::remove_dir_all(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(TablesError::Failed { path: path.to_owned(), reason: error.to_string() });
            }
        }
        Self::open(path, names, options)
    }

    /// The table of that name.
    ///
    /// # Errors
    /// [`TablesError::UnknownTable`] when it was not named at [`Tables::open`].
    pub fn table(&self, name: &str) -> Result<Table, TablesError> {
        self.tables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, table)| table.clone())
            .ok_or_else(|| TablesError::UnknownTable(name.to_owned()))
    }

    /// Up to where the log has been applied; `None` in fresh tables.
    ///
    /// # Errors
    /// When reading fails.
    pub fn standing(&self) -> Result<Option<Standing>, TablesError> {
        self.snapshot().standing()
    }

    /// A view of all tables as they are now; later batches do not show in it.
    ///
    /// Cheap. Old versions stay on disk while a snapshot lives, so do not keep one for minutes.
    #[must_use]
    pub fn snapshot(&self) -> TablesSnapshot {
        TablesSnapshot { snapshot: self.database.snapshot(), standing: self.standing.clone(), path: self.path.clone() }
    }

    /// An empty batch.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch { batch: self.database.batch(), standing: self.standing.clone(), path: self.path.clone() }
    }

    /// Makes everything written so far durable. Needed before the log records that it came from may be dropped;
    /// otherwise it only shortens the next start.
    ///
    /// # Errors
    /// When the disk fails; stop then.
    pub fn persist(&self) -> Result<(), TablesError> {
        self.database.persist(PersistMode::SyncData).map_err(|error| sort_error(&self.path, &error, false))
    }

    /// Bytes on disk, all tables and their journal.
    ///
    /// # Errors
    /// When reading fails.
    pub fn disk_bytes(&self) -> Result<u64, TablesError> {
        self.database.disk_space().map_err(|error| sort_error(&self.path, &error, false))
    }
}

/// Writes to several tables that show together or not at all.
pub struct Batch {
    batch: OwnedWriteBatch,
    standing: Keyspace,
    path: PathBuf,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("writes", &self.batch.len()).finish_non_exhaustive()
    }
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, table: &Table, key: impl Into<Slice>, value: impl Into<Slice>) {
        self.batch.insert(&table.keyspace, key, value);
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, table: &Table, key: impl Into<Slice>) {
        self.batch.remove(&table.keyspace, key);
    }

    /// Number of writes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there are no writes yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Applies the writes and notes that the tables now stand at `standing`. Does not wait for the disk.
    ///
    /// # Errors
    /// When the write fails; no further one is accepted then: stop and start again.
    pub fn commit(mut self, standing: Standing) -> Result<(), TablesError> {
        let mut value = [0; STANDING_LEN];
        value[..8].copy_from_slice(&standing.block.to_be_bytes());
        value[8..].copy_from_slice(&standing.position.to_u64().to_be_bytes());
        self.batch.insert(&self.standing, STANDING_KEY, value.as_slice());
        self.batch.commit().map_err(|error| sort_error(&self.path, &error, false))
    }

    /// Applies the writes and leaves the standing as it is: for what is not derived from blocks.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub fn commit_beside(self) -> Result<(), TablesError> {
        self.batch.commit().map_err(|error| sort_error(&self.path, &error, false))
    }
}

/// A consistent view across all tables.
#[derive(Clone)]
pub struct TablesSnapshot {
    snapshot: fjall::Snapshot,
    standing: Keyspace,
    path: PathBuf,
}

impl fmt::Debug for TablesSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TablesSnapshot").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TablesSnapshot {
    /// The value at `key`.
    ///
    /// # Errors
    /// When reading fails.
    pub fn get(&self, table: &Table, key: impl AsRef<[u8]>) -> Result<Option<Slice>, TablesError> {
        self.snapshot.get(&table.keyspace, key).map_err(|error| sort_error(&self.path, &error, false))
    }

    /// Whether `key` is there.
    ///
    /// # Errors
    /// When reading fails.
    pub fn contains(&self, table: &Table, key: impl AsRef<[u8]>) -> Result<bool, TablesError> {
        self.snapshot.contains_key(&table.keyspace, key).map_err(|error| sort_error(&self.path, &error, false))
    }

    /// Entries with keys in `range`, in order of keys; `.rev()` for the opposite order.
    pub fn range<K: AsRef<[u8]>>(&self, table: &Table, range: impl RangeBounds<K>) -> Entries {
        let bound = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        let range = (bound(range.start_bound()), bound(range.end_bound()));
        Entries { iter: self.snapshot.range(&table.keyspace, range), path: self.path.clone() }
    }

    /// Entries whose keys start with `prefix`, in order of keys; `.rev()` for the opposite order.
    pub fn prefix(&self, table: &Table, prefix: impl AsRef<[u8]>) -> Entries {
        Entries { iter: self.snapshot.prefix(&table.keyspace, prefix), path: self.path.clone() }
    }

    /// Up to where the log is applied in this view.
    ///
    /// # Errors
    /// When reading fails or the entry is not one of ours.
    pub fn standing(&self) -> Result<Option<Standing>, TablesError> {
        let value =
            self.snapshot.get(&self.standing, STANDING_KEY).map_err(|error| sort_error(&self.path, &error, false))?;
        let Some(value) = value else { return Ok(None) };
        let Some((block, position)) =
            value.split_first_chunk::<8>().and_then(|(a, b)| Some((a, b.first_chunk::<8>()?)))
        else {
            return Err(TablesError::Damaged {
                path: self.path.clone(),
                reason: format!("the standing has {} bytes", value.len()),
            });
        };
        Ok(Some(Standing {
            block: u64::from_be_bytes(*block),
            position: Position::from_u64(u64::from_be_bytes(*position)),
        }))
    }
}

/// Entries of one table in order of keys.
pub struct Entries {
    iter: fjall::Iter,
    path: PathBuf,
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl Entries {
    fn open(&self, guard: fjall::Guard) -> Result<(Slice, Slice), TablesError> {
        guard.into_inner().map_err(|error| sort_error(&self.path, &error, false))
    }
}

impl Iterator for Entries {
    type Item = Result<(Slice, Slice), TablesError>;

    fn next(&mut self) -> Option<Self::Item> {
        let guard = self.iter.next()?;
        Some(self.open(guard))
    }
}

impl DoubleEndedIterator for Entries {
    fn next_back(&mut self) -> Option<Self::Item> {
        let guard = self.iter.next_back()?;
        Some(self.open(guard))
    }
}

fn sort_error(path: &Path, error: &fjall::Error, opening: bool) -> TablesError {
    let path = path.to_owned();
    if let fjall::Error::Io(io) = error {
        if io.kind() == std::io::ErrorKind::StorageFull {
            return TablesError::DiskFull { path };
        }
        return TablesError::Failed { path, reason: io.to_string() };
    }
    let reason = error.to_string();
    if opening && !matches!(error, fjall::Error::Locked) {
        TablesError::Damaged { path, reason }
    } else {
        TablesError::Failed { path, reason }
    }
}

#[cfg(test)]
mod tests;
