//! Signatures of accounts whose class is known, checked without the VM.
//!
//! The check is sufficient for what admission is for, to keep out what cannot pay: who signs with the account's key is
//! charged. What `__validate__` would look at besides (the caller, the version) cannot be otherwise here. The block runs
//! it again in any case.
//!
//! Declarations and deployments stay with the VM, although their signature is the same arithmetic: `blockifier` validates
//! them by executing them whole, so its verdict also says that their gas suffices. One that fails in the block is thrown out
//! and pays nothing, unlike an invoke, which pays when it reverts; a signature alone would let them be had for free.

use std::sync::LazyLock;

use starknet_api::abi::abi_utils::get_storage_var_address;
use starknet_api::core::ClassHash;
use starknet_api::executable_transaction::{AccountTransaction, DeployAccountTransaction, InvokeTransaction};
use starknet_api::state::StorageKey;
use starknet_types_core::felt::Felt;

use super::{Refused, ecdsa};
use crate::view::StateView;

/// OpenZeppelin's account of Cairo contracts 1.0.0: one STARK key, kept in `Account_public_key`.
const OPEN_ZEPPELIN_1_0_0: Felt =
    Felt::from_hex_unchecked("0x5b4b537eaa2399e3aa99c4e2e0208ebd6c71bc1467938cd52c798c601e43564");

/// Least L2 gas that a transaction of such an account can pay with; below it the VM is asked what is missing.
const L2_GAS_MIN: u64 = 500_000;
/// As much again for each felt of calldata, which `__validate__` reads: without it, who offers little and sends much
/// would be executed for nothing.
const L2_GAS_PER_FELT: u64 = 2_500;

static PUBLIC_KEY: LazyLock<StorageKey> = LazyLock::new(|| get_storage_var_address("Account_public_key", &[]));

/// Whether the signature is the account's; `None` when only the VM can tell. `fees` says whether transactions pay here.
pub(super) fn verify(
    state: &StateView,
    class_hash: ClassHash,
    transaction: &AccountTransaction,
    fees: bool,
) -> Result<Option<Result<(), Refused>>, Refused> {
    let AccountTransaction::Invoke(invoke) = transaction else { return Ok(None) };
    if class_hash.0 != OPEN_ZEPPELIN_1_0_0 || fees && !is_payable(invoke) || !is_multicall(&invoke.calldata().0) {
        return Ok(None);
    }
    let public_key = state.storage(invoke.sender_address(), *PUBLIC_KEY)?.value;
    Ok(Some(is_signed_by(&public_key, invoke)))
}

/// The same for an account whose deployment waits in the pool: its key is in the deployment.
pub(super) fn verify_undeployed(
    deployment: &DeployAccountTransaction,
    transaction: &AccountTransaction,
) -> Option<Result<(), Refused>> {
    let AccountTransaction::Invoke(invoke) = transaction else { return None };
    let constructor = deployment.constructor_calldata();
    match constructor.0.as_slice() {
        [key] if deployment.class_hash().0 == OPEN_ZEPPELIN_1_0_0 => Some(is_signed_by(key, invoke)),
        _ => None,
    }
}

fn is_payable(invoke: &InvokeTransaction) -> bool {
    let felts = u64::try_from(invoke.calldata().0.len()).unwrap_or(u64::MAX);
    let least = felts.saturating_mul(L2_GAS_PER_FELT).saturating_add(L2_GAS_MIN);
    invoke.resource_bounds().get_l2_bounds().max_amount.0 >= least
}

fn is_signed_by(public_key: &Felt, invoke: &InvokeTransaction) -> Result<(), Refused> {
    let signature = invoke.signature();
    let [r, s] = signature.0.as_slice() else {
        return Err(Refused::ValidationFailure(format!(
            "the account takes a signature of two felts, not of {}",
            signature.0.len()
        )));
    };
    if ecdsa::verify(public_key, &invoke.tx_hash.0, r, s) {
        return Ok(());
    }
    Err(Refused::ValidationFailure("the signature is not one of the account's key for this transaction".to_owned()))
}

/// Whether the calldata is a list of calls that ends where it says: `n`, then per call address, selector, length, data.
fn is_multicall(calldata: &[Felt]) -> bool {
    let Some((count, mut rest)) = calldata.split_first() else { return false };
    let Ok(count) = usize::try_from(*count) else { return false };
    for _ in 0..count {
        let [_, _, length, data @ ..] = rest else { return false };
        let Some(after) = usize::try_from(*length).ok().and_then(|length| data.get(length..)) else { return false };
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multicall_ends_where_it_says() {
        for (calldata, expected) in [
            (&[0_u64][..], true),
            (&[1, 7, 8, 0], true),
            (&[1, 7, 8, 2, 5, 6], true),
            (&[2, 7, 8, 1, 5, 7, 8, 0], true),
            (&[], false),
            (&[1], false),
            (&[1, 7, 8], false),
            (&[1, 7, 8, 2, 5], false),
            (&[1, 7, 8, 0, 5], false),
            (&[3, 7, 8, 0], false),
        ] {
            let calldata: Vec<Felt> = calldata.iter().map(|felt| Felt::from(*felt)).collect();
            assert_eq!(is_multicall(&calldata), expected, "{calldata:?}");
        }
        assert!(!is_multicall(&[Felt::MAX]));
        assert!(!is_multicall(&[Felt::ONE, Felt::ONE, Felt::ONE, Felt::MAX]));
    }
}
