//! An order that is given again until it is answered well.

use serde::{Deserialize, Serialize};
use types::Timestamp;

use crate::Backoff;

/// Where an order stands: out and awaiting its answer, or failed and waiting to be given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    failures: u32,
    again: Option<Timestamp>,
}

impl Attempt {
    /// An order like those that failed so often in a row just before: it waits from the start.
    pub(crate) fn after(failures: u32, now: Timestamp, backoff: Backoff) -> Self {
        Self { failures, again: Some(now.after(backoff.wait(failures))) }
    }

    /// The order failed: wait longer than the last time.
    pub(crate) fn failed(&mut self, now: Timestamp, backoff: Backoff) {
        self.failures = self.failures.saturating_add(1);
        self.again = Some(now.after(backoff.wait(self.failures)));
    }

    /// How often in a row it failed.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Is it time to give the order again? Once said, the order counts as out.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> bool {
        let due = self.again.is_some_and(|again| again <= now);
        if due {
            self.again = None;
        }
        due
    }

    /// When the order is to be given again; `None` while it is out.
    pub(crate) const fn again(&self) -> Option<Timestamp> {
        self.again
    }
}
