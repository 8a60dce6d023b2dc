//! What an operator chooses about a chain.

use std::path::PathBuf;

use starknet_api::block::{NonzeroGasPrice, StarknetVersion};
use starknet_api::core::{ChainId, ContractAddress};
use starknet_types_core::felt::Felt;

/// Everything the chain needs to be told. Fixed while the process runs.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// Chain id as it enters transaction hashes.
    pub chain_id: ChainId,
    /// Protocol version whose constants price and bound execution; also written into block headers.
    pub protocol: StarknetVersion,
    /// How much fits into one block.
    pub bouncer: BouncerProfile,
    /// Whether transactions pay. Off means `charge_fee` is false for every account transaction.
    pub fees: bool,
    /// Gas prices written into every block.
    pub gas_prices: GasPriceConfig,
    /// Who collects fees.
    pub sequencer_address: ContractAddress,
    /// Whether state diffs are priced as blobs (`true`) or calldata (`false`).
    pub blob_data: bool,
    /// Threads that execute transactions of the open block.
    pub workers: usize,
    /// Upper bound of VM steps of one call (`starknet_call`, genesis calls).
    pub call_max_steps: u32,
    /// Upper bound of Sierra gas of one call.
    pub call_max_gas: u64,
    /// STARK private key that signs blocks. The same key over restarts keeps signatures checkable.
    pub signing_key: Felt,
    /// Where state of block 0 comes from.
    pub genesis: GenesisSource,
    /// Bytes that the caches of state, trie nodes, classes and blocks may hold together.
    pub cache_bytes: usize,
}

/// How full a block may get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BouncerProfile {
    /// Generous: bounded by transaction count, events and state diff far above what a dev chain sends.
    #[default]
    Dev,
    /// The limits of the public network.
    Mainnet,
}

/// Where block 0 comes from. Read only when the data folder holds no block yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenesisSource {
    /// Accounts derived from a seed, funded in STRK and ETH, with both fee tokens and the universal deployers.
    Dev {
        /// Number of accounts.
        accounts: u16,
        /// Seed that the keys are derived from.
        seed: u64,
        /// Balance of each account in each token, in the smallest unit.
        balance: u128,
    },
    /// A genesis file.
    File(PathBuf),
}

/// Prices of the three gases in both fee tokens. All are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasPriceConfig {
    /// L1 gas in WEI.
    pub l1_wei: NonzeroGasPrice,
    /// L1 gas in FRI.
    pub l1_fri: NonzeroGasPrice,
    /// L1 data gas in WEI.
    pub l1_data_wei: NonzeroGasPrice,
    /// L1 data gas in FRI.
    pub l1_data_fri: NonzeroGasPrice,
    /// L2 gas in WEI.
    pub l2_wei: NonzeroGasPrice,
    /// L2 gas in FRI.
    pub l2_fri: NonzeroGasPrice,
}
