//! Bytes of segments and records.
//!
//! ```text
//! segment header, 64 bytes                        record, 56 bytes and the payload, padded to 8
//!   0 magic "SEQZLOG\n"                             0 magic
//!   8 format version, u16                           4 payload length, u32
//!  10 flags, u16: 1 = the log begins here           8 distance to the synced end when this was written, u32
//!  12 salt, u64                                    12 kind, u8, and three zero bytes
//!  20 base: position of the header, u64            16 chain: blake3(chain before, kind, length, payload)
//!  28 chain before the first record, 32            48 crc32c over salt, position and all other bytes of the record
//!  60 crc32c over the 60 bytes before              52 zero
//! ```
//! Numbers are little-endian. The salt differs from log to log, so that nobody outside can craft a payload which contains what
//! looks like a record; the position in the checksum makes a record that was written elsewhere a bad one.

use std::fmt;
use std::io;

use crate::disk::{DiskFile, read_full};

pub(super) const SEGMENT_HEADER: usize = 64;
pub(super) const RECORD_HEADER: usize = 56;
/// Kinds from here on belong to the log.
pub(super) const KIND_INTERNAL_MIN: u8 = 0xf0;
/// Everything before this record was durable when it was written.
pub(super) const KIND_SEAL: u8 = 0xff;
/// Largest payload that the format allows.
pub(super) const PAYLOAD_MAX: usize = 1 << 30;
pub(super) const FORMAT_VERSION: u16 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"SEQZLOG\n";
const RECORD_MAGIC: [u8; 4] = [0x5e, 0xc0, 0x4d, 0xa7];
const FLAG_ORIGIN: u16 = 1;
/// How much a window reads ahead.
const WINDOW_BYTES: usize = 1 << 20;

/// Hash over all records so far.
pub(super) type Chain = [u8; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Whether the log begins here, so that segments before it are superseded.
    pub(super) origin: bool,
    pub(super) salt: u64,
    pub(super) base: u64,
    pub(super) chain: Chain,
}

/// Why a segment header was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    Short,
    Magic,
    Checksum,
    Newer(u16),
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the segment header is cut short"),
            Self::Magic => f.write_str("the segment header does not begin with its magic word"),
            Self::Checksum => f.write_str("the checksum of the segment header does not match"),
            Self::Newer(version) => write!(f, "format version {version} is not known"),
        }
    }
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        let flags = if self.origin { FLAG_ORIGIN } else { 0 };
        out[..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&flags.to_le_bytes());
        out[12..20].copy_from_slice(&self.salt.to_le_bytes());
        out[20..28].copy_from_slice(&self.base.to_le_bytes());
        out[28..60].copy_from_slice(&self.chain);
        let checksum = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes: &[u8; SEGMENT_HEADER] = bytes.first_chunk().ok_or(BadHeader::Short)?;
        if bytes[..8] != SEGMENT_MAGIC {
            return Err(BadHeader::Magic);
        }
        if crc32c::crc32c(&bytes[..60]).to_le_bytes() != bytes[60..] {
            return Err(BadHeader::Checksum);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != FORMAT_VERSION {
            return Err(BadHeader::Newer(version));
        }
        let flags = u16::from_le_bytes([bytes[10], bytes[11]]);
        let mut chain = [0; 32];
        chain.copy_from_slice(&bytes[28..60]);
        Ok(Self { origin: flags & FLAG_ORIGIN != 0, salt: number(bytes, 12), base: number(bytes, 20), chain })
    }
}

/// A record header that was found sound together with its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) kind: u8,
    pub(super) len: usize,
    /// Everything before this position was durable when the record was written.
    pub(super) synced: u64,
    pub(super) chain: Chain,
}

impl RecordHead {
    pub(super) fn encoded_len(&self) -> usize {
        encoded_len(self.len)
    }
}

/// Why there is no sound record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadRecord {
    Short,
    Magic,
    Length(usize),
    Checksum,
    Chain,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the file ends within a record"),
            Self::Magic => f.write_str("no record begins there"),
            Self::Length(len) => write!(f, "a record of {len} bytes goes beyond the file"),
            Self::Checksum => f.write_str("the checksum of the record does not match"),
            Self::Chain => f.write_str("the record does not continue the hash chain"),
        }
    }
}

/// Bytes that a record with a payload of `len` takes.
pub(super) const fn encoded_len(len: usize) -> usize {
    RECORD_HEADER + len.next_multiple_of(8)
}

