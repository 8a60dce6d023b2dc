//! An append-only log of records: checksummed, hash-chained, durable by group commit.
//!
//! ```text
//!  append ─┐                                        ┌─ ticket: Ok(position)
//!  append ─┼─► queue (bounded in bytes) ─► writer ──┼─ ticket: Ok(position)
//!  append ─┘                    one write, one sync └─ ticket: Ok(position)
//! ```
//!
//! The order of records is the order of the calls of [`Log::append`]. A ticket is answered when its record is on the disk.
//! Records live in segments, files named by the position of their first byte. Each record carries a checksum, which covers
//! its position, and a hash that chains it to all records before it.
//!
//! # What opening does
//! All segments are read and verified (or the last one only, see [`Verify`]). Bytes at the end of the last segment that make
//! no record are a write that the crash cut off; nobody was told that it is durable, and it is removed. Damage anywhere else
//! is [`LogError::Corrupt`], and nothing is changed. How the two are told apart: every record says up to where the log was
//! durable when it was written, so a sound record behind the damage proves that the damaged bytes had been acknowledged.
//! For the last records the proof is a seal, which the writer adds when it has been idle for a moment and when it closes.
//! Damage to acknowledged bytes of the very last write before a power loss, with no seal behind it, cannot be told from a
//! torn write by anyone who has one copy; this is the limit of a single disk.

mod format;
mod recovery;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use thiserror::Error;

use crate::data_dir::OpenErrorKind;
use crate::disk::{Disk, DiskFile, RealDisk};
use format::{BadRecord, KIND_INTERNAL_MIN, RECORD_HEADER, SEGMENT_HEADER, Window};

/// Where a record begins: bytes since the beginning of the log, over all segments. Grows from record to record,
/// and goes on growing when compaction drops old segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The position as a number, for storing it elsewhere.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// A position that was stored elsewhere. [`Log::read`] refuses one at which no record begins.
    #[must_use]
    pub const fn from_u64(position: u64) -> Self {
        Self(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// How much of the log is read when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Everything: about a second per gigabyte.
    #[default]
    All,
    /// The last segment, and for the others that none is missing or shortened. Damage in them is found when they are read.
    LastSegment,
}

/// Sizes and limits of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment is closed when the next record would take it beyond this. Default 64 MiB.
    pub segment_bytes: u64,
    /// Largest record accepted. Default 32 MiB, at most 1 GiB.
    pub record_bytes_max: usize,
    /// Bytes of records waiting for the disk; when reached, [`Log::append`] refuses with [`AppendError::QueueFull`].
    /// A record is always taken when nothing waits. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// After this long without an append the writer seals what it wrote. Default 50 ms.
    pub seal_after: Duration,
    /// How much is verified at opening. Default everything.
    pub verify: Verify,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            record_bytes_max: 32 << 20,
            queue_bytes_max: 64 << 20,
            seal_after: Duration::from_millis(50),
            verify: Verify::All,
        }
    }
}

