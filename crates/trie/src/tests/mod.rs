//! Tests of the whole crate: published vectors, a naive model, and proofs that must fail.

mod model;
mod proofs;
mod vectors;

use starknet_types_core::felt::Felt;

use crate::{Memory, NodeHash, Sequential, Trie, Update};

/// A trie that keeps its nodes and checks what each update promises.
struct Grown<H> {
    rules: Trie<H>,
    nodes: Memory,
    root: Felt,
}

impl<H: NodeHash> Grown<H> {
    fn new(height: u8) -> Self {
        Self { rules: Trie::new(height), nodes: Memory::default(), root: Felt::ZERO }
    }

    /// Applies a batch, sees that every node is listed under its own hash and once, and keeps them.
    fn apply(&mut self, changes: &[(Felt, Felt)]) -> Update {
        let plan = self.rules.plan(&self.nodes, self.root, changes).expect("memory answers");
        let promised = plan.hashes();
        let update = plan.commit(&Sequential);
        assert_eq!(update.nodes.len(), promised, "one hash for each new node");
        for (hash, node) in &update.nodes {
            assert_eq!(*hash, node.hash::<H>(), "{node:?}");
        }
        self.nodes.extend(update.nodes.iter().copied());
        self.root = update.root;
        update
    }

    fn value(&self, key: Felt) -> Felt {
        self.rules.value(&self.nodes, self.root, key).expect("every node of the root is kept")
    }
}
