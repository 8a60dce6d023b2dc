//! What is sent: signed already, or to be signed by an account of a development chain.

use std::time::Duration;

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{SignableTransaction, TxEnvelope, TypedTransaction};
use alloy_eips::BlockNumberOrTag;
use alloy_eips::eip2718::Encodable2718;
use alloy_network::TransactionBuilder;
use alloy_primitives::{Address, B256, Bytes};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_eth::state::EvmOverrides;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use serde::Serialize;

use super::answer::{TransactionAnswer, waiting};
use super::params::Params;
use super::{Answer, Inner, RpcError, answer, fees};
use crate::disguise;
use crate::pool::Refusal;

/// Longest that `eth_sendRawTransactionSync` waits, whatever it is told.
const SYNC_WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) async fn call(inner: &Inner, method: &str, params: Params<'_>) -> Answer {
    match method {
        "eth_accounts" => answer(&signers(inner).iter().map(PrivateKeySigner::address).collect::<Vec<_>>()),
        "eth_sendRawTransaction" => answer(&inner.pool.submit(params.required::<Bytes>(0)?).await?),
        "eth_sendRawTransactionSync" => {
            let raw = params.required::<Bytes>(0)?;
            let wait = params.optional_small(1)?.map_or(inner.limits.sync_wait, Duration::from_millis);
            send_and_wait(inner, raw, wait.min(SYNC_WAIT_MAX)).await
        }
        "eth_fillTransaction" => fill(inner, params.required(0)?).await,
        _ => answer(&send(inner, params.required(0)?).await?),
    }
}

fn signers(inner: &Inner) -> &[PrivateKeySigner] {
    inner.development.as_ref().map_or(&[], |development| &development.signers)
}

/// EIP-7966: the receipt in one round trip.
async fn send_and_wait(inner: &Inner, raw: Bytes, wait: Duration) -> Answer {
    let mut heads = inner.chain.watch_head();
    let hash = inner.pool.submit(raw).await?;
    let landed = async {
        loop {
            if let Some(located) = inner.chain.transaction(hash)? {
                return super::read::receipt(inner, Some(located));
            }
            if heads.changed().await.is_err() {
                return Err(RpcError::internal("the chain has ended"));
            }
        }
    };
    match tokio::time::timeout(wait, landed).await {
        Ok(landed) => landed,
        Err(_) => Err(late(inner, hash, wait)),
    }
}

/// Why there is no receipt in time.
fn late(inner: &Inner, hash: B256, waited: Duration) -> RpcError {
    let parked = inner.pool.transactions().into_iter().find(|(signed, ready)| !ready && signed.tx_hash() == hash);
    match parked.and_then(|(signed, _)| inner.pool.next_nonce(signed.signer()).ok()) {
        Some(missing) => RpcError::sync_not_ready(hash, missing),
        None => RpcError::sync_timeout(hash, waited),
    }
}

/// A transaction that is complete but for its signature (`eth_fillTransaction`).
async fn fill(inner: &Inner, mut request: TransactionRequest) -> Answer {
    complete(inner, &mut request).await?;
    if request.nonce.is_none() {
        request.nonce = Some(inner.pool.next_nonce(request.from.unwrap_or_default())?);
    }
    let from = request.from.unwrap_or_default();
    // A wallet puts its own signature in the place.
    let unsigned = disguise::in_place_of_signature(typed(request)?, None).ok_or(Refusal::Type)?;
    let raw = Bytes::from(unsigned.encoded_2718());
    answer(&Filled { raw, tx: waiting(&Recovered::new_unchecked(unsigned, from)) })
}

/// What `eth_fillTransaction` answers.
#[derive(Serialize)]
struct Filled {
    raw: Bytes,
    tx: TransactionAnswer,
}

/// Signs for one of the chain's own accounts; what the request leaves open is filled in as a wallet would.
async fn send(inner: &Inner, mut request: TransactionRequest) -> Result<B256, RpcError> {
    let from = request.from.ok_or_else(|| RpcError::invalid_params("transaction: from is missing"))?;
    let signer = signers(inner).iter().find(|signer| signer.address() == from);
    let in_disguise = inner.development.is_some() && inner.disguises.allow(from);
    if signer.is_none() && !in_disguise {
        return Err(unknown_account(from));
    }
    complete(inner, &mut request).await?;
    let _turn = match request.nonce {
        Some(_) => None,
        None => {
            let turn = inner.nonces[usize::from(from[19])].lock().await;
            request.nonce = Some(inner.pool.next_nonce(from)?);
            Some(turn)
        }
    };
    let typed = typed(request)?;
    let Some(signer) = signer else {
        let disguised = disguise::in_place_of_signature(typed, Some(disguise::signature(from)));
        return Ok(inner.pool.submit_disguised(disguised.ok_or(Refusal::Type)?).await?);
    };
    let signature = signer.sign_hash_sync(&typed.signature_hash()).map_err(RpcError::internal)?;
    let signed: TxEnvelope = typed.into_signed(signature).into();
    Ok(inner.pool.submit(signed.encoded_2718().into()).await?)
}

/// Fills in what the request leaves open, but for the nonce.
async fn complete(inner: &Inner, request: &mut TransactionRequest) -> Result<(), RpcError> {
    request.chain_id.get_or_insert(inner.chain.spec().chain_id());
    if request.gas.is_none() {
        let at = inner.at_tag(BlockNumberOrTag::Latest)?;
        request.gas = Some(inner.executor.estimate_gas(at, request.clone(), EvmOverrides::default()).await?);
    }
    if request.gas_price.is_none() {
        let tip = *request.max_priority_fee_per_gas.get_or_insert(fees::tip(inner)?);
        let base_fee = u128::from(inner.chain.next_base_fee(&inner.chain.head()));
        // Twice the base fee bears six full blocks.
        request.max_fee_per_gas.get_or_insert(base_fee.saturating_mul(2).saturating_add(tip));
    }
    if request.to.is_none() {
        request.set_create();
    }
    Ok(())
}

/// The transaction of a complete request.
fn typed(request: TransactionRequest) -> Result<TypedTransaction, RpcError> {
    request.build_typed_tx().map_err(|_| RpcError::invalid_params("transaction: it is not complete"))
}

fn unknown_account(from: Address) -> RpcError {
    RpcError::server(format!(
        "unknown account {from}: this node signs for its development accounts alone, see eth_accounts, and sends for those that anvil_impersonateAccount names"
    ))
}
