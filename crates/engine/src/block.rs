//! Whole blocks of the rollup, as an engine's JSON-RPC tells them.

use alloy_consensus::Header;
use alloy_consensus::proofs::ordered_trie_root_with_encoder;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, Sealed, U64};
use alloy_rpc_types_eth::{Block, BlockTransactions};
use op_alloy_rpc_types::Transaction;
use optimism::{BadBlock, BlockId, BlockParts, L2Block, RollupConfig, SystemConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use types::{BlockHash, BlockNumber, BlockRef, L1Origin, Timestamp};

use crate::body::cited_origin;

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockAt {
    /// The newest: the unsafe head.
    Latest,
    /// The safe head.
    Safe,
    /// The finalized head.
    Finalized,
    /// The one at this height.
    Number(u64),
    /// The one with this hash, on the chain or beside it.
    Hash(B256),
}

impl BlockAt {
    /// The method that tells it.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Hash(_) => "eth_getBlockByHash",
            _ => "eth_getBlockByNumber",
        }
    }

    /// The method's parameters, with whole transactions or with their hashes alone.
    pub(crate) fn params(self, whole: bool) -> Value {
        match self {
            Self::Latest => json!(["latest", whole]),
            Self::Safe => json!(["safe", whole]),
            Self::Finalized => json!(["finalized", whole]),
            Self::Number(number) => json!([format!("{number:#x}"), whole]),
            Self::Hash(hash) => json!([hash, whole]),
        }
    }

    /// Whether the block that was told is the one that was asked for.
    fn check(self, number: u64, hash: B256) -> Result<(), String> {
        let fits = match self {
            Self::Latest | Self::Safe | Self::Finalized => true,
            Self::Number(wanted) => wanted == number,
            Self::Hash(wanted) => wanted == hash,
        };
        if fits { Ok(()) } else { Err(format!("asked for {self:?}, told of block {number} {hash}")) }
    }
}

/// A block with its transactions, checked against its own hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeBlock {
    header: Sealed<Header>,
    transactions: Vec<Bytes>,
}

impl WholeBlock {
    /// The header with its hash.
    #[must_use]
    pub fn header(&self) -> &Sealed<Header> {
        &self.header
    }

    /// The transactions in their order, each in its binary form (EIP-2718).
    #[must_use]
    pub fn transactions(&self) -> &[Bytes] {
        &self.transactions
    }

    /// What says where the block stands and what held for it.
    #[must_use]
    pub fn parts(&self) -> BlockParts<'_> {
        BlockParts {
            id: BlockId { number: self.header.number, hash: self.header.hash() },
            parent: self.header.parent_hash,
            timestamp: self.header.timestamp,
            gas_limit: self.header.gas_limit,
            extra_data: &self.header.extra_data,
            first_transaction: self.transactions.first().map(AsRef::as_ref),
        }
    }

    /// Where the block stands on both chains, and what holds for the next one: what [`optimism::Plan`] is made from.
    ///
    /// # Errors
    /// When it is no block of this rollup.
    pub fn place(&self, config: &RollupConfig) -> Result<(L2Block, SystemConfig), BadBlock> {
        let parts = self.parts();
        Ok((L2Block::of(config, &parts)?, SystemConfig::of(config, &parts)?))
    }

    /// The L1 block that it cites, with that block's own time, as its first transaction tells; see [`crate::cited_origin`].
    #[must_use]
    pub fn cited_origin(&self) -> Option<L1Origin> {
        self.transactions.first().and_then(|first| cited_origin(first))
    }

    /// The block's name and place.
    #[must_use]
    pub fn block_ref(&self) -> BlockRef {
        BlockRef {
            number: BlockNumber::new(self.header.number),
            hash: BlockHash::new(self.header.hash().0),
            parent: BlockHash::new(self.header.parent_hash.0),
            timestamp: Timestamp::from_secs(self.header.timestamp),
        }
    }
}

/// A block's name and place out of an answer without whole transactions.
pub(crate) fn read_ref(at: BlockAt, answer: &Value) -> Result<BlockRef, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        number: U64,
        hash: B256,
        parent_hash: B256,
        timestamp: U64,
    }
    let told = Told::deserialize(answer).map_err(|error| error.to_string())?;
    at.check(told.number.to(), told.hash)?;
    Ok(BlockRef {
        number: BlockNumber::new(told.number.to()),
        hash: BlockHash::new(told.hash.0),
        parent: BlockHash::new(told.parent_hash.0),
        timestamp: Timestamp::from_secs(told.timestamp.to()),
    })
}

/// A whole block out of an answer. Hash and transactions root are computed anew: a header with fields of a fork that is
/// not known here, or a transaction that is not read as it was meant, must not be built upon.
pub(crate) fn read_whole(at: BlockAt, answer: &Value) -> Result<WholeBlock, String> {
    let told = Block::<Transaction>::deserialize(answer).map_err(|error| error.to_string())?;
    let (header, hash) = (told.header.inner, told.header.hash);
    at.check(header.number, hash)?;
    let found = header.hash_slow();
    if found != hash {
        return Err(format!("block {}: its hash is said to be {hash}, its header hashes to {found}", header.number));
    }
    let transactions: Vec<Bytes> = match &told.transactions {
        BlockTransactions::Full(whole) => whole.iter().map(|one| one.inner.inner.encoded_2718().into()).collect(),
        other if other.is_empty() => Vec::new(),
        _ => return Err("the transactions are told by their hashes alone".to_owned()),
    };
    let root = ordered_trie_root_with_encoder(&transactions, |transaction, out| out.extend_from_slice(transaction));
    if root != header.transactions_root {
        return Err(format!("block {} {hash}: the transactions are not those that its header names", header.number));
    }
    Ok(WholeBlock { header: Sealed::new_unchecked(header, hash), transactions })
}
