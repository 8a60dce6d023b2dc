//! Sends signed transactions and times when they are answered and when they are in a block.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U64};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Shape;
use super::account::Signed;
use super::chain::{Block, Chain};
use crate::PATIENCE;
use crate::endpoint::Endpoint;
use crate::pace::{Pace, Pacer};
use crate::{report, server};

/// Most transactions signed for one run.
pub(crate) const TRANSACTIONS_MAX: usize = 400_000;
/// Blocks asked for at once while they come quickly; one at a time otherwise, so that asking costs the chain little.
const AHEAD: u64 = 16;
/// Included transactions whose receipts are read to see whether they did what they were sent for.
const SAMPLE: usize = 200;
/// How long to wait for a block that is not there yet.
const POLL: Duration = Duration::from_millis(5);

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) included_per_second: f64,
    pub(crate) blocks: u64,
    sent: usize,
    refused: usize,
    failed: usize,
    lost: usize,
    /// What to say of a closed loop that ended early.
    ran_dry: &'static str,
    pub(crate) processors: f64,
    /// Microseconds.
    pub(crate) answered: Histogram<u64>,
    pub(crate) included: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn rate(&self) -> String {
        format!("{:.0}/s{}", self.included_per_second, self.ran_dry)
    }

    pub(crate) fn counts(&self) -> String {
        format!("{} / {} / {} / {}", self.sent, self.refused, self.failed, self.lost)
    }
}

/// One transaction's life.
#[derive(Debug, Clone, Copy)]
struct Life {
    due: Instant,
    answered: Option<Instant>,
    included: Option<Instant>,
    refused: bool,
}

/// What senders and watcher share.
pub(crate) struct Run {
    endpoint: Endpoint,
    signed: Vec<Signed>,
    pacer: Pacer,
    /// Transactions to a request.
    batch: usize,
    /// What comes before the part that is measured.
    warm_up: Duration,
    lives: Mutex<HashMap<B256, Life>>,
    last_block: AtomicU64,
    ended: AtomicBool,
}

/// Sends for as long as `shape` says, waits for the last block, and sums up.
pub(crate) async fn run(chain: &mut Chain, pace: Pace, shape: &Shape, pid: u32) -> anyhow::Result<Outcome> {
    let seconds = shape.seconds + shape.warm_up;
    let signed = chain.sign(pace.count(seconds, shape.sign_for).min(TRANSACTIONS_MAX));
    let first_block = chain.endpoint().call::<U64>("eth_blockNumber", json!([])).await?.to::<u64>() + 1;
    let run = Run::new(chain.endpoint().clone(), signed, pace, shape, Duration::from_secs(seconds));
    let senders = run.send_from(shape.connections);
    let watcher = tokio::spawn(Arc::clone(&run).watch(first_block));
    let processors = server::processors(pid, run.measured().start, run.measured().end).await?;
    for sender in senders {
        sender.await?;
    }
    run.settle().await;
    run.end();
    watcher.await??;
    let last_block = run.last_block.load(Ordering::Relaxed);
    chain.unsent(run.pacer.taken(run.signed.len()), run.signed.len());
    let failed = chain.failed(&run.sample()).await?;
    let outcome = run.outcome(shape, last_block.saturating_sub(first_block - 1), failed, processors);
    anyhow::ensure!(outcome.included_per_second > 0.0, "nothing was included: {}", outcome.counts());
    Ok(outcome)
}

