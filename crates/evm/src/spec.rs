//! Which rules hold when: the forks of a chain, out of the `config` of its genesis file.

use alloy_consensus::Header;
use alloy_eips::eip1559::BaseFeeParams;
use alloy_eips::eip7840::BlobParams;
use alloy_evm::eth::spec::EthExecutorSpec;
use alloy_genesis::ChainConfig;
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_op_hardforks::{OpHardfork, OpHardforks};
use alloy_primitives::{Address, U256};
use op_revm::OpSpecId;

use crate::ChainError;
use crate::rollup::Rollup;

/// Key in a genesis file's `config` by which a chain is for development.
const DEVELOPMENT: &str = "sequenza.development";

/// The rules of one chain by block and time.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    config: ChainConfig,
    rollup: Option<Rollup>,
}

impl ChainSpec {
    /// The rules that a genesis file's `config` asks for.
    ///
    /// # Errors
    /// [`ChainError::Genesis`] for rules that this version does not execute (forks after Osaka and Karst, chains from before the merge or before
    /// Bedrock), and for an OP Stack chain whose forks are not in order.
    pub fn new(config: ChainConfig) -> Result<Self, ChainError> {
        if let Some(rollup) = Rollup::read(&config)? {
            return Ok(Self { config, rollup: Some(rollup) });
        }
        let later = [("amsterdamTime", config.amsterdam_time), ("bogotaTime", config.bogota_time)];
        if let Some((key, _)) = later.iter().find(|(_, time)| time.is_some()) {
            return Err(ChainError::Genesis(format!("config.{key}: forks after Osaka are not known to this version")));
        }
        if config.cancun_time.is_none() || config.terminal_total_difficulty.is_none_or(|total| total > U256::ZERO) {
            return Err(ChainError::Genesis(
                "config: a chain that is sequenced needs the rules of Cancun from its first block on: set terminalTotalDifficulty to 0, shanghaiTime and cancunTime"
                    .into(),
            ));
        }
        Ok(Self { config, rollup: None })
    }

    /// The rules of a development chain: all of Osaka from the first block on.
    pub fn dev(chain_id: u64) -> ChainConfig {
        let from_the_first = Some(0);
        let mut extra_fields = alloy_serde::OtherFields::default();
        extra_fields.insert(DEVELOPMENT.to_owned(), true.into());
        ChainConfig {
            extra_fields,
            chain_id,
            homestead_block: from_the_first,
            eip150_block: from_the_first,
            eip155_block: from_the_first,
            eip158_block: from_the_first,
            byzantium_block: from_the_first,
            constantinople_block: from_the_first,
            petersburg_block: from_the_first,
            istanbul_block: from_the_first,
            berlin_block: from_the_first,
            london_block: from_the_first,
            shanghai_time: from_the_first,
            cancun_time: from_the_first,
            prague_time: from_the_first,
            osaka_time: from_the_first,
            terminal_total_difficulty: Some(U256::ZERO),
            terminal_total_difficulty_passed: true,
            ..ChainConfig::default()
        }
    }

    /// Whether the chain is for development: its genesis says so, by the key `sequenza.development` in `config`.
    pub fn is_development(&self) -> bool {
        self.config.extra_fields.get(DEVELOPMENT).is_some_and(|value| value.as_bool() == Some(true))
    }

    /// EIP-155 chain id.
    pub fn chain_id(&self) -> u64 {
        self.config.chain_id
    }

    /// Whether the chain is one of the OP Stack.
    pub fn is_rollup(&self) -> bool {
        self.rollup.is_some()
    }

    /// What the OP Stack adds to the rules, on a chain of it.
    pub(crate) fn rollup(&self) -> Option<&Rollup> {
        self.rollup.as_ref()
    }

    /// The newest fork of the OP Stack at a time; `None` on other chains.
    pub(crate) fn rollup_fork(&self, timestamp: u64) -> Option<OpSpecId> {
        self.rollup.is_some().then(|| alloy_op_evm::spec_by_timestamp_after_bedrock(self, timestamp))
    }

