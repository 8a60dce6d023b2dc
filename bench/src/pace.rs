//! When the next transaction is due, for however many senders.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How fast a load comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As soon as a sender is free and there is room in the window.
    Closed,
    /// So many a second, whatever the chain does. Latency counts from when a transaction was due.
    PerSecond(f64),
}

impl Pace {
    /// Transactions to have ready for so many seconds; `most` a second where the chain decides.
    pub(crate) fn count(self, seconds: u64, most: usize) -> usize {
        match self {
            Self::Closed => most * seconds as usize,
            Self::PerSecond(rate) => (rate * seconds as f64).ceil() as usize,
        }
    }
}

/// Hands out numbers of transactions until its time is over.
pub(crate) struct Pacer {
    pub(crate) pace: Pace,
    pub(crate) started: Instant,
    pub(crate) ends: Instant,
    next: AtomicUsize,
    window: Semaphore,
}

impl Pacer {
    /// Begins now, with room for `window` transactions at once where the chain decides.
    pub(crate) fn start(pace: Pace, window: usize, lasts: Duration) -> Self {
        let started = Instant::now();
        Self { pace, started, ends: started + lasts, next: AtomicUsize::new(0), window: Semaphore::new(window) }
    }

    /// Waits until a transaction is due: its number, and since when it is. `None` when the time is over.
    pub(crate) async fn next(&self) -> Option<(usize, Instant)> {
        if Instant::now() >= self.ends {
            return None;
        }
        if self.pace == Pace::Closed {
            let wait = tokio::time::timeout_at(self.ends.into(), self.window.acquire()).await;
            // Given back when what became of the transaction is known.
            wait.ok()?.ok()?.forget();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.pace {
            Pace::Closed => Instant::now(),
            Pace::PerSecond(rate) => {
                let due = self.started + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        Some((number, due))
    }

    /// What became of so many transactions is known: as many may follow.
    pub(crate) fn make_room(&self, transactions: usize) {
        self.window.add_permits(transactions);
    }

    /// How many of so many transactions were handed out.
    pub(crate) fn taken(&self, of: usize) -> usize {
        self.next.load(Ordering::Relaxed).min(of)
    }

    /// Whether a closed loop ended early for want of transactions.
    pub(crate) fn ran_dry(&self, of: usize) -> bool {
        self.pace == Pace::Closed && self.taken(of) == of
    }
}
