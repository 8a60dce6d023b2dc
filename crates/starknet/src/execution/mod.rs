//! Executing without changing the chain: on a snapshot of the state, in the context of its block.
//!
//! All of it blocks, and calls of contracts nest on the stack: to be run on a [`deep_thread`](crate::deep::deep_thread).

use std::sync::Arc;

use blockifier::blockifier::block::pre_process_block;
use blockifier::context::{BlockContext, TransactionContext};
use blockifier::execution::call_info::CallInfo;
use blockifier::execution::entry_point::{
    CallEntryPoint, CallType, EntryPointExecutionContext, SierraGasRevertTracker,
};
use blockifier::execution::errors::{EntryPointExecutionError, PreExecutionError};
use blockifier::execution::stack_trace::{
    Cairo1RevertHeader, ErrorStack, extract_trailing_cairo1_revert_trace, gen_tx_execution_error_trace,
};
use blockifier::execution::syscalls::hint_processor::ENTRYPOINT_NOT_FOUND_ERROR_FELT;
use blockifier::fee::fee_utils::get_fee_by_gas_vector;
use blockifier::state::cached_state::{CachedState, StateMaps, TransactionalState};
use blockifier::state::state_api::StateReader;
use blockifier::transaction::account_transaction::{AccountTransaction, ExecutionFlags};
use blockifier::transaction::errors::TransactionExecutionError;
use blockifier::transaction::objects::{
    CurrentTransactionInfo, HasRelatedFeeType, TransactionExecutionInfo, TransactionInfo,
};
use blockifier::transaction::transaction_execution::Transaction as Executable;
use blockifier::transaction::transactions::{ExecutableTransaction, enforce_fee};
use cairo_vm::vm::runners::cairo_runner::RunResources;
use starknet_api::StarknetApiError;
use starknet_api::block::{BlockHashAndNumber, FeeType};
use starknet_api::contract_class::EntryPointType;
use starknet_api::core::{ClassHash, ContractAddress, EntryPointSelector};
use starknet_api::executable_transaction::{self, AccountTransaction as Account};
use starknet_api::execution_resources::GasAmount;
use starknet_api::rpc_transaction::{RpcDeclareTransaction, RpcTransaction};
use starknet_api::transaction::fields::{Calldata, Fee, Tip, ValidResourceBounds};
use starknet_api::transaction::{
    CalculateContractAddress, DeclareTransaction, DeployAccountTransaction, InvokeTransaction, TransactionHasher,
    TransactionOptions, TransactionVersion, signed_tx_version,
};
use starknet_types_core::felt::Felt;

use crate::block::StateDiff;
use crate::chain::{Chain, ChainError};
use crate::classes::{BYTECODE_FELTS_MAX, SierraClass};
use crate::view::StateView;

/// A call from nowhere: no account, no fee, no change.
pub(crate) struct Call {
    pub(crate) contract: ContractAddress,
    pub(crate) selector: EntryPointSelector,
    pub(crate) calldata: Vec<Felt>,
}

/// Why a call has no result.
pub(crate) enum CallFailure {
    NoContract,
    NoEntryPoint,
    Failed(ErrorStack),
}

/// Calls a contract.
pub(crate) fn call(chain: &Chain, state: StateView, call: Call) -> Result<Result<Vec<Felt>, CallFailure>, ChainError> {
    let Some(class_hash) = state.class_hash(call.contract)? else {
        return Ok(Err(CallFailure::NoContract));
    };
    let gas = chain.config().call_max_gas;
    let transaction = TransactionContext {
        block_context: Arc::new(state.context()),
        tx_info: TransactionInfo::Current(CurrentTransactionInfo::create_default_unlimited()),
    };
    let tracker = SierraGasRevertTracker::new(GasAmount(gas));
    let mut context = EntryPointExecutionContext::new_invoke(Arc::new(transaction), false, tracker);
    context.vm_run_resources = RunResources::new(chain.config().call_max_steps as usize);
    let (storage_address, selector) = (call.contract, call.selector);
    let entry_point = CallEntryPoint {
        class_hash: None,
        code_address: None,
        entry_point_type: EntryPointType::External,
        entry_point_selector: selector,
        calldata: Calldata(Arc::new(call.calldata)),
        storage_address,
        caller_address: ContractAddress::default(),
        call_type: CallType::Call,
        initial_gas: gas,
    };
    let mut remaining = gas;
    Ok(match entry_point.execute(&mut CachedState::new(state), &mut context, &mut remaining) {
        Ok(info) if !info.execution.failed => Ok(info.execution.retdata.0),
        Ok(info) if no_entry_point(&info) => Err(CallFailure::NoEntryPoint),
        Ok(info) => Err(CallFailure::Failed(panicked(&info))),
        Err(error) => match error.unannotated() {
            EntryPointExecutionError::PreExecutionError(
                PreExecutionError::EntryPointNotFound(_) | PreExecutionError::NoEntryPointOfTypeFound(_),
            ) => Err(CallFailure::NoEntryPoint),
            _ => {
                let error = Box::new(error);
                let error = TransactionExecutionError::ExecutionError { error, class_hash, storage_address, selector };
                Err(CallFailure::Failed(gen_tx_execution_error_trace(&error)))
            }
        },
    })
}

