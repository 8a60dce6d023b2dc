//! Blocks that never are: calls one after the other, in blocks on top of one of the chain, each with what it overrides (`eth_simulateV1`).
//!
//! ```text
//!  block of the chain ──► plan: heights and times ──► for each block: overrides, system calls, calls, tries, header
//! ```
//!
//! Source: `eth_simulateV1` of <https://github.com/ethereum/execution-apis>; codes of errors as geth's (`internal/ethapi/errors.go`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use alloy_eips::eip7685::Requests;
use alloy_evm::block::SystemCaller;
use alloy_evm::rpc::TryIntoTxEnv;
use alloy_evm::{EthEvmFactory, EvmFactory};
use alloy_hardforks::EthereumHardforks;
use alloy_network::TransactionBuilder;
use alloy_primitives::{B256, Bytes, Log, Sealable, U256};
use alloy_rpc_types_eth::simulate::{MAX_SIMULATE_BLOCKS, SimBlock, SimulatePayload};
use alloy_rpc_types_eth::state::EvmOverrides;
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest};
use revm::DatabaseCommit;
use revm::context::result::ExecutionResult;
use revm::context_interface::Cfg;
use revm::database::{AccountState, CacheDB, DbAccount};
use revm_inspectors::transfer::{TRANSFER_LOG_EMITTER, TransferInspector};

use super::Limits;
use super::error::{self, ExecutionError};
use super::scene::{Scene, Sketch, call};
use super::watch::Recorded;
use crate::block::{Account, Block, ExecutedTransaction, Receipt, SealedHeader, StateChanges, Transaction};
use crate::execute::{self, BlockAttributes, Executed, Roots};
use crate::ground::Ground;
use crate::ledger::encode_block;
use crate::{At, Chain, ChainError, disguise};

/// Seconds from a block to the next one that is not told its time: the least that there can be.
const STEP: u64 = 1;

/// A block that was made of calls.
#[derive(Debug)]
pub struct Simulated {
    /// The block as it would be. Its transactions carry no signatures, so their hashes are none that a signed one can have.
    pub block: Block,
    /// What each of its calls came to.
    pub calls: Vec<Called>,
}

/// What a call of a simulation came to.
#[derive(Debug)]
pub struct Called {
    /// What it returned.
    pub output: Bytes,
    /// Its logs, and where it was asked for one for each transfer of Ether (ERC-7528).
    pub logs: Vec<Log>,
    /// The most gas that it had used at any time: before refunds.
    pub peak_gas: u64,
    /// Why it failed, if it did.
    pub error: Option<ExecutionError>,
}

/// Carries out a simulation on the end of a block.
pub(super) fn simulate(
    chain: &Chain,
    at: At,
    payload: SimulatePayload,
    limits: Limits,
    deadline: Instant,
) -> Result<Vec<Simulated>, ExecutionError> {
    let state = chain.state(at)?.ok_or(ExecutionError::BlockUnknown)?;
    let mut parent = state.header().clone();
    let mut simulation = Simulation {
        chain,
        ground: state.ground().clone(),
        database: Some(CacheDB::new(state)),
        validation: payload.validation,
        transfers: payload.trace_transfers,
        gas_left: limits.gas,
        first_log: 0,
        limits,
        deadline,
    };
    let mut blocks = Vec::new();
    for planned in plan(parent.number, parent.timestamp, payload.block_state_calls)? {
        let simulated = simulation.block(&parent, planned)?;
        parent = simulated.block.header.as_ref().clone();
        blocks.push(simulated);
    }
    Ok(blocks)
}

/// A block to be made.
#[derive(Debug)]
struct Planned {
    timestamp: u64,
    wish: SimBlock,
}

/// Heights and times of the blocks on top of one with these; empty ones where a height was left out.
fn plan(mut number: u64, mut timestamp: u64, wishes: Vec<SimBlock>) -> Result<Vec<Planned>, ExecutionError> {
    let last = number.saturating_add(MAX_SIMULATE_BLOCKS);
    let mut planned = Vec::new();
    for wish in wishes {
        let own = wish.block_overrides.clone().unwrap_or_default();
        let own_number = own.number.map_or(number.saturating_add(1), |number| number.saturating_to());
        if own_number <= number {
            return Err(ExecutionError::Refused {
                code: error::BLOCK_NUMBER_INVALID,
                text: format!("block numbers must be in order: {own_number} <= {number}"),
            });
        }
        if own_number > last {
            return Err(ExecutionError::Refused {
                code: error::CLIENT_LIMIT_EXCEEDED,
                text: format!("too many blocks: {MAX_SIMULATE_BLOCKS} at most, those between included"),
            });
        }
        for _ in number + 1..own_number {
            timestamp = timestamp.saturating_add(STEP);
            planned.push(Planned { timestamp, wish: SimBlock::default() });
        }
        let own_timestamp = own.time.unwrap_or(timestamp.saturating_add(STEP));
        if own_timestamp <= timestamp {
            return Err(ExecutionError::Refused {
                code: error::BLOCK_TIMESTAMP_INVALID,
                text: format!("block timestamps must be in order: {own_timestamp} <= {timestamp}"),
            });
        }
        (number, timestamp) = (own_number, own_timestamp);
        planned.push(Planned { timestamp, wish });
    }
    Ok(planned)
}

