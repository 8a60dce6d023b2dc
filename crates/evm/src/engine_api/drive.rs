//! What the orders do to the chain.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_consensus::BlockHeader;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use alloy_rpc_types_engine::{ForkchoiceState, ForkchoiceUpdated, PayloadId, PayloadStatus, PayloadStatusEnum};
use node::{Backend, BackendError};
use op_alloy_rpc_types_engine::OpPayloadAttributes;
use serde_json::Value;
use types::{BlockRef, Heads, Payload, Slot, Verdict};

use super::error::EngineError;
use super::payload::{self, Given};
use super::version::{self, Fork};
use crate::block::{RawBlock, SealedHeader, Transaction, block_ref};
use crate::chain::Staged;
use crate::execute::{BlockAttributes, Feed, Refused};
use crate::pool::{PoolFeed, Signed};
use crate::{At, Chain, ChainSpec, EvmBackend, Pool};

/// Builds that can still be fetched.
const BUILDS_MAX: usize = 16;
/// Blocks beside the chain, or ahead of it, that are kept in case one becomes the head.
const ASIDE_MAX: usize = 64;
/// Blocks known to be bad.
const BAD_MAX: usize = 64;

/// The chain under orders.
#[derive(Debug)]
pub(crate) struct Driving {
    chain: Chain,
    pool: Pool,
    backend: EvmBackend,
    builds: VecDeque<Build>,
    aside: VecDeque<Payload>,
    /// Bad blocks with the last good block below each.
    bad: VecDeque<(B256, B256)>,
}

/// A block on order.
struct Build {
    id: PayloadId,
    attributes: OpPayloadAttributes,
    extra_data: Bytes,
    parent: Arc<SealedHeader>,
    /// Fixed once it has been fetched, so that fetching again gives the same.
    sealed: Option<Arc<Staged>>,
}

impl std::fmt::Debug for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Build").field("id", &self.id).field("fetched", &self.sealed.is_some()).finish_non_exhaustive()
    }
}

impl Driving {
    pub(crate) fn new(chain: Chain, pool: Pool, backend: EvmBackend) -> Self {
        let (builds, aside, bad) = Default::default();
        Self { chain, pool, backend, builds, aside, bad }
    }

    /// `engine_forkchoiceUpdated`: moves the heads, then begins a build where one is asked for.
    pub(crate) async fn update(
        &mut self,
        version: u8,
        state: ForkchoiceState,
        attributes: Option<OpPayloadAttributes>,
    ) -> Result<ForkchoiceUpdated, EngineError> {
        if state.head_block_hash == B256::ZERO {
            return Err(EngineError::invalid_forkchoice("headBlockHash is zero"));
        }
        if let Some(last) = self.last_good(state.head_block_hash) {
            return Ok(ForkchoiceUpdated::new(invalid(last, "the head, or a block below it, is invalid")));
        }
        let head = match self.lead(state.head_block_hash, &state, attributes.is_some()).await? {
            Led::Unknown => return Ok(ForkchoiceUpdated::from_status(PayloadStatusEnum::Syncing)),
            Led::Bad(last) => return Ok(ForkchoiceUpdated::new(invalid(last, "a block below the head is invalid"))),
            Led::Head(head) => head,
        };
        let valid = PayloadStatus::new(PayloadStatusEnum::Valid, Some(head.seal()));
        let updated = ForkchoiceUpdated::new(valid);
        // An older block of the chain as head is no order to go back, unless a block is to be built on it.
        match attributes {
            Some(attributes) => Ok(updated.with_payload_id(self.begin(version, head, attributes).await?)),
            None => Ok(updated),
        }
    }

    /// Makes the block the head if it can be.
    async fn lead(&mut self, wanted: B256, state: &ForkchoiceState, to_build: bool) -> Result<Led, EngineError> {
        let internal = EngineError::internal;
        if let Some(header) = self.chain.header(At::Hash(wanted)).map_err(internal)? {
            self.check_below(state, &header)?;
            // A block below the head is led again only to build on it; else the head is kept, as the specification allows.
            if to_build || header.seal() == self.chain.head().seal() {
                self.set(block_ref(&header), state).await?;
            }
            return Ok(Led::Head(header));
        }
        let Some(path) = self.path_to(wanted) else { return Ok(Led::Unknown) };
        let fork = path.front().map(|payload| B256::from(*payload.block.parent.as_bytes())).unwrap_or_default();
        let Some(fork) = self.chain.header(At::Hash(fork)).map_err(internal)? else { return Ok(Led::Unknown) };
        self.check_below(state, &fork)?;
        for payload in path {
            match self.backend.import(&payload).await.map_err(backend)? {
                Verdict::Valid => self.set(payload.block, state).await?,
                Verdict::ParentUnknown => return Ok(Led::Unknown),
                Verdict::Invalid => {
                    let last = self.chain.head().seal();
                    self.condemn(hash_of(&payload.block), last);
                    self.condemn(wanted, last);
                    return Ok(Led::Bad(last));
                }
            }
        }
        let head = self.chain.head();
        self.settle(&head);
        Ok(Led::Head(head))
    }

