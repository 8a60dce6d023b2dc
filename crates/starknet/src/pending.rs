//! The open block as others see it: a snapshot that grows as transactions execute.

use std::sync::Arc;

use starknet_api::block::{BlockHash, BlockInfo};
use starknet_api::transaction::TransactionHash;

use crate::block::{ExecutedTransaction, StateDiff};

/// The open block at one moment: immutable, cheap to clone. A later snapshot of the same block has more transactions.
#[derive(Clone, Debug)]
pub struct PreConfirmed {}

impl PreConfirmed {
    /// Number, timestamp, prices and sequencer of the block.
    pub fn block_info(&self) -> &BlockInfo {
        unimplemented!()
    }
    /// Hash of the block it stands on.
    pub fn parent_hash(&self) -> BlockHash {
        unimplemented!()
    }
    /// Transactions so far.
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    /// Whether it holds no transaction.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The transaction at a position.
    pub fn transaction(&self, index: usize) -> Option<Arc<ExecutedTransaction>> {
        let _ = index;
        unimplemented!()
    }
    /// Position and transaction by hash.
    pub fn find(&self, hash: TransactionHash) -> Option<(usize, Arc<ExecutedTransaction>)> {
        let _ = hash;
        unimplemented!()
    }
    /// All transactions so far, in order.
    pub fn transactions(&self) -> Vec<Arc<ExecutedTransaction>> {
        unimplemented!()
    }
    /// Changes so far, against the state of the block it stands on.
    pub fn state_diff(&self) -> StateDiff {
        unimplemented!()
    }
}
