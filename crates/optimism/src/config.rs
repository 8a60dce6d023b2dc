//! The configuration of one chain: what every node of it must agree on.
//!
//! Sources: op-node `rollup/types.go` for the meaning and the keys,
//! <https://specs.optimism.io/protocol/configurability.html>.

mod check;
mod reading;
mod registry;
mod rollup_json;

use alloy_eips::eip1559::BaseFeeParams;
use alloy_primitives::Address;
use types::{Drift, Millis, Timestamp};

pub use check::{ConfigError, Fault};
pub use registry::CONFIG_BYTES_MAX;

use crate::{BlockId, Fork, Forks, SystemConfig};

/// How long a block may run ahead of its L1 origin from Fjord on, in seconds (spec `fjord/derivation.md`).
pub const FJORD_DRIFT_MAX: u64 = 1800;
/// How many L1 blocks a channel may take from Granite on (spec `granite/derivation.md`).
pub const GRANITE_CHANNEL_TIMEOUT: u64 = 50;
/// How many L1 blocks a channel may take before Granite on every registered chain.
pub const BEDROCK_CHANNEL_TIMEOUT: u64 = 300;

/// What every node of a chain must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupConfig {
    /// The chain underneath.
    pub l1_chain_id: u64,
    /// The rollup itself.
    pub l2_chain_id: u64,
    /// Where the rollup begins.
    pub genesis: Genesis,
    /// Seconds between blocks, at least 1.
    pub block_time: u64,
    /// Before Fjord: how many seconds a block may run ahead of its L1 origin. See
    /// [`RollupConfig::max_sequencer_drift`].
    pub bedrock_sequencer_drift: u64,
    /// How many L1 blocks, the origin included, batches for an epoch may take. At least 2.
    pub sequencing_window: u64,
    /// Before Granite: how many L1 blocks a channel may take. See [`RollupConfig::channel_timeout`].
    pub bedrock_channel_timeout: u64,
    /// When it takes which fork.
    pub forks: Forks,
    /// Until this L1 time the blob fee is computed as before Prague; `None` on chains that never missed Prague's
    /// schedule (spec `pectra-blob-schedule/derivation.md`).
    pub pectra_blob_schedule_time: Option<u64>,
    /// The chain has kept the gas that Karst's bundle added to the limit (op-node, `keep_karst_upgrade_gas`).
    pub keep_karst_upgrade_gas: bool,
    /// The L1 address that batches are sent to.
    pub batch_inbox: Address,
    /// The L1 contract whose logs are deposits.
    pub deposit_contract: Address,
    /// The L1 contract whose logs change the [`SystemConfig`].
    pub l1_system_config: Address,
    /// How the base fee follows demand where no block says so itself.
    pub fees: FeeParams,
    /// Where batches are, if L1 holds only commitments to them.
    pub alt_da: Option<AltDa>,
}

/// The first block of a rollup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genesis {
    /// The L1 block after which the rollup begins.
    pub l1: BlockId,
    /// The rollup's first block.
    pub l2: BlockId,
    /// The first block's time: seconds since the Unix epoch.
    pub l2_time: u64,
    /// What holds until L1 changes it.
    pub system_config: SystemConfig,
}

/// How the base fee follows demand (EIP-1559).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeParams {
    /// The block gas limit divided by the target.
    pub elasticity: u32,
    /// The largest change a block is one part in this many.
    pub denominator: u32,
    /// The same from Canyon on.
    pub denominator_canyon: u32,
}

impl Default for FeeParams {
    /// Those of OP Mainnet.
    fn default() -> Self {
        Self { elasticity: 6, denominator: 50, denominator_canyon: 250 }
    }
}

/// Data outside L1, named there by commitments (spec `experimental/alt-da.md`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AltDa {
    /// The L1 contract where missing data is challenged; `None` for commitments that are not challenged there.
    pub challenge_contract: Option<Address>,
    /// `KeccakCommitment` or `GenericCommitment`.
    pub commitment_type: String,
    /// L1 blocks in which a challenge may be made.
    pub challenge_window: u64,
    /// L1 blocks in which a challenge may be answered.
    pub resolve_window: u64,
}

/// A configuration, and what its text says beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The configuration, whole and checked.
    pub config: RollupConfig,
    /// Keys that mean nothing here, by their path. A newer program may know them; a typing error ends here too.
    pub unknown: Vec<String>,
}

impl Reading {
    /// The configuration, if its text says nothing beyond it.
    ///
    /// # Errors
    /// With every key that means nothing.
    pub fn strict(self) -> Result<RollupConfig, ConfigError> {
        if self.unknown.is_empty() { Ok(self.config) } else { Err(ConfigError::unknown_keys(self.unknown)) }
    }
}

impl RollupConfig {
    /// Do the fork's rules hold for a block of this time?
    pub fn is_active(&self, fork: Fork, time: u64) -> bool {
        self.forks.is_active(fork, time)
    }

    /// Is a block at `time` on a parent at `parent_time` the first under the fork's rules?
    pub fn activates(&self, fork: Fork, parent_time: u64, time: u64) -> bool {
        self.forks.activates(fork, parent_time, time)
    }

    /// The same for a block whose parent is not at hand: blocks come every [`block_time`](Self::block_time) seconds.
    pub fn is_activation_block(&self, fork: Fork, time: u64) -> bool {
        time.checked_sub(self.block_time).is_some_and(|parent_time| self.activates(fork, parent_time, time))
    }

