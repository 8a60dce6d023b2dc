//! L1 goes on, and the rollup is derived from it.

use sequencer::{Event, QueryId};
use types::{Announcement, BlockNumber, BlockRef, Heads, L1Origin, Payload};

use super::{Mode, SLOT, World};
use crate::l1::{L1_TIME, REORG_MAX};

impl World {
    /// Once a slot: L1 grows when its time comes, stalls, or takes blocks back. News of it may be lost.
    pub(super) fn l1_goes_on(&mut self) {
        if self.dice.happens(50) {
            let (place, on) = (self.draw_node(), self.dice.happens(300));
            self.answer_in_time(place, Event::Recover(on));
        }
        if self.stalled_until > self.now {
            return;
        }
        if self.dice.happens(self.faults.l1_stall) {
            self.stalled_until = self.now.after(SLOT.times(self.dice.within(&(1..=40))));
            return;
        }
        let reorganised = self.dice.happens(self.faults.l1_reorg);
        if reorganised {
            let (depth, salt) = (self.dice.within(&(1..=REORG_MAX)), self.dice.number());
            self.l1.reorganise(depth, salt);
        }
        let grows = self.now.since(self.grew) >= L1_TIME;
        if grows {
            self.grew = self.now;
            let ahead = if self.dice.happens(self.faults.l1_ahead) { self.dice.below(40) } else { 0 };
            let date = self.now.after(SLOT.times(ahead)).max(self.l1.head().timestamp.after(SLOT));
            let salt = self.dice.number();
            self.l1.grow(date, salt);
        }
        if !grows && !reorganised {
            return;
        }
        for place in 0..self.nodes.len() {
            self.tell_of_l1(place, reorganised);
        }
    }

    /// News of L1, which may be lost. Where nodes have to come together again, one that comes tells of what was lost as well.
    fn tell_of_l1(&mut self, place: usize, reorganised: bool) {
        let unheard = std::mem::take(&mut self.nodes[place].left_unheard);
        let reorganised = reorganised || unheard;
        if self.dice.happens(self.faults.loss) {
            self.nodes[place].left_unheard = reorganised && self.mode == Mode::Rollup;
            return;
        }
        self.answer_in_time(place, Event::L1Moved { head: self.l1.head().number, reorganised });
    }

    /// The backend says where it stands; what it has from L1 it derives anew first.
    pub(super) fn ask_heads(&mut self, place: usize, query: QueryId) {
        self.derive(place);
        self.call(
            place,
            |world| Ok(Event::HeadsTold { query, heads: world.nodes[place].backend.heads() }),
            |failure| Event::AskFailed { query, failure },
        );
    }

    /// Takes the chain back to the newest block whose L1 block is on L1.
    pub(super) fn derive(&mut self, place: usize) {
        match self.mode {
            Mode::L1 => self.derive_alone(place),
            Mode::Rollup => self.derive_among_others(place),
            Mode::Solo | Mode::OnDemand | Mode::Conductor | Mode::Committee => {}
        }
    }

    /// What was decided stays decided until another is: each leaves it when it hears of L1.
    fn derive_among_others(&mut self, place: usize) {
        let old = self.nodes[place].backend.heads();
        let head = self.l1.borne(old.unsafe_head());
        if head == old.unsafe_head() {
            return;
        }
        let below = |block: BlockRef| if block.number <= head.number { block } else { head };
        let heads = Heads::new(head, below(old.safe_head()), below(old.finalized_head()));
        let heads = heads.unwrap_or_else(|error| unreachable!("they were in order: {error}"));
        self.nodes[place].backend.derive(heads);
        self.oracle.taken_back(place);
    }

    /// May this payload stand in the place of decided blocks? Only if L1 has left the lowest of them, and so all.
    pub(super) fn is_in_place(&self, payload: &Payload) -> bool {
        let (number, parent) = (payload.block.number, payload.block.number.previous());
        let on_decided = parent.is_some_and(|parent| {
            let below = self.truth.decided(parent).map(|decided| decided.payload.block.hash);
            below.unwrap_or(BlockRef::default().hash) == payload.block.parent
        });
        let left = self.truth.decided(number).and_then(|decided| decided.payload.origin);
        self.mode == Mode::Rollup && on_decided && left.is_some_and(|origin| !self.l1.has(&origin))
    }

    fn derive_alone(&mut self, place: usize) {
        let decided = self.truth.height();
        let stands = |world: &Self, height: u64| {
            let block = world.truth.decided(BlockNumber::new(height)).map(|decided| decided.payload.block.hash);
            block.and_then(|block| world.l1.cited_by(block)).is_some_and(|origin| world.l1.has(&origin))
        };
        let height = (1..=decided).rev().find(|height| stands(self, *height)).unwrap_or_default();
        if height == decided {
            return;
        }
        let old = self.nodes[place].backend.heads();
        let genesis = BlockRef { timestamp: super::DAWN, ..BlockRef::default() };
        let below = |block: BlockRef| {
            if block.number.as_u64() <= height {
                return block;
            }
            self.truth.decided(BlockNumber::new(height)).map_or(genesis, |decided| decided.payload.block)
        };
        let heads = Heads::new(below(old.unsafe_head()), below(old.safe_head()), below(old.finalized_head()));
        let heads = heads.unwrap_or_else(|error| unreachable!("they were in order: {error}"));
        if heads != old {
            self.nodes[place].backend.derive(heads);
        }
        self.truth.take_back(height);
        self.oracle.taken_back(place);
    }

    /// Where L1 is cited: does this payload, which was decided and may have been taken back since, sit on the newest decided block?
    pub(super) fn is_right_above(&self, announcement: &Announcement) -> bool {
        let genesis = BlockRef { timestamp: super::DAWN, ..BlockRef::default() };
        let head = self.truth.head().unwrap_or(genesis);
        self.mode == Mode::L1 && announcement.payload.block.extends(&head)
    }

    /// Is this block too deep for any reorganisation of L1, where L1 is cited?
    pub(super) fn is_final(&self, block: BlockRef) -> bool {
        let deep = |origin: L1Origin| self.l1.has(&origin) && origin.number + REORG_MAX < self.l1.head().number;
        !self.mode.cites_l1() || self.l1.cited_by(block.hash).is_some_and(deep)
    }
}
