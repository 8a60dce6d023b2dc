//! Builds blocks: one thread streams transactions from the source through the workers into the open block.
//!
//! ```text
//!  source ──take──► builder ──add──► workers (Block-STM, in parallel)
//!                      ▲                │ results in commit order
//!                      └────────────────┘──► pre-confirmed snapshot, notices, source.executed / rejected
//! ```
//!
//! The workers of `blockifier` poll while they have an executor. So that an idle chain costs nothing, the builder takes the
//! executor away from them when nothing has come for [`PARK_AFTER`], and gives them a new one over the same state when
//! something comes. Closing a block never waits for the queue: what has not been committed goes back to the source.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use blockifier::blockifier::config::{ConcurrencyConfig, TransactionExecutorConfig, WorkerPoolConfig};
use blockifier::blockifier::transaction_executor::{
    DEFAULT_STACK_SIZE, TransactionExecutionOutput, TransactionExecutor, TransactionExecutorError,
    TransactionExecutorResult,
};
use blockifier::concurrency::versioned_state::{ThreadSafeVersionedState, VersionedState};
use blockifier::concurrency::worker_logic::WorkerExecutor;
use blockifier::concurrency::worker_pool::WorkerPool;
use blockifier::state::cached_state::{CachedState, CommitmentStateDiff};
use blockifier::transaction::account_transaction::{AccountTransaction, ExecutionFlags};
use blockifier::transaction::objects::TransactionExecutionInfo;
use blockifier::transaction::transaction_execution::Transaction as BlockifierTransaction;
use parking_lot::Mutex;
use starknet_api::block::{BlockHashAndNumber, BlockInfo, BlockNumber, BlockTimestamp};
use starknet_api::core::{ClassHash, ContractAddress};
use starknet_api::executable_transaction::{
    AccountTransaction as ApiAccountTransaction, Transaction as ApiTransaction,
};
use starknet_api::state::StorageKey;
use starknet_api::transaction::fields::Fee;
use starknet_api::transaction::{Transaction, TransactionHash};
use starknet_types_core::felt::Felt;
use types::{BuildId, Slot};

use crate::block::{ExecutedTransaction, Outcome, StateDiff};
use crate::chain::{Chain, ChainError, Notice, Staged};
use crate::classes::CachedClass;
use crate::pending::PreConfirmed;
use crate::source::{Doorbell, ReadyTransaction, TransactionSource};
use crate::view::{At, StateView};

/// Transactions given to the workers and not committed yet, at most. Enough to keep them busy; few to take back at the end.
const IN_FLIGHT_MAX: usize = 64;
/// How often results are looked for while transactions are in flight.
const POLL: Duration = Duration::from_micros(250);
/// Idle this long, the workers are sent to sleep.
const PARK_AFTER: Duration = Duration::from_millis(3);
/// Nothing open and nothing asked: how long to sleep between looks, as a safety net only.
const IDLE_WAIT: Duration = Duration::from_secs(60);
/// The block whose hash becomes readable in block `n` is `n - BLOCK_HASH_LAG`.
const BLOCK_HASH_LAG: u64 = 10;
/// The contract in whose storage old block hashes are kept.
const BLOCK_HASH_CONTRACT: u128 = 1;

/// The order to open a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) build: BuildId,
    pub(crate) slot: Slot,
    pub(crate) timestamp: BlockTimestamp,
    pub(crate) use_pool: bool,
}

enum Command {
    Open(Opening, mpsc::SyncSender<Result<(), ChainError>>),
    Seal(BuildId, bool, Reply),
    Cancel(BuildId, mpsc::SyncSender<()>),
    Stop,
}

type Reply = Box<dyn FnOnce(Result<Option<Arc<Staged>>, SealError>) + Send>;

/// Why a build was not sealed.
#[derive(Debug)]
pub(crate) enum SealError {
    /// There is no such build open.
    Unknown,
    /// Something failed that nobody sent.
    Failed(ChainError),
}

