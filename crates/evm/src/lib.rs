//! The embedded EVM chain.

pub mod backend;
pub mod block;
pub mod chain;
pub mod edit;
pub mod engine_api;
pub mod execute;
pub mod execution;
pub mod genesis;
mod ground;
mod ledger;
pub mod pool;
pub mod rpc;
pub mod spec;
mod tables;
pub mod view;

pub use backend::{BlockPolicy, EvmBackend};
pub use block::{Block, ExecutedTransaction, Receipt, SealedHeader, Transaction};
pub use chain::{Chain, ChainError, Located};
pub use edit::{Edit, Snapshot};
pub use pool::Pool;
pub use spec::ChainSpec;
pub use view::{At, StateView};
