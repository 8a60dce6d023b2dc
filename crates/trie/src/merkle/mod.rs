//! Ethereum's Merkle-Patricia trie: one change set at a time over nodes found by their hash.
//!
//! A node is the RLP of a leaf, an extension or a branch, and is named by its keccak hash; one shorter than 32 bytes stands in its
//! parent instead of its name. As with Starknet's tries nothing is held in memory: [`update`] reads the nodes on the changed paths,
//! and gives the new root with the nodes that did not exist before, each hashed once. Every earlier root stays readable for as long
//! as its nodes are kept.
//!
//! Keys are at most 32 bytes long. The state's tries have the keccak hashes of addresses and slots as keys, which is the caller's
//! affair, and so is what a value means.
//!
//! ```
//! use alloy_primitives::{B256, Bytes};
//! use trie::merkle::{self, EMPTY_ROOT, Nodes};
//!
//! let mut nodes = Nodes::default();
//! let pairs = [("do", "verb"), ("dog", "puppy"), ("doge", "coin"), ("horse", "stallion")];
//! let update = merkle::update(&nodes, EMPTY_ROOT, pairs.map(|(key, value)| (key, Some(Bytes::from(value)))))?;
//! nodes.extend(update.nodes);
//! assert_eq!(format!("{}", update.root), "0x5991bb8c6514148a29db676a14ac506cd2cd5775ace63c30a4fe457715e9ac84");
//!
//! let proof = merkle::prove(&nodes, update.root, "dog")?;
//! assert_eq!(merkle::verify(update.root, "dog", &proof), Ok(Some(Bytes::from("puppy"))));
//! # Ok::<(), merkle::MerkleError<std::convert::Infallible>>(())
//! ```
//!
//! Source: Ethereum yellow paper, appendix D; <https://ethereum.org/developers/docs/data-structures-and-encoding/patricia-merkle-trie>.

mod node;
mod proof;
mod update;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;

use alloy_primitives::{B256, Bytes, b256};
use nybbles::Nibbles;
use thiserror::Error;

pub use proof::{ProofFault, prove, verify};
pub use update::{Update, update};

/// Root of the trie without entries: keccak of the RLP of an empty string.
pub const EMPTY_ROOT: B256 = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 32;

/// Where nodes are looked up.
pub trait NodeSource {
    /// Why a node cannot be read.
    type Error;

    /// The RLP of the node with this hash; `None` when it is not there.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn node(&self, hash: B256) -> Result<Option<Bytes>, Self::Error>;
}

/// Nodes in memory.
#[derive(Clone, Debug, Default)]
pub struct Nodes(HashMap<B256, Bytes>);

impl Extend<(B256, Bytes)> for Nodes {
    fn extend<T: IntoIterator<Item = (B256, Bytes)>>(&mut self, nodes: T) {
        self.0.extend(nodes);
    }
}

impl Nodes {
    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&B256, &Bytes)> {
        self.0.iter()
    }
}

impl NodeSource for Nodes {
    type Error = Infallible;

    fn node(&self, hash: B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.get(&hash).cloned())
    }
}

/// Why a trie cannot be read or changed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MerkleError<E> {
    /// A key is too long.
    #[error("a key of {0} bytes: a trie's keys have at most {KEY_BYTES_MAX}")]
    Key(usize),
    /// A node that the root promises is not in the store.
    #[error("node {0} is missing")]
    Missing(B256),
    /// What the store holds under this hash is no node.
    #[error("node {hash} is damaged: {reason}")]
    Corrupt {
        /// The node's name.
        hash: B256,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] E),
}

/// The value at `key`; `None` when there is none. Reads the nodes on its path.
///
/// # Errors
/// [`MerkleError::Key`] for a key too long; otherwise when the store does not hold what the root promises.
pub fn value<S: NodeSource>(
    store: &S,
    root: B256,
    key: impl AsRef<[u8]>,
) -> Result<Option<Bytes>, MerkleError<S::Error>> {
    proof::descend(store, root, &nibbles(key.as_ref())?, |_| {})
}

fn nibbles<E>(key: &[u8]) -> Result<Nibbles, MerkleError<E>> {
    if key.len() > KEY_BYTES_MAX { Err(MerkleError::Key(key.len())) } else { Ok(Nibbles::unpack(key)) }
}

/// Reads and decodes the node with this hash.
fn load<S: NodeSource>(store: &S, hash: B256) -> Result<(node::Node, Bytes), MerkleError<S::Error>> {
    let rlp = store.node(hash)?.ok_or(MerkleError::Missing(hash))?;
    let node = node::Node::decode(&rlp).map_err(|reason| MerkleError::Corrupt { hash, reason })?;
    Ok((node, rlp))
}