/// Handle to the builder thread. Dropping it cancels what is open and ends the thread.
pub struct Builder {
    commands: Arc<Mutex<VecDeque<Command>>>,
    doorbell: Arc<Doorbell>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl Builder {
    /// Starts the builder thread and its workers.
    ///
    /// # Errors
    /// [`ChainError::Execution`] when the system gives no thread.
    pub fn start(chain: Chain, source: Arc<dyn TransactionSource>) -> Result<Self, ChainError> {
        let commands = Arc::new(Mutex::new(VecDeque::new()));
        let doorbell = source.doorbell();
        let worker = Worker {
            workers: Workers::start(chain.config().workers),
            chain,
            source,
            commands: Arc::clone(&commands),
            doorbell: Arc::clone(&doorbell),
            open: None,
            careful: 0,
        };
        let thread = std::thread::Builder::new()
            .name("builder".into())
            .spawn(move || worker.run())
            .map_err(|error| ChainError::Execution(format!("no thread for the builder: {error}")))?;
        Ok(Self { commands, doorbell, thread: Some(thread) })
    }

    fn send(&self, command: Command) {
        self.commands.lock().push_back(command);
        self.doorbell.ring();
    }

    /// Opens a block on the head; gives up the one that is open, if it is another build.
    pub(crate) fn open(&self, opening: Opening) -> Result<(), ChainError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Command::Open(opening, reply));
        answer.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Closes a build. `None` inside means that it was empty and `seal_empty` is off.
    pub(crate) fn seal(&self, build: BuildId, seal_empty: bool) -> Result<Option<Arc<Staged>>, SealError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Command::Seal(build, seal_empty, Box::new(move |result| drop(reply.send(result)))));
        answer.recv().unwrap_or_else(|_| Err(SealError::Failed(gone())))
    }

    /// Gives up a build if it is open.
    pub(crate) fn cancel(&self, build: BuildId) {
        let (reply, answer) = mpsc::sync_channel(1);
        self.send(Command::Cancel(build, reply));
        let _ = answer.recv();
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> ChainError {
    ChainError::Execution("the builder thread has ended".into())
}

/// The pool of worker threads; made anew when one of them panicked.
struct Workers {
    count: usize,
    pool: Arc<WorkerPool<CachedState<StateView>>>,
}

impl Workers {
    fn start(count: usize) -> Self {
        let count = count.max(1);
        let config = WorkerPoolConfig { n_workers: count, stack_size: DEFAULT_STACK_SIZE };
        Self { count, pool: Arc::new(WorkerPool::start(&config)) }
    }

    /// Lets the workers end. They wait for a last word and take its absence for a fault.
    fn end(self) {
        if self.sound()
            && let Ok(pool) = Arc::try_unwrap(self.pool)
        {
            pool.join();
        }
    }

    /// Whether no worker has panicked.
    fn sound(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.pool.check_panic())).is_ok()
    }
}

struct Worker {
    workers: Workers,
    chain: Chain,
    source: Arc<dyn TransactionSource>,
    commands: Arc<Mutex<VecDeque<Command>>>,
    doorbell: Arc<Doorbell>,
    open: Option<OpenBlock>,
    /// Blocks for which transactions are executed one at a time, because a worker panicked.
    careful: u32,
}

/// Blocks that are built carefully after a worker panicked.
const CAREFUL_BLOCKS: u32 = 2;

