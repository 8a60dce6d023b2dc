//! Which L1 block the next block cites.
//!
//! A block cites the L1 block of its parent or the one after it, is never older than what it cites, and holds no
//! transactions of the pool once it has run too far ahead of it. The choice is to advance as soon as that is allowed.
//! While recovering, blocks are exactly those that derivation would make by itself once the sequencing window is over:
//! empty, and never staying where they could advance.
//!
//! How deep below L1's head a block has to lie before it may be cited is for whoever looks it up to say: what is not
//! deep enough is not there.
//!
//! Sources: <https://specs.optimism.io/protocol/derivation.html>, "L1 origin" and "Batch Queue"; op-node
//! `rollup/sequencing/origin_selector.go`.

mod rules;
mod selector;

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{BlockHash, Drift, L1Block, L1Origin, Timestamp};

pub use rules::OriginRules;
pub(crate) use selector::{Selector, Sight};

/// What is known of the L1 block after the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NextOrigin {
    /// Nobody has looked yet.
    #[default]
    Unasked,
    /// L1 does not have it, or not deep enough.
    Absent,
    /// It is there.
    Known(L1Block),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// L1 does not know the block that the parent cites: L1 has reorganised, or the endpoint lags behind.
    OriginGone(BlockHash),
    /// The current L1 block is not the one that the parent cites.
    OtherOrigin {
        /// What the parent cites.
        cited: BlockHash,
        /// What was found.
        found: BlockHash,
    },
    /// The next L1 block does not sit on the current one: L1 has reorganised.
    NextElsewhere {
        /// The next L1 block.
        next: BlockHash,
        /// What it sits on.
        parent: BlockHash,
        /// The current one.
        current: BlockHash,
    },
    /// The parent's L1 block is later than the block to build: the parent itself is not what derivation makes.
    LaterThanTheBlock {
        /// The parent's L1 block.
        origin: L1Origin,
        /// The time of the block to build.
        timestamp: Timestamp,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OriginGone(hash) => {
                write!(f, "L1 does not know block {hash}, the parent's origin: ")?;
                f.write_str("L1 has reorganised, or its endpoint lags behind")
            }
            Self::OtherOrigin { cited, found } => {
                write!(f, "L1 block {found} was looked up for the parent's origin {cited}")
            }
            Self::NextElsewhere { next, parent, current } => {
                write!(f, "L1 block {next} sits on {parent} and not on the parent's origin {current}: ")?;
                f.write_str("L1 has reorganised")
            }
            Self::LaterThanTheBlock { origin, timestamp } => {
                write!(f, "a block of {timestamp} cannot cite L1 block {} of {}", origin.number, origin.timestamp)
            }
        }
    }
}

impl std::error::Error for Contradiction {}

/// Why blocks are those that derivation makes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The operator said so.
    Ordered,
    /// What cites the present L1 block would land when its sequencing window is over, or too near its end to be sure.
    WindowEnds,
}

/// Chooses.
pub fn choose(drift: &Drift, question: &Question) -> Choice {
    let Question { parent_origin, timestamp, current, next, recovering } = *question;
    if let Some(contradiction) = contradiction(question) {
        return Choice::Reset(contradiction);
    }
    debug_assert_eq!(current.origin.hash, parent_origin, "else it is a contradiction");
    let too_far = drift.is_exceeded(timestamp, &current.origin);
    let next = match next {
        NextOrigin::Known(next) => next,
        // L1 has no next one, or not deep enough: to stay is right as long as the drift allows it, also while recovering.
        NextOrigin::Absent if !too_far => return Choice::Stay { origin: current.origin, empty: recovering },
        NextOrigin::Unasked if !too_far && !recovering => {
            return Choice::Stay { origin: current.origin, empty: false };
        }
        NextOrigin::Absent | NextOrigin::Unasked => return Choice::NeedNext,
    };
    if timestamp >= next.origin.timestamp {
        let empty = recovering || drift.is_exceeded(timestamp, &next.origin);
        return Choice::Advance { origin: next.origin, empty };
    }
    Choice::Stay { origin: current.origin, empty: recovering || too_far }
}

/// What in the question does not hold together.
fn contradiction(question: &Question) -> Option<Contradiction> {
    let Question { parent_origin, timestamp, current, next, .. } = *question;
    if current.origin.hash != parent_origin {
        return Some(Contradiction::OtherOrigin { cited: parent_origin, found: current.origin.hash });
    }
    if timestamp < current.origin.timestamp {
        return Some(Contradiction::LaterThanTheBlock { origin: current.origin, timestamp });
    }
    next.elsewhere_than(&current)
}

impl NextOrigin {
    const fn known(self) -> Option<L1Block> {
        match self {
            Self::Known(block) => Some(block),
            Self::Absent | Self::Unasked => None,
        }
    }

    /// The contradiction in it, if it does not sit on this L1 block.
    fn elsewhere_than(&self, current: &L1Block) -> Option<Contradiction> {
        let Self::Known(next) = self else { return None };
        let (next, parent, current) = (next.origin.hash, next.parent, current.origin.hash);
        (parent != current).then_some(Contradiction::NextElsewhere { next, parent, current })
    }

