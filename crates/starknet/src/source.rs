//! The seam between the pool and the builder: who waits for a block, and what became of it.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use starknet_api::block::BlockNumber;
use starknet_api::executable_transaction;
use starknet_api::transaction::TransactionHash;

use crate::classes::DeclaredClass;

/// A transaction that passed admission.
#[derive(Clone, Debug)]
pub struct ReadyTransaction {
    /// The transaction with its hash.
    pub transaction: executable_transaction::Transaction,
    /// The class it declares, compiled; `Some` exactly for DECLARE.
    pub class: Option<Arc<DeclaredClass>>,
}

impl ReadyTransaction {
    /// Hash of the transaction.
    pub fn hash(&self) -> TransactionHash {
        self.transaction.tx_hash()
    }
}

/// Where the builder takes transactions from, and whom it tells what became of them.
///
/// Every transaction that [`take`](Self::take) handed out meets exactly one end: `executed` and later `included`, or
/// `rejected`, or `returned`. All methods are quick and never wait for a block.
pub trait TransactionSource: Send + Sync {
    /// Up to `max` transactions in the order in which they should execute. Empty means nothing is ready.
    fn take(&self, max: usize) -> Vec<Arc<ReadyTransaction>>;

    /// A bell to ring whenever `take` may have something new.
    fn doorbell(&self) -> Arc<Doorbell>;

    /// Executed in the open block (successfully or reverted): pre-confirmed. In block order.
    fn executed(&self, hash: TransactionHash);

    /// Could not be part of a block (nonce, validation, balance, size): dropped for good.
    fn rejected(&self, hash: TransactionHash, reason: &str);

    /// Not executed in the block that was open (full, closed, cancelled): to be offered again first, in this order.
    fn returned(&self, transactions: Vec<Arc<ReadyTransaction>>);

    /// Durable in this block of the log: may be forgotten, on disk as well. In block order.
    fn included(&self, block: BlockNumber, hashes: &[TransactionHash]);
}

/// Wakes one waiting thread. Rings are remembered, so that none is lost between a look and a wait.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Doorbell {
    /// Wakes the waiter, or the next one to wait.
    pub fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_one();
    }

    /// Waits for a ring and takes it; gives up after `timeout`. Returns whether it was rung.
    pub fn wait(&self, timeout: std::time::Duration) -> bool {
        let mut rung = self.rung.lock();
        if !*rung {
            self.changed.wait_for(&mut rung, timeout);
        }
        std::mem::take(&mut *rung)
    }
}
