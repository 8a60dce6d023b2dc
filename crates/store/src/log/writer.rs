//! The one that writes: takes what is queued, writes it in one go, syncs once, answers all.

use std::io;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use super::format::{
    Chain, KIND_INTERNAL_MIN, KIND_SEAL, SEGMENT_HEADER, SegmentHeader, Window, encode_record, encoded_len,
};
use super::recovery::{DRAFT_SUFFIX, Recovered, create_segment, recover, segment_path};
use super::{
    AppendError, CompactError, Compacting, Compaction, Item, LogError, LogHealth, LogOptions, Position, Queue,
    ReadError, Segment, Shared, TicketEnd,
};
use crate::disk::{Disk, DiskFile, write_all};

/// How much of a compaction is held in memory before it is written.
const COMPACTION_BUFFER: usize = 1 << 20;
/// How much of the batch buffer is kept between batches.
const BUFFER_KEPT: usize = 1 << 20;

/// State of the end of the log. Only the writer thread has it.
pub(super) struct Writer {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    /// Where the next record goes.
    position: u64,
    /// Up to where the log is durable; behind `position` only by an unsynced seal.
    synced: u64,
    /// Hash up to `position`.
    chain: Chain,
    /// Hash up to the end of what is encoded and not written yet.
    chain_ahead: Chain,
    /// Whether the next record must go to a new segment.
    rolling: bool,
    /// Whether something was written since the last seal.
    unsealed: bool,
    /// Number of compactions, to know old marks.
    generation: u64,
    buffer: Vec<u8>,
    waiting: Vec<(TicketEnd, Position)>,
}

/// Opens the log without starting a thread.
pub(super) fn open(disk: Arc<dyn Disk>, folder: &Path, options: LogOptions) -> Result<(Arc<Shared>, Writer), LogError> {
    disk.create_folder(folder).map_err(|error| LogError::io(folder, error))?;
    let Recovered { segments, last, salt, chain, end } = recover(&*disk, folder, &options)?;
    let shared = Arc::new(Shared {
        folder: folder.to_owned(),
        disk,
        options,
        salt,
        end: AtomicU64::new(end),
        segments: RwLock::new(segments),
        queue: Mutex::new(Queue::default()),
        wake: Condvar::new(),
        health: Mutex::new(LogHealth::Sound),
    });
    let writer = Writer {
        shared: Arc::clone(&shared),
        segment: last,
        position: end,
        synced: end,
        chain,
        chain_ahead: chain,
        rolling: false,
        unsealed: end > SEGMENT_HEADER as u64,
        generation: 0,
        buffer: Vec::new(),
        waiting: Vec::new(),
    };
    Ok((shared, writer))
}

impl Writer {
    /// Writes until the log is closed and the queue is empty.
    pub(super) fn run(&mut self) {
        while let Some(items) = self.next_items() {
            self.perform(items);
        }
        self.close();
    }

    /// Waits for work; seals the log when there is none for a while. `None` when the log is closed.
    fn next_items(&mut self) -> Option<Vec<Item>> {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.queue.lock();
        loop {
            if !queue.items.is_empty() {
                return Some(mem::take(&mut queue.items));
            }
            if queue.closed {
                return None;
            }
            if !self.unsealed {
                shared.wake.wait(&mut queue);
            } else if shared.wake.wait_for(&mut queue, shared.options.seal_after).timed_out() && queue.items.is_empty()
            {
                drop(queue);
                self.seal();
                queue = shared.queue.lock();
            }
        }
    }

    /// Performs queued items in order: appends together, others by themselves.
    ///
    /// When one append fails, those queued behind it fail too, so that what is in the log is never out of order.
    pub(super) fn perform(&mut self, items: Vec<Item>) {
        let mut bytes = 0;
        let mut failed = self.poisoned();
        for item in items {
            match item {
                Item::Append { kind, payload, ticket } => {
                    bytes += encoded_len(payload.len());
                    match &failed {
                        None => failed = self.take(kind, &payload, ticket).err(),
                        Some(error) => ticket.answer(Err(error.clone())),
                    }
                }
                Item::Mark(mark) => {
                    // Flushed first: a mark must not name a place that a failed write takes back.
                    failed = failed.or_else(|| self.flush().err());
                    mark.generation.store(self.generation, Ordering::Relaxed);
                    mark.position.store(self.position, Ordering::Release);
                }
                Item::Compact(mut compacting) => {
                    failed = failed.or_else(|| self.flush().err());
                    let result = self.compact(&mut compacting);
                    compacting.answer(result);
                }
            }
        }
        if failed.is_none() {
            // Each ticket has the answer.
            let _ = self.flush();
        }
        self.shared.queue.lock().bytes -= bytes;
    }

