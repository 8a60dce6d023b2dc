//! Methods that execute without changing the chain: call, estimate, simulate.

use std::collections::BTreeSet;
use std::sync::Arc;

use blockifier::execution::stack_trace::ErrorStack;
use blockifier::transaction::objects::RevertError;
use blockifier::transaction::transaction_execution::Transaction as Executable;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use starknet_api::block::{BlockInfo, FeeType};
use starknet_api::core::{EntryPointSelector, Nonce};
use starknet_api::executable_transaction::L1HandlerTransaction as ExecutableL1Handler;
use starknet_api::rpc_transaction::RpcTransaction;
use starknet_api::transaction::fields::{Calldata, Fee};
use starknet_api::transaction::{L1HandlerTransaction, TransactionVersion};
use starknet_types_core::felt::Felt;

use super::error::{
    CONTRACT_ERROR, CONTRACT_NOT_FOUND, ENTRYPOINT_NOT_FOUND, RpcError, TRANSACTION_EXECUTION_ERROR,
    UNSUPPORTED_TX_VERSION,
};
use super::failure::execution_error;
use super::hex::{EthAddress, Felts, Hex, Key};
use super::params::{Params, read};
use super::trace::{InitialReadsJson, TraceJson, TraceKind};
use super::transaction::{Submitted, submitted};
use super::{Answer, StarknetRpc, answer, from_chain};
use crate::chain::Chain;
use crate::execution::{self, Call, CallFailure, Executed, Execution, Parts};
use crate::view::StateView;

/// A call (schema `FUNCTION_CALL`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionCall {
    contract_address: Key,
    entry_point_selector: Hex,
    calldata: Vec<Hex>,
}

/// A message of L1 to a contract (schema `MSG_FROM_L1`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    from_address: EthAddress,
    to_address: Key,
    entry_point_selector: Hex,
    payload: Vec<Hex>,
}

/// What a transaction would cost (schemas `FEE_ESTIMATE` and `MESSAGE_FEE_ESTIMATE`).
#[derive(Serialize)]
struct FeeEstimateJson {
    l1_gas_consumed: Hex,
    l1_gas_price: Hex,
    l2_gas_consumed: Hex,
    l2_gas_price: Hex,
    l1_data_gas_consumed: Hex,
    l1_data_gas_price: Hex,
    overall_fee: Hex,
    unit: &'static str,
}

/// Reads the transactions of an estimate or a simulation, the parameter called `name`.
fn transactions(rpc: &StarknetRpc, raw: &RawValue, name: &str) -> Result<Vec<Submitted>, RpcError> {
    let raw: Vec<&RawValue> = read(raw.get(), name)?;
    let limit = rpc.limits().simulated_transactions;
    if raw.len() > limit {
        return Err(RpcError::invalid_params(format!(
            "{name}: {} transactions are given, at most {limit} are taken",
            raw.len()
        )));
    }
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            submitted(raw, &format!("{name}[{index}]"), None).map_err(|error| {
                // These methods have no error for the version: it is outside of what their parameters may be.
                if error.code == UNSUPPORTED_TX_VERSION.code {
                    RpcError::invalid_params(
                        error.data.as_ref().and_then(Value::as_str).unwrap_or(UNSUPPORTED_TX_VERSION.message),
                    )
                } else {
                    error
                }
            })
        })
        .collect()
}

fn estimate(executed: &Executed, block: &BlockInfo, fee_type: FeeType) -> FeeEstimateJson {
    let prices = block.gas_prices.gas_price_vector(&fee_type);
    let gas = &executed.info.receipt.gas;
    FeeEstimateJson {
        l1_gas_consumed: gas.l1_gas.0.into(),
        l1_gas_price: prices.l1_gas_price.get().0.into(),
        l2_gas_consumed: gas.l2_gas.0.into(),
        l2_gas_price: prices.l2_gas_price.get().0.into(),
        l1_data_gas_consumed: gas.l1_data_gas.0.into(),
        l1_data_gas_price: prices.l1_data_gas_price.get().0.into(),
        overall_fee: executed.fee.0.into(),
        unit: match fee_type {
            FeeType::Strk => "FRI",
            FeeType::Eth => "WEI",
        },
    }
}

