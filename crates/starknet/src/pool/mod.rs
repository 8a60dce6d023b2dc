//! Accepted transactions until they are in a block: the mempool, its log on disk, and what became of whom.
//!
//! A transaction is in the log, durably, before its hash is returned to whoever sent it ([`Inserted::durable`]). Whatever
//! leaves the pool (included, replaced, evicted, expired, rejected) leaves the log as well: a tombstone at once, the space
//! when the log is compacted. Opening the pool reads the log and drops what the chain contains already.
//!
//! The pool is the builder's [`TransactionSource`]. What is taken is in flight until the builder says what became of it.

mod messages;
mod record;
mod rejections;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mempool::{Limits, Mempool, Order, Outcome, Place, Pooled, Refusal};
use parking_lot::Mutex;
use starknet_api::block::BlockNumber;
use starknet_api::core::{ChainId, ContractAddress, Nonce};
use starknet_api::executable_transaction::{AccountTransaction, Transaction as Executable};
use starknet_api::transaction::TransactionHash;
use starknet_api::transaction::fields::ValidResourceBounds;
use store::{AppendError, Log, LogError, LogOptions, ReadError, Ticket};
use tokio::sync::broadcast;

use crate::chain::{Chain, ChainError};
use crate::source::{Doorbell, ReadyTransaction, TransactionSource};
use crate::view::At;
use messages::Messages;
use rejections::Rejections;

/// News that a listener may lag behind before it loses the oldest.
const NOTICES_MAX: usize = 4_096;
/// The pool looks for expired transactions at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// A log smaller than this is never compacted.
const COMPACT_BYTES_MIN: u64 = 8 << 20;
/// A log is compacted when it is this many times as large as what lives in it.
const COMPACT_FACTOR: u64 = 4;
/// What a transaction occupies in memory beyond its record.
const OVERHEAD_BYTES: usize = 512;

/// What an operator chooses about the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// How much may wait, and for how long.
    pub limits: Limits,
    /// In which order transactions are offered to the builder.
    pub order: Order,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { limits: Limits::default(), order: Order::Tip }
    }
}

/// Why the pool was not opened.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Its log was not opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is sound but not a transaction of this chain.
    #[error(
        "the pool's log has a record that this program cannot read ({0}): was it written by another release, or for another chain id? Move the pool's folder away to start with an empty pool"
    )]
    Record(#[from] crate::codec::DecodeError),
    /// The chain could not say what it contains.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Where a transaction of the pool is, as `starknet_getTransactionStatus` names it.
///
/// Ask the chain first: what has executed stays in the pool until its block is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolStatus {
    /// It waits: RECEIVED.
    Received,
    /// The builder has it: CANDIDATE.
    Candidate,
}

/// Something others may want to hear at once. Slow listeners lose the oldest and learn how many.
#[derive(Clone, Debug)]
pub enum PoolNotice {
    /// Accepted: RECEIVED.
    Received(Arc<ReadyTransaction>),
    /// Handed to the builder: CANDIDATE.
    Candidate(Arc<ReadyTransaction>),
    /// Left the pool without being executed.
    Dropped {
        /// Which transaction.
        hash: TransactionHash,
        /// Why, for people.
        reason: Arc<str>,
    },
}

/// How much is in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLoad {
    /// Transactions, those in flight included.
    pub transactions: usize,
    /// Their bytes, as counted against the limit.
    pub bytes: usize,
    /// Bytes of its log on disk.
    pub disk_bytes: u64,
}

/// A transaction is in the pool, and on its way to the disk.
#[derive(Debug)]
pub struct Inserted {
    /// It waits for an earlier nonce of its account.
    pub parked: bool,
    hash: TransactionHash,
    ticket: Ticket,
    pool: Pool,
}

impl Inserted {
    /// Waits until it is durable. If the disk refuses it, it leaves the pool again.
    ///
    /// # Errors
    /// The disk's answer.
    pub async fn durable(self) -> Result<(), AppendError> {
        match self.ticket.await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.pool.withdraw(self.hash, &error.to_string());
                Err(error)
            }
        }
    }
}

