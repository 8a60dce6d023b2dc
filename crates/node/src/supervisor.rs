//! Runs every long task of the process; the first to end ends all.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long all tasks together may take to end once they are told to.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Why a task ended badly, in words for people.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// Long tasks by name. Every one is expected to run until it is told to stop.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), TaskError>>,
    names: Vec<(Id, String)>,
    stop: CancellationToken,
}

/// How the process ended.
#[derive(Debug)]
pub struct Exit {
    /// What ended it.
    pub cause: Cause,
    /// Tasks that ended badly after that, with their reasons.
    pub also: Vec<(String, String)>,
    /// Tasks that were still running when the time was over or the end was forced. They were dropped.
    pub unfinished: Vec<String>,
}

/// What ended the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It was asked to stop.
    Asked,
    /// A task ended by itself, and nothing said that it should.
    Ended {
        /// Its name.
        task: String,
    },
    /// A task failed.
    Failed {
        /// Its name.
        task: String,
        /// Why.
        reason: String,
    },
}

impl Exit {
    /// Whether everything ended as it was asked to.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cause == Cause::Asked && self.also.is_empty() && self.unfinished.is_empty()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Asked => f.write_str("stopped as asked")?,
            Cause::Ended { task } => write!(f, "stopped because {task} ended")?,
            Cause::Failed { task, reason } => write!(f, "stopped because {task} failed: {reason}")?,
        }
        for (task, reason) in &self.also {
            write!(f, "; {task} failed while stopping: {reason}")?;
        }
        if !self.unfinished.is_empty() {
            write!(f, "; did not stop in time: {}", self.unfinished.join(", "))?;
        }
        Ok(())
    }
}

impl Supervisor {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when everything is to stop. Give it to each task; cancel it to stop the process.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task.
    pub fn spawn<F>(&mut self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), TaskError>> + Send + 'static,
    {
        let handle = self.tasks.spawn(task);
        self.names.push((handle.id(), name.into()));
    }

    /// Waits until a task ends or the process is asked to stop, then ends all: they are told to stop and have [`STOP_GRACE`] for it.
    /// When `force` is cancelled (a second signal), whatever still runs is dropped at once.
    pub async fn run(mut self, force: CancellationToken) -> Exit {
        let cause = tokio::select! {
            biased;
            () = force.cancelled() => Cause::Asked,
            () = self.stop.cancelled() => Cause::Asked,
            Some(ended) = self.tasks.join_next_with_id() => {
                let (task, outcome) = self.name(ended);
                // A stop and the end that it brings may be seen in either order.
                match outcome {
                    Ok(()) if self.stop.is_cancelled() => Cause::Asked,
                    Ok(()) => Cause::Ended { task },
                    Err(reason) => Cause::Failed { task, reason },
                }
            }
        };
        self.stop.cancel();
        let also = self.drain(&force).await;
        let unfinished = self.names.drain(..).map(|(_, name)| name).collect();
        self.tasks.abort_all();
        Exit { cause, also, unfinished }
    }

    /// Waits for the other tasks as long as they may take.
    async fn drain(&mut self, force: &CancellationToken) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        let over = tokio::time::sleep(STOP_GRACE);
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                () = force.cancelled() => return failed,
                () = &mut over => return failed,
                ended = self.tasks.join_next_with_id() => {
                    let Some(ended) = ended else { return failed };
                    let (task, outcome) = self.name(ended);
                    failed.extend(outcome.err().map(|reason| (task, reason)));
                }
            }
        }
    }

    /// Says which task it was and how it ended, and takes it off the list.
    fn name(&mut self, ended: Result<(Id, Result<(), TaskError>), JoinError>) -> (String, Result<(), String>) {
        let (id, outcome) = match ended {
            Ok((id, Ok(()))) => (id, Ok(())),
            Ok((id, Err(error))) => (id, Err(chain(&*error))),
            Err(error) => (error.id(), Err(panicked(error))),
        };
        let index = self.names.iter().position(|(known, _)| *known == id);
        let name = index.map_or_else(|| "a task".to_owned(), |index| self.names.swap_remove(index).1);
        (name, outcome)
    }
}

/// An error with all its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn panicked(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.as_deref().unwrap_or("no reason given"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    async fn until(stop: CancellationToken) -> Result<(), TaskError> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_fail_ends_all_and_is_named() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("rpc", until(supervisor.stop()));
        supervisor.spawn("driver", async { Err("the disk is full".into()) });
        let exit = supervisor.run(CancellationToken::new()).await;
        assert_eq!(exit.to_string(), "stopped because driver failed: the disk is full");
        assert!(exit.unfinished.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_an_early_end_are_reasons_too() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("driver", async { panic!("impossible") });
        let exit = supervisor.run(CancellationToken::new()).await;
        assert_eq!(exit.to_string(), "stopped because driver failed: it panicked: impossible");
        let mut supervisor = Supervisor::new();
        supervisor.spawn("rpc", async { Ok(()) });
        assert_eq!(supervisor.run(CancellationToken::new()).await.to_string(), "stopped because rpc ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_clean_and_the_slow_are_named_when_time_is_over() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("rpc", until(supervisor.stop()));
        supervisor.stop().cancel();
        assert!(supervisor.run(CancellationToken::new()).await.is_clean());

        let mut supervisor = Supervisor::new();
        supervisor.spawn("rpc", until(supervisor.stop()));
        supervisor.spawn("driver", std::future::pending());
        supervisor.stop().cancel();
        let begun = Instant::now();
        let exit = supervisor.run(CancellationToken::new()).await;
        assert_eq!(begun.elapsed(), STOP_GRACE);
        assert_eq!(exit.unfinished, ["driver"]);
        assert!(!exit.is_clean());
    }

    #[tokio::test(start_paused = true)]
    async fn force_ends_at_once() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("driver", std::future::pending());
        supervisor.stop().cancel();
        let force = CancellationToken::new();
        let begun = Instant::now();
        let second = force.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            second.cancel();
        });
        let exit = supervisor.run(force).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert_eq!(exit.unfinished, ["driver"]);
    }
}