impl Worker {
    fn run(mut self) {
        loop {
            let command = self.commands.lock().pop_front();
            match command {
                Some(Command::Stop) => break,
                Some(command) => self.obey(command),
                None => {
                    let wait = self.turn();
                    if !wait.is_zero() {
                        self.doorbell.wait(wait);
                    }
                }
            }
        }
        self.give_up();
        self.workers.end();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(opening, reply) => {
                let result = self.open(opening);
                let _ = reply.send(result);
            }
            Command::Seal(build, seal_empty, reply) => match self.open.take_if(|open| open.opening.build == build) {
                Some(open) => reply(self.seal(open, seal_empty).map_err(SealError::Failed)),
                None => reply(Err(SealError::Unknown)),
            },
            Command::Cancel(build, reply) => {
                if self.open.as_ref().is_some_and(|open| open.opening.build == build) {
                    self.give_up();
                }
                let _ = reply.send(());
            }
            Command::Stop => {}
        }
    }

    fn open(&mut self, opening: Opening) -> Result<(), ChainError> {
        let parent = self.chain.head();
        if let Some(open) = &self.open {
            if open.opening == opening && open.shown.parent_hash() == parent.hash {
                return Ok(());
            }
            self.give_up();
        }
        self.open = Some(OpenBlock::new(&self.chain, opening, self.in_flight_max())?);
        Ok(())
    }

    fn in_flight_max(&self) -> usize {
        if self.careful > 0 { 1 } else { IN_FLIGHT_MAX }
    }

    /// Does what can be done now; says how long nothing will need doing unless the bell rings.
    fn turn(&mut self) -> Duration {
        let Some(open) = &mut self.open else { return IDLE_WAIT };
        let (chain, source, workers) = (&self.chain, &*self.source, &self.workers);
        // A worker that panics leaves locks poisoned behind it, which panic in whoever asks next.
        let progress = catch_unwind(AssertUnwindSafe(|| {
            let moved = open.collect(chain, source);
            let fed = open.feed(chain, source, workers);
            (moved, fed)
        }));
        let (Ok((moved, fed)), true) = (progress, self.workers.sound()) else {
            self.recover();
            return Duration::ZERO;
        };
        if moved || fed {
            return Duration::ZERO;
        }
        if !open.in_flight.is_empty() {
            return POLL;
        }
        if open.running.is_none() {
            return IDLE_WAIT;
        }
        let idle = open.busy_at.elapsed();
        if idle < PARK_AFTER {
            return PARK_AFTER - idle;
        }
        open.park();
        IDLE_WAIT
    }

    fn seal(&mut self, mut open: OpenBlock, seal_empty: bool) -> Result<Option<Arc<Staged>>, ChainError> {
        let started = Instant::now();
        let (chain, source) = (&self.chain, &*self.source);
        let stop = catch_unwind(AssertUnwindSafe(|| open.stop(chain, source)));
        if stop.is_err() || !self.workers.sound() {
            self.open = Some(open);
            self.recover();
            open = self.open.take().ok_or_else(|| ChainError::Execution("a block cannot be opened again".into()))?;
        }
        self.careful = self.careful.saturating_sub(1);
        let stopped = started.elapsed();
        if open.included.is_empty() && !seal_empty {
            return Ok(None);
        }
        let result = open.finish(&self.chain);
        match &result {
            Ok(staged) => {
                let header = &staged.body.header;
                tracing::debug!(
                    block = header.number.0,
                    transactions = header.transaction_count,
                    stop_us = stopped.as_micros() as u64,
                    total_us = started.elapsed().as_micros() as u64,
                    "sealed"
                );
            }
            Err(_) => open.hand_back(&self.chain, &*self.source),
        }
        result.map(Some)
    }

    /// Gives up the open block: everything in it goes back to the source, in order.
    fn give_up(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        open.abort();
        open.hand_back(&self.chain, &*self.source);
    }

    /// A worker panicked. The state of the block cannot be trusted: start over with the same transactions, one at a time.
    /// The one that is alone in flight when it happens again is the culprit and is rejected.
    fn recover(&mut self) {
        let fresh = Workers::start(self.workers.count);
        let broken = std::mem::replace(&mut self.workers, fresh);
        // Its threads that are left would take the end of the pool for a second fault: they stay asleep.
        std::mem::forget(broken);
        let Some(mut open) = self.open.take() else { return };
        open.abort();
        if open.in_flight_max == 1
            && let Some(culprit) = open.in_flight.pop_front()
        {
            tracing::error!(transaction = %culprit.hash(), "executing a transaction ended a worker; rejected");
            self.source.rejected(culprit.hash(), "execution failed inside the virtual machine");
        }
        self.careful = CAREFUL_BLOCKS;
        let opening = open.opening;
        open.hand_back(&self.chain, &*self.source);
        match OpenBlock::new(&self.chain, opening, self.in_flight_max()) {
            Ok(again) => self.open = Some(again),
            Err(error) => tracing::error!(%error, "cannot open the block again"),
        }
    }
}

type Executor = WorkerExecutor<CachedState<StateView>>;

