//! An independent verifier of storage proofs: it knows the rules of the tries and nothing of how we keep them.
//!
//! Rules: <https://docs.starknet.io/learn/protocol/state>. Height 251; a binary node is H(left, right), an edge is
//! H(child, path) + length; the contracts and storage tries use Pedersen, the classes trie Poseidon.

use std::collections::BTreeMap;

use serde_json::Value;
use starknet_types_core::felt::Felt;
use starknet_types_core::hash::{Pedersen, Poseidon, StarkHash};

const HEIGHT: usize = 251;

/// Which hash a trie uses.
#[derive(Clone, Copy)]
pub(crate) enum Hash {
    Pedersen,
    Poseidon,
}

impl Hash {
    fn of(self, left: &Felt, right: &Felt) -> Felt {
        match self {
            Self::Pedersen => Pedersen::hash(left, right),
            Self::Poseidon => Poseidon::hash(left, right),
        }
    }
}

pub(crate) fn felt(value: &Value) -> Felt {
    Felt::from_hex(value.as_str().expect("a felt is a string")).expect("a felt is hex")
}

/// The value that `nodes` prove for `key` under `root`: 0 proves its absence.
pub(crate) fn proved(root: Felt, key: Felt, nodes: &Value, hash: Hash) -> Result<Felt, String> {
    let nodes: BTreeMap<Felt, &Value> = nodes
        .as_array()
        .expect("nodes are a list")
        .iter()
        .map(|entry| (felt(&entry["node_hash"]), &entry["node"]))
        .collect();
    let bits = key.to_bits_be();
    let bits = &bits[bits.len() - HEIGHT..];
    let (mut at, mut depth) = (root, 0);
    // An empty trie has root 0 and no nodes.
    while depth < HEIGHT && at != Felt::ZERO {
        let node = nodes.get(&at).ok_or_else(|| format!("node {at:#x} at depth {depth} is missing"))?;
        if node.get("left").is_some() {
            let (left, right) = (felt(&node["left"]), felt(&node["right"]));
            if hash.of(&left, &right) != at {
                return Err(format!("binary node {at:#x} does not hash to its name"));
            }
            at = if bits[depth] { right } else { left };
            depth += 1;
        } else {
            let (child, path) = (felt(&node["child"]), felt(&node["path"]));
            let length = node["length"].as_u64().expect("a length") as usize;
            if hash.of(&child, &path) + Felt::from(length) != at {
                return Err(format!("edge {at:#x} does not hash to its name"));
            }
            let path = path.to_bits_be();
            if path[path.len() - length..] != bits[depth..depth + length] {
                return Ok(Felt::ZERO);
            }
            at = child;
            depth += length;
        }
    }
    Ok(at)
}

/// Leaf of the contracts trie.
pub(crate) fn contract_leaf(class_hash: Felt, storage_root: Felt, nonce: Felt) -> Felt {
    let inner = Pedersen::hash(&class_hash, &storage_root);
    Pedersen::hash(&Pedersen::hash(&inner, &nonce), &Felt::ZERO)
}

/// Leaf of the classes trie.
pub(crate) fn class_leaf(compiled_class_hash: Felt) -> Felt {
    Poseidon::hash(&Felt::from_bytes_be_slice(b"CONTRACT_CLASS_LEAF_V0"), &compiled_class_hash)
}

/// The state root that the two roots make.
pub(crate) fn state_root(contracts: Felt, classes: Felt) -> Felt {
    Poseidon::hash_array(&[Felt::from_bytes_be_slice(b"STARKNET_STATE_V0"), contracts, classes])
}

#[test]
fn the_verifier_refuses_a_forged_node() {
    let (left, right) = (Felt::from(3), Felt::from(4));
    let child = Pedersen::hash(&left, &right);
    let root = Pedersen::hash(&child, &Felt::ZERO) + Felt::from(250);
    let nodes = |value: &str| {
        serde_json::json!([
            {"node_hash": format!("{root:#x}"), "node": {"path": "0x0", "length": 250, "child": format!("{child:#x}")}},
            {"node_hash": format!("{child:#x}"), "node": {"left": "0x3", "right": value}},
        ])
    };
    assert_eq!(proved(root, Felt::ZERO, &nodes("0x4"), Hash::Pedersen), Ok(left));
    assert_eq!(proved(root, Felt::ONE, &nodes("0x4"), Hash::Pedersen), Ok(right));
    assert_eq!(proved(root, Felt::TWO, &nodes("0x4"), Hash::Pedersen), Ok(Felt::ZERO));
    assert!(proved(root, Felt::ONE, &nodes("0x5"), Hash::Pedersen).is_err());
}
