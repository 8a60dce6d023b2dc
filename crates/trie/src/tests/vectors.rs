//! The published values of `shared/vectors/starknet/blocks/trie.json`.

use std::path::PathBuf;

use serde::Deserialize;
use starknet_types_core::felt::Felt;
use starknet_types_core::hash::StarkHash;

use super::Grown;
use crate::{
    ContractState, Node, NodeHash, Path, Pedersen, Poseidon, STORAGE, Sequential, class_leaf, contract_leaf,
    contract_leaves, state_root,
};

#[derive(Deserialize)]
struct Vectors {
    trees: Vec<Tree>,
    membership: Vec<Membership>,
    nodes: Vec<NodeVector>,
    contract_state_hash: Vec<ContractVector>,
    class_leaf_hash: Vec<ClassVector>,
    state_commitment: Vec<StateVector>,
    hash: Vec<HashVector>,
}

#[derive(Deserialize)]
struct Tree {
    name: String,
    height: u8,
    hash: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    set: Vec<Leaf>,
    root: Option<Felt>,
}

#[derive(Deserialize, Clone, Copy)]
struct Leaf {
    key: Felt,
    value: Felt,
}

#[derive(Deserialize)]
struct Membership {
    height: u8,
    steps: Vec<Vec<Leaf>>,
}

#[derive(Deserialize)]
struct NodeVector {
    hash: String,
    #[serde(flatten)]
    node: NodeKind,
    expected: Felt,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum NodeKind {
    Binary { left: Felt, right: Felt },
    Edge { child: Felt, path: Felt, length: u8 },
}

#[derive(Deserialize)]
struct ContractVector {
    class_hash: Felt,
    storage_root: Felt,
    nonce: Felt,
    expected: Felt,
}

#[derive(Deserialize)]
struct ClassVector {
    compiled_class_hash: Felt,
    expected: Felt,
}

#[derive(Deserialize)]
struct StateVector {
    contracts: Vec<StateContract>,
    class_root: Felt,
    expected: Felt,
}

#[derive(Deserialize)]
struct StateContract {
    address: Felt,
    class_hash: Felt,
    nonce: Felt,
    storage: Vec<Leaf>,
}

#[derive(Deserialize)]
struct HashVector {
    function: String,
    input: Vec<Felt>,
    expected: Felt,
}

/// The vectors, or nothing (said on stderr) when they are not beside the workspace.
fn vectors() -> Option<Vectors> {
    let folder = std::env::var_os("SEQUENZA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let file = folder.join("starknet/blocks/trie.json");
    match std::fs::read(&file) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("trie.json has the shape its README describes")),
        Err(error) => {
            eprintln!("SKIPPED: the trie vectors are not there: {}: {error}", file.display());
            None
        }
    }
}

fn pairs(leaves: &[Leaf]) -> Vec<(Felt, Felt)> {
    leaves.iter().map(|leaf| (leaf.key, leaf.value)).collect()
}

fn check_tree<H: NodeHash>(tree: &Tree) {
    let mut stepwise = Grown::<H>::new(tree.height);
    let mut everything = Vec::new();
    for (number, step) in tree.steps.iter().enumerate() {
        let set = pairs(&step.set);
        stepwise.apply(&set);
        everything.extend(set);
        let Some(root) = step.root else { continue };
        assert_eq!(stepwise.root, root, "{}, step {number}", tree.name);

        let mut at_once = Grown::<H>::new(tree.height);
        at_once.apply(&everything);
        assert_eq!(at_once.root, root, "{}, steps to {number} in one batch", tree.name);

        let mut one_by_one = Grown::<H>::new(tree.height);
        for leaf in &everything {
            one_by_one.apply(&[*leaf]);
        }
        assert_eq!(one_by_one.root, root, "{}, steps to {number} leaf by leaf", tree.name);

        let last: std::collections::BTreeMap<_, _> = everything.iter().copied().collect();
        let mut backwards = Grown::<H>::new(tree.height);
        for leaf in last.into_iter().rev() {
            backwards.apply(&[leaf]);
        }
        assert_eq!(backwards.root, root, "{}, leaves to {number} backwards", tree.name);
    }
    let keys: Vec<Felt> = everything.iter().map(|leaf| leaf.0).chain([Felt::from(0x1234), Felt::ZERO]).collect();
    let proof = stepwise.rules.prove(&stepwise.nodes, stepwise.root, &keys).expect("memory answers");
    for key in keys {
        let value = everything.iter().rev().find(|leaf| leaf.0 == key).map_or(Felt::ZERO, |leaf| leaf.1);
        assert_eq!(stepwise.rules.verify(stepwise.root, key, &proof), Ok(value), "{}, key {key:#x}", tree.name);
    }
}