/// A block that is being built.
struct OpenBlock {
    opening: Opening,
    info: BlockInfo,
    base: StateView,
    shown: PreConfirmed,
    executor: TransactionExecutor<StateView>,
    /// What the workers are on, with how many of its results were taken.
    running: Option<(Arc<Executor>, usize)>,
    in_flight: VecDeque<Arc<ReadyTransaction>>,
    in_flight_max: usize,
    included: Vec<Arc<ReadyTransaction>>,
    full: bool,
    busy_at: Instant,
}

impl OpenBlock {
    fn new(chain: &Chain, opening: Opening, in_flight_max: usize) -> Result<Self, ChainError> {
        let parent = chain.head();
        let shown = chain.empty_on_head(opening.timestamp);
        let info = shown.block_info().clone();
        let base = chain.state_after(&parent);
        let old_hash = old_block_hash(chain, info.block_number)?;
        if let Some(old) = &old_hash {
            shown.opened_with(ContractAddress::from(BLOCK_HASH_CONTRACT), StorageKey::from(old.number.0), old.hash.0);
        }
        let config = TransactionExecutorConfig {
            concurrency_config: ConcurrencyConfig { enabled: false, n_workers: 0, chunk_size: 0 },
            stack_size: DEFAULT_STACK_SIZE,
        };
        let executor =
            TransactionExecutor::pre_process_and_create(base.clone(), chain.context(info.clone()), old_hash, config)
                .map_err(|error| ChainError::Execution(error.to_string()))?;
        chain.publish(shown.clone());
        Ok(Self {
            opening,
            info,
            base,
            shown,
            executor,
            running: None,
            in_flight: VecDeque::new(),
            in_flight_max,
            included: Vec::new(),
            full: false,
            busy_at: Instant::now(),
        })
    }

    /// Takes transactions from the source and gives them to the workers. Returns whether there were any.
    fn feed(&mut self, chain: &Chain, source: &dyn TransactionSource, workers: &Workers) -> bool {
        let room = self.in_flight_max.saturating_sub(self.in_flight.len());
        if self.full || !self.opening.use_pool || room == 0 {
            return false;
        }
        let taken = source.take(room);
        if taken.is_empty() {
            return false;
        }
        let transactions: Vec<BlockifierTransaction> =
            taken.iter().map(|ready| executable(&ready.transaction, chain.config().fees)).collect();
        self.in_flight.extend(taken);
        self.unpark(workers).add_txs(&transactions);
        self.busy_at = Instant::now();
        true
    }

    /// The executor that the workers are on; a new one when they were asleep.
    fn unpark(&mut self, workers: &Workers) -> &Arc<Executor> {
        let (executor, block) = (&mut self.executor, &mut self.running);
        let (running, _) = block.get_or_insert_with(|| {
            let state = executor.block_state.take().expect("the state is in the executor while no worker runs");
            let state = ThreadSafeVersionedState::new(VersionedState::new(state));
            let context = Arc::clone(&executor.block_context);
            let bouncer = Arc::clone(&executor.bouncer);
            let running = Arc::new(Executor::new(state, Vec::new(), context, bouncer, None));
            workers.pool.run(Arc::clone(&running));
            (running, 0)
        });
        running
    }

    /// Takes the committed results from the workers into the block. Returns whether there were any.
    fn collect(&mut self, chain: &Chain, source: &dyn TransactionSource) -> bool {
        let Some((running, taken)) = &mut self.running else { return false };
        let results = running.extract_execution_outputs(*taken);
        *taken += results.len();
        let full = running.scheduler.done();
        let moved = !results.is_empty();
        if moved {
            self.busy_at = Instant::now();
            self.show(chain, source, results);
        }
        if full && !self.full {
            self.fill(source);
            return true;
        }
        moved
    }

    /// The block is full: what is in flight goes back, nothing more is taken.
    fn fill(&mut self, source: &dyn TransactionSource) {
        self.full = true;
        self.park();
        let waiting: Vec<_> = self.in_flight.drain(..).collect();
        tracing::debug!(block = self.info.block_number.0, returned = waiting.len(), "block is full");
        source.returned(waiting);
    }

