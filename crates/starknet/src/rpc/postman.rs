//! A message to L2 without an L1: what development networks offer to try L1 handlers with. Name, parameters and result are
//! those of starknet-devnet's `devnet_postmanSendMessageToL2`.

use std::sync::Arc;

use serde::Serialize;
use serde::de::IgnoredAny;
use starknet_api::core::{EntryPointSelector, Nonce};
use starknet_api::executable_transaction::L1HandlerTransaction as ExecutableL1Handler;
use starknet_api::transaction::fields::{Calldata, Fee};
use starknet_api::transaction::{L1HandlerTransaction, TransactionVersion};
use starknet_types_core::felt::Felt;

use super::error::{CONTRACT_NOT_FOUND, RpcError};
use super::hex::{EthAddress, Hex, Key};
use super::params::Params;
use super::write::refusal;
use super::{Answer, StarknetRpc, answer, from_chain};
use crate::config::GenesisSource;
use crate::view::At;

/// Felts of a message's payload, at most: what the public network takes of calldata.
const PAYLOAD_FELTS_MAX: usize = 5_000;

/// Whether the chain is one for development: funded from a seed, with keys that everybody knows.
pub(super) fn is_offered(rpc: &StarknetRpc) -> bool {
    matches!(rpc.chain().config().genesis, GenesisSource::Dev { .. })
}

pub(super) async fn send_message_to_l2(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    #[derive(Serialize)]
    struct Sent {
        transaction_hash: Hex,
    }
    let contract_address = params.required::<Key>(0)?.address();
    let selector: Hex = params.required(1)?;
    let from: EthAddress = params.required(2)?;
    let payload: Vec<Hex> = params.required(3)?;
    let paid: Hex = params.required(4)?;
    let nonce: Hex = params.required(5)?;
    // A message that no L1 transaction sent has none to name.
    let _: Option<IgnoredAny> = params.optional(6)?;
    if payload.len() > PAYLOAD_FELTS_MAX {
        return Err(RpcError::invalid_params(format!(
            "payload: {} felts are given, at most {PAYLOAD_FELTS_MAX} are taken",
            payload.len()
        )));
    }
    let paid = u128::try_from(paid.0);
    let paid = paid.map_err(|_| RpcError::invalid_params("paid_fee_on_l1: it is more than 128 bits"))?;
    let state = rpc.chain().state(At::PreConfirmed).map_err(from_chain)?;
    let deployed = match state {
        Some(state) => state.is_deployed(contract_address).map_err(from_chain)?,
        None => false,
    };
    if !deployed {
        return Err(CONTRACT_NOT_FOUND.into());
    }
    let payload = payload.into_iter().map(|felt| felt.0);
    let calldata: Vec<Felt> = std::iter::once(from.0).chain(payload).collect();
    let handler = L1HandlerTransaction {
        version: TransactionVersion::ZERO,
        nonce: Nonce(nonce.0),
        contract_address,
        entry_point_selector: EntryPointSelector(selector.0),
        calldata: Calldata(Arc::new(calldata)),
    };
    let message = ExecutableL1Handler::create(handler, &rpc.chain().config().chain_id, Fee(paid));
    let message = message.map_err(RpcError::internal)?;
    let sent = rpc.gateway().submit_message(message).await.map_err(refusal)?;
    answer(&Sent { transaction_hash: Hex(sent.0) })
}
