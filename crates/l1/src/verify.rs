//! Is this the answer to what was asked? Pure checks of what an endpoint says against what only the true block can say.
//!
//! A header is checked by its hash, the body of a block and its receipts by the roots in its header. What no hash
//! vouches for (hashes and senders of transactions, indices of logs) is not taken over from an endpoint at all:
//! transactions are encoded and decoded anew, so that their hashes come from their bytes, and a log's index is its
//! place among the receipts.

use std::fmt;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root};
use alloy_consensus::{ReceiptEnvelope, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::{B256, Sealed};
use alloy_rpc_types_eth::{Block as RpcBlock, BlockTransactions, Header as RpcHeader, TransactionReceipt};

/// The header of an L1 block, with its hash.
pub type Header = Sealed<alloy_consensus::Header>;

/// The receipt of an L1 transaction, as the receipts root commits to it.
pub type Receipt = ReceiptEnvelope;

/// Bytes of extra data that a header may have. Ethereum allows 32; chains with proof of authority write their signers
/// there.
pub const EXTRA_DATA_BYTES_MAX: usize = 4096;

/// An L1 block with its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions in order. Senders are not told: recover the few that matter.
    pub transactions: Vec<TxEnvelope>,
    /// The withdrawals, from Shanghai on.
    pub withdrawals: Option<Withdrawals>,
}

/// Which L1 block is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// The canonical one at this height.
    Number(u64),
    /// The one with this hash, canonical or not.
    Hash(B256),
    /// The one with this name.
    Tag(Tag),
}

/// The names of L1's heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// The newest block.
    Latest,
    /// The newest block that most validators have voted for once.
    Safe,
    /// The newest block that is final.
    Finalized,
}

impl Tag {
    /// As it is written in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "L1 block {number}"),
            Self::Hash(hash) => write!(f, "L1 block {hash}"),
            Self::Tag(tag) => write!(f, "the {} L1 block", tag.as_str()),
        }
    }
}

/// An answer that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// The fields of the header do not have the hash that it is said to have. A chain whose headers have fields that
    /// are not known here looks the same.
    #[error("header {number} is said to have hash {claimed}, and its fields have {computed}: another format, or a lie")]
    HeaderHash {
        /// Its height.
        number: u64,
        /// What was said.
        claimed: B256,
        /// What it is.
        computed: B256,
    },
    /// Another block than the one that was asked for.
    #[error("{asked} was asked for, and the answer is block {number} with hash {hash}")]
    OtherBlock {
        /// What was asked for.
        asked: At,
        /// The height of the answer.
        number: u64,
        /// The hash of the answer.
        hash: B256,
    },
    /// More than a header can hold.
    #[error("header {number} has {bytes} bytes of extra data, more than {EXTRA_DATA_BYTES_MAX}")]
    ExtraData {
        /// Its height.
        number: u64,
        /// How many.
        bytes: usize,
    },
    /// A root in the header does not fit what came with it.
    #[error("the {what} of block {block} have root {computed}, and its header says {claimed}")]
    Root {
        /// What came.
        what: &'static str,
        /// Whose.
        block: B256,
        /// What the header says.
        claimed: B256,
        /// What it is.
        computed: B256,
    },
    /// The block came with less than was asked for.
    #[error("block {block} came without its {what}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// Whose.
        block: B256,
    },
    /// A transaction that its own encoding does not give back.
    #[error("transaction {index} of block {block} cannot be encoded: {reason}")]
    Transaction {
        /// Its place.
        index: usize,
        /// Where.
        block: B256,
        /// Why.
        reason: String,
    },
}

/// Checks a header. With `believe_hash` its hash is taken over as it was said; that it is the block asked for is
/// checked always.
///
/// # Errors
/// [`Lie`] if it is not the header asked for.
pub fn header(asked: At, answer: RpcHeader, believe_hash: bool) -> Result<Header, Lie> {
    let RpcHeader { hash, inner, .. } = answer;
    let (number, bytes) = (inner.number, inner.extra_data.len());
    if bytes > EXTRA_DATA_BYTES_MAX {
        return Err(Lie::ExtraData { number, bytes });
    }
    if !believe_hash {
        let computed = inner.hash_slow();
        if computed != hash {
            return Err(Lie::HeaderHash { number, claimed: hash, computed });
        }
    }
    let as_asked = match asked {
        At::Number(wanted) => wanted == number,
        At::Hash(wanted) => wanted == hash,
        At::Tag(_) => true,
    };
    if as_asked { Ok(Header::new_unchecked(inner, hash)) } else { Err(Lie::OtherBlock { asked, number, hash }) }
}

/// Checks a whole block: the header as [`header`] does, and transactions and withdrawals against its roots.
///
/// # Errors
/// [`Lie`] if it is not the block asked for, or not all of it.
pub fn block(asked: At, answer: RpcBlock, believe_hash: bool) -> Result<Block, Lie> {
    let header = header(asked, answer.header, believe_hash)?;
    let block = header.hash();
    let BlockTransactions::Full(transactions) = answer.transactions else {
        return Err(Lie::Missing { what: "transactions", block });
    };
    let claimed = transactions.into_iter().map(|transaction| transaction.into_inner());
    let transactions = claimed
        .enumerate()
        .map(|(index, transaction)| anew(&transaction).map_err(|reason| Lie::Transaction { index, block, reason }))
        .collect::<Result<Vec<_>, _>>()?;
    check_root("transactions", block, header.transactions_root, || calculate_transaction_root(&transactions))?;
    let withdrawals = answer.withdrawals;
    match (header.withdrawals_root, &withdrawals) {
        (Some(root), Some(list)) => check_root("withdrawals", block, root, || calculate_withdrawals_root(list))?,
        (Some(_), None) => return Err(Lie::Missing { what: "withdrawals", block }),
        // What no root vouches for is left out.
        (None, _) => return Ok(Block { header, transactions, withdrawals: None }),
    }
    Ok(Block { header, transactions, withdrawals })
}

/// Checks the receipts of a block against the root in its header.
///
/// # Errors
/// [`Lie`] if they are not exactly its receipts, in order.
pub fn receipts(header: &Header, answer: Vec<TransactionReceipt>) -> Result<Vec<Receipt>, Lie> {
    let receipts: Vec<Receipt> = answer.into_iter().map(|receipt| receipt.into_primitives_receipt().inner).collect();
    check_root("receipts", header.hash(), header.receipts_root, || calculate_receipt_root(&receipts))?;
    Ok(receipts)
}

fn check_root(what: &'static str, block: B256, claimed: B256, compute: impl FnOnce() -> B256) -> Result<(), Lie> {
    let computed = compute();
    if computed == claimed { Ok(()) } else { Err(Lie::Root { what, block, claimed, computed }) }
}

/// The same transaction from its bytes: with the hash that these have, not the one that came with it.
fn anew(transaction: &TxEnvelope) -> Result<TxEnvelope, String> {
    let bytes = transaction.encoded_2718();
    TxEnvelope::decode_2718_exact(&bytes).map_err(|error| error.to_string())
}
