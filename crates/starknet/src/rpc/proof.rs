//! Storage proofs as clients read them (result of `starknet_getStorageProof`).

use serde::Serialize;

use super::hex::Hex;
use crate::view::{ProofNode, ProofNodeKind, StorageProof};

#[derive(Serialize)]
pub(crate) struct ProofJson {
    classes_proof: Vec<NodeJson>,
    contracts_proof: ContractsProofJson,
    contracts_storage_proofs: Vec<Vec<NodeJson>>,
    global_roots: RootsJson,
}

#[derive(Serialize)]
struct ContractsProofJson {
    nodes: Vec<NodeJson>,
    contract_leaves_data: Vec<LeafJson>,
}

#[derive(Serialize)]
struct LeafJson {
    nonce: Hex,
    class_hash: Hex,
    storage_root: Hex,
}

#[derive(Serialize)]
struct RootsJson {
    contracts_tree_root: Hex,
    classes_tree_root: Hex,
    block_hash: Hex,
}

#[derive(Serialize)]
struct NodeJson {
    node_hash: Hex,
    node: KindJson,
}

#[derive(Serialize)]
#[serde(untagged)]
enum KindJson {
    Binary { left: Hex, right: Hex },
    Edge { path: Hex, length: u8, child: Hex },
}

impl From<&StorageProof> for ProofJson {
    fn from(proof: &StorageProof) -> Self {
        let nodes = |nodes: &[ProofNode]| nodes.iter().map(NodeJson::from).collect::<Vec<_>>();
        Self {
            classes_proof: nodes(&proof.classes),
            contracts_proof: ContractsProofJson {
                nodes: nodes(&proof.contracts),
                // A contract that does not exist has zeros here; the nodes prove its absence.
                contract_leaves_data: proof
                    .leaves
                    .iter()
                    .map(|leaf| leaf.unwrap_or_default())
                    .map(|leaf| LeafJson {
                        nonce: Hex(leaf.nonce.0),
                        class_hash: Hex(leaf.class_hash.0),
                        storage_root: Hex(leaf.storage_root),
                    })
                    .collect(),
            },
            contracts_storage_proofs: proof.storage.iter().map(|proof| nodes(proof)).collect(),
            global_roots: RootsJson {
                contracts_tree_root: Hex(proof.contracts_root),
                classes_tree_root: Hex(proof.classes_root),
                block_hash: Hex(proof.block_hash.0),
            },
        }
    }
}

impl From<&ProofNode> for NodeJson {
    fn from(node: &ProofNode) -> Self {
        let kind = match node.kind {
            ProofNodeKind::Binary { left, right } => KindJson::Binary { left: Hex(left), right: Hex(right) },
            ProofNodeKind::Edge { child, path, length } => {
                KindJson::Edge { path: Hex(path), length, child: Hex(child) }
            }
        };
        Self { node_hash: Hex(node.hash), node: kind }
    }
}
