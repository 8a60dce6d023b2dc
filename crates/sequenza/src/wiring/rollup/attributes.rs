//! What the engine is told to build: the parent from what was decided last or from the engine, the L1 block that was ordered and its
//! receipts from L1, the rest by the rules of the OP Stack.

use std::fmt::Display;
use std::sync::Arc;

use alloy_primitives::B256;
use async_trait::async_trait;
use engine::{AttributesBuilder, BlockAt, EngineClient, Handed, decode_body};
use l1::Epochs;
use node::BackendError;
use op_alloy_rpc_types_engine::OpPayloadAttributes;
use optimism::{BlobSchedule, BlockParts, L2Block, Order, Plan, RollupConfig, SystemConfig};
use types::{Attributes, BlockRef, Failure};

/// Attributes by the rules of the OP Stack.
#[derive(Debug)]
pub(super) struct OpAttributes {
    pub(super) config: Arc<RollupConfig>,
    pub(super) schedule: BlobSchedule,
    pub(super) client: EngineClient,
    pub(super) handed: Handed,
    pub(super) epochs: Epochs,
}

#[async_trait]
impl AttributesBuilder for OpAttributes {
    async fn build(&self, order: &Attributes) -> Result<OpPayloadAttributes, BackendError> {
        let (parent, parent_system) = self.parent(order.parent).await?;
        let cited = order.origin.ok_or_else(|| fatal("a block of a rollup was ordered that cites no L1 block"))?;
        let hash = B256::new(*cited.hash.as_bytes());
        let gone = || BackendError::Reset(format!("L1 does not know block {hash}, which was to be cited"));
        let origin = self.epochs.header(hash).await.map_err(retry)?.ok_or_else(gone)?;
        let receipts = if hash == parent.origin.hash {
            None
        } else {
            Some(self.epochs.receipts(hash).await.map_err(retry)?.ok_or_else(gone)?)
        };
        let plan = Plan {
            parent: &parent,
            parent_system: &parent_system,
            origin: &origin,
            receipts: receipts.as_deref(),
            timestamp: order.timestamp.as_secs(),
            use_pool: order.use_pool,
        };
        let prepared = Order::prepare(&self.config, &self.schedule, &plan).map_err(|error| {
            let reason = error.to_string();
            match error.failure() {
                Failure::Retry => BackendError::Retry(reason),
                Failure::Reset => BackendError::Reset(reason),
                Failure::Fatal => BackendError::Fatal(reason),
            }
        })?;
        for skipped in &prepared.skipped {
            tracing::warn!(l1_block = %prepared.origin, ?skipped, "a change of the system configuration is not understood");
        }
        self.epochs.origin_moved(prepared.origin.number);
        Ok(prepared.attributes)
    }
}

impl OpAttributes {
    /// Where the parent stands. Mostly it is the block that was decided last: then nobody has to be asked.
    async fn parent(&self, parent: BlockRef) -> Result<(L2Block, SystemConfig), BackendError> {
        if let Some(newest) = self.handed.newest().filter(|newest| newest.block == parent) {
            let envelope = decode_body(&newest.body).map_err(fatal)?;
            let parts = BlockParts::from(&envelope.execution_payload);
            let place = L2Block::of(&self.config, &parts).map_err(fatal)?;
            return Ok((place, SystemConfig::of(&self.config, &parts).map_err(fatal)?));
        }
        let hash = B256::new(*parent.hash.as_bytes());
        let block = self.client.block(BlockAt::Hash(hash)).await?.ok_or_else(|| {
            BackendError::Reset(format!("the engine does not have block {} {hash}, to build on", parent.number))
        })?;
        block.place(&self.config).map_err(fatal)
    }
}

fn retry(error: impl Display) -> BackendError {
    BackendError::Retry(error.to_string())
}

fn fatal(error: impl Display) -> BackendError {
    BackendError::Fatal(error.to_string())
}
