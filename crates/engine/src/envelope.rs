//! A payload with its envelope in JSON, as rollup nodes and op-conductor send it to each other:
//! `{"parentBeaconBlockRoot": …, "executionPayload": …}`.
//!
//! Source: op-service `eth/types.go`, `ExecutionPayloadEnvelope`.

use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B256, U64};
use alloy_rpc_types_engine::{
    CancunPayloadFields, ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3, PraguePayloadFields,
};
use op_alloy_rpc_types_engine::{
    OpExecutionPayload, OpExecutionPayloadEnvelope, OpExecutionPayloadSidecar, OpExecutionPayloadV4,
};
use optimism::{EngineVersions, RollupConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::block::WholeBlock;
use crate::client::read_envelope;

/// The envelope as it is sent.
#[must_use]
pub fn envelope_to_json(envelope: &OpExecutionPayloadEnvelope) -> Value {
    json!({
        "parentBeaconBlockRoot": envelope.parent_beacon_block_root,
        "executionPayload": envelope.execution_payload,
    })
}

/// An envelope that was sent: in the form of its time's fork, and with the hash of its content.
///
/// # Errors
/// With what is wrong with it.
pub fn envelope_from_json(config: &RollupConfig, told: &Value) -> Result<OpExecutionPayloadEnvelope, String> {
    let time = told.pointer("/executionPayload/timestamp").ok_or("executionPayload.timestamp is missing")?;
    let time = U64::deserialize(time).map_err(|error| format!("executionPayload.timestamp: {error}"))?;
    let versions = EngineVersions::at(config, time.to());
    let envelope = read_envelope(versions.get_payload, told)?;
    let (claimed, found) = (envelope.execution_payload.as_v1().block_hash, hash_of_content(&envelope)?);
    if claimed != found {
        return Err(format!("blockHash is {claimed}, and the payload's fields hash to {found}"));
    }
    Ok(envelope)
}

/// The block's hash, computed.
fn hash_of_content(envelope: &OpExecutionPayloadEnvelope) -> Result<B256, String> {
    let cancun = || CancunPayloadFields::new(envelope.parent_beacon_block_root.unwrap_or_default(), Vec::new());
    let sidecar = match &envelope.execution_payload {
        OpExecutionPayload::V1(_) | OpExecutionPayload::V2(_) => OpExecutionPayloadSidecar::default(),
        OpExecutionPayload::V3(_) => OpExecutionPayloadSidecar::v3(cancun()),
        OpExecutionPayload::V4(_) => {
            OpExecutionPayloadSidecar::v4(cancun(), PraguePayloadFields::new(EMPTY_REQUESTS_HASH))
        }
    };
    let block = envelope.execution_payload.clone().into_block_with_sidecar_raw(&sidecar);
    Ok(block.map_err(|error| error.to_string())?.header.hash_slow())
}

impl WholeBlock {
    /// The block as the payload that it came from.
    #[must_use]
    pub fn to_envelope(&self) -> OpExecutionPayloadEnvelope {
        let header = self.header();
        let first = ExecutionPayloadV1 {
            parent_hash: header.parent_hash,
            fee_recipient: header.beneficiary,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            logs_bloom: header.logs_bloom,
            prev_randao: header.mix_hash,
            block_number: header.number,
            gas_limit: header.gas_limit,
            gas_used: header.gas_used,
            timestamp: header.timestamp,
            extra_data: header.extra_data.clone(),
            base_fee_per_gas: header.base_fee_per_gas.map_or_else(Default::default, alloy_primitives::U256::from),
            block_hash: header.hash(),
            transactions: self.transactions().to_vec(),
        };
        let payload = match (header.withdrawals_root, header.parent_beacon_block_root, header.requests_hash) {
            (None, _, _) => OpExecutionPayload::V1(first),
            // On a rollup nothing is withdrawn to its blocks: from Isthmus on the root has another meaning.
            (Some(root), beacon, requests) => {
                let second = ExecutionPayloadV2 { payload_inner: first, withdrawals: Vec::new() };
                let third = |payload_inner| ExecutionPayloadV3 {
                    payload_inner,
                    blob_gas_used: header.blob_gas_used.unwrap_or_default(),
                    excess_blob_gas: header.excess_blob_gas.unwrap_or_default(),
                };
                match (beacon, requests) {
                    (None, _) => OpExecutionPayload::V2(second),
                    (Some(_), None) => OpExecutionPayload::V3(third(second)),
                    (Some(_), Some(_)) => {
                        let payload_inner = third(second);
                        OpExecutionPayload::V4(OpExecutionPayloadV4 { payload_inner, withdrawals_root: root })
                    }
                }
            }
        };
        OpExecutionPayloadEnvelope {
            parent_beacon_block_root: header.parent_beacon_block_root,
            execution_payload: payload,
        }
    }
}