#[test]
fn trees() {
    let Some(vectors) = vectors() else { return };
    assert!(!vectors.trees.is_empty());
    for tree in &vectors.trees {
        match tree.hash.as_str() {
            "pedersen" => check_tree::<Pedersen>(tree),
            "poseidon" => check_tree::<Poseidon>(tree),
            other => panic!("{}: unknown hash {other}", tree.name),
        }
    }
}

#[test]
fn equal_sub_tries_stay_readable() {
    let Some(vectors) = vectors() else { return };
    for membership in &vectors.membership {
        let mut trie = Grown::<Pedersen>::new(membership.height);
        let mut live = std::collections::BTreeMap::new();
        for step in &membership.steps {
            trie.apply(&pairs(step));
            live.extend(pairs(step));
            for (key, value) in &live {
                assert_eq!(trie.value(*key), *value);
            }
        }
    }
}

#[test]
fn nodes() {
    let Some(vectors) = vectors() else { return };
    for vector in &vectors.nodes {
        let node = match vector.node {
            NodeKind::Binary { left, right } => Node::Binary { left, right },
            NodeKind::Edge { child, path, length } => {
                Node::Edge { path: Path::new(path, length).expect("the vector's path fits its length"), child }
            }
        };
        assert_eq!(vector.hash, "pedersen");
        assert_eq!(node.hash::<Pedersen>(), vector.expected, "{node:?}");
    }
}

#[test]
fn leaves_and_state_root() {
    let Some(vectors) = vectors() else { return };
    for vector in &vectors.contract_state_hash {
        let contract =
            ContractState { class_hash: vector.class_hash, storage_root: vector.storage_root, nonce: vector.nonce };
        assert_eq!(contract_leaf(&contract), vector.expected);
        let none = ContractState { class_hash: Felt::ZERO, storage_root: Felt::ZERO, nonce: Felt::ZERO };
        assert_eq!(contract_leaves(&[contract, none], &Sequential), [vector.expected, Felt::ZERO]);
    }
    for vector in &vectors.class_leaf_hash {
        assert_eq!(class_leaf(vector.compiled_class_hash), vector.expected);
    }
    for vector in &vectors.state_commitment {
        let leaves = vector.contracts.iter().map(|contract| {
            let storage_root =
                STORAGE.root_from_scratch(pairs(&contract.storage), &Sequential).expect("the vector's keys fit");
            let state = ContractState { class_hash: contract.class_hash, storage_root, nonce: contract.nonce };
            (contract.address, contract_leaf(&state))
        });
        let contracts_root = crate::CONTRACTS.root_from_scratch(leaves, &Sequential).expect("addresses fit");
        assert_eq!(state_root(contracts_root, vector.class_root), vector.expected);
    }
    assert_eq!(state_root(Felt::ZERO, Felt::ZERO), Felt::ZERO);
}

#[test]
fn plain_hashes() {
    let Some(vectors) = vectors() else { return };
    for vector in &vectors.hash {
        let actual = match (vector.function.as_str(), vector.input.as_slice()) {
            ("pedersen", [left, right]) => Pedersen::pair(left, right),
            ("poseidon", [left, right]) => Poseidon::pair(left, right),
            // H(... H(H(0, first), second) ..., count), each step by our own function.
            ("pedersen_on_elements", elements) => {
                let folded = elements.iter().fold(Felt::ZERO, |hash, element| Pedersen::pair(&hash, element));
                Pedersen::pair(&folded, &Felt::from(elements.len()))
            }
            ("poseidon_many", elements) => starknet_types_core::hash::Poseidon::hash_array(elements),
            (other, _) => panic!("unknown function {other}"),
        };
        assert_eq!(actual, vector.expected, "{}", vector.function);
    }
}
