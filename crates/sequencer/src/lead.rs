//! How long before the end of its slot a build is sealed.
//!
//! ```text
//!            Seal ⇢ Commit ⇢ Import ⇢ SetHeads ⇢ the head
//!              ◄──────────── took ───────────────►
//!  ────────────┬──────────────────────────────────┬───────► time
//!           seal_at                          end of the slot
//! ```
//!
//! A block is in time if it is the head as its slot ends. So its build is sealed as long before as blocks have taken lately, and an
//! eighth longer, since they do not all take the same. Of what blocks took, the slowest of a few does not count: one that was slow is
//! chance, two are how it is now. When blocks come late the lead grows at once; it shrinks by small steps, and only when many were
//! faster, for a lead that is too long costs no more than a few transactions that wait for the next block.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use types::{BlockHash, BuildId, Millis, Timestamp};

use crate::Timetable;
use crate::mutants::{Mutant, Mutation};

/// Shortest lead. Below this it is the clock's resolution and one turn of the loop that decide, and there is nothing to win.
pub const LEAD_MIN: Millis = Millis::new(10);
/// The longest lead is one part of the slot in so many. A block that takes longer than that is late, and no harm: the next one is
/// opened when it is the head, and sealed in its own time. To seal earlier would only leave the engine less and less time to build.
pub const LEAD_SLOT_PARTS: u64 = 3;
/// Blocks of which two that are too slow make the lead grow.
const GROWS_AMONG: usize = 4;
/// Blocks of which all but one must be faster before it shrinks.
const SHRINKS_AMONG: usize = 16;
/// It shrinks by one part in so many of what is too much.
const SHRINK_PARTS: u64 = 16;
/// What is added to what blocks take: one part in so many.
const HEADROOM_PARTS: u64 = 8;

/// A lead that follows what was measured. Decided from events and the time that is handed in, so that a recorded run has it too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SealLead {
    lead: Millis,
    longest: Millis,
    /// How long blocks took, the newest first.
    took: VecDeque<Millis>,
    under_way: Option<UnderWay>,
    #[serde(skip)]
    mutation: Mutation,
}

/// A block on its way from the order to seal it to being the head.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct UnderWay {
    since: Timestamp,
    build: BuildId,
    block: Option<BlockHash>,
}

impl SealLead {
    /// Begins with what the timetable says, as far as that is within bounds.
    pub(crate) fn new(timetable: &Timetable, mutation: Mutation) -> Self {
        let config = timetable.config();
        let longest = longest(config.slot);
        let lead = config.seal_lead.max(LEAD_MIN).min(longest);
        Self { lead, longest, took: VecDeque::new(), under_way: None, mutation }
    }

    /// The present lead.
    pub(crate) const fn lead(&self) -> Millis {
        self.lead
    }

    /// A build is to be sealed for the first time. One whose slot is over says nothing: it is late whatever the lead is.
    pub(crate) fn ordered(&mut self, now: Timestamp, build: BuildId, slot_ends: Timestamp) {
        self.under_way = (now < slot_ends).then_some(UnderWay { since: now, build, block: None });
    }

    /// The build became this block.
    pub(crate) fn sealed(&mut self, build: BuildId, block: BlockHash) {
        match &mut self.under_way {
            Some(under_way) if under_way.build == build => under_way.block = Some(block),
            Some(_) | None => self.under_way = None,
        }
    }

    /// A call failed, or the chain stands elsewhere: what is under way says nothing of how long a block takes.
    pub(crate) fn spoiled(&mut self) {
        self.under_way = None;
    }

    /// The block is the head.
    pub(crate) fn is_head(&mut self, now: Timestamp, block: BlockHash) {
        if let Some(done) = self.under_way.take_if(|under_way| under_way.block == Some(block)) {
            self.learn(now.since(done.since));
        }
    }

    /// A block took so long.
    fn learn(&mut self, took: Millis) {
        self.took.truncate(SHRINKS_AMONG - 1);
        self.took.push_front(took);
        let (wanted, enough) = (self.usual(GROWS_AMONG), self.usual(SHRINKS_AMONG));
        let lead = match (wanted, enough) {
            (Some(wanted), _) if wanted > self.lead => wanted,
            (_, Some(enough)) if enough < self.lead && self.took.len() == SHRINKS_AMONG => {
                let over = self.lead.as_u64() - enough.as_u64();
                Millis::new(self.lead.as_u64() - (over / SHRINK_PARTS).max(1))
            }
            (Some(_), _) | (None, _) => self.lead,
        };
        let longest = if self.mutation.is(Mutant::LeadWithoutBound) { Millis::new(u64::MAX) } else { self.longest };
        self.lead = lead.max(LEAD_MIN).min(longest);
    }

    /// The lead with which all of the newest `among` blocks but the slowest would have been in time; `None` before there are two.
    fn usual(&self, among: usize) -> Option<Millis> {
        let (mut slowest, mut second) = (None, None);
        for took in self.took.iter().take(among) {
            if slowest.is_none_or(|slowest| took > slowest) {
                second = slowest.replace(took);
            } else if second.is_none_or(|second| took > second) {
                second = Some(took);
            }
        }
        let counts = if self.mutation.is(Mutant::ChaseOutlier) { slowest } else { second };
        counts.map(|took| with_headroom(*took))
    }
}

