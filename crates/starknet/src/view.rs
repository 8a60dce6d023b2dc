//! The read contract: which block, and the state at it.

use std::fmt;
use std::sync::Arc;

use blockifier::context::BlockContext;
use blockifier::execution::contract_class::RunnableCompiledClass;
use blockifier::state::errors::StateError;
use blockifier::state::state_api::{StateReader, StateResult};
use starknet_api::block::{BlockHash, BlockInfo, BlockNumber};
use starknet_api::core::{ClassHash, CompiledClassHash, ContractAddress, Nonce};
use starknet_api::state::StorageKey;
use starknet_types_core::felt::Felt;

use crate::block::Header;
use crate::chain::ChainError;
use crate::classes::{CachedClass, DeclaredClass};
use crate::pending::PreConfirmed;
use crate::rules::Rules;
use crate::tables::StateTables;

/// Names a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest sealed and decided block.
    Latest,
    /// The open block, as far as it has executed.
    PreConfirmed,
    /// By height.
    Number(BlockNumber),
    /// By hash.
    Hash(BlockHash),
}

/// The state after one block, or in the open block after the transactions executed so far.
///
/// A snapshot: it does not change while the chain goes on. Cheap to clone, no lock is held between calls.
/// Implements `blockifier`'s [`StateReader`].
#[derive(Clone)]
pub struct StateView {
    tables: Arc<StateTables>,
    rules: Arc<Rules>,
    sealed: BlockNumber,
    info: Arc<BlockInfo>,
    open: Option<PreConfirmed>,
}

/// A storage value with the block that last wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageAt {
    /// The value, 0 when never written.
    pub value: Felt,
    /// Block that last wrote it; block 0 when never written.
    pub last_update: BlockNumber,
}

impl StateView {
    /// The state after a sealed block.
    pub(crate) fn sealed_at(tables: Arc<StateTables>, rules: Arc<Rules>, header: &Header) -> Self {
        Self { tables, rules, sealed: header.number, info: Arc::new(header.block_info()), open: None }
    }

    /// The state in the open block.
    pub(crate) fn open_at(tables: Arc<StateTables>, rules: Arc<Rules>, open: PreConfirmed) -> Self {
        Self { tables, rules, sealed: open.parent().number, info: open.shared_info(), open: Some(open) }
    }

    /// Number, timestamp, prices and sequencer of the block that the state belongs to.
    pub fn block_info(&self) -> &BlockInfo {
        &self.info
    }

    /// The block's context for execution: constants of the protocol in force, the configured bouncer.
    pub fn context(&self) -> BlockContext {
        self.rules.context(self.info.as_ref().clone())
    }

    /// The sealed block whose state this is, or that the open block stands on.
    pub fn sealed(&self) -> BlockNumber {
        self.sealed
    }

    /// Whether a contract lives at the address.
    pub fn is_deployed(&self, address: ContractAddress) -> Result<bool, ChainError> {
        Ok(self.class_hash(address)?.is_some())
    }

    /// A slot with the block that last wrote it.
    pub fn storage(&self, address: ContractAddress, key: StorageKey) -> Result<StorageAt, ChainError> {
        if let Some(value) = self.open.as_ref().and_then(|open| open.slot(address, key)) {
            return Ok(StorageAt { value, last_update: self.info.block_number });
        }
        let (value, last_update) = self.tables.slot(address, key, self.sealed)?;
        Ok(StorageAt { value, last_update })
    }

    /// The nonce, 0 for an unknown contract.
    pub fn nonce(&self, address: ContractAddress) -> Result<Nonce, ChainError> {
        if let Some(nonce) = self.open.as_ref().and_then(|open| open.nonce(address)) {
            return Ok(nonce);
        }
        Ok(Nonce(self.tables.contract(address, self.sealed)?.nonce))
    }

    /// The class of a contract, or `None` when nothing is deployed there.
    pub fn class_hash(&self, address: ContractAddress) -> Result<Option<ClassHash>, ChainError> {
        if let Some(class) = self.open.as_ref().and_then(|open| open.class_hash(address)) {
            return Ok(Some(class));
        }
        let class = self.tables.contract(address, self.sealed)?.class_hash;
        Ok((class != Felt::ZERO).then_some(ClassHash(class)))
    }

    /// A class as declared with its compiled form, or `None` when not declared at this state.
    pub fn class(&self, hash: ClassHash) -> Result<Option<Arc<DeclaredClass>>, ChainError> {
        Ok(self.cached_class(hash)?.map(|class| Arc::clone(&class.declared)))
    }

