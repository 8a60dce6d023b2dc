//! The data folder: one process, one schema, errors that say what to do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// File that carries the schema of a data folder.
const SCHEMA_FILE: &str = "schema";
/// Where the schema is written before it takes its name.
const SCHEMA_DRAFT: &str = "schema.tmp";
/// File that is locked while a process uses the folder; it holds that process's id.
const LOCK_FILE: &str = "lock";
/// First word of the schema file.
const SCHEMA_MAGIC: &str = "sequenza-data";
/// A schema file is a few lines; anything longer is not ours.
const SCHEMA_BYTES_MAX: u64 = 4096;
/// Folders are for their owner alone: they may hold keys and pending transactions.
const FOLDER_MODE: u32 = 0o700;

/// What a data folder must contain for this program to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Version of everything under the folder. Raised whenever an older program could misread it.
    pub version: u32,
    /// Oldest version that this program still opens; it is brought up to `version` by the opener.
    pub version_min: u32,
    /// Whose data this is, on one line: the kind of chain and its identity,
    /// for example `starknet SEQUENZA_LOCAL 0x1234…` (chain id, genesis digest).
    pub identity: String,
}

/// What the caller of [`DataDir::open`] can do about a refusal. The binary maps these to exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenErrorKind {
    /// Another process holds the folder; it may go away (exit code 75).
    Locked,
    /// The folder cannot be created or written (exit code 73).
    CannotCreate,
    /// No space or quota left (exit code 74).
    DiskFull,
    /// The folder belongs to another chain, or to an older or newer program (exit code 78).
    WrongSchema,
    /// A file in the folder is damaged (exit code 65).
    Corrupt,
    /// Reading or writing failed in another way (exit code 74).
    Io,
}

/// Why a data folder was not opened. Nothing in the folder was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A second process on the same folder would tear the log.
    #[error(
        "data folder {path} is in use by process {holder}: stop that process, or choose another folder with --db-path"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Process id of the holder as it wrote it, or `unknown`.
        holder: String,
    },
    /// The folder or a file in it could not be created.
    #[error(
        "cannot create {path}: {source}: check that the parent exists and belongs to this user, or choose another folder with --db-path"
    )]
    CannotCreate {
        /// What was to be created.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder exists, but this user may not write in it.
    #[error("cannot write in {path}: {source}: give this user write access, or choose another folder with --db-path")]
    Unwritable {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No space left.
    #[error("no space left for {path}: {source}: free space on that file system and start again; nothing was lost")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The path names something that is not a folder.
    #[error("{path} is not a folder: remove it, or choose another folder with --db-path")]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// There are files in the folder, but no schema: it is not a Sequenza folder.
    #[error(
        "{path} holds files (such as {found}) but no {SCHEMA_FILE} file, so it is not a Sequenza data folder: choose an empty or a new folder with --db-path"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// One of the entries found.
        found: String,
    },
    /// The folder holds another chain.
    #[error(
        "data folder {path} belongs to `{found}`, not to `{expected}`: start with the settings it was made with, or choose another folder with --db-path"
    )]
    WrongIdentity {
        /// The folder.
        path: PathBuf,
        /// Identity in the folder.
        found: String,
        /// Identity asked for.
        expected: String,
    },
    /// The folder was written by a program too old to be read by this one.
    #[error(
        "data folder {path} has schema version {found}; this program reads {oldest} to {newest}: open it once with an earlier release that reads {found}, or choose another folder with --db-path"
    )]
    OlderSchema {
        /// The folder.
        path: PathBuf,
        /// Version in the folder.
        found: u32,
        /// Oldest version that this program reads.
        oldest: u32,
        /// Version that this program writes.
        newest: u32,
    },
    /// The folder was written by a newer program.
    #[error(
        "data folder {path} has schema version {found}, newer than this program's {newest}: run the newer release, or choose another folder with --db-path"
    )]
    NewerSchema {
        /// The folder.
        path: PathBuf,
        /// Version in the folder.
        found: u32,
        /// Version that this program writes.
        newest: u32,
    },
    /// The schema file is damaged.
    #[error(
        "{path} is damaged ({reason}): restore it from a backup of this folder, or choose another folder with --db-path"
    )]
    CorruptSchema {
        /// The schema file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else that the system answered.
    #[error("cannot read or write {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// What the caller can do about it; stable, so that exit codes can hang on it.
    #[must_use]
    pub fn kind(&self) -> OpenErrorKind {
        match self {
            Self::Locked { .. } => OpenErrorKind::Locked,
            Self::CannotCreate { .. } | Self::Unwritable { .. } | Self::NotAFolder { .. } => {
                OpenErrorKind::CannotCreate
            }
            Self::DiskFull { .. } => OpenErrorKind::DiskFull,
            Self::Foreign { .. } | Self::WrongIdentity { .. } | Self::OlderSchema { .. } | Self::NewerSchema { .. } => {
                OpenErrorKind::WrongSchema
            }
            Self::CorruptSchema { .. } => OpenErrorKind::Corrupt,
            Self::Io { .. } => OpenErrorKind::Io,
        }
    }
}

