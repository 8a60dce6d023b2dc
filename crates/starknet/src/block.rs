//! Blocks as the chain keeps them: header, transactions with outcomes, state diff.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starknet_api::block::{BlockHash, BlockInfo, BlockNumber, BlockTimestamp, GasPrices, StarknetVersion};
use starknet_api::core::{
    ClassHash, CompiledClassHash, ContractAddress, EventCommitment, GlobalRoot, Nonce, ReceiptCommitment,
    StateDiffCommitment, TransactionCommitment,
};
use starknet_api::execution_resources::GasVector;
use starknet_api::state::StorageKey;
use starknet_api::transaction::fields::Fee;
use starknet_api::transaction::{Event, MessageToL1, Transaction, TransactionHash};
use starknet_types_core::felt::Felt;

/// A sealed block, cheap to clone.
#[derive(Clone, Debug)]
pub struct Block {
    /// Header with hash and commitments.
    pub header: Arc<Header>,
    /// Transactions in order, each with its outcome.
    pub transactions: Arc<[Arc<ExecutedTransaction>]>,
    /// What the block changed.
    pub state_diff: Arc<StateDiff>,
}

/// Header of a sealed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Height; genesis is 0.
    pub number: BlockNumber,
    /// Block hash.
    pub hash: BlockHash,
    /// Hash of the block before; 0 for genesis.
    pub parent_hash: BlockHash,
    /// State root after the block.
    pub state_root: GlobalRoot,
    /// Unix seconds; never goes back.
    pub timestamp: BlockTimestamp,
    /// Who built it and collected the fees.
    pub sequencer: ContractAddress,
    /// Gas prices in both tokens.
    pub gas_prices: GasPrices,
    /// Whether data is priced as blobs.
    pub blob_data: bool,
    /// Protocol version.
    pub version: StarknetVersion,
    /// Root over transactions.
    pub transaction_commitment: TransactionCommitment,
    /// Root over events.
    pub event_commitment: EventCommitment,
    /// Root over receipts.
    pub receipt_commitment: ReceiptCommitment,
    /// Hash of the state diff.
    pub state_diff_commitment: StateDiffCommitment,
    /// Entries of the state diff.
    pub state_diff_length: u64,
    /// Number of transactions.
    pub transaction_count: u64,
    /// Number of events.
    pub event_count: u64,
    /// Root of the contracts trie.
    pub contracts_root: Felt,
    /// Root of the classes trie.
    pub classes_root: Felt,
    /// STARK ECDSA signature (r, s) over Poseidon(block hash, state diff commitment).
    pub signature: (Felt, Felt),
}

impl Header {
    /// What transactions of this block see of it.
    pub fn block_info(&self) -> BlockInfo {
        BlockInfo {
            block_number: self.number,
            block_timestamp: self.timestamp,
            starknet_version: self.version,
            sequencer_address: self.sequencer,
            gas_prices: self.gas_prices.clone(),
            use_kzg_da: self.blob_data,
        }
    }
}

/// A transaction and what executing it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutedTransaction {
    /// Its hash.
    pub hash: TransactionHash,
    /// The transaction as signed.
    pub transaction: Transaction,
    /// Fee paid on L1; only for L1 handlers, else 0.
    pub paid_fee_on_l1: Fee,
    /// What it did.
    pub outcome: Outcome,
}

/// What executing a transaction did, as far as receipts and commitments need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Fee charged, in FRI for version 3 and L1 handlers 0.
    pub fee: Fee,
    /// Gas charged: L1, L1 data, L2.
    pub gas: GasVector,
    /// The part of `gas` that data availability took.
    pub data_gas: GasVector,
    /// Events in emission order (validate, execute, fee transfer).
    pub events: Vec<Event>,
    /// Messages to L1 in order.
    pub messages: Vec<MessageToL1>,
    /// Why it was reverted, or `None` when it succeeded.
    pub revert_reason: Option<String>,
    /// Address of the account that a DEPLOY_ACCOUNT made.
    pub deployed: Option<ContractAddress>,
}

/// Net changes of a block, or of the open block so far. Ordered, so that equal diffs have equal encodings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDiff {
    /// Slots whose value changed, with the new value (0 when cleared). No contract with an empty map.
    pub storage: BTreeMap<ContractAddress, BTreeMap<StorageKey, Felt>>,
    /// Contracts that came into being.
    pub deployed: BTreeMap<ContractAddress, ClassHash>,
    /// Contracts whose class was replaced.
    pub replaced: BTreeMap<ContractAddress, ClassHash>,
    /// New nonces.
    pub nonces: BTreeMap<ContractAddress, Nonce>,
    /// Sierra classes declared, with their compiled class hash.
    pub declared: BTreeMap<ClassHash, CompiledClassHash>,
    /// Classes whose compiled class hash moved to the Blake2s scheme.
    pub migrated: BTreeMap<ClassHash, CompiledClassHash>,
    /// Cairo 0 classes declared.
    pub deprecated_declared: BTreeSet<ClassHash>,
}
