//! The node's own methods, named and shaped as op-node's; kona-node's spellings are understood as well.
//!
//! Source: op-node `node/api.go`, `node/server.go`; <https://docs.optimism.io/node-operators/reference/op-node-json-rpc>.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, U64, address};
use async_trait::async_trait;
use engine::{BlockAt, EngineClient, WholeBlock};
use l1::{Epochs, Header};
use node::{ConductorHandle, DriverHandle};
use optimism::{OutputV0, RollupConfig};
use rpc::{ErrorObject, Namespace};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use types::BlockRef;

use super::admin_state::AdminState;
use super::brought::Brought;

/// Where messages leave for L1.
const MESSAGE_PASSER: Address = address!("4200000000000000000000000000000000000016");
/// What is said of failures that have no code of their own, as op-node does.
const FAILED: i64 = -32000;
/// How long a stop waits for the block that is on its way.
const SETTLING_MAX: Duration = Duration::from_secs(10);

const METHODS: [&str; 6] = [
    "optimism_syncStatus",
    "optimism_outputAtBlock",
    "optimism_rollupConfig",
    "optimism_version",
    // op-conductor asks for it before it takes a sequencer for healthy.
    "opp2p_peerStats",
    // kona-node's; what it says of health is at /livez and /readyz here.
    "healthz",
];
const VERSION: &str = concat!("sequenza/", env!("CARGO_PKG_VERSION"));
const ADMIN_METHODS: [&str; 9] = [
    "admin_startSequencer",
    "admin_stopSequencer",
    "admin_sequencerActive",
    "admin_recoverMode",
    // As kona-node spells it.
    "admin_adminRecoverMode",
    "admin_setRecoverMode",
    "admin_conductorEnabled",
    "admin_overrideLeader",
    "admin_postUnsafePayload",
];
/// How op-conductor finds out that a start, or a stop, has nothing to do (op-node `rollup/sequencing/sequencer.go`).
const ALREADY_RUNS: &str = "sequencer already running";
const RUNS_NOT: &str = "sequencer not running";

/// The node's methods.
pub(super) struct NodeApi {
    pub(super) config: Arc<RollupConfig>,
    pub(super) client: EngineClient,
    pub(super) epochs: Epochs,
    /// The operator's last word on recovery. The sequencer may recover without it.
    pub(super) recovering: AtomicBool,
    pub(super) driver: DriverHandle,
    pub(super) state: Arc<AdminState>,
    /// Who elects it, if it does not run alone.
    pub(super) conductor: Option<ConductorHandle>,
    pub(super) brought: Arc<Brought>,
    /// Whether callers may start and stop it.
    pub(super) admin: bool,
}

#[async_trait]
impl Namespace for NodeApi {
    fn methods(&self) -> Vec<String> {
        let admin = if self.admin { &ADMIN_METHODS[..] } else { &[] };
        METHODS.iter().chain(admin).map(|name| (*name).to_owned()).collect()
    }

    async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject> {
        let params = match params {
            None => Vec::new(),
            Some(params) => serde_json::from_str::<Vec<Value>>(params.get())
                .map_err(|error| ErrorObject::invalid_params(format!("an array is expected: {error}")))?,
        };
        let answer = match method {
            "optimism_syncStatus" => self.sync_status().await?,
            "optimism_outputAtBlock" => self.output_at(parameter(&params, "the block's number")?).await?,
            "optimism_rollupConfig" => self.config.to_rollup_json(),
            "optimism_version" => json!(VERSION),
            "opp2p_peerStats" => no_peers(),
            "healthz" => json!({ "version": VERSION }),
            "admin_startSequencer" => self.start(params.first()).await?,
            "admin_stopSequencer" => self.stop().await?,
            "admin_sequencerActive" => json!(self.is_active()),
            "admin_recoverMode" | "admin_adminRecoverMode" => json!(self.recovering.load(Ordering::SeqCst)),
            "admin_setRecoverMode" => self.recover(parameter(&params, "true or false")?).await?,
            "admin_conductorEnabled" => json!(self.conductor.is_some()),
            "admin_overrideLeader" => self.override_leader(params.first()).await?,
            "admin_postUnsafePayload" => self.post(&params).await?,
            _ => return Err(ErrorObject::method_not_found(method)),
        };
        to_raw_value(&answer).map_err(ErrorObject::internal)
    }
}