impl Run {
    /// A run that begins now.
    pub(crate) fn new(
        endpoint: Endpoint,
        signed: Vec<Signed>,
        pace: Pace,
        shape: &Shape,
        lasts: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            signed,
            batch: usize::try_from(shape.batch).unwrap_or(1),
            warm_up: Duration::from_secs(shape.warm_up),
            pacer: Pacer::start(pace, shape.waiting, lasts),
            lives: Mutex::default(),
            last_block: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        })
    }

    pub(crate) fn send_from(self: &Arc<Self>, connections: usize) -> Vec<tokio::task::JoinHandle<()>> {
        (0..connections).map(|_| tokio::spawn(Arc::clone(self).send_all())).collect()
    }

    async fn send_all(self: Arc<Self>) {
        loop {
            let mut handful = Vec::with_capacity(self.batch);
            while handful.len() < self.batch
                && let Some((number, due)) = self.pacer.next().await
                && let Some(signed) = self.signed.get(number)
            {
                self.lives().insert(signed.hash, Life { due, answered: None, included: None, refused: false });
                handful.push(signed);
            }
            match handful[..] {
                [] => return,
                [signed] => {
                    let answer = self.endpoint.send(signed.body.clone()).await;
                    self.answered(signed, answer);
                }
                _ => self.send_batch(&handful).await,
            }
        }
    }

    async fn send_batch(&self, handful: &[&Signed]) {
        let bodies: Vec<&str> = handful.iter().map(|signed| signed.body.as_str()).collect();
        match self.endpoint.answers(format!("[{}]", bodies.join(","))).await {
            Ok(answers) => {
                for (signed, answer) in handful.iter().zip(answers) {
                    self.answered(signed, answer);
                }
            }
            Err(error) => handful.iter().for_each(|signed| self.answered(signed, Err(anyhow::anyhow!("{error:#}")))),
        }
    }

    fn answered(&self, signed: &Signed, answer: anyhow::Result<B256>) {
        let at = Instant::now();
        let mut lives = self.lives();
        let Some(life) = lives.get_mut(&signed.hash) else { return };
        life.answered = Some(at);
        if let Err(error) = answer {
            life.refused = true;
            drop(lives);
            self.pacer.make_room(1);
            tell_once(&error);
        }
    }

    /// Reads block after block until the run has ended.
    pub(crate) async fn watch(self: Arc<Self>, mut next: u64) -> anyhow::Result<()> {
        let mut ahead = 1;
        while !self.ended.load(Ordering::Relaxed) {
            let calls = (next..next + ahead).map(|number| {
                json!({ "jsonrpc": "2.0", "id": number, "method": "eth_getBlockByNumber", "params": [format!("{number:#x}"), false] })
            });
            let blocks = self.endpoint.batch(Value::Array(calls.collect())).await?;
            let at = Instant::now();
            let found: Vec<Block> = blocks.into_iter().filter_map(|block| serde_json::from_value(block).ok()).collect();
            ahead = if found.len() as u64 == ahead { AHEAD } else { 1 };
            if found.is_empty() {
                tokio::time::sleep(POLL).await;
            }
            for block in found {
                if block.number.to::<u64>() != next {
                    continue;
                }
                self.saw(&block, at);
                next += 1;
                self.last_block.store(next - 1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn saw(&self, block: &Block, at: Instant) {
        let mut lives = self.lives();
        let mut seen = 0;
        for hash in &block.transactions {
            if let Some(life) = lives.get_mut(hash) {
                life.included = Some(at);
                seen += 1;
            }
        }
        self.pacer.make_room(seen);
    }

    /// Waits until every transaction that was taken is in a block, but not forever.
    pub(crate) async fn settle(&self) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && self.lives().values().any(|life| !life.refused && life.included.is_none()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Some of the transactions that are in a block, evenly chosen.
    fn sample(&self) -> Vec<B256> {
        let lives = self.lives();
        let sent =
            self.signed.iter().filter(|signed| lives.get(&signed.hash).is_some_and(|life| life.included.is_some()));
        let sent: Vec<B256> = sent.map(|signed| signed.hash).collect();
        sent.iter().step_by((sent.len() / SAMPLE).max(1)).copied().collect()
    }

    /// Transactions that are in a block by now.
    pub(crate) fn included(&self) -> usize {
        self.lives().values().filter(|life| life.included.is_some()).count()
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// The part of the run that is measured.
    pub(crate) fn measured(&self) -> Range<Instant> {
        self.pacer.started + self.warm_up..self.pacer.ends
    }

    /// Transactions that were answered, and not refused, in each second that is measured.
    pub(crate) fn answered_per_second(&self) -> f64 {
        let measured = self.measured();
        let taken = |life: &&Life| !life.refused && life.answered.is_some_and(|at| measured.contains(&at));
        self.lives().values().filter(taken).count() as f64 / (measured.end - measured.start).as_secs_f64()
    }

    /// What to say of a closed loop that ended early.
    pub(crate) fn ran_dry(&self) -> &'static str {
        if self.pacer.ran_dry(self.signed.len()) { " (ran out of signed transactions)" } else { "" }
    }

    fn outcome(&self, shape: &Shape, blocks: u64, failed: usize, processors: f64) -> Outcome {
        let measured = |at: Instant| self.measured().contains(&at);
        let (mut answered, mut included, mut count) = (report::histogram(), report::histogram(), 0_usize);
        let lives = self.lives();
        for life in lives.values().filter(|life| !life.refused) {
            count += usize::from(life.included.is_some_and(measured));
            if !measured(life.due) {
                continue;
            }
            for (at, histogram) in [(life.answered, &mut answered), (life.included, &mut included)] {
                report::record(histogram, life.due, at);
            }
        }
        Outcome {
            included_per_second: count as f64 / shape.seconds as f64,
            blocks,
            sent: lives.len(),
            refused: lives.values().filter(|life| life.refused).count(),
            failed,
            lost: lives.values().filter(|life| !life.refused && life.included.is_none()).count(),
            ran_dry: self.ran_dry(),
            processors,
            answered,
            included,
        }
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<B256, Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first refusal is worth reading; thousands of them are not.
fn tell_once(error: &anyhow::Error) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        eprintln!("  refused: {error:#}");
    }
}
