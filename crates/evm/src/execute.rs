//! Executing a block: the same way whether its transactions come one by one from the pool or all at once in another's block.

use std::sync::Arc;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root, calculate_withdrawals_root};
use alloy_consensus::transaction::Recovered;
use alloy_consensus::{BlockHeader, EMPTY_OMMER_ROOT_HASH, Header, Transaction as _, TxReceipt};
use alloy_eips::eip4895::Withdrawals;
use alloy_evm::block::{BlockExecutionError, BlockExecutor, BlockValidationError};
use alloy_evm::eth::receipt_builder::AlloyReceiptBuilder;
use alloy_evm::eth::{EthBlockExecutionCtx, EthBlockExecutor, NextEvmEnvAttributes};
use alloy_evm::{EthEvmFactory, EvmEnv, EvmFactory};
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256, Bloom, Bytes};
use revm::database::State;
use revm::database::states::bundle_state::BundleRetention;
use revm::database::{BundleState, WrapDatabaseRef};

use crate::block::{Account, ExecutedTransaction, Receipt, SealedHeader, StateChanges, Transaction};
use crate::{ChainError, ChainSpec, StateView};

/// All that a block is made from besides its parent and its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockAttributes {
    /// Seconds since the epoch. Above the parent's.
    pub timestamp: u64,
    /// Who earns the tips.
    pub beneficiary: Address,
    /// The block's random value.
    pub prev_randao: B256,
    /// Gas that its transactions may use together.
    pub gas_limit: u64,
    /// Base fee in wei; `None`: what the parent's demand makes of it (EIP-1559).
    pub base_fee: Option<u64>,
    /// Free bytes of the header, at most 32.
    pub extra_data: Bytes,
    /// Root of the parent beacon block (EIP-4788).
    pub parent_beacon_block_root: B256,
}

impl BlockAttributes {
    /// Those of a block that is there.
    pub(crate) fn of(header: &Header) -> Self {
        Self {
            timestamp: header.timestamp,
            beneficiary: header.beneficiary,
            prev_randao: header.mix_hash,
            gas_limit: header.gas_limit,
            base_fee: None,
            extra_data: header.extra_data.clone(),
            parent_beacon_block_root: header.parent_beacon_block_root.unwrap_or_default(),
        }
    }
}

/// Where a block's transactions come from.
pub(crate) trait Feed {
    /// The next transaction for a block with this much gas left; `None` ends the block.
    fn next(&mut self, gas_left: u64) -> Option<Arc<Recovered<Transaction>>>;
    /// The transaction could not be executed and is not part of the block.
    fn refused(&mut self, transaction: &Recovered<Transaction>, reason: Refused);
}

/// Why a transaction is not part of the block.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// It does not fit any more.
    NoRoom,
    /// The rules forbid it, as the state stands.
    Invalid(String),
}

/// A block as far as execution makes it.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    pub(crate) transactions: Vec<ExecutedTransaction>,
    pub(crate) changes: StateChanges,
    pub(crate) gas_used: u64,
    pub(crate) blob_gas_used: u64,
    pub(crate) requests_hash: B256,
    pub(crate) base_fee: u64,
}

/// The environment of a block on `parent`.
pub(crate) fn environment(spec: &ChainSpec, parent: &SealedHeader, attributes: &BlockAttributes) -> EvmEnv {
    let next = NextEvmEnvAttributes {
        timestamp: attributes.timestamp,
        suggested_fee_recipient: attributes.beneficiary,
        prev_randao: attributes.prev_randao,
        gas_limit: attributes.gas_limit,
        slot_number: None,
    };
    let base_fee = attributes.base_fee.unwrap_or_else(|| next_base_fee(spec, parent));
    let blobs = spec.blob_params(attributes.timestamp);
    let mut environment = EvmEnv::for_eth_next_block(parent.inner(), next, base_fee, spec, spec.chain_id(), blobs);
    // Contracts send transactions in disguise alone: admission keeps the others out.
    environment.cfg_env.disable_eip3607 = spec.is_development();
    environment
}

/// The base fee that the parent's demand leads to, in wei.
pub(crate) fn next_base_fee(spec: &ChainSpec, parent: &Header) -> u64 {
    parent.next_block_base_fee(spec.base_fee_params()).unwrap_or_default()
}