/// Why a log was not opened. Nothing acknowledged was changed.
#[derive(Debug, Error)]
pub enum LogError {
    /// Bytes that had been acknowledged are damaged or missing.
    #[error(
        "log segment {segment} is damaged at offset {offset} ({reason}): restore this file from a backup or a replica; nothing was changed"
    )]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Offset in the file at which the first bad record begins.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A segment was written by a newer program.
    #[error(
        "log segment {segment} has format version {found}, newer than this program's {known}: run the newer release"
    )]
    NewerFormat {
        /// The file.
        segment: PathBuf,
        /// Version found.
        found: u16,
        /// Newest version known.
        known: u16,
    },
    /// No space left.
    #[error("no space left for {path}: {source}: free space on that file system and start again; nothing was lost")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// This user may not write there.
    #[error("cannot write {path}: {source}: give this user write access to the data folder")]
    Unwritable {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Any other answer of the system.
    #[error(
        "cannot read or write {path}: {source}: check that disk, then start again; nothing acknowledged was changed"
    )]
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl LogError {
    /// What the caller can do about it; the same classes as for the data folder.
    #[must_use]
    pub fn kind(&self) -> OpenErrorKind {
        match self {
            Self::Corrupt { .. } => OpenErrorKind::Corrupt,
            Self::NewerFormat { .. } => OpenErrorKind::WrongSchema,
            Self::DiskFull { .. } => OpenErrorKind::DiskFull,
            Self::Unwritable { .. } => OpenErrorKind::CannotCreate,
            Self::Io { .. } => OpenErrorKind::Io,
        }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Unwritable { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// Why a record was not made durable. It is not in the log now; after a crash it may yet be found at the very end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Too many bytes wait for the disk: try again when some are written.
    #[error("{queued} bytes wait for the disk, the limit is {limit}: try again shortly")]
    QueueFull {
        /// Bytes waiting.
        queued: usize,
        /// `queue_bytes_max`.
        limit: usize,
    },
    /// The record is larger than the log accepts.
    #[error("a record of {len} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Length of the record.
        len: usize,
        /// `record_bytes_max`.
        limit: usize,
    },
    /// The kind is one of those that the log keeps for itself.
    #[error("record kind {0:#x} is reserved: use one below 0xf0")]
    ReservedKind(u8),
    /// No space left. What was half written is removed, and the log goes on as soon as there is space.
    #[error("no space left for the log: free space on its file system")]
    DiskFull,
    /// A write or a sync failed, so what is on the disk is not certain. The log accepts nothing until it is opened again.
    #[error("the log stopped after a failed write ({0}): check the disk, then restart")]
    Poisoned(Arc<str>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// Why a record could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is no such position in the log: before its first or not before its last durable record.
    #[error("position {position} is not in the log, which holds {start} to {end}")]
    OutOfRange {
        /// The position asked for.
        position: Position,
        /// Start of the log.
        start: Position,
        /// End of the log.
        end: Position,
    },
    /// The record there is damaged, or none begins there.
    #[error(
        "log segment {segment} has no sound record at offset {offset} ({reason}): restore this file from a backup or a replica"
    )]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Offset in the file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The disk did not answer.
    #[error("cannot read log segment {segment}: {source}")]
    Io {
        /// The file.
        segment: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why a log was not compacted. It stands as before.
#[derive(Debug, Error)]
pub enum CompactError {
    /// Another compaction came between the mark and this one.
    #[error("the log was compacted after this mark was taken: take a new one")]
    StaleMark,
    /// A record of the live set is not acceptable, or the log does not accept anything.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A record to be kept could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing the new segment failed; it was removed.
    #[error("the log could not be compacted: {0}")]
    Io(Arc<str>),
}

/// Whether a log accepts records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogHealth {
    /// It does.
    Sound,
    /// The last write found no space; the next one tries again.
    DiskFull,
    /// It does not until it is opened again; here is why.
    Poisoned(Arc<str>),
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub position: Position,
    /// Where the next one may begin: continue from here.
    pub next: Position,
    /// The caller's kind, below `0xf0`.
    pub kind: u8,
    /// The caller's bytes.
    pub payload: Bytes,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk after.
    pub bytes_after: u64,
    /// Records in the log after: the live set and what was appended after the mark.
    pub records: u64,
}

/// A place in the order of appends, see [`Log::mark`].
#[derive(Clone, Debug)]
pub struct Mark(Arc<MarkCell>);

#[derive(Debug)]
struct MarkCell {
    /// Position at which the first record after the mark begins; `u64::MAX` until the writer has come to it.
    position: AtomicU64,
    /// How many compactions had been done then.
    generation: AtomicU64,
}

/// An append-only log in one folder. Share it as `Arc<Log>`.
///
/// Dropping it writes what is queued, seals the log and ends the writer thread.
pub struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("folder", &self.shared.folder).field("end", &self.end()).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in `folder`, or creates it, and starts its writer thread.
    ///
    /// The folder must belong to one process alone, see [`crate::DataDir`].
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(folder: impl AsRef<Path>, options: LogOptions) -> Result<Self, LogError> {
        Self::open_on(Arc::new(RealDisk), folder, options)
    }

    /// The same on another disk, for tests.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open_on(disk: Arc<dyn Disk>, folder: impl AsRef<Path>, options: LogOptions) -> Result<Self, LogError> {
        let folder = folder.as_ref();
        let (shared, mut writer) = writer::open(disk, folder, options)?;
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| LogError::Io { path: folder.to_owned(), source })?;
        Ok(Self { shared, writer: Some(thread) })
    }

    /// Queues a record; its place in the order is fixed when this returns. Never blocks.
    ///
    /// `kind` is the caller's, below `0xf0`. A refusal is answered by the ticket, at once.
    pub fn append(&self, kind: u8, payload: &[u8]) -> Ticket {
        self.shared.append(kind, payload)
    }

    /// Reads the record that begins at `position`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, position: Position) -> Result<Record, ReadError> {
        self.shared.read(position)
    }

    /// Durable records from `position` (or the first one after it, when it is one that [`Record::next`] named) to the end of the
    /// log as it is when the iterator gets there.
    pub fn records(&self, position: Position) -> Records {
        Shared::records(&self.shared, position)
    }

    /// Where the first record begins, if there is one.
    #[must_use]
    pub fn start(&self) -> Position {
        self.shared.start()
    }

    /// End of what is durable. A table that stands behind this has seen records that the log does not hold: the log was
    /// replaced or cut by hand, and the table is to be rebuilt.
    #[must_use]
    pub fn end(&self) -> Position {
        Position(self.shared.end.load(Ordering::Acquire))
    }

    /// Bytes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let end = self.end().0;
        let segments = self.shared.segments.read();
        segments.first_key_value().map_or(0, |(base, _)| end.saturating_sub(*base))
    }

    /// Bytes that wait for the disk.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.queue.lock().bytes
    }

    /// Whether the log accepts records.
    #[must_use]
    pub fn health(&self) -> LogHealth {
        self.shared.health.lock().clone()
    }

    /// Marks this moment in the order of appends, for [`Log::compact`].
    pub fn mark(&self) -> Mark {
        self.shared.mark()
    }

    /// Replaces everything appended before `mark` by the records of `live`, keeps what came after, and gives the space back.
    /// Positions of all records change. Waits for the disk.
    ///
    /// Take the mark and the live set at the same moment, under the lock that orders your appends. A crash leaves the log
    /// either as before or as after. Appends made meanwhile wait.
    ///
    /// # Errors
    /// See [`CompactError`]; the log then stands as before.
    pub fn compact<I>(&self, mark: &Mark, live: I) -> Result<Compaction, CompactError>
    where
        I: IntoIterator<Item = (u8, Bytes)>,
        I::IntoIter: Send + 'static,
    {
        self.shared.compact(mark, Box::new(live.into_iter()))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has already been answered to all tickets by `TicketCell`'s drop.
            let _ = writer.join();
        }
    }
}