/// The pool of one chain. Cheap to clone; all clones are the same pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    log: Arc<Log>,
    doorbell: Arc<Doorbell>,
    notices: broadcast::Sender<PoolNotice>,
    /// When it was opened, by the clock on the wall (time since the epoch) and by the one that never goes back.
    opened: (Duration, Instant),
    compact_bytes_min: u64,
    compacting: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    mempool: Mempool<Waiting>,
    messages: Messages,
    rejections: Rejections,
    arrivals: u64,
    /// Bytes in the log of what is in the pool.
    live_bytes: u64,
    swept: Duration,
}

/// A transaction with what the mempool asks of it.
#[derive(Clone, Debug)]
struct Waiting(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    ready: Arc<ReadyTransaction>,
    hash: TransactionHash,
    sender: ContractAddress,
    nonce: u64,
    tip: u128,
    max_price: u128,
    record_bytes: u64,
    bytes: usize,
    arrival: u64,
    /// Time since the epoch.
    accepted: Duration,
}

impl Pooled for Waiting {
    type Hash = TransactionHash;
    type Sender = ContractAddress;

    fn hash(&self) -> TransactionHash {
        self.0.hash
    }
    fn sender(&self) -> ContractAddress {
        self.0.sender
    }
    fn nonce(&self) -> u64 {
        self.0.nonce
    }
    fn tip(&self) -> u128 {
        self.0.tip
    }
    fn max_price(&self) -> u128 {
        self.0.max_price
    }
    fn bytes(&self) -> usize {
        self.0.bytes
    }
}

