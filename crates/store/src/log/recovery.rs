//! Opening a log: find the segments, verify them, cut what a crash left unfinished.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::format::{BadHeader, BadRecord, Chain, FORMAT_VERSION, SEGMENT_HEADER, SegmentHeader, Window, next_chain};
use super::{LogError, LogOptions, Segment, Verify};
use crate::disk::{Disk, DiskFile, read_full, write_all};

pub(super) const SEGMENT_SUFFIX: &str = ".log";
pub(super) const DRAFT_SUFFIX: &str = ".tmp";

/// A verified log, ready for more.
pub(super) struct Recovered {
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    pub(super) last: Arc<Segment>,
    pub(super) salt: u64,
    pub(super) chain: Chain,
    pub(super) end: u64,
}

pub(super) fn segment_path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:016x}{SEGMENT_SUFFIX}"))
}

struct Found {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
    header: Result<SegmentHeader, BadHeader>,
}

pub(super) fn recover(disk: &dyn Disk, folder: &Path, options: &LogOptions) -> Result<Recovered, LogError> {
    let mut found = find(disk, folder)?;
    drop_unfinished(disk, &mut found)?;
    drop_superseded(disk, folder, &mut found)?;
    if found.is_empty() {
        return create(disk, folder);
    }
    let (segments, headers) = linked(found)?;
    let recovered = verify(segments, &headers, options)?;
    // A name that the killed process gave may not be durable yet, and records go there from now on.
    disk.sync_folder(folder).map_err(|error| LogError::io(folder, error))?;
    Ok(recovered)
}

/// All segment files with their headers, by base.
fn find(disk: &dyn Disk, folder: &Path) -> Result<BTreeMap<u64, Found>, LogError> {
    let mut found = BTreeMap::new();
    for name in disk.list(folder).map_err(|error| LogError::io(folder, error))? {
        let path = folder.join(&name);
        if name.ends_with(DRAFT_SUFFIX) {
            disk.remove(&path).map_err(|error| LogError::io(&path, error))?;
        }
        let base = name.strip_suffix(SEGMENT_SUFFIX).filter(|digits| digits.len() == 16);
        let Some(base) = base.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else {
            continue;
        };
        let read = || -> io::Result<Found> {
            let file = disk.open(&path)?;
            let mut bytes = [0; SEGMENT_HEADER];
            let read = read_full(&*file, &mut bytes, 0)?;
            let header = SegmentHeader::decode(&bytes[..read]);
            Ok(Found { path: path.clone(), len: file.len()?, file, header })
        };
        let segment = read().map_err(|error| LogError::io(&path, error))?;
        if let Err(BadHeader::Newer(version)) = segment.header {
            return Err(LogError::NewerFormat { segment: path, found: version, known: FORMAT_VERSION });
        }
        found.insert(base, segment);
    }
    Ok(found)
}

/// The header is durable before the first record is written: a last file with a bad header and no more than a header's length
/// is one whose creation the crash cut off.
fn drop_unfinished(disk: &dyn Disk, found: &mut BTreeMap<u64, Found>) -> Result<(), LogError> {
    let unfinished =
        found.last_entry().filter(|last| last.get().header.is_err() && last.get().len <= SEGMENT_HEADER as u64);
    let Some(last) = unfinished else { return Ok(()) };
    let segment = last.remove();
    disk.remove(&segment.path).map_err(|error| LogError::io(&segment.path, error))
}

/// A compaction writes the whole log anew into one segment, gives it its name and then removes the others.
fn drop_superseded(disk: &dyn Disk, folder: &Path, found: &mut BTreeMap<u64, Found>) -> Result<(), LogError> {
    let origin = found.iter().rev().find(|(_, s)| s.header.is_ok_and(|header| header.origin));
    let Some((&origin, _)) = origin else { return Ok(()) };
    let kept = found.split_off(&origin);
    let superseded = std::mem::replace(found, kept);
    if !superseded.is_empty() {
        // The new name first, then the end of the old ones.
        disk.sync_folder(folder).map_err(|error| LogError::io(folder, error))?;
    }
    for segment in superseded.values() {
        disk.remove(&segment.path).map_err(|error| LogError::io(&segment.path, error))?;
    }
    Ok(())
}

