//! The durable log that is the truth, and the tables derived from it.
//!
//! *draft of the first page*

mod data_dir;
pub mod disk;
pub mod log;
mod tables;

pub use data_dir::{DataDir, OpenError, OpenErrorKind, Schema};
pub use log::{
    AppendError, CompactError, Compaction, Log, LogError, LogHealth, LogOptions, Mark, Position, ReadError, Record,
    Records, Ticket,
};
pub use tables::{Batch, Entries, Slice, Standing, Table, Tables, TablesError, TablesOptions, TablesSnapshot};
