//! The verbs of [`Backend`] as calls to an engine.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::B256;
use alloy_rpc_types_engine::{ForkchoiceState, ForkchoiceUpdated, PayloadId, PayloadStatusEnum};
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use node::{Backend, BackendError, Sealed};
use op_alloy_rpc_types_engine::{OpExecutionPayload, OpExecutionPayloadEnvelope, OpPayloadAttributes};
use optimism::{EngineVersions, Fork, RollupConfig};
use parking_lot::Mutex;
use types::{Attributes, BlockHash, BlockRef, BuildId, Heads, L1Origin, Payload, Timestamp, Verdict};

use crate::block::BlockAt;
use crate::body::{block_ref, cited_origin, decode_body, to_payload};
use crate::client::EngineClient;

/// How it is told that the engine has not caught up yet: error texts that say so begin with this, or have it in them.
pub const SYNCING: &str = "the engine is syncing";

/// Makes what the engine is told out of what the heart ordered: L1 information, deposits, upgrades, fees.
///
/// An implementer upholds this:
/// - the attributes are for a block on `order.parent` at `order.timestamp`, citing `order.origin`;
/// - without `order.use_pool` no transaction comes from the pool (`noTxPool` is true); with it none may come all the
///   same, where the rules forbid it;
/// - the same order gives the same attributes, as long as neither chain changes: the call is repeated after a failure;
/// - the future may be dropped at any `await`, when the driver's deadline passes.
///
/// `optimism::Order::prepare` makes attributes of this kind; its errors name what to do in the same three words.
#[async_trait]
pub trait AttributesBuilder: Send + Sync + 'static {
    /// The attributes for this order.
    ///
    /// # Errors
    /// [`BackendError::Retry`] while something is not there yet or does not answer; [`BackendError::Reset`] when the
    /// order no longer fits the chains (the parent is unknown, L1 has reorganised); [`BackendError::Fatal`] when
    /// nothing helps.
    async fn build(&self, order: &Attributes) -> Result<OpPayloadAttributes, BackendError>;
}

/// An execution engine, behind the seam of the driver.
///
/// The body of its payloads is the form that [`decode_body`] reads. What differs from an embedded chain:
/// - Opening a build makes its parent the engine's head, because that is how the Engine API begins a build. So an order
///   on another block than the head leads the engine there at once, also back to an older block.
/// - A build that is cancelled is forgotten here; the engine lets go of it in its own time.
/// - [`Backend::set_heads`] with an older block of the engine's chain as unsafe head is answered well by engines, and
///   ignored by some, as the specification allows. Building on that block leads all of them there.
#[derive(Clone)]
pub struct EngineBackend(Arc<Inner>);

struct Inner {
    client: EngineClient,
    config: Arc<RollupConfig>,
    attributes: Arc<dyn AttributesBuilder>,
    build: Mutex<Option<Build>>,
    /// As the engine last told or acknowledged them.
    heads: Mutex<Option<Heads>>,
}

/// The one build that is open, or sealed and not yet decided.
struct Build {
    id: BuildId,
    order: Attributes,
    versions: EngineVersions,
    attributes: Arc<OpPayloadAttributes>,
    payload_id: PayloadId,
    /// From the first time that it is sealed. It goes on when nobody waits for it, so that a payload that the engine
    /// hands out but once is not lost with a call that was dropped.
    fetching: Option<Fetching>,
}

type Fetching = Shared<BoxFuture<'static, Result<Payload, BackendError>>>;

impl fmt::Debug for EngineBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let build = self.0.build.lock().as_ref().map(|build| (build.id, build.payload_id));
        f.debug_struct("EngineBackend").field("client", &self.0.client).field("build", &build).finish_non_exhaustive()
    }
}

impl EngineBackend {
    /// A backend over the engine of `client`, which runs the chain of `config`. Call [`EngineClient::check`] first.
    pub fn new(client: EngineClient, config: Arc<RollupConfig>, attributes: Arc<dyn AttributesBuilder>) -> Self {
        Self(Arc::new(Inner { client, config, attributes, build: Mutex::default(), heads: Mutex::default() }))
    }
}

#[async_trait]
impl Backend for EngineBackend {
    async fn open(&self, build: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        self.0.open(build, attributes).await
    }

    async fn seal(&self, build: BuildId) -> Result<Sealed, BackendError> {
        self.0.fetching(build)?.await.map(Sealed::Payload)
    }