    /// Safe and finalized must be blocks of the chain at or below `known`, or the new head itself.
    fn check_below(&self, state: &ForkchoiceState, known: &SealedHeader) -> Result<(), EngineError> {
        for (name, hash) in
            [("safeBlockHash", state.safe_block_hash), ("finalizedBlockHash", state.finalized_block_hash)]
        {
            if hash == B256::ZERO || hash == state.head_block_hash {
                continue;
            }
            let found = self.chain.header(At::Hash(hash)).map_err(EngineError::internal)?;
            if found.is_none_or(|header| header.number > known.number) {
                return Err(EngineError::invalid_forkchoice(format!("{name} {hash} is not a block below the head")));
            }
        }
        Ok(())
    }

    /// Sets the heads as far as they are named; what is not named stays.
    async fn set(&self, head: BlockRef, state: &ForkchoiceState) -> Result<(), EngineError> {
        let before = self.backend.heads().await.map_err(backend)?;
        let named = |hash: B256, before: BlockRef| -> Result<BlockRef, EngineError> {
            if hash == hash_of(&head) {
                return Ok(head);
            }
            let found = match hash {
                B256::ZERO => None,
                hash => self.chain.header(At::Hash(hash)).map_err(EngineError::internal)?,
            };
            Ok(found.map_or(before, |header| block_ref(&header)))
        };
        let safe = named(state.safe_block_hash, before.safe_head())?;
        let finalized = named(state.finalized_block_hash, before.finalized_head())?;
        let heads = Heads::new(head, safe, finalized).map_err(EngineError::invalid_forkchoice)?;
        self.backend.set_heads(heads).await.map_err(backend)
    }

    /// The blocks from the head, or from wherever the chain is left, up to this one; none when one is missing.
    fn path_to(&self, wanted: B256) -> Option<VecDeque<Payload>> {
        let mut path = VecDeque::new();
        let mut next = wanted;
        while path.len() <= ASIDE_MAX {
            if let Ok(Some(_)) = self.chain.header(At::Hash(next)) {
                return Some(path);
            }
            let payload = match self.chain.staged(next) {
                Some(staged) => staged.payload.clone(),
                None => self.aside.iter().find(|payload| hash_of(&payload.block) == next)?.clone(),
            };
            next = B256::from(*payload.block.parent.as_bytes());
            path.push_front(payload);
        }
        None
    }

    /// After the head moved: builds that lost give their transactions back.
    fn settle(&mut self, head: &SealedHeader) {
        let number = head.number;
        self.aside.retain(|payload| payload.block.number.as_u64() > number);
        for build in self.builds.iter().filter(|build| build.parent.number < number) {
            give_back(&self.pool, build, head.seal());
        }
        self.builds.retain(|build| build.parent.number >= number);
    }

    /// `engine_newPayload`: executes the block if it stands on the head, keeps it otherwise.
    pub(crate) async fn take(&mut self, given: Given) -> Result<PayloadStatus, EngineError> {
        let hash = given.hash;
        if let Some(last) = self.last_good(hash) {
            return Ok(invalid(last, "the block, or one below it, is invalid"));
        }
        let payload = match given.block() {
            Ok(payload) => payload,
            // Nothing is known about what was really meant.
            Err(reason) => {
                let status = PayloadStatusEnum::Invalid { validation_error: reason };
                return Ok(PayloadStatus::new(status, None));
            }
        };
        let parent = B256::from(*payload.block.parent.as_bytes());
        if let Some(last) = self.last_good(parent) {
            self.condemn(hash, last);
            return Ok(invalid(last, "the block below is invalid"));
        }
        match self.backend.import(&payload).await.map_err(backend)? {
            Verdict::Valid => Ok(PayloadStatus::new(PayloadStatusEnum::Valid, Some(hash))),
            Verdict::Invalid => {
                self.condemn(hash, parent);
                Ok(invalid(parent, "executing the block gives another one"))
            }
            Verdict::ParentUnknown => {
                let known = self.chain.header(At::Hash(parent)).map_err(EngineError::internal)?.is_some();
                self.keep(payload);
                // Beside the chain: kept, and executed if it is to be the head. Ahead of it: what is between is missing.
                let status = if known { PayloadStatusEnum::Accepted } else { PayloadStatusEnum::Syncing };
                Ok(PayloadStatus::new(status, None))
            }
        }
    }

