//! What the rollup tells L1 of a block: its output root.
//!
//! Source: <https://specs.optimism.io/protocol/proposals.html>, "L2 Output Commitment Construction".

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

/// An output of version 0, the only one there is. As a rollup node serves it in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputV0 {
    /// The state root of the block.
    pub state_root: B256,
    /// The storage root of the contract through which messages leave for L1, after the block.
    pub message_passer_storage_root: B256,
    /// The hash of the block.
    pub block_hash: B256,
}

impl OutputV0 {
    /// The bytes that are hashed: the version and the three fields, a word each.
    pub fn encode(&self) -> [u8; 128] {
        let words = [B256::ZERO, self.state_root, self.message_passer_storage_root, self.block_hash];
        let mut bytes = [0; 128];
        for (place, word) in bytes.chunks_exact_mut(32).zip(words) {
            place.copy_from_slice(word.as_slice());
        }
        bytes
    }

    /// The output root.
    pub fn root(&self) -> B256 {
        keccak256(self.encode())
    }
}
