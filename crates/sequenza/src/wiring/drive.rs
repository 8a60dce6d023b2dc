//! The driver around the heart, in solo mode, and what health asks of it.

use std::sync::Arc;
use std::time::Duration;

use node::{
    Backend, Blocked, Clock, Deadlines, Driver, DriverHandle, JournalOptions, JournalPlace, Metrics, Outside, Parts,
    Persistence, Readiness,
};
use rpc::{Check, Fault, Finding, Health};
use sequencer::{AgreementConfig, Backoff, Config, Memory, Timetable};
use types::{Millis, Timestamp};

use super::process::Process;
use crate::exit::{Exit, Failure};

/// Folder of the journal in the data folder.
const JOURNAL: &str = "journal";

/// Slots of this length.
///
/// # Errors
/// When it is too short or too long; names the flag that said it.
pub(super) fn each(flag: &str, block_time: Duration) -> Result<Timetable, Failure> {
    let slot = Millis::new(u64::try_from(block_time.as_millis()).unwrap_or(u64::MAX));
    // Slots are counted from the epoch of the wall clock, so that a restart goes on counting where it was.
    Timetable::gapless(Timestamp::from_millis(0), slot)
        .map_err(|fault| Failure::new(Exit::Usage, format!("--{flag}: {fault}")))
}

/// Sets the driver up and hands it to the supervisor. The handle must be kept for as long as the driver is to run.
///
/// # Errors
/// When the driver cannot start.
pub(super) async fn start<B: Backend + Persistence>(
    timetable: Timetable,
    agreement: AgreementConfig,
    folder: &store::DataDir,
    backend: Arc<B>,
    process: &mut Process,
) -> Result<DriverHandle, Failure> {
    let config = Config {
        timetable,
        agreement,
        active: true,
        backoff: Backoff::default(),
        seal_lead_adapts: false,
        origins: None,
    };
    // The chain brought itself up to the last block of its log when it was opened, so nothing is left to remember.
    let outside = Outside::default();
    let heart = (config, Memory::default());
    start_with(heart, folder, backend.clone(), backend, (outside, Deadlines::default()), process).await
}

/// The same for a heart that remembers, whose blocks are kept beside the backend, and in which others take part, who may take so long.
///
/// # Errors
/// When the driver cannot start.
pub(super) async fn start_with(
    (config, memory): (Config, Memory),
    folder: &store::DataDir,
    backend: Arc<dyn Backend>,
    persistence: Arc<dyn Persistence>,
    (outside, deadlines): (Outside, Deadlines),
    process: &mut Process,
) -> Result<DriverHandle, Failure> {
    let parts = Parts {
        backend,
        persistence,
        journal: Some(JournalPlace { folder: folder.join(JOURNAL), options: JournalOptions::default() }),
        metrics: Metrics::register(&mut process.registry),
        clock: Clock::System,
        deadlines,
        outside,
    };
    let started = Driver::start(config, memory, parts).await;
    let (driver, handle) = started.map_err(|error| Failure::new(super::folder::exit_of(&error.to_string()), error))?;
    let stop = process.supervisor.stop();
    process.supervisor.spawn("driver", async move { driver.run(stop).await.map_err(Into::into) });
    Ok(handle)
}

/// The checks behind the health routes.
pub(super) fn health(handle: &DriverHandle) -> Health {
    health_with(handle, as_told)
}

/// The same, where `explain` knows more about what keeps blocks from coming.
pub(super) fn health_with(handle: &DriverHandle, explain: impl Fn(Blocked) -> Fault + Send + Sync + 'static) -> Health {
    let (live, ready) = (handle.pulse(), handle.pulse());
    let running = Check::new("driver", move || match live.has_changed() {
        Ok(_) => Finding::Good("the decision loop runs".to_owned()),
        Err(_) => Finding::Bad(Fault {
            cause: "ended".to_owned(),
            reason: "the decision loop has ended".to_owned(),
            remedy: "read the last error in the log, and start the process again".to_owned(),
        }),
    });
    let blocks = Check::new("blocks", move || match ready.borrow().readiness(Clock::System.now()) {
        Readiness::Ready(reason) => Finding::Good(reason),
        Readiness::NotReady(blocked) => Finding::Bad(explain(blocked)),
    });
    Health::new().live(running).ready(blocks)
}

/// What the driver says by itself.
pub(super) fn as_told(blocked: Blocked) -> Fault {
    let Blocked { cause, why, remedy } = blocked;
    Fault { cause: cause.to_string(), reason: why, remedy }
}
