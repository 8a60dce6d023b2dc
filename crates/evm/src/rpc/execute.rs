//! What executes without changing the chain.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, U64};
use alloy_rlp::Encodable;
use alloy_rpc_types_eth::simulate::SimulatePayload;
use alloy_rpc_types_eth::state::{EvmOverrides, StateOverride};
use alloy_rpc_types_eth::{AccessListResult, BlockOverrides, TransactionRequest};
use alloy_rpc_types_trace::geth::{GethDebugTracingCallOptions, GethDebugTracingOptions};

use super::answer::simulated as simulated_block;
use super::params::Params;
use super::{Answer, Inner, RpcError, answer};
use crate::At;
use crate::block::Block;
use crate::execution::ExecutionError;

impl From<ExecutionError> for RpcError {
    fn from(error: ExecutionError) -> Self {
        match error {
            ExecutionError::Reverted(output) => Self::reverted(&output),
            ExecutionError::Chain(error) => error.into(),
            ExecutionError::Request(why) => Self::invalid_params(why),
            other => Self::server(other),
        }
    }
}

pub(super) async fn eth(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    let request: TransactionRequest = params.required(0)?;
    let at = inner.at(params.block(1)?)?;
    let state: Option<StateOverride> = params.optional(2)?;
    let block: Option<BlockOverrides> = if method == "eth_createAccessList" { None } else { params.optional(3)? };
    let overrides = EvmOverrides { state, block: block.map(Box::new) };
    match method {
        "eth_call" => answer(&inner.executor.call(at, request, overrides).await?),
        "eth_estimateGas" => answer(&U64::from(inner.executor.estimate_gas(at, request, overrides).await?)),
        _ => {
            let touched = inner.executor.create_access_list(at, request, overrides).await?;
            let gas_used = alloy_primitives::U256::from(touched.gas_used);
            answer(&AccessListResult { access_list: touched.list, gas_used, error: touched.error })
        }
    }
}

pub(super) async fn simulate(inner: &Inner, params: Params<'_>) -> Answer {
    let payload: SimulatePayload = params.required(0)?;
    let (at, full) = (inner.at(params.block(1)?)?, payload.return_full_transactions);
    let simulated = inner.executor.simulate(at, payload).await.map_err(RpcError::simulation)?;
    answer(&simulated.iter().map(|block| simulated_block(block, full)).collect::<Vec<_>>())
}

pub(super) async fn debug(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    match method {
        "debug_traceTransaction" => {
            let hash: B256 = params.required(0)?;
            let options: Option<GethDebugTracingOptions> = params.optional(1)?;
            let located = inner.chain.transaction(hash)?.ok_or_else(|| RpcError::server("transaction not found"))?;
            let trace = inner.executor.trace_transaction(located.block, located.index, options.unwrap_or_default());
            answer(&trace.await?)
        }
        "debug_traceCall" => {
            let at = inner.at(params.block(1)?)?;
            let options: GethDebugTracingCallOptions = params.optional(2)?.unwrap_or_default();
            let overrides =
                EvmOverrides { state: options.state_overrides, block: options.block_overrides.map(Box::new) };
            let trace = inner.executor.trace_call(at, params.required(0)?, overrides, options.tracing_options);
            answer(&trace.await?)
        }
        "debug_traceBlockByNumber" | "debug_traceBlockByHash" => {
            let options: Option<GethDebugTracingOptions> = params.optional(1)?;
            let block = block(inner, method, &params)?;
            answer(&inner.executor.trace_block(block, options.unwrap_or_default()).await?)
        }
        "debug_getRawTransaction" => {
            let located = inner.chain.transaction(params.required(0)?)?;
            answer(&located.map(|located| Bytes::from(located.transaction().transaction.encoded_2718())))
        }
        "debug_getRawHeader" => answer(&Bytes::from(alloy_rlp::encode(block(inner, method, &params)?.header.inner()))),
        "debug_getRawReceipts" => {
            let block = block(inner, method, &params)?;
            let raw = block.transactions.iter().map(|executed| Bytes::from(executed.receipt.encoded_2718()));
            answer(&raw.collect::<Vec<_>>())
        }
        _ => {
            let block = block(inner, method, &params)?;
            let transactions = block.transactions.iter().map(|executed| executed.transaction.clone()).collect();
            let withdrawals = block.header.withdrawals_root.map(|_| Default::default());
            let body = alloy_consensus::BlockBody { transactions, ommers: Vec::new(), withdrawals };
            let mut raw = Vec::new();
            crate::block::RawBlock { header: block.header.inner().clone(), body }.encode(&mut raw);
            answer(&Bytes::from(raw))
        }
    }
}

fn block(inner: &Inner, method: &str, params: &Params<'_>) -> Result<Block, RpcError> {
    let at = if method.ends_with("ByHash") { At::Hash(params.required(0)?) } else { inner.at(params.block(0)?)? };
    inner.chain.block(at)?.ok_or_else(|| RpcError::server("header not found"))
}
