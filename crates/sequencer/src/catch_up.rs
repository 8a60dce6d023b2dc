//! What is decided above our head, and how to get what lies between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{BlockNumber, BlockRef, Timestamp};

use crate::attempt::Attempt;
use crate::publication::Decided;
use crate::{Backoff, Effect, Effects};

/// Most decided payloads that wait for those below them, and most heights asked for at once.
pub const PARKED_MAX: u64 = 32;

/// After so many answers in a row without the block right above the head it is doubted that what is above still is decided.
const VAIN: u32 = 4;

/// Decided blocks above our head.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CatchUp {
    target: Option<BlockRef>,
    parked: BTreeMap<BlockNumber, Decided>,
    fetch: Option<Fetch>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Fetch {
    from: BlockNumber,
    to: BlockNumber,
    attempt: Attempt,
}

impl CatchUp {
    /// The newest block known to be decided, if it lies above the head.
    pub(crate) fn target(&self, head: BlockRef) -> Option<BlockRef> {
        self.target.filter(|target| target.number > head.number)
    }

    /// A block above our head is decided.
    pub(crate) fn learned(&mut self, head: BlockRef, block: BlockRef) {
        if block.number > head.number && self.target.is_none_or(|target| target.number < block.number) {
            self.target = Some(block);
        }
    }

    /// A decided payload: kept if its turn is near, known about in any case.
    pub(crate) fn park(&mut self, head: BlockRef, decided: Decided) {
        let block = decided.announcement.payload.block;
        self.learned(head, block);
        if block.number > head.number && block.number <= head.number.above(PARKED_MAX) {
            self.parked.entry(block.number).or_insert(decided);
        }
    }

    /// Takes out the decided payload right above the head.
    pub(crate) fn take_next(&mut self, head: BlockRef) -> Option<Decided> {
        self.parked.remove(&head.number.next())
    }

    /// Is the decided payload right above the head at hand?
    pub(crate) fn has_next(&self, head: BlockRef) -> bool {
        self.parked.contains_key(&head.number.next())
    }

    /// The chain moved: what is no longer above it is forgotten.
    pub(crate) fn advanced(&mut self, head: BlockRef) {
        self.parked = self.parked.split_off(&head.number.next());
        self.target = self.target(head);
    }

    /// The chain was taken back to `head`: all is forgotten but what sits right on it.
    pub(crate) fn taken_back(&mut self, head: BlockRef) {
        let next = self.take_next(head).filter(|decided| decided.block().extends(&head));
        *self = Self::default();
        if let Some(next) = next {
            self.park(head, next);
        }
    }

    /// Was the block right above the head asked for again and again, and nobody has it?
    pub(crate) fn is_in_vain(&self) -> bool {
        self.fetch.is_some_and(|fetch| fetch.attempt.failures() >= VAIN)
    }

    /// Does this answer the range asked for?
    pub(crate) fn awaits(&self, from: BlockNumber, to: BlockNumber) -> bool {
        self.fetch.is_some_and(|fetch| (fetch.from, fetch.to) == (from, to))
    }

    /// An answer came: parks what was found, and waits a while if that does not help.
    pub(crate) fn fetched(
        &mut self,
        now: Timestamp,
        head: BlockRef,
        found: impl Iterator<Item = Decided>,
        backoff: Backoff,
    ) {
        for decided in found.take(PARKED_MAX as usize) {
            self.park(head, decided);
        }
        if self.has_next(head) {
            self.fetch = None;
        } else if let Some(fetch) = &mut self.fetch {
            fetch.attempt.failed(now, backoff);
        }
    }

    /// Asks for what is missing right above the head.
    pub(crate) fn advance(&mut self, now: Timestamp, head: BlockRef, effects: &mut Effects) {
        let missing = self.missing(head);
        match (&mut self.fetch, missing) {
            (Some(fetch), Some(from)) if fetch.from == from => {
                if fetch.attempt.take_due(now) {
                    effects.push(Effect::Fetch { from: fetch.from, to: fetch.to });
                }
            }
            (_, Some(from)) => {
                let to = self.last_missing(from);
                self.fetch = Some(Fetch { from, to, attempt: Attempt::default() });
                effects.push(Effect::Fetch { from, to });
            }
            (_, None) => self.fetch = None,
        }
    }

    /// When [`CatchUp::advance`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.fetch.and_then(|fetch| fetch.attempt.again())
    }

    /// The height right above the head, if something above is decided and this is not at hand.
    fn missing(&self, head: BlockRef) -> Option<BlockNumber> {
        self.target(head).filter(|_| !self.has_next(head)).map(|_| head.number.next())
    }

    /// The last height of the gap that starts at `from`.
    fn last_missing(&self, from: BlockNumber) -> BlockNumber {
        let target = self.target.map_or(from, |target| target.number);
        let gap = self.parked.range(from..).next().and_then(|(number, _)| number.previous()).unwrap_or(target);
        gap.min(target).min(from.above(PARKED_MAX - 1)).max(from)
    }
}