impl NodeApi {
    async fn sync_status(&self) -> Result<Value, ErrorObject> {
        let view = self.epochs.view();
        let unsafe_head = self.l2_ref(BlockAt::Latest).await?;
        let safe = self.l2_ref(BlockAt::Safe).await?;
        let finalized = self.l2_ref(BlockAt::Finalized).await?;
        // Nothing is derived from L1 yet, so that no block of it has been worked through.
        Ok(json!({
            "current_l1": l1_ref(None),
            "current_l1_finalized": l1_ref(None),
            "head_l1": l1_ref(view.latest().map(AsRef::as_ref)),
            "safe_l1": l1_ref(view.safe().map(AsRef::as_ref)),
            "finalized_l1": l1_ref(view.finalized().map(AsRef::as_ref)),
            "unsafe_l2": unsafe_head,
            "safe_l2": safe,
            "finalized_l2": finalized,
            "cross_unsafe_l2": unsafe_head,
            "local_safe_l2": safe,
        }))
    }

    async fn l2_ref(&self, at: BlockAt) -> Result<Value, ErrorObject> {
        match self.client.block(at).await.map_err(failed)? {
            Some(block) => l2_ref(&self.config, &block),
            // No block is safe or final before anything is said of it, but the first.
            None => Ok(json!({
                "hash": self.config.genesis.l2.hash, "number": self.config.genesis.l2.number, "parentHash": B256::ZERO,
                "timestamp": self.config.genesis.l2_time, "l1origin": self.config.genesis.l1, "sequenceNumber": 0,
            })),
        }
    }

    async fn output_at(&self, number: U64) -> Result<Value, ErrorObject> {
        let block = self.client.block(BlockAt::Number(number.to())).await.map_err(failed)?;
        let block = block.ok_or_else(|| failed(format!("the engine has no block {number}")))?;
        let header = block.header();
        let passer = match header.withdrawals_root {
            // From Isthmus on the header has it.
            Some(root) if self.config.is_active(optimism::Fork::Isthmus, header.timestamp) => root,
            _ => self.client.storage_root(MESSAGE_PASSER, header.hash()).await.map_err(failed)?,
        };
        let (state_root, block_hash) = (header.state_root, header.hash());
        let output = OutputV0 { state_root, message_passer_storage_root: passer, block_hash };
        Ok(json!({
            "version": B256::ZERO,
            "outputRoot": output.root(),
            "blockRef": l2_ref(&self.config, &block)?,
            "withdrawalStorageRoot": passer,
            "stateRoot": state_root,
            "syncStatus": self.sync_status().await?,
        }))
    }

    /// Only on the block that the caller takes for the head: whoever hands over between two nodes must not lose blocks.
    async fn start(&self, hash: Option<&Value>) -> Result<Value, ErrorObject> {
        if self.is_active() {
            return Err(failed(ALREADY_RUNS));
        }
        if let Some(conductor) = &self.conductor {
            return self.start_elected(conductor, hash).await;
        }
        // kona-node asks for none.
        if let Some(hash) = hash.filter(|hash| !hash.is_null()) {
            let wanted =
                B256::deserialize(hash).map_err(|error| ErrorObject::invalid_params(format!("hash: {error}")))?;
            is_head(wanted, self.head().await?)?;
        }
        self.keep(true).await?;
        if self.driver.lead().await { Ok(Value::Null) } else { Err(failed("the driver has ended")) }
    }

    /// Behind a conductor: on the block that it holds, once nothing is on its way any more, and only as the leader.
    async fn start_elected(&self, conductor: &ConductorHandle, hash: Option<&Value>) -> Result<Value, ErrorObject> {
        // In the message itself: that is all that op-conductor logs.
        let wanted = named(hash).map_err(failed)?;
        let head = self.settled().await?;
        is_head(wanted, head)?;
        conductor.start(head).await.map_err(failed)?;
        // Whoever asks next whether it runs is told so.
        let mut pulse = self.driver.pulse();
        let started = tokio::time::timeout(SETTLING_MAX, pulse.wait_for(|pulse| pulse.active)).await;
        started.map_err(|_| failed("it was started, and the driver does not say so"))?.map_err(failed)?;
        Ok(Value::Null)
    }

    /// Waits for the block that is on its way, so that the hash that is told is that of the last block built here.
    async fn stop(&self) -> Result<Value, ErrorObject> {
        let leads = self.conductor.as_ref().is_some_and(|conductor| conductor.status().borrow().tenure.leads());
        if !self.is_active() && !leads {
            return Err(failed(RUNS_NOT));
        }
        self.keep(false).await?;
        if !self.driver.rest().await {
            return Err(failed("the driver has ended"));
        }
        let head = self.settled().await?;
        if let Some(conductor) = &self.conductor {
            conductor.stop().await.map_err(failed)?;
        }
        Ok(json!(B256::new(*head.hash.as_bytes())))
    }