    /// Takes a result into the block. Gives what is to be told of it once the block is shown.
    fn take_in(
        &mut self,
        source: &dyn TransactionSource,
        result: TransactionExecutorResult<TransactionExecutionOutput>,
    ) -> Option<(TransactionHash, Notice)> {
        let ready = self.in_flight.pop_front()?;
        match result {
            Ok((execution, writes)) => {
                let executed = Arc::new(executed(&ready.transaction, &execution));
                let index = self.shown.len() as u64;
                self.shown = self.shown.with(Arc::clone(&executed), &writes, declared(&ready, self.info.block_number));
                let notice = Notice::PreConfirmed { block: self.info.block_number, index, transaction: executed };
                let hash = ready.hash();
                self.included.push(ready);
                Some((hash, notice))
            }
            Err(error) => {
                source.rejected(ready.hash(), &reason(&error));
                None
            }
        }
    }

    /// Takes the executor away from the workers; they sleep, the state is back in our hands.
    fn park(&mut self) {
        let Some((running, taken)) = self.running.take() else { return };
        running.scheduler.halt();
        // Waits for a commit in progress, so that none is half done.
        let _ = running.scheduler.get_n_committed_txs();
        self.executor.block_state = Some(running.commit_chunk_and_recover_block_state(taken));
    }

    /// Stops execution: takes what was committed by now, gives the rest back.
    fn stop(&mut self, chain: &Chain, source: &dyn TransactionSource) {
        if let Some((running, _)) = &self.running {
            running.scheduler.halt();
        }
        self.collect_rest(chain, source);
        self.park();
        let waiting: Vec<_> = self.in_flight.drain(..).collect();
        if !waiting.is_empty() {
            source.returned(waiting);
        }
    }

    fn collect_rest(&mut self, chain: &Chain, source: &dyn TransactionSource) {
        let Some((running, taken)) = &mut self.running else { return };
        let results = running.extract_execution_outputs(*taken);
        *taken += results.len();
        if !results.is_empty() {
            self.show(chain, source, results);
        }
    }

    /// Takes results into the block and shows it; then tells of each: whoever hears of a transaction finds it in the open block.
    fn show(
        &mut self,
        chain: &Chain,
        source: &dyn TransactionSource,
        results: Vec<TransactionExecutorResult<TransactionExecutionOutput>>,
    ) {
        let told: Vec<_> = results.into_iter().filter_map(|result| self.take_in(source, result)).collect();
        chain.publish(self.shown.clone());
        for (hash, notice) in told {
            source.executed(hash);
            chain.notify(notice);
        }
    }

    /// Stops execution without taking anything in.
    fn abort(&mut self) {
        if let Some((running, _)) = self.running.take() {
            running.scheduler.halt();
        }
    }

    /// Everything of this block back to the source, in order, and the block out of sight.
    fn hand_back(&mut self, chain: &Chain, source: &dyn TransactionSource) {
        let all: Vec<_> = self.included.drain(..).chain(self.in_flight.drain(..)).collect();
        if !all.is_empty() {
            source.returned(all);
            chain.notify(Notice::Cancelled(self.info.block_number));
        }
        chain.publish(chain.empty_on_head(self.info.block_timestamp));
    }

    /// Finalises the stopped block and completes it with tries, commitments, hash and signature.
    fn finish(&mut self, chain: &Chain) -> Result<Arc<Staged>, ChainError> {
        let started = Instant::now();
        let summary = self.executor.finalize().map_err(|error| ChainError::Execution(error.to_string()))?;
        let finalized = started.elapsed();
        let classes: Vec<_> = self.shown.declared().iter().map(|class| Arc::clone(&class.declared)).collect();
        let declared = |class: &ClassHash| classes.iter().any(|known| known.hash() == *class);
        let diff = net_diff(summary.state_diff, &self.base, declared)?;
        let staged = chain.complete(
            self.opening.slot,
            &self.info,
            self.shown.transactions(),
            diff,
            classes,
            self.included.clone(),
        )?;
        tracing::debug!(
            block = self.info.block_number.0,
            finalize_us = finalized.as_micros() as u64,
            complete_us = (started.elapsed() - finalized).as_micros() as u64,
            "completed"
        );
        Ok(staged)
    }
}