    fn keep(&mut self, payload: Payload) {
        if self.aside.iter().any(|known| known.block == payload.block) {
            return;
        }
        if self.aside.len() == ASIDE_MAX {
            self.aside.pop_front();
        }
        self.aside.push_back(payload);
    }

    fn condemn(&mut self, hash: B256, last_good: B256) {
        if self.bad.len() == BAD_MAX {
            self.bad.pop_front();
        }
        self.bad.push_back((hash, last_good));
    }

    fn last_good(&self, hash: B256) -> Option<B256> {
        self.bad.iter().find(|(bad, _)| *bad == hash).map(|(_, last)| *last)
    }

    /// Begins a build on the head. What must be in the block is executed at once, so that a fault in it is told now.
    async fn begin(
        &mut self,
        version: u8,
        parent: Arc<SealedHeader>,
        attributes: OpPayloadAttributes,
    ) -> Result<PayloadId, EngineError> {
        let wanted = &attributes.payload_attributes;
        version::attributes(version, Fork::at(self.chain.spec(), wanted.timestamp), &attributes)?;
        if wanted.timestamp <= parent.timestamp {
            let reason = format!("timestamp {} is not above the parent's {}", wanted.timestamp, parent.timestamp);
            return Err(EngineError::invalid_attributes(reason));
        }
        if wanted.withdrawals.as_ref().is_some_and(|withdrawals| !withdrawals.is_empty()) {
            return Err(EngineError::invalid_attributes("withdrawals: nobody withdraws on a chain that is sequenced"));
        }
        let extra_data = extra_data(self.chain.spec(), &attributes)?;
        let id = payload_id(version, parent.seal(), &attributes);
        if self.builds.iter().any(|build| build.id == id) {
            return Ok(id);
        }
        let build = Build { id, attributes, extra_data, parent, sealed: None };
        if build.attributes.transactions.as_ref().is_some_and(|forced| !forced.is_empty()) {
            self.execute(&build, false).await?;
        }
        if self.builds.len() == BUILDS_MAX
            && let Some(oldest) = self.builds.pop_front()
        {
            give_back(&self.pool, &oldest, self.chain.head().seal());
        }
        self.builds.push_back(build);
        Ok(id)
    }

    /// `engine_getPayload`: the block with everything that has come until now.
    pub(crate) async fn fetch(&mut self, version: u8, id: PayloadId) -> Result<Value, EngineError> {
        let at = self.builds.iter().position(|build| build.id == id).ok_or_else(|| EngineError::unknown_payload(id))?;
        let build = &self.builds[at];
        version::get_payload(version, Fork::at(self.chain.spec(), build.attributes.payload_attributes.timestamp))?;
        let sealed = match &build.sealed {
            Some(sealed) => Arc::clone(sealed),
            None => {
                let sealed = self.execute(build, !build.attributes.no_tx_pool.unwrap_or_default()).await?;
                self.chain.stage(Arc::clone(&sealed));
                self.builds[at].sealed = Some(Arc::clone(&sealed));
                sealed
            }
        };
        let block = RawBlock::decode(&mut &sealed.payload.body[..]).map_err(EngineError::internal)?;
        let base_fee = sealed.header().base_fee_per_gas().unwrap_or_default();
        let (rollup, hash) = (self.chain.spec().is_rollup(), sealed.header().seal());
        let value = payload::value(sealed.transactions(), base_fee);
        payload::envelope(version, rollup, &block, hash, value, sealed.requests())
    }

    async fn execute(&self, build: &Build, use_pool: bool) -> Result<Arc<Staged>, EngineError> {
        if build.parent.seal() != self.chain.head().seal() {
            return Err(EngineError::unknown_payload(build.id));
        }
        let forced = forced(&build.attributes)?;
        let wanted = &build.attributes.payload_attributes;
        let block = BlockAttributes {
            timestamp: wanted.timestamp,
            beneficiary: wanted.suggested_fee_recipient,
            prev_randao: wanted.prev_randao,
            gas_limit: build.attributes.gas_limit.unwrap_or(build.parent.gas_limit),
            base_fee: None,
            extra_data: build.extra_data.clone(),
            parent_beacon_block_root: wanted.parent_beacon_block_root.unwrap_or_default(),
        };
        let (chain, pool) = (self.chain.clone(), self.pool.clone());
        let built = tokio::task::spawn_blocking(move || {
            let mut order = Order { forced, pool: use_pool.then(|| pool.feed()), from_pool: false, refused: None };
            let built = chain.build(Slot::new(block.timestamp), &block, &mut order);
            (built, order.refused.take())
        });
        let (built, refused) = built.await.map_err(EngineError::internal)?;
        let built = built.map_err(EngineError::internal)?;
        match refused {
            None => Ok(built),
            Some(reason) => {
                self.pool.returned(&built.hashes());
                Err(EngineError::invalid_attributes(reason))
            }
        }
    }
}

