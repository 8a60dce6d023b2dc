//! State commitments over a store of nodes found by their hash: Starknet's binary Patricia trie here, Ethereum's Merkle-Patricia trie
//! in [`merkle`].
//!
//! The trie is never held in memory as a whole. An [`Update`] is computed from a root, a batch of changes and a
//! [`NodeStore`] that can look nodes up; what comes back is the new root and the nodes that did not exist before.
//! Because nodes are found by content, every earlier root stays readable for as long as its nodes are kept: a storage proof at
//! a past block is the same call with an older root.
//!
//! Work is split in two. [`Trie::plan`] reads the nodes on the changed paths and decides the new shape without hashing
//! anything; [`commit_all`] then hashes the plans of any number of tries together, level by level from the leaves up, each new
//! inner node exactly once. Hashing in wide batches is what makes it cheap ([`Pedersen`] shares its field inversions across a
//! batch) and what lets the caller spread it over threads through [`Join`].
//!
//! What this crate deliberately does not know: where nodes are kept, threads, time, blocks, and what a key or value means beyond
//! the three leaf formulas of [`contract_leaf`], [`class_leaf`] and [`state_root`].
//!
//! Start from [`merkle::update`] for Ethereum; for Starknet from [`Trie`] (with [`CONTRACTS`], [`STORAGE`], [`CLASSES`]) and [`NodeStore`].
//!
//! ```
//! use starknet_types_core::felt::Felt;
//! use trie::{Memory, STORAGE, Sequential};
//!
//! let mut nodes = Memory::default();
//! let update = STORAGE.update(&nodes, Felt::ZERO, &[(Felt::ONE, Felt::ONE)], &Sequential)?;
//! nodes.extend(update.nodes);
//! assert_eq!(update.root, Felt::from_hex_unchecked("0x2ebbd6878f81e49560ae863bd4ef327a417037bf57b63a016130ad0a94c8fa7"));
//!
//! let proof = STORAGE.prove(&nodes, update.root, &[Felt::ONE, Felt::TWO])?;
//! assert_eq!(STORAGE.verify(update.root, Felt::ONE, &proof), Ok(Felt::ONE));
//! assert_eq!(STORAGE.verify(update.root, Felt::TWO, &proof), Ok(Felt::ZERO), "absent, and provably so");
//! # Ok::<(), trie::TrieError<std::convert::Infallible>>(())
//! ```
//!
//! Formulas: <https://docs.starknet.io/learn/protocol/state>, `starknet_committer/src/hash_function/hash.rs`.

mod hash;
pub mod merkle;
mod node;
mod path;
mod pedersen;
mod proof;
mod state;
mod update;

#[cfg(test)]
mod tests;

pub use hash::{Join, NodeHash, Pedersen, Poseidon, Sequential, hash_pairs};
pub use node::{DecodeError, Memory, Node, NodeStore};
pub use path::Path;
pub use proof::{Proof, ProofError};
pub use state::{ContractState, class_leaf, contract_leaf, contract_leaves, state_root};
pub use update::{Plan, Update, commit_all};

use std::marker::PhantomData;

use starknet_types_core::felt::Felt;

/// The trie of all contracts: address to [`contract_leaf`].
pub const CONTRACTS: Trie<Pedersen> = Trie::new(Trie::<Pedersen>::STATE_HEIGHT);
/// The storage trie of one contract: key to value.
pub const STORAGE: Trie<Pedersen> = Trie::new(Trie::<Pedersen>::STATE_HEIGHT);
/// The trie of declared classes: class hash to [`class_leaf`].
pub const CLASSES: Trie<Poseidon> = Trie::new(Trie::<Poseidon>::STATE_HEIGHT);

/// The rules of one kind of trie: its height and its hash function. It holds no nodes; every call names the root to work on.
///
/// A root of zero is the empty trie. A value of zero is an absent leaf: writing it deletes.
#[derive(Debug, Clone, Copy)]
pub struct Trie<H> {
    height: u8,
    hash: PhantomData<H>,
}

impl<H: NodeHash> Trie<H> {
    /// Height of all state tries: keys have 251 bits.
    pub const STATE_HEIGHT: u8 = 251;