pub(super) async fn call(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let request: FunctionCall = params.required(0)?;
    let state = rpc.state(params.required(1)?)?;
    let call = Call {
        contract: request.contract_address.address(),
        selector: EntryPointSelector(request.entry_point_selector.0),
        calldata: request.calldata.into_iter().map(|felt| felt.0).collect(),
    };
    rpc.dry_run(move |chain| match execution::call(chain, state, call).map_err(from_chain)? {
        Ok(result) => answer(&Felts(&result)),
        Err(CallFailure::NoContract) => Err(CONTRACT_NOT_FOUND.into()),
        Err(CallFailure::NoEntryPoint) => Err(ENTRYPOINT_NOT_FOUND.into()),
        Err(CallFailure::Failed(stack)) => Err(contract_error(&stack)),
    })
    .await
}

fn contract_error(stack: &ErrorStack) -> RpcError {
    CONTRACT_ERROR.with(json!({ "revert_error": execution_error(stack) }))
}

fn execution_failed(index: usize, error: Value) -> RpcError {
    TRANSACTION_EXECUTION_ERROR.with(json!({ "transaction_index": index, "execution_error": error }))
}

pub(super) async fn estimate_fee(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    #[derive(Deserialize, PartialEq, Eq)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    enum Flag {
        SkipValidate,
    }
    let transactions = transactions(rpc, params.required_raw(0)?, "request")?;
    // Required by the specification; some clients leave it out when it is empty.
    let flags: Vec<Flag> = params.optional(1)?.unwrap_or_default();
    let state = rpc.state(params.required(2)?)?;
    let parts = Parts { validate: !flags.contains(&Flag::SkipValidate), charge_fee: false };
    rpc.dry_run(move |chain| {
        known_senders(&state, &transactions)?;
        let info = state.block_info().clone();
        let execution = execute(chain, state, transactions, parts)?;
        let mut estimates = Vec::with_capacity(execution.executed.len());
        for (index, executed) in execution.executed.iter().enumerate() {
            // A reverted transaction would cost as well, but nobody wants to pay for that.
            match &executed.info.revert_error {
                Some(RevertError::Execution(stack)) => return Err(execution_failed(index, execution_error(stack))),
                Some(error) => return Err(execution_failed(index, Value::from(error.to_string()))),
                None => estimates.push(estimate(executed, &info, FeeType::Strk)),
            }
        }
        answer(&estimates)
    })
    .await
}

/// Refuses a sequence whose senders neither exist nor come into being in it.
fn known_senders(state: &StateView, transactions: &[Submitted]) -> Result<(), RpcError> {
    let mut new = BTreeSet::new();
    for Submitted { transaction, .. } in transactions {
        let sender = transaction.calculate_sender_address().map_err(RpcError::invalid_params)?;
        match transaction {
            RpcTransaction::DeployAccount(_) => drop(new.insert(sender)),
            _ if new.contains(&sender) || state.is_deployed(sender).map_err(from_chain)? => {}
            _ => return Err(CONTRACT_NOT_FOUND.into()),
        }
    }
    Ok(())
}

fn execute(chain: &Chain, state: StateView, transactions: Vec<Submitted>, parts: Parts) -> Result<Execution, RpcError> {
    let mut executables = Vec::with_capacity(transactions.len());
    for (index, submitted) in transactions.into_iter().enumerate() {
        let executable = execution::prepare(chain, submitted.transaction, submitted.only_query, parts);
        executables.push(executable.map_err(|reason| execution_failed(index, Value::from(reason)))?);
    }
    let context = state.context();
    execution::execute(state, &context, None, &executables)
        .map_err(from_chain)?
        .map_err(|failure| execution_failed(failure.index, execution_error(&failure.stack)))
}