    /// The base fee in wei of a block at `timestamp` on `parent` (EIP-1559, with the OP Stack's parameters on a chain of it).
    pub fn next_base_fee(&self, parent: &Header, timestamp: u64) -> u64 {
        match &self.rollup {
            Some(rollup) => rollup.next_base_fee(parent, timestamp),
            None => parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default(),
        }
    }

    /// Bounds and prices of blobs at a time; `None` before Cancun. Of no meaning on a chain of the OP Stack, which has no blobs.
    pub fn blob_params(&self, timestamp: u64) -> Option<BlobParams> {
        let (config, scheduled) = (&self.config, self.config.blob_schedule_blob_params());
        let active = |time: Option<u64>| time.is_some_and(|time| timestamp >= time);
        if !active(config.cancun_time) {
            return None;
        }
        let later = scheduled.active_scheduled_params_at_timestamp(timestamp).copied();
        Some(later.unwrap_or_else(|| {
            if active(config.osaka_time) {
                scheduled.osaka
            } else if active(config.prague_time) {
                scheduled.prague
            } else {
                scheduled.cancun
            }
        }))
    }
}

impl EthereumHardforks for ChainSpec {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        if let Some(rollup) = &self.rollup {
            return on_rollup(rollup, fork);
        }
        let config = &self.config;
        let block = |block: Option<u64>| block.map_or(ForkCondition::Never, ForkCondition::Block);
        let time = |time: Option<u64>| time.map_or(ForkCondition::Never, ForkCondition::Timestamp);
        match fork {
            EthereumHardfork::Frontier => ForkCondition::Block(0),
            EthereumHardfork::Homestead => block(config.homestead_block),
            EthereumHardfork::Dao => block(config.dao_fork_block.filter(|_| config.dao_fork_support)),
            EthereumHardfork::Tangerine => block(config.eip150_block),
            EthereumHardfork::SpuriousDragon => block(config.eip155_block),
            EthereumHardfork::Byzantium => block(config.byzantium_block),
            EthereumHardfork::Constantinople => block(config.constantinople_block),
            EthereumHardfork::Petersburg => block(config.petersburg_block),
            EthereumHardfork::Istanbul => block(config.istanbul_block),
            EthereumHardfork::MuirGlacier => block(config.muir_glacier_block),
            EthereumHardfork::Berlin => block(config.berlin_block),
            EthereumHardfork::London => block(config.london_block),
            EthereumHardfork::ArrowGlacier => block(config.arrow_glacier_block),
            EthereumHardfork::GrayGlacier => block(config.gray_glacier_block),
            EthereumHardfork::Paris => MERGED,
            EthereumHardfork::Shanghai => time(config.shanghai_time),
            EthereumHardfork::Cancun => time(config.cancun_time),
            EthereumHardfork::Prague => time(config.prague_time),
            EthereumHardfork::Osaka => time(config.osaka_time),
            _ => ForkCondition::Never,
        }
    }
}

/// The merge is behind every chain that is sequenced.
const MERGED: ForkCondition =
    ForkCondition::TTD { activation_block_number: 0, fork_block: Some(0), total_difficulty: U256::ZERO };

/// Ethereum's rules arrive on a chain of the OP Stack with its own forks.
fn on_rollup(rollup: &Rollup, fork: EthereumHardfork) -> ForkCondition {
    match fork {
        EthereumHardfork::Paris => MERGED,
        EthereumHardfork::Shanghai => rollup.activation(OpHardfork::Canyon),
        EthereumHardfork::Cancun => rollup.activation(OpHardfork::Ecotone),
        EthereumHardfork::Prague => rollup.activation(OpHardfork::Isthmus),
        EthereumHardfork::Osaka => rollup.activation(OpHardfork::Karst),
        fork if fork < EthereumHardfork::Paris => ForkCondition::Block(0),
        _ => ForkCondition::Never,
    }
}

impl OpHardforks for ChainSpec {
    fn op_fork_activation(&self, fork: OpHardfork) -> ForkCondition {
        self.rollup.as_ref().map_or(ForkCondition::Never, |rollup| rollup.activation(fork))
    }
}

impl EthExecutorSpec for ChainSpec {
    fn deposit_contract_address(&self) -> Option<Address> {
        self.config.deposit_contract_address
    }
}
