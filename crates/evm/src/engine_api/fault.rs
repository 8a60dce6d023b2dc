//! Faults on order, for tests of who calls: a method that is slow, fails, or never answers.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::error::EngineError;

/// What a method does instead of its work, or before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Works after this time.
    Delay(Duration),
    /// Answers with this error and does nothing.
    Error(EngineError),
    /// Never answers and does nothing.
    Hang,
    /// Works, and never says so.
    Silence,
}

/// Methods with faults. None, unless a test sets some.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<BTreeMap<String, Fault>>);

impl Faults {
    pub(crate) fn set(&self, method: &str, fault: Option<Fault>) {
        let mut faults = self.0.lock();
        match fault {
            Some(fault) => faults.insert(method.to_owned(), fault),
            None => faults.remove(method),
        };
    }

    fn of(&self, method: &str) -> Option<Fault> {
        self.0.lock().get(method).cloned()
    }

    /// What comes before the method's work.
    pub(crate) async fn before(&self, method: &str) -> Result<(), EngineError> {
        match self.of(method) {
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Error(error)) => return Err(error),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Silence) | None => {}
        }
        Ok(())
    }

    /// What comes between the method's work and its answer.
    pub(crate) async fn after(&self, method: &str) {
        if self.of(method) == Some(Fault::Silence) {
            std::future::pending().await
        }
    }
}
