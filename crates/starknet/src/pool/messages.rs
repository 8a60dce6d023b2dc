//! Messages from L1 that wait for a block. They follow no nonce of L2 and are executed in the order in which they came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use mempool::Refusal;
use starknet_api::transaction::TransactionHash;

use crate::source::ReadyTransaction;

/// Messages that may be in the pool at once.
const MESSAGES_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Messages {
    waiting: VecDeque<Arc<ReadyTransaction>>,
    flying: BTreeMap<TransactionHash, Arc<ReadyTransaction>>,
}

impl Messages {
    pub(super) fn admit(&mut self, message: Arc<ReadyTransaction>) -> Result<(), Refusal<TransactionHash>> {
        if self.is_flying(message.hash()).is_some() {
            return Err(Refusal::Duplicate(message.hash()));
        }
        if self.len() >= MESSAGES_MAX {
            return Err(Refusal::Full { count: self.len(), bytes: 0 });
        }
        self.push(message);
        Ok(())
    }

    pub(super) fn push(&mut self, message: Arc<ReadyTransaction>) {
        self.waiting.push_back(message);
    }

    pub(super) fn take(&mut self, max: usize) -> Vec<Arc<ReadyTransaction>> {
        let taken: Vec<_> = self.waiting.drain(..max.min(self.waiting.len())).collect();
        self.flying.extend(taken.iter().map(|message| (message.hash(), Arc::clone(message))));
        taken
    }

    /// Puts those of the transactions that are messages back, before all others, in this order.
    pub(super) fn returned(&mut self, transactions: &[Arc<ReadyTransaction>]) {
        for transaction in transactions.iter().rev() {
            if let Some(message) = self.flying.remove(&transaction.hash()) {
                self.waiting.push_front(message);
            }
        }
    }

    /// Forgets one in flight. Says whether there was one.
    pub(super) fn settle(&mut self, hash: TransactionHash) -> bool {
        self.flying.remove(&hash).is_some()
    }

    /// Forgets one that waits.
    pub(super) fn withdraw(&mut self, hash: TransactionHash) {
        self.waiting.retain(|message| message.hash() != hash);
    }

    pub(super) fn is_flying(&self, hash: TransactionHash) -> Option<bool> {
        if self.flying.contains_key(&hash) {
            return Some(true);
        }
        self.waiting.iter().any(|message| message.hash() == hash).then_some(false)
    }

    pub(super) fn transaction(&self, hash: TransactionHash) -> Option<Arc<ReadyTransaction>> {
        self.all().find(|message| message.hash() == hash)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Arc<ReadyTransaction>> + '_ {
        self.flying.values().chain(&self.waiting).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }
}