pub(super) async fn estimate_message_fee(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let message: Message = params.required(0)?;
    let state = rpc.state(params.required(1)?)?;
    let payload = message.payload.into_iter().map(|felt| felt.0);
    let calldata: Vec<Felt> = std::iter::once(message.from_address.0).chain(payload).collect();
    let contract_address = message.to_address.address();
    let handler = L1HandlerTransaction {
        version: TransactionVersion::ZERO,
        nonce: Nonce::default(),
        contract_address,
        entry_point_selector: EntryPointSelector(message.entry_point_selector.0),
        calldata: Calldata(Arc::new(calldata)),
    };
    rpc.dry_run(move |chain| {
        if !state.is_deployed(contract_address).map_err(from_chain)? {
            return Err(CONTRACT_NOT_FOUND.into());
        }
        // What was paid on L1 only has to be something.
        let handler = ExecutableL1Handler::create(handler, &chain.config().chain_id, Fee(1));
        let handler = Executable::L1Handler(handler.map_err(RpcError::internal)?);
        let (context, info) = (state.context(), state.block_info().clone());
        let execution = execution::execute(state, &context, None, &[handler]).map_err(from_chain)?;
        let execution = execution.map_err(|failure| contract_error(&failure.stack))?;
        match execution.executed.first() {
            Some(executed) => match &executed.info.revert_error {
                None => answer(&estimate(executed, &info, FeeType::Eth)),
                Some(RevertError::Execution(stack)) => Err(contract_error(stack)),
                Some(error) => Err(CONTRACT_ERROR.with(json!({ "revert_error": error.to_string() }))),
            },
            None => Err(RpcError::internal("a message was executed without a result")),
        }
    })
    .await
}

#[derive(Serialize)]
struct Simulated<'a> {
    transaction_trace: TraceJson<'a>,
    fee_estimation: FeeEstimateJson,
}

pub(super) async fn simulate_transactions(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    #[derive(Deserialize, PartialEq, Eq)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    enum Flag {
        SkipValidate,
        SkipFeeCharge,
        ReturnInitialReads,
    }
    #[derive(Serialize)]
    struct WithReads<'a> {
        simulated_transactions: Vec<Simulated<'a>>,
        initial_reads: InitialReadsJson<'a>,
    }
    let state = rpc.state(params.required(0)?)?;
    let transactions = transactions(rpc, params.required_raw(1)?, "transactions")?;
    let flags: Vec<Flag> = params.optional(2)?.unwrap_or_default();
    let parts =
        Parts { validate: !flags.contains(&Flag::SkipValidate), charge_fee: !flags.contains(&Flag::SkipFeeCharge) };
    let kinds: Vec<TraceKind> = transactions.iter().map(|submitted| TraceKind::from(&submitted.transaction)).collect();
    rpc.dry_run(move |chain| {
        let info = state.block_info().clone();
        let execution = execute(chain, state, transactions, parts)?;
        let simulated = execution.executed.iter().zip(kinds).map(|(executed, kind)| Simulated {
            transaction_trace: trace(chain, kind, executed),
            fee_estimation: estimate(executed, &info, FeeType::Strk),
        });
        let simulated_transactions: Vec<Simulated<'_>> = simulated.collect();
        if flags.contains(&Flag::ReturnInitialReads) {
            answer(&WithReads { simulated_transactions, initial_reads: InitialReadsJson(&execution.reads) })
        } else {
            answer(&simulated_transactions)
        }
    })
    .await
}

pub(super) fn trace<'a>(chain: &'a Chain, kind: TraceKind, executed: &'a Executed) -> TraceJson<'a> {
    TraceJson { kind, execution: &executed.info, state_diff: &executed.diff, constants: chain.constants() }
}