/// The longest lead in slots of this length.
pub fn longest(slot: Millis) -> Millis {
    Millis::new(slot.as_u64() / LEAD_SLOT_PARTS)
}

/// The lead with which a block that takes so long is in time, and those that take a little longer.
pub fn with_headroom(took: Millis) -> Millis {
    Millis::new(took.as_u64().saturating_add(took.as_u64() / HEADROOM_PARTS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Stamp, TimetableConfig};

    fn lead(slot: u64, begins: u64) -> SealLead {
        let slot = Millis::new(slot);
        let config = TimetableConfig {
            genesis: Timestamp::from_millis(0),
            slot,
            build_ahead: slot,
            seal_lead: Millis::new(begins),
            stamp: Stamp::Closing,
        };
        SealLead::new(&Timetable::new(config).expect("it makes sense"), Mutation::default())
    }

    /// So many blocks in a row that took so long, each from its order to the head.
    fn blocks(lead: &mut SealLead, count: u64, took: u64) -> u64 {
        for name in 0..count {
            let (since, build, block) = (Timestamp::from_secs(9), BuildId::new(name), BlockHash::new([1; 32]));
            lead.ordered(since, build, Timestamp::from_secs(10));
            lead.sealed(build, block);
            lead.is_head(since.after(Millis::new(took)), block);
        }
        lead.lead().as_u64()
    }

    #[test]
    fn it_grows_at_once_and_shrinks_slowly() {
        let mut lead = lead(1_000, 50);
        assert_eq!(blocks(&mut lead, 20, 45), 50, "blocks that are in time leave it as it is, with an eighth to spare");
        assert_eq!(blocks(&mut lead, 1, 160), 50, "one that is slow is chance");
        assert_eq!(blocks(&mut lead, 1, 160), 180, "two are how it is now");
        assert_eq!(blocks(&mut lead, 14, 45), 180, "as long as two of the last sixteen were slow it stays");
        assert_eq!(blocks(&mut lead, 1, 45), 172, "then a sixteenth of what is too much goes");
        assert!((50..60).contains(&blocks(&mut lead, 60, 45)), "{lead:?}");
        assert_eq!(blocks(&mut lead, 60, 45), 50, "until it is what blocks take, and an eighth");
    }

    #[test]
    fn one_outlier_among_many_never_counts() {
        let mut lead = lead(1_000, 50);
        for _ in 0..50 {
            blocks(&mut lead, 15, 40);
            assert_eq!(blocks(&mut lead, 1, 900).max(50), 50);
        }
    }

    #[test]
    fn it_stays_within_its_bounds() {
        assert_eq!(lead(1_000, 0).lead(), LEAD_MIN);
        assert_eq!(lead(1_000, 900).lead(), Millis::new(333));
        let mut slow = lead(1_000, 50);
        assert_eq!(blocks(&mut slow, 2, 5_000), 333);
        // With the shortest slots there is still time to build.
        let mut short = lead(200, 50);
        assert_eq!(blocks(&mut short, 2, 180), 66);
        assert_eq!(blocks(&mut short, 200, 0), 10);
    }

    /// What happens to a build that is ordered to be sealed.
    type Happens = fn(&mut SealLead, BuildId, BlockHash);

    #[test]
    fn what_says_nothing_of_how_long_blocks_take_is_not_measured() {
        let (build, block) = (BuildId::new(1), BlockHash::new([1; 32]));
        let (early, over, late) = (Timestamp::from_secs(1), Timestamp::from_secs(2), Timestamp::from_secs(9));
        let rows: [(&str, Happens); 4] = [
            ("a call failed", |lead, build, block| {
                lead.sealed(build, block);
                lead.spoiled();
            }),
            ("another build was sealed", |lead, _, block| lead.sealed(BuildId::new(2), block)),
            ("another block is the head", |lead, build, _| lead.sealed(build, BlockHash::new([2; 32]))),
            ("it is not sealed", |_, _, _| {}),
        ];
        for (why, happens) in rows {
            let mut lead = lead(1_000, 50);
            for _ in 0..4 {
                lead.ordered(early, build, over);
                happens(&mut lead, build, block);
                lead.is_head(late, block);
            }
            assert_eq!((lead.lead(), lead.took.len()), (Millis::new(50), 0), "{why}");
        }
        let mut lead = lead(1_000, 50);
        lead.ordered(over, build, over);
        lead.sealed(build, block);
        lead.is_head(late, block);
        assert!(lead.took.is_empty(), "its slot was over when it was sealed");
    }

    proptest! {
        #[test]
        fn whatever_blocks_take_it_is_bounded_and_a_block_that_takes_twice_as_long_as_usual_moves_nothing(
            slot in 200..10_000_u64, begins in 0..200_u64, took in proptest::collection::vec(0..20_000_u64, 0..100),
        ) {
            let mut lead = lead(slot, begins.min(slot - 1));
            for took in took {
                blocks(&mut lead, 1, took);
                prop_assert!(lead.lead() >= LEAD_MIN && lead.lead() <= longest(Millis::new(slot)));
                prop_assert!(lead.took.len() <= SHRINKS_AMONG);
            }
            let steady = blocks(&mut lead, 4, 1);
            prop_assert!(blocks(&mut lead, 1, 20_000) <= steady);
        }
    }
}
