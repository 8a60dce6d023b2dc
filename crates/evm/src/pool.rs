//! Accepted transactions until they are in a block: the mempool and its log on disk.
//!
//! A transaction is in the log, durably, before its hash is returned. Whatever leaves the pool leaves the log as well: a tombstone at
//! once, the space when the log is compacted. Opening the pool reads the log and drops what the chain contains already.

mod admission;
mod feed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_consensus::Transaction as _;
use alloy_consensus::transaction::Recovered;
use alloy_eips::Encodable2718;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes};
use mempool::{Mempool, Outcome, Place, Pooled};
use parking_lot::{Condvar, Mutex};
use store::{Log, LogError, LogOptions, ReadError};
use thiserror::Error;
use tokio::sync::{Notify, broadcast};

pub use admission::Refusal;
pub(crate) use feed::{PoolFeed, Turn};

use crate::block::Transaction;
use crate::{At, Chain, ChainError, ChainSpec, disguise};

/// Kind of a record that holds an accepted transaction: its EIP-2718 bytes.
const ACCEPTED: u8 = 1;
/// Kind of a record that names transactions which left the pool: hash after hash.
const GONE: u8 = 2;
/// News that a listener may lag behind before it loses the oldest.
const NOTICES_MAX: usize = 4_096;
/// A log smaller than this is never compacted.
const COMPACT_BYTES_MIN: u64 = 8 << 20;
/// A log is compacted when it is this many times as large as what lives in it.
const COMPACT_FACTOR: u64 = 4;
/// What a transaction occupies in memory beyond its bytes.
const OVERHEAD_BYTES: usize = 512;
/// As soon as so many transactions could be executed, a block that is not due yet is begun with the best of them. Below that nothing is begun:
/// all of them are executed in a few milliseconds when the block is due, and then in the order of their tips.
const BACKLOG: usize = 256;

/// A transaction with its sender.
pub type Signed = Recovered<Transaction>;

/// Why the pool was not opened.
#[derive(Debug, Error)]
pub enum PoolError {
    /// Its log was not opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is sound but not a transaction of this chain.
    #[error(
        "the pool's log has a record that is no transaction: move the pool's folder away to start with an empty pool"
    )]
    Record,
    /// The chain could not say what it contains.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// The pool of one chain. Cheap to clone; all clones are the same pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    chain: Chain,
    inner: Mutex<Inner>,
    log: Arc<Log>,
    compacting: Arc<AtomicBool>,
    notices: broadcast::Sender<Arc<Signed>>,
    arrived: Notify,
    /// Wakes who fills a block, under the lock of `inner`: there is a backlog, or its turn has changed.
    backlog: Condvar,
    opened: Instant,
    changes: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    mempool: Mempool<Waiting>,
    order: mempool::Order,
    live_bytes: u64,
}

/// A transaction as the mempool sees it.
#[derive(Clone, Debug)]
struct Waiting {
    signed: Arc<Signed>,
    hash: B256,
    bytes: usize,
}

impl Pooled for Waiting {
    type Hash = B256;
    type Sender = Address;

    fn hash(&self) -> B256 {
        self.hash
    }
    fn sender(&self) -> Address {
        self.signed.signer()
    }
    fn nonce(&self) -> u64 {
        self.signed.nonce()
    }
    fn tip(&self) -> u128 {
        self.signed.max_priority_fee_per_gas().unwrap_or_else(|| self.signed.max_fee_per_gas())
    }
    fn max_price(&self) -> u128 {
        self.signed.max_fee_per_gas()
    }
    fn bytes(&self) -> usize {
        self.bytes + OVERHEAD_BYTES
    }
}

impl Inner {
    /// Whether so much waits that it is better begun before the block is due.
    fn has_backlog(&self) -> bool {
        self.mempool.has_ready() && self.mempool.executable() >= BACKLOG
    }
}

impl Waiting {
    fn new(signed: Arc<Signed>) -> Self {
        let (hash, bytes) = (signed.tx_hash(), signed.encode_2718_len());
        Self { signed, hash, bytes }
    }
}

