//! The calls of the Engine API, typed, each with a deadline.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U64};
use alloy_rpc_types_engine::{
    ExecutionPayload, ExecutionPayloadFieldV2, ExecutionPayloadV3, ForkchoiceState, ForkchoiceUpdated, PayloadId,
    PayloadStatus,
};
use op_alloy_rpc_types_engine::{
    OpExecutionPayload, OpExecutionPayloadEnvelope, OpExecutionPayloadV4, OpPayloadAttributes,
};
use optimism::{EngineVersions, RollupConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use types::BlockRef;

use crate::block::{BlockAt, WholeBlock, read_ref, read_whole};
use crate::capabilities;
use crate::failure::EngineError;
use crate::transport::{CallError, Transport, codes};

/// How long an engine may take for one call unless something else is set: what op-node gives it.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Speaks to one engine. Cheap to clone: all clones share the connection.
#[derive(Clone)]
pub struct EngineClient {
    transport: Arc<dyn Transport>,
    observer: Option<Arc<dyn Observer>>,
    deadline: Duration,
}

impl fmt::Debug for EngineClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineClient").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Hears of every call when it is over. For metrics.
pub trait Observer: Send + Sync + 'static {
    /// A call ended. Must not block.
    fn ended(&self, call: &Ended<'_>);
}

impl<F: Fn(&Ended<'_>) + Send + Sync + 'static> Observer for F {
    fn ended(&self, call: &Ended<'_>) {
        self(call);
    }
}

/// A call that is over.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// What was called, with its version.
    pub method: &'a str,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Answered,
    /// With an error of the engine.
    Refused(i64),
    /// The deadline passed.
    TimedOut,
    /// Without an answer, or with one that is no JSON-RPC.
    Lost,
    /// Whoever called no longer wanted to know.
    Dropped,
}

impl EngineClient {
    /// A client whose calls may take `deadline` each. See [`DEADLINE`].
    pub fn new(transport: Arc<dyn Transport>, deadline: Duration) -> Self {
        Self { transport, observer: None, deadline }
    }

    /// The same, observed.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Whether the engine runs this chain and offers what it needs from `now` on (seconds since the Unix epoch), also
    /// at forks to come. Once, at the start.
    ///
    /// # Errors
    /// With what is missing or different, or when the engine does not answer.
    pub async fn check(&self, config: &RollupConfig, now: u64) -> Result<(), EngineError> {
        let wrong = |what, found: String, wanted: String| Err(EngineError::WrongChain { what, found, wanted });
        let id = self.chain_id().await?;
        if id != config.l2_chain_id {
            return wrong("chain id", id.to_string(), config.l2_chain_id.to_string());
        }
        let genesis = config.genesis.l2;
        let found = self.block_ref(BlockAt::Number(genesis.number)).await?;
        // An engine that has not come so far, or does not keep so much, tells nothing.
        if let Some(found) = found.map(|block| B256::from(*block.hash.as_bytes())).filter(|hash| *hash != genesis.hash)
        {
            return wrong("first block", found.to_string(), genesis.hash.to_string());
        }
        let needed = capabilities::needed(config, now);
        let offered = self.exchange_capabilities(&needed).await?;
        let missing: Vec<String> = needed.difference(&offered).cloned().collect();
        if missing.is_empty() { Ok(()) } else { Err(EngineError::MissingMethods(missing)) }
    }

    /// `engine_forkchoiceUpdated`: sets the heads and, with attributes, begins a build on the unsafe one.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn forkchoice_updated(
        &self,
        versions: EngineVersions,
        state: ForkchoiceState,
        attributes: Option<&OpPayloadAttributes>,
    ) -> Result<ForkchoiceUpdated, EngineError> {
        let method = capabilities::forkchoice_updated(versions.forkchoice_updated);
        let mut answer = self.call(&method, json!([state, attributes])).await?;
        if let Some(status) = answer.get_mut("payloadStatus") {
            complete_status(status);
        }
        let wrong = |error: serde_json::Error| EngineError::Answer { method, reason: error.to_string() };
        ForkchoiceUpdated::deserialize(answer).map_err(wrong)
    }

    /// `engine_newPayload`: has a block executed. The versions must be those of the block's time.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn new_payload(
        &self,
        versions: EngineVersions,
        envelope: &OpExecutionPayloadEnvelope,
    ) -> Result<PayloadStatus, EngineError> {
        let payload = &envelope.execution_payload;
        let root = envelope.parent_beacon_block_root.unwrap_or_default();
        // No blobs are on a rollup, and no requests to a consensus layer.
        let params = match versions.new_payload {
            ..=2 => json!([payload]),
            3 => json!([payload, [], root]),
            _ => json!([payload, [], root, []]),
        };
        let method = capabilities::new_payload(versions.new_payload);
        let mut answer = self.call(&method, params).await?;
        complete_status(&mut answer);
        let wrong = |error: serde_json::Error| EngineError::Answer { method, reason: error.to_string() };
        PayloadStatus::deserialize(answer).map_err(wrong)
    }

    /// `engine_getPayload`: closes a build and tells its block.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn get_payload(
        &self,
        versions: EngineVersions,
        id: PayloadId,
    ) -> Result<OpExecutionPayloadEnvelope, EngineError> {
        let method = capabilities::get_payload(versions.get_payload);
        let answer = self.call(&method, json!([id])).await?;
        read_envelope(versions.get_payload, &answer).map_err(|reason| EngineError::Answer { method, reason })
    }

    /// `engine_exchangeCapabilities`: tells what will be called, and hears what the engine offers.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn exchange_capabilities(&self, ours: &BTreeSet<String>) -> Result<BTreeSet<String>, EngineError> {
        self.ask("engine_exchangeCapabilities", json!([ours])).await
    }

    /// `eth_chainId`.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn chain_id(&self) -> Result<u64, EngineError> {
        self.ask::<U64>("eth_chainId", json!([])).await.map(|id| id.to())
    }

    /// `eth_getProof`: the root of an account's storage at the end of the block with this hash.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn storage_root(&self, account: Address, block: B256) -> Result<B256, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Proof {
            storage_hash: B256,
        }
        let proof: Proof = self.ask("eth_getProof", json!([account, [], { "blockHash": block }])).await?;
        Ok(proof.storage_hash)
    }

    /// A block's name and place; `None` if the engine does not have it, or has no such head yet.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn block_ref(&self, at: BlockAt) -> Result<Option<BlockRef>, EngineError> {
        let Some(answer) = self.told(at, false).await? else { return Ok(None) };
        let read = read_ref(at, &answer);
        read.map(Some).map_err(|reason| EngineError::Answer { method: at.method().to_owned(), reason })
    }

    /// A whole block; `None` if the engine does not have it. By hash wherever the hash is known: at a height the chain
    /// may have another block by now.
    ///
    /// # Errors
    /// See [`EngineError::failure`].
    pub async fn block(&self, at: BlockAt) -> Result<Option<WholeBlock>, EngineError> {
        let Some(answer) = self.told(at, true).await? else { return Ok(None) };
        // Decoding and hashing thousands of transactions takes a while.
        let read = tokio::task::spawn_blocking(move || read_whole(at, &answer)).await;
        let read = read.unwrap_or_else(|error| Err(format!("reading it ended badly: {error}")));
        read.map(Some).map_err(|reason| EngineError::Answer { method: at.method().to_owned(), reason })
    }

    /// What the engine tells of a block, unless it has none.
    async fn told(&self, at: BlockAt, whole: bool) -> Result<Option<Value>, EngineError> {
        match self.call(at.method(), at.params(whole)).await {
            Ok(Value::Null) => Ok(None),
            Err(error) if is_unknown_head(at, &error) => Ok(None),
            told => told.map(Some),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, EngineError> {
        let answer = self.call(method, params).await?;
        T::deserialize(answer)
            .map_err(|error| EngineError::Answer { method: method.to_owned(), reason: error.to_string() })
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, EngineError> {
        let mut watch = Watch { client: self, method, began: Instant::now(), outcome: Outcome::Dropped };
        let answer = tokio::time::timeout(self.deadline, self.transport.call(method, params)).await;
        let answer = answer.unwrap_or(Err(CallError::TimedOut(self.deadline)));
        watch.outcome = match &answer {
            Ok(_) => Outcome::Answered,
            Err(CallError::Rpc { code, .. }) => Outcome::Refused(*code),
            Err(CallError::TimedOut(_)) => Outcome::TimedOut,
            Err(_) => Outcome::Lost,
        };
        drop(watch);
        answer.map_err(|cause| EngineError::Call { method: method.to_owned(), cause })
    }
}

/// Tells the observer at its end, also when the future is dropped at an `await`.
struct Watch<'a> {
    client: &'a EngineClient,
    method: &'a str,
    began: Instant,
    outcome: Outcome,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(observer) = &self.client.observer {
            observer.ended(&Ended { method: self.method, took: self.began.elapsed(), outcome: self.outcome });
        }
    }
}