/// The answer to one [`Log::append`]: await it, or [`Ticket::wait`] for it.
///
/// Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "a record is durable when its ticket says so"]
pub struct Ticket(Arc<TicketCell>);

impl Ticket {
    /// Blocks until the record is durable and returns its position.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn wait(self) -> Result<Position, AppendError> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            self.0.answered.wait(&mut state);
        }
    }

    /// The answer, if there is one yet.
    #[must_use]
    pub fn answer(&self) -> Option<Result<Position, AppendError>> {
        self.0.state.lock().result.clone()
    }

    fn refused(error: AppendError) -> Self {
        let cell = TicketCell::default();
        cell.state.lock().result = Some(Err(error));
        Self(Arc::new(cell))
    }
}

impl Future for Ticket {
    type Output = Result<Position, AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state.lock();
        if let Some(result) = &state.result {
            return Poll::Ready(result.clone());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[derive(Debug, Default)]
struct TicketCell {
    state: Mutex<TicketState>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct TicketState {
    result: Option<Result<Position, AppendError>>,
    waker: Option<Waker>,
}

/// The writer's end of a ticket. Dropped unanswered (the writer is gone), it answers [`AppendError::Closed`].
#[derive(Debug)]
struct TicketEnd(Arc<TicketCell>);

impl TicketEnd {
    fn pair() -> (Ticket, Self) {
        let cell = Arc::new(TicketCell::default());
        (Ticket(Arc::clone(&cell)), Self(cell))
    }

    fn answer(self, result: Result<Position, AppendError>) {
        self.set(result);
    }

    fn set(&self, result: Result<Position, AppendError>) {
        let mut state = self.0.state.lock();
        if state.result.is_some() {
            return;
        }
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        self.0.answered.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for TicketEnd {
    fn drop(&mut self) {
        self.set(Err(AppendError::Closed));
    }
}

/// Records in order, see [`Log::records`]. Ends after the first error.
pub struct Records {
    shared: Arc<Shared>,
    position: Position,
    window: Option<(Arc<Segment>, Window)>,
    failed: bool,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Records {
    fn read_next(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            let end = self.shared.end.load(Ordering::Acquire);
            if self.position.0 >= end {
                return Ok(None);
            }
            let inside = self.window.as_ref().is_some_and(|(s, _)| s.holds(self.position));
            if !inside {
                let segment = self.shared.segment_at(self.position)?;
                self.window = Some((segment, Window::default()));
            }
            let Some((segment, window)) = &mut self.window else { continue };
            if self.position.0 < segment.base + SEGMENT_HEADER as u64 {
                self.position.0 = segment.base + SEGMENT_HEADER as u64;
                continue;
            }
            let record = segment.decode(window, self.position, self.shared.salt)?;
            self.position = record.next;
            if record.kind < KIND_INTERNAL_MIN {
                return Ok(Some(record));
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read_next().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// One file of the log. `len` grows while it is the last one.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    base: u64,
    len: AtomicU64,
    file: Arc<dyn DiskFile>,
}

impl Segment {
    fn holds(&self, position: Position) -> bool {
        position.0 >= self.base && position.0 < self.base + self.len.load(Ordering::Acquire)
    }

    fn decode(&self, window: &mut Window, position: Position, salt: u64) -> Result<Record, ReadError> {
        let offset = position.0 - self.base;
        let len = self.len.load(Ordering::Acquire);
        let bad =
            |reason: BadRecord| ReadError::Corrupt { segment: self.path.clone(), offset, reason: reason.to_string() };
        let io = |source| ReadError::Io { segment: self.path.clone(), source };
        match window.record(&*self.file, offset, len, salt, position.0).map_err(io)? {
            Ok(head) => Ok(Record {
                position,
                next: Position(position.0 + head.encoded_len() as u64),
                kind: head.kind,
                payload: Bytes::copy_from_slice(window.payload(&head)),
            }),
            Err(reason) => Err(bad(reason)),
        }
    }
}

/// What the handle, its readers and the writer share.
struct Shared {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    salt: u64,
    /// End of what is durable.
    end: AtomicU64,
    segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    queue: Mutex<Queue>,
    wake: Condvar,
    health: Mutex<LogHealth>,
}

#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    /// Encoded size of the records in `items` and of those that the writer is writing.
    bytes: usize,
    closed: bool,
}

enum Item {
    Append { kind: u8, payload: Box<[u8]>, ticket: TicketEnd },
    Mark(Arc<MarkCell>),
    Compact(Compacting),
}

struct Compacting {
    mark: Arc<MarkCell>,
    live: Box<dyn Iterator<Item = (u8, Bytes)> + Send>,
    answer: Arc<CompactCell>,
}

#[derive(Default)]
struct CompactCell {
    result: Mutex<Option<Result<Compaction, CompactError>>>,
    answered: Condvar,
}

impl Compacting {
    fn answer(&self, result: Result<Compaction, CompactError>) {
        let mut slot = self.answer.result.lock();
        if slot.is_none() {
            *slot = Some(result);
            self.answer.answered.notify_all();
        }
    }
}

impl Drop for Compacting {
    fn drop(&mut self) {
        self.answer(Err(CompactError::Append(AppendError::Closed)));
    }
}

impl Shared {
    fn append(&self, kind: u8, payload: &[u8]) -> Ticket {
        if kind >= KIND_INTERNAL_MIN {
            return Ticket::refused(AppendError::ReservedKind(kind));
        }
        let limit = self.options.record_bytes_max.min(format::PAYLOAD_MAX);
        if payload.len() > limit {
            return Ticket::refused(AppendError::TooLarge { len: payload.len(), limit });
        }
        if let LogHealth::Poisoned(reason) = &*self.health.lock() {
            return Ticket::refused(AppendError::Poisoned(Arc::clone(reason)));
        }
        let payload: Box<[u8]> = payload.into();
        let bytes = format::encoded_len(payload.len());
        let limit = self.options.queue_bytes_max;
        let mut queue = self.queue.lock();
        if queue.closed {
            return Ticket::refused(AppendError::Closed);
        }
        if queue.bytes > 0 && queue.bytes + bytes > limit {
            return Ticket::refused(AppendError::QueueFull { queued: queue.bytes, limit });
        }
        let (ticket, end) = TicketEnd::pair();
        queue.bytes += bytes;
        queue.items.push(Item::Append { kind, payload, ticket: end });
        drop(queue);
        self.wake.notify_one();
        ticket
    }

    fn mark(&self) -> Mark {
        let cell = Arc::new(MarkCell { position: AtomicU64::new(u64::MAX), generation: AtomicU64::new(0) });
        self.queue.lock().items.push(Item::Mark(Arc::clone(&cell)));
        self.wake.notify_one();
        Mark(cell)
    }

    fn compact(
        &self,
        mark: &Mark,
        live: Box<dyn Iterator<Item = (u8, Bytes)> + Send>,
    ) -> Result<Compaction, CompactError> {
        let answer = Arc::new(CompactCell::default());
        let item = Compacting { mark: Arc::clone(&mark.0), live, answer: Arc::clone(&answer) };
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(CompactError::Append(AppendError::Closed));
        }
        queue.items.push(Item::Compact(item));
        drop(queue);
        self.wake.notify_one();
        let mut result = answer.result.lock();
        loop {
            if let Some(result) = result.take() {
                return result;
            }
            answer.answered.wait(&mut result);
        }
    }

    fn records(self: &Arc<Self>, position: Position) -> Records {
        Records { shared: Arc::clone(self), position: position.max(self.start()), window: None, failed: false }
    }

    fn start(&self) -> Position {
        let segments = self.segments.read();
        Position(segments.first_key_value().map_or(0, |(base, _)| base + SEGMENT_HEADER as u64))
    }

    fn segment_at(&self, position: Position) -> Result<Arc<Segment>, ReadError> {
        let segments = self.segments.read();
        segments
            .range(..=position.0)
            .next_back()
            .filter(|(_, segment)| segment.holds(position))
            .map(|(_, segment)| Arc::clone(segment))
            .ok_or_else(|| {
                let first = segments.first_key_value().map_or(0, |(base, _)| *base);
                ReadError::OutOfRange {
                    position,
                    start: Position(first + SEGMENT_HEADER as u64),
                    end: Position(self.end.load(Ordering::Acquire)),
                }
            })
    }

    fn read(&self, position: Position) -> Result<Record, ReadError> {
        let segment = self.segment_at(position)?;
        let record = segment.decode(&mut Window::exact(), position, self.salt)?;
        if record.kind >= KIND_INTERNAL_MIN {
            return Err(ReadError::Corrupt {
                segment: segment.path.clone(),
                offset: position.0 - segment.base,
                reason: "a seal, not a record of the caller, begins there".to_owned(),
            });
        }
        Ok(record)
    }
}

const _: () = assert!(RECORD_HEADER.is_multiple_of(8) && SEGMENT_HEADER.is_multiple_of(8));
