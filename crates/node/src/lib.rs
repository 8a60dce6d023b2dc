//! Drives the heart: performs effects, keeps the journal, supervises.

mod backend;
mod calls;
mod clock;
mod driver;
mod journal;
mod metrics;
mod pulse;
mod supervisor;

pub use backend::{Backend, BackendError, PersistError, Persistence, Sealed};
pub use calls::ConductorCall;
pub use clock::Clock;
pub use driver::{Deadlines, Driver, DriverError, DriverHandle, JournalPlace, Outgoing, Outside, Parts};
pub use journal::{Difference, Journal, JournalOptions, Outcome, ReplayError, Start, Verdict, replay};
pub use metrics::Metrics;
pub use pulse::{Pulse, Readiness, Trouble};
pub use supervisor::{Cause, Exit, STOP_GRACE, Supervisor, TaskError};
