//! How contracts and classes become leaves, and two roots become the state root.

use starknet_types_core::felt::Felt;
use starknet_types_core::hash::StarkHash;

use crate::{Join, NodeHash, Pedersen, hash_pairs};

/// `"STARKNET_STATE_V0"` as a short string.
const STATE_V0: Felt = Felt::from_hex_unchecked("0x535441524b4e45545f53544154455f5630");
/// `"CONTRACT_CLASS_LEAF_V0"` as a short string.
const CLASS_LEAF_V0: Felt = Felt::from_hex_unchecked("0x434f4e54524143545f434c4153535f4c4541465f5630");

/// What the contracts trie commits to for one contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContractState {
    /// Its class; zero for the contracts below 0x10 that have storage only.
    pub class_hash: Felt,
    /// Root of its storage trie; zero when empty.
    pub storage_root: Felt,
    /// Its nonce.
    pub nonce: Felt,
}

/// The leaf of one contract: H(H(H(class hash, storage root), nonce), 0) with Pedersen; zero, that is no leaf, when there is neither
/// class, nor storage, nor nonce.
#[must_use]
pub fn contract_leaf(contract: &ContractState) -> Felt {
    if is_absent(contract) {
        return Felt::ZERO;
    }
    let code = Pedersen::pair(&contract.class_hash, &contract.storage_root);
    let with_nonce = Pedersen::pair(&code, &contract.nonce);
    Pedersen::pair(&with_nonce, &Felt::ZERO)
}

/// [`contract_leaf`] of each contract, in the same order, hashed in batches.
#[must_use]
pub fn contract_leaves<J: Join>(contracts: &[ContractState], join: &J) -> Vec<Felt> {
    let code: Vec<_> = contracts.iter().map(|c| (c.class_hash, c.storage_root)).collect();
    let code = hash_pairs::<Pedersen, J>(&code, join);
    let with_nonce: Vec<_> = code.into_iter().zip(contracts.iter().map(|c| c.nonce)).collect();
    let with_nonce = hash_pairs::<Pedersen, J>(&with_nonce, join);
    let versioned: Vec<_> = with_nonce.into_iter().map(|hash| (hash, Felt::ZERO)).collect();
    let mut leaves = hash_pairs::<Pedersen, J>(&versioned, join);
    for (leaf, contract) in leaves.iter_mut().zip(contracts) {
        if is_absent(contract) {
            *leaf = Felt::ZERO;
        }
    }
    leaves
}

/// The leaf of one declared class: Poseidon("CONTRACT_CLASS_LEAF_V0", compiled class hash).
#[must_use]
pub fn class_leaf(compiled_class_hash: Felt) -> Felt {
    starknet_types_core::hash::Poseidon::hash(&CLASS_LEAF_V0, &compiled_class_hash)
}

/// The state root: Poseidon("STARKNET_STATE_V0", contracts root, classes root), the rule of protocol 0.14.0 and later, where it
/// holds for an empty classes trie too. Of two empty tries it is zero.
#[must_use]
pub fn state_root(contracts_root: Felt, classes_root: Felt) -> Felt {
    if contracts_root == Felt::ZERO && classes_root == Felt::ZERO {
        return Felt::ZERO;
    }
    starknet_types_core::hash::Poseidon::hash_array(&[STATE_V0, contracts_root, classes_root])
}

fn is_absent(contract: &ContractState) -> bool {
    [contract.class_hash, contract.storage_root, contract.nonce] == [Felt::ZERO; 3]
}
