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
use tokio::sync::OwnedMutexGuard;
use types::{Announcement, BlockNumber, Payload};

use crate::BODY_BYTES_MAX;

/// Kind of a record that holds a payload.
const PAYLOAD_RECORD: u8 = 1;
/// Largest record that the log takes: a body and what names it.
const RECORD_BYTES_MAX: usize = BODY_BYTES_MAX + 4_096;
/// Records beyond those that are kept, after which the log is compacted.
const SPARE_MAX: usize = 64;
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
    /// Held from an append until it is counted among what is kept, and while the log is compacted: the live set of a
    /// compaction must hold all that was acknowledged before its mark, also where a call was dropped half-way.
    turn: Arc<tokio::sync::Mutex<()>>,
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
    /// Opens the payloads in `folder`, or begins there. The newest `keep` (at least 1) are kept: as many as the engine
    /// may lose in a crash.
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
        Ok(Self(Arc::new(Inner { log, keep, kept: Mutex::new(kept), turn: Arc::default() })))
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
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let bytes = write(payload).map_err(|reason| PersistError { reason })?;
        self.0.log.append(PAYLOAD_RECORD, &bytes).await?;
        self.0.kept.lock().take(payload.clone(), self.0.keep);
        self.trim(turn).await;
        Ok(())
    }

    async fn fetch(&self, from: BlockNumber, to: BlockNumber) -> Vec<Announcement> {
        let line = self.0.kept.lock().line();
        let asked = line.into_iter().filter(|payload| (from..=to).contains(&payload.block.number));
        asked.map(|payload| Announcement { payload, certificate: None }).collect()
    }
}

impl Handed {
    /// Gives space back once enough of it is taken by what is no longer kept. A failure is no harm: the log stands as
    /// before, and the next payload tries again.
    async fn trim(&self, turn: OwnedMutexGuard<()>) {
        if !self.0.is_full() {
            return;
        }
        let handed = self.clone();
        let trimmed = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            handed.0.compact()
        });
        let trimmed = trimmed.await;
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

impl Kept {
    /// The newest payload and those below it, lowest first, as far as they are kept. What was decided before the chain
    /// branched off is not among them.
    fn line(&self) -> Vec<Payload> {
        let mut line: Vec<Payload> = Vec::new();
        for payload in self.newest.iter().rev() {
            if line.last().is_none_or(|above| above.block.extends(&payload.block)) {
                line.push(payload.clone());
            }
        }
        line.reverse();
        line
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

#[cfg(test)]
mod tests {
    use types::{BlockHash, BlockRef, Slot, Timestamp};

    use super::*;

    /// Block `number` on `below`; `branch` tells siblings apart.
    fn payload(number: u64, branch: u8, below: BlockHash) -> Payload {
        let mut hash = [branch; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        let block = BlockRef {
            number: BlockNumber::new(number),
            hash: BlockHash::new(hash),
            parent: below,
            timestamp: Timestamp::from_secs(number),
        };
        Payload { slot: Slot::new(number), block, origin: None, body: vec![branch; 1_000].into() }
    }

    fn chain(numbers: std::ops::RangeInclusive<u64>, branch: u8, mut below: BlockHash) -> Vec<Payload> {
        let next = |number| {
            let payload = payload(number, branch, below);
            below = payload.block.hash;
            payload
        };
        numbers.map(next).collect()
    }

    async fn persist(handed: &Handed, payloads: &[Payload]) {
        for payload in payloads {
            handed.persist(&Record::Payload(payload.clone())).await.unwrap();
        }
    }

    async fn held(handed: &Handed) -> Vec<Payload> {
        let all = handed.fetch(BlockNumber::GENESIS, BlockNumber::new(u64::MAX)).await;
        all.into_iter().map(|announcement| announcement.payload).collect()
    }

    #[tokio::test]
    async fn the_newest_are_there_again_with_their_bodies() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = chain(1..=5, 1, BlockHash::ZERO);
        let handed = Handed::open(folder.path(), 3).unwrap();
        assert_eq!((handed.newest(), handed.memory()), (None, Memory::default()));
        persist(&handed, &blocks).await;
        assert_eq!(held(&handed).await, blocks[2..]);
        drop(handed);
        let handed = Handed::open(folder.path(), 3).unwrap();
        assert_eq!(held(&handed).await, blocks[2..]);
        assert_eq!(handed.newest().as_ref(), blocks.last());
        let mut memory = Memory::default();
        memory.remember(Record::Payload(blocks[4].clone()));
        assert_eq!(handed.memory(), memory);
        let part = handed.fetch(BlockNumber::new(4), BlockNumber::new(4)).await;
        assert_eq!(part.len(), 1);
    }

    #[tokio::test]
    async fn old_ones_are_removed_from_disk_and_no_new_one_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = chain(1..=200, 1, BlockHash::ZERO);
        let handed = Handed::open(folder.path(), 4).unwrap();
        persist(&handed, &blocks).await;
        let most = (4 + SPARE_MAX + 1) as u64 * 2_000;
        assert!(handed.0.log.disk_bytes() < most, "{} bytes", handed.0.log.disk_bytes());
        handed.0.compact().unwrap();
        assert_eq!(handed.0.kept.lock().records, 4);
        drop(handed);
        let handed = Handed::open(folder.path(), 4).unwrap();
        assert_eq!(held(&handed).await, blocks[196..]);
    }

    #[tokio::test]
    async fn what_another_branch_replaced_is_not_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let handed = Handed::open(folder.path(), 16).unwrap();
        let left = chain(1..=3, 1, BlockHash::ZERO);
        let right = chain(2..=3, 2, left[0].block.hash);
        persist(&handed, &left).await;
        persist(&handed, &right).await;
        assert_eq!(held(&handed).await, [&left[..1], &right[..]].concat());
    }

    #[tokio::test]
    async fn the_same_again_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let handed = Handed::open(folder.path(), 16).unwrap();
        let blocks = chain(1..=1, 1, BlockHash::ZERO);
        persist(&handed, &blocks).await;
        let bytes = handed.0.log.disk_bytes();
        persist(&handed, &blocks).await;
        assert_eq!((held(&handed).await.len(), handed.0.kept.lock().records), (1, 1));
        assert!(handed.0.log.disk_bytes() <= bytes + 100, "a seal at most");
    }

    #[test]
    fn records_of_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path(), LogOptions::default()).unwrap();
        log.append(9, b"something").wait().unwrap();
        drop(log);
        assert!(matches!(Handed::open(folder.path(), 1), Err(HandedError::Record { .. })));
        for junk in [&b""[..], b"\0\0", b"\0\0\0\x09{}", b"\0\0\0\x02{}", b"\xff\xff\xff\xff{}"] {
            read(&Bytes::copy_from_slice(junk)).unwrap_err();
        }
    }
}
