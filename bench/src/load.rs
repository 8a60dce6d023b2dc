//! Sends signed transfers and times what becomes of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hdrhistogram::Histogram;
use rayon::prelude::*;
use serde_json::{Value, json};
use starknet_types_core::felt::Felt;

use crate::PATIENCE;
use crate::account::{Account, hex};
use crate::endpoint::{Endpoint, request};
use crate::pace::{Pace, Pacer};
use crate::watch::{Method, Sight, Watch};
use crate::{report, server};

/// Most transactions signed for one run: an end for a run against a chain that is faster than anyone expects.
const TRANSACTIONS_MAX: usize = 200_000;
/// Rejections that are quoted in the report.
const QUOTES_MAX: usize = 3;

/// What a run looks like, whatever its pace.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shape {
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Seconds of load before the measurement
    #[arg(long, default_value_t = 5)]
    pub(crate) warm_up: u64,
    /// Closed loop: transactions sent and not pre-confirmed yet, at most
    #[arg(long, default_value_t = 128)]
    pub(crate) in_flight: usize,
    /// Connections that send
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Closed loop: transactions a second that are signed ahead for
    #[arg(long, default_value_t = 600)]
    pub(crate) sign_for: usize,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) pace: Pace,
    pub(crate) watched_by: Method,
    /// Transactions pre-confirmed within the measured time (and accepted and not reverted by the end) for each second of it.
    pub(crate) included_per_second: f64,
    pub(crate) sent: usize,
    pub(crate) rejected: usize,
    pub(crate) quotes: Vec<String>,
    pub(crate) reverted: usize,
    /// Taken by the RPC and never seen in a block.
    pub(crate) lost: usize,
    /// Whether a closed loop ended early for want of signed transactions.
    pub(crate) ran_dry: bool,
    /// Processors that the server used while it was measured, if its process is known.
    pub(crate) processors: Option<f64>,
    /// Microseconds.
    pub(crate) answered: Histogram<u64>,
    pub(crate) pre_confirmed: Histogram<u64>,
    pub(crate) accepted: Histogram<u64>,
}

/// One transaction's life.
#[derive(Debug, Clone, Copy)]
struct Life {
    due: Instant,
    answered: Option<Instant>,
    pre_confirmed: Option<Instant>,
    accepted: Option<Instant>,
    rejected: bool,
    reverted: bool,
}

/// What senders and watcher share.
struct Run {
    endpoint: Endpoint,
    bodies: Vec<(Felt, String)>,
    pacer: Pacer,
    lives: Mutex<HashMap<Felt, Life>>,
    quotes: Mutex<Vec<String>>,
}

/// Signs, sends for as long as `shape` says, waits for the last block, and sums up. `pid` is the server's process, if known.
pub(crate) async fn run(
    endpoint: &Endpoint,
    accounts: &[Account],
    pace: Pace,
    shape: &Shape,
    pid: Option<u32>,
) -> anyhow::Result<Outcome> {
    if accounts.len() < 2 {
        bail!("a load needs at least two accounts, there are {}", accounts.len());
    }
    let seconds = shape.seconds + shape.warm_up;
    let wanted = pace.count(seconds, shape.sign_for);
    let bodies = sign(endpoint, accounts, wanted.min(TRANSACTIONS_MAX)).await?;
    let mut watch = Watch::start(endpoint).await?;
    let watched_by = watch.method;
    eprintln!("{} transactions signed, sending …", bodies.len());

    let run = Arc::new(Run {
        endpoint: endpoint.clone(),
        bodies,
        pacer: Pacer::start(pace, shape.in_flight, Duration::from_secs(seconds)),
        lives: Mutex::new(HashMap::new()),
        quotes: Mutex::new(Vec::new()),
    });
    let senders: Vec<_> = (0..shape.connections).map(|_| tokio::spawn(Arc::clone(&run).send_all())).collect();
    let watcher = {
        let run = Arc::clone(&run);
        tokio::spawn(async move {
            while let Some(sight) = watch.sights.recv().await {
                run.saw(sight);
            }
        })
    };
    let processors = match pid {
        Some(pid) => {
            let from = run.pacer.started + Duration::from_secs(shape.warm_up);
            Some(server::processors(pid, from, run.pacer.ends).await?)
        }
        None => None,
    };
    for sender in senders {
        sender.await?;
    }
    run.settle().await;
    watcher.abort();
    Ok(Outcome { processors, ..run.outcome(shape, watched_by) })
}