    /// A trie whose keys have `height` bits, 1 to 251.
    ///
    /// # Panics
    /// When `height` is out of range; in a constant this is a compile error.
    #[must_use]
    pub const fn new(height: u8) -> Self {
        assert!(height >= 1 && height <= Self::STATE_HEIGHT, "a trie has between 1 and 251 levels");
        Self { height, hash: PhantomData }
    }

    /// Number of bits of a key.
    #[must_use]
    pub const fn height(&self) -> u8 {
        self.height
    }

    /// The value at `key` under `root`; zero when there is none.
    ///
    /// # Errors
    /// [`TrieError::Key`] for a key too long for this trie, [`TrieError::Missing`] or [`TrieError::Corrupt`] when the store does
    /// not hold what the root promises, [`TrieError::Store`] when it cannot be read.
    pub fn value<S: NodeStore>(&self, store: &S, root: Felt, key: Felt) -> Result<Felt, TrieError<S::Error>> {
        proof::value(self.height, store, root, key)
    }

    /// Decides the shape of the trie after `changes` on top of `root`, without hashing. Reads only nodes on the changed paths
    /// (and, where a deletion lets two edges merge, the sibling).
    ///
    /// `changes` may come in any order; where a key occurs twice, its last value counts. Cost: one store read per node on the union of
    /// the paths.
    ///
    /// # Errors
    /// As [`Trie::value`].
    pub fn plan<S: NodeStore>(
        &self,
        store: &S,
        root: Felt,
        changes: &[(Felt, Felt)],
    ) -> Result<Plan<H>, TrieError<S::Error>> {
        update::plan(self.height, store, root, changes)
    }

    /// [`Trie::plan`] and then [`commit_all`] for this one trie.
    ///
    /// # Errors
    /// As [`Trie::value`].
    pub fn update<S: NodeStore, J: Join>(
        &self,
        store: &S,
        root: Felt,
        changes: &[(Felt, Felt)],
        join: &J,
    ) -> Result<Update, TrieError<S::Error>> {
        Ok(self.plan(store, root, changes)?.commit(join))
    }

    /// The root of the trie that holds exactly `leaves`, computed from nothing: what an incremental root is checked against.
    ///
    /// # Errors
    /// [`TrieError::Key`] for a key too long for this trie.
    pub fn root_from_scratch<J: Join>(
        &self,
        leaves: impl IntoIterator<Item = (Felt, Felt)>,
        join: &J,
    ) -> Result<Felt, TrieError<std::convert::Infallible>> {
        let leaves: Vec<_> = leaves.into_iter().collect();
        Ok(self.update(&Memory::default(), Felt::ZERO, &leaves, join)?.root)
    }

    /// The nodes on the paths from `root` to each of `keys`, each once, parents before children: the list that
    /// `starknet_getStorageProof` answers. It proves presence and absence alike.
    ///
    /// # Errors
    /// As [`Trie::value`].
    pub fn prove<S: NodeStore>(&self, store: &S, root: Felt, keys: &[Felt]) -> Result<Proof, TrieError<S::Error>> {
        proof::prove(self.height, store, root, keys)
    }

    /// What `proof` says about `key` under `root`: its value, zero when it is proved absent. Trusts nothing but the hash function:
    /// every node used is hashed again.
    ///
    /// # Errors
    /// [`ProofError`] when the proof does not reach the key or contradicts itself.
    pub fn verify(&self, root: Felt, key: Felt, proof: &Proof) -> Result<Felt, ProofError> {
        proof::verify::<H>(self.height, root, key, proof)
    }
}

/// Why a trie could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrieError<E> {
    /// The caller's key does not fit the trie.
    #[error("key {key:#x} has more than the {height} bits of this trie")]
    Key {
        /// The key as given.
        key: Felt,
        /// Bits a key may have.
        height: u8,
    },
    /// The store does not hold a node that the root promises: it was pruned, or the root is not ours.
    #[error("node {hash:#x} is not in the store")]
    Missing {
        /// Hash of the absent node.
        hash: Felt,
    },
    /// The store holds a node that cannot stand where it was found.
    #[error("node {hash:#x} cannot stand at depth {depth}: its path leads below the leaves")]
    Corrupt {
        /// Hash under which the node was found.
        hash: Felt,
        /// Bits between the root and the node.
        depth: u8,
    },
    /// The store could not be read.
    #[error("node store: {0}")]
    Store(E),
}
