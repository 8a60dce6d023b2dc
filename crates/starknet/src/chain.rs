//! The chain on disk: opening, reading, and what it tells others.

use std::path::Path;
use std::sync::Arc;

use blockifier::blockifier_versioned_constants::VersionedConstants;
use blockifier::context::BlockContext;
use starknet_api::block::{BlockInfo, BlockNumber};
use starknet_api::core::{ClassHash, ContractAddress};
use starknet_api::state::StorageKey;
use starknet_api::transaction::TransactionHash;
use tokio::sync::{broadcast, watch};

use crate::block::{Block, ExecutedTransaction, Header};
use crate::config::ChainConfig;
use crate::events::{EventCursor, EventFilter, EventPage};
use crate::genesis::PredeployedAccount;
use crate::pending::PreConfirmed;
use crate::view::{At, StateView, StorageProof};

/// A chain on disk. Cheap to clone; all clones are the same chain.
#[derive(Clone)]
pub struct Chain {}

/// Why the chain cannot answer or go on.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The disk failed, or what it holds does not fit together.
    #[error("storage: {0}")]
    Storage(String),
    /// The genesis file is missing, unreadable or wrong; says which key.
    #[error("genesis: {0}")]
    Genesis(String),
    /// Execution failed in a way no transaction can cause.
    #[error("execution: {0}")]
    Execution(String),
}

/// Something others may want to hear at once. Slow listeners lose the oldest and learn how many.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Notice {
    /// A transaction executed in the open block.
    PreConfirmed {
        /// Number of the open block.
        block: BlockNumber,
        /// Position in the block.
        index: u64,
        /// The transaction with its outcome.
        transaction: Arc<ExecutedTransaction>,
    },
    /// A block became the newest.
    Block(Block),
    /// The open block was given up; its transactions went back to the pool.
    Cancelled(BlockNumber),
}

/// Where a transaction is.
#[derive(Clone, Debug)]
pub struct Located {
    /// The transaction with its outcome.
    pub transaction: Arc<ExecutedTransaction>,
    /// Block number.
    pub block: BlockNumber,
    /// Header of the block, or `None` while pre-confirmed.
    pub header: Option<Arc<Header>>,
    /// Position in the block.
    pub index: u64,
}

impl Chain {
    /// Opens the chain in a data folder; builds genesis when the folder holds no block. Locks the folder.
    pub fn open(folder: &Path, config: ChainConfig) -> Result<Self, ChainError> {
        let _ = (folder, config);
        unimplemented!()
    }

    /// What the operator chose.
    pub fn config(&self) -> &ChainConfig {
        unimplemented!()
    }
    /// Constants of the protocol version in force.
    pub fn constants(&self) -> &VersionedConstants {
        unimplemented!()
    }
    /// Context to execute in, for a block with this information.
    pub fn context(&self, block: BlockInfo) -> BlockContext {
        let _ = block;
        unimplemented!()
    }

    /// Accounts that genesis deployed or named, with their keys, for the banner of a development chain.
    pub fn accounts(&self) -> &[PredeployedAccount] {
        unimplemented!()
    }

    /// Header of the newest block. There always is one: genesis.
    pub fn head(&self) -> Arc<Header> {
        unimplemented!()
    }
    /// A sealed block; `None` when there is none such, and for [`At::PreConfirmed`].
    pub fn block(&self, at: At) -> Result<Option<Block>, ChainError> {
        let _ = at;
        unimplemented!()
    }
    /// Header of a sealed block, without reading its body.
    pub fn header(&self, at: At) -> Result<Option<Arc<Header>>, ChainError> {
        let _ = at;
        unimplemented!()
    }
    /// A transaction in the open block or the chain.
    pub fn transaction(&self, hash: TransactionHash) -> Result<Option<Located>, ChainError> {
        let _ = hash;
        unimplemented!()
    }
    /// The open block, or an empty one on the newest block when none is open.
    pub fn pre_confirmed(&self) -> PreConfirmed {
        unimplemented!()
    }

    /// The state at a block; `None` when there is no such block.
    pub fn state(&self, at: At) -> Result<Option<StateView>, ChainError> {
        let _ = at;
        unimplemented!()
    }
    /// The state in which the transaction at `index` of a block executed (`index` of them before it), for traces.
    /// For sealed blocks this is the parent's state and the caller executes what lies before.
    pub fn state_before(&self, pre_confirmed: &PreConfirmed, index: usize) -> StateView {
        let _ = (pre_confirmed, index);
        unimplemented!()
    }

    /// Matching events of sealed blocks from `cursor` to `last` (inclusive), at most `limit` of them.
    pub fn events(
        &self,
        filter: &EventFilter,
        cursor: EventCursor,
        last: BlockNumber,
        limit: usize,
    ) -> Result<EventPage, ChainError> {
        let _ = (filter, cursor, last, limit);
        unimplemented!()
    }

    /// Proofs at a block; `None` when its tries are not kept.
    pub fn storage_proof(
        &self,
        at: At,
        classes: &[ClassHash],
        contracts: &[ContractAddress],
        storage: &[(ContractAddress, Vec<StorageKey>)],
    ) -> Result<Option<StorageProof>, ChainError> {
        let _ = (at, classes, contracts, storage);
        unimplemented!()
    }

    /// News from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        unimplemented!()
    }
    /// The open block, always the newest snapshot.
    pub fn watch_pre_confirmed(&self) -> watch::Receiver<PreConfirmed> {
        unimplemented!()
    }
    /// Header of the newest block, as it changes.
    pub fn watch_head(&self) -> watch::Receiver<Arc<Header>> {
        unimplemented!()
    }
}