impl Pool {
    /// Opens the pool in a folder of its own, with what it held when it was last used, in the order of arrival.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn open(
        folder: &Path,
        chain: &Chain,
        limits: mempool::Limits,
        order: mempool::Order,
    ) -> Result<Self, PoolError> {
        let log = Log::open(folder, LogOptions::default())?;
        let mut inner = Inner { mempool: Mempool::new(limits, order), order, live_bytes: 0 };
        if let Some(state) = chain.state(At::Latest)? {
            for signed in stored(&log, chain.spec())? {
                let nonce = state.account(signed.signer())?.nonce;
                let waiting = Waiting::new(Arc::new(signed));
                let bytes = waiting.bytes as u64;
                // What is refused now could not be executed any more: its nonce was used.
                if inner.mempool.admit(waiting, nonce, Duration::ZERO).is_ok() {
                    inner.live_bytes += bytes;
                }
            }
        }
        inner.mempool.set_price_threshold(chain.next_base_fee(&chain.head()).into());
        let pool = Self(Arc::new(Shared {
            chain: chain.clone(),
            inner: Mutex::new(inner),
            log: Arc::new(log),
            compacting: Arc::default(),
            notices: broadcast::Sender::new(NOTICES_MAX),
            arrived: Notify::new(),
            backlog: Condvar::new(),
            opened: Instant::now(),
            changes: AtomicU64::new(0),
        }));
        pool.compact(&pool.0.inner.lock());
        Ok(pool)
    }

    /// Takes a signed transaction in its EIP-2718 bytes. Returns its hash when it is durable.
    ///
    /// # Errors
    /// See [`Refusal`]; the pool is then unchanged.
    pub async fn submit(&self, raw: Bytes) -> Result<B256, Refusal> {
        // Under a tenth of a millisecond, most of it the signature's: less than handing it to another thread and back would take. What is waited
        // for is the disk, by as many as like to: the more there are, the more become durable at once.
        let (signed, nonce) = self.check(&raw)?;
        self.insert(signed, nonce).await
    }

    /// Takes a transaction of an account that nobody has the key of, in its disguise. Its form and the account's means are checked as those of
    /// any other.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) async fn submit_disguised(&self, transaction: Transaction) -> Result<B256, Refusal> {
        let pool = self.clone();
        let checked = tokio::task::spawn_blocking(move || pool.check_disguised(transaction)).await;
        let (signed, nonce) = checked.map_err(|_| Refusal::Stopping)??;
        self.insert(signed, nonce).await
    }

    /// Takes a checked transaction. `account_nonce` is the account's as it was when `checked_on` was the newest block.
    async fn insert(&self, signed: Signed, (mut account_nonce, mut checked_on): (u64, B256)) -> Result<B256, Refusal> {
        let signed = Arc::new(signed);
        let waiting = Waiting::new(Arc::clone(&signed));
        let (hash, bytes) = (waiting.hash, waiting.bytes as u64);
        let ticket = loop {
            let mut inner = self.0.inner.lock();
            // A block since the check may have used the nonces below this one: counted from the old nonce it would wait for them in vain.
            if self.0.chain.head().seal() != checked_on {
                drop(inner);
                let state = self.0.chain.state(At::Latest)?.ok_or(Refusal::Stopping)?;
                (account_nonce, checked_on) = (state.account(signed.signer())?.nonce, state.header().seal());
                continue;
            }
            let admission = inner.mempool.admit(waiting, account_nonce, self.0.opened.elapsed())?;
            inner.live_bytes += bytes;
            self.changed();
            if inner.has_backlog() {
                self.0.backlog.notify_all();
            }
            // Under the lock, so that the log has the order of the pool; before the tombstones of those that had to go, so that a crash in
            // between leaves the old ones rather than none.
            let ticket = self.0.log.append(ACCEPTED, &signed.encoded_2718());
            let mut gone = admission.evicted;
            if let Outcome::Replaced(old) = admission.outcome {
                gone.push(old);
            }
            self.bury(&mut inner, &gone);
            break ticket;
        };
        if let Err(error) = ticket.await {
            let mut inner = self.0.inner.lock();
            let gone: Vec<Waiting> = inner.mempool.rejected(hash).into_iter().collect();
            self.bury(&mut inner, &gone);
            return Err(Refusal::Disk(error.to_string()));
        }
        // No listener is not an error.
        let _ = self.0.notices.send(signed);
        self.0.arrived.notify_one();
        Ok(hash)
    }

    /// A transaction of the pool.
    pub fn transaction(&self, hash: B256) -> Option<Arc<Signed>> {
        self.0.inner.lock().mempool.transaction(hash).map(|waiting| Arc::clone(&waiting.signed))
    }

    /// The nonce that the account's next transaction needs, those in the pool included.
    ///
    /// # Errors
    /// When the chain's state cannot be read.
    pub fn next_nonce(&self, sender: Address) -> Result<u64, ChainError> {
        loop {
            let Some(state) = self.0.chain.state(At::Latest)? else { return Ok(0) };
            let known = state.account(sender)?.nonce;
            let inner = self.0.inner.lock();
            // What a block took out of the pool since then is in no answer yet.
            if self.0.chain.head().seal() == state.header().seal() {
                return Ok(inner.mempool.next_nonce(sender).unwrap_or(known).max(known));
            }
        }
    }

    /// All transactions, account by account in the order of nonces, and whether each could be executed now.
    pub fn transactions(&self) -> Vec<(Arc<Signed>, bool)> {
        let inner = self.0.inner.lock();
        inner.mempool.iter().map(|(waiting, place)| (Arc::clone(&waiting.signed), place != Place::Parked)).collect()
    }

    /// Transactions that are accepted from now on. A slow listener loses the oldest and learns how many.
    pub fn notices(&self) -> broadcast::Receiver<Arc<Signed>> {
        self.0.notices.subscribe()
    }

    /// Returns when a transaction has been accepted since the last call.
    pub async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    /// Whether a block built now would find a transaction here.
    pub fn has_ready(&self) -> bool {
        self.0.inner.lock().mempool.has_ready()
    }

    /// Transactions and their bytes, those handed to the builder included.
    pub fn load(&self) -> (usize, usize) {
        let inner = self.0.inner.lock();
        (inner.mempool.len(), inner.mempool.bytes())
    }

    /// Transactions that are in a block which is not part of the chain yet: in the making, or sealed and not decided.
    pub fn in_flight(&self) -> usize {
        self.0.inner.lock().mempool.in_flight()
    }

    /// Takes a transaction out. `None` when it is not there.
    pub fn drop_transaction(&self, hash: B256) -> Option<Arc<Signed>> {
        let mut inner = self.0.inner.lock();
        let gone = inner.mempool.rejected(hash)?;
        let signed = Arc::clone(&gone.signed);
        self.bury(&mut inner, &[gone]);
        Some(signed)
    }

    /// Grows with every change of what the pool holds.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.0.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// These are in a block that is part of the chain; the next block's base fee is known.
    pub(crate) fn included(&self, hashes: &[B256], base_fee: u64) {
        let mut inner = self.0.inner.lock();
        let gone = inner.mempool.included(hashes.iter().copied());
        self.bury(&mut inner, &gone);
        inner.mempool.set_price_threshold(base_fee.into());
        let expired = inner.mempool.expire(self.0.opened.elapsed());
        self.bury(&mut inner, &expired);
        if inner.mempool.has_ready() {
            self.0.arrived.notify_one();
        }
    }

    /// These were in a block that was given up.
    pub(crate) fn returned(&self, hashes: &[B256]) {
        self.0.inner.lock().mempool.returned(hashes.iter().copied());
    }

    /// The chain went back: these transactions are in no block any more, and the nonces of accounts may be lower. Whatever can still be
    /// executed, now or later, is in the pool afterwards.
    pub(crate) fn restore(&self, transactions: Vec<Transaction>) -> Result<(), ChainError> {
        let chain = &self.0.chain;
        let Some(state) = chain.state(At::Latest)? else { return Ok(()) };
        let mut inner = self.0.inner.lock();
        let waiting: Vec<Waiting> = inner.mempool.iter().map(|(waiting, _)| waiting.clone()).collect();
        let gone = transactions.into_iter().filter_map(|transaction| disguise::recover(chain.spec(), transaction).ok());
        let gone: Vec<Waiting> = gone.map(|signed| Waiting::new(Arc::new(signed))).collect();
        for back in &gone {
            // Its tombstone came before: a restart must find it again. Nobody waits for this.
            drop(self.0.log.append(ACCEPTED, &back.signed.encoded_2718()));
        }
        inner.mempool = Mempool::new(*inner.mempool.limits(), inner.order);
        inner.live_bytes = 0;
        let now = self.0.opened.elapsed();
        for waiting in gone.into_iter().chain(waiting) {
            let (nonce, bytes) = (state.account(waiting.signed.signer())?.nonce, waiting.bytes as u64);
            if inner.mempool.admit(waiting, nonce, now).is_ok() {
                inner.live_bytes += bytes;
            }
        }
        inner.mempool.set_price_threshold(chain.next_base_fee(&chain.head()).into());
        self.changed();
        Ok(())
    }

    /// What left the pool leaves the disk too. Nobody waits for a tombstone: without it a restart finds the transaction in the chain,
    /// or its nonce used.
    fn bury(&self, inner: &mut Inner, gone: &[Waiting]) {
        if gone.is_empty() {
            return;
        }
        self.changed();
        let hashes: Vec<u8> = gone.iter().flat_map(|waiting| waiting.hash.0).collect();
        drop(self.0.log.append(GONE, &hashes));
        inner.live_bytes = inner.live_bytes.saturating_sub(gone.iter().map(|waiting| waiting.bytes as u64).sum());
        if self.0.log.disk_bytes() > COMPACT_BYTES_MIN.max(inner.live_bytes.saturating_mul(COMPACT_FACTOR)) {
            self.compact(inner);
        }
    }

    /// Writes what is in the pool into a log of its own, beside everything else.
    fn compact(&self, inner: &Inner) {
        if self.0.compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let live: Vec<Arc<Signed>> = inner.mempool.iter().map(|(waiting, _)| Arc::clone(&waiting.signed)).collect();
        // Under the pool's lock: what is appended from now on comes after it.
        let mark = self.0.log.mark();
        let (log, compacting) = (Arc::clone(&self.0.log), Arc::clone(&self.0.compacting));
        let work = move || {
            let records = live.into_iter().map(|signed| (ACCEPTED, signed.encoded_2718().into()));
            if let Err(error) = log.compact(&mark, records) {
                tracing::warn!(%error, "the pool's log was not compacted");
            }
            compacting.store(false, Ordering::Release);
        };
        if let Err(error) = std::thread::Builder::new().name("pool-compaction".into()).spawn(work) {
            tracing::warn!(%error, "the pool's log was not compacted");
            self.0.compacting.store(false, Ordering::Release);
        }
    }
}

/// What the log holds and no tombstone names, in the order of arrival.
fn stored(log: &Log, spec: &ChainSpec) -> Result<Vec<Signed>, PoolError> {
    let mut arrivals = BTreeMap::new();
    let mut stored = BTreeMap::new();
    for (at, record) in log.records(log.start()).enumerate() {
        let record = record?;
        if record.kind == ACCEPTED {
            let transaction = Transaction::decode_2718(&mut &record.payload[..]).map_err(|_| PoolError::Record)?;
            if let Some(earlier) = arrivals.insert(transaction.tx_hash(), at) {
                stored.remove(&earlier);
            }
            stored.insert(at, transaction);
        } else {
            for hash in record.payload.chunks_exact(32).map(B256::from_slice) {
                arrivals.remove(&hash).and_then(|at| stored.remove(&at));
            }
        }
    }
    let recovered = |transaction| disguise::recover(spec, transaction).map_err(|_| PoolError::Record);
    stored.into_values().map(recovered).collect()
}