struct Simulation<'a> {
    chain: &'a Chain,
    /// The end of the block of the chain that all of it stands on.
    ground: Ground,
    /// That state and all that was changed since; lent to the scene of each block.
    database: Option<Sketch>,
    validation: bool,
    transfers: bool,
    /// What is left of the gas that one request may use.
    gas_left: u64,
    /// Index in the block of the next call's first log.
    first_log: u64,
    limits: Limits,
    deadline: Instant,
}

impl Simulation<'_> {
    fn block(&mut self, parent: &SealedHeader, planned: Planned) -> Result<Simulated, ExecutionError> {
        // Blocks without calls are work as well: the tries of all that was changed so far.
        if Instant::now() >= self.deadline {
            return Err(ExecutionError::Timeout(self.limits.time));
        }
        let spec = self.chain.spec();
        let SimBlock { block_overrides, state_overrides, calls } = planned.wish;
        let attributes = self.attributes(parent, planned.timestamp, block_overrides.as_ref());
        let mut scene = self.scene(parent, &attributes)?;
        // Height and time are those of the plan, which knows them already.
        let block = block_overrides.map(|block| Box::new(BlockOverrides { number: None, time: None, ..block }));
        scene.override_with(EvmOverrides { state: state_overrides, block })?;

        let base_fee = scene.environment.block_env.basefee;
        let nothing = Executed::of(Vec::new(), Requests::default(), base_fee);
        let roots = Roots { state: B256::ZERO, messages: B256::ZERO };
        scene.begin_block(self.chain, &execute::header(spec, parent, &attributes, &nothing, roots))?;
        self.first_log = 0;
        let (mut executed, mut called, mut used) = (Vec::new(), Vec::new(), 0);
        for request in calls {
            let (transaction, outcome) = self.call(&mut scene, request, attributes.gas_limit - used, used)?;
            used = transaction.receipt.cumulative_gas_used();
            executed.push(transaction);
            called.push(outcome);
        }
        let requests = requests(self.chain, &mut scene, planned.timestamp)?;

        let tries = self.ground.commit(&changes(&scene.database))?;
        let executed = Executed::of(executed, requests, base_fee);
        let roots = self.ground.roots(&tries)?;
        let header = execute::header(spec, parent, &attributes, &executed, roots).seal_slow();
        let size = encode_block(&header, &executed.encoded).len();
        scene.database.cache.block_hashes.insert(U256::from(header.number), header.seal());
        self.database = Some(scene.database);
        let block = Block { header: Arc::new(header), transactions: executed.transactions, size };
        Ok(Simulated { block, calls: called })
    }

    fn attributes(&self, parent: &SealedHeader, timestamp: u64, own: Option<&BlockOverrides>) -> BlockAttributes {
        let own = own.cloned().unwrap_or_default();
        let like_parent = BlockAttributes::of(parent);
        // What is checked must pay the price that demand makes; what is not needs no price.
        let free = (!self.validation).then_some(0);
        BlockAttributes {
            timestamp,
            beneficiary: own.coinbase.unwrap_or(like_parent.beneficiary),
            prev_randao: own.random.unwrap_or_default(),
            gas_limit: own.gas_limit.unwrap_or(like_parent.gas_limit),
            base_fee: own.base_fee.map(|fee| fee.saturating_to()).or(free),
            parent_beacon_block_root: own.beacon_root.unwrap_or_default(),
            ..like_parent
        }
    }

    fn scene(&mut self, parent: &SealedHeader, attributes: &BlockAttributes) -> Result<Scene, ExecutionError> {
        let lent = self.database.take();
        let database = lent.ok_or_else(|| ChainError::Execution("the state of a simulation is lost".into()))?;
        let mut scene = Scene::next(self.chain, parent, attributes, database, self.limits, self.deadline);
        let rules = &mut scene.environment.cfg_env;
        // There is no signature, so whether the sender has code says nothing.
        rules.disable_eip3607 = true;
        if !self.validation {
            rules.disable_nonce_check = true;
            rules.disable_base_fee = true;
            rules.tx_gas_limit_cap = Some(u64::MAX);
        }
        Ok(scene)
    }

    /// Executes a call in a block with so much gas left.
    fn call(
        &mut self,
        scene: &mut Scene,
        request: TransactionRequest,
        block_gas_left: u64,
        block_gas_used: u64,
    ) -> Result<(ExecutedTransaction, Called), ExecutionError> {
        let request = self.complete(scene, request, block_gas_left)?;
        let sender = request.from.unwrap_or_default();
        let transaction = unsigned(request.clone())?;
        let environment = request.try_into_tx_env(&scene.environment)?;
        let transfers = TransferInspector::new(false).with_logs(self.transfers);
        let (outcome, _) = scene.run(call(environment), Recorded::default(), transfers)?;
        scene.database.commit(outcome.state);

        let gas = *outcome.result.gas();
        self.gas_left = self.gas_left.saturating_sub(gas.tx_gas_used());
        let succeeded = outcome.result.is_success();
        let (output, logs, error) = match outcome.result {
            ExecutionResult::Success { output, logs, .. } => (output.into_data(), logs, None),
            ExecutionResult::Revert { output, .. } => {
                (output.clone(), Vec::new(), Some(ExecutionError::Reverted(output)))
            }
            ExecutionResult::Halt { reason, .. } => (Bytes::new(), Vec::new(), Some(error::halt(&reason))),
        };
        // Transfers are told to the caller; the block knows nothing of them.
        let own = logs.iter().filter(|log| log.address != TRANSFER_LOG_EMITTER);
        let cumulative = block_gas_used.saturating_add(gas.tx_gas_used());
        let receipt = Receipt::from_parts(succeeded, cumulative, own, transaction.tx_type(), None, None);
        let executed = execute::outcome(transaction, sender, receipt, block_gas_used, self.first_log);
        self.first_log += logs.len() as u64;
        let peak_gas = gas.total_gas_spent().max(gas.floor_gas());
        Ok((executed, Called { output, logs, peak_gas, error }))
    }

    /// Fills in what the request leaves open.
    fn complete(
        &self,
        scene: &mut Scene,
        mut request: TransactionRequest,
        block_gas_left: u64,
    ) -> Result<TransactionRequest, ExecutionError> {
        if request.gas.is_some_and(|gas| gas > block_gas_left) {
            return Err(ExecutionError::Refused {
                code: error::BLOCK_GAS_LIMIT_REACHED,
                text: format!(
                    "block gas limit reached: the call asks for {:?} gas, {block_gas_left} is left",
                    request.gas
                ),
            });
        }
        if self.gas_left == 0 {
            let text = format!("one request may use {} gas, and that is used up", self.limits.gas);
            return Err(ExecutionError::Refused { code: error::CLIENT_LIMIT_EXCEEDED, text });
        }
        let cap = scene.environment.cfg_env.tx_gas_limit_cap();
        request.gas = Some(request.gas.unwrap_or(block_gas_left.min(cap)).min(self.gas_left));
        let sender = *request.from.get_or_insert_default();
        if request.nonce.is_none() {
            request.nonce = Some(scene.nonce(sender)?);
        }
        request.chain_id.get_or_insert(self.chain.spec().chain_id());
        if request.gas_price.is_none() {
            request.max_fee_per_gas.get_or_insert_default();
            request.max_priority_fee_per_gas.get_or_insert_default();
        }
        if request.to.is_none() {
            request.set_create();
        }
        Ok(request)
    }
}

