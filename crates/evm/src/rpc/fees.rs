//! What gas costs, and what it did.

use alloy_consensus::Transaction as _;
use alloy_primitives::U256;
use alloy_rpc_types_eth::FeeHistory;

use super::params::Params;
use super::{Answer, Inner, RpcError, answer};
use crate::At;
use crate::block::Block;

/// Blocks in one answer of `eth_feeHistory`: as geth.
const HISTORY_BLOCKS_MAX: u64 = 1_024;
/// Percentiles in one call: as geth.
const PERCENTILES_MAX: usize = 100;
/// Blocks looked at for a tip.
const TIP_BLOCKS: u64 = 20;
/// The tip to offer where nobody offered any, in wei.
const TIP_DEFAULT: u128 = 1_000_000_000;

pub(super) fn call(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    let head = inner.chain.head();
    match method {
        "eth_gasPrice" => {
            let price = u128::from(inner.chain.next_base_fee(&head)).saturating_add(tip(inner)?);
            answer(&U256::from(price))
        }
        "eth_maxPriorityFeePerGas" => answer(&U256::from(tip(inner)?)),
        "eth_blobBaseFee" => {
            let price = inner.chain.environment(&head).block_env.blob_excess_gas_and_price;
            answer(&U256::from(price.map_or(1, |price| price.blob_gasprice)))
        }
        _ => history(inner, params),
    }
}

/// The middle one of the lowest tips of the last blocks that held any.
pub(super) fn tip(inner: &Inner) -> Result<u128, RpcError> {
    let head = inner.chain.head().number;
    let mut tips = Vec::new();
    for number in head.saturating_sub(TIP_BLOCKS - 1)..=head {
        if let Some(block) = inner.chain.block(At::Number(number))? {
            tips.extend(tips_of(&block).into_iter().map(|(tip, _)| tip).min());
        }
    }
    tips.sort_unstable();
    Ok(tips.get(tips.len() / 2).copied().unwrap_or(TIP_DEFAULT))
}

/// The tips that a block's transactions paid for a unit of gas, each with the gas.
fn tips_of(block: &Block) -> Vec<(u128, u64)> {
    let base_fee = block.header.base_fee_per_gas.unwrap_or_default();
    let tip = |executed: &crate::ExecutedTransaction| {
        executed.transaction.effective_tip_per_gas(base_fee).unwrap_or_default()
    };
    block.transactions.iter().map(|executed| (tip(executed), executed.gas_used)).collect()
}

fn history(inner: &Inner, params: Params<'_>) -> Answer {
    let count = params.small(0)?.min(HISTORY_BLOCKS_MAX);
    let newest = match inner.chain.header(inner.at(params.block(1)?)?)? {
        Some(header) => header.number,
        None => return Err(RpcError::server("request beyond head block")),
    };
    let percentiles: Vec<f64> = params.optional(2)?.unwrap_or_default();
    if percentiles.len() > PERCENTILES_MAX {
        return Err(RpcError::server(format!("over the query limit {PERCENTILES_MAX}")));
    }
    if percentiles.iter().any(|part| !(0.0..=100.0).contains(part))
        || percentiles.windows(2).any(|pair| pair[0] > pair[1])
    {
        return Err(RpcError::server("invalid reward percentile: they rise from 0 to 100"));
    }
    let oldest = (newest + 1).saturating_sub(count);
    let mut history = FeeHistory { oldest_block: oldest, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    for number in oldest..=newest {
        if count == 0 {
            break;
        }
        let Some(header) = inner.chain.header(At::Number(number))? else { continue };
        history.base_fee_per_gas.push(header.base_fee_per_gas.unwrap_or_default().into());
        history.gas_used_ratio.push(ratio(header.gas_used, header.gas_limit));
        let blobs = inner.chain.environment(&header).block_env.blob_excess_gas_and_price;
        history.base_fee_per_blob_gas.push(blobs.map_or(0, |price| price.blob_gasprice));
        history.blob_gas_used_ratio.push(0.0);
        // Tips cost a block with all its transactions; without percentiles the headers say everything.
        if !percentiles.is_empty()
            && let Some(block) = inner.chain.block(At::Number(number))?
        {
            rewards.push(rewards_at(&block, &percentiles));
        }
        if number == newest {
            history.base_fee_per_gas.push(inner.chain.next_base_fee(&header).into());
            history.base_fee_per_blob_gas.push(blobs.map_or(0, |price| price.blob_gasprice));
        }
    }
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    answer(&history)
}

fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "gas lies far below 2^52")]
    let ratio = part as f64 / whole.max(1) as f64;
    ratio
}

/// The tips at these parts of the block's gas, from the lowest tip upwards.
fn rewards_at(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let mut tips = tips_of(block);
    tips.sort_unstable();
    let total: u64 = block.transactions.last().map_or(0, |last| last.receipt.cumulative_gas_used());
    let at = |percentile: f64| {
        let mut seen = 0;
        let reached = tips.iter().find(|(_, gas)| {
            seen += gas;
            ratio(seen, total) * 100.0 >= percentile
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(|percentile| at(*percentile)).collect()
}