    async fn cancel(&self, build: BuildId) {
        self.0.build.lock().take_if(|open| open.id == build);
    }

    async fn import(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        self.0.import(payload).await
    }

    async fn set_heads(&self, heads: Heads) -> Result<(), BackendError> {
        self.0.set_heads(heads).await
    }

    async fn heads(&self) -> Result<Heads, BackendError> {
        self.0.heads().await
    }

    /// `None` for the rollup's first block, which tells of none: the configuration names what it cites.
    async fn origin_of(&self, block: BlockRef) -> Result<Option<L1Origin>, BackendError> {
        let BlockRef { number, hash, .. } = block;
        let found = self.0.client.block(BlockAt::Hash(hash_of(hash))).await?;
        let found =
            found.ok_or_else(|| BackendError::Reset(format!("the engine does not have block {number} {hash}")))?;
        Ok(found.cited_origin())
    }
}

impl Inner {
    async fn open(&self, id: BuildId, order: Attributes) -> Result<(), BackendError> {
        if self.build.lock().as_ref().is_some_and(|build| build.id == id && build.order == order) {
            return Ok(());
        }
        *self.build.lock() = None;
        if order.timestamp <= order.parent.timestamp {
            let (time, parent) = (order.timestamp.as_millis(), order.parent.timestamp.as_millis());
            return Err(BackendError::Reset(format!(
                "the time ordered, {time} ms, is not above the parent's, {parent} ms"
            )));
        }
        let known = *self.heads.lock();
        let known = match known {
            Some(known) => known,
            None => self.heads().await?,
        };
        let heads = led_to(order.parent, known)?;
        let attributes = self.attributes.build(&order).await?;
        check_attributes(&order, &attributes)?;
        let versions = EngineVersions::at(&self.config, order.timestamp.as_secs());
        let updated = self.client.forkchoice_updated(versions, state_of(&heads), Some(&attributes)).await?;
        let payload_id = begun(&updated, order.parent)?;
        *self.heads.lock() = Some(heads);
        let attributes = Arc::new(attributes);
        *self.build.lock() = Some(Build { id, order, versions, attributes, payload_id, fetching: None });
        Ok(())
    }

    /// The payload of a build, on its way or there. What failed is asked for again.
    fn fetching(&self, id: BuildId) -> Result<Fetching, BackendError> {
        let mut open = self.build.lock();
        let Some(build) = open.as_mut().filter(|build| build.id == id) else {
            return Err(BackendError::Reset(format!("there is no open build {id}")));
        };
        let failed = |fetching: &Fetching| matches!(fetching.peek(), Some(Err(_)));
        match &build.fetching {
            Some(fetching) if !failed(fetching) => Ok(fetching.clone()),
            _ => {
                let fetching = fetch(self.client.clone(), build);
                build.fetching = Some(fetching.clone());
                Ok(fetching)
            }
        }
    }

    async fn import(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        let Some((versions, envelope)) = self.read(payload) else { return Ok(Verdict::Invalid) };
        let status = self.client.new_payload(versions, &envelope).await?;
        match status.status {
            PayloadStatusEnum::Valid => Ok(Verdict::Valid),
            PayloadStatusEnum::Invalid { validation_error } => {
                tracing::warn!(block = %payload.block.number, hash = %payload.block.hash, reason = validation_error,
                    "the engine says that a block is invalid");
                Ok(Verdict::Invalid)
            }
            PayloadStatusEnum::Syncing => self.parent_missing(payload).await,
            PayloadStatusEnum::Accepted => Err(BackendError::Retry(format!(
                "the engine keeps block {} {} without executing it, because the state below it is missing",
                payload.block.number, payload.block.hash
            ))),
        }
    }

    /// The payload's content, if it is what its reference says and in the form that blocks of its time have. The engine
    /// judges the rest.
    fn read(&self, payload: &Payload) -> Option<(EngineVersions, OpExecutionPayloadEnvelope)> {
        let refuse = |reason: &str| {
            tracing::warn!(block = %payload.block.number, hash = %payload.block.hash, reason, "a payload is refused");
            None
        };
        let envelope = match decode_body(&payload.body) {
            Ok(envelope) => envelope,
            Err(error) => return refuse(&error.to_string()),
        };
        if block_ref(&envelope.execution_payload) != payload.block {
            return refuse("its body is another block than its reference says");
        }
        let time = payload.block.timestamp.as_secs();
        if !form_fits(&self.config, time, &envelope.execution_payload) {
            return refuse("its form is of another fork than its time");
        }
        Some((EngineVersions::at(&self.config, time), envelope))
    }

