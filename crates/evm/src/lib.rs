//! The embedded EVM chain: a sequencer's execution backend on `revm`, under the rules of Ethereum or of the OP Stack.
//!
//! What it is: blocks, state, tries and genesis of one EVM chain; a pool of transactions that outlives the process; everything that a node serves
//! about them (JSON-RPC, the Engine API). A genesis file with the key `optimism` makes it a chain of the OP Stack, under the rules of every fork from
//! Bedrock to Karst.
//!
//! What it deliberately does not know: when a block is due and whether it is decided (crate `sequencer` through `node::Backend`, or whoever
//! calls the Engine API), how a request arrives (crate `rpc`), other chains.
//!
//! ```text
//!  pool ──► execute ──► StateChanges ──► ground (tries) ──► header      a block, complete, on any block that is known
//!                                                             │ decided
//!                                                             ▼
//!                                      ledger: log, the truth ──► tables: versions of state by block
//! ```
//!
//! The two types to start from are [`Chain`], the handle to a chain on disk, and [`EvmBackend`], the chain as a sequencer sees it.
//!
//! ```
//! use alloy_primitives::{Address, U256};
//! use evm::genesis::{DEV_BASE_FEE, DEV_GAS_LIMIT, DevGenesis};
//! use evm::{At, Chain};
//!
//! let rich = Address::repeat_byte(1);
//! let balances = vec![(rich, U256::from(5))];
//! let (gas_limit, base_fee) = (DEV_GAS_LIMIT, DEV_BASE_FEE);
//! let genesis = DevGenesis { chain_id: 31_337, balances, gas_limit, base_fee, timestamp: 1_700_000_000 };
//!
//! let folder = tempfile::tempdir()?;
//! let chain = Chain::open(folder.path(), Some(genesis.into_file()))?;
//! let state = chain.state(At::Latest)?.ok_or("there always is a newest block")?;
//! assert_eq!(state.account(rich)?.balance, U256::from(5));
//! assert_eq!(chain.verify()?.state_root, chain.head().state_root);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backend;
pub mod block;
mod build;
pub mod chain;
mod disguise;
pub mod edit;
pub mod engine_api;
pub mod execute;
pub mod execution;
pub mod genesis;
mod ground;
mod growing_root;
mod kept_receipt;
mod ledger;
pub mod pool;
mod publication;
mod rollup;
pub mod rpc;
pub mod spec;
pub mod state_file;
mod tables;
pub mod view;

pub use backend::{BlockPolicy, EvmBackend};
pub use block::{Block, ExecutedTransaction, Receipt, SealedHeader, Transaction};
pub use chain::{Chain, ChainError, Located};
pub use edit::{Edit, Snapshot};
pub use pool::Pool;
pub use spec::ChainSpec;
pub use state_file::StateFile;
pub use view::{At, StateView};
