//! The transactions of one account.

use crate::Pooled;
use std::collections::BTreeMap;
use std::time::Duration;

/// A transaction with what the pool noted when it came.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub(crate) transaction: T,
    /// Counts admissions: the order of arrival.
    pub(crate) sequence: u64,
    pub(crate) arrived: Duration,
}

impl<T: Pooled> Entry<T> {
    pub(crate) fn fee(&self) -> Fee {
        Fee { tip: self.transaction.tip(), max_price: self.transaction.max_price() }
    }
}

/// What a transaction is worth when room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fee {
    pub(crate) tip: u128,
    pub(crate) max_price: u128,
}

/// One account: what waits, what is in flight, and the nonce that comes next.
#[derive(Clone, Debug)]
pub(crate) struct Account<T> {
    /// The nonce that may be handed out next.
    next: u64,
    /// The first nonce from `next` on that is not waiting.
    missing: u64,
    waiting: BTreeMap<u64, Entry<T>>,
    flying: BTreeMap<u64, Entry<T>>,
    waiting_bytes: usize,
}

impl<T: Pooled> Account<T> {
    pub(crate) fn new(next: u64) -> Self {
        Self { next, missing: next, waiting: BTreeMap::new(), flying: BTreeMap::new(), waiting_bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }

    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }

    pub(crate) fn waiting(&self, nonce: u64) -> Option<&Entry<T>> {
        self.waiting.get(&nonce)
    }

    pub(crate) fn flying(&self, nonce: u64) -> Option<&Entry<T>> {
        self.flying.get(&nonce)
    }

    /// The transaction that may be handed out next.
    pub(crate) fn head(&self) -> Option<&Entry<T>> {
        self.waiting.get(&self.next)
    }

    /// Nothing can be handed out although something waits.
    pub(crate) fn is_gapped(&self) -> bool {
        self.head().is_none() && !self.waiting.is_empty()
    }

    /// What waits, from the highest nonce down: the order in which nothing is orphaned.
    pub(crate) fn descending(&self) -> impl Iterator<Item = (&u64, &Entry<T>)> {
        self.waiting.iter().rev()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry<T>> {
        self.flying.values().chain(self.waiting.values())
    }

    /// The chain is known to be at `nonce`. What waits below it is left to [`Account::outdated`].
    pub(crate) fn observe(&mut self, nonce: u64) {
        let lowest = self.waiting.first_key_value().map_or(nonce, |(lowest, _)| nonce.min(*lowest));
        self.raise(lowest);
    }

    /// The nonces of whatever lies below `nonce`, waiting or in flight.
    pub(crate) fn outdated(&self, nonce: u64) -> Vec<u64> {
        self.flying.range(..nonce).chain(self.waiting.range(..nonce)).map(|(nonce, _)| *nonce).collect()
    }

    pub(crate) fn insert(&mut self, entry: Entry<T>) {
        self.waiting_bytes += entry.transaction.bytes();
        self.waiting.insert(entry.transaction.nonce(), entry);
        self.extend();
    }

    pub(crate) fn remove_waiting(&mut self, nonce: u64) -> Option<Entry<T>> {
        let entry = self.waiting.remove(&nonce)?;
        self.waiting_bytes -= entry.transaction.bytes();
        if (self.next..self.missing).contains(&nonce) {
            self.missing = nonce;
        }
        Some(entry)
    }

    /// Hands the head out.
    pub(crate) fn take(&mut self) -> Option<T> {
        let entry = self.waiting.remove(&self.next)?;
        self.waiting_bytes -= entry.transaction.bytes();
        let transaction = entry.transaction.clone();
        self.flying.insert(self.next, entry);
        self.raise(self.next.saturating_add(1));
        Some(transaction)
    }

    /// One in flight comes back: its nonce comes next again.
    pub(crate) fn land(&mut self, nonce: u64) -> Option<()> {
        let entry = self.flying.remove(&nonce)?;
        self.waiting_bytes += entry.transaction.bytes();
        self.waiting.insert(nonce, entry);
        self.lower(nonce);
        Some(())
    }

    /// One in flight is gone and its nonce was used.
    pub(crate) fn settle(&mut self, nonce: u64) -> Option<Entry<T>> {
        let entry = self.flying.remove(&nonce);
        self.raise(nonce.saturating_add(1));
        entry
    }

    /// One in flight is gone and its nonce was not used.
    pub(crate) fn refuse(&mut self, nonce: u64) -> Option<Entry<T>> {
        let entry = self.flying.remove(&nonce)?;
        self.lower(nonce);
        Some(entry)
    }

    fn raise(&mut self, next: u64) {
        self.next = self.next.max(next);
        self.missing = self.missing.max(self.next);
        self.extend();
    }

    fn lower(&mut self, next: u64) {
        if next < self.next {
            self.next = next;
            self.missing = next;
        }
        self.extend();
    }

    fn extend(&mut self) {
        while self.waiting.contains_key(&self.missing) {
            self.missing = self.missing.saturating_add(1);
        }
    }
}
