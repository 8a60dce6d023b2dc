//! Reading single paths, proofs of them, and their check.

use std::collections::{HashMap, HashSet};

use starknet_types_core::felt::Felt;

use crate::update::read;
use crate::{Node, NodeHash, NodeStore, Path, TrieError};

/// The nodes that prove what stands at some keys, each with its hash: parents before children, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// Hash and node.
    pub nodes: Vec<(Felt, Node)>,
}

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The key does not fit the trie.
    #[error("key {key:#x} has more bits than the trie")]
    Key {
        /// The key as given.
        key: Felt,
    },
    /// The proof ends before the key does.
    #[error("the proof has no node {hash:#x}")]
    Missing {
        /// Hash of the absent node.
        hash: Felt,
    },
    /// A node is not what its hash says.
    #[error("the node listed as {hash:#x} hashes to {actual:#x}")]
    Hash {
        /// Hash that its parent (or the root) gives.
        hash: Felt,
        /// What the node hashes to.
        actual: Felt,
    },
    /// A node with the right hash that no trie contains: an edge without bits or past the leaves, or an empty child.
    #[error("node {hash:#x} cannot be part of a trie at depth {depth}")]
    Shape {
        /// Hash of the node.
        hash: Felt,
        /// Bits between the root and the node.
        depth: u8,
    },
}

/// See [`crate::Trie::value`].
pub(crate) fn value<S: NodeStore>(height: u8, store: &S, root: Felt, key: Felt) -> Result<Felt, TrieError<S::Error>> {
    walk(height, store, root, key, |_, _| ())
}

/// See [`crate::Trie::prove`].
pub(crate) fn prove<S: NodeStore>(
    height: u8,
    store: &S,
    root: Felt,
    keys: &[Felt],
) -> Result<Proof, TrieError<S::Error>> {
    let mut proof = Proof::default();
    let mut listed = HashSet::new();
    for &key in keys {
        walk(height, store, root, key, |hash, node| {
            if listed.insert(hash) {
                proof.nodes.push((hash, node));
            }
        })?;
    }
    Ok(proof)
}

/// Goes from `root` towards `key`, shows each node on the way, and returns the leaf, zero when the way ends.
fn walk<S: NodeStore>(
    height: u8,
    store: &S,
    root: Felt,
    key: Felt,
    mut on_node: impl FnMut(Felt, Node),
) -> Result<Felt, TrieError<S::Error>> {
    let path = Path::new(key, height).ok_or(TrieError::Key { key, height })?;
    let (mut here, mut depth) = (root, 0);
    while depth < height && here != Felt::ZERO {
        let node = read(height, store, here, depth)?;
        on_node(here, node);
        match node {
            Node::Binary { left, right } => {
                here = if path.bit(depth) { right } else { left };
                depth += 1;
            }
            Node::Edge { path: edge, child } if path.skip(depth).first(edge.len()) == edge => {
                here = child;
                depth += edge.len();
            }
            Node::Edge { .. } => here = Felt::ZERO,
        }
    }
    Ok(here)
}

/// See [`crate::Trie::verify`]. Written apart from the builder on purpose: it goes by field elements and bits of the key's bytes
/// and shares no step with the code that made the proof.
pub(crate) fn verify<H: NodeHash>(height: u8, root: Felt, key: Felt, proof: &Proof) -> Result<Felt, ProofError> {
    let bits = key_bits(height, key)?;
    let by_hash: HashMap<Felt, Node> = proof.nodes.iter().copied().collect();
    let mut expected = root;
    let mut left_to_go = &bits[..];
    while !left_to_go.is_empty() {
        if expected == Felt::ZERO {
            // Only the root may be zero: children of zero are refused below.
            return Ok(Felt::ZERO);
        }
        let depth = height - left_to_go.len() as u8;
        let malformed = ProofError::Shape { hash: expected, depth };
        match by_hash.get(&expected).ok_or(ProofError::Missing { hash: expected })? {
            Node::Binary { left, right } => {
                same(expected, H::pair(left, right))?;
                if *left == Felt::ZERO || *right == Felt::ZERO {
                    return Err(malformed);
                }
                expected = if left_to_go[0] { *right } else { *left };
                left_to_go = &left_to_go[1..];
            }
            Node::Edge { path, child } => {
                let len = usize::from(path.len());
                same(expected, H::pair(child, &path.number()) + Felt::from(path.len()))?;
                if len == 0 || len > left_to_go.len() || *child == Felt::ZERO {
                    return Err(malformed);
                }
                let edge = key_bits(path.len(), path.number())?;
                if edge != left_to_go[..len] {
                    return Ok(Felt::ZERO);
                }
                expected = *child;
                left_to_go = &left_to_go[len..];
            }
        }
    }
    Ok(expected)
}

fn same(hash: Felt, actual: Felt) -> Result<(), ProofError> {
    if hash == actual { Ok(()) } else { Err(ProofError::Hash { hash, actual }) }
}

/// The lowest `height` bits of `key`, highest first; an error when it has more.
fn key_bits(height: u8, key: Felt) -> Result<Vec<bool>, ProofError> {
    let all = key.to_bits_be();
    let (above, bits) = all.split_at(256 - usize::from(height));
    if above.contains(&true) { Err(ProofError::Key { key }) } else { Ok(bits.to_vec()) }
}
