//! One block's environment and state, with whatever a request overrides, to execute on without consequence.

use std::time::Instant;

use alloy_evm::eth::EthEvmContext;
use alloy_evm::overrides::{apply_block_overrides, apply_state_overrides};
use alloy_evm::rpc::TryIntoTxEnv;
use alloy_evm::{EthEvmFactory, Evm, EvmEnv, EvmFactory};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_eth::state::EvmOverrides;
use revm::Inspector;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, ResultAndState};
use revm::database::CacheDB;

use super::Limits;
use super::error::{self, ExecutionError};
use super::watch::{Excess, Recorded, Watch};
use crate::{At, Chain, StateView};

/// The state of a block and what was executed on it since, in memory.
pub(super) type Sketch = CacheDB<StateView>;

pub(super) struct Scene {
    pub(super) database: Sketch,
    pub(super) environment: EvmEnv,
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
        let environment = chain.environment(state.header());
        let mut scene = Self { database: CacheDB::new(state), environment, limits, deadline };
        scene.loosen();
        scene.override_with(overrides)?;
        Ok(scene)
    }

    /// A scene of transactions that were executed before, under the rules that held for them.
    pub(super) fn replay(state: StateView, environment: EvmEnv, limits: Limits, deadline: Instant) -> Self {
        Self { database: CacheDB::new(state), environment, limits, deadline }
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
            apply_block_overrides(*block, &mut self.database, &mut self.environment.block_env);
        }
        match overrides.state {
            Some(state) => Ok(apply_state_overrides(state, &mut self.database)?),
            None => Ok(()),
        }
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

    fn nonce(&mut self, account: alloy_primitives::Address) -> Result<u64, ExecutionError> {
        Ok(revm::Database::basic(&mut self.database, account)?.map_or(0, |account| account.nonce))
    }

    /// Executes without keeping what it changed. Whatever the inspector saw comes back with the outcome.
    pub(super) fn run<I>(
        &mut self,
        transaction: TxEnv,
        recorded: Recorded,
        inspector: I,
    ) -> Result<(ResultAndState, I), ExecutionError>
    where
        I: for<'a> Inspector<EthEvmContext<&'a mut Sketch>>,
    {
        let (sender, limits) = (transaction.caller, self.limits);
        let watch = Watch::new(self.deadline, recorded, limits.trace_bytes);
        let inspectors = (watch, inspector);
        let environment = self.environment.clone();
        let mut evm = EthEvmFactory::default().create_evm_with_inspector(&mut self.database, environment, inspectors);
        let outcome = evm.transact_raw(transaction);
        let (watch, inspector) = evm.into_inner().inspector;
        match watch.excess() {
            Some(Excess::Time) => Err(ExecutionError::Timeout(limits.time)),
            Some(Excess::Bytes) => Err(ExecutionError::TooLarge(limits.trace_bytes)),
            None => Ok((outcome.map_err(|fault| error::machine(fault, sender))?, inspector)),
        }
    }

    /// [`Scene::run`] with nothing recorded.
    pub(super) fn execute(&mut self, transaction: TxEnv) -> Result<ResultAndState, ExecutionError> {
        let (outcome, _) = self.run(transaction, Recorded::default(), revm::inspector::NoOpInspector {})?;
        Ok(outcome)
    }
}

/// What the execution returned, or why it did not.
pub(super) fn output(result: ExecutionResult) -> Result<alloy_primitives::Bytes, ExecutionError> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(ExecutionError::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(error::halt(&reason)),
    }
}
