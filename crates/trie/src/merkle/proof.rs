//! Going down to one key, and showing the way to others.

use alloy_primitives::{B256, Bytes, keccak256};
use nybbles::Nibbles;
use thiserror::Error;

use super::node::{Child, Node};
use super::{EMPTY_ROOT, MerkleError, NodeSource, load, nibbles};

/// The nodes from the root towards `key` that have a name, for a key that is there as for one that is not. This is what `eth_getProof`
/// answers (EIP-1186). Empty for the empty trie.
///
/// # Errors
/// As [`super::value`].
pub fn prove<S: NodeSource>(store: &S, root: B256, key: impl AsRef<[u8]>) -> Result<Vec<Bytes>, MerkleError<S::Error>> {
    let mut proof = Vec::new();
    descend(store, root, &nibbles(key.as_ref())?, |rlp| proof.push(rlp))?;
    Ok(proof)
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProofFault {
    /// The key is longer than any in a trie.
    #[error("a key of {0} bytes is too long")]
    Key(usize),
    /// The way ends before the key is found or found absent.
    #[error("node {0} is not among the proof's")]
    Incomplete(B256),
    /// What should be a node is none.
    #[error("node {hash} is none: {reason}")]
    NoNode {
        /// Its hash.
        hash: B256,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More nodes than lie on the way.
    #[error("{0} nodes are not on the way")]
    Superfluous(usize),
}

/// The value that the proof shows under `key`, `None` where it shows that there is none. Needs nothing but the proof.
///
/// # Errors
/// When it shows neither.
pub fn verify(root: B256, key: impl AsRef<[u8]>, proof: &[Bytes]) -> Result<Option<Bytes>, ProofFault> {
    let mut shown = Shown { hashes: proof.iter().map(keccak256).collect(), proof };
    let key = nibbles::<std::convert::Infallible>(key.as_ref()).map_err(fault)?;
    let mut used = 0;
    let value = descend(&shown, root, &key, |_| used += 1).map_err(fault)?;
    shown.hashes.truncate(used);
    if used < proof.len() { Err(ProofFault::Superfluous(proof.len() - used)) } else { Ok(value) }
}

/// The nodes of a proof.
struct Shown<'a> {
    hashes: Vec<B256>,
    proof: &'a [Bytes],
}

impl NodeSource for Shown<'_> {
    type Error = std::convert::Infallible;

    fn node(&self, hash: B256) -> Result<Option<Bytes>, Self::Error> {
        let place = self.hashes.iter().position(|known| *known == hash);
        Ok(place.map(|place| self.proof[place].clone()))
    }
}

fn fault(error: MerkleError<std::convert::Infallible>) -> ProofFault {
    match error {
        MerkleError::Key(bytes) => ProofFault::Key(bytes),
        MerkleError::Missing(hash) => ProofFault::Incomplete(hash),
        MerkleError::Corrupt { hash, reason } => ProofFault::NoNode { hash, reason },
        MerkleError::Store(never) => match never {},
    }
}

/// Goes down to `key` and shows each node with a name on the way.
pub(super) fn descend<S: NodeSource>(
    store: &S,
    root: B256,
    key: &Nibbles,
    mut seen: impl FnMut(Bytes),
) -> Result<Option<Bytes>, MerkleError<S::Error>> {
    if root == EMPTY_ROOT {
        return Ok(None);
    }
    let mut place = Child::Hash(root);
    let mut depth = 0;
    loop {
        let node = match place {
            Child::Empty => return Ok(None),
            Child::Hash(hash) => {
                let (node, rlp) = load(store, hash)?;
                seen(rlp);
                node
            }
            Child::Node(node) => *node,
        };
        let rest = key.slice(depth..);
        place = match node {
            Node::Leaf { path, value } => return Ok((path == rest).then_some(value)),
            Node::Extension { path, child } if rest.starts_with(&path) => {
                depth += path.len();
                child
            }
            Node::Extension { .. } => return Ok(None),
            Node::Branch { mut children, value } => match rest.first() {
                None => return Ok(value),
                Some(step) => {
                    depth += 1;
                    std::mem::take(&mut children[usize::from(step)])
                }
            },
        };
    }
}
