//! Executing a block: the same way whether its transactions come one by one from the pool or all at once in another's block.

use std::sync::Arc;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_withdrawals_root};
use alloy_consensus::transaction::Recovered;
use alloy_consensus::{
    BlockHeader, EMPTY_OMMER_ROOT_HASH, Header, ReceiptEnvelope, Transaction as _, TxEnvelope, TxReceipt,
};
use alloy_eips::eip4895::Withdrawals;
use alloy_eips::eip7685::Requests;
use alloy_eips::{Encodable2718, Typed2718};
use alloy_evm::block::{BlockExecutionError, BlockExecutionResult, BlockExecutor, BlockValidationError, ExecutableTx};
use alloy_evm::eth::receipt_builder::AlloyReceiptBuilder;
use alloy_evm::eth::{EthBlockExecutionCtx, EthBlockExecutor, NextEvmEnvAttributes};
use alloy_evm::{EthEvmFactory, EvmEnv, EvmFactory};
use alloy_hardforks::EthereumHardforks;
use alloy_op_evm::block::{OpAlloyReceiptBuilder, OpBlockExecutionError};
use alloy_op_evm::{OpBlockExecutionCtx, OpBlockExecutor, OpEvmFactory, OpTx};
use alloy_op_hardforks::OpHardforks;
use alloy_primitives::{Address, B256, Bloom, Bytes};
use alloy_rlp::Encodable;
use op_revm::OpSpecId;
use revm::database::State;
use revm::database::states::bundle_state::BundleRetention;
use revm::database::{BundleState, WrapDatabaseRef};

use crate::block::{Account, ExecutedTransaction, Receipt, SealedHeader, StateChanges, Transaction};
use crate::growing_root::GrowingRoot;
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
    pub(crate) transactions: Arc<Vec<ExecutedTransaction>>,
    /// Their RLP, one after the other, as in a block's body.
    pub(crate) encoded: Vec<u8>,
    pub(crate) contents: Contents,
    pub(crate) changes: StateChanges,
    pub(crate) gas_used: u64,
    pub(crate) blob_gas_used: u64,
    /// What its transactions ask of the consensus layer (EIP-7685).
    pub(crate) requests: Requests,
    pub(crate) base_fee: u64,
}

impl Executed {
    /// Hashes of its transactions.
    pub(crate) fn hashes(&self) -> Vec<B256> {
        self.transactions.iter().map(|executed| executed.transaction.tx_hash()).collect()
    }

    /// What a header names of a block with these transactions; what they changed is known elsewhere.
    pub(crate) fn of(transactions: Vec<ExecutedTransaction>, requests: Requests, base_fee: u64) -> Self {
        let mut growing = Growing::default();
        transactions.into_iter().for_each(|executed| growing.add(executed));
        let gas_used = growing.gas_used;
        let (transactions, encoded, contents) = growing.finish();
        let changes = StateChanges::default();
        Self { transactions, encoded, contents, changes, gas_used, blob_gas_used: 0, requests, base_fee }
    }
}

/// What a header says of its block's transactions and receipts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    transactions_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
}

/// What a block holds while its transactions still come: each is done with when it was executed, so that nothing is left to do for all of them
/// when the block is due.
#[derive(Default)]
struct Growing {
    executed: Vec<ExecutedTransaction>,
    encoded: Vec<u8>,
    transactions: GrowingRoot,
    receipts: GrowingRoot,
    logs_bloom: Bloom,
    gas_used: u64,
    logs: u64,
}

impl Growing {
    fn push(&mut self, transaction: &Recovered<Transaction>, receipt: Receipt) {
        let executed = outcome(transaction.inner().clone(), transaction.signer(), receipt, self.gas_used, self.logs);
        self.add(executed);
    }

    fn add(&mut self, executed: ExecutedTransaction) {
        let transaction = executed.transaction.encoded_2718();
        // In a body a legacy transaction is a list, and any other a string of bytes.
        match executed.transaction.is_legacy() {
            true => self.encoded.extend_from_slice(&transaction),
            false => transaction.as_slice().encode(&mut self.encoded),
        }
        self.transactions.push(transaction);
        self.receipts.push(executed.receipt.encoded_2718());
        self.logs_bloom |= executed.receipt.bloom();
        self.gas_used = executed.receipt.cumulative_gas_used();
        self.logs += executed.receipt.logs().len() as u64;
        self.executed.push(executed);
    }