/// The hash that becomes readable in a block.
pub(crate) fn old_block_hash(chain: &Chain, number: BlockNumber) -> Result<Option<BlockHashAndNumber>, ChainError> {
    let Some(old) = number.0.checked_sub(BLOCK_HASH_LAG).map(BlockNumber) else { return Ok(None) };
    let header = chain.header(At::Number(old))?;
    let header = header.ok_or_else(|| ChainError::Storage(format!("block {old} is not in the tables")))?;
    Ok(Some(BlockHashAndNumber { number: old, hash: header.hash }))
}

/// A transaction as the workers take it.
pub(crate) fn executable(transaction: &ApiTransaction, fees: bool) -> BlockifierTransaction {
    match transaction {
        ApiTransaction::Account(account) => {
            let flags =
                ExecutionFlags { only_query: false, charge_fee: fees, validate: true, strict_nonce_check: true };
            BlockifierTransaction::Account(AccountTransaction { tx: account.clone(), execution_flags: flags })
        }
        ApiTransaction::L1Handler(handler) => BlockifierTransaction::L1Handler(handler.clone()),
    }
}

/// A transaction with its outcome, as the chain keeps it.
pub(crate) fn executed(transaction: &ApiTransaction, execution: &TransactionExecutionInfo) -> ExecutedTransaction {
    let (transaction, paid_fee_on_l1, deployed, hash) = match transaction {
        ApiTransaction::Account(account) => {
            let deployed = match account {
                ApiAccountTransaction::DeployAccount(tx) => Some(tx.contract_address),
                ApiAccountTransaction::Declare(_) | ApiAccountTransaction::Invoke(_) => None,
            };
            let plain = match account {
                ApiAccountTransaction::Declare(tx) => Transaction::Declare(tx.tx.clone()),
                ApiAccountTransaction::DeployAccount(tx) => Transaction::DeployAccount(tx.tx.clone()),
                ApiAccountTransaction::Invoke(tx) => Transaction::Invoke(tx.tx.clone()),
            };
            (plain, Fee(0), deployed, account.tx_hash())
        }
        ApiTransaction::L1Handler(tx) => (Transaction::L1Handler(tx.tx.clone()), tx.paid_fee_on_l1, None, tx.tx_hash),
    };
    let output = execution.output_for_hashing();
    let revert_reason = execution.revert_error.as_ref().map(ToString::to_string);
    let deployed = deployed.filter(|_| revert_reason.is_none());
    let outcome = Outcome {
        // What was reckoned is not always paid: with fees off nothing is transferred.
        fee: execution.fee_transfer_call_info.as_ref().map_or(Fee(0), |_| output.actual_fee),
        gas: output.gas_consumed,
        data_gas: execution.receipt.da_gas,
        events: output.events,
        messages: output.messages_sent,
        revert_reason,
        deployed,
    };
    ExecutedTransaction { hash, transaction, paid_fee_on_l1, outcome }
}

/// The class that a DECLARE brought in, ready to run.
fn declared(ready: &ReadyTransaction, block: BlockNumber) -> Option<Arc<CachedClass>> {
    let class = ready.class.as_ref()?;
    match class.runnable() {
        Ok(runnable) => Some(Arc::new(CachedClass { declared: Arc::clone(class), declared_in: block, runnable })),
        Err(error) => {
            tracing::error!(class = %class.hash(), %error, "a class that executed cannot be made ready");
            None
        }
    }
}

fn reason(error: &TransactionExecutorError) -> String {
    error.to_string()
}

