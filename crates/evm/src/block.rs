//! Nouns of the chain: transactions, receipts, blocks, and what a block changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_consensus::{Header, Sealed};
use alloy_primitives::{Address, B256, Bytes, U256};
use revm::state::AccountInfo;
use serde::{Deserialize, Serialize};
use types::{BlockHash, BlockNumber, BlockRef, Timestamp};

/// A transaction of any type that a chain takes: a signed one, or a deposit from L1 on a chain of the OP Stack. There are no blobs here.
pub type Transaction = op_alloy_consensus::OpTxEnvelope;
/// What became of a transaction, as it enters the receipts root.
pub type Receipt = op_alloy_consensus::OpReceiptEnvelope;
/// A block in its RLP form.
pub type RawBlock = alloy_consensus::Block<Transaction>;

/// A header with its hash.
pub type SealedHeader = Sealed<Header>;

/// A block of the chain with everything known about its transactions.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its header.
    pub header: Arc<SealedHeader>,
    /// Its transactions in order.
    pub transactions: Arc<Vec<ExecutedTransaction>>,
    /// Bytes of its RLP.
    pub size: usize,
}

/// A transaction with its outcome.
#[derive(Clone, Debug)]
pub struct ExecutedTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Whose signature it carries.
    pub sender: Address,
    /// What became of it.
    pub receipt: Receipt,
    /// Gas that it used.
    pub gas_used: u64,
    /// Address of the contract that it created.
    pub created: Option<Address>,
    /// Index in the block of its first log.
    pub first_log: u64,
}

/// An account without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// Keccak hash of its code.
    pub code_hash: B256,
}

impl From<&AccountInfo> for Account {
    fn from(info: &AccountInfo) -> Self {
        Self { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
    }
}

/// What a block writes to the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChanges {
    /// Accounts as they are afterwards; `None` for those that are gone.
    pub accounts: BTreeMap<Address, Option<Account>>,
    /// Slots as they are afterwards.
    pub storage: BTreeMap<Address, BTreeMap<U256, U256>>,
    /// Accounts whose earlier slots are all gone.
    pub wiped: BTreeSet<Address>,
    /// Code seen for the first time, by its hash.
    pub code: BTreeMap<B256, Bytes>,
}

/// The block as the heart names it.
pub fn block_ref(header: &SealedHeader) -> BlockRef {
    BlockRef {
        number: BlockNumber::new(header.number),
        hash: BlockHash::new(header.seal().0),
        parent: BlockHash::new(header.parent_hash.0),
        timestamp: Timestamp::from_secs(header.timestamp),
    }
}