impl Pool {
    /// Opens the pool in a folder of its own, with what it held when it was last used, in the order of arrival.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn open(folder: &Path, config: PoolConfig, chain: &Chain) -> Result<Self, PoolError> {
        let pool = Self::open_empty(folder, config, COMPACT_BYTES_MIN)?;
        let Some(state) = chain.state(At::Latest)? else { return Ok(pool) };
        let contains = |hash| chain.transaction(hash).map(|found| found.is_some());
        pool.recover(&chain.config().chain_id, contains, |sender| state.nonce(sender))?;
        if chain.config().fees {
            // What was accepted under a lower price waits for that price to come back.
            pool.set_price_threshold(chain.config().gas_prices.l2_fri.get().0);
        }
        Ok(pool)
    }

    fn open_empty(folder: &Path, config: PoolConfig, compact_bytes_min: u64) -> Result<Self, PoolError> {
        let inner = Inner {
            mempool: Mempool::new(config.limits, config.order),
            messages: Messages::default(),
            rejections: Rejections::default(),
            arrivals: 0,
            live_bytes: 0,
            swept: Duration::ZERO,
        };
        Ok(Self(Arc::new(Shared {
            inner: Mutex::new(inner),
            log: Arc::new(Log::open(folder, LogOptions::default())?),
            doorbell: Arc::default(),
            notices: broadcast::channel(NOTICES_MAX).0,
            opened: (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now()),
            compact_bytes_min,
            compacting: AtomicBool::new(false),
        })))
    }

    fn recover(
        &self,
        chain_id: &ChainId,
        contains: impl Fn(TransactionHash) -> Result<bool, ChainError>,
        nonce: impl Fn(ContractAddress) -> Result<Nonce, ChainError>,
    ) -> Result<(), PoolError> {
        let now = self.now();
        let mut inner = self.0.inner.lock();
        for (ready, at) in self.stored(chain_id)? {
            if contains(ready.hash())? {
                continue;
            }
            // A clock that was set back must not keep a transaction for longer.
            let at = at.unwrap_or(now).min(now);
            let record_bytes = record::accepted(&ready, at).len() as u64;
            let ready = Arc::new(ready);
            match record::sender(&ready.transaction) {
                Some(sender) => {
                    let nonce = number(nonce(sender)?).unwrap_or(u64::MAX);
                    let waiting = inner.waiting(&ready, sender, record_bytes, at);
                    // What is refused now could not be executed any more: its nonce was used by another one.
                    if let Ok(admission) = waiting.and_then(|waiting| inner.mempool.admit(waiting, nonce, at)) {
                        inner.live_bytes += record_bytes;
                        inner.forget(&admission.evicted);
                    }
                }
                None => inner.messages.push(ready),
            }
        }
        let live = inner.live();
        let mark = self.0.log.mark();
        drop(inner);
        if let Err(error) = self.0.log.compact(&mark, live) {
            tracing::warn!(%error, "the pool's log was not compacted");
        }
        Ok(())
    }

    /// What the log holds and no tombstone names, in the order of arrival.
    fn stored(&self, chain_id: &ChainId) -> Result<Vec<(ReadyTransaction, Option<Duration>)>, PoolError> {
        let mut arrivals = BTreeMap::new();
        let mut stored = BTreeMap::new();
        for (at, record) in self.0.log.records(self.0.log.start()).enumerate() {
            let record = record?;
            match record.kind {
                record::ACCEPTED => {
                    let (ready, accepted) = record::read_accepted(&record.payload, chain_id)?;
                    if let Some(earlier) = arrivals.insert(ready.hash(), at) {
                        stored.remove(&earlier);
                    }
                    stored.insert(at, (ready, accepted));
                }
                _ => {
                    for hash in record::read_gone(&record.payload) {
                        arrivals.remove(&hash).and_then(|at| stored.remove(&at));
                    }
                }
            }
        }
        Ok(stored.into_values().collect())
    }

    /// Lets a validated transaction in. `account_nonce` is what the chain expects of the sender, the open block included.
    ///
    /// # Errors
    /// See [`Refusal`]; the pool is then unchanged.
    pub fn insert(&self, ready: ReadyTransaction, account_nonce: Nonce) -> Result<Inserted, Refusal<TransactionHash>> {
        let now = self.now();
        let record = record::accepted(&ready, now);
        let record_bytes = record.len() as u64;
        let ready = Arc::new(ready);
        let mut inner = self.0.inner.lock();
        let (outcome, evicted) = match record::sender(&ready.transaction) {
            Some(sender) => {
                let account_nonce = number(account_nonce).unwrap_or(u64::MAX);
                let waiting = inner.waiting(&ready, sender, record_bytes, now)?;
                let admission = inner.mempool.admit(waiting, account_nonce, now)?;
                (admission.outcome, admission.evicted)
            }
            None => {
                inner.messages.admit(Arc::clone(&ready))?;
                (Outcome::Admitted, Vec::new())
            }
        };
        inner.live_bytes += record_bytes;
        let parked = matches!(outcome, Outcome::Parked);
        // Under the lock, so that the log has the order of the pool; and before the tombstones of those that had to go,
        // so that a crash in between leaves the old ones rather than none.
        let ticket = self.0.log.append(record::ACCEPTED, &record);
        if let Outcome::Replaced(old) = outcome {
            self.drop_all(&mut inner, &[old], "replaced by a transaction with the same nonce");
        }
        self.drop_all(&mut inner, &evicted, "evicted from a full pool");
        let hash = ready.hash();
        inner.rejections.forget(hash);
        self.sweep(&mut inner, now);
        // Under the lock: nobody hears that the builder has it before that it is here.
        self.notify(PoolNotice::Received(ready));
        drop(inner);
        if !parked {
            self.0.doorbell.ring();
        }
        Ok(Inserted { parked, hash, ticket, pool: self.clone() })
    }

    /// The chain, the open block included, expects this nonce of the account next.
    ///
    /// To be called again after [`Pool::insert`] parked a transaction, with the nonce read after that: the account may have
    /// gone on between reading its nonce and inserting.
    pub fn observe(&self, sender: ContractAddress, nonce: Nonce) {
        let Some(nonce) = number(nonce) else { return };
        let mut inner = self.0.inner.lock();
        let outdated = inner.mempool.advance(sender, nonce);
        self.drop_all(&mut inner, &outdated, "its nonce was used by another transaction");
        drop(inner);
        self.0.doorbell.ring();
    }

    /// Whether the transaction is in the pool, and where.
    pub fn status(&self, hash: TransactionHash) -> Option<PoolStatus> {
        let inner = self.0.inner.lock();
        let flying = match inner.mempool.place(hash) {
            Some(place) => place == Place::InFlight,
            None => inner.messages.is_flying(hash)?,
        };
        Some(if flying { PoolStatus::Candidate } else { PoolStatus::Received })
    }

    /// A transaction of the pool.
    pub fn transaction(&self, hash: TransactionHash) -> Option<Arc<ReadyTransaction>> {
        let inner = self.0.inner.lock();
        let waiting = inner.mempool.transaction(hash).map(|waiting| Arc::clone(&waiting.0.ready));
        waiting.or_else(|| inner.messages.transaction(hash))
    }

    /// The transaction of an account with this nonce.
    pub fn at(&self, sender: ContractAddress, nonce: Nonce) -> Option<Arc<ReadyTransaction>> {
        let inner = self.0.inner.lock();
        inner.mempool.at(sender, number(nonce)?).map(|waiting| Arc::clone(&waiting.0.ready))
    }

    /// The first nonce of the account that is missing in the pool; `None` when the pool has nothing of it.
    pub fn next_nonce(&self, sender: ContractAddress) -> Option<Nonce> {
        self.0.inner.lock().mempool.next_nonce(sender).map(|nonce| Nonce(nonce.into()))
    }

    /// Why a transaction that had been accepted was not executed, as long as that is remembered: the last 10,000.
    pub fn rejection(&self, hash: TransactionHash) -> Option<Arc<str>> {
        self.0.inner.lock().rejections.reason(hash)
    }

    /// All transactions in the pool.
    pub fn transactions(&self) -> Vec<Arc<ReadyTransaction>> {
        let inner = self.0.inner.lock();
        inner.mempool.iter().map(|(waiting, _)| Arc::clone(&waiting.0.ready)).chain(inner.messages.all()).collect()
    }

    /// How much is in it.
    pub fn load(&self) -> PoolLoad {
        let inner = self.0.inner.lock();
        let transactions = inner.mempool.len() + inner.messages.len();
        PoolLoad { transactions, bytes: inner.mempool.bytes(), disk_bytes: self.0.log.disk_bytes() }
    }

    /// News from now on.
    pub fn notices(&self) -> broadcast::Receiver<PoolNotice> {
        self.0.notices.subscribe()
    }

    /// Only transactions that pay at least this per unit of L2 gas are offered to the builder from now on.
    pub fn set_price_threshold(&self, price: u128) {
        self.0.inner.lock().mempool.set_price_threshold(price);
        self.0.doorbell.ring();
    }

    /// Takes back what the disk refused, unless the builder has it already.
    fn withdraw(&self, hash: TransactionHash, reason: &str) {
        let mut inner = self.0.inner.lock();
        match inner.mempool.place(hash) {
            Some(Place::InFlight) => {}
            Some(Place::Queued | Place::Parked) => {
                let gone: Vec<Waiting> = inner.mempool.rejected(hash).into_iter().collect();
                self.drop_all(&mut inner, &gone, reason);
            }
            None => {
                inner.messages.withdraw(hash);
            }
        }
    }

    fn sweep(&self, inner: &mut Inner, now: Duration) {
        if now.saturating_sub(inner.swept) < SWEEP_EVERY {
            return;
        }
        inner.swept = now;
        let expired = inner.mempool.expire(now);
        self.drop_all(inner, &expired, "it waited longer than transactions may");
    }

    /// What left the pool unexecuted leaves the disk too, and whoever asks learns why.
    fn drop_all(&self, inner: &mut Inner, gone: &[Waiting], reason: &str) {
        if gone.is_empty() {
            return;
        }
        inner.forget(gone);
        self.bury(inner, &gone.iter().map(Pooled::hash).collect::<Vec<_>>());
        let reason: Arc<str> = reason.into();
        for waiting in gone {
            inner.rejections.remember(waiting.hash(), Arc::clone(&reason));
            self.notify(PoolNotice::Dropped { hash: waiting.hash(), reason: Arc::clone(&reason) });
        }
    }

    fn bury(&self, inner: &Inner, hashes: &[TransactionHash]) {
        if hashes.is_empty() {
            return;
        }
        // Nobody waits for a tombstone: without it a restart finds the transaction in the chain, or its nonce used.
        drop(self.0.log.append(record::GONE, &record::gone(hashes)));
        self.compact_if_due(inner);
    }

    fn compact_if_due(&self, inner: &Inner) {
        let size = self.0.log.disk_bytes();
        let due = size > self.0.compact_bytes_min && size > inner.live_bytes.saturating_mul(COMPACT_FACTOR);
        if !due || self.0.compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (live, mark) = (inner.live(), self.0.log.mark());
        let pool = self.clone();
        let compact = move || {
            if let Err(error) = pool.0.log.compact(&mark, live) {
                tracing::warn!(%error, "the pool's log was not compacted");
            }
            pool.0.compacting.store(false, Ordering::Release);
        };
        if let Err(error) = std::thread::Builder::new().name("pool-compaction".into()).spawn(compact) {
            tracing::warn!(%error, "no thread to compact the pool's log");
            self.0.compacting.store(false, Ordering::Release);
        }
    }

    fn notify(&self, notice: PoolNotice) {
        // No one listening is no fault.
        let _ = self.0.notices.send(notice);
    }

    /// Time since the epoch, so that it goes on across restarts.
    fn now(&self) -> Duration {
        let (since_epoch, opened) = self.0.opened;
        since_epoch + opened.elapsed()
    }
}

