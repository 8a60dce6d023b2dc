//! What a chain that lands on L1 demands of the L1 blocks that it cites.

use serde::{Deserialize, Serialize};
use types::Drift;

/// How L1 blocks are chosen, and how far the chain may run ahead of what landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginRules {
    /// How far a block may run ahead of the L1 block that it cites.
    pub drift: Drift,
    /// How many L1 blocks after the one that it cites a block may land at the latest.
    pub sequencing_window: u64,
    /// How many L1 blocks before that window is over the sequencer begins to recover by itself: blocks that could not land
    /// in time are then those that derivation makes by itself, and are not undone. `None` never does.
    pub recovers_before: Option<u64>,
    /// Recover from the start, until the operator says otherwise ([`crate::Event::Recover`])?
    pub recovering: bool,
    /// How many blocks the unsafe head may be ahead of the safe one: from there on none is built until more has landed.
    /// `None`, and 0, is no limit.
    pub max_safe_lag: Option<u64>,
}
