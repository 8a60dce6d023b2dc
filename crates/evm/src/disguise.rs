//! Transactions of accounts that nobody has the key of, on development chains.
//!
//! Every transaction of a block carries a signature, and whoever executes the block again takes the sender from it. In the place of one a
//! disguised transaction has the sender's address for `r` and 0 for `s`. No signature has an `s` of 0 (SEC 1, 4.1.4), so the two
//! cannot be confused, and only a chain whose genesis says that it is for development reads it so.

use alloy_consensus::crypto::RecoveryError;
use alloy_consensus::transaction::{Recovered, SignerRecoverable};
use alloy_consensus::{SignableTransaction, TxEnvelope, TypedTransaction};
use alloy_primitives::{Address, Signature, U256};

use crate::ChainSpec;
use crate::block::Transaction;

/// What stands in the place of a signature.
pub(crate) fn signature(sender: Address) -> Signature {
    Signature::new(U256::from_be_bytes(sender.into_word().0), U256::ZERO, false)
}

/// A transaction with something in the place of a signature: a disguise, or with `None` zeros, as geth shows what nobody has signed. `None` for one
/// with blobs, of which there are none here.
pub(crate) fn in_place_of_signature(typed: TypedTransaction, signature: Option<Signature>) -> Option<Transaction> {
    let signature = signature.unwrap_or_else(|| Signature::new(U256::ZERO, U256::ZERO, false));
    Transaction::try_from_eth_envelope(TxEnvelope::from(typed.into_signed(signature))).ok()
}

/// Whether this stands in the place of a signature, and for whom.
pub(crate) fn sender(signature: &Signature) -> Option<Address> {
    let r = signature.r().to_be_bytes::<32>();
    let short = r[..12].iter().all(|byte| *byte == 0);
    (signature.s().is_zero() && short).then(|| Address::from_slice(&r[12..]))
}

/// The transaction with its sender, as this chain's rules have it.
///
/// # Errors
/// When no account can have made the signature.
pub(crate) fn recover(spec: &ChainSpec, transaction: Transaction) -> Result<Recovered<Transaction>, RecoveryError> {
    match transaction.signature().and_then(sender) {
        Some(sender) if spec.is_development() => Ok(Recovered::new_unchecked(transaction, sender)),
        _ => transaction.try_into_recovered().map_err(|_| RecoveryError::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signature_is_a_disguise() {
        let alice = Address::repeat_byte(0xa1);
        assert_eq!(sender(&signature(alice)), Some(alice));
        assert_eq!(sender(&Signature::new(U256::from(7), U256::from(1), false)), None);
        assert_eq!(sender(&Signature::new(U256::MAX, U256::ZERO, false)), None);
        assert!(signature(alice).recover_address_from_prehash(&Default::default()).is_err());
    }
}
