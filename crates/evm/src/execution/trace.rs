//! Executing again what a block executed, with a tracer beside it.

use std::time::Instant;

use alloy_evm::FromRecoveredTx;
use alloy_op_evm::OpTx;
use alloy_primitives::B256;
use alloy_rpc_types_trace::common::TraceResult;
use alloy_rpc_types_trace::geth::{GethDebugTracingOptions, GethTrace};
use revm::DatabaseCommit;
use revm::inspector::NoOpInspector;
use revm_inspectors::tracing::{DebugInspector, TransactionContext};

use super::Limits;
use super::error::ExecutionError;
use super::scene::Scene;
use super::watch::Recorded;
use crate::block::{Block, ExecutedTransaction};
use crate::{At, Chain};

/// Traces of transactions, in the order in which they were executed, each with its hash.
pub(super) type BlockTrace = Vec<TraceResult<GethTrace, String>>;

/// The scene right before the transaction at `index` of a block: after the block's system calls and the transactions before.
pub(super) fn scene_within(
    chain: &Chain,
    block: &Block,
    index: usize,
    limits: Limits,
    deadline: Instant,
) -> Result<Scene, ExecutionError> {
    let header = &block.header;
    let parent = header
        .number
        .checked_sub(1)
        .map(At::Number)
        .ok_or_else(|| ExecutionError::Invalid("genesis is not traceable".into()))?;
    let state = chain.state(parent)?.ok_or(ExecutionError::BlockUnknown)?;
    let mut scene = Scene::replay(chain, header, state, limits, deadline);
    scene.begin_block(chain, header.inner())?;
    for executed in &block.transactions[..index.min(block.transactions.len())] {
        let (outcome, _) = scene.run(environment_of(executed), Recorded::default(), NoOpInspector {})?;
        scene.database.commit(outcome.state);
    }
    Ok(scene)
}

/// One transaction of a block.
pub(super) fn transaction(
    chain: &Chain,
    block: &Block,
    index: usize,
    options: GethDebugTracingOptions,
    limits: Limits,
    deadline: Instant,
) -> Result<GethTrace, ExecutionError> {
    let mut tracer = Tracer::new(options)?;
    let mut scene = scene_within(chain, block, index, limits, deadline)?;
    tracer.step(&mut scene, block, index)
}

/// All transactions of a block.
pub(super) fn block(
    chain: &Chain,
    block: &Block,
    options: GethDebugTracingOptions,
    limits: Limits,
    deadline: Instant,
) -> Result<BlockTrace, ExecutionError> {
    let mut tracer = Tracer::new(options)?;
    let mut scene = scene_within(chain, block, 0, limits, deadline)?;
    let mut traces = Vec::with_capacity(block.transactions.len());
    for (index, executed) in block.transactions.iter().enumerate() {
        let result = tracer.step(&mut scene, block, index)?;
        traces.push(TraceResult::Success { result, tx_hash: Some(hash_of(executed)) });
    }
    Ok(traces)
}

/// A tracer for one transaction after the other.
pub(super) struct Tracer {
    options: GethDebugTracingOptions,
    recorded: Recorded,
}

impl Tracer {
    pub(super) fn new(options: GethDebugTracingOptions) -> Result<Self, ExecutionError> {
        // Faults of the options show before anything is executed.
        DebugInspector::new(options.clone())?;
        let recorded = match options.tracer {
            None => Recorded {
                steps: true,
                stack: !options.config.disable_stack.unwrap_or_default(),
                memory: options.config.enable_memory.unwrap_or_default(),
                calls: true,
            },
            Some(_) => Recorded { calls: true, ..Recorded::default() },
        };
        Ok(Self { options, recorded })
    }

    /// Traces a transaction of a block and keeps what it changed for the next one.
    fn step(&mut self, scene: &mut Scene, block: &Block, index: usize) -> Result<GethTrace, ExecutionError> {
        let executed = &block.transactions[index];
        let context = TransactionContext {
            block_hash: Some(block.header.seal()),
            tx_index: Some(index),
            tx_hash: Some(hash_of(executed)),
        };
        self.trace(scene, environment_of(executed), Some(context))
    }

    /// Traces a transaction and keeps what it changed.
    pub(super) fn trace(
        &mut self,
        scene: &mut Scene,
        transaction: OpTx,
        context: Option<TransactionContext>,
    ) -> Result<GethTrace, ExecutionError> {
        let inspector = DebugInspector::new(self.options.clone())?;
        let (outcome, mut inspector) = scene.run(transaction.clone(), self.recorded, inspector)?;
        let block = scene.environment.block_env.clone();
        let trace = inspector.get_result(context, &transaction, &block, &outcome, &mut scene.database)?;
        scene.database.commit(outcome.state);
        Ok(trace)
    }
}

fn environment_of(executed: &ExecutedTransaction) -> OpTx {
    OpTx::from_recovered_tx(&executed.transaction, executed.sender)
}

fn hash_of(executed: &ExecutedTransaction) -> B256 {
    executed.transaction.tx_hash()
}
