//! The rules of execution that follow from the configuration: constants, fee tokens, limits of a block.

use std::num::NonZeroU64;

use blockifier::blockifier_versioned_constants::VersionedConstants;
use blockifier::bouncer::{BouncerConfig, BouncerWeights, BuiltinInstanceLimits};
use blockifier::context::{BlockContext, ChainInfo, FeeTokenAddresses};
use starknet_api::block::{BlockInfo, BlockNumber, BlockTimestamp, GasPriceVector, GasPrices};
use starknet_api::execution_resources::GasAmount;
use starknet_api::fee_token_defaults::{ETH_FEE_CONTRACT_ADDRESS, STRK_FEE_CONTRACT_ADDRESS};
use starknet_api::versioned_constants_logic::VersionedConstantsTrait;

use crate::chain::ChainError;
use crate::config::{BouncerProfile, ChainConfig};

/// Transactions of one block in the `dev` profile.
const DEV_TRANSACTIONS_MAX: usize = 5_000;
/// Events of one block in the `dev` profile.
const DEV_EVENTS_MAX: usize = 100_000;
/// Changed slots of one block in the `dev` profile.
const DEV_STATE_DIFF_MAX: usize = 100_000;
/// How many times the public network's gas fits a block in the `dev` profile.
const DEV_GAS_FACTOR: NonZeroU64 = NonZeroU64::new(20).expect("20 is not 0");
/// Message felts of one block in the `dev` profile.
const DEV_MESSAGE_FELTS_MAX: usize = 100_000;

/// What execution is bound by. Made once from the configuration.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: ChainConfig,
    pub(crate) constants: VersionedConstants,
    chain_info: ChainInfo,
    bouncer: BouncerConfig,
}

impl Rules {
    pub(crate) fn new(config: ChainConfig) -> Result<Self, ChainError> {
        let constants = VersionedConstants::get(&config.protocol)
            .map_err(|error| ChainError::Execution(format!("protocol version {}: {error}", config.protocol)))?
            .clone();
        let chain_info = ChainInfo {
            chain_id: config.chain_id.clone(),
            fee_token_addresses: FeeTokenAddresses {
                strk_fee_token_address: *STRK_FEE_CONTRACT_ADDRESS,
                eth_fee_token_address: *ETH_FEE_CONTRACT_ADDRESS,
            },
            is_l3: false,
        };
        let bouncer = bouncer(config.bouncer);
        Ok(Self { config, constants, chain_info, bouncer })
    }

    /// Context of a block with this information.
    pub(crate) fn context(&self, block: BlockInfo) -> BlockContext {
        BlockContext::new(block, self.chain_info.clone(), self.constants.clone(), self.bouncer.clone())
    }

    /// Information of a block that this configuration makes.
    pub(crate) fn block_info(&self, number: BlockNumber, timestamp: BlockTimestamp) -> BlockInfo {
        let prices = &self.config.gas_prices;
        BlockInfo {
            block_number: number,
            block_timestamp: timestamp,
            starknet_version: self.config.protocol,
            sequencer_address: self.config.sequencer_address,
            gas_prices: GasPrices {
                eth_gas_prices: GasPriceVector {
                    l1_gas_price: prices.l1_wei,
                    l1_data_gas_price: prices.l1_data_wei,
                    l2_gas_price: prices.l2_wei,
                },
                strk_gas_prices: GasPriceVector {
                    l1_gas_price: prices.l1_fri,
                    l1_data_gas_price: prices.l1_data_fri,
                    l2_gas_price: prices.l2_fri,
                },
            },
            use_kzg_da: self.config.blob_data,
        }
    }
}

/// Limits of a block. The library's defaults are those of the public network.
fn bouncer(profile: BouncerProfile) -> BouncerConfig {
    let public = BouncerConfig::default();
    match profile {
        BouncerProfile::Mainnet => public,
        BouncerProfile::Dev => {
            let limits = public.block_max_capacity;
            let more = |gas: GasAmount| GasAmount(gas.0.saturating_mul(DEV_GAS_FACTOR.get()));
            let block_max_capacity = BouncerWeights {
                l1_gas: usize::MAX,
                message_segment_length: DEV_MESSAGE_FELTS_MAX,
                n_events: DEV_EVENTS_MAX,
                state_diff_size: DEV_STATE_DIFF_MAX,
                sierra_gas: more(limits.sierra_gas),
                n_txs: DEV_TRANSACTIONS_MAX,
                proving_gas: more(limits.proving_gas),
                receipt_l2_gas: more(limits.receipt_l2_gas),
            };
            // The bouncer prices a builtin at proving gas over instances: raising both keeps the price as it is.
            let limits = public.builtin_instance_limits;
            let more = |limit: NonZeroU64| limit.saturating_mul(DEV_GAS_FACTOR);
            let builtin_instance_limits = BuiltinInstanceLimits {
                pedersen: more(limits.pedersen),
                range_check: more(limits.range_check),
                range_check96: more(limits.range_check96),
                poseidon: more(limits.poseidon),
                ecdsa: more(limits.ecdsa),
                ecop: more(limits.ecop),
                bitwise: more(limits.bitwise),
                keccak: more(limits.keccak),
                add_mod: more(limits.add_mod),
                mul_mod: more(limits.mul_mod),
                blake: more(limits.blake),
            };
            BouncerConfig { block_max_capacity, builtin_instance_limits }
        }
    }
}