/// An opened data folder: locked for this process until dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    version: u32,
    fresh: bool,
    // Holds the lock; released by the system when the file is closed, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Opens the folder at `path`, or creates it, and locks it for this process.
    ///
    /// A folder without a schema is taken over only when it is empty. Nothing is changed when an error is returned,
    /// except that an empty folder and its lock file may have been created.
    ///
    /// # Errors
    /// See [`OpenError`]; each variant names the path, the value found and the remedy.
    pub fn open(path: impl AsRef<Path>, schema: &Schema) -> Result<Self, OpenError> {
        let path = path.as_ref();
        create_folder(path)?;
        let entries = list_folder(path)?;
        let known = entries.iter().any(|name| name == SCHEMA_FILE);
        if !known && let Some(found) = entries.into_iter().find(|name| !is_ours_before_schema(name)) {
            return Err(OpenError::Foreign { path: path.to_owned(), found });
        }
        let lock = lock_folder(path)?;
        let version = if known { check_schema(path, schema)? } else { write_schema(path, schema)? };
        Ok(Self { path: path.to_owned(), version, fresh: !known, _lock: lock })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file or folder inside.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether the folder was taken over just now and holds nothing yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Schema version found in the folder, between `version_min` and `version`.
    #[must_use]
    pub fn schema_version(&self) -> u32 {
        self.version
    }

    /// Records that the contents were brought up to `schema.version`.
    ///
    /// # Errors
    /// When the file cannot be written; the old schema stays in force.
    pub fn upgraded(&mut self, schema: &Schema) -> Result<(), OpenError> {
        self.version = write_schema(&self.path, schema)?;
        Ok(())
    }

    /// Creates a folder inside, for its owner alone, if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, OpenError> {
        let path = self.join(name);
        create_folder(&path)?;
        Ok(path)
    }
}

/// A start that was interrupted before the schema got its name leaves these.
fn is_ours_before_schema(name: &str) -> bool {
    name == LOCK_FILE || name == SCHEMA_DRAFT || name == "lost+found"
}

fn create_folder(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(OpenError::NotAFolder { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(sort_io(path, source, Doing::Creating)),
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(|source| sort_io(path, source, Doing::Creating))?;
    // Its name is to survive a power loss. A parent that may not be read keeps us from that, not from going on.
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let _ = File::open(parent).and_then(|parent| parent.sync_all());
    }
    Ok(())
}

fn list_folder(path: &Path) -> Result<Vec<String>, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(io)? {
        names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| sort_io(&path, source, Doing::Writing))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(OpenError::Locked { path: folder.to_owned(), holder: holder(&mut file) });
        }
        Err(error) => return Err(OpenError::Io { path, source: error.into() }),
    }
    // Naming the holder is a courtesy to the second process; the lock itself is what counts, so that a full disk
    // is reported by the schema or the log, where it matters, and not here.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn check_schema(folder: &Path, schema: &Schema) -> Result<u32, OpenError> {
    let path = folder.join(SCHEMA_FILE);
    let file = File::open(&path).map_err(|source| sort_io(&path, source, Doing::Writing))?;
    let mut text = Vec::new();
    file.take(SCHEMA_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|source| OpenError::Io { path: path.clone(), source })?;
    let (version, identity) = parse_schema(&text).map_err(|reason| OpenError::CorruptSchema { path, reason })?;
    if version > schema.version {
        return Err(OpenError::NewerSchema { path: folder.to_owned(), found: version, newest: schema.version });
    }
    if version < schema.version_min {
        return Err(OpenError::OlderSchema {
            path: folder.to_owned(),
            found: version,
            oldest: schema.version_min,
            newest: schema.version,
        });
    }
    if identity != schema.identity {
        return Err(OpenError::WrongIdentity {
            path: folder.to_owned(),
            found: identity,
            expected: schema.identity.clone(),
        });
    }
    Ok(version)
}

/// Three lines: magic and version, identity, checksum of both. Text, so that an operator can read it.
fn schema_text(schema: &Schema) -> String {
    let identity = schema.identity.replace(['\n', '\r'], " ");
    let body = format!("{SCHEMA_MAGIC} {}\n{identity}\n", schema.version);
    let checksum = crc32c::crc32c(body.as_bytes());
    format!("{body}{checksum:08x}\n")
}

fn parse_schema(bytes: &[u8]) -> Result<(u32, String), String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let mut lines = text.split_inclusive('\n');
    let (Some(first), Some(second), Some(third), None) = (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err("it does not have three lines".to_owned());
    };
    let checksum = format!("{:08x}\n", crc32c::crc32c(format!("{first}{second}").as_bytes()));
    if third != checksum {
        return Err("its checksum does not match".to_owned());
    }
    let version = first
        .trim_end()
        .strip_prefix(SCHEMA_MAGIC)
        .and_then(|rest| rest.trim().parse().ok())
        .ok_or_else(|| format!("its first line is not `{SCHEMA_MAGIC} <version>`"))?;
    Ok((version, second.trim_end().to_owned()))
}

fn write_schema(folder: &Path, schema: &Schema) -> Result<u32, OpenError> {
    let draft = folder.join(SCHEMA_DRAFT);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(schema_text(schema).as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, folder.join(SCHEMA_FILE))?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| sort_io(&folder.join(SCHEMA_FILE), source, Doing::Writing))?;
    Ok(schema.version)
}

#[derive(Clone, Copy)]
enum Doing {
    Creating,
    Writing,
}

fn sort_io(path: &Path, source: io::Error, doing: Doing) -> OpenError {
    let path = path.to_owned();
    match (source.kind(), doing) {
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => OpenError::DiskFull { path, source },
        (_, Doing::Creating) => OpenError::CannotCreate { path, source },
        (io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem, Doing::Writing) => {
            OpenError::Unwritable { path, source }
        }
        (_, Doing::Writing) => OpenError::Io { path, source },
    }
}

#[cfg(test)]
mod tests;