    /// An engine that is syncing may lack the parent, or have it and be busy.
    async fn parent_missing(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        match self.client.block_ref(BlockAt::Hash(hash_of(payload.block.parent))).await? {
            None => Ok(Verdict::ParentUnknown),
            Some(_) => Err(BackendError::Retry(format!(
                "{SYNCING} and takes no block now, not even {} {} on a parent that it has",
                payload.block.number, payload.block.hash
            ))),
        }
    }

    async fn set_heads(&self, heads: Heads) -> Result<(), BackendError> {
        let head = heads.unsafe_head();
        let versions = EngineVersions::at(&self.config, head.timestamp.as_secs());
        let updated = self.client.forkchoice_updated(versions, state_of(&heads), None).await?;
        taken(&updated, head)?;
        *self.heads.lock() = Some(heads);
        self.build.lock().take_if(|build| build.block().is_some_and(|block| block == head));
        Ok(())
    }

    async fn heads(&self) -> Result<Heads, BackendError> {
        // The oldest first: heads only go up while they are read.
        let finalized = self.client.block_ref(BlockAt::Finalized).await?;
        let safe = self.client.block_ref(BlockAt::Safe).await?;
        let latest = self.client.block_ref(BlockAt::Latest).await?;
        let latest = latest.ok_or_else(|| BackendError::Retry("the engine has no newest block yet".into()))?;
        let finalized = match finalized {
            Some(finalized) => finalized,
            None => self.first_block().await?,
        };
        let heads = in_order(latest, safe.unwrap_or(finalized), finalized)?;
        *self.heads.lock() = Some(heads);
        Ok(heads)
    }

    /// The rollup's first block, which is final before anything is said of it.
    async fn first_block(&self) -> Result<BlockRef, BackendError> {
        let genesis = self.config.genesis.l2;
        let found = self.client.block_ref(BlockAt::Number(genesis.number)).await?;
        let found = found.filter(|block| hash_of(block.hash) == genesis.hash);
        found.ok_or_else(|| {
            BackendError::Fatal(format!(
                "the engine does not have the rollup's first block {genesis}: check genesis.l2 of the configuration \
                 and the engine's data"
            ))
        })
    }
}

impl Build {
    /// The block, once it is there.
    fn block(&self) -> Option<BlockRef> {
        self.fetching.as_ref()?.peek()?.as_ref().ok().map(|payload| payload.block)
    }
}

/// Asks for a build's payload, in a task of its own.
fn fetch(client: EngineClient, build: &Build) -> Fetching {
    let (order, versions, id) = (build.order, build.versions, build.payload_id);
    let attributes = Arc::clone(&build.attributes);
    let task = tokio::spawn(async move {
        let envelope = client.get_payload(versions, id).await?;
        check_block(&order, &attributes, &envelope)?;
        Ok(to_payload(order.slot, order.origin, &envelope))
    });
    let ended = |reason| BackendError::Retry(format!("fetching a payload ended badly: {reason}"));
    async move { task.await.unwrap_or_else(|reason| Err(ended(reason))) }.boxed().shared()
}

// --- decisions -----------------------------------------------------------------------------------------------------

/// The heads with which the engine is led to `parent`. A safe head that is not below it is given up, down to the
/// finalized one: what lies between may be of another branch. Final blocks are never left.
fn led_to(parent: BlockRef, known: Heads) -> Result<Heads, BackendError> {
    let (safe, finalized) = (known.safe_head(), known.finalized_head());
    let safe = if safe.number < parent.number || safe == parent { safe } else { finalized };
    Heads::new(parent, safe, finalized).map_err(|_| {
        BackendError::Reset(format!(
            "asked to build on block {} {}, which is below the finalized block {} {}, or beside it",
            parent.number, parent.hash, finalized.number, finalized.hash
        ))
    })
}