/// Splits the executor's diff by what it means for contracts and classes.
pub(crate) fn net_diff(
    diff: CommitmentStateDiff,
    base: &StateView,
    declared: impl Fn(&ClassHash) -> bool,
) -> Result<StateDiff, ChainError> {
    let mut net = StateDiff::default();
    for (address, slots) in diff.storage_updates {
        if !slots.is_empty() {
            net.storage.insert(address, slots.into_iter().collect::<std::collections::BTreeMap<_, Felt>>());
        }
    }
    net.nonces = diff.address_to_nonce.into_iter().collect();
    for (address, class) in diff.address_to_class_hash {
        let contracts = if base.is_deployed(address)? { &mut net.replaced } else { &mut net.deployed };
        contracts.insert(address, class);
    }
    for (class, compiled) in diff.class_hash_to_compiled_class_hash {
        let classes = if declared(&class) { &mut net.declared } else { &mut net.migrated };
        classes.insert(class, compiled);
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use starknet_api::transaction::L1HandlerTransaction;

    use super::*;
    use crate::config::{BouncerProfile, ChainConfig, GasPriceConfig, GenesisSource};

    /// One message to a contract that does not exist, offered until it is rejected.
    #[derive(Default)]
    struct One {
        doorbell: Arc<Doorbell>,
        given: AtomicUsize,
        rejected: AtomicUsize,
    }

    impl TransactionSource for One {
        fn take(&self, _: usize) -> Vec<Arc<ReadyTransaction>> {
            if self.given.fetch_max(1, Ordering::SeqCst) == 1 {
                return Vec::new();
            }
            let handler = starknet_api::executable_transaction::L1HandlerTransaction {
                tx: L1HandlerTransaction { contract_address: ContractAddress::from(9u128), ..Default::default() },
                tx_hash: TransactionHash(Felt::ONE),
                paid_fee_on_l1: Fee(1),
            };
            vec![Arc::new(ReadyTransaction { transaction: ApiTransaction::L1Handler(handler), class: None })]
        }

        fn doorbell(&self) -> Arc<Doorbell> {
            Arc::clone(&self.doorbell)
        }

        fn executed(&self, _: TransactionHash) {}

        fn rejected(&self, _: TransactionHash, _: &str) {
            self.rejected.fetch_add(1, Ordering::SeqCst);
        }

        fn returned(&self, transactions: Vec<Arc<ReadyTransaction>>) {
            assert_eq!(transactions.len(), 1);
            self.given.store(0, Ordering::SeqCst);
        }

        fn included(&self, _: BlockNumber, _: &[TransactionHash]) {}
    }

    fn chain(folder: &std::path::Path) -> Chain {
        let price = starknet_api::block::NonzeroGasPrice::MIN;
        let config = ChainConfig {
            chain_id: starknet_api::core::ChainId::Other("SN_TEST".into()),
            protocol: starknet_api::block::StarknetVersion::V0_14_3,
            bouncer: BouncerProfile::Dev,
            fees: true,
            gas_prices: GasPriceConfig {
                l1_wei: price,
                l1_fri: price,
                l1_data_wei: price,
                l1_data_fri: price,
                l2_wei: price,
                l2_fri: price,
            },
            sequencer_address: ContractAddress::from(1u128),
            blob_data: true,
            workers: 2,
            call_max_steps: 1_000_000,
            call_max_gas: 100_000_000,
            signing_key: Felt::ONE,
            genesis: GenesisSource::Dev { accounts: 0, seed: 0, balance: 0 },
            cache_bytes: 16 << 20,
        };
        Chain::open(folder, config).unwrap()
    }

    #[test]
    fn a_worker_that_panics_costs_no_transaction_and_no_block() {
        let folder = tempfile::tempdir().unwrap();
        let chain = chain(folder.path());
        let source = Arc::new(One::default());
        let mut worker = Worker {
            workers: Workers::start(2),
            chain: chain.clone(),
            source: Arc::clone(&source) as Arc<dyn TransactionSource>,
            commands: Arc::default(),
            doorbell: source.doorbell(),
            open: None,
            careful: 0,
        };
        let opening = Opening {
            build: BuildId::new(1),
            slot: Slot::new(1),
            timestamp: BlockTimestamp(1_800_000_000),
            use_pool: true,
        };
        worker.open(opening).unwrap();
        // A transaction that the scheduler knows of and nobody holds: the worker that gets it panics.
        let open = worker.open.as_mut().unwrap();
        open.unpark(&worker.workers).scheduler.new_tx(0);
        let until = Instant::now() + Duration::from_secs(60);
        while worker.careful == 0 {
            assert!(Instant::now() < until, "the panic went unnoticed");
            worker.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(worker.workers.sound());
        while source.rejected.load(Ordering::SeqCst) == 0 && worker.open.as_ref().unwrap().included.is_empty() {
            assert!(Instant::now() < until, "the transaction is gone");
            worker.turn();
        }
        let open = worker.open.take().unwrap();
        assert!(worker.seal(open, true).unwrap().is_some());
        worker.workers.end();
    }
}
