//! What fills a block from the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use alloy_primitives::{Address, B256};
use mempool::Mempool;

use super::{Pool, Signed, Waiting};
use crate::execute::{Feed, Refused};

/// Transactions handed to the builder at once.
const HANDFUL: usize = 64;
/// Gas of the cheapest transaction: with less left a block is full.
const CHEAPEST_GAS: u64 = 21_000;

/// Whose turn it is while a block is filled: first the pool's, to say when it has enough to begin with; then that of whoever wants the block.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicU8);

const EARLY: u8 = 0;
const DUE: u8 = 1;
const OVER: u8 = 2;

impl Turn {
    /// The block is wanted now.
    pub(crate) fn due() -> Self {
        Self(AtomicU8::new(DUE))
    }

    /// Whether nobody wants the block any more.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == OVER
    }
}

impl Pool {
    /// What fills a block that is wanted now.
    pub(crate) fn feed(&self) -> PoolFeed<'_> {
        self.feed_by(Arc::new(Turn::due()), 0)
    }

    /// What fills a block that is wanted later, as [`Pool::call`] will say. Until then it hands out the best transactions as long as there is a
    /// backlog and more gas than `kept` is left: the rest of the block is for those that pay most when it is due.
    pub(crate) fn feed_by(&self, turn: Arc<Turn>, kept: u64) -> PoolFeed<'_> {
        PoolFeed { pool: self, turn, kept, handful: Vec::new(), out: Vec::new(), left: Vec::new(), blocked: Vec::new() }
    }

    /// The block that is filled in this turn is wanted now.
    pub(crate) fn call(&self, turn: &Turn) {
        self.set(turn, DUE);
    }

    /// The block that is filled in this turn is not wanted any more: its feed ends, and all that it handed out is the pool's again.
    pub(crate) fn call_off(&self, turn: &Turn) {
        self.set(turn, OVER);
    }

    fn set(&self, turn: &Turn, to: u8) {
        // Under the lock, so that nobody looks at the old value and then sleeps through the call.
        let _inner = self.0.inner.lock();
        turn.0.fetch_max(to, Ordering::AcqRel);
        self.0.backlog.notify_all();
    }

    /// The best transactions, a few at a time. None: the block is to be closed.
    fn handful(&self, turn: &Turn, may_begin: bool) -> Vec<Waiting> {
        let mut inner = self.0.inner.lock();
        loop {
            match turn.0.load(Ordering::Acquire) {
                EARLY if may_begin && inner.has_backlog() => return inner.mempool.take(HANDFUL),
                EARLY => self.0.backlog.wait(&mut inner),
                DUE => return inner.mempool.take(HANDFUL),
                _ => return Vec::new(),
            }
        }
    }

    /// What would fill a block now. It takes nothing from the pool.
    pub(crate) fn glance(&self) -> Glance {
        let mut mempool = self.0.inner.lock().mempool.clone();
        mempool.rewind();
        Glance { mempool, blocked: Vec::new() }
    }
}

/// Hands out the best transactions while a block has room. What it handed out stays in flight when it is dropped, unless the block was called
/// off; the rest goes back.
pub(crate) struct PoolFeed<'a> {
    pool: &'a Pool,
    turn: Arc<Turn>,
    /// Gas that is not given away before the block is due.
    kept: u64,
    handful: Vec<Waiting>,
    /// Handed out and, as far as is known, part of the block.
    out: Vec<B256>,
    /// Handed out and not part of the block: for the next one.
    left: Vec<B256>,
    /// Accounts of which a transaction was left: their later ones must wait.
    blocked: Vec<Address>,
}

impl Feed for PoolFeed<'_> {
    fn next(&mut self, gas_left: u64) -> Option<Arc<Signed>> {
        if gas_left < CHEAPEST_GAS {
            return None;
        }
        loop {
            if self.turn.is_over() {
                return None;
            }
            if self.handful.is_empty() {
                self.handful = self.pool.handful(&self.turn, gas_left > self.kept);
                self.handful.reverse();
            }
            let waiting = self.handful.pop()?;
            if self.blocked.contains(&waiting.signed.signer()) {
                self.left.push(waiting.hash);
                continue;
            }
            self.out.push(waiting.hash);
            return Some(waiting.signed);
        }
    }

    fn refused(&mut self, transaction: &Signed, reason: Refused) {
        // It is the one that was handed out last.
        self.out.pop();
        match reason {
            Refused::NoRoom => {
                self.left.push(transaction.tx_hash());
                self.blocked.push(transaction.signer());
            }
            Refused::Invalid(reason) => {
                tracing::debug!(hash = %transaction.tx_hash(), reason, "a transaction of the pool cannot be executed");
                self.blocked.push(transaction.signer());
                self.pool.drop_transaction(transaction.tx_hash());
            }
        }
    }
}

impl Drop for PoolFeed<'_> {
    fn drop(&mut self) {
        let mut back: Vec<B256> = self.handful.iter().map(|waiting| waiting.hash).collect();
        back.append(&mut self.left);
        if self.turn.is_over() {
            back.append(&mut self.out);
        }
        self.pool.returned(&back);
    }
}

/// The pool as it was at one moment: fills a block that is only looked at.
pub(crate) struct Glance {
    mempool: Mempool<Waiting>,
    blocked: Vec<Address>,
}

impl Feed for Glance {
    fn next(&mut self, gas_left: u64) -> Option<Arc<Signed>> {
        if gas_left < CHEAPEST_GAS {
            return None;
        }
        loop {
            let waiting = self.mempool.take(1).pop()?;
            if !self.blocked.contains(&waiting.signed.signer()) {
                return Some(waiting.signed);
            }
        }
    }

    fn refused(&mut self, transaction: &Signed, _reason: Refused) {
        self.blocked.push(transaction.signer());
    }
}
