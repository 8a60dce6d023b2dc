//! Between blocks of the chain and payloads of the Engine API.

use alloy_consensus::{Header, Transaction as _};
use alloy_eips::eip2718::Decodable2718;
use alloy_eips::eip7685::{EMPTY_REQUESTS_HASH, Requests};
use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::Encodable;
use alloy_rpc_types_engine::{
    BlobsBundleV1, BlobsBundleV2, ExecutionPayloadBodyV1, ExecutionPayloadFieldV2, ExecutionPayloadInputV2,
    ExecutionPayloadV1, ExecutionPayloadV3,
};
use serde::Deserialize;
use serde_json::{Value, json};
use types::{BlockHash, BlockNumber, BlockRef, Payload, Slot, Timestamp};

use super::error::EngineError;
use super::version::Fork;
use crate::ChainSpec;
use crate::block::{Block, RawBlock, Transaction};

/// A payload as `engine_newPayload` brings it, with what stands beside it.
pub(crate) struct Given {
    pub(crate) hash: B256,
    pub(crate) timestamp: u64,
    block: Result<alloy_consensus::Block<Bytes>, String>,
}

/// The one field that rollups add to a payload from Isthmus on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfRollup {
    withdrawals_root: Option<B256>,
}

impl Given {
    /// Reads the parameters of a version.
    pub(crate) fn read(version: u8, params: &[Value]) -> Result<Self, EngineError> {
        let payload = params.first().ok_or_else(|| EngineError::invalid_params("the payload is missing"))?;
        let wrong = |error: serde_json::Error| EngineError::invalid_params(format!("payload: {error}"));
        let (hash, timestamp, block) = match version {
            1 => {
                let payload: ExecutionPayloadV1 = Deserialize::deserialize(payload).map_err(wrong)?;
                (payload.block_hash, payload.timestamp, payload.into_block_raw())
            }
            2 => {
                let payload: ExecutionPayloadInputV2 = Deserialize::deserialize(payload).map_err(wrong)?;
                let (hash, time) = (payload.execution_payload.block_hash, payload.execution_payload.timestamp);
                (hash, time, payload.into_payload().into_block_raw())
            }
            _ => {
                let payload: ExecutionPayloadV3 = Deserialize::deserialize(payload).map_err(wrong)?;
                let inner = &payload.payload_inner.payload_inner;
                (inner.block_hash, inner.timestamp, payload.into_block_raw())
            }
        };
        let mut block = block.map_err(|error| error.to_string());
        if version >= 3 {
            let beside = Beside::read(version, params)?;
            let rollup: OfRollup = Deserialize::deserialize(payload).map_err(wrong)?;
            if let Ok(read) = &mut block {
                read.header.parent_beacon_block_root = Some(beside.parent_beacon_block_root);
                read.header.requests_hash = beside.requests_hash;
                if rollup.withdrawals_root.is_some() {
                    read.header.withdrawals_root = rollup.withdrawals_root;
                }
            }
            block = block.and_then(|block| with_blobs(block, &beside.versioned_hashes));
        }
        Ok(Self { hash, timestamp, block })
    }

    /// A rollup makes no requests of a consensus layer, so none can come with its payloads.
    pub(crate) fn check_requests(&self, spec: &ChainSpec) -> Result<(), EngineError> {
        let requests = self.block.as_ref().ok().and_then(|block| block.header.requests_hash);
        match requests.filter(|hash| spec.is_rollup() && *hash != EMPTY_REQUESTS_HASH) {
            Some(_) => Err(EngineError::invalid_params("executionRequests: a rollup's payloads come with none")),
            None => Ok(()),
        }
    }

    /// The block in the chain's own form; an error is a reason why it can never be valid.
    pub(crate) fn block(self) -> Result<Payload, String> {
        let block = self.block?;
        let hash = block.header.hash_slow();
        if hash != self.hash {
            return Err(format!("blockHash is {}, the payload's fields hash to {hash}", self.hash));
        }
        let transactions = block.body.transactions.iter().enumerate().map(|(index, bytes)| {
            Transaction::decode_2718_exact(bytes).map_err(|error| format!("transaction {index}: {error}"))
        });
        let transactions = transactions.collect::<Result<Vec<_>, _>>()?;
        let reference = reference(&block.header, hash);
        let body = alloy_consensus::BlockBody { transactions, ommers: Vec::new(), withdrawals: block.body.withdrawals };
        let mut bytes = Vec::new();
        RawBlock { header: block.header, body }.encode(&mut bytes);
        Ok(Payload { slot: Slot::new(self.timestamp), block: reference, origin: None, body: bytes.into() })
    }
}

/// The blobs that a payload's transactions name must be the ones that the caller expects.
fn with_blobs(
    block: alloy_consensus::Block<Bytes>,
    expected: &[B256],
) -> Result<alloy_consensus::Block<Bytes>, String> {
    let decoded = block.body.transactions.iter().filter_map(|bytes| Transaction::decode_2718_exact(bytes).ok());
    let named: Vec<B256> = decoded.flat_map(|one| one.blob_versioned_hashes().unwrap_or_default().to_vec()).collect();
    if named != expected {
        return Err(format!("{} blobs are expected, the transactions name {}", expected.len(), named.len()));
    }
    Ok(block)
}