/// Transfers in the order to send them: one of each account, then the next of each, so that an account's transactions are as far
/// apart as can be.
async fn sign(endpoint: &Endpoint, accounts: &[Account], count: usize) -> anyhow::Result<Vec<(Felt, String)>> {
    let chain_id: Felt = endpoint.call("starknet_chainId", json!([])).await?;
    let mut nonces = Vec::with_capacity(accounts.len());
    for account in accounts {
        let params = json!({"block_id": "latest", "contract_address": hex(&account.address)});
        let nonce: Felt = endpoint.call("starknet_getNonce", params).await?;
        nonces.push(u64::try_from(nonce).map_err(|_| anyhow::anyhow!("nonce {nonce:#x} of an account"))?);
    }
    let bodies = (0..count)
        .into_par_iter()
        .map(|number| {
            let (round, index) = (number / accounts.len(), number % accounts.len());
            let recipient = accounts[(index + accounts.len() / 2) % accounts.len()].address;
            let signed = accounts[index].transfer(chain_id, nonces[index] + round as u64, recipient);
            let params = json!({"invoke_transaction": signed.json});
            (signed.hash, request("starknet_addInvokeTransaction", &params))
        })
        .collect();
    Ok(bodies)
}

impl Run {
    async fn send_all(self: Arc<Self>) {
        while let Some((number, due)) = self.pacer.next().await {
            let Some((hash, body)) = self.bodies.get(number) else { return };
            self.send(*hash, body.clone(), due).await;
        }
    }

    async fn send(&self, hash: Felt, body: String, due: Instant) {
        let life = Life { due, answered: None, pre_confirmed: None, accepted: None, rejected: false, reverted: false };
        self.lives().insert(hash, life);
        let answer: anyhow::Result<Value> = self.endpoint.send(body).await;
        let at = Instant::now();
        let mut lives = self.lives();
        let Some(life) = lives.get_mut(&hash) else { return };
        life.answered = Some(at);
        if let Err(error) = answer {
            life.rejected = true;
            drop(lives);
            self.pacer.make_room(1);
            let mut quotes = self.quotes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if quotes.len() < QUOTES_MAX {
                quotes.push(format!("{error:#}"));
            }
        }
    }

    fn saw(&self, sight: Sight) {
        let mut lives = self.lives();
        match sight {
            Sight::PreConfirmed { hash, at, reverted } => {
                let Some(life) = lives.get_mut(&hash) else { return };
                if life.pre_confirmed.is_none() {
                    life.pre_confirmed = Some(at);
                    life.reverted = reverted;
                    self.pacer.make_room(1);
                }
            }
            Sight::Accepted { hash, at } => {
                let Some(life) = lives.get_mut(&hash) else { return };
                life.accepted.get_or_insert(at);
                // Its pre-confirmation was missed; the window must not shrink for that.
                if life.pre_confirmed.is_none() {
                    life.pre_confirmed = Some(at);
                    self.pacer.make_room(1);
                }
            }
        }
    }