fn no_entry_point(info: &CallInfo) -> bool {
    info.inner_calls.is_empty() && info.execution.retdata.0 == [ENTRYPOINT_NOT_FOUND_ERROR_FELT]
}

/// The calls on the way to where a contract gave up.
fn panicked(info: &CallInfo) -> ErrorStack {
    let mut stack = ErrorStack::default();
    stack.push(extract_trailing_cairo1_revert_trace(info, Cairo1RevertHeader::Execution).into());
    stack
}

/// What parts of a transaction are executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) validate: bool,
    /// Charge a fee, if the transaction offers any and the chain takes any.
    pub(crate) charge_fee: bool,
}

/// One transaction executed.
pub(crate) struct Executed {
    pub(crate) info: TransactionExecutionInfo,
    pub(crate) diff: StateDiff,
    /// What it costs at the block's prices, its tip included.
    pub(crate) fee: Fee,
}

/// Transactions executed one on the other.
pub(crate) struct Execution {
    pub(crate) executed: Vec<Executed>,
    /// What was read of the state that the first one started on.
    pub(crate) reads: StateMaps,
}

/// The transaction at `index` cannot be executed at all.
pub(crate) struct ExecutionFailure {
    pub(crate) index: usize,
    pub(crate) stack: ErrorStack,
}

/// Executes `transactions` one on the other; stops at the first that cannot be executed. A reverted one is executed,
/// and so not a failure.
pub(crate) fn execute(
    state: StateView,
    context: &BlockContext,
    old_hash: Option<BlockHashAndNumber>,
    transactions: &[Executable],
) -> Result<Result<Execution, ExecutionFailure>, ChainError> {
    let mut state = CachedState::new(state);
    if let Some(old) = old_hash {
        let constants = &context.versioned_constants().os_constants;
        pre_process_block(&mut state, Some(old), context.block_info().block_number, constants).map_err(failed)?;
    }
    let mut executed = Vec::with_capacity(transactions.len());
    for (index, transaction) in transactions.iter().enumerate() {
        let mut step = TransactionalState::create_transactional(&mut state);
        let info = match transaction.execute(&mut step, context) {
            Ok(info) => info,
            Err(error) => return Ok(Err(ExecutionFailure { index, stack: gen_tx_execution_error_trace(&error) })),
        };
        let changes = step.to_state_diff().map_err(failed)?.state_maps;
        let diff = diff(changes, &step.state)?;
        step.commit();
        let (fee_type, tip) = match transaction {
            Executable::Account(account) => (account.fee_type(), account.tip()),
            Executable::L1Handler(_) => (FeeType::Eth, Tip::ZERO),
        };
        let fee = get_fee_by_gas_vector(context.block_info(), info.receipt.gas, &fee_type, tip);
        executed.push(Executed { info, diff, fee });
    }
    let reads = state.get_initial_reads().map_err(failed)?;
    Ok(Ok(Execution { executed, reads }))
}

fn failed(error: impl std::fmt::Display) -> ChainError {
    ChainError::Execution(error.to_string())
}