/// What stands beside a payload from the third version on.
struct Beside {
    versioned_hashes: Vec<B256>,
    parent_beacon_block_root: B256,
    requests_hash: Option<B256>,
}

impl Beside {
    fn read(version: u8, params: &[Value]) -> Result<Self, EngineError> {
        fn parameter<T: serde::de::DeserializeOwned>(
            params: &[Value],
            at: usize,
            name: &str,
        ) -> Result<T, EngineError> {
            let value = params.get(at).ok_or_else(|| EngineError::invalid_params(format!("{name} is missing")))?;
            T::deserialize(value).map_err(|error| EngineError::invalid_params(format!("{name}: {error}")))
        }
        let requests_hash = match version {
            3 => None,
            _ => Some(requests_hash(parameter(params, 3, "executionRequests")?)?),
        };
        Ok(Self {
            versioned_hashes: parameter(params, 1, "expectedBlobVersionedHashes")?,
            parent_beacon_block_root: parameter(params, 2, "parentBeaconBlockRoot")?,
            requests_hash,
        })
    }
}

/// Requests come ordered by their first byte, each kind once and none empty (EIP-7685).
fn requests_hash(requests: Vec<Bytes>) -> Result<B256, EngineError> {
    let ordered = requests.windows(2).all(|pair| pair[0].first() < pair[1].first());
    if !ordered || requests.iter().any(|request| request.len() < 2) {
        return Err(EngineError::invalid_params("executionRequests: not in order of their kinds, or one is empty"));
    }
    Ok(Requests::new(requests).requests_hash())
}

/// A header as the heart names its block.
pub(crate) fn reference(header: &Header, hash: B256) -> BlockRef {
    BlockRef {
        number: BlockNumber::new(header.number),
        hash: BlockHash::new(hash.0),
        parent: BlockHash::new(header.parent_hash.0),
        timestamp: Timestamp::from_secs(header.timestamp),
    }
}

/// The answer of `engine_getPayload` in a version: the payload, and from the second version on what stands beside it.
pub(crate) fn envelope(
    version: u8,
    rollup: bool,
    block: &RawBlock,
    hash: B256,
    value: U256,
    requests: &Requests,
) -> Result<Value, EngineError> {
    let internal = |error: serde_json::Error| EngineError::internal(error);
    if version == 1 {
        return serde_json::to_value(ExecutionPayloadV1::from_block_unchecked(hash, block)).map_err(internal);
    }
    if version == 2 {
        let payload = ExecutionPayloadFieldV2::from_block_unchecked(hash, block);
        return Ok(
            json!({ "executionPayload": serde_json::to_value(payload).map_err(internal)?, "blockValue": value }),
        );
    }
    let mut payload = serde_json::to_value(ExecutionPayloadV3::from_block_unchecked(hash, block)).map_err(internal)?;
    if rollup && version >= 4 {
        // From Isthmus on the root is not that of the list of withdrawals, so it has to be said.
        payload["withdrawalsRoot"] = json!(block.header.withdrawals_root);
    }
    let blobs = match version {
        3 | 4 => serde_json::to_value(BlobsBundleV1::default()),
        _ => serde_json::to_value(BlobsBundleV2::default()),
    };
    let mut envelope = json!({
        "executionPayload": payload,
        "blockValue": value,
        "blobsBundle": blobs.map_err(internal)?,
        "shouldOverrideBuilder": false,
        // Rollup nodes read it here; others do not look.
        "parentBeaconBlockRoot": block.header.parent_beacon_block_root,
    });
    if version >= 4 {
        envelope["executionRequests"] = json!(requests);
    }
    Ok(envelope)
}

/// Tips that the block earns, in wei.
pub(crate) fn value(block: &[crate::ExecutedTransaction], base_fee: u64) -> U256 {
    let tip = |executed: &crate::ExecutedTransaction| {
        let price = executed.transaction.effective_gas_price(Some(base_fee));
        U256::from(price.saturating_sub(u128::from(base_fee))) * U256::from(executed.gas_used)
    };
    block.iter().map(tip).fold(U256::ZERO, |sum, tip| sum.saturating_add(tip))
}

/// A block without its header, as `engine_getPayloadBodies…` answers it.
pub(crate) fn body(block: &Block, fork: Fork) -> ExecutionPayloadBodyV1 {
    use alloy_eips::Encodable2718;
    let transactions = block.transactions.iter().map(|executed| executed.transaction.encoded_2718().into());
    // Nobody withdraws on a chain that is sequenced; from Shanghai on there is a list all the same.
    let withdrawals = (fork >= Fork::Shanghai).then(Vec::new);
    ExecutionPayloadBodyV1 { transactions: transactions.collect(), withdrawals }
}