impl TransactionSource for Pool {
    fn take(&self, max: usize) -> Vec<Arc<ReadyTransaction>> {
        let now = self.now();
        let mut inner = self.0.inner.lock();
        self.sweep(&mut inner, now);
        let mut taken = inner.messages.take(max);
        let rest = max - taken.len();
        taken.extend(inner.mempool.take(rest).into_iter().map(|waiting| Arc::clone(&waiting.0.ready)));
        drop(inner);
        for ready in &taken {
            self.notify(PoolNotice::Candidate(Arc::clone(ready)));
        }
        taken
    }

    fn doorbell(&self) -> Arc<Doorbell> {
        Arc::clone(&self.0.doorbell)
    }

    fn executed(&self, _: TransactionHash) {
        // It stays in flight until its block is durable: a block that is given up returns it.
    }

    fn rejected(&self, hash: TransactionHash, reason: &str) {
        let mut inner = self.0.inner.lock();
        if inner.mempool.is_orphan(hash) {
            // It failed because the transaction before it did. It waits for another one with that nonce.
            inner.mempool.returned([hash]);
            return;
        }
        let gone: Vec<Waiting> = inner.mempool.rejected(hash).into_iter().collect();
        self.drop_all(&mut inner, &gone, reason);
        if gone.is_empty() && inner.messages.settle(hash) {
            inner.rejections.remember(hash, reason.into());
            self.bury(&inner, &[hash]);
            self.notify(PoolNotice::Dropped { hash, reason: reason.into() });
        }
    }

