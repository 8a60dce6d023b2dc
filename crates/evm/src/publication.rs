//! What a chain of the OP Stack takes for a transaction's room on L1, at the prices that a block's first transaction wrote down.

use alloy_primitives::U256;
use op_alloy_rpc_types::L1BlockInfo as L1Fields;
use op_revm::{L1BlockInfo, OpSpecId};
use revm::database::WrapDatabaseRef;

use crate::{ChainError, ChainSpec, StateView};

/// The prices of one block.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    prices: L1BlockInfo,
    fork: OpSpecId,
}

impl Publication {
    /// Those at the end of a block; `None` but on a chain of the OP Stack.
    pub(crate) fn read(spec: &ChainSpec, state: &StateView) -> Result<Option<Self>, ChainError> {
        let header = state.header();
        let Some(fork) = spec.rollup_fork(header.timestamp) else { return Ok(None) };
        let prices = L1BlockInfo::try_fetch(&mut WrapDatabaseRef(state), U256::from(header.number), fork)?;
        Ok(Some(Self { prices, fork }))
    }

    /// What a transaction pays beside its gas, in wei.
    pub(crate) fn cost(&self, encoded: &[u8], gas_limit: u64) -> U256 {
        // Its result is remembered for the next look, which may be another transaction's.
        self.prices.clone().tx_cost(encoded, U256::from(gas_limit), self.fork)
    }

    /// Bytes of a transaction on L1, estimated, and the gas that each counts for against the block's; `None` before Jovian.
    pub(crate) fn room(&self, encoded: &[u8]) -> Option<(u64, u16)> {
        let scalar = self.prices.da_footprint_gas_scalar?;
        Some((op_revm::estimate_tx_compressed_size(encoded) / 1_000_000, scalar))
    }

    /// The fields of a transaction's receipt (op-geth `core/types/rollup_cost.go`): those of a fork that is not reached stay away.
    pub(crate) fn fields(&self, encoded: &[u8]) -> L1Fields {
        let Self { prices, fork } = self;
        let ecotone = fork.is_enabled_in(OpSpecId::ECOTONE) && !prices.empty_ecotone_scalars;
        let small = |value: U256| value.saturating_to::<u128>();
        let overhead = prices.l1_fee_overhead.filter(|_| !ecotone).unwrap_or_default();
        let scalar = small(prices.l1_base_fee_scalar);
        L1Fields {
            l1_gas_price: Some(small(prices.l1_base_fee)),
            l1_gas_used: Some(small(prices.data_gas(encoded, *fork).saturating_add(overhead))),
            l1_fee: Some(small(prices.clone().calculate_tx_l1_cost(encoded, *fork))),
            l1_fee_scalar: (!ecotone).then(|| scalar as f64 / 1e6),
            l1_base_fee_scalar: ecotone.then_some(scalar),
            l1_blob_base_fee: prices.l1_blob_base_fee.filter(|_| ecotone).map(small),
            l1_blob_base_fee_scalar: prices.l1_blob_base_fee_scalar.filter(|_| ecotone).map(small),
            operator_fee_scalar: prices.operator_fee_scalar.map(small),
            operator_fee_constant: prices.operator_fee_constant.map(small),
            da_footprint_gas_scalar: prices.da_footprint_gas_scalar,
        }
    }
}
