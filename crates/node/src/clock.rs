//! What time it is, and waiting for a moment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use types::Timestamp;

/// Longest sleep before the clock is looked at again, so that a wall clock that was set forward is noticed soon.
const NAP_MAX: Duration = Duration::from_secs(1);

/// Where the driver reads the time.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's wall clock. It may be set forward and back while the process runs.
    System,
    /// Counts steadily from a given moment with the runtime's timer; stands still when that is paused. For tests.
    Steady {
        /// The time at `since`.
        epoch: Timestamp,
        /// When it was `epoch`.
        since: Instant,
    },
}

impl Clock {
    /// A steady clock that now shows `epoch`.
    #[must_use]
    pub fn steady(epoch: Timestamp) -> Self {
        Self::Steady { epoch, since: Instant::now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let millis = |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::System => Timestamp::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)),
            Self::Steady { epoch, since } => epoch.after(types::Millis::new(millis(since.elapsed()))),
        }
    }

    /// Returns at `moment`, or earlier: look at the clock then.
    pub(crate) async fn nap_until(&self, moment: Timestamp) {
        let left = Duration::from(moment.since(self.now()));
        let left = match self {
            Self::System => left.min(NAP_MAX),
            Self::Steady { .. } if moment == Timestamp::MAX => return std::future::pending().await,
            Self::Steady { .. } => left,
        };
        tokio::time::sleep(left).await;
    }
}
