//! The driver around the heart, in solo mode, and what health asks of it.

use std::sync::Arc;
use std::time::Duration;

use node::{
    Clock, Deadlines, Driver, DriverHandle, JournalOptions, JournalPlace, Metrics, Outside, Parts, Readiness,
    Supervisor,
};
use prometheus_client::registry::Registry;
use rpc::{Check, Finding, Health};
use sequencer::{AgreementConfig, Backoff, Config, Memory, Timetable};
use starknet::backend::StarknetBackend;
use types::{Millis, Timestamp};

use crate::exit::{Exit, Failure};

/// Folder of the journal in the data folder.
const JOURNAL: &str = "journal";

/// Sets the driver up and hands it to the supervisor. The handle must be kept for as long as the driver is to run.
///
/// # Errors
/// When the driver cannot start.
pub(super) async fn start(
    block_time: Duration,
    folder: &store::DataDir,
    backend: StarknetBackend,
    registry: &mut Registry,
    supervisor: &mut Supervisor,
) -> Result<DriverHandle, Failure> {
    let slot = Millis::new(u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX));
    // Slots are counted from the epoch of the wall clock, so that a restart goes on counting where it was.
    let timetable = Timetable::gapless(Timestamp::from_millis(0), slot)
        .map_err(|fault| Failure::new(Exit::Usage, format!("--seq-block-time: {fault}")))?;
    let config = Config { timetable, agreement: AgreementConfig::Solo, active: true, backoff: Backoff::default() };
    let backend = Arc::new(backend);
    let parts = Parts {
        backend: backend.clone(),
        persistence: backend,
        journal: Some(JournalPlace { folder: folder.join(JOURNAL), options: JournalOptions::default() }),
        metrics: Metrics::register(registry),
        clock: Clock::System,
        deadlines: Deadlines::default(),
        outside: Outside::default(),
    };
    // The chain brought itself up to the last block of its log when it was opened, so nothing is left to remember.
    let started = Driver::start(config, Memory::default(), parts).await;
    let (driver, handle) = started.map_err(|error| Failure::new(super::folder::exit_of(&error.to_string()), error))?;
    let stop = supervisor.stop();
    supervisor.spawn("driver", async move { driver.run(stop).await.map_err(Into::into) });
    Ok(handle)
}

/// The checks behind the health routes.
pub(super) fn health(handle: &DriverHandle) -> Health {
    let (live, ready) = (handle.pulse(), handle.pulse());
    let running = Check::new("driver", move || match live.has_changed() {
        Ok(_) => Finding::Good("the decision loop runs".to_owned()),
        Err(_) => Finding::Bad("the decision loop has ended".to_owned()),
    });
    let blocks = Check::new("blocks", move || match ready.borrow().readiness(Clock::System.now()) {
        Readiness::Ready(reason) => Finding::Good(reason),
        Readiness::NotReady(reason) => Finding::Bad(reason),
    });
    Health::new().live(running).ready(blocks)
}
