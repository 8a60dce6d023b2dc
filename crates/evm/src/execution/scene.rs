//! One block's environment and state, with whatever a request overrides, to execute on without consequence.

use std::time::Instant;

use alloy_consensus::Header;
use alloy_evm::block::SystemCaller;
use alloy_evm::eth::EthEvmContext;
use alloy_evm::overrides::{apply_block_overrides, apply_state_overrides};
use alloy_evm::rpc::TryIntoTxEnv;
use alloy_evm::{EthEvmFactory, Evm, EvmEnv, EvmFactory};
use alloy_op_evm::{OpEvmContext, OpEvmFactory, OpTx};
use alloy_primitives::{Address, Bytes};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_eth::state::{AccountOverride, EvmOverrides};
use op_revm::{OpHaltReason, OpSpecId, OpTransaction};
use revm::Inspector;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, ResultAndState};
use revm::database::CacheDB;

use super::Limits;
use super::error::{self, ExecutionError};
use super::watch::{Excess, Recorded, Watch};
use crate::block::SealedHeader;
use crate::execute::{self, BlockAttributes};
use crate::{At, Chain, ChainError, StateView};

/// The state of a block and what was executed on it since, in memory.
pub(super) type Sketch = CacheDB<StateView>;
/// What an execution came to, on either kind of chain.
pub(super) type Outcome = ResultAndState<OpHaltReason>;

/// Watches executions on either kind of chain.
pub(super) trait Onlooker:
    for<'a> Inspector<EthEvmContext<&'a mut Sketch>> + for<'a> Inspector<OpEvmContext<&'a mut Sketch>>
{
}

impl<I> Onlooker for I where
    I: for<'a> Inspector<EthEvmContext<&'a mut Sketch>> + for<'a> Inspector<OpEvmContext<&'a mut Sketch>>
{
}

pub(super) struct Scene {
    pub(super) database: Sketch,
    pub(super) environment: EvmEnv,
    /// The rules of the OP Stack that hold, on a chain of it.
    rollup: Option<OpSpecId>,
    /// Precompiled contracts that are elsewhere: from where, and to where.
    moved: Vec<(Address, Address)>,
    limits: Limits,
    deadline: Instant,
}

