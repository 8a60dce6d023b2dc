//! Which L1 block the next block cites.
//!
//! A block cites the L1 block of its parent or the one after it, is never older than what it cites, and holds no
//! transactions of the pool once it has run too far ahead of it. The choice is to advance as soon as that is allowed.
//! While recovering, blocks are exactly those that derivation would make by itself once the sequencing window is over:
//! empty, and never staying where they could advance.
//!
//! Sources: <https://specs.optimism.io/protocol/derivation.html>, "L1 origin" and "Batch Queue"; op-node
//! `rollup/sequencing/origin_selector.go`. All here stands on `types` alone.

use types::{BlockHash, L1Origin, Millis, Timestamp};

/// An L1 block that may be cited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct L1Block {
    /// The block.
    pub origin: L1Origin,
    /// The hash of the block below.
    pub parent: BlockHash,
}

/// What is known of the L1 block after the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NextOrigin {
    /// Nobody has looked yet.
    #[default]
    Unasked,
    /// L1 does not have it, or not deep enough.
    Absent,
    /// It is there.
    Known(L1Block),
}

/// How far a block may run ahead of its L1 origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    fn exceeded(&self, time: Timestamp, origin: &L1Origin) -> bool {
        time.since(origin.timestamp) > self.max(origin.timestamp)
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The hash of the L1 block that the parent cites.
    pub parent_origin: BlockHash,
    /// The time of the block to build.
    pub timestamp: Timestamp,
    /// The L1 block of that hash, as L1 has it.
    pub current: L1Block,
    /// The L1 block after it.
    pub next: NextOrigin,
    /// Are blocks to be those that derivation makes by itself?
    pub recovering: bool,
}

/// What the next block cites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The next L1 block.
    Advance {
        /// That block.
        origin: L1Origin,
        /// No transaction of the pool may be in the block.
        empty: bool,
    },
    /// The parent's L1 block.
    Stay {
        /// That block.
        origin: L1Origin,
        /// No transaction of the pool may be in the block.
        empty: bool,
    },
    /// Without the next L1 block there is no right answer: look it up, and ask again.
    NeedNext,
    /// The picture of L1 does not hold together: find out where the chains stand.
    Reset(Contradiction),
}

/// Why the picture of L1 does not hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// L1 does not know the block that the parent cites: L1 has reorganised, or the endpoint lags behind.
    #[error("L1 does not know block {0}, the parent's origin: L1 has reorganised, or its endpoint lags behind")]
    OriginGone(BlockHash),
    /// The current L1 block is not the one that the parent cites.
    #[error("L1 block {found} was looked up for the parent's origin {cited}")]
    OtherOrigin {
        /// What the parent cites.
        cited: BlockHash,
        /// What was found.
        found: BlockHash,
    },
    /// The next L1 block does not sit on the current one: L1 has reorganised.
    #[error("L1 block {next} sits on {parent} and not on the parent's origin {current}: L1 has reorganised")]
    NextElsewhere {
        /// The next L1 block.
        next: BlockHash,
        /// What it sits on.
        parent: BlockHash,
        /// The current one.
        current: BlockHash,
    },
}

/// Chooses.
pub fn choose(drift: &Drift, question: &Question) -> Choice {
    let Question { parent_origin, timestamp, current, next, recovering } = *question;
    if current.origin.hash != parent_origin {
        return Choice::Reset(Contradiction::OtherOrigin { cited: parent_origin, found: current.origin.hash });
    }
    let too_far = drift.exceeded(timestamp, &current.origin);
    let next = match next {
        NextOrigin::Known(next) => next,
        // L1 has no next one, or not deep enough: to stay is right as long as the drift allows it, also while recovering.
        NextOrigin::Absent if !too_far => return Choice::Stay { origin: current.origin, empty: recovering },
        NextOrigin::Unasked if !too_far && !recovering => {
            return Choice::Stay { origin: current.origin, empty: false };
        }
        NextOrigin::Absent | NextOrigin::Unasked => return Choice::NeedNext,
    };
    if next.parent != current.origin.hash {
        let (next, parent) = (next.origin.hash, next.parent);
        return Choice::Reset(Contradiction::NextElsewhere { next, parent, current: current.origin.hash });
    }
    if timestamp >= next.origin.timestamp {
        let empty = recovering || drift.exceeded(timestamp, &next.origin);
        return Choice::Advance { origin: next.origin, empty };
    }
    Choice::Stay { origin: current.origin, empty: recovering || too_far }
}

