//! Methods that tell how transactions of the chain executed.
//!
//! The chain keeps results, not traces: a block is executed again when one of its traces is asked for, as a whole and
//! once, however many ask meanwhile. What comes of it is kept, as JSON, within a bound of bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use blockifier::state::cached_state::StateMaps;
use blockifier::transaction::transaction_execution::Transaction as Executable;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use starknet_api::block::{BlockHash, BlockNumber};
use starknet_api::transaction::TransactionHash;
use tokio::sync::OnceCell;

use super::block_id::BlockId;
use super::error::{BLOCK_NOT_FOUND, NO_TRACE_AVAILABLE, RpcError, TXN_HASH_NOT_FOUND};
use super::execute::trace;
use super::hex::Hex;
use super::params::Params;
use super::trace::{InitialReadsJson, TraceKind};
use super::{Answer, StarknetRpc, answer, from_chain};
use crate::block::{Block, ExecutedTransaction};
use crate::chain::{Chain, Located};
use crate::execution::{self, Execution, ExecutionFailure};
use crate::view::{At, StateView};

/// Bytes of a kept block beyond its JSON, and of a kept transaction.
const OVERHEAD_BYTES: usize = 128;

/// The traces of a sealed block, as they are answered.
#[derive(Debug)]
pub(super) struct BlockTraces {
    transactions: Vec<(TransactionHash, Box<RawValue>)>,
    initial_reads: Box<RawValue>,
}

impl BlockTraces {
    fn bytes(&self) -> usize {
        let traces = self.transactions.iter().map(|(_, trace)| trace.get().len() + OVERHEAD_BYTES);
        traces.sum::<usize>() + self.initial_reads.get().len() + OVERHEAD_BYTES
    }
}

type Run = Arc<OnceCell<Arc<BlockTraces>>>;

/// Traces of blocks lately asked for. Blocks of which traces are being made are in it too, so that each is made once.
#[derive(Debug)]
pub(super) struct TraceCache {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The latest used last.
    blocks: VecDeque<(BlockHash, Arc<BlockTraces>)>,
    bytes: usize,
    running: HashMap<BlockHash, Run>,
}

impl TraceCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// What is kept for a block, or else what `make` makes of it, which runs once for all who ask meanwhile. Who is
    /// dropped while it makes them leaves that to the next; an error is told to one and not kept.
    async fn block<F>(&self, hash: BlockHash, make: impl FnOnce() -> F) -> Result<Arc<BlockTraces>, RpcError>
    where
        F: Future<Output = Result<BlockTraces, RpcError>>,
    {
        let run = match self.kept.lock().find(hash) {
            Ok(traces) => return Ok(traces),
            Err(run) => run,
        };
        let made = run.get_or_try_init(|| async { make().await.map(Arc::new) }).await;
        let mut kept = self.kept.lock();
        match made {
            Ok(traces) => {
                kept.keep(hash, &run, traces, self.bytes_max);
                Ok(Arc::clone(traces))
            }
            Err(error) => {
                // Others wait for the same run and may have better luck.
                if Arc::strong_count(&run) <= 2 {
                    kept.running.remove(&hash);
                }
                Err(error)
            }
        }
    }
}

impl Kept {
    fn find(&mut self, hash: BlockHash) -> Result<Arc<BlockTraces>, Run> {
        if let Some(place) = self.blocks.iter().position(|(known, _)| *known == hash)
            && let Some(block) = self.blocks.remove(place)
        {
            self.blocks.push_back(block.clone());
            return Ok(block.1);
        }
        // Runs that were given up by all who asked for them.
        self.running.retain(|_, run| Arc::strong_count(run) > 1);
        Err(Arc::clone(self.running.entry(hash).or_default()))
    }

    fn keep(&mut self, hash: BlockHash, run: &Run, traces: &Arc<BlockTraces>, bytes_max: usize) {
        if !self.running.get(&hash).is_some_and(|running| Arc::ptr_eq(running, run)) {
            return;
        }
        self.running.remove(&hash);
        self.bytes += traces.bytes();
        self.blocks.push_back((hash, Arc::clone(traces)));
        while self.bytes > bytes_max {
            let Some((_, dropped)) = self.blocks.pop_front() else { break };
            self.bytes -= dropped.bytes();
        }
    }
}

