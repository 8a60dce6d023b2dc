//! What was decided and handed to the engine, kept until the engine is sure to have it.
//!
//! ```text
//!   payload · payload · payload · payload …     a log that is compacted to the newest few, again and again
//! ```
//!
//! An engine writes its blocks down when it likes, so after a crash it may have less than was announced. The newest
//! decided payloads are therefore made durable here first, and imported again at the next start.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use node::{PersistError, Persistence};
use parking_lot::Mutex;
use sequencer::{Memory, Record};
use store::{CompactError, Log, LogError, LogOptions, Position, ReadError};
use types::{Announcement, BlockNumber, Payload};

use crate::BODY_BYTES_MAX;

/// Kind of a record that holds a payload.
const PAYLOAD_RECORD: u8 = 1;
/// Largest record that the log takes: a body and what names it.
const RECORD_BYTES_MAX: usize = BODY_BYTES_MAX + 4_096;
/// Records beyond those that are kept, after which the log is compacted.
const SPARE_MAX: usize = 256;
/// Bytes on disk after which the log is compacted, whatever the number of records.
const DISK_BYTES_MAX: u64 = 256 << 20;

/// The newest decided payloads, on disk. The [`Persistence`] of a node whose chain is an engine's.
#[derive(Clone, Debug)]
pub struct Handed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    keep: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest `keep`, in the order in which they were decided.
    newest: VecDeque<Payload>,
    /// Records in the log.
    records: usize,
}

/// Why the payloads cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// The log was not opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is not one of ours.
    #[error("the record at {position} holds no payload ({reason}): is this the folder of another program?")]
    Record {
        /// Where it begins.
        position: Position,
        /// What is wrong.
        reason: String,
    },
}

impl Handed {
    /// Opens the payloads in `folder`, or begins there. The newest `keep` (at least 1) are kept: as many as the engine may
    /// lose in a crash.
    ///
    /// # Errors
    /// When the folder cannot be used or holds something else.
    pub fn open(folder: &Path, keep: usize) -> Result<Self, HandedError> {
        let options = LogOptions { record_bytes_max: RECORD_BYTES_MAX, ..LogOptions::default() };
        let log = Log::open(folder, options)?;
        let keep = keep.max(1);
        let mut kept = Kept::default();
        for record in log.records(Position::default()) {
            let record = record?;
            let wrong = |reason: String| HandedError::Record { position: record.position, reason };
            if record.kind != PAYLOAD_RECORD {
                return Err(wrong(format!("it is of kind {}", record.kind)));
            }
            kept.take(read(&record.payload).map_err(wrong)?, keep);
        }
        Ok(Self(Arc::new(Inner { log, keep, kept: Mutex::new(kept) })))
    }

    /// The newest decided payload.
    #[must_use]
    pub fn newest(&self) -> Option<Payload> {
        self.0.kept.lock().newest.back().cloned()
    }

    /// What the heart remembers at a start: it imports the newest decided payload again if the engine is behind it, and
    /// fetches from here what lies between.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        if let Some(newest) = self.newest() {
            memory.remember(Record::Payload(newest));
        }
        memory
    }
}

#[async_trait]
impl Persistence for Handed {
    async fn persist(&self, record: &Record) -> Result<(), PersistError> {
        let Record::Payload(payload) = record else {
            return Err(PersistError {
                reason: "beside an execution engine decided payloads alone are kept, and no vows of a committee".into(),
            });
        };
        if self.newest().as_ref() == Some(payload) {
            return Ok(());
        }
        let bytes = write(payload).map_err(|reason| PersistError { reason })?;
        self.0.log.append(PAYLOAD_RECORD, &bytes).await?;
        self.0.kept.lock().take(payload.clone(), self.0.keep);
        self.trim().await;
        Ok(())
    }

    async fn fetch(&self, from: BlockNumber, to: BlockNumber) -> Vec<Announcement> {
        let kept = self.0.kept.lock();
        let asked = kept.newest.iter().filter(|payload| (from..=to).contains(&payload.block.number));
        asked.map(|payload| Announcement { payload: payload.clone(), certificate: None }).collect()
    }
}

impl Handed {
    /// Gives space back once enough of it is taken by what is no longer kept. A failure is no harm: the log stands as
    /// before, and the next payload tries again.
    async fn trim(&self) {
        if !self.0.is_full() {
            return;
        }
        let handed = self.clone();
        let trimmed = tokio::task::spawn_blocking(move || handed.0.compact()).await;
        match trimmed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "old payloads are not removed from disk"),
            Err(error) => tracing::warn!(%error, "removing old payloads from disk ended badly"),
        }
    }
}

impl Inner {
    fn is_full(&self) -> bool {
        self.kept.lock().records > self.keep + SPARE_MAX || self.log.disk_bytes() > DISK_BYTES_MAX
    }

    fn compact(&self) -> Result<(), CompactError> {
        let refused = |reason: String| CompactError::Io(reason.into());
        // Mark and live set are of one moment: payloads are persisted one at a time, and this is within one's call.
        let mark = self.log.mark();
        let newest: Vec<Payload> = self.kept.lock().newest.iter().cloned().collect();
        let live = newest.iter().map(|payload| write(payload).map(|bytes| (PAYLOAD_RECORD, Bytes::from(bytes))));
        let live = live.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        let compaction = self.log.compact(&mark, live)?;
        self.kept.lock().records = usize::try_from(compaction.records).unwrap_or(usize::MAX);
        Ok(())
    }
}

impl Kept {
    fn take(&mut self, payload: Payload, keep: usize) {
        self.records += 1;
        self.newest.push_back(payload);
        while self.newest.len() > keep {
            self.newest.pop_front();
        }
    }
}

/// A payload as a record: the length of what names it (4 bytes, most significant first), that as JSON, the body.
fn write(payload: &Payload) -> Result<Vec<u8>, String> {
    let named = serde_json::to_vec(payload).map_err(|error| error.to_string())?;
    let len = u32::try_from(named.len()).map_err(|error| error.to_string())?;
    Ok([&len.to_be_bytes()[..], &named, &payload.body].concat())
}

fn read(record: &Bytes) -> Result<Payload, String> {
    let short = || "it is cut short".to_owned();
    let (len, rest) = record.split_first_chunk::<4>().ok_or_else(short)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|error| error.to_string())?;
    let (named, _) = rest.split_at_checked(len).ok_or_else(short)?;
    let payload: Payload = serde_json::from_slice(named).map_err(|error| error.to_string())?;
    Ok(Payload { body: record.slice(4 + len..), ..payload })
}