    async fn recover(&self, on: bool) -> Result<Value, ErrorObject> {
        if !self.driver.recover(on).await {
            return Err(failed("the driver has ended"));
        }
        self.recovering.store(on, Ordering::SeqCst);
        Ok(Value::Null)
    }

    /// Takes a block that another sequencer built.
    async fn post(&self, params: &[Value]) -> Result<Value, ErrorObject> {
        let envelope =
            params.first().ok_or_else(|| ErrorObject::invalid_params("the payload's envelope is missing"))?;
        self.brought.post(envelope).await.map_err(failed)?;
        Ok(Value::Null)
    }

    /// Without a word it is switched on, as op-node does.
    async fn override_leader(&self, on: Option<&Value>) -> Result<Value, ErrorObject> {
        let on = match on.filter(|on| !on.is_null()) {
            None => true,
            Some(on) => on.as_bool().ok_or_else(|| ErrorObject::invalid_params("true or false is expected"))?,
        };
        let Some(conductor) = &self.conductor else {
            return Err(failed("there is no conductor (--conductor.rpc) whose word could be left out"));
        };
        conductor.override_leader(on).await.map_err(failed)?;
        Ok(Value::Null)
    }

    /// The head, once the sequencer rests and what it decided last is the head.
    async fn settled(&self) -> Result<BlockRef, ErrorObject> {
        let mut pulse = self.driver.pulse();
        let settled = pulse.wait_for(|pulse| !pulse.active && pulse.settled);
        let settled = tokio::time::timeout(SETTLING_MAX, settled).await;
        settled
            .map_err(|_| failed("it is stopped, and the block on its way has not come to an end"))?
            .map_err(failed)?;
        self.head().await
    }

    /// Before it takes effect: a word that is lost in a crash must not have been acknowledged.
    async fn keep(&self, started: bool) -> Result<(), ErrorObject> {
        let state = Arc::clone(&self.state);
        let kept = tokio::task::spawn_blocking(move || state.keep(started)).await;
        kept.map_err(ErrorObject::internal)?.map_err(failed)
    }

    fn is_active(&self) -> bool {
        self.driver.pulse().borrow().active
    }

    /// The newest block, as the engine has it.
    async fn head(&self) -> Result<BlockRef, ErrorObject> {
        let head = self.client.block_ref(BlockAt::Latest).await.map_err(failed)?;
        head.ok_or_else(|| failed("the engine has no newest block yet"))
    }
}

/// The hash that a start behind a conductor has to name.
fn named(hash: Option<&Value>) -> Result<B256, String> {
    let why = "behind a conductor it starts on the block that the conductor holds";
    let hash = hash.filter(|hash| !hash.is_null()).ok_or_else(|| format!("the block's hash is missing: {why}"))?;
    let hash = B256::deserialize(hash).map_err(|error| format!("hash: {error}"))?;
    if hash.is_zero() { Err(format!("the hash is zero: {why}, and name that")) } else { Ok(hash) }
}

fn is_head(wanted: B256, head: BlockRef) -> Result<(), ErrorObject> {
    if wanted.as_slice() == head.hash.as_bytes() {
        return Ok(());
    }
    Err(failed(format!("the newest block is {} {}, and the start was asked for on {wanted}", head.number, head.hash)))
}

/// op-node's figures of its peers, of which there are none without gossip.
fn no_peers() -> Value {
    json!({
        "connected": 0, "table": 0, "blocksTopic": 0, "blocksTopicV2": 0, "blocksTopicV3": 0, "blocksTopicV4": 0, "banned": 0,
        "known": 0,
    })
}

fn parameter<T: for<'a> Deserialize<'a>>(params: &[Value], what: &str) -> Result<T, ErrorObject> {
    let given = params.first().ok_or_else(|| ErrorObject::invalid_params(format!("{what} is missing")))?;
    T::deserialize(given).map_err(|error| ErrorObject::invalid_params(format!("{what}: {error}")))
}

fn failed(reason: impl Display) -> ErrorObject {
    ErrorObject::new(FAILED, reason.to_string())
}

fn l1_ref(header: Option<&Header>) -> Value {
    let (hash, number, parent, timestamp) = header
        .map_or_else(Default::default, |header| (header.hash(), header.number, header.parent_hash, header.timestamp));
    json!({ "hash": hash, "number": number, "parentHash": parent, "timestamp": timestamp })
}

fn l2_ref(config: &RollupConfig, block: &WholeBlock) -> Result<Value, ErrorObject> {
    let (place, _) = block.place(config).map_err(failed)?;
    Ok(json!({
        "hash": place.id.hash, "number": place.id.number, "parentHash": place.parent, "timestamp": place.timestamp,
        "l1origin": place.origin, "sequenceNumber": place.sequence_number,
    }))
}
