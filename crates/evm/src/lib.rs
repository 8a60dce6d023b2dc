//! The embedded EVM chain.

pub mod block;
pub mod chain;
pub mod execute;
pub mod genesis;
pub mod spec;
mod tables;
pub mod view;

pub use block::{Block, ExecutedTransaction, Receipt, SealedHeader, Transaction};
pub use chain::{Chain, ChainError, Located};
pub use spec::ChainSpec;
pub use view::{At, StateView};
