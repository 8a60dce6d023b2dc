//! Drives the heart: performs effects, keeps the journal, supervises.

mod backend;

pub use backend::{Backend, BackendError, PersistError, Persistence, Sealed};