    /// Encodes one record behind the others of this batch.
    fn take(&mut self, kind: u8, payload: &[u8], ticket: TicketEnd) -> Result<(), AppendError> {
        let offset = self.position + self.buffer.len() as u64 - self.segment.base;
        let full = offset + encoded_len(payload.len()) as u64 > self.shared.options.segment_bytes;
        if self.rolling || (full && offset > SEGMENT_HEADER as u64) {
            let rolled = self.flush().and_then(|()| self.roll());
            if let Err(error) = rolled {
                ticket.answer(Err(error.clone()));
                return Err(error);
            }
        }
        let position = self.position + self.buffer.len() as u64;
        let (salt, synced) = (self.shared.salt, self.synced);
        let chain = &mut self.chain_ahead;
        encode_record(&mut self.buffer, salt, position, synced, kind, payload, chain);
        self.waiting.push((ticket, Position(position)));
        Ok(())
    }

    /// Writes and syncs the buffer, then answers the tickets.
    fn flush(&mut self) -> Result<(), AppendError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.write_buffer();
        match &result {
            Ok(()) => {
                self.chain = self.chain_ahead;
                self.unsealed = true;
                self.publish_end();
                self.set_health(LogHealth::Sound);
            }
            Err(_) => self.chain_ahead = self.chain,
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT);
        for (ticket, position) in self.waiting.drain(..) {
            ticket.answer(result.clone().map(|()| position));
        }
        result
    }

    fn write_buffer(&mut self) -> Result<(), AppendError> {
        let offset = self.position - self.segment.base;
        if let Err(error) = write_all(&*self.segment.file, &self.buffer, offset) {
            return Err(self.write_failed(&error, offset));
        }
        self.position += self.buffer.len() as u64;
        self.sync()
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        self.segment.file.sync().map_err(|error| self.poison("sync", &error))?;
        self.synced = self.position;
        Ok(())
    }

    /// Closes the segment and begins the next one.
    ///
    /// Once begun, nothing more goes to the old segment, even when this fails for want of space: a file of the new one may be
    /// left behind, and it must fit on the end of the old one.
    fn roll(&mut self) -> Result<(), AppendError> {
        if self.synced < self.position {
            self.sync()?;
            self.publish_end();
        }
        self.rolling = true;
        let header = SegmentHeader { origin: false, salt: self.shared.salt, base: self.position, chain: self.chain };
        let created = create_segment(&*self.shared.disk, &self.shared.folder, &header);
        let segment = created.map_err(|error| match error {
            LogError::DiskFull { .. } => {
                self.set_health(LogHealth::DiskFull);
                AppendError::DiskFull
            }
            other => self.poison("new segment", &io::Error::other(other)),
        })?;
        self.rolling = false;
        self.begin(segment, SEGMENT_HEADER as u64);
        Ok(())
    }

    /// Goes on in `segment`, of which `len` bytes are durable.
    fn begin(&mut self, segment: Arc<Segment>, len: u64) {
        self.position = segment.base + len;
        self.synced = self.position;
        self.segment = Arc::clone(&segment);
        self.shared.segments.write().insert(segment.base, segment);
        self.publish_end();
    }

    /// Adds a record that proves all before it to have been durable. It need not be synced itself.
    fn seal(&mut self) {
        self.unsealed = false;
        if self.rolling || self.poisoned().is_some() {
            return;
        }
        let mut bytes = Vec::with_capacity(encoded_len(0));
        let mut chain = self.chain;
        encode_record(&mut bytes, self.shared.salt, self.position, self.synced, KIND_SEAL, &[], &mut chain);
        let offset = self.position - self.segment.base;
        match write_all(&*self.segment.file, &bytes, offset) {
            Ok(()) => {
                self.position += bytes.len() as u64;
                self.chain = chain;
                self.chain_ahead = chain;
            }
            Err(error) => {
                self.write_failed(&error, offset);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn seal_for_test(&mut self) {
        if self.unsealed {
            self.seal();
        }
    }

    pub(super) fn close(&mut self) {
        if self.unsealed {
            self.seal();
        }
        if self.synced < self.position && self.poisoned().is_none() && self.sync().is_ok() {
            self.publish_end();
        }
    }

    /// Writes the live records, and those appended since the mark, as a log that begins anew.
    ///
    /// The new segment takes effect when it gets its name; until then it is a draft that opening removes.
    fn compact(&mut self, compacting: &mut Compacting) -> Result<Compaction, CompactError> {
        if let Some(error) = self.poisoned() {
            return Err(error.into());
        }
        let mark = &compacting.mark;
        let from = mark.position.load(Ordering::Acquire);
        if mark.generation.load(Ordering::Relaxed) != self.generation || from > self.position {
            return Err(CompactError::StaleMark);
        }
        let draft = self.shared.folder.join(format!("{:016x}{DRAFT_SUFFIX}", self.position));
        let result = self.write_draft(&draft, &mut compacting.live, from);
        let (file, copy) = match result {
            Ok(written) => written,
            Err(error) => {
                // Left behind, it is removed at the next opening or overwritten by the next compaction.
                let _ = self.shared.disk.remove(&draft);
                return Err(error);
            }
        };
        self.adopt(&draft, file, copy)
    }

    fn write_draft(
        &self,
        draft: &Path,
        live: &mut (dyn Iterator<Item = (u8, Bytes)> + Send),
        from: u64,
    ) -> Result<(Arc<dyn DiskFile>, Copy), CompactError> {
        let header = SegmentHeader { origin: true, salt: self.shared.salt, base: self.position, chain: self.chain };
        let file = self.shared.disk.create(draft).map_err(failed)?;
        let mut copy = Copy::begin(&*file, &header).map_err(failed)?;
        for (kind, payload) in live {
            self.check(kind, &payload)?;
            copy.add(&*file, kind, &payload).map_err(failed)?;
        }
        self.each_since(from, |kind, payload| copy.add(&*file, kind, payload).map_err(failed))?;
        copy.finish(&*file).map_err(failed)?;
        Ok((file, copy))
    }

    fn check(&self, kind: u8, payload: &[u8]) -> Result<(), AppendError> {
        let limit = self.shared.options.record_bytes_max.min(super::format::PAYLOAD_MAX);
        if kind >= KIND_INTERNAL_MIN {
            return Err(AppendError::ReservedKind(kind));
        }
        if payload.len() > limit {
            return Err(AppendError::TooLarge { len: payload.len(), limit });
        }
        Ok(())
    }

    /// Calls `each` with the caller's records from position `from` to the end.
    fn each_since(
        &self,
        from: u64,
        mut each: impl FnMut(u8, &[u8]) -> Result<(), CompactError>,
    ) -> Result<(), CompactError> {
        let segments: Vec<_> = self.shared.segments.read().values().map(Arc::clone).collect();
        for segment in segments {
            let len = segment.len.load(Ordering::Acquire);
            let mut offset = from.saturating_sub(segment.base).max(SEGMENT_HEADER as u64);
            let mut window = Window::default();
            while offset < len {
                let position = segment.base + offset;
                let record = window.record(&*segment.file, offset, len, self.shared.salt, position);
                let record = record.map_err(|source| ReadError::Io { segment: segment.path.clone(), source })?;
                let head = record.map_err(|bad| ReadError::Corrupt {
                    segment: segment.path.clone(),
                    offset,
                    reason: bad.to_string(),
                })?;
                if head.kind < KIND_INTERNAL_MIN {
                    each(head.kind, window.payload(&head))?;
                }
                offset += head.encoded_len() as u64;
            }
        }
        Ok(())
    }

    /// Gives the draft its name and drops what it replaces.
    fn adopt(&mut self, draft: &Path, file: Arc<dyn DiskFile>, copy: Copy) -> Result<Compaction, CompactError> {
        let disk = Arc::clone(&self.shared.disk);
        let folder = self.shared.folder.clone();
        let path = segment_path(&folder, copy.base);
        disk.rename(draft, &path).map_err(failed)?;
        // From here on it is not certain which log a restart would find, unless this works.
        disk.sync_folder(&folder).map_err(|error| self.poison("compaction", &error))?;
        let bytes_before = {
            let segments = self.shared.segments.read();
            self.position - segments.first_key_value().map_or(self.position, |(base, _)| *base)
        };
        let len = copy.len();
        let old = mem::take(&mut *self.shared.segments.write());
        let segment = Segment { path, base: copy.base, len: AtomicU64::new(len), file };
        self.chain = copy.chain;
        self.chain_ahead = copy.chain;
        self.rolling = false;
        self.unsealed = false;
        self.generation += 1;
        self.begin(Arc::new(segment), len);
        for segment in old.values() {
            // A file that stays is superseded, and removed at the next opening.
            let _ = disk.remove(&segment.path);
        }
        Ok(Compaction { bytes_before, bytes_after: len, records: copy.records })
    }

    /// Lack of space is survived by removing the half-written bytes; anything else is not.
    ///
    /// The removal is synced: a segment must not be found longer than it was when the next one began.
    fn write_failed(&self, error: &io::Error, offset: u64) -> AppendError {
        if !is_full(error) {
            return self.poison("write", error);
        }
        let file = &self.segment.file;
        if let Err(error) = file.set_len(offset).and_then(|()| file.sync()) {
            return self.poison("removal of a write without space", &error);
        }
        self.set_health(LogHealth::DiskFull);
        AppendError::DiskFull
    }

    fn poison(&self, what: &str, error: &io::Error) -> AppendError {
        let reason: Arc<str> = format!("{what}: {error}").into();
        self.set_health(LogHealth::Poisoned(Arc::clone(&reason)));
        AppendError::Poisoned(reason)
    }

    fn poisoned(&self) -> Option<AppendError> {
        match &*self.shared.health.lock() {
            LogHealth::Poisoned(reason) => Some(AppendError::Poisoned(Arc::clone(reason))),
            LogHealth::Sound | LogHealth::DiskFull => None,
        }
    }

    fn set_health(&self, health: LogHealth) {
        let mut current = self.shared.health.lock();
        // Poison stays until the log is opened again.
        if !matches!(*current, LogHealth::Poisoned(_)) {
            *current = health;
        }
    }

    fn publish_end(&self) {
        self.segment.len.store(self.synced - self.segment.base, Ordering::Release);
        self.shared.end.store(self.synced, Ordering::Release);
    }
}

/// A log being written anew.
struct Copy {
    base: u64,
    salt: u64,
    written: u64,
    buffer: Vec<u8>,
    chain: Chain,
    records: u64,
}

impl Copy {
    fn begin(file: &dyn DiskFile, header: &SegmentHeader) -> io::Result<Self> {
        write_all(file, &header.encode(), 0)?;
        Ok(Self {
            base: header.base,
            salt: header.salt,
            written: SEGMENT_HEADER as u64,
            buffer: Vec::new(),
            chain: header.chain,
            records: 0,
        })
    }

    fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn add(&mut self, file: &dyn DiskFile, kind: u8, payload: &[u8]) -> io::Result<()> {
        self.encode(kind, payload, self.base);
        self.records += 1;
        if self.buffer.len() >= COMPACTION_BUFFER { self.write(file) } else { Ok(()) }
    }

    fn encode(&mut self, kind: u8, payload: &[u8], synced: u64) {
        let position = self.base + self.len();
        encode_record(&mut self.buffer, self.salt, position, synced, kind, payload, &mut self.chain);
    }

    fn write(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        write_all(file, &self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Seals and syncs. The seal may claim what this sync brings about, since the file has no name before it.
    fn finish(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        let synced = self.base + self.len();
        self.encode(KIND_SEAL, &[], synced);
        self.write(file)?;
        file.sync()
    }
}

fn failed(error: io::Error) -> CompactError {
    if is_full(&error) {
        return CompactError::Append(AppendError::DiskFull);
    }
    CompactError::Io(error.to_string().into())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
