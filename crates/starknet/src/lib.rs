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