/// Appends a record to `out` and moves `chain` on.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    salt: u64,
    position: u64,
    synced: u64,
    kind: u8,
    payload: &[u8],
    chain: &mut Chain,
) {
    *chain = next_chain(chain, kind, payload);
    let start = out.len();
    // Both fit: payloads are at most PAYLOAD_MAX, and a batch is bounded by the queue; a distance that does not fit says less
    // than could be said, which is safe.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let distance = u32::try_from(position.saturating_sub(synced)).unwrap_or(u32::MAX);
    out.reserve(encoded_len(payload.len()));
    out.extend_from_slice(&RECORD_MAGIC);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&distance.to_le_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(chain);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(payload);
    out.resize(start + encoded_len(payload.len()), 0);
    let checksum = checksum(salt, position, &out[start..]);
    out[start + 48..start + 52].copy_from_slice(&checksum.to_le_bytes());
}

pub(super) fn next_chain(chain: &Chain, kind: u8, payload: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chain);
    hasher.update(&[kind]);
    hasher.update(&(payload.len() as u64).to_le_bytes());
    hasher.update(payload);
    *hasher.finalize().as_bytes()
}

/// Over everything in the record but the checksum itself.
fn checksum(salt: u64, position: u64, record: &[u8]) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&salt.to_le_bytes());
    seed[8..].copy_from_slice(&position.to_le_bytes());
    let head = crc32c::crc32c_append(crc32c::crc32c(&seed), &record[..48]);
    crc32c::crc32c_append(head, &record[52..])
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// A stretch of a segment in memory, moved along as records are read.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Offset in the file of `bytes[0]`.
    offset: u64,
    /// Where in `bytes` the payload of the last record begins.
    payload: usize,
    ahead: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { bytes: Vec::new(), offset: 0, payload: 0, ahead: WINDOW_BYTES }
    }
}

impl Window {
    /// A window that reads ahead only a little: for a single record.
    pub(super) fn exact() -> Self {
        Self { ahead: 4096, ..Self::default() }
    }

    /// Checks the record at `offset` in a file that is good for `file_len` bytes.
    pub(super) fn record(
        &mut self,
        file: &dyn DiskFile,
        offset: u64,
        file_len: u64,
        salt: u64,
        position: u64,
    ) -> io::Result<Result<RecordHead, BadRecord>> {
        let left = usize::try_from(file_len.saturating_sub(offset)).unwrap_or(usize::MAX);
        if left < RECORD_HEADER {
            return Ok(Err(BadRecord::Short));
        }
        let Some(at) = self.load(file, offset, RECORD_HEADER, left)? else {
            return Ok(Err(BadRecord::Short));
        };
        let header = &self.bytes[at..at + RECORD_HEADER];
        if header[..4] != RECORD_MAGIC {
            return Ok(Err(BadRecord::Magic));
        }
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if len > PAYLOAD_MAX || encoded_len(len) > left {
            return Ok(Err(BadRecord::Length(len)));
        }
        let Some(at) = self.load(file, offset, encoded_len(len), left)? else {
            return Ok(Err(BadRecord::Short));
        };
        let record = &self.bytes[at..at + encoded_len(len)];
        let stored = u32::from_le_bytes([record[48], record[49], record[50], record[51]]);
        if checksum(salt, position, record) != stored {
            return Ok(Err(BadRecord::Checksum));
        }
        let distance = u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
        let mut chain = [0; 32];
        chain.copy_from_slice(&record[16..48]);
        let head = RecordHead { kind: record[12], len, synced: position.saturating_sub(u64::from(distance)), chain };
        self.payload = at + RECORD_HEADER;
        Ok(Ok(head))
    }

    /// Payload of the record that was checked last.
    pub(super) fn payload(&self, head: &RecordHead) -> &[u8] {
        &self.bytes[self.payload..self.payload + head.len]
    }

    /// Whether a record could begin at `offset`: a cheap look before [`Window::record`].
    pub(super) fn smells_of_record(&mut self, file: &dyn DiskFile, offset: u64, left: usize) -> io::Result<bool> {
        let at = self.load(file, offset, RECORD_MAGIC.len(), left)?;
        Ok(at.is_some_and(|at| self.bytes[at..].starts_with(&RECORD_MAGIC)))
    }

    /// Has `want` bytes from `offset` in memory and says where in `bytes`; `None` when the file is shorter.
    fn load(&mut self, file: &dyn DiskFile, offset: u64, want: usize, left: usize) -> io::Result<Option<usize>> {
        let end = self.offset + self.bytes.len() as u64;
        if offset < self.offset || offset + want as u64 > end {
            self.bytes.resize(want.max(self.ahead.min(left)), 0);
            self.offset = offset;
            let read = read_full(file, &mut self.bytes, offset);
            let read = read.inspect_err(|_| self.bytes.clear())?;
            self.bytes.truncate(read);
        }
        let at = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
        Ok((self.bytes.len().saturating_sub(at) >= want).then_some(at))
    }
}
