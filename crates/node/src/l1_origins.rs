//! Where the L1 blocks come from that a chain cites.

use async_trait::async_trait;
use sequencer::origin::Lookup;
use thiserror::Error;
use types::L1Block;

/// Looks up L1 blocks for the heart. L1 is followed elsewhere; whoever follows it also brings [`sequencer::Event::L1Moved`].
///
/// # How the driver calls it
/// Each look-up in a task of its own, seldom more than one at a time, with a deadline ([`crate::Deadlines::l1`]); when that passes the
/// future is dropped and the heart asks again after a while. What is worth keeping is for the implementer to keep: the same block may
/// be looked up again.
#[async_trait]
pub trait L1Origins: Send + Sync + 'static {
    /// The L1 block, or `None` where L1 has no such block.
    ///
    /// A hash is answered whether or not its block is on the chain; whoever knows that L1 has left the block may answer `None`, and the
    /// backend is asked at once where the chain stands. A height is answered by the canonical block alone, and only once
    /// that lies as deep below L1's head as the operator wants ([`sequencer::origin::is_deep_enough`]) and all is at hand that a block
    /// needs which is the first to cite it: what is answered here may be ordered at once, and an order waits for nothing from L1.
    ///
    /// # Errors
    /// When L1 could not be asked, or its answer is not to be trusted. Never for a block that is not there.
    async fn look_up(&self, lookup: Lookup) -> Result<Option<L1Block>, L1Unavailable>;
}

/// L1 could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason} (L1 will be asked again)")]
pub struct L1Unavailable {
    /// Why, for people: names the endpoint and what it did.
    pub reason: String,
}