    /// What was not there may be there by now.
    fn may_have_come(&mut self) {
        if *self == Self::Absent {
            *self = Self::Unasked;
        }
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lookup {
    /// The block of this hash, on the chain or not.
    ByHash(BlockHash),
    /// The canonical block at this height, if it is deep enough to be cited.
    ByNumber(u64),
}

impl Lookup {
    /// Is this the block that was looked up?
    pub fn is_answered_by(&self, block: &L1Block) -> bool {
        match self {
            Self::ByHash(hash) => block.origin.hash == *hash,
            Self::ByNumber(number) => block.origin.number == *number,
        }
    }
}

/// What is known of the L1 blocks that the next blocks may cite. Reads ahead: asks for the next one before it is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Origins {
    cited: Option<BlockHash>,
    /// L1 does not have the cited block: it was asked for it, or has told of another in its place.
    gone: bool,
    current: Option<L1Block>,
    next: NextOrigin,
    /// The one after the next: wanted while a block is being made that cites the next.
    after: NextOrigin,
}

impl Origins {
    /// L1 has another head: what was absent may be there.
    pub fn head_moved(&mut self) {
        self.gone = false;
        self.next.may_have_come();
        self.after.may_have_come();
    }

    /// The block to build on cites this L1 block. To be told of every new one: what was absent is asked for again then.
    pub fn follow(&mut self, cited: BlockHash) {
        if self.cited != Some(cited) {
            self.cited = Some(cited);
            self.gone = false;
        }
        self.next.may_have_come();
        if self.current.is_some_and(|current| current.origin.hash == cited) {
            return;
        }
        let (next, after) = (std::mem::take(&mut self.next), std::mem::take(&mut self.after));
        self.current = match next {
            NextOrigin::Known(next) if next.origin.hash == cited => Some(next),
            NextOrigin::Known(_) | NextOrigin::Absent | NextOrigin::Unasked => None,
        };
        if self.current.is_some() {
            self.next = after;
        }
    }

    /// The block to build on cites this L1 block, as [`Origins::follow`] says, of this height. Where L1 has told of another there, what
    /// is cited is gone, whatever an endpoint that still knows it would answer.
    pub fn follow_at(&mut self, cited: L1Origin) {
        let told = [self.current, self.next.known(), self.after.known()];
        let another = |block: &L1Block| block.origin.number == cited.number && block.origin.hash != cited.hash;
        let gone = told.iter().flatten().any(another);
        self.follow(cited.hash);
        self.gone |= gone;
    }

    /// Forgets what was looked up: L1 may have reorganised.
    pub fn reset(&mut self) {
        *self = Self { cited: self.cited, ..Self::default() };
    }

    /// What is worth looking up now, if anything; `ahead` if a block is being made that cites the next L1 block.
    pub fn wanted(&self, ahead: bool) -> Option<Lookup> {
        let Some(current) = self.current else { return self.cited.filter(|_| !self.gone).map(Lookup::ByHash) };
        let asked_for = match (self.next, self.after) {
            (NextOrigin::Unasked, _) => current,
            (NextOrigin::Known(next), NextOrigin::Unasked) if ahead => next,
            (NextOrigin::Absent | NextOrigin::Known(_), _) => return None,
        };
        asked_for.origin.number.checked_add(1).map(Lookup::ByNumber)
    }

    /// What a look-up brought; `None` where L1 has no such block. What is not wanted changes nothing.
    pub fn found(&mut self, lookup: Lookup, block: Option<L1Block>) {
        if block.is_some_and(|block| !lookup.is_answered_by(&block)) {
            return;
        }
        let Some(current) = self.current else {
            if let Lookup::ByHash(hash) = lookup
                && self.cited == Some(hash)
            {
                self.current = block;
                self.gone = block.is_none();
            }
            return;
        };
        let found = block.map_or(NextOrigin::Absent, NextOrigin::Known);
        match self.next {
            NextOrigin::Unasked | NextOrigin::Absent if lookup.is_above(&current) => self.next = found,
            NextOrigin::Known(next) if lookup.is_above(&next) => self.after = found,
            NextOrigin::Unasked | NextOrigin::Absent | NextOrigin::Known(_) => {}
        }
    }

    /// The L1 block after the current one, as far as it is known.
    pub const fn next(&self) -> NextOrigin {
        self.next
    }

    /// The L1 block that the parent cites, once it is looked up.
    pub const fn current(&self) -> Option<L1Block> {
        self.current
    }

    /// What does not hold together whatever the next block is.
    pub fn contradiction(&self) -> Option<Contradiction> {
        if self.gone {
            return self.cited.map(Contradiction::OriginGone);
        }
        let beyond = match self.next {
            NextOrigin::Known(next) => self.after.elsewhere_than(&next),
            NextOrigin::Absent | NextOrigin::Unasked => None,
        };
        self.next.elsewhere_than(&self.current?).or(beyond)
    }

    /// What the next block, at `timestamp`, cites; `None` before the parent's own L1 block is known.
    pub fn choose(&self, drift: &Drift, timestamp: Timestamp, recovering: bool) -> Option<Choice> {
        let parent_origin = self.cited?;
        if self.gone {
            return Some(Choice::Reset(Contradiction::OriginGone(parent_origin)));
        }
        let (current, next) = (self.current?, self.next);
        Some(choose(drift, &Question { parent_origin, timestamp, current, next, recovering }))
    }
}

impl Lookup {
    /// Does this ask for the height right above that block?
    fn is_above(&self, block: &L1Block) -> bool {
        block.origin.number.checked_add(1).is_some_and(|number| *self == Self::ByNumber(number))
    }
}
