//! The least gas with which a transaction succeeds: geth's search (`eth/gasestimator/gasestimator.go`).

use alloy_eips::eip7825::MAX_TX_GAS_LIMIT_OSAKA;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, TxKind, U256};
use op_revm::OpHaltReason;
use revm::Database;
use revm::context::TxEnv;
use revm::context::result::ExecutionResult;

use super::error::ExecutionError;
use super::scene::{Scene, output};
use crate::ChainSpec;

/// Gas of a transfer between accounts without code.
const TRANSFER_GAS: u64 = 21_000;
/// Gas that a call with value hands on to its callee beyond what it was given.
const CALL_STIPEND: u64 = 2_300;
/// The search stops when what is left between the bounds is below this share of the upper one: 1.5 %.
const TOLERANCE_PER_MILLE: u64 = 15;

/// Gas for `transaction`, whose own limit, if it names one, is the most that is tried.
pub(super) fn estimate(
    scene: &mut Scene,
    spec: &ChainSpec,
    transaction: TxEnv,
    named: Option<u64>,
    gas_max: u64,
) -> Result<u64, ExecutionError> {
    let block = &scene.environment.block_env;
    let (block_gas, timestamp) = (block.gas_limit, block.timestamp.saturating_to());
    let mut high = named.filter(|gas| *gas >= TRANSFER_GAS).unwrap_or(block_gas);
    if spec.is_osaka_active_at_timestamp(timestamp) {
        high = high.min(MAX_TX_GAS_LIMIT_OSAKA);
    }
    let high = high.min(affordable(scene, &transaction)?).min(gas_max);

    if is_plain_transfer(scene, &transaction)? && succeeds(scene, &transaction, TRANSFER_GAS)?.is_some() {
        return Ok(TRANSFER_GAS);
    }
    let result = match scene.execute(with_gas(&transaction, high)) {
        Ok(outcome) => outcome.result,
        Err(error) if error.is_short_of_intrinsic_gas() => return Err(ExecutionError::Allowance(high)),
        Err(error) => return Err(error),
    };
    let (used, peak) = gas(&result);
    output(result).map_err(|error| if error.is_out_of_gas() { ExecutionError::Allowance(high) } else { error })?;
    search(scene, &transaction, used, peak, high)
}

/// Between what was used, which may not be enough (refunds come at the end, a call keeps 1/64 back), and `high`, which is.
fn search(scene: &mut Scene, transaction: &TxEnv, used: u64, peak: u64, mut high: u64) -> Result<u64, ExecutionError> {
    let mut low = used.saturating_sub(1);
    let likely = peak.saturating_add(CALL_STIPEND).saturating_mul(64) / 63;
    if likely < high {
        narrow(scene, transaction, likely, &mut low, &mut high)?;
    }
    while low + 1 < high && (high - low) * 1_000 >= high * TOLERANCE_PER_MILLE {
        // Most transactions need little more than they use: the middle of a wide range is a waste.
        let middle = (low + (high - low) / 2).min(low.saturating_mul(2).max(low + 1));
        narrow(scene, transaction, middle, &mut low, &mut high)?;
    }
    Ok(high)
}

fn narrow(
    scene: &mut Scene,
    transaction: &TxEnv,
    gas: u64,
    low: &mut u64,
    high: &mut u64,
) -> Result<(), ExecutionError> {
    match succeeds(scene, transaction, gas)? {
        Some(()) => *high = gas,
        None => *low = gas,
    }
    Ok(())
}

/// `None` when it fails with so much gas.
fn succeeds(scene: &mut Scene, transaction: &TxEnv, gas: u64) -> Result<Option<()>, ExecutionError> {
    match scene.execute(with_gas(transaction, gas)) {
        Ok(outcome) => Ok(outcome.result.is_success().then_some(())),
        Err(error) if error.is_short_of_intrinsic_gas() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The gas that the sender can pay for after the transfer.
fn affordable(scene: &mut Scene, transaction: &TxEnv) -> Result<u64, ExecutionError> {
    if transaction.gas_price == 0 {
        return Ok(u64::MAX);
    }
    let account = scene.database.basic(transaction.caller)?.unwrap_or_default();
    let left = account.balance.checked_sub(transaction.value).ok_or(ExecutionError::Transfer)?;
    Ok((left / U256::from(transaction.gas_price)).saturating_to())
}

fn is_plain_transfer(scene: &mut Scene, transaction: &TxEnv) -> Result<bool, ExecutionError> {
    let TxKind::Call(to) = transaction.kind else { return Ok(false) };
    let bare =
        transaction.data.is_empty() && transaction.authorization_list.is_empty() && transaction.access_list.is_empty();
    Ok(bare && !has_code(scene, to)?)
}

fn has_code(scene: &mut Scene, account: Address) -> Result<bool, ExecutionError> {
    Ok(scene.database.basic(account)?.is_some_and(|account| !account.is_empty_code_hash()))
}

fn with_gas(transaction: &TxEnv, gas_limit: u64) -> TxEnv {
    TxEnv { gas_limit, ..transaction.clone() }
}

/// Gas used, and the most that was used at any time: before refunds.
fn gas(result: &ExecutionResult<OpHaltReason>) -> (u64, u64) {
    let gas = result.gas();
    (gas.tx_gas_used(), gas.total_gas_spent().max(gas.floor_gas()))
}
