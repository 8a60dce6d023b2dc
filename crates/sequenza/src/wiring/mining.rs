//! When an EVM chain on demand gets its next block: after a transaction, after a time, or when somebody asks.
//!
//! The heart makes one block for each demand and knows how; this only says when to demand one, and of what date.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use evm::rpc::{ChainClock, DevControl};
use evm::{EvmBackend, Pool};
use node::{DriverHandle, Pulse};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use types::Timestamp;

use crate::config::Mining;

/// Demands blocks of one chain.
pub(super) struct Miner {
    driver: DriverHandle,
    pulse: watch::Receiver<Pulse>,
    backend: EvmBackend,
    mode: watch::Sender<Mining>,
    /// One demand at a time, so that each sees its own block.
    turn: Mutex<()>,
}

/// The driver has ended, so no block will come.
struct Over;

impl Miner {
    pub(super) fn new(driver: DriverHandle, backend: EvmBackend, mode: Mining) -> Arc<Self> {
        let pulse = driver.pulse();
        Arc::new(Miner { driver, pulse, backend, mode: watch::Sender::new(mode), turn: Mutex::new(()) })
    }

    /// Demands a block of this date, in seconds since the epoch, and waits for it. A date that is not above the newest block's becomes the
    /// next second.
    async fn demand(&self, date: u64) -> Result<(), Over> {
        let _turn = self.turn.lock().await;
        let mut pulse = self.pulse.clone();
        let before = pulse.borrow_and_update().served;
        if !self.driver.demand(Timestamp::from_secs(date)).await {
            return Err(Over);
        }
        pulse.wait_for(|pulse| pulse.served > before).await.map(drop).map_err(|_| Over)
    }

    /// When the block is due for which so much time is left. It is begun now, so that little is left to do then.
    async fn await_block(&self, left: Duration, clock: &ChainClock) -> Instant {
        let due = Instant::now() + left;
        let date = clock.date_at(SystemTime::now() + left);
        // Whatever keeps it from being begun now is told when it is demanded.
        if let Err(error) = self.backend.expect(Timestamp::from_secs(date)).await {
            tracing::debug!(%error, "the next block was not begun ahead");
        }
        due
    }

    /// Demands blocks as the mode says, until told to stop.
    pub(super) async fn run(self: Arc<Self>, pool: Pool, clock: Arc<ChainClock>, stop: CancellationToken) {
        let mut changes = self.mode.subscribe();
        loop {
            let mode = *changes.borrow_and_update();
            let next = match mode {
                Mining::Each(time) => Some(self.await_block(until_next(time), &clock).await),
                Mining::EachTransaction | Mining::Asked => None,
            };
            let due = async {
                match mode {
                    Mining::EachTransaction => {
                        // What came while blocks were made otherwise has been announced already.
                        while !pool.has_ready() {
                            pool.arrived().await;
                        }
                    }
                    Mining::Each(_) | Mining::Asked => match next {
                        Some(next) => tokio::time::sleep_until(next).await,
                        None => std::future::pending().await,
                    },
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = changes.changed() => match changed {
                    Ok(()) => self.backend.expect_nothing().await,
                    Err(_) => return,
                },
                () = due => if self.demand(clock.take_date()).await.is_err() { return },
            }
        }
    }
}

#[async_trait]
impl DevControl for Miner {
    async fn mine(&self, date: u64) -> Result<(), String> {
        self.demand(date).await.map_err(|Over| "the process is stopping: no blocks are made any more".to_owned())
    }

    fn automine(&self) -> bool {
        *self.mode.borrow() == Mining::EachTransaction
    }

    fn set_automine(&self, on: bool) {
        self.mode.send_if_modified(|mode| {
            let next = match (on, *mode) {
                (true, _) => Mining::EachTransaction,
                (false, Mining::EachTransaction) => Mining::Asked,
                (false, other) => other,
            };
            std::mem::replace(mode, next) != next
        });
    }

    fn interval(&self) -> Option<Duration> {
        match *self.mode.borrow() {
            Mining::Each(time) => Some(time),
            Mining::EachTransaction | Mining::Asked => None,
        }
    }

    fn set_interval(&self, interval: Option<Duration>) {
        self.mode.send_if_modified(|mode| {
            let next = match (interval, *mode) {
                (Some(time), _) => Mining::Each(time),
                (None, Mining::Each(_)) => Mining::Asked,
                (None, other) => other,
            };
            std::mem::replace(mode, next) != next
        });
    }
}

/// From now to the next multiple of the block time, so that a restart goes on counting where it was.
fn until_next(block_time: Duration) -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let into = since.as_nanos() % block_time.as_nanos().max(1);
    block_time.saturating_sub(Duration::from_nanos(u64::try_from(into).unwrap_or_default()))
}
