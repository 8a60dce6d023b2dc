//! The Engine API: who decides elsewhere orders blocks here, brings others' and says which is the head.
//!
//! It does not know how a request arrives or who may send it: the transport checks the token. Start from [`EngineApi`].
//!
//! While it drives a chain nobody else may: neither the heart nor a development method makes blocks then.

mod drive;
mod error;
mod fault;
mod payload;
mod version;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use alloy_primitives::{B64, B256};
use alloy_rpc_types_engine::{ForkchoiceState, PayloadId};
use op_alloy_rpc_types_engine::OpPayloadAttributes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};

pub use error::EngineError;
pub use fault::Fault;

use self::drive::Driving;
use self::fault::Faults;
use self::payload::Given;
use self::version::Fork;
use crate::{At, Chain, EvmBackend, Pool};

/// Bodies given out at once.
const BODIES_MAX: u64 = 1_024;
/// Blobs asked for at once (the specification's bound).
const BLOBS_MAX: u64 = 128;
/// What this server can do; also what `engine_exchangeCapabilities` answers, less that method itself.
const METHODS: [&str; 18] = [
    "engine_exchangeCapabilities",
    "engine_forkchoiceUpdatedV1",
    "engine_forkchoiceUpdatedV2",
    "engine_forkchoiceUpdatedV3",
    "engine_newPayloadV1",
    "engine_newPayloadV2",
    "engine_newPayloadV3",
    "engine_newPayloadV4",
    "engine_getPayloadV1",
    "engine_getPayloadV2",
    "engine_getPayloadV3",
    "engine_getPayloadV4",
    "engine_getPayloadV5",
    "engine_getClientVersionV1",
    "engine_getPayloadBodiesByHashV1",
    "engine_getPayloadBodiesByRangeV1",
    "engine_getBlobsV1",
    "engine_getBlobsV2",
];

/// The Engine API over one chain.
#[derive(Debug)]
pub struct EngineApi {
    chain: Chain,
    faults: Faults,
    // One order after the other, as they came: the calls of one driver depend on each other.
    driving: Mutex<Driving>,
    /// When a forkchoice was said last.
    led: watch::Sender<Option<Instant>>,
}

impl EngineApi {
    /// Drives `chain`, taking transactions from `pool` where an order allows it.
    pub fn new(chain: Chain, pool: Pool, backend: EvmBackend) -> Self {
        let driving = Mutex::new(Driving::new(chain.clone(), pool, backend));
        Self { chain, faults: Faults::default(), driving, led: watch::Sender::new(None) }
    }