pub(super) async fn trace_transaction(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    let hash = TransactionHash(params.required::<Hex>(0)?.0);
    let Some(located) = rpc.chain().transaction(hash).map_err(from_chain)? else {
        return Err(match rpc.pool().status(hash) {
            Some(_) => NO_TRACE_AVAILABLE.with(json!({ "status": "RECEIVED" })),
            None if rpc.pool().rejection(hash).is_some() => NO_TRACE_AVAILABLE.with(json!({ "status": "REJECTED" })),
            None => TXN_HASH_NOT_FOUND.into(),
        });
    };
    if let Some(header) = &located.header {
        return of_sealed(rpc, sealed(rpc.chain(), header.number)?, hash).await;
    }
    let number = located.block;
    match in_open_block(rpc, located).await? {
        Some(trace) => Ok(trace),
        // It was sealed, or given up, since it was looked up.
        None => match rpc.chain().block(At::Number(number)).map_err(from_chain)? {
            Some(block) => of_sealed(rpc, block, hash).await,
            None => Err(TXN_HASH_NOT_FOUND.into()),
        },
    }
}

async fn of_sealed(rpc: &StarknetRpc, block: Block, hash: TransactionHash) -> Answer {
    let traces = of_block(rpc, block).await?;
    let found = traces.transactions.iter().find(|(traced, _)| *traced == hash);
    found.map(|(_, trace)| trace.clone()).ok_or_else(|| TXN_HASH_NOT_FOUND.into())
}

pub(super) async fn trace_block_transactions(rpc: &StarknetRpc, params: Params<'_>) -> Answer {
    #[derive(Deserialize, PartialEq, Eq)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    enum Flag {
        ReturnInitialReads,
    }
    #[derive(Serialize)]
    struct Traced<'a> {
        transaction_hash: Hex,
        trace_root: &'a RawValue,
    }
    #[derive(Serialize)]
    struct WithReads<'a> {
        traces: Vec<Traced<'a>>,
        initial_reads: &'a RawValue,
    }
    let id: BlockId = params.required(0)?;
    let flags: Vec<Flag> = params.optional(1)?.unwrap_or_default();
    if id == BlockId::PreConfirmed {
        return Err(RpcError::invalid_params("block_id: the open block (pre_confirmed) is not traced as a whole"));
    }
    let Some(block) = rpc.sealed(id)? else { return Err(BLOCK_NOT_FOUND.into()) };
    let block = of_block(rpc, block).await?;
    let traced = block.transactions.iter();
    let traces = traced.map(|(hash, trace)| Traced { transaction_hash: Hex(hash.0), trace_root: trace }).collect();
    if flags.contains(&Flag::ReturnInitialReads) {
        answer(&WithReads { traces, initial_reads: &block.initial_reads })
    } else {
        answer(&traces)
    }
}

fn sealed(chain: &Chain, number: BlockNumber) -> Result<Block, RpcError> {
    let block = chain.block(At::Number(number)).map_err(from_chain)?;
    block.ok_or_else(|| RpcError::internal(format!("block {number} is missing")))
}

async fn of_block(rpc: &StarknetRpc, block: Block) -> Result<Arc<BlockTraces>, RpcError> {
    let hash = block.header.hash;
    let make = || rpc.dry_run(move |chain| render(chain, &block, &again(chain, &block)?));
    rpc.traces().block(hash, make).await
}

fn render(chain: &Chain, block: &Block, execution: &Execution) -> Result<BlockTraces, RpcError> {
    let pairs = execution.executed.iter().zip(block.transactions.iter());
    let traces = pairs.map(|(executed, original)| {
        Ok((original.hash, answer(&trace(chain, TraceKind::from(&original.transaction), executed))?))
    });
    Ok(BlockTraces {
        transactions: traces.collect::<Result<_, RpcError>>()?,
        initial_reads: answer(&InitialReadsJson(&execution.reads))?,
    })
}

/// Executes the transactions of a sealed block again, on the state that they were executed on.
fn again(chain: &Chain, block: &Block) -> Result<Execution, RpcError> {
    let number = block.header.number;
    // Genesis is made, not executed: block 0 holds no transactions.
    let Some(parent) = number.0.checked_sub(1).map(BlockNumber) else {
        return Ok(Execution { executed: Vec::new(), reads: StateMaps::default() });
    };
    let state = chain.state(At::Number(parent)).map_err(from_chain)?;
    let state = state.ok_or_else(|| RpcError::internal(format!("the state of block {parent} is missing")))?;
    // Classes that the block itself declares are not in the state before it.
    let after = chain.state(At::Number(number)).map_err(from_chain)?;
    let after = after.ok_or_else(|| RpcError::internal(format!("the state of block {number} is missing")))?;
    let executables = executables(chain, &after, block.transactions.iter())?;
    let old_hash = crate::builder::old_block_hash(chain, number).map_err(from_chain)?;
    let context = chain.context(block.header.block_info());
    executed_again(execution::execute(state, &context, old_hash, &executables).map_err(from_chain)?)
}