    /// The compiled class hash in force, or `None` for an undeclared or a Cairo 0 class.
    pub fn compiled_class_hash(&self, hash: ClassHash) -> Result<Option<CompiledClassHash>, ChainError> {
        match self.open.as_ref().and_then(|open| open.compiled_hash(hash)) {
            Some(compiled) => Ok(Some(compiled)),
            None => self.tables.compiled_hash(hash, self.sealed),
        }
    }

    fn cached_class(&self, hash: ClassHash) -> Result<Option<Arc<CachedClass>>, ChainError> {
        match self.open.as_ref().and_then(|open| open.class(hash)) {
            Some(class) => Ok(Some(class)),
            None => self.tables.class(hash, self.sealed),
        }
    }
}

impl fmt::Debug for StateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateView")
            .field("sealed", &self.sealed)
            .field("transactions", &self.open.as_ref().map(PreConfirmed::len))
            .finish_non_exhaustive()
    }
}

impl StateReader for StateView {
    fn get_storage_at(&self, contract_address: ContractAddress, key: StorageKey) -> StateResult<Felt> {
        Ok(self.storage(contract_address, key)?.value)
    }

    fn get_nonce_at(&self, contract_address: ContractAddress) -> StateResult<Nonce> {
        Ok(self.nonce(contract_address)?)
    }

    fn get_class_hash_at(&self, contract_address: ContractAddress) -> StateResult<ClassHash> {
        Ok(self.class_hash(contract_address)?.unwrap_or_default())
    }

    fn get_compiled_class(&self, class_hash: ClassHash) -> StateResult<RunnableCompiledClass> {
        match self.cached_class(class_hash)? {
            Some(class) => Ok(class.runnable.clone()),
            None => Err(StateError::UndeclaredClassHash(class_hash)),
        }
    }

    fn get_compiled_class_hash(&self, class_hash: ClassHash) -> StateResult<CompiledClassHash> {
        Ok(self.compiled_class_hash(class_hash)?.unwrap_or_default())
    }

    /// The hash in the Blake2s scheme was computed when the class came in.
    fn get_compiled_class_hash_v2(
        &self,
        class_hash: ClassHash,
        _compiled_class: &RunnableCompiledClass,
    ) -> StateResult<CompiledClassHash> {
        match self.cached_class(class_hash)?.as_deref().map(|class| class.declared.as_ref()) {
            Some(DeclaredClass::Sierra(class)) => Ok(class.compiled_hash_v2),
            Some(DeclaredClass::Cairo0(_)) | None => Err(StateError::MissingCompiledClassHashV2(class_hash)),
        }
    }
}

impl From<ChainError> for StateError {
    fn from(error: ChainError) -> Self {
        Self::StateReadError(error.to_string())
    }
}

/// Proof of parts of the state at one block, as `starknet_getStorageProof` gives it.
#[derive(Clone, Debug, Default)]
pub struct StorageProof {
    /// Hash of the block.
    pub block_hash: BlockHash,
    /// Root of the contracts trie.
    pub contracts_root: Felt,
    /// Root of the classes trie.
    pub classes_root: Felt,
    /// Nodes of the classes trie on the paths to the asked classes.
    pub classes: Vec<ProofNode>,
    /// Nodes of the contracts trie on the paths to the asked contracts.
    pub contracts: Vec<ProofNode>,
    /// Per asked contract, in the order asked, what its leaf commits to; `None` when it does not exist.
    pub leaves: Vec<Option<ContractLeaf>>,
    /// Per asked contract's storage, in the order asked, the nodes on the paths to the asked slots.
    pub storage: Vec<Vec<ProofNode>>,
}

/// What a leaf of the contracts trie commits to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContractLeaf {
    /// Nonce.
    pub nonce: Nonce,
    /// Class.
    pub class_hash: ClassHash,
    /// Root of the contract's storage trie.
    pub storage_root: Felt,
}

/// A trie node with its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofNode {
    /// Hash of the node.
    pub hash: Felt,
    /// What it commits to.
    pub kind: ProofNodeKind,
}

/// Shape of a trie node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofNodeKind {
    /// Two children.
    Binary {
        /// Hash of the left child.
        left: Felt,
        /// Hash of the right child.
        right: Felt,
    },
    /// A path without a fork.
    Edge {
        /// Hash of the node at the end of the path.
        child: Felt,
        /// The path's bits as a number.
        path: Felt,
        /// Number of bits.
        length: u8,
    },
}