    fn finish(self) -> (Arc<Vec<ExecutedTransaction>>, Vec<u8>, Contents) {
        let (transactions_root, receipts_root) = (self.transactions.finish(), self.receipts.finish());
        let contents = Contents { transactions_root, receipts_root, logs_bloom: self.logs_bloom };
        (Arc::new(self.executed), self.encoded, contents)
    }
}

/// The environment of a block on `parent`, under Ethereum's rules of its time.
pub(crate) fn environment(spec: &ChainSpec, parent: &SealedHeader, attributes: &BlockAttributes) -> EvmEnv {
    let next = NextEvmEnvAttributes {
        timestamp: attributes.timestamp,
        suggested_fee_recipient: attributes.beneficiary,
        prev_randao: attributes.prev_randao,
        gas_limit: attributes.gas_limit,
        slot_number: None,
    };
    let base_fee = attributes.base_fee.unwrap_or_else(|| spec.next_base_fee(parent, attributes.timestamp));
    if spec.is_rollup() {
        let environment =
            alloy_op_evm::evm_env_for_op_next_block(parent.inner(), next, base_fee, spec, spec.chain_id());
        return as_ethereum(environment);
    }
    let blobs = spec.blob_params(attributes.timestamp);
    let mut environment = EvmEnv::for_eth_next_block(parent.inner(), next, base_fee, spec, spec.chain_id(), blobs);
    // Contracts send transactions in disguise alone: admission keeps the others out.
    environment.cfg_env.disable_eip3607 = spec.is_development();
    environment
}

/// The environment of a block that is there, under Ethereum's rules of its time.
pub(crate) fn environment_of(spec: &ChainSpec, header: &SealedHeader) -> EvmEnv {
    if spec.is_rollup() {
        return as_ethereum(alloy_op_evm::evm_env_for_op_block(header.inner(), spec, spec.chain_id()));
    }
    let blobs = spec.blob_params(header.timestamp);
    let mut environment = EvmEnv::for_eth_block(header.inner(), spec, spec.chain_id(), blobs);
    environment.cfg_env.disable_eip3607 = spec.is_development();
    environment
}

/// One kind of environment does for both kinds of chain: an OP Stack chain's own rules are put on top where a machine is made of it.
fn as_ethereum(environment: EvmEnv<OpSpecId>) -> EvmEnv {
    let EvmEnv { cfg_env, block_env } = environment;
    let spec = cfg_env.spec.into_eth_spec();
    EvmEnv { cfg_env: cfg_env.with_spec_and_mainnet_gas_params(spec), block_env }
}

/// The same environment under the rules of the OP Stack.
pub(crate) fn on_rollup(environment: EvmEnv, fork: OpSpecId) -> EvmEnv<OpSpecId> {
    let EvmEnv { cfg_env, block_env } = environment;
    EvmEnv { cfg_env: cfg_env.with_spec_and_mainnet_gas_params(fork), block_env }
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
    let beacon_root =
        spec.is_cancun_active_at_timestamp(attributes.timestamp).then_some(attributes.parent_beacon_block_root);
    let (growing, rest) = match spec.rollup_fork(attributes.timestamp) {
        Some(fork) => {
            let context = OpBlockExecutionCtx {
                parent_hash: parent.seal(),
                parent_beacon_block_root: beacon_root,
                extra_data: attributes.extra_data.clone(),
            };
            let evm = OpEvmFactory::<OpTx>::default().create_evm(&mut database, on_rollup(environment, fork));
            let executor = OpBlockExecutor::new(evm, context, spec, OpAlloyReceiptBuilder::default());
            run(executor, attributes.gas_limit, feed, executable_on_rollup, |receipt| Ok(receipt.clone()))?
        }
        None => {
            let context = EthBlockExecutionCtx {
                parent_hash: parent.seal(),
                parent_beacon_block_root: beacon_root,
                ommers: &[],
                withdrawals: Some(std::borrow::Cow::Borrowed(&[])),
                extra_data: attributes.extra_data.clone(),
                tx_count_hint: None,
                slot_number: None,
            };
            let evm = EthEvmFactory::default().create_evm(&mut database, environment);
            let executor = EthBlockExecutor::new(evm, context, spec, AlloyReceiptBuilder::default());
            run(executor, attributes.gas_limit, feed, executable_on_ethereum, of_either_kind)?
        }
    };
    let (transactions, encoded, mut contents) = growing.finish();
    if leaves_out_nonces(spec, attributes.timestamp) {
        contents.receipts_root = receipts_root_without_nonces(&transactions);
    }
    database.merge_transitions(BundleRetention::PlainState);
    let changes = changes(database.take_bundle());
    let Rest { gas_used, blob_gas_used, requests } = rest;
    Ok(Executed { transactions, encoded, contents, changes, gas_used, blob_gas_used, requests, base_fee })
}