/// Checks that the segments follow each other without a gap, from the one at which the log begins.
fn linked(found: BTreeMap<u64, Found>) -> Result<(Vec<Arc<Segment>>, Vec<SegmentHeader>), LogError> {
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(found.len());
    let mut headers: Vec<SegmentHeader> = Vec::with_capacity(found.len());
    for (base, Found { path, file, len, header }) in found {
        let corrupt = |offset, reason: String| LogError::Corrupt { segment: path.clone(), offset, reason };
        let header = header.map_err(|bad| corrupt(0, bad.to_string()))?;
        if header.base != base {
            return Err(corrupt(20, format!("its header says that it begins at {:#x}", header.base)));
        }
        match (headers.last(), segments.last()) {
            (Some(first), Some(before)) => {
                let end = before.base + before.len.load(std::sync::atomic::Ordering::Relaxed);
                if end != base {
                    return Err(LogError::Corrupt {
                        segment: before.path.clone(),
                        offset: end - before.base,
                        reason: format!("it ends at {end:#x}, but the next segment begins at {base:#x}"),
                    });
                }
                if first.salt != header.salt {
                    return Err(corrupt(12, "it belongs to another log".to_owned()));
                }
            }
            _ if header.origin => {}
            _ => {
                return Err(corrupt(0, "the segments before this one are missing".to_owned()));
            }
        }
        segments.push(Arc::new(Segment { path, base, len: AtomicU64::new(len), file }));
        headers.push(header);
    }
    Ok((segments, headers))
}

fn verify(segments: Vec<Arc<Segment>>, headers: &[SegmentHeader], options: &LogOptions) -> Result<Recovered, LogError> {
    let mut end = 0;
    let mut chain = [0; 32];
    let count = segments.len();
    for (index, (segment, header)) in segments.iter().zip(headers).enumerate() {
        let last = index + 1 == count;
        if last || options.verify == Verify::All {
            let scan = scan(segment, header)?;
            if last {
                settle(segment, &scan, header.salt)?;
                end = segment.base + scan.len;
                chain = scan.chain;
            } else {
                complete(segment, &scan, &headers[index + 1])?;
            }
        }
    }
    let salt = headers[count - 1].salt;
    let last = Arc::clone(&segments[count - 1]);
    let segments = segments.into_iter().map(|segment| (segment.base, segment)).collect();
    Ok(Recovered { segments, last, salt, chain, end })
}

/// What is sound in a segment, from its beginning.
struct Scan {
    /// Bytes of header and sound records.
    len: u64,
    chain: Chain,
    /// Position up to which the sound records prove the log to have been durable.
    proven: u64,
    /// What follows the sound records, when it is not the end of the file.
    bad: Option<BadRecord>,
}

fn scan(segment: &Segment, header: &SegmentHeader) -> Result<Scan, LogError> {
    let io = |error| LogError::io(&segment.path, error);
    let file_len = segment.file.len().map_err(io)?;
    let mut window = Window::default();
    let mut scan = Scan { len: SEGMENT_HEADER as u64, chain: header.chain, proven: segment.base, bad: None };
    while scan.len < file_len {
        let position = segment.base + scan.len;
        let record = window.record(&*segment.file, scan.len, file_len, header.salt, position).map_err(io)?;
        let record = record.and_then(|head| {
            let chain = next_chain(&scan.chain, head.kind, window.payload(&head));
            if chain == head.chain { Ok(head) } else { Err(BadRecord::Chain) }
        });
        match record {
            Ok(head) => {
                scan.len += head.encoded_len() as u64;
                scan.chain = head.chain;
                scan.proven = scan.proven.max(head.synced);
            }
            Err(bad) => {
                scan.bad = Some(bad);
                break;
            }
        }
    }
    Ok(scan)
}

