//! Blocks of the chain below, as far as a rollup cites them.

use serde::{Deserialize, Serialize};

use crate::{BlockHash, Millis, Timestamp};

/// The L1 block that a block cites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct L1Origin {
    /// L1 height.
    pub number: u64,
    /// L1 block hash.
    pub hash: BlockHash,
    /// L1 block time.
    pub timestamp: Timestamp,
}

/// An L1 block that may be cited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct L1Block {
    /// The block.
    pub origin: L1Origin,
    /// The hash of the block below.
    pub parent: BlockHash,
}

/// How far a block may run ahead of its L1 origin.
///
/// Source: <https://specs.optimism.io/protocol/fjord/derivation.html>, "Constant Maximum Sequencer Drift".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Drift {
    /// Before Fjord.
    pub bedrock: Millis,
    /// From Fjord on.
    pub fjord: Millis,
    /// When Fjord begins, by L1's time; `None` if it is not planned.
    pub fjord_begins: Option<Timestamp>,
}

impl Drift {
    /// The most ahead that is allowed of an L1 block at this time.
    pub fn max(&self, l1_time: Timestamp) -> Millis {
        if self.fjord_begins.is_some_and(|begins| l1_time >= begins) { self.fjord } else { self.bedrock }
    }

    /// Has a block at `time` run too far ahead of this L1 block?
    pub fn is_exceeded(&self, time: Timestamp, origin: &L1Origin) -> bool {
        time.since(origin.timestamp) > self.max(origin.timestamp)
    }
}