    fn returned(&self, transactions: Vec<Arc<ReadyTransaction>>) {
        let mut inner = self.0.inner.lock();
        inner.mempool.returned(transactions.iter().map(|ready| ready.hash()));
        inner.messages.returned(&transactions);
        drop(inner);
        self.0.doorbell.ring();
    }

    fn included(&self, _: BlockNumber, hashes: &[TransactionHash]) {
        let mut inner = self.0.inner.lock();
        let in_block: BTreeSet<TransactionHash> = hashes.iter().copied().collect();
        let gone = inner.mempool.included(hashes.iter().copied());
        let (included, outdated): (Vec<Waiting>, Vec<Waiting>) =
            gone.into_iter().partition(|waiting| in_block.contains(&waiting.hash()));
        inner.forget(&included);
        let mut buried: Vec<TransactionHash> = included.iter().map(Pooled::hash).collect();
        buried.extend(hashes.iter().copied().filter(|hash| inner.messages.settle(*hash)));
        self.bury(&inner, &buried);
        self.drop_all(&mut inner, &outdated, "its nonce was used by another transaction");
    }
}

impl Inner {
    fn waiting(
        &mut self,
        ready: &Arc<ReadyTransaction>,
        sender: ContractAddress,
        record_bytes: u64,
        accepted: Duration,
    ) -> Result<Waiting, Refusal<TransactionHash>> {
        let (tip, max_price) = offer(&ready.transaction);
        let nonce = number(ready.transaction.nonce()).ok_or_else(|| Refusal::NonceTooHigh {
            expected: self.mempool.next_nonce(sender).unwrap_or_default(),
            got: u64::MAX,
            gap: self.mempool.limits().nonce_gap,
        })?;
        let class_bytes = ready.class.as_ref().map_or(0, |class| class.weight() * 2);
        let bytes = record_bytes as usize + class_bytes + OVERHEAD_BYTES;
        self.arrivals += 1;
        let facts = Facts {
            hash: ready.hash(),
            ready: Arc::clone(ready),
            sender,
            nonce,
            tip,
            max_price,
            record_bytes,
            bytes,
            arrival: self.arrivals,
            accepted,
        };
        Ok(Waiting(Arc::new(facts)))
    }

