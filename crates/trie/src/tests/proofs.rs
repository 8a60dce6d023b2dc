//! Proofs hold for what is there and what is not, and for nothing else.

use proptest::prelude::*;
use starknet_types_core::felt::Felt;

use super::Grown;
use crate::{Memory, Node, Path, Pedersen, Poseidon, Proof, ProofError, STORAGE};

fn key(n: u64) -> Felt {
    // Some keys share long prefixes, some part at the root.
    if n.is_multiple_of(2) { Felt::from(n) } else { Felt::from(n) * Felt::TWO.pow(230u8) }
}

fn grown() -> Grown<Pedersen> {
    let mut trie = Grown::new(251);
    trie.apply(&(0..24).map(|n| (key(n), Felt::from(n + 1))).collect::<Vec<_>>());
    trie
}

#[test]
fn one_proof_serves_many_keys() {
    let trie = grown();
    let keys: Vec<_> = (0..40).map(key).collect();
    let proof = STORAGE.prove(&trie.nodes, trie.root, &keys).expect("memory answers");
    for n in 0..40 {
        let expected = if n < 24 { Felt::from(n + 1) } else { Felt::ZERO };
        assert_eq!(STORAGE.verify(trie.root, key(n), &proof), Ok(expected), "key {n}");
    }
    let mut hashes: Vec<_> = proof.nodes.iter().map(|node| node.0).collect();
    assert_eq!(hashes[0], trie.root, "parents come before children");
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), proof.nodes.len(), "no node twice");
}

#[test]
fn the_empty_trie_proves_absence_with_no_nodes() {
    let proof = STORAGE.prove(&Memory::default(), Felt::ZERO, &[Felt::ONE]).expect("memory answers");
    assert_eq!(proof, Proof::default());
    assert_eq!(STORAGE.verify(Felt::ZERO, Felt::ONE, &proof), Ok(Felt::ZERO));
}

#[test]
fn a_proof_does_not_reach_other_keys() {
    let trie = grown();
    let proof = STORAGE.prove(&trie.nodes, trie.root, &[key(3)]).expect("memory answers");
    assert!(matches!(STORAGE.verify(trie.root, key(4), &proof), Err(ProofError::Missing { .. })));
    assert!(matches!(STORAGE.verify(trie.root + Felt::ONE, key(3), &proof), Err(ProofError::Missing { .. })));
    let beyond = Felt::TWO.pow(251u8);
    assert_eq!(STORAGE.verify(trie.root, beyond, &proof), Err(ProofError::Key { key: beyond }));
}

#[test]
fn every_single_tampering_fails() {
    let trie = grown();
    for n in [2, 3, 25, 26] {
        let proof = STORAGE.prove(&trie.nodes, trie.root, &[key(n)]).expect("memory answers");
        let truth = STORAGE.verify(trie.root, key(n), &proof);
        assert!(truth.is_ok());
        for place in 0..proof.nodes.len() {
            let (hash, node) = proof.nodes[place];
            for forged in forgeries(node) {
                let mut tampered = proof.clone();
                tampered.nodes[place].1 = forged;
                let verdict = STORAGE.verify(trie.root, key(n), &tampered);
                assert!(matches!(verdict, Err(ProofError::Hash { .. })), "{forged:?} for {node:?}: {verdict:?}");

                // Listed under its own hash it is simply not what the parent asks for.
                tampered.nodes[place].0 = forged.hash::<Pedersen>();
                let verdict = STORAGE.verify(trie.root, key(n), &tampered);
                assert_eq!(verdict, Err(ProofError::Missing { hash }));
            }
            let mut shortened = proof.clone();
            shortened.nodes.remove(place);
            assert_eq!(STORAGE.verify(trie.root, key(n), &shortened), Err(ProofError::Missing { hash }));
        }
    }
}

fn forgeries(node: Node) -> Vec<Node> {
    match node {
        Node::Binary { left, right } => vec![
            Node::Binary { left: right, right: left },
            Node::Binary { left: left + Felt::ONE, right },
            Node::Binary { left, right: right + Felt::ONE },
        ],
        Node::Edge { path, child } => {
            let other = |number: Felt, len| Path::new(number, len).map(|path| Node::Edge { path, child });
            let flipped = if path.bit(path.len() - 1) { path.number() - Felt::ONE } else { path.number() + Felt::ONE };
            [
                Some(Node::Edge { path, child: child + Felt::ONE }),
                other(flipped, path.len()),
                other(path.number(), path.len() - 1),
                other(path.number(), path.len() + 1),
            ]
            .into_iter()
            .flatten()
            .collect()
        }
    }
}

#[test]
fn nodes_no_trie_contains_are_refused() {
    // A root that commits to an edge of no bits, and one to an empty child: the hashes are right, the shapes are not.
    let edge = Node::Edge { path: Path::EMPTY, child: Felt::ONE };
    let half = Node::Binary { left: Felt::ONE, right: Felt::ZERO };
    for node in [edge, half] {
        let root = node.hash::<Pedersen>();
        let proof = Proof { nodes: vec![(root, node)] };
        assert_eq!(STORAGE.verify(root, Felt::ONE, &proof), Err(ProofError::Shape { hash: root, depth: 0 }));
    }
}

#[test]
fn proofs_of_the_wrong_hash_function_fail() {
    let trie = grown();
    let proof = STORAGE.prove(&trie.nodes, trie.root, &[key(3)]).expect("memory answers");
    let verdict = crate::Trie::<Poseidon>::new(251).verify(trie.root, key(3), &proof);
    assert!(matches!(verdict, Err(ProofError::Hash { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn random_keys_prove(present in prop::collection::btree_set(0..400u64, 0..30), asked in prop::collection::vec(0..400u64, 1..20)) {
        let mut trie = Grown::<Pedersen>::new(251);
        trie.apply(&present.iter().map(|n| (key(*n), Felt::from(n + 1))).collect::<Vec<_>>());
        let keys: Vec<_> = asked.iter().copied().map(key).collect();
        let proof = STORAGE.prove(&trie.nodes, trie.root, &keys).expect("memory answers");
        for n in asked {
            let expected = if present.contains(&n) { Felt::from(n + 1) } else { Felt::ZERO };
            prop_assert_eq!(STORAGE.verify(trie.root, key(n), &proof), Ok(expected));
            prop_assert_eq!(trie.value(key(n)), expected);
        }
    }
}