/// What execution says of a block besides its receipts.
struct Rest {
    gas_used: u64,
    blob_gas_used: u64,
    requests: Requests,
}

/// Executes what the feed gives until it ends the block.
fn run<E: BlockExecutor, T: ExecutableTx<E>>(
    mut executor: E,
    gas_limit: u64,
    feed: &mut impl Feed,
    take: impl for<'a> Fn(&'a Recovered<Transaction>) -> Result<T, &'static str>,
    told: impl Fn(&E::Receipt) -> Result<Receipt, ChainError>,
) -> Result<(Growing, Rest), ChainError> {
    executor.apply_pre_execution_changes().map_err(failed)?;
    let (mut used, mut growing) = (0, Growing::default());
    while let Some(transaction) = feed.next(gas_limit.saturating_sub(used)) {
        let executable = match take(&transaction) {
            Ok(executable) => executable,
            Err(reason) => {
                feed.refused(&transaction, Refused::Invalid(reason.into()));
                continue;
            }
        };
        match executor.execute_transaction(executable) {
            Ok(gas) => {
                used += gas.tx_gas_used();
                if let Some(receipt) = executor.receipts().last() {
                    growing.push(&transaction, told(receipt)?);
                }
            }
            Err(BlockExecutionError::Validation(fault)) => feed.refused(&transaction, refusal(fault)),
            Err(error) => return Err(failed(error)),
        }
    }
    let (_, BlockExecutionResult { gas_used, blob_gas_used, requests, .. }) = executor.finish().map_err(failed)?;
    Ok((growing, Rest { gas_used, blob_gas_used, requests }))
}

/// A transaction as Ethereum's rules execute it; deposits are not theirs.
fn executable_on_ethereum(transaction: &Recovered<Transaction>) -> Result<Recovered<TxEnvelope>, &'static str> {
    let plain = transaction.inner().clone().try_into_eth_envelope();
    let plain = plain.map_err(|_| "transaction type not supported")?;
    Ok(Recovered::new_unchecked(plain, transaction.signer()))
}

/// A transaction as the OP Stack's rules execute it; those of forks after Karst are not.
fn executable_on_rollup(transaction: &Recovered<Transaction>) -> Result<Recovered<Transaction>, &'static str> {
    match transaction.inner().is_post_exec() {
        true => Err("transaction type not supported"),
        false => Ok(transaction.clone()),
    }
}

/// A receipt of Ethereum's rules as one of the type that both kinds of chain have.
fn of_either_kind(receipt: &ReceiptEnvelope) -> Result<Receipt, ChainError> {
    match receipt.clone() {
        ReceiptEnvelope::Legacy(inner) => Ok(Receipt::Legacy(inner)),
        ReceiptEnvelope::Eip2930(inner) => Ok(Receipt::Eip2930(inner)),
        ReceiptEnvelope::Eip1559(inner) => Ok(Receipt::Eip1559(inner)),
        ReceiptEnvelope::Eip7702(inner) => Ok(Receipt::Eip7702(inner)),
        other => Err(ChainError::Execution(format!("a receipt of type {} of a transaction that was not", other.ty()))),
    }
}

