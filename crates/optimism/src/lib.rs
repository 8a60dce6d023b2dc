//! The rules of the OP Stack from Bedrock to Karst: what a rollup node has to know to order a block, and to tell
//! whether a block is one that it would have ordered. Pure.
//!
//! ```text
//!   rollup.json, registry ──► RollupConfig ──► which rules hold at what time
//!
//!   parent's block ──► L2Block, SystemConfig ─┐
//!                                             ▼
//!   the L1 block to cite (chosen elsewhere), its receipts ────► Order::prepare ──► attributes for the execution engine
//!                                             │
//!                                             ├ L1BlockInfo    the first transaction of every block
//!                                             ├ user_deposits  from the portal's logs
//!                                             ├ Update         of the system configuration
//!                                             └ upgrade_transactions
//!
//!   attributes, an existing block ──► check_match ──► is it the same?
//! ```
//!
//! What it deliberately does not know: what time it is, where L1 and the engine are, how anything is fetched, retried
//! or signed, and what a transaction of a user does. Everything that comes from outside is a value to be judged: a
//! decoder never panics, and an error says what is wrong with what, and what to do.
//!
//! Start with [`RollupConfig`], then [`Order`].
//!
//! ```
//! use alloy_consensus::{Header, Receipt};
//! use alloy_primitives::Sealed;
//! use optimism::{BlobSchedule, BlockParts, L2Block, Order, Plan, RollupConfig, SystemConfig};
//!
//! # let zeros = "00".repeat(19);
//! # let text = format!(r#"{{ "genesis": {{ "l1": {{ "number": 7, "hash": "0x{0}" }},
//! #     "l2": {{ "number": 0, "hash": "0x{1}" }}, "l2_time": 1000,
//! #     "system_config": {{ "batcherAddr": "0x{zeros}01", "gasLimit": 30000000 }} }},
//! #     "block_time": 2, "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
//! #     "l1_chain_id": 1, "l2_chain_id": 901, "regolith_time": 0, "batch_inbox_address": "0x{zeros}02",
//! #     "deposit_contract_address": "0x{zeros}03", "l1_system_config_address": "0x{zeros}04" }}"#,
//! #     "11".repeat(32), "22".repeat(32));
//! let config = RollupConfig::from_rollup_json(&text)?.strict()?;
//! # let genesis = BlockParts { id: config.genesis.l2, parent: Default::default(), timestamp: 1000,
//! #     gas_limit: 30_000_000, extra_data: &[], first_transaction: None };
//! // The block to build on, as the engine gives it, and the L1 block to cite, as L1 gives it.
//! let (parent, system) = (L2Block::of(&config, &genesis)?, SystemConfig::of(&config, &genesis)?);
//! # let header = Header { number: 7, timestamp: 990, ..Header::default() };
//! # let l1_block = Sealed::new_unchecked(header, config.genesis.l1.hash);
//! let plan: Plan<'_, Receipt> = Plan {
//!     parent: &parent,
//!     parent_system: &system,
//!     origin: &l1_block,
//!     receipts: None, // needed only where a block is the first to cite an L1 block
//!     timestamp: parent.timestamp + config.block_time,
//!     use_pool: true,
//! };
//! let schedule = BlobSchedule::of_l1(config.l1_chain_id).expect("Ethereum");
//! let order = Order::prepare(&config, &schedule, &plan)?;
//! assert_eq!(order.attributes.transactions.map(|forced| forced.len()), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod abi;
mod attributes;
mod blob_fee;
mod block;
mod config;
mod deposit;
mod engine;
mod extra_data;
mod fork;
mod l1_info;
mod matching;
mod output;
mod receipts;
mod system_config;
mod upgrade;

pub use attributes::{AttributesError, Order, Plan, SEQUENCER_FEE_VAULT, deposits_only};
pub use blob_fee::{BadL1Config, BlobSchedule};
pub use block::{BadBlock, BlockFault, BlockId, BlockParts, L2Block, l1_block};
pub use config::{
    AltDa, BEDROCK_CHANNEL_TIMEOUT, CONFIG_BYTES_MAX, ConfigError, FJORD_DRIFT_MAX, Fault, FeeParams,
    GRANITE_CHANNEL_TIMEOUT, Genesis, Reading, RollupConfig,
};
pub use deposit::{BadDeposit, DEPOSIT_TOPIC, DepositFault, user_deposit, user_deposits};
pub use engine::{EngineVersions, payload_id};
pub use extra_data::{ExtraDataFault, FeesInHeader, ordered_extra_data, pack_eip1559_params, unpack_eip1559_params};
pub use fork::{Fork, Forks};
pub use l1_info::{
    BlobFees, DA_FOOTPRINT_GAS_SCALAR, L1_BLOCK, L1_INFO_SENDER, L1BlockInfo, L1Fees, L1InfoFault, L1InfoFormat,
};
pub use matching::{Mismatch, check_match};
pub use output::OutputV0;
pub use system_config::{
    CONFIG_UPDATE_TOPIC, FeeScalars, OperatorFee, ScalarFault, SkippedUpdate, SystemConfig, UNSAFE_SIGNER_SLOT, Update,
    UpdateFault, unsafe_signer_set,
};
pub use upgrade::{BundleError, KARST_UPGRADE_GAS, parse_bundle, upgrade_gas, upgrade_transactions};
