//! The pool's records in its log.
//!
//! Version 1 was without the time of admission; it can still be read.

use std::sync::Arc;
use std::time::Duration;

use starknet_api::StarknetApiError;
use starknet_api::core::{ChainId, ContractAddress};
use starknet_api::executable_transaction::{
    AccountTransaction, DeclareTransaction, DeployAccountTransaction, InvokeTransaction, L1HandlerTransaction,
    Transaction as Executable,
};
use starknet_api::transaction::fields::Fee;
use starknet_api::transaction::{Transaction, TransactionHash};
use starknet_types_core::felt::Felt;

use crate::classes::DeclaredClass;
use crate::codec::{DecodeError, Reader, Writer};
use crate::source::ReadyTransaction;

/// Kind of a record that holds an accepted transaction.
pub(super) const ACCEPTED: u8 = 1;
/// Kind of a record that names transactions which left the pool.
pub(super) const GONE: u8 = 2;

const VERSION: u8 = 2;
const VERSION_WITHOUT_TIME: u8 = 1;
const HASH_BYTES: usize = 32;

/// An accepted transaction with all that executing it takes, and when it was accepted: time since the epoch, kept in
/// milliseconds.
pub(super) fn accepted(ready: &ReadyTransaction, at: Duration) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1024);
    writer.byte(VERSION);
    writer.varint(at.as_millis());
    writer.felt(&ready.hash().0);
    writer.transaction(&as_signed(&ready.transaction));
    if let Executable::L1Handler(handler) = &ready.transaction {
        writer.varint(handler.paid_fee_on_l1.0);
    }
    if let Some(class) = &ready.class {
        writer.class(class);
    }
    writer.finish()
}

/// Reads what [`accepted`] wrote; the time is `None` in a record of before times were kept. The hash is computed anew, so
/// that a pool of another chain is noticed.
pub(super) fn read_accepted(
    bytes: &[u8],
    chain_id: &ChainId,
) -> Result<(ReadyTransaction, Option<Duration>), DecodeError> {
    let mut reader = Reader::new(bytes);
    let at = match reader.byte()? {
        VERSION => {
            let millis = u64::try_from(reader.varint()?);
            Some(Duration::from_millis(
                millis.map_err(|_| DecodeError::Range("the time of a transaction of the pool"))?,
            ))
        }
        VERSION_WITHOUT_TIME => None,
        other => return Err(DecodeError::Version(other)),
    };
    let hash = TransactionHash(reader.felt()?);
    let transaction = reader.transaction()?;
    let mut class = None;
    let transaction = match transaction {
        Transaction::Invoke(tx) => account(InvokeTransaction::create(tx, chain_id))?,
        Transaction::DeployAccount(tx) => account(DeployAccountTransaction::create(tx, chain_id))?,
        Transaction::Declare(tx) => {
            let DeclaredClass::Sierra(sierra) = reader.class()? else {
                return Err(DecodeError::Range("the class of a declare transaction"));
            };
            let declare = account(DeclareTransaction::create(tx, sierra.class_info(), chain_id))?;
            class = Some(Arc::new(DeclaredClass::Sierra(sierra)));
            declare
        }
        Transaction::L1Handler(tx) => {
            let paid = Fee(reader.varint()?);
            Executable::L1Handler(L1HandlerTransaction::create(tx, chain_id, paid).map_err(bad)?)
        }
        Transaction::Deploy(_) => return Err(DecodeError::Range("the kind of a transaction of the pool")),
    };
    reader.end()?;
    if transaction.tx_hash() != hash {
        return Err(DecodeError::Range("the hash of a transaction of the pool"));
    }
    Ok((ReadyTransaction { transaction, class }, at))
}

fn account<T: Into<AccountTransaction>>(created: Result<T, StarknetApiError>) -> Result<Executable, DecodeError> {
    created.map(|transaction| Executable::Account(transaction.into())).map_err(bad)
}

fn bad(_: StarknetApiError) -> DecodeError {
    DecodeError::Range("a transaction of the pool")
}

/// Names transactions that left the pool.
pub(super) fn gone(hashes: &[TransactionHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0.to_bytes_be()).collect()
}

/// Reads what [`gone`] wrote.
pub(super) fn read_gone(bytes: &[u8]) -> impl Iterator<Item = TransactionHash> + '_ {
    bytes.chunks_exact(HASH_BYTES).map(|chunk| TransactionHash(Felt::from_bytes_be_slice(chunk)))
}

/// The account whose nonce a transaction uses, or nothing for an L1 handler, which follows no nonce of L2.
pub(super) fn sender(transaction: &Executable) -> Option<ContractAddress> {
    match transaction {
        Executable::Account(account) => Some(account.sender_address()),
        Executable::L1Handler(_) => None,
    }
}

/// The transaction as it was signed.
fn as_signed(transaction: &Executable) -> Transaction {
    match transaction {
        Executable::Account(AccountTransaction::Invoke(invoke)) => Transaction::Invoke(invoke.tx.clone()),
        Executable::Account(AccountTransaction::Declare(declare)) => Transaction::Declare(declare.tx.clone()),
        Executable::Account(AccountTransaction::DeployAccount(deploy)) => Transaction::DeployAccount(deploy.tx.clone()),
        Executable::L1Handler(handler) => Transaction::L1Handler(handler.tx.clone()),
    }
}