/// What an [`AttributesBuilder`] must uphold, as far as it can be seen here.
fn check_attributes(order: &Attributes, attributes: &OpPayloadAttributes) -> Result<(), BackendError> {
    let time = attributes.payload_attributes.timestamp;
    if Timestamp::from_secs(time) != order.timestamp {
        let ordered = order.timestamp.as_millis();
        let text = format!("a block for {ordered} ms was ordered, its attributes are for {time} s");
        return Err(BackendError::Fatal(format!("{text}: slots of this chain begin on whole seconds")));
    }
    if !order.use_pool && attributes.no_tx_pool != Some(true) {
        return Err(BackendError::Fatal("a block without the pool was ordered, and its attributes let it in".into()));
    }
    let Some(ordered) = order.origin else { return Ok(()) };
    let first = attributes.transactions.iter().flatten().next();
    let cited = first.and_then(|transaction| cited_origin(transaction)).map(|cited| (cited.number, cited.hash));
    if cited != Some((ordered.number, ordered.hash)) {
        let text = format!("a block that cites L1 block {} {} was ordered", ordered.number, ordered.hash);
        return Err(BackendError::Fatal(format!("{text}, and its attributes cite {cited:?}")));
    }
    Ok(())
}

/// What was begun on `parent`.
fn begun(updated: &ForkchoiceUpdated, parent: BlockRef) -> Result<PayloadId, BackendError> {
    taken(updated, parent)?;
    updated.payload_id.ok_or_else(|| {
        let BlockRef { number, hash, .. } = parent;
        BackendError::Retry(format!("the engine moved to block {number} {hash} and began no build on it"))
    })
}

/// Whether the engine has moved to `head`.
fn taken(updated: &ForkchoiceUpdated, head: BlockRef) -> Result<(), BackendError> {
    let BlockRef { number, hash, .. } = head;
    match &updated.payload_status.status {
        PayloadStatusEnum::Valid => Ok(()),
        // It was never imported, or the engine lost it in a restart.
        PayloadStatusEnum::Syncing | PayloadStatusEnum::Accepted => {
            Err(BackendError::Reset(format!("the engine does not have block {number} {hash}, or not what is below it")))
        }
        PayloadStatusEnum::Invalid { validation_error } => Err(BackendError::Reset(format!(
            "the engine says that block {number} {hash} cannot be the head: {validation_error}"
        ))),
    }
}

/// Whether the engine built what was ordered.
fn check_block(
    order: &Attributes,
    attributes: &OpPayloadAttributes,
    envelope: &OpExecutionPayloadEnvelope,
) -> Result<(), BackendError> {
    let (block, payload) = (block_ref(&envelope.execution_payload), envelope.execution_payload.as_v1());
    let forced = attributes.transactions.as_deref().unwrap_or_default();
    let closed = attributes.no_tx_pool == Some(true);
    let what = if !block.extends(&order.parent) {
        "is on another parent"
    } else if block.timestamp != order.timestamp {
        "has another time"
    } else if !payload.transactions.starts_with(forced) {
        "does not begin with the transactions"
    } else if closed && payload.transactions.len() > forced.len() {
        "has more transactions"
    } else if envelope.parent_beacon_block_root != attributes.payload_attributes.parent_beacon_block_root {
        "has another beacon block root"
    } else {
        return Ok(());
    };
    let text = format!("the engine built block {} {}, which {what} than ordered", block.number, block.hash);
    Err(BackendError::Reset(text))
}

/// Whether blocks of this time have this form.
fn form_fits(config: &RollupConfig, time: u64, payload: &OpExecutionPayload) -> bool {
    let forked = |fork| config.is_active(fork, time);
    match payload {
        OpExecutionPayload::V1(_) => !forked(Fork::Canyon),
        OpExecutionPayload::V2(_) => forked(Fork::Canyon) && !forked(Fork::Ecotone),
        OpExecutionPayload::V3(_) => forked(Fork::Ecotone) && !forked(Fork::Isthmus),
        OpExecutionPayload::V4(_) => forked(Fork::Isthmus),
    }
}

/// Heads as an engine tells them. After a crash its newest block may be below what it calls safe.
fn in_order(latest: BlockRef, safe: BlockRef, finalized: BlockRef) -> Result<Heads, BackendError> {
    let lower = |block: BlockRef, top: BlockRef| if block.number > top.number { top } else { block };
    let safe = lower(safe, latest);
    let heads = Heads::new(latest, safe, lower(finalized, safe));
    heads.map_err(|error| BackendError::Retry(format!("the engine's heads do not fit together: {error}")))
}

fn state_of(heads: &Heads) -> ForkchoiceState {
    ForkchoiceState {
        head_block_hash: hash_of(heads.unsafe_head().hash),
        safe_block_hash: hash_of(heads.safe_head().hash),
        finalized_block_hash: hash_of(heads.finalized_head().hash),
    }
}

fn hash_of(hash: BlockHash) -> B256 {
    B256::from(*hash.as_bytes())
}