/// The transaction of a complete request, with zeros for a signature.
fn unsigned(request: TransactionRequest) -> Result<Transaction, ExecutionError> {
    let typed = request.build_typed_tx().map_err(|_| ExecutionError::Request("the call is not complete".into()))?;
    disguise::in_place_of_signature(typed, None)
        .ok_or_else(|| ExecutionError::Request("a call with blobs: this chain has none, leave the blobs out".into()))
}

/// What the block asks of the consensus layer, on a chain of Ethereum's rules.
fn requests(chain: &Chain, scene: &mut Scene, timestamp: u64) -> Result<Requests, ExecutionError> {
    let spec = chain.spec();
    if spec.is_rollup() || !spec.is_prague_active_at_timestamp(timestamp) {
        return Ok(Requests::default());
    }
    let mut evm = EthEvmFactory::default().create_evm(&mut scene.database, scene.environment.clone());
    let requests = SystemCaller::new(spec).apply_post_execution_changes(&mut evm);
    Ok(requests.map_err(|error| ChainError::Execution(error.to_string()))?)
}

/// All that is different from the state below.
fn changes(database: &Sketch) -> StateChanges {
    let mut changes = StateChanges::default();
    let changed = |account: &DbAccount| account.account_state != AccountState::None;
    for (address, account) in database.cache.accounts.iter().filter(|(_, account)| changed(account)) {
        let there = account.account_state != AccountState::NotExisting && !account.info.is_empty();
        changes.accounts.insert(*address, there.then(|| Account::from(&account.info)));
        if account.account_state == AccountState::StorageCleared {
            changes.wiped.insert(*address);
        }
        if there && !account.storage.is_empty() {
            let slots: BTreeMap<_, _> = account.storage.iter().map(|(slot, value)| (*slot, *value)).collect();
            changes.storage.insert(*address, slots);
        }
    }
    changes
}