/// Executes one transaction of the open block again, on the state that the ones before it left; `None` when that block is
/// not open any more.
async fn in_open_block(rpc: &StarknetRpc, located: Located) -> Result<Option<Box<RawValue>>, RpcError> {
    rpc.dry_run(move |chain| {
        let open = chain.pre_confirmed();
        if open.block_info().block_number != located.block || open.find(located.transaction.hash).is_none() {
            return Ok(None);
        }
        let index = usize::try_from(located.index).unwrap_or(usize::MAX);
        let state = chain.state_before(&open, index);
        let executables = executables(chain, &chain.state_in(open), std::iter::once(&located.transaction))?;
        let context = state.context();
        let executed = execution::execute(state, &context, None, &executables).map_err(from_chain)?;
        match executed_again(executed)?.executed.last() {
            Some(executed) => {
                answer(&trace(chain, TraceKind::from(&located.transaction.transaction), executed)).map(Some)
            }
            None => Err(RpcError::internal("a transaction was executed again without a result")),
        }
    })
    .await
}

fn executables<'a>(
    chain: &Chain,
    with_classes: &StateView,
    transactions: impl Iterator<Item = &'a Arc<ExecutedTransaction>>,
) -> Result<Vec<Executable>, RpcError> {
    transactions
        .map(|executed| {
            let executable = executed.to_executable(chain, with_classes).map_err(from_chain)?;
            Ok(crate::builder::executable(&executable, chain.config().fees))
        })
        .collect()
}

fn executed_again(execution: Result<Execution, ExecutionFailure>) -> Result<Execution, RpcError> {
    execution.map_err(|failure| {
        RpcError::internal(format!("transaction {} was executed and now fails: {}", failure.index, failure.stack))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use starknet_types_core::felt::Felt;

    use super::*;

    fn hash(number: u64) -> BlockHash {
        BlockHash(Felt::from(number))
    }

    fn traces(length: usize) -> BlockTraces {
        let text = answer(&"x".repeat(length)).expect("a text");
        BlockTraces {
            transactions: vec![(TransactionHash::default(), text)],
            initial_reads: answer(&()).expect("null"),
        }
    }

    #[tokio::test]
    async fn a_burst_makes_the_traces_of_a_block_once() {
        let (cache, made) = (TraceCache::new(1 << 20), AtomicUsize::new(0));
        let ask = || {
            cache.block(hash(1), || async {
                made.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(traces(10))
            })
        };
        let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
        assert!([a, b, c, d].iter().all(Result::is_ok));
        assert!(ask().await.is_ok());
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert!(cache.kept.lock().running.is_empty());
    }

    #[tokio::test]
    async fn an_error_is_told_and_not_kept() {
        let cache = TraceCache::new(1 << 20);
        let failed = cache.block(hash(1), || async { Err(RpcError::internal("the disk failed")) }).await;
        assert!(failed.is_err());
        assert!(cache.kept.lock().running.is_empty());
        assert!(cache.block(hash(1), || async { Ok(traces(10)) }).await.is_ok());
    }

    #[tokio::test]
    async fn who_goes_away_leaves_nothing_behind() {
        let cache = TraceCache::new(1 << 20);
        {
            let asked = cache.block(hash(1), std::future::pending);
            tokio::select! {
                biased;
                _ = asked => panic!("it never ends"),
                () = std::future::ready(()) => {}
            }
        }
        assert!(cache.block(hash(2), || async { Ok(traces(10)) }).await.is_ok());
        assert!(cache.kept.lock().running.is_empty());
        assert!(cache.block(hash(1), || async { Ok(traces(10)) }).await.is_ok());
    }

    #[tokio::test]
    async fn what_was_not_asked_for_lately_goes_first_and_too_much_is_not_kept() {
        let cache = TraceCache::new(4_000);
        for block in 0..20 {
            assert!(cache.block(hash(block), || async { Ok(traces(1_000)) }).await.is_ok());
            assert!(cache.block(hash(0), || async { Err(RpcError::internal("forgotten")) }).await.is_ok());
            assert!(cache.kept.lock().bytes <= 4_000);
        }
        assert!(cache.block(hash(1), || async { Err(RpcError::internal("forgotten")) }).await.is_err());
        assert!(cache.block(hash(99), || async { Ok(traces(10_000)) }).await.is_ok());
        assert_eq!(cache.kept.lock().bytes, 0);
    }
}