/// Executes a block on `state`, which is that at the end of its parent.
pub(crate) fn execute(
    spec: &ChainSpec,
    state: StateView,
    attributes: &BlockAttributes,
    feed: &mut impl Feed,
) -> Result<Executed, ChainError> {
    let parent = state.header().clone();
    let environment = environment(spec, &parent, attributes);
    let base_fee = environment.block_env.basefee;
    let mut database = State::builder().with_database(WrapDatabaseRef(state)).with_bundle_update().build();
    let context = EthBlockExecutionCtx {
        parent_hash: parent.seal(),
        parent_beacon_block_root: Some(attributes.parent_beacon_block_root),
        ommers: &[],
        withdrawals: Some(std::borrow::Cow::Borrowed(&[])),
        extra_data: attributes.extra_data.clone(),
        tx_count_hint: None,
        slot_number: None,
    };
    let evm = EthEvmFactory::default().create_evm(&mut database, environment);
    let mut executor = EthBlockExecutor::new(evm, context, spec, AlloyReceiptBuilder::default());
    executor.apply_pre_execution_changes().map_err(failed)?;
    let mut taken: Vec<Arc<Recovered<Transaction>>> = Vec::new();
    let mut used = 0;
    while let Some(transaction) = feed.next(attributes.gas_limit.saturating_sub(used)) {
        match executor.execute_transaction(transaction.as_ref().as_recovered_ref()) {
            Ok(gas) => {
                used += gas.tx_gas_used();
                taken.push(transaction);
            }
            Err(BlockExecutionError::Validation(fault)) => feed.refused(&transaction, refusal(fault)),
            Err(error) => return Err(failed(error)),
        }
    }
    let (_, result) = executor.finish().map_err(failed)?;
    database.merge_transitions(BundleRetention::PlainState);
    let changes = changes(database.take_bundle());
    Ok(Executed {
        transactions: with_outcomes(taken, result.receipts),
        changes,
        gas_used: result.gas_used,
        blob_gas_used: result.blob_gas_used,
        requests_hash: result.requests.requests_hash(),
        base_fee,
    })
}

fn refusal(fault: BlockValidationError) -> Refused {
    match fault {
        BlockValidationError::TransactionGasLimitMoreThanAvailableBlockGas { .. } => Refused::NoRoom,
        other => Refused::Invalid(other.to_string()),
    }
}

fn failed(error: BlockExecutionError) -> ChainError {
    ChainError::Execution(error.to_string())
}

fn with_outcomes(taken: Vec<Arc<Recovered<Transaction>>>, receipts: Vec<Receipt>) -> Vec<ExecutedTransaction> {
    let (mut gas, mut logs) = (0, 0);
    let outcome = |(transaction, receipt): (Arc<Recovered<Transaction>>, Receipt)| {
        let executed = outcome(transaction.inner().clone(), transaction.signer(), receipt, gas, logs);
        gas += executed.gas_used;
        logs += executed.receipt.logs().len() as u64;
        executed
    };
    taken.into_iter().zip(receipts).map(outcome).collect()
}

/// A transaction with its outcome; `gas` and `logs` are those of the block before it.
pub(crate) fn outcome(
    transaction: Transaction,
    sender: Address,
    receipt: Receipt,
    gas: u64,
    logs: u64,
) -> ExecutedTransaction {
    let created = transaction.is_create().then(|| sender.create(transaction.nonce()));
    let gas_used = receipt.cumulative_gas_used().saturating_sub(gas);
    ExecutedTransaction { transaction, sender, receipt, gas_used, created, first_log: logs }
}

/// What is different after the block.
fn changes(bundle: BundleState) -> StateChanges {
    let mut changes = StateChanges::default();
    for (address, account) in bundle.state {
        if account.is_info_changed() {
            changes.accounts.insert(address, account.info.as_ref().map(Account::from));
        }
        if account.was_destroyed() {
            changes.wiped.insert(address);
        }
        let written = account.storage.iter().filter(|(_, slot)| slot.is_changed() || account.was_destroyed());
        let slots: std::collections::BTreeMap<_, _> =
            written.map(|(slot, value)| (*slot, value.present_value)).collect();
        if !slots.is_empty() && account.info.is_some() {
            changes.storage.insert(address, slots);
        }
    }
    changes.code = bundle.contracts.into_iter().map(|(hash, code)| (hash, code.original_bytes())).collect();
    changes
}

/// The header of an executed block.
pub(crate) fn header(
    spec: &ChainSpec,
    parent: &SealedHeader,
    attributes: &BlockAttributes,
    executed: &Executed,
    state_root: B256,
) -> Header {
    let transactions: Vec<&Transaction> = executed.transactions.iter().map(|executed| &executed.transaction).collect();
    let receipts: Vec<&Receipt> = executed.transactions.iter().map(|executed| &executed.receipt).collect();
    let blobs = spec.blob_params(attributes.timestamp);
    Header {
        parent_hash: parent.seal(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: attributes.beneficiary,
        state_root,
        transactions_root: calculate_transaction_root(&transactions),
        receipts_root: calculate_receipt_root(&receipts),
        withdrawals_root: Some(calculate_withdrawals_root(&Withdrawals::default())),
        logs_bloom: receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom()),
        number: parent.number + 1,
        gas_limit: attributes.gas_limit,
        gas_used: executed.gas_used,
        timestamp: attributes.timestamp,
        extra_data: attributes.extra_data.clone(),
        mix_hash: attributes.prev_randao,
        base_fee_per_gas: Some(executed.base_fee),
        blob_gas_used: Some(executed.blob_gas_used),
        excess_blob_gas: blobs.and_then(|blobs| parent.maybe_next_block_excess_blob_gas(Some(blobs))).or(Some(0)),
        parent_beacon_block_root: Some(attributes.parent_beacon_block_root),
        requests_hash: spec.is_prague_active_at_timestamp(attributes.timestamp).then_some(executed.requests_hash),
        ..Header::default()
    }
}