impl Scene {
    /// The scene at the end of a block, for a request: as if it were executed in that block, after all others.
    pub(super) fn new(
        chain: &Chain,
        at: At,
        overrides: EvmOverrides,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Self, ExecutionError> {
        let state = chain.state(at)?.ok_or(ExecutionError::BlockUnknown)?;
        let header = state.header().clone();
        let mut scene = Self::replay(chain, &header, state, limits, deadline);
        scene.loosen();
        scene.override_with(overrides)?;
        Ok(scene)
    }

    /// A scene for transactions in the block of `header`, under all rules that hold for them there.
    pub(super) fn replay(
        chain: &Chain,
        header: &SealedHeader,
        state: StateView,
        limits: Limits,
        deadline: Instant,
    ) -> Self {
        let (environment, rollup) = (chain.environment(header), chain.spec().rollup_fork(header.timestamp));
        Self { database: CacheDB::new(state), environment, rollup, moved: Vec::new(), limits, deadline }
    }

    /// A scene for transactions in a block on `parent` that is not there yet.
    pub(super) fn next(
        chain: &Chain,
        parent: &SealedHeader,
        attributes: &BlockAttributes,
        database: Sketch,
        limits: Limits,
        deadline: Instant,
    ) -> Self {
        let environment = execute::environment(chain.spec(), parent, attributes);
        let rollup = chain.spec().rollup_fork(attributes.timestamp);
        Self { database, environment, rollup, moved: Vec::new(), limits, deadline }
    }

    /// Makes the calls with which the block of `header` begins.
    pub(super) fn begin_block(&mut self, chain: &Chain, header: &Header) -> Result<(), ExecutionError> {
        // They are the same on either kind of chain.
        let mut evm = EthEvmFactory::default().create_evm(&mut self.database, self.environment.clone());
        let made = SystemCaller::new(chain.spec()).apply_pre_execution_changes(header, &mut evm);
        Ok(made.map_err(|error| ChainError::Execution(error.to_string()))?)
    }

    /// Drops the rules that a request need not keep: it carries no signature and uses no nonce up, may come from a contract, and may have
    /// more gas than a block.
    pub(super) fn loosen(&mut self) {
        let rules = &mut self.environment.cfg_env;
        rules.disable_nonce_check = true;
        rules.disable_eip3607 = true;
        rules.disable_block_gas_limit = true;
        rules.tx_gas_limit_cap = Some(u64::MAX);
    }

    pub(super) fn override_with(&mut self, overrides: EvmOverrides) -> Result<(), ExecutionError> {
        if let Some(block) = overrides.block {
            let blobs = self.environment.block_env.blob_excess_gas_and_price.as_mut();
            if let Some((price, fee)) = blobs.zip(block.blob_base_fee) {
                price.blob_gasprice = fee.saturating_to();
            }
            apply_block_overrides(*block, &mut self.database, &mut self.environment.block_env);
        }
        let Some(state) = overrides.state else { return Ok(()) };
        let moved = |(from, account): (&Address, &AccountOverride)| Some((*from, account.move_precompile_to?));
        self.moved.extend(state.iter().filter_map(moved));
        Ok(apply_state_overrides(state, &mut self.database)?)
    }

    /// The transaction that a request means. Without a price it is free, and then the block's base fee is zero as well, as in geth.
    pub(super) fn transaction(&mut self, request: TransactionRequest) -> Result<TxEnv, ExecutionError> {
        let own_nonce = request.nonce;
        let mut transaction = request.try_into_tx_env(&self.environment)?;
        transaction.gas_limit = transaction.gas_limit.min(self.limits.gas);
        if own_nonce.is_none() {
            transaction.nonce = self.nonce(transaction.caller)?;
        }
        if transaction.gas_price == 0 {
            self.environment.block_env.basefee = 0;
        }
        Ok(transaction)
    }

    pub(super) fn nonce(&mut self, account: Address) -> Result<u64, ExecutionError> {
        Ok(revm::Database::basic(&mut self.database, account)?.map_or(0, |account| account.nonce))
    }

    /// Executes without keeping what it changed. Whatever the inspector saw comes back with the outcome.
    pub(super) fn run<I: Onlooker>(
        &mut self,
        transaction: OpTx,
        recorded: Recorded,
        inspector: I,
    ) -> Result<(Outcome, I), ExecutionError> {
        let (sender, limits) = (transaction.0.base.caller, self.limits);
        let inspectors = (Watch::new(self.deadline, recorded, limits.trace_bytes), inspector);
        let environment = self.environment.clone();
        let (outcome, (watch, inspector)) = match self.rollup {
            Some(fork) => {
                let environment = execute::on_rollup(environment, fork);
                let factory = OpEvmFactory::<OpTx>::default();
                let mut evm = factory.create_evm_with_inspector(&mut self.database, environment, inspectors);
                evm.precompiles_mut().move_precompiles(self.moved.iter().copied())?;
                let outcome = evm.transact_raw(transaction).map_err(|fault| error::machine(fault, sender));
                (outcome, evm.into_inner().0.inspector)
            }
            None => {
                let factory = EthEvmFactory::default();
                let mut evm = factory.create_evm_with_inspector(&mut self.database, environment, inspectors);
                evm.precompiles_mut().move_precompiles(self.moved.iter().copied())?;
                let outcome = evm.transact_raw(transaction.0.base).map_err(|fault| error::machine(fault, sender));
                let outcome = outcome.map(|ResultAndState { result, state }| ResultAndState {
                    result: result.map_haltreason(OpHaltReason::Base),
                    state,
                });
                (outcome, evm.into_inner().inspector)
            }
        };
        match watch.excess() {
            Some(Excess::Time) => Err(ExecutionError::Timeout(limits.time)),
            Some(Excess::Bytes) => Err(ExecutionError::TooLarge(limits.trace_bytes)),
            None => Ok((outcome?, inspector)),
        }
    }

    /// [`Scene::run`] of a call, with nothing recorded.
    pub(super) fn execute(&mut self, transaction: TxEnv) -> Result<Outcome, ExecutionError> {
        let (outcome, _) = self.run(call(transaction), Recorded::default(), revm::inspector::NoOpInspector {})?;
        Ok(outcome)
    }
}

/// A call: what is never published costs nothing on L1.
pub(super) fn call(transaction: TxEnv) -> OpTx {
    OpTx(OpTransaction { enveloped_tx: Some(Bytes::new()), ..OpTransaction::new(transaction) })
}

/// What the execution returned, or why it did not.
pub(super) fn output(result: ExecutionResult<OpHaltReason>) -> Result<Bytes, ExecutionError> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(ExecutionError::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(error::halt(&reason)),
    }
}