/// Splits changes by what they mean for contracts and classes; `before` is the state that they change.
fn diff(changes: StateMaps, before: &impl StateReader) -> Result<StateDiff, ChainError> {
    let mut diff = StateDiff::default();
    for ((address, key), value) in changes.storage {
        diff.storage.entry(address).or_default().insert(key, value);
    }
    diff.nonces = changes.nonces.into_iter().collect();
    for (address, class) in changes.class_hashes {
        let known = before.get_class_hash_at(address).map_err(failed)?;
        let contracts = if known == ClassHash::default() { &mut diff.deployed } else { &mut diff.replaced };
        contracts.insert(address, class);
    }
    for (class, compiled) in changes.compiled_class_hashes {
        let declared = changes.declared_contracts.get(&class).copied().unwrap_or(false);
        let classes = if declared { &mut diff.declared } else { &mut diff.migrated };
        classes.insert(class, compiled);
    }
    Ok(diff)
}

/// A submitted transaction in the form that executes. `only_query` says that its version has the query bit, which enters
/// the hash.
///
/// # Errors
/// Why it cannot have that form: a class that does not compile, an address that cannot be computed.
pub(crate) fn prepare(
    chain: &Chain,
    transaction: RpcTransaction,
    only_query: bool,
    parts: Parts,
) -> Result<Executable, String> {
    let chain_id = &chain.config().chain_id;
    let version = signed_tx_version(&TransactionVersion::THREE, &TransactionOptions { only_query });
    let text = |error: StarknetApiError| error.to_string();
    let mut account = match transaction {
        RpcTransaction::Invoke(transaction) => {
            let tx = InvokeTransaction::from(transaction);
            let tx_hash = tx.calculate_transaction_hash(chain_id, &version).map_err(text)?;
            Account::Invoke(executable_transaction::InvokeTransaction { tx, tx_hash })
        }
        RpcTransaction::DeployAccount(transaction) => {
            let tx = DeployAccountTransaction::from(transaction);
            let tx_hash = tx.calculate_transaction_hash(chain_id, &version).map_err(text)?;
            let contract_address = tx.calculate_contract_address().map_err(text)?;
            Account::DeployAccount(executable_transaction::DeployAccountTransaction { tx, tx_hash, contract_address })
        }
        RpcTransaction::Declare(RpcDeclareTransaction::V3(transaction)) => {
            let class = SierraClass::compile(transaction.contract_class.clone(), BYTECODE_FELTS_MAX)
                .map_err(|error| error.to_string())?;
            if class.compiled_hash_v2 != transaction.compiled_class_hash {
                return Err(format!(
                    "the compiled class hash is {:#x}, the transaction says {:#x}",
                    class.compiled_hash_v2.0, transaction.compiled_class_hash.0
                ));
            }
            let class_info = class.class_info();
            let tx = DeclareTransaction::V3(transaction.into());
            let tx_hash = tx.calculate_transaction_hash(chain_id, &version).map_err(text)?;
            Account::Declare(executable_transaction::DeclareTransaction { tx, tx_hash, class_info })
        }
    };
    let charge_fee = parts.charge_fee && chain.config().fees && enforce_fee(&account, only_query);
    if !charge_fee {
        lift_gas_bound(&mut account, chain.constants().initial_gas_no_user_l2_bound());
    }
    let execution_flags = ExecutionFlags { only_query, charge_fee, validate: parts.validate, strict_nonce_check: true };
    Ok(Executable::Account(AccountTransaction { tx: account, execution_flags }))
}

/// Lets a transaction that pays nothing run to the protocol's limit: its own bound is a guess, mostly 0, that the
/// estimate is to replace. The hash, and with it the signature, is that of the transaction as it came.
fn lift_gas_bound(account: &mut Account, limit: GasAmount) {
    let bounds = match account {
        Account::Invoke(invoke) => match &mut invoke.tx {
            InvokeTransaction::V3(tx) => &mut tx.resource_bounds,
            InvokeTransaction::V0(_) | InvokeTransaction::V1(_) => return,
        },
        Account::DeployAccount(deploy) => match &mut deploy.tx {
            DeployAccountTransaction::V3(tx) => &mut tx.resource_bounds,
            DeployAccountTransaction::V1(_) => return,
        },
        Account::Declare(declare) => match &mut declare.tx {
            DeclareTransaction::V3(tx) => &mut tx.resource_bounds,
            _ => return,
        },
    };
    if let ValidResourceBounds::AllResources(all) = bounds {
        all.l2_gas.max_amount = limit;
    }
}