/// A payload's status as the types here read it: one word for whatever is invalid, which engines of older days had two for, and a reason,
/// which engines may leave out (execution-apis `paris.md`, `PayloadStatusV1`; geth's bare `STATUS_INVALID`).
fn complete_status(status: &mut Value) {
    let Some(status) = status.as_object_mut() else { return };
    if !status.get("status").is_some_and(|word| word == "INVALID" || word == "INVALID_BLOCK_HASH") {
        return;
    }
    status.insert("status".to_owned(), json!("INVALID"));
    if status.get("validationError").is_none_or(Value::is_null) {
        status.insert("validationError".to_owned(), json!("the engine gives no reason"));
    }
}

/// Engines that have no safe or finalized block yet say null, or one of these.
fn is_unknown_head(at: BlockAt, error: &EngineError) -> bool {
    let EngineError::Call { cause: CallError::Rpc { code, message }, .. } = error else { return false };
    matches!(at, BlockAt::Safe | BlockAt::Finalized)
        && (*code == codes::UNKNOWN_BLOCK || message.contains("block not found"))
}

/// The payload out of the answer of `engine_getPayload`. What else stands there is not needed: the value is the
/// builder's affair, a rollup has no blobs and makes no requests.
pub(crate) fn read_envelope(version: u8, answer: &Value) -> Result<OpExecutionPayloadEnvelope, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told<T> {
        execution_payload: T,
        parent_beacon_block_root: Option<B256>,
        #[serde(default)]
        execution_requests: Vec<Bytes>,
    }
    fn read<T: DeserializeOwned>(answer: &Value) -> Result<Told<T>, String> {
        let told = Told::<T>::deserialize(answer).map_err(|error| error.to_string())?;
        if !told.execution_requests.is_empty() {
            return Err("executionRequests: a rollup's blocks make none".to_owned());
        }
        Ok(told)
    }
    let (root, payload) = match version {
        ..=2 => {
            let told = read::<ExecutionPayloadFieldV2>(answer)?;
            let payload = match told.execution_payload.into_payload() {
                ExecutionPayload::V1(payload) => OpExecutionPayload::V1(payload),
                ExecutionPayload::V2(payload) => OpExecutionPayload::V2(payload),
                _ => return Err("executionPayload: of a later version than was asked for".to_owned()),
            };
            return Ok(OpExecutionPayloadEnvelope { parent_beacon_block_root: None, execution_payload: payload });
        }
        3 => {
            let told = read::<ExecutionPayloadV3>(answer)?;
            (told.parent_beacon_block_root, OpExecutionPayload::V3(told.execution_payload))
        }
        _ => {
            let told = read::<OpExecutionPayloadV4>(answer)?;
            (told.parent_beacon_block_root, OpExecutionPayload::V4(told.execution_payload))
        }
    };
    let root = root.ok_or("parentBeaconBlockRoot is missing")?;
    Ok(OpExecutionPayloadEnvelope { parent_beacon_block_root: Some(root), execution_payload: payload })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn vectors() -> Option<Value> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
        let root = std::env::var_os("SEQUENZA_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
        let path = root.join("opstack/engine/payload_json.json");
        if !path.is_file() {
            eprintln!("skipped: {} is not there (SEQUENZA_VECTORS names another place)", path.display());
            return None;
        }
        Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// The published envelope of version 4 shows the field with content that no rollup's block has.
    fn without_requests(text: &str) -> Value {
        let mut told: Value = serde_json::from_str(text).unwrap();
        if let Some(requests) = told.get_mut("executionRequests") {
            *requests = json!([]);
        }
        told
    }

    /// Payloads and envelopes as published: read here, written into a body, read again, and told as they were.
    #[test]
    fn published_payloads_are_read_and_told_again() {
        let Some(known) = vectors() else { return };
        for (name, case) in known.as_object().unwrap() {
            let told = without_requests(case["json"].as_str().unwrap());
            let envelope = |version: u8| match name.contains("envelope") {
                true => told.clone(),
                false if version < 3 => json!({ "executionPayload": told, "blockValue": "0x0" }),
                false => json!({ "executionPayload": told, "parentBeaconBlockRoot": B256::ZERO }),
            };
            let version = name.rsplit('v').next().unwrap().parse().unwrap();
            let read = read_envelope(version, &envelope(version));
            if case["valid"] == false {
                // Some are of a form that one version alone refuses; no version may take them for more than they are.
                assert!(read.is_err() || !told.as_object().unwrap().contains_key("excessBlobGas"), "{name}");
                continue;
            }
            let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
            let again = crate::decode_body(&crate::encode_body(&read)).unwrap();
            assert_eq!(again, read, "{name}");
            let payload = if name.contains("envelope") { &told["executionPayload"] } else { &told };
            assert_eq!(&serde_json::to_value(&again.execution_payload).unwrap(), payload, "{name}");
        }
    }

    #[test]
    fn later_versions_need_the_beacon_root_and_bear_no_requests() {
        let Some(known) = vectors() else { return };
        let case = &known["serde_roundtrip_execution_payload_envelope_v4"];
        let sound = without_requests(case["json"].as_str().unwrap());
        for version in [4, 5] {
            read_envelope(version, &sound).unwrap();
            let mut spoiled = sound.clone();
            spoiled["parentBeaconBlockRoot"] = Value::Null;
            assert!(read_envelope(version, &spoiled).unwrap_err().contains("parentBeaconBlockRoot"));
            let mut spoiled = sound.clone();
            spoiled["executionRequests"] = json!(["0x01"]);
            assert!(read_envelope(version, &spoiled).unwrap_err().contains("executionRequests"));
            let mut spoiled = sound.clone();
            spoiled["executionPayload"]["withdrawalsRoot"] = Value::Null;
            read_envelope(version, &spoiled).unwrap_err();
        }
    }
}
