//! Methods that submit transactions.

use serde::Serialize;
use starknet_api::rpc_transaction::RpcTransaction;

use super::error::{
    CLASS_ALREADY_DECLARED, CLASS_HASH_NOT_FOUND, COMPILATION_FAILED, COMPILED_CLASS_HASH_MISMATCH,
    CONTRACT_CLASS_SIZE_IS_TOO_LARGE, DUPLICATE_TX, FEE_BELOW_MINIMUM, INSUFFICIENT_ACCOUNT_BALANCE,
    INSUFFICIENT_RESOURCES_FOR_VALIDATE, INVALID_PROOF, INVALID_TRANSACTION_NONCE, NON_ACCOUNT,
    REPLACEMENT_TRANSACTION_UNDERPRICED, RpcError, UNEXPECTED_ERROR, UNSUPPORTED_CONTRACT_CLASS_VERSION,
    UNSUPPORTED_TX_VERSION, VALIDATION_FAILURE,
};
use super::hex::Hex;
use super::params::Params;
use super::transaction::{Kind, submitted};
use super::{Answer, StarknetRpc, answer};
use crate::admission::{Admitted, Refused};

/// What a sender is told: schemas of the results of the write interface.
#[derive(Serialize)]
struct AdmittedJson {
    transaction_hash: Hex,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_hash: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract_address: Option<Hex>,
}

impl From<Admitted> for AdmittedJson {
    fn from(admitted: Admitted) -> Self {
        Self {
            transaction_hash: Hex(admitted.hash.0),
            class_hash: admitted.class_hash.map(|hash| Hex(hash.0)),
            contract_address: admitted.contract_address.map(Hex::from),
        }
    }
}

pub(super) async fn add_invoke_transaction(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    submit(rpc, &params, "invoke_transaction", Kind::Invoke).await
}

pub(super) async fn add_declare_transaction(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    submit(rpc, &params, "declare_transaction", Kind::Declare).await
}

pub(super) async fn add_deploy_account_transaction(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    submit(rpc, &params, "deploy_account_transaction", Kind::DeployAccount).await
}

async fn submit(rpc: &StarknetRpc, params: &Params<'_>, name: &str, kind: Kind) -> Answer {
    let submitted = submitted(params.required_raw(0)?, name, Some(kind))?;
    if submitted.only_query {
        return Err(UNSUPPORTED_TX_VERSION.with(format!(
            "{name}.version has the query bit: such a transaction can be estimated and simulated, not executed"
        )));
    }
    let transaction: RpcTransaction = submitted.transaction;
    match rpc.gateway().submit(transaction).await {
        Ok(admitted) => answer(&AdmittedJson::from(admitted)),
        Err(refused) => Err(refusal(refused)),
    }
}

/// The specification's error for a refusal. Where it asks for data, that is a text; elsewhere a text does no harm.
pub(super) fn refusal(refused: Refused) -> RpcError {
    let why = refused.to_string();
    match refused {
        Refused::ClassAlreadyDeclared => CLASS_ALREADY_DECLARED.into(),
        Refused::InvalidNonce(reason) => INVALID_TRANSACTION_NONCE.with(reason),
        Refused::InsufficientResources(reason) => INSUFFICIENT_RESOURCES_FOR_VALIDATE.with(reason),
        Refused::InsufficientBalance(reason) => INSUFFICIENT_ACCOUNT_BALANCE.with(reason),
        Refused::ValidationFailure(reason) => VALIDATION_FAILURE.with(reason),
        Refused::CompilationFailed(reason) => COMPILATION_FAILED.with(reason),
        Refused::ClassTooLarge { .. } => CONTRACT_CLASS_SIZE_IS_TOO_LARGE.with(why),
        Refused::NonAccount => NON_ACCOUNT.into(),
        Refused::Duplicate => DUPLICATE_TX.into(),
        Refused::CompiledClassHashMismatch { .. } => COMPILED_CLASS_HASH_MISMATCH.with(why),
        Refused::UnsupportedClassVersion(reason) => UNSUPPORTED_CONTRACT_CLASS_VERSION.with(reason),
        Refused::Underpriced(reason) => REPLACEMENT_TRANSACTION_UNDERPRICED.with(reason),
        Refused::FeeBelowMinimum(reason) => FEE_BELOW_MINIMUM.with(reason),
        Refused::InvalidProof(reason) => INVALID_PROOF.with(reason),
        Refused::ClassNotFound => CLASS_HASH_NOT_FOUND.into(),
        Refused::Unexpected(reason) => UNEXPECTED_ERROR.with(reason),
    }
}