/// A segment that another one follows was synced whole before that one was created.
fn complete(segment: &Segment, scan: &Scan, next: &SegmentHeader) -> Result<(), LogError> {
    let reason = match scan.bad {
        Some(bad) => bad.to_string(),
        None if scan.chain != next.chain => "its records are not those that the next segment continues".to_owned(),
        None => return Ok(()),
    };
    Err(LogError::Corrupt { segment: segment.path.clone(), offset: scan.len, reason })
}

/// Decides what the end of the last segment is: damage, or a write that nobody was told about, which is then cut.
///
/// The records behind the proven position are written once more and synced: a process that died of a failed sync leaves pages
/// that read well and are not on the disk.
fn settle(segment: &Segment, scan: &Scan, salt: u64) -> Result<(), LogError> {
    let io = |error| LogError::io(&segment.path, error);
    if let Some(bad) = scan.bad {
        if proven_behind(segment, scan.len, salt).map_err(io)? {
            return Err(LogError::Corrupt {
                segment: segment.path.clone(),
                offset: scan.len,
                reason: format!("{bad}, while later records prove that it had been acknowledged"),
            });
        }
        segment.file.set_len(scan.len).map_err(io)?;
    }
    let from = scan.proven.saturating_sub(segment.base).min(scan.len);
    let mut tail = vec![0; usize::try_from(scan.len - from).unwrap_or(0)];
    let read = read_full(&*segment.file, &mut tail, from).map_err(io)?;
    write_all(&*segment.file, &tail[..read], from).map_err(io)?;
    segment.file.sync().map_err(io)?;
    segment.len.store(scan.len, std::sync::atomic::Ordering::Release);
    Ok(())
}

/// Whether a sound record behind `offset` says that the log was durable beyond `offset` when it was written.
fn proven_behind(segment: &Segment, offset: u64, salt: u64) -> io::Result<bool> {
    let file_len = segment.file.len()?;
    let mut window = Window::default();
    let mut at = offset + 8;
    while at < file_len {
        let left = usize::try_from(file_len - at).unwrap_or(usize::MAX);
        if window.smells_of_record(&*segment.file, at, left)?
            && let Ok(head) = window.record(&*segment.file, at, file_len, salt, segment.base + at)?
            && head.synced > segment.base + offset
        {
            return Ok(true);
        }
        at += 8;
    }
    Ok(false)
}

fn create(disk: &dyn Disk, folder: &Path) -> Result<Recovered, LogError> {
    let header = SegmentHeader { origin: true, salt: new_salt(), base: 0, chain: [0; 32] };
    let segment = create_segment(disk, folder, &header)?;
    // The folder may be as new as the log.
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_folder(parent).map_err(|error| LogError::io(parent, error))?;
    }
    Ok(Recovered {
        segments: BTreeMap::from([(0, Arc::clone(&segment))]),
        last: segment,
        salt: header.salt,
        chain: header.chain,
        end: SEGMENT_HEADER as u64,
    })
}

/// Creates a segment whose header and name are durable when this returns.
pub(super) fn create_segment(disk: &dyn Disk, folder: &Path, header: &SegmentHeader) -> Result<Arc<Segment>, LogError> {
    let path = segment_path(folder, header.base);
    let write = || -> io::Result<Arc<dyn DiskFile>> {
        let file = disk.create(&path)?;
        write_all(&*file, &header.encode(), 0)?;
        file.sync()?;
        disk.sync_folder(folder)?;
        Ok(file)
    };
    let file = write().map_err(|error| LogError::io(&path, error))?;
    let len = AtomicU64::new(SEGMENT_HEADER as u64);
    Ok(Arc::new(Segment { path, base: header.base, len, file }))
}

/// Unpredictable from outside; it need not be secret from those who can read the folder.
fn new_salt() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