/// What came of the order to make a block the head.
enum Led {
    Head(Arc<SealedHeader>),
    Unknown,
    /// With the last good block.
    Bad(B256),
}

/// First what must be in the block, then the pool.
struct Order<'a> {
    forced: VecDeque<Arc<Signed>>,
    pool: Option<PoolFeed<'a>>,
    /// Whether the one handed out last is the pool's.
    from_pool: bool,
    /// Why something that must be in the block cannot be.
    refused: Option<String>,
}

impl Feed for Order<'_> {
    fn next(&mut self, gas_left: u64) -> Option<Arc<Signed>> {
        if self.refused.is_some() {
            return None;
        }
        let forced = self.forced.pop_front();
        self.from_pool = forced.is_none();
        forced.or_else(|| self.pool.as_mut()?.next(gas_left))
    }

    fn refused(&mut self, transaction: &Signed, reason: Refused) {
        let from_pool = self.from_pool;
        match self.pool.as_mut().filter(|_| from_pool) {
            Some(pool) => pool.refused(transaction, reason),
            None => {
                let why = match reason {
                    Refused::NoRoom => "the block has no room for it".to_owned(),
                    Refused::Invalid(reason) => reason,
                };
                self.refused =
                    Some(format!("transaction {} must be in the block and cannot: {why}", transaction.tx_hash()));
            }
        }
    }
}

/// The free bytes of the block that these attributes order, and whether a chain of this kind takes them at all.
fn extra_data(spec: &ChainSpec, attributes: &OpPayloadAttributes) -> Result<Bytes, EngineError> {
    match spec.rollup() {
        Some(_) if attributes.gas_limit.is_none() => {
            Err(EngineError::invalid_attributes("gasLimit is missing; a rollup's attributes have it"))
        }
        Some(rollup) => {
            let time = attributes.payload_attributes.timestamp;
            let bytes = rollup.extra_data(time, attributes.eip_1559_params, attributes.min_base_fee);
            bytes.map_err(EngineError::invalid_attributes)
        }
        None if attributes.eip_1559_params.is_some() || attributes.min_base_fee.is_some() => {
            let reason =
                "eip1559Params and minBaseFee are of a rollup's forks, which this chain's genesis does not have";
            Err(EngineError::invalid_attributes(reason))
        }
        None => Ok(Bytes::new()),
    }
}

fn forced(attributes: &OpPayloadAttributes) -> Result<VecDeque<Arc<Signed>>, EngineError> {
    let read = |(index, bytes): (usize, &Bytes)| {
        let wrong = |reason: String| EngineError::invalid_attributes(format!("transactions[{index}]: {reason}"));
        let transaction = Transaction::decode_2718_exact(bytes).map_err(|error| wrong(error.to_string()))?;
        transaction.try_into_recovered().map(Arc::new).map_err(|_| wrong("its signature does not hold".to_owned()))
    };
    attributes.transactions.iter().flatten().enumerate().map(read).collect()
}

/// A rollup's attributes with a minimum base fee count as the fourth version, though the call is the third.
pub(super) fn payload_id(version: u8, parent: B256, attributes: &OpPayloadAttributes) -> PayloadId {
    let version = if attributes.min_base_fee.is_some() { 4 } else { version };
    attributes.payload_id(&parent, version)
}

/// A build that did not become the head gives its transactions back.
fn give_back(pool: &Pool, build: &Build, head: B256) {
    if let Some(sealed) = build.sealed.as_ref().filter(|sealed| sealed.header().seal() != head) {
        pool.returned(&sealed.hashes());
    }
}

fn invalid(last_good: B256, reason: &str) -> PayloadStatus {
    PayloadStatus::new(PayloadStatusEnum::Invalid { validation_error: reason.to_owned() }, Some(last_good))
}

fn hash_of(block: &BlockRef) -> B256 {
    B256::from(*block.hash.as_bytes())
}

fn backend(error: BackendError) -> EngineError {
    EngineError::internal(error)
}
