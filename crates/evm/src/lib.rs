//! The embedded EVM chain.

pub mod backend;
pub mod block;
pub mod chain;
pub mod engine_api;
pub mod execute;
pub mod genesis;
pub mod pool;
pub mod spec;
mod tables;
pub mod view;

pub use backend::{BlockPolicy, EvmBackend};
pub use block::{Block, ExecutedTransaction, Receipt, SealedHeader, Transaction};
pub use chain::{Chain, ChainError, Located};
pub use pool::Pool;
pub use spec::ChainSpec;
pub use view::{At, StateView};