/// May an L1 block of this height be taken for the next? Only `confirmations` below L1's head, if the head is known.
/// Genesis always may.
pub fn is_deep_enough(number: u64, confirmations: u64, l1_head: Option<u64>) -> bool {
    let Some(head) = l1_head else { return true };
    number == 0 || confirmations == 0 || number.checked_add(confirmations).is_some_and(|deep| deep <= head)
}

/// Is it too late to bring a block that cites this L1 block to L1? Derivation then goes on without it, by empty blocks:
/// what is built now has to be the same (recovery).
pub fn is_window_over(origin: u64, sequencing_window: u64, l1_head: u64) -> bool {
    // The earliest L1 block that could hold it is the one after the head.
    origin.saturating_add(sequencing_window) <= l1_head
}

/// What to look up on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The block of this hash.
    ByHash(BlockHash),
    /// The canonical block at this height.
    ByNumber(u64),
}

/// What is known of the two L1 blocks that the next block may cite. Reads ahead: asks for the next one before it is
/// needed.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    confirmations: u64,
    l1_head: Option<u64>,
    cited: Option<BlockHash>,
    /// L1 was asked for the cited block and does not know it.
    gone: bool,
    current: Option<L1Block>,
    next: NextOrigin,
}

impl Origins {
    /// Knows nothing. The next L1 block is taken only this deep below L1's head.
    pub fn new(confirmations: u64) -> Self {
        Self { confirmations, ..Self::default() }
    }

    /// L1's head is at this height now: what was absent may be there. To be told of every new head: nothing that was
    /// absent is asked for again before.
    pub fn head_moved(&mut self, l1_head: u64) {
        self.l1_head = Some(l1_head);
        self.gone = false;
        if self.next == NextOrigin::Absent {
            self.next = NextOrigin::Unasked;
        }
    }

    /// The block to build on cites this L1 block.
    pub fn follow(&mut self, cited: BlockHash) {
        if self.cited != Some(cited) {
            self.cited = Some(cited);
            self.gone = false;
        }
        if self.current.is_some_and(|current| current.origin.hash == cited) {
            return;
        }
        self.current = match self.next {
            NextOrigin::Known(next) if next.origin.hash == cited => Some(next),
            NextOrigin::Known(_) | NextOrigin::Absent | NextOrigin::Unasked => None,
        };
        self.next = NextOrigin::Unasked;
    }

    /// Forgets both L1 blocks: L1 may have reorganised.
    pub fn reset(&mut self) {
        self.gone = false;
        self.current = None;
        self.next = NextOrigin::Unasked;
    }

    /// What is worth looking up now, if anything.
    pub fn wanted(&self) -> Option<Lookup> {
        let Some(current) = self.current else { return self.cited.filter(|_| !self.gone).map(Lookup::ByHash) };
        let number = current.origin.number.checked_add(1)?;
        let ask = self.next == NextOrigin::Unasked && is_deep_enough(number, self.confirmations, self.l1_head);
        ask.then_some(Lookup::ByNumber(number))
    }

    /// What a look-up brought; `None` where L1 has no such block. An answer to a question that is no longer open
    /// changes nothing.
    pub fn found(&mut self, lookup: Lookup, block: Option<L1Block>) {
        if self.wanted() != Some(lookup) {
            return;
        }
        match lookup {
            Lookup::ByHash(_) => {
                self.current = block;
                self.gone = block.is_none();
            }
            Lookup::ByNumber(_) => self.next = block.map_or(NextOrigin::Absent, NextOrigin::Known),
        }
    }

    /// What the next block, at `timestamp`, cites; `None` before the parent's own L1 block is known.
    pub fn choose(&self, drift: &Drift, timestamp: Timestamp, recovering: bool) -> Option<Choice> {
        let parent_origin = self.cited?;
        if self.gone {
            return Some(Choice::Reset(Contradiction::OriginGone(parent_origin)));
        }
        let current = self.current?;
        // What is not deep enough is as good as absent.
        let deep = current
            .origin
            .number
            .checked_add(1)
            .is_some_and(|number| is_deep_enough(number, self.confirmations, self.l1_head));
        let next = if self.next == NextOrigin::Unasked && !deep { NextOrigin::Absent } else { self.next };
        Some(choose(drift, &Question { parent_origin, timestamp, current, next, recovering }))
    }
}
