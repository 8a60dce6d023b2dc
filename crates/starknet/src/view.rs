//! The read contract: which block, and the state at it.

use std::sync::Arc;

use blockifier::context::BlockContext;
use blockifier::execution::contract_class::RunnableCompiledClass;
use blockifier::state::state_api::{StateReader, StateResult};
use starknet_api::block::{BlockHash, BlockInfo, BlockNumber};
use starknet_api::core::{ClassHash, CompiledClassHash, ContractAddress, Nonce};
use starknet_api::state::StorageKey;
use starknet_types_core::felt::Felt;

use crate::classes::DeclaredClass;

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
/// A snapshot: it does not change while the chain goes on. Cheap to clone, reads without locks held over calls.
/// Implements `blockifier`'s [`StateReader`].
#[derive(Clone, Debug)]
pub struct StateView {}

/// A storage value with the block that last wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageAt {
    /// The value, 0 when never written.
    pub value: Felt,
    /// Block that last wrote it; block 0 when never written.
    pub last_update: BlockNumber,
}

impl StateView {
    /// Number, timestamp, prices and sequencer of the block that the state belongs to.
    pub fn block_info(&self) -> BlockInfo {
        unimplemented!()
    }
    /// The block's context for execution, with constants of its protocol version and the configured bouncer.
    pub fn context(&self) -> BlockContext {
        unimplemented!()
    }
    /// The sealed block whose state this is, or that the open block stands on.
    pub fn sealed(&self) -> BlockNumber {
        unimplemented!()
    }
    /// Whether a contract lives at the address.
    pub fn is_deployed(&self, address: ContractAddress) -> Result<bool, crate::ChainError> {
        let _ = address;
        unimplemented!()
    }
    /// A slot with the block that last wrote it.
    pub fn storage(&self, address: ContractAddress, key: StorageKey) -> Result<StorageAt, crate::ChainError> {
        let _ = (address, key);
        unimplemented!()
    }
    /// The nonce, 0 for an unknown contract.
    pub fn nonce(&self, address: ContractAddress) -> Result<Nonce, crate::ChainError> {
        let _ = address;
        unimplemented!()
    }
    /// The class of a contract, or `None` when nothing is deployed there.
    pub fn class_hash(&self, address: ContractAddress) -> Result<Option<ClassHash>, crate::ChainError> {
        let _ = address;
        unimplemented!()
    }
    /// A class as declared with its compiled form, or `None` when not declared at this state.
    pub fn class(&self, hash: ClassHash) -> Result<Option<Arc<DeclaredClass>>, crate::ChainError> {
        let _ = hash;
        unimplemented!()
    }
}

impl StateReader for StateView {
    fn get_storage_at(&self, contract_address: ContractAddress, key: StorageKey) -> StateResult<Felt> {
        let _ = (contract_address, key);
        unimplemented!()
    }
    fn get_nonce_at(&self, contract_address: ContractAddress) -> StateResult<Nonce> {
        let _ = contract_address;
        unimplemented!()
    }
    fn get_class_hash_at(&self, contract_address: ContractAddress) -> StateResult<ClassHash> {
        let _ = contract_address;
        unimplemented!()
    }
    fn get_compiled_class(&self, class_hash: ClassHash) -> StateResult<RunnableCompiledClass> {
        let _ = class_hash;
        unimplemented!()
    }
    fn get_compiled_class_hash(&self, class_hash: ClassHash) -> StateResult<CompiledClassHash> {
        let _ = class_hash;
        unimplemented!()
    }
    fn get_compiled_class_hash_v2(
        &self,
        class_hash: ClassHash,
        _: &RunnableCompiledClass,
    ) -> StateResult<CompiledClassHash> {
        let _ = class_hash;
        unimplemented!()
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
