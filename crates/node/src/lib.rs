//! Drives the heart: performs effects, keeps the journal, supervises.
//!
//! The heart (crate `sequencer`) decides and never waits. Here is what waits for it: one task, the [`Driver`], owns the heart, hands it one
//! event at a time and performs the effects in order. What takes time is done elsewhere, with a deadline, and comes back as an event; only
//! [`Persistence`] is awaited, because what follows a record may not start before it is durable. From the pair of event and effects come
//! the line in the [`Journal`], which [`replay`] decides again, the [`Metrics`], and the [`Pulse`], which says why no block is built.
//! The [`Supervisor`] runs every long task of the process and ends all when one ends.
//!
//! What this crate deliberately does not know: what a block holds, how one is executed or stored, how messages travel or are signed, what is
//! served to whom. Those are behind [`Backend`], [`Persistence`] and the channels of [`Outside`].
//!
//! Start with [`Backend`] and [`Driver`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use node::fake::{FakeBackend, genesis};
//! use node::{Clock, Deadlines, Driver, Metrics, Outside, Parts, Supervisor};
//! use prometheus_client::registry::Registry;
//! use sequencer::{AgreementConfig, Backoff, Config, Memory, Timetable};
//! use tokio_util::sync::CancellationToken;
//! use types::Millis;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain = FakeBackend::new();
//! let mut registry = Registry::with_prefix("sequenza");
//! let timetable = Timetable::gapless(genesis().timestamp, Millis::new(200)).map_err(|fault| fault.to_string())?;
//! let config = Config { timetable, agreement: AgreementConfig::Solo, active: true, backoff: Backoff::default(), seal_lead_adapts: false, origins: None };
//! let parts = Parts {
//!     backend: Arc::new(chain.clone()),
//!     persistence: Arc::new(chain.clone()),
//!     journal: None,
//!     metrics: Metrics::register(&mut registry),
//!     clock: Clock::System,
//!     deadlines: Deadlines::default(),
//!     outside: Outside::default(),
//! };
//! let (driver, handle) = Driver::start(config, Memory::default(), parts).await?;
//!
//! let mut supervisor = Supervisor::new();
//! let stop = supervisor.stop();
//! supervisor.spawn("driver", async move { Ok(driver.run(stop).await?) });
//!
//! // Two blocks later the process is asked to stop, and everything ends.
//! let (mut pulse, stop) = (handle.pulse(), supervisor.stop());
//! supervisor.spawn("example", async move {
//!     pulse.wait_for(|pulse| pulse.head.number.as_u64() >= 2).await?;
//!     stop.cancel();
//!     Ok(())
//! });
//! let exit = supervisor.run(CancellationToken::new()).await;
//! assert!(exit.is_clean(), "{exit}");
//! assert!(chain.head().number.as_u64() >= 2);
//! # Ok(())
//! # }
//! ```

mod backend;
mod calls;
mod clock;
mod conductor;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod driver;
#[cfg(any(test, feature = "conformance"))]
pub mod fake;
mod journal;
mod l1_origins;
mod metrics;
mod phases;
mod pulse;
mod supervisor;

pub use backend::{Backend, BackendError, PersistError, Persistence, Sealed};
pub use calls::ConductorCall;
pub use clock::Clock;
pub use conductor::{Bearing, CommitError, Conductor, ConductorClient, ConductorHandle, ConductorStatus, Tenure, Word};
pub use driver::{Deadlines, Driver, DriverError, DriverHandle, JournalPlace, Outgoing, Outside, Parts};
pub use journal::{Difference, Journal, JournalOptions, Outcome, ReplayError, Start, Verdict, replay};
pub use l1_origins::{L1Origins, L1Unavailable};
pub use metrics::Metrics;
pub use pulse::{Blocked, BlockedBy, Party, Pulse, Readiness, Trouble};
pub use supervisor::{Cause, Exit, STOP_GRACE, Supervisor, TaskError};