    /// How many seconds a block may run ahead of an L1 origin of this time.
    pub fn max_sequencer_drift(&self, l1_time: u64) -> u64 {
        if self.is_active(Fork::Fjord, l1_time) { FJORD_DRIFT_MAX } else { self.bedrock_sequencer_drift }
    }

    /// The same rule as plain numbers, for the choice of L1 origins.
    pub fn drift(&self) -> Drift {
        let seconds = |seconds: u64| Millis::new(seconds.saturating_mul(1000));
        Drift {
            bedrock: seconds(self.bedrock_sequencer_drift),
            fjord: seconds(FJORD_DRIFT_MAX),
            fjord_begins: self.forks.time(Fork::Fjord).map(Timestamp::from_secs),
        }
    }

    /// How many L1 blocks a channel may take that is read at an L1 block of this time.
    pub fn channel_timeout(&self, l1_time: u64) -> u64 {
        if self.is_active(Fork::Granite, l1_time) { GRANITE_CHANNEL_TIMEOUT } else { self.bedrock_channel_timeout }
    }

    /// How the base fee follows demand in a block of this time that says nothing itself.
    pub fn base_fee_params(&self, time: u64) -> BaseFeeParams {
        let FeeParams { elasticity, denominator, denominator_canyon } = self.fees;
        let denominator = if self.is_active(Fork::Canyon, time) { denominator_canyon } else { denominator };
        BaseFeeParams::new(denominator.into(), elasticity.into())
    }

    /// The time of the block at this height; `None` below genesis or beyond representable time.
    pub fn time_of(&self, number: u64) -> Option<u64> {
        let above = number.checked_sub(self.genesis.l2.number)?;
        above.checked_mul(self.block_time)?.checked_add(self.genesis.l2_time)
    }

    /// The height of the newest block that may exist at this time; `None` before genesis.
    pub fn number_at(&self, time: u64) -> Option<u64> {
        let since = time.checked_sub(self.genesis.l2_time)?;
        since.checked_div(self.block_time)?.checked_add(self.genesis.l2.number)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloy_primitives::{address, b256};

    use super::*;

    /// A chain with a block every two seconds from 1000 on, and these forks.
    pub(crate) fn chain(forks: Forks) -> RollupConfig {
        RollupConfig {
            l1_chain_id: 900,
            l2_chain_id: 901,
            genesis: Genesis {
                l1: BlockId {
                    number: 10,
                    hash: b256!("0x1010101010101010101010101010101010101010101010101010101010101010"),
                },
                l2: BlockId {
                    number: 0,
                    hash: b256!("0x2020202020202020202020202020202020202020202020202020202020202020"),
                },
                l2_time: 1000,
                system_config: SystemConfig { gas_limit: 30_000_000, ..SystemConfig::default() },
            },
            block_time: 2,
            bedrock_sequencer_drift: 600,
            sequencing_window: 3600,
            bedrock_channel_timeout: BEDROCK_CHANNEL_TIMEOUT,
            forks,
            pectra_blob_schedule_time: None,
            keep_karst_upgrade_gas: false,
            batch_inbox: address!("0xff00000000000000000000000000000000000901"),
            deposit_contract: address!("0x00000000000000000000000000000000000dea11"),
            l1_system_config: address!("0x00000000000000000000000000000000000c0f19"),
            fees: FeeParams::default(),
            alt_da: None,
        }
    }

    #[test]
    fn limits_follow_the_time_of_the_l1_origin() {
        let config = chain(Forks::from_genesis(Fork::Ecotone).with(Fork::Fjord, 2000).with(Fork::Granite, 3000));
        assert_eq!([1999, 2000].map(|time| config.max_sequencer_drift(time)), [600, 1800]);
        let plain = [1999, 2000].map(|time| config.drift().max(Timestamp::from_secs(time)).as_u64());
        assert_eq!(plain, [600_000, 1_800_000], "the same in plain numbers");
        assert_eq!([2999, 3000].map(|time| config.channel_timeout(time)), [300, 50]);
    }

    #[test]
    fn heights_and_times_are_one_line() {
        let mut config = chain(Forks::default());
        config.genesis.l2.number = 7;
        assert_eq!([6, 7, 9].map(|number| config.time_of(number)), [None, Some(1000), Some(1004)]);
        assert_eq!([999, 1000, 1003, 1004].map(|time| config.number_at(time)), [None, Some(7), Some(8), Some(9)]);
        assert_eq!(config.time_of(u64::MAX), None, "beyond time");
    }

    #[test]
    fn the_first_block_under_a_fork_is_known_without_its_parent() {
        let config = chain(Forks::from_genesis(Fork::Delta).with(Fork::Ecotone, 1003));
        let first = [1000, 1002, 1004, 1006].map(|time| config.is_activation_block(Fork::Ecotone, time));
        assert_eq!(first, [false, false, true, false]);
        assert!(!config.is_activation_block(Fork::Delta, 1), "no block lies so near to the beginning of time");
    }

    #[test]
    fn the_base_fee_is_slower_from_canyon_on() {
        let config = chain(Forks::from_genesis(Fork::Regolith).with(Fork::Canyon, 1010));
        assert_eq!(config.base_fee_params(1009), BaseFeeParams::new(50, 6));
        assert_eq!(config.base_fee_params(1010), BaseFeeParams::new(250, 6));
    }
}
