//! The embedded Starknet chain: a sequencer's execution backend on `blockifier`.
//!
//! What it is: blocks, state, classes, tries, commitments and genesis of one Starknet chain, a builder that streams
//! transactions from the pool into the open block, and everything that a node serves about them.
//!
//! What it deliberately does not know: when a block is due and whether it is decided (crate `sequencer` through
//! `node::Backend`), how a request arrives (crate `rpc`), other chains.
//!
//! The two types to start from are [`Chain`], the handle to a chain on disk, and [`StateView`], the state at one
//! block as `blockifier` reads it.
//!
//! ```
//! use starknet::config::{BouncerProfile, GasPriceConfig, GenesisSource};
//! use starknet::{At, Chain, ChainConfig};
//! use starknet_api::block::{NonzeroGasPrice, StarknetVersion};
//!
//! let price = NonzeroGasPrice::MIN;
//! let config = ChainConfig {
//!     chain_id: String::from("SN_EXAMPLE").into(),
//!     protocol: StarknetVersion::V0_14_3,
//!     bouncer: BouncerProfile::Dev,
//!     fees: true,
//!     gas_prices: GasPriceConfig {
//!         l1_wei: price, l1_fri: price, l1_data_wei: price, l1_data_fri: price, l2_wei: price, l2_fri: price,
//!     },
//!     sequencer_address: 1u128.into(),
//!     blob_data: true,
//!     workers: 2,
//!     call_max_steps: 1_000_000,
//!     call_max_gas: 100_000_000,
//!     signing_key: 1.into(),
//!     genesis: GenesisSource::Dev { accounts: 1, seed: 0, balance: 1_000 },
//!     cache_bytes: 16 << 20,
//! };
//! let folder = tempfile::tempdir()?;
//! let chain = Chain::open(folder.path(), config)?;
//! let account = &chain.accounts()[0];
//! let state = chain.state(At::Latest)?.ok_or("there always is a newest block")?;
//! assert!(state.is_deployed(account.address)?);
//! assert_eq!(chain.verify()?.state_root, chain.head().state_root);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod admission;
pub mod backend;
pub mod block;
pub mod builder;
mod cache;
pub mod chain;
mod check;
pub mod classes;
pub mod codec;
pub mod commitment;
pub mod compiler;
pub mod config;
mod deep;
pub mod events;
pub mod execution;
pub mod genesis;
pub mod pending;
pub mod pool;
pub mod rpc;
mod rules;
pub mod source;
mod tables;
pub mod view;

pub use block::{Block, ExecutedTransaction, Header, Outcome, StateDiff};
pub use chain::{Chain, ChainError};
pub use classes::DeclaredClass;
pub use config::ChainConfig;
pub use pending::PreConfirmed;
pub use source::{ReadyTransaction, TransactionSource};
pub use view::{At, StateView};
