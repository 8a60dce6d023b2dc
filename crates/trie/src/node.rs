//! Nodes, their bytes, and the seam to wherever they are kept.

use std::collections::HashMap;
use std::convert::Infallible;

use starknet_types_core::felt::Felt;

use crate::{NodeHash, Path};

/// An inner node. Leaves are not nodes: a leaf is the value that stands where a path has used up all bits of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// Two children, neither of them empty.
    Binary {
        /// Hash (or value) of the child under bit 0.
        left: Felt,
        /// Hash (or value) of the child under bit 1.
        right: Felt,
    },
    /// A run of bits under which there is one child; the child is binary or a leaf, never another edge.
    Edge {
        /// The bits, at least one.
        path: Path,
        /// Hash (or value) of what stands at their end.
        child: Felt,
    },
}

/// Where nodes are kept, by their hash. Nodes are never changed; a new root adds nodes and takes none away.
pub trait NodeStore {
    /// Why the store could not be read.
    type Error;

    /// The node with this hash, `None` when it is not there.
    ///
    /// # Errors
    /// Whatever keeps the store from answering.
    fn node(&self, hash: &Felt) -> Result<Option<Node>, Self::Error>;
}

impl<S: NodeStore + ?Sized> NodeStore for &S {
    type Error = S::Error;

    fn node(&self, hash: &Felt) -> Result<Option<Node>, Self::Error> {
        (**self).node(hash)
    }
}

/// Nodes in memory: for tests, for genesis, and to stand new nodes in front of a slower store.
#[derive(Debug, Clone, Default)]
pub struct Memory(HashMap<Felt, Node>);

impl NodeStore for Memory {
    type Error = Infallible;

    fn node(&self, hash: &Felt) -> Result<Option<Node>, Infallible> {
        Ok(self.0.get(hash).copied())
    }
}

impl Extend<(Felt, Node)> for Memory {
    fn extend<I: IntoIterator<Item = (Felt, Node)>>(&mut self, nodes: I) {
        self.0.extend(nodes);
    }
}

impl Memory {
    /// Number of nodes held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no node is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a node out.
    pub fn remove(&mut self, hash: &Felt) -> Option<Node> {
        self.0.remove(hash)
    }
}

/// First byte of a binary node; an edge starts with its length, which is never zero.
const BINARY_TAG: u8 = 0;
const FELT_BYTES: usize = 32;

impl Node {
    /// The longest encoding: an edge of 251 bits.
    pub const ENCODED_BYTES_MAX: usize = 1 + FELT_BYTES + FELT_BYTES;

    /// The node's hash: binary H(left, right), edge H(child, path) + length.
    #[must_use]
    pub fn hash<H: NodeHash>(&self) -> Felt {
        let (left, right) = self.preimage();
        H::pair(&left, &right) + self.addend()
    }

    /// The two elements that are hashed.
    pub(crate) fn preimage(&self) -> (Felt, Felt) {
        match self {
            Self::Binary { left, right } => (*left, *right),
            Self::Edge { path, child } => (*child, path.number()),
        }
    }

    /// What is added to the hash of [`Node::preimage`].
    pub(crate) fn addend(&self) -> Felt {
        match self {
            Self::Binary { .. } => Felt::ZERO,
            Self::Edge { path, .. } => Felt::from(path.len()),
        }
    }

    /// The node as bytes, at most [`Node::ENCODED_BYTES_MAX`].
    ///
    /// ```text
    /// binary   00  left (32, big-endian)  right (32)
    /// edge     length (1 byte, 1 to 251)  path (length / 8 bytes, rounded up, right-aligned)  child (32)
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::ENCODED_BYTES_MAX);
        match self {
            Self::Binary { left, right } => {
                bytes.push(BINARY_TAG);
                bytes.extend(left.to_bytes_be());
                bytes.extend(right.to_bytes_be());
            }
            Self::Edge { path, child } => {
                bytes.push(path.len());
                bytes.extend(&path.to_bytes()[FELT_BYTES - path_bytes(path.len())..]);
                bytes.extend(child.to_bytes_be());
            }
        }
        bytes
    }

    /// Reads what [`Node::encode`] wrote. Each node has exactly one encoding; anything else is refused.
    ///
    /// # Errors
    /// [`DecodeError`] for a length that fits no node, an element not below the field's prime, a path longer than it says or than
    /// any key, or a child of zero.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&tag, body) = bytes.split_first().ok_or(DecodeError::Length { found: 0 })?;
        let path_len = if tag == BINARY_TAG { FELT_BYTES } else { path_bytes(tag) };
        if body.len() != path_len + FELT_BYTES {
            return Err(DecodeError::Length { found: bytes.len() });
        }
        let (first, last) = body.split_at(path_len);
        if tag == BINARY_TAG {
            return Ok(Self::Binary { left: child(first)?, right: child(last)? });
        }
        let path = Path::new(element(first)?, tag).ok_or(DecodeError::Path)?;
        Ok(Self::Edge { path, child: child(last)? })
    }
}

/// Why bytes are not a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No node is this long, or not with this first byte.
    #[error("{found} bytes are not the length of the node that the first byte announces")]
    Length {
        /// Bytes given.
        found: usize,
    },
    /// A number that is not below the field's prime.
    #[error("an element is not below the prime of the field")]
    Element,
    /// An edge longer than 251 bits, or whose path has bits beyond its length.
    #[error("the path of an edge does not fit its length")]
    Path,
    /// A child of zero: an empty sub-trie is never a child.
    #[error("a child is zero")]
    EmptyChild,
}

fn path_bytes(len: u8) -> usize {
    usize::from(len).div_ceil(8)
}

fn child(bytes: &[u8]) -> Result<Felt, DecodeError> {
    let child = element(bytes)?;
    if child == Felt::ZERO { Err(DecodeError::EmptyChild) } else { Ok(child) }
}

/// At most 32 big-endian bytes as an element, only in the form that `to_bytes_be` writes.
fn element(bytes: &[u8]) -> Result<Felt, DecodeError> {
    let mut padded = [0; FELT_BYTES];
    padded[FELT_BYTES - bytes.len()..].copy_from_slice(bytes);
    let element = Felt::from_bytes_be(&padded);
    if element.to_bytes_be() == padded { Ok(element) } else { Err(DecodeError::Element) }
}
