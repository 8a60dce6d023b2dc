//! The durable log that is the truth, and the tables derived from it.
//!
//! ```text
//!  what was acknowledged ──► Log: append-only, one sync for many records, never wrong after a crash
//!                             │
//!                             └──► Tables: ordered maps, written behind the log, rebuilt from it when in doubt
//! ```
//!
//! Three things live in a data folder. [`DataDir`] locks it and knows whose it is. A [`Log`] holds what others were told is safe: accepted
//! transactions, sealed blocks, vows. [`Tables`] make the contents findable; they name the block and the log position they stand at, and
//! catch up from there at the next start.
//!
//! What this crate deliberately does not know: what a block or a transaction is (records have a kind and bytes), any async runtime (a
//! [`Ticket`] is a plain future and can be waited for in a thread), and how anything is served.
//!
//! Start with [`Log`] and [`Tables`].
//!
//! ```
//! use store::{DataDir, Log, LogOptions, Position, Schema, Standing, Tables, TablesOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("data");
//! const BLOCK: u8 = 1;
//! let schema = Schema { version: 1, version_min: 1, identity: "example chain".into() };
//! let data = DataDir::open(&path, &schema)?;
//! let log = Log::open(data.join("blocks"), LogOptions::default())?;
//! let tables = Tables::open(data.join("tables"), &["blocks"], TablesOptions::default())?;
//! let blocks = tables.table("blocks")?;
//!
//! // Durable first; whoever is told about it may rely on it.
//! log.append(BLOCK, b"block 0").wait()?;
//!
//! // Then the tables, now or at the next start: apply what they have not seen.
//! let (next, from) = match tables.standing()? {
//!     Some(standing) => (standing.block + 1, standing.position),
//!     None => (0, Position::default()),
//! };
//! for (number, record) in (next..).zip(log.records(from)) {
//!     let record = record?;
//!     let mut batch = tables.batch();
//!     batch.put(&blocks, number.to_be_bytes(), record.position.to_u64().to_be_bytes());
//!     batch.commit(Standing { block: number, position: record.next })?;
//! }
//! assert_eq!(tables.standing()?.map(|standing| standing.block), Some(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod data_dir;
pub mod disk;
mod log;
mod tables;

pub use data_dir::{DataDir, OpenError, OpenErrorKind, Schema};
pub use log::{
    AppendError, CompactError, Compaction, Log, LogError, LogHealth, LogOptions, Mark, Position, ReadError, Record,
    Records, Ticket, Verify,
};
pub use tables::{Batch, Entries, Slice, Standing, Table, Tables, TablesError, TablesOptions, TablesSnapshot};
