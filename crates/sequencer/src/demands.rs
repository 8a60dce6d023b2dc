//! Blocks that were asked for, where nobody waits for a slot.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use types::{BlockNumber, BlockRef, Millis, Slot, Timestamp};

/// Demands that may wait. A block answers one, so that many are work for a while.
pub const DEMANDS_MAX: usize = 256;
/// Dates of blocks are a second apart at least.
const SECOND: Millis = Millis::new(1_000);

/// Demands in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Demands {
    waiting: VecDeque<Timestamp>,
    /// The block that answers the demand before those: sealed, and not the backend's head yet.
    answer: Option<BlockNumber>,
    served: u64,
}

impl Demands {
    /// One more block is wanted. No effect when too many wait.
    pub(crate) fn hear(&mut self, date: Timestamp) {
        if self.waiting.len() < DEMANDS_MAX {
            self.waiting.push_back(date);
        }
    }

    /// The slot and date of the next block, if one is wanted.
    pub(crate) fn next(&self, head: BlockRef, earliest: Slot) -> Option<(Slot, Timestamp)> {
        let date = *self.waiting.front()?;
        // Whatever clock the dates follow, the slots of a chain rise with its height.
        let slot = Slot::new(head.number.next().as_u64()).max(earliest);
        Some((slot, date.max(head.timestamp.after(SECOND))))
    }

    /// The block that was wanted is sealed; there is none where nothing was to be sealed.
    pub(crate) fn sealed(&mut self, block: Option<BlockNumber>) {
        if self.waiting.pop_front().is_some() {
            match block {
                Some(block) => self.answer = Some(block),
                None => self.served += 1,
            }
        }
    }

    /// The backend's head is this block, or no lower one is still to become it.
    pub(crate) fn stands_at(&mut self, head: BlockNumber) {
        if self.answer.take_if(|answer| *answer <= head).is_some() {
            self.served += 1;
        }
    }

    /// How many were answered.
    pub(crate) const fn served(&self) -> u64 {
        self.served
    }
}