    fn forget(&mut self, gone: &[Waiting]) {
        let bytes: u64 = gone.iter().map(|waiting| waiting.0.record_bytes).sum();
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
    }

    /// What a compacted log holds: encoded only when it is written.
    fn live(&self) -> impl Iterator<Item = (u8, Bytes)> + Send + use<> {
        let mut waiting: Vec<Waiting> = self.mempool.iter().map(|(waiting, _)| waiting.clone()).collect();
        waiting.sort_unstable_by_key(|waiting| waiting.0.arrival);
        // Messages do not expire: their time is of no consequence.
        let messages: Vec<_> = self.messages.all().map(|message| (message, Duration::ZERO)).collect();
        let waiting = waiting.into_iter().map(|waiting| (Arc::clone(&waiting.0.ready), waiting.0.accepted));
        let live = messages.into_iter().chain(waiting);
        live.map(|(ready, accepted)| (record::ACCEPTED, record::accepted(&ready, accepted).into()))
    }
}

/// Tip and highest price of L2 gas.
fn offer(transaction: &Executable) -> (u128, u128) {
    let (tip, bounds) = match transaction {
        Executable::Account(AccountTransaction::Invoke(tx)) => (tx.tip(), tx.resource_bounds()),
        Executable::Account(AccountTransaction::Declare(tx)) => (tx.tip(), tx.resource_bounds()),
        Executable::Account(AccountTransaction::DeployAccount(tx)) => (tx.tip(), tx.resource_bounds()),
        Executable::L1Handler(_) => return (0, 0),
    };
    let max_price = match bounds {
        ValidResourceBounds::AllResources(all) => all.l2_gas.max_price_per_unit.0,
        ValidResourceBounds::L1Gas(_) => 0,
    };
    (u128::from(tip.0), max_price)
}

/// A nonce as a number; `None` for one that no account ever reaches.
fn number(nonce: Nonce) -> Option<u64> {
    u64::try_from(nonce.0).ok()
}
