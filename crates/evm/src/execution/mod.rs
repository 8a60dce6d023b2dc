//! Executing without consequence: calls, simulations, estimates, access lists and traces, on the state at the end of any block that is kept.
//!
//! All of it runs beside the async threads, so many at once as [`Limits`] allows, each with a bound on gas, time and size.

mod error;
mod estimate;
mod scene;
mod simulate;
mod trace;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_eips::eip2930::AccessList;
use alloy_primitives::Bytes;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_eth::simulate::SimulatePayload;
use alloy_rpc_types_eth::state::EvmOverrides;
use alloy_rpc_types_trace::common::TraceResult;
use alloy_rpc_types_trace::geth::{GethDebugTracingOptions, GethTrace};
use revm_inspectors::access_list::AccessListInspector;
use tokio::sync::Semaphore;

pub use error::ExecutionError;
pub use simulate::{Called, Simulated};

use self::scene::{Scene, output};
use self::watch::Recorded;
use crate::block::Block;
use crate::{At, Chain};

/// How often an access list is tried: each time the list of the last one may change which path the code takes.
const ACCESS_LIST_ROUNDS_MAX: usize = 8;

/// What one execution may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Gas. Default 50 million, as geth's.
    pub gas: u64,
    /// Time. Default 5 s, as geth's.
    pub time: Duration,
    /// Bytes of a trace in memory, about. Default 64 MiB.
    pub trace_bytes: usize,
    /// Executions at once. Default: one for each processor.
    pub concurrent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let concurrent = std::thread::available_parallelism().map_or(1, usize::from);
        Self { gas: 50_000_000, time: Duration::from_secs(5), trace_bytes: 64 << 20, concurrent }
    }
}

/// Executes on one chain. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Executor {
    chain: Chain,
    limits: Limits,
    turns: Arc<Semaphore>,
}

/// Accounts and slots that a transaction touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Those worth naming: all but the sender, the recipient and precompiled contracts, unless they have slots.
    pub list: AccessList,
    /// Gas that the transaction uses with that list.
    pub gas_used: u64,
    /// Why it fails, if it does.
    pub error: Option<String>,
}

impl Executor {
    /// An executor on `chain`.
    pub fn new(chain: Chain, limits: Limits) -> Self {
        Self { chain, limits, turns: Arc::new(Semaphore::new(limits.concurrent.max(1))) }
    }

    /// What a call returns (`eth_call`).
    ///
    /// # Errors
    /// See [`ExecutionError`].
    pub async fn call(
        &self,
        at: At,
        request: TransactionRequest,
        overrides: EvmOverrides,
    ) -> Result<Bytes, ExecutionError> {
        self.run(move |chain, limits, deadline| {
            let mut scene = Scene::new(chain, at, overrides, limits, deadline)?;
            let transaction = scene.transaction(request)?;
            output(scene.execute(transaction)?.result)
        })
        .await
    }

    /// The least gas with which a transaction succeeds, within 1.5 % (`eth_estimateGas`).
    ///
    /// # Errors
    /// See [`ExecutionError`].
    pub async fn estimate_gas(
        &self,
        at: At,
        request: TransactionRequest,
        overrides: EvmOverrides,
    ) -> Result<u64, ExecutionError> {
        self.run(move |chain, limits, deadline| {
            let mut scene = Scene::new(chain, at, overrides, limits, deadline)?;
            let named = request.gas;
            let transaction = scene.transaction(request)?;
            estimate::estimate(&mut scene, chain.spec(), transaction, named, limits.gas)
        })
        .await
    }

    /// What a transaction touches (`eth_createAccessList`).
    ///
    /// # Errors
    /// See [`ExecutionError`].
    pub async fn create_access_list(
        &self,
        at: At,
        request: TransactionRequest,
        overrides: EvmOverrides,
    ) -> Result<Touched, ExecutionError> {
        self.run(move |chain, limits, deadline| {
            let mut scene = Scene::new(chain, at, overrides, limits, deadline)?;
            let mut transaction = scene.transaction(request)?;
            for _ in 0..ACCESS_LIST_ROUNDS_MAX {
                let inspector = AccessListInspector::new(transaction.access_list.clone());
                let (outcome, inspector) =
                    scene.run(scene::call(transaction.clone()), Recorded::default(), inspector)?;
                let list = inspector.into_access_list();
                if list == transaction.access_list {
                    let gas_used = outcome.result.tx_gas_used();
                    let error = output(outcome.result).err().map(|error| error.to_string());
                    return Ok(Touched { list, gas_used, error });
                }
                // Whoever names slots sends a transaction of EIP-2930 at least.
                transaction.tx_type = transaction.tx_type.max(1);
                transaction.access_list = list;
            }
            Err(ExecutionError::Invalid("the access list does not settle: the code depends on it".into()))
        })
        .await
    }

    /// What blocks of calls on top of a block would be (`eth_simulateV1`).
    ///
    /// # Errors
    /// See [`ExecutionError`]; a call that fails by itself is no error.
    pub async fn simulate(&self, at: At, payload: SimulatePayload) -> Result<Vec<Simulated>, ExecutionError> {
        self.run(move |chain, limits, deadline| simulate::simulate(chain, at, payload, limits, deadline)).await
    }

    /// Traces a call (`debug_traceCall`).
    ///
    /// # Errors
    /// See [`ExecutionError`].
    pub async fn trace_call(
        &self,
        at: At,
        request: TransactionRequest,
        overrides: EvmOverrides,
        options: GethDebugTracingOptions,
    ) -> Result<GethTrace, ExecutionError> {
        self.run(move |chain, limits, deadline| {
            let mut tracer = trace::Tracer::new(options)?;
            let mut scene = Scene::new(chain, at, overrides, limits, deadline)?;
            let transaction = scene.transaction(request)?;
            tracer.trace(&mut scene, scene::call(transaction), None)
        })
        .await
    }

    /// Traces the transaction at `index` of a block (`debug_traceTransaction`).
    ///
    /// # Errors
    /// See [`ExecutionError`].
    pub async fn trace_transaction(
        &self,
        block: Block,
        index: usize,
        options: GethDebugTracingOptions,
    ) -> Result<GethTrace, ExecutionError> {
        self.run(move |chain, limits, deadline| trace::transaction(chain, &block, index, options, limits, deadline))
            .await
    }

    /// Traces all transactions of a block (`debug_traceBlockByNumber` and its like).
    ///
    /// # Errors
    /// See [`ExecutionError`].
    pub async fn trace_block(
        &self,
        block: Block,
        options: GethDebugTracingOptions,
    ) -> Result<Vec<TraceResult<GethTrace, String>>, ExecutionError> {
        self.run(move |chain, limits, deadline| trace::block(chain, &block, options, limits, deadline)).await
    }

    /// Waits for a turn, then runs beside the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Chain, Limits, Instant) -> Result<T, ExecutionError> + Send + 'static,
    ) -> Result<T, ExecutionError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| ExecutionError::Stopping)?;
        let (chain, limits) = (self.chain.clone(), self.limits);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&chain, limits, Instant::now() + limits.time)
        });
        done.await.unwrap_or(Err(ExecutionError::Stopping))
    }
}