    /// Waits until every transaction that the RPC took is in a block, but not forever.
    async fn settle(&self) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && self.lives().values().any(|life| !life.rejected && life.accepted.is_none()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn outcome(&self, shape: &Shape, watched_by: Method) -> Outcome {
        let from = self.pacer.started + Duration::from_secs(shape.warm_up);
        let measured = |at: Instant| (from..self.pacer.ends).contains(&at);
        let lives = self.lives();
        let mut outcome = Outcome {
            pace: self.pacer.pace,
            watched_by,
            included_per_second: 0.0,
            sent: lives.len(),
            rejected: lives.values().filter(|life| life.rejected).count(),
            quotes: self.quotes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            reverted: lives.values().filter(|life| life.reverted).count(),
            lost: lives.values().filter(|life| !life.rejected && life.accepted.is_none()).count(),
            processors: None,
            ran_dry: self.pacer.ran_dry(self.bodies.len()),
            answered: report::histogram(),
            pre_confirmed: report::histogram(),
            accepted: report::histogram(),
        };
        let mut included = 0;
        for life in lives.values().filter(|life| !life.rejected && !life.reverted && life.accepted.is_some()) {
            included += usize::from(life.pre_confirmed.is_some_and(measured));
            if !measured(life.due) {
                continue;
            }
            for (at, histogram) in [
                (life.answered, &mut outcome.answered),
                (life.pre_confirmed, &mut outcome.pre_confirmed),
                (life.accepted, &mut outcome.accepted),
            ] {
                report::record(histogram, life.due, at);
            }
        }
        outcome.included_per_second = included as f64 / shape.seconds as f64;
        outcome
    }

    fn lives(&self) -> std::sync::MutexGuard<'_, HashMap<Felt, Life>> {
        self.lives.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A failed run is no measurement: says so instead of printing its figures as if they were one.
pub(crate) fn checked(outcome: Outcome, what: &str) -> anyhow::Result<Outcome> {
    if outcome.included_per_second == 0.0 {
        let quotes = outcome.quotes.join("; ");
        return Err(anyhow::anyhow!("{} of {} transactions rejected: {quotes}", outcome.rejected, outcome.sent))
            .with_context(|| format!("{what}: nothing was included"));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    const SHAPE: Shape = Shape { seconds: 3, warm_up: 0, in_flight: 4, connections: 3, sign_for: 40 };

    #[tokio::test]
    async fn a_closed_loop_ends_with_everything_accounted_for() -> anyhow::Result<()> {
        let endpoint = mock::start(0).await?;
        let outcome = run(&endpoint, &mock::accounts(), Pace::Closed, &SHAPE, Some(std::process::id())).await?;
        assert_eq!(outcome.watched_by, Method::Polling);
        assert_eq!((outcome.rejected, outcome.reverted, outcome.lost), (0, 0, 0));
        assert!(outcome.processors.is_some_and(|used| used > 0.0), "we ourselves worked: {:?}", outcome.processors);
        assert!(outcome.sent > 8, "the window opens again: {} sent", outcome.sent);
        assert_eq!(outcome.ran_dry, outcome.sent == 120);
        assert!(outcome.included_per_second > 0.0 && outcome.included_per_second <= outcome.sent as f64);
        assert!(outcome.accepted.value_at_quantile(0.5) >= outcome.pre_confirmed.value_at_quantile(0.5));
        Ok(())
    }

    #[tokio::test]
    async fn a_rate_is_kept_and_refusals_are_quoted() -> anyhow::Result<()> {
        let endpoint = mock::start(5).await?;
        let outcome = run(&endpoint, &mock::accounts(), Pace::PerSecond(30.0), &SHAPE, None).await?;
        // A machine that is busy with something else is late, never early.
        assert!((10..=90).contains(&outcome.sent), "{} sent", outcome.sent);
        assert_eq!(outcome.rejected, outcome.sent / 5);
        assert!(outcome.quotes.iter().all(|quote| quote.contains("Account validation failed")), "{:?}", outcome.quotes);
        assert_eq!(outcome.lost, 0);
        Ok(())
    }

    #[test]
    fn others_networks_are_left_alone() {
        assert!(Endpoint::new("http://example.org/", None).is_err());
        assert!(Endpoint::new("http://127.0.0.1:5050/", Some("ws://example.org/ws")).is_err());
        assert!(Endpoint::new("http://localhost:5050/", Some("ws://127.0.0.1:5050/ws")).is_ok());
    }
}