    /// Names that [`EngineApi::call`] answers.
    pub fn methods() -> &'static [&'static str] {
        &METHODS
    }

    /// Lets a method misbehave from now on, or, with `None`, behave again. For tests of who calls.
    pub fn inject(&self, method: &str, fault: Option<Fault>) {
        self.faults.set(method, fault);
    }

    /// How long ago a forkchoice was said last; `None` before the first.
    pub fn last_led(&self) -> Option<Duration> {
        self.led.borrow().map(|at| at.elapsed())
    }

    /// Carries out a call.
    ///
    /// # Errors
    /// With the code of the specification.
    pub async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, EngineError> {
        self.faults.before(method).await?;
        let params: Vec<Value> = match params {
            Some(params) => serde_json::from_str(params.get())
                .map_err(|error| EngineError::invalid_params(format!("an array is expected: {error}")))?,
            None => Vec::new(),
        };
        let answer = self.answer(method, &params).await?;
        self.faults.after(method).await;
        to_raw_value(&answer).map_err(EngineError::internal)
    }

    async fn answer(&self, method: &str, params: &[Value]) -> Result<Value, EngineError> {
        let name = method.strip_prefix("engine_").unwrap_or_default();
        let (name, version) = match name.rsplit_once('V') {
            Some((name, version)) => (name, version.parse::<u8>().unwrap_or_default()),
            None => (name, 0),
        };
        match (name, version) {
            ("exchangeCapabilities", 0) => Ok(json!(METHODS[1..])),
            ("getClientVersion", 1) => Ok(json!([client_version()])),
            ("forkchoiceUpdated", 1..=3) => {
                let state: ForkchoiceState = parameter(params, 0, "forkchoiceState")?;
                let attributes = attributes(params.get(1).unwrap_or(&Value::Null))?;
                let updated = self.driving.lock().await.update(version, state, attributes).await?;
                self.led.send_replace(Some(Instant::now()));
                serde_json::to_value(updated).map_err(EngineError::internal)
            }
            ("newPayload", 1..=4) => {
                let given = Given::read(version, params)?;
                version::new_payload(version, Fork::at(self.chain.spec(), given.timestamp))?;
                given.check_requests(self.chain.spec())?;
                let status = self.driving.lock().await.take(given).await?;
                serde_json::to_value(status).map_err(EngineError::internal)
            }
            ("getPayload", 1..=5) => {
                let id: B64 = parameter(params, 0, "payloadId")?;
                self.driving.lock().await.fetch(version, PayloadId(id)).await
            }
            ("getPayloadBodiesByHash", 1) => self.bodies_by_hash(&parameter::<Vec<B256>>(params, 0, "hashes")?),
            ("getPayloadBodiesByRange", 1) => self.bodies_by_range(params),
            ("getBlobs", 1 | 2) => {
                let hashes: Vec<B256> = parameter(params, 0, "versionedHashes")?;
                bounded(hashes.len() as u64, BLOBS_MAX)?;
                // No pool of ours takes blobs, so none is known; the second version answers all or nothing.
                Ok(if version == 1 { Value::Array(vec![Value::Null; hashes.len()]) } else { Value::Null })
            }
            _ => Err(EngineError::method_not_found(method)),
        }
    }

    fn bodies_by_hash(&self, hashes: &[B256]) -> Result<Value, EngineError> {
        bounded(hashes.len() as u64, BODIES_MAX)?;
        let bodies = hashes.iter().map(|hash| self.body(At::Hash(*hash)));
        Ok(Value::Array(bodies.collect::<Result<_, _>>()?))
    }

    fn bodies_by_range(&self, params: &[Value]) -> Result<Value, EngineError> {
        let number = |at, name| parameter::<alloy_primitives::U64>(params, at, name).map(|number| number.to::<u64>());
        let (start, count) = (number(0, "start")?, number(1, "count")?);
        if start == 0 || count == 0 {
            return Err(EngineError::invalid_params("start and count are at least 1"));
        }
        bounded(count, BODIES_MAX)?;
        // Nothing stands behind the newest block, not even null.
        let last = start.saturating_add(count - 1).min(self.chain.head().number);
        let bodies = (start..=last).map(|number| self.body(At::Number(number)));
        Ok(Value::Array(bodies.collect::<Result<_, _>>()?))
    }

    fn body(&self, at: At) -> Result<Value, EngineError> {
        let Some(block) = self.chain.block(at).map_err(EngineError::internal)? else { return Ok(Value::Null) };
        let fork = Fork::at(self.chain.spec(), block.header.timestamp);
        serde_json::to_value(payload::body(&block, fork)).map_err(EngineError::internal)
    }
}

fn client_version() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    // Two letters that no other client has claimed; four bytes stand for a commit, which a packaged build does not know.
    json!({ "code": "SZ", "name": "Sequenza", "version": format!("v{version}"), "commit": "0x00000000" })
}

fn bounded(asked: u64, most: u64) -> Result<(), EngineError> {
    if asked > most { Err(EngineError::too_large(asked, most)) } else { Ok(()) }
}

/// Attributes as rollup nodes write them. `minBaseFee` is a plain number there; a quantity in hexadecimal, like all the others, is
/// understood as well.
fn attributes(value: &Value) -> Result<Option<OpPayloadAttributes>, EngineError> {
    let mut value = value.clone();
    if let Some(fee) = value.get_mut("minBaseFee").filter(|fee| fee.is_string()) {
        let read = alloy_primitives::U64::deserialize(&*fee);
        let read = read.map_err(|error| EngineError::invalid_params(format!("minBaseFee: {error}")))?;
        *fee = read.to::<u64>().into();
    }
    optional(&[value], 0, "payloadAttributes")
}

fn parameter<T: DeserializeOwned>(params: &[Value], at: usize, name: &str) -> Result<T, EngineError> {
    optional(params, at, name)?.ok_or_else(|| EngineError::invalid_params(format!("{name} is missing")))
}

fn optional<T: DeserializeOwned>(params: &[Value], at: usize, name: &str) -> Result<Option<T>, EngineError> {
    let value = params.get(at).unwrap_or(&Value::Null);
    Option::<T>::deserialize(value).map_err(|error| EngineError::invalid_params(format!("{name}: {error}")))
}