fn refusal(fault: BlockValidationError) -> Refused {
    match fault {
        BlockValidationError::TransactionGasLimitMoreThanAvailableBlockGas { .. } => Refused::NoRoom,
        // What does not fit because of its size on L1 may fit into the next block.
        BlockValidationError::Other(error) if is_out_of_footprint(&*error) => Refused::NoRoom,
        other => Refused::Invalid(other.to_string()),
    }
}

fn is_out_of_footprint(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(OpBlockExecutionError::TransactionDaFootprintAboveGasLimit { .. }))
}

fn failed(error: BlockExecutionError) -> ChainError {
    ChainError::Execution(error.to_string())
}

/// A transaction with its outcome; `gas` and `logs` are those of the block before it.
pub(crate) fn outcome(
    transaction: Transaction,
    sender: Address,
    receipt: Receipt,
    gas: u64,
    logs: u64,
) -> ExecutedTransaction {
    // A deposit carries no nonce: its receipt tells which one it used.
    let nonce = receipt.deposit_nonce().unwrap_or_else(|| transaction.nonce());
    let created = transaction.is_create().then(|| sender.create(nonce));
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
    roots: Roots,
) -> Header {
    let time = attributes.timestamp;
    let cancun = spec.is_cancun_active_at_timestamp(time);
    Header {
        parent_hash: parent.seal(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: attributes.beneficiary,
        state_root: roots.state,
        transactions_root: executed.contents.transactions_root,
        receipts_root: executed.contents.receipts_root,
        withdrawals_root: withdrawals_root(spec, time, roots.messages),
        logs_bloom: executed.contents.logs_bloom,
        number: parent.number + 1,
        gas_limit: attributes.gas_limit,
        gas_used: executed.gas_used,
        timestamp: time,
        extra_data: attributes.extra_data.clone(),
        mix_hash: attributes.prev_randao,
        base_fee_per_gas: Some(executed.base_fee),
        blob_gas_used: cancun.then_some(executed.blob_gas_used),
        excess_blob_gas: cancun.then(|| excess_blob_gas(spec, time, parent)),
        parent_beacon_block_root: cancun.then_some(attributes.parent_beacon_block_root),
        requests_hash: spec.is_prague_active_at_timestamp(time).then(|| executed.requests.requests_hash()),
        ..Header::default()
    }
}

/// Roots of the state at the end of a block that its header names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roots {
    pub(crate) state: B256,
    /// Of the storage of the contract that passes messages to L1.
    pub(crate) messages: B256,
}

/// Root of a block's withdrawals, of which there are none; on the OP Stack from Isthmus on that of the messages that leave for L1.
pub(crate) fn withdrawals_root(spec: &ChainSpec, timestamp: u64, messages: B256) -> Option<B256> {
    if spec.is_isthmus_active_at_timestamp(timestamp) {
        return Some(messages);
    }
    spec.is_shanghai_active_at_timestamp(timestamp).then(|| calculate_withdrawals_root(&Withdrawals::default()))
}

/// Between Regolith and Canyon a deposit's receipt had its nonce, but the root of the receipts left it out
/// (<https://specs.optimism.io/protocol/deposits.html#deposit-receipt>).
fn leaves_out_nonces(spec: &ChainSpec, timestamp: u64) -> bool {
    spec.is_rollup() && !spec.is_canyon_active_at_timestamp(timestamp)
}

fn receipts_root_without_nonces(transactions: &[ExecutedTransaction]) -> B256 {
    let without_nonce = |executed: &ExecutedTransaction| match &executed.receipt {
        Receipt::Deposit(deposit) => {
            let mut deposit = deposit.clone();
            deposit.receipt.deposit_nonce = None;
            Receipt::Deposit(deposit)
        }
        other => other.clone(),
    };
    calculate_receipt_root(&transactions.iter().map(without_nonce).collect::<Vec<_>>())
}

fn excess_blob_gas(spec: &ChainSpec, timestamp: u64, parent: &Header) -> u64 {
    if spec.is_rollup() {
        return 0;
    }
    let blobs = spec.blob_params(timestamp);
    blobs.and_then(|blobs| parent.maybe_next_block_excess_blob_gas(Some(blobs))).unwrap_or_default()
}
