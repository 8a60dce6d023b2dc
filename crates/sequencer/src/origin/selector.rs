//! What is asked of L1, when, and what is chosen from the answers.
//!
//! ```text
//!   head unknown ──AskOrigin──► what it cites ──LookUp by hash──► current ──LookUp by number──► next ──► a choice
//!        ▲                                        │ not there               │ on another block
//!        └───────────────── reset ◄───────────────┴─────────────────────────┘
//! ```
//!
//! One question at a time is out; what failed is asked again with patience. While a block is being made, the L1 block that
//! its successor may cite is looked up already.

use serde::{Deserialize, Serialize};
use types::{Attributes, BlockHash, BlockRef, L1Block, L1Origin, Timestamp};

use super::{Choice, Contradiction, Lookup, NextOrigin, OriginRules, Origins, Recovery, is_window_over};
use crate::attempt::Attempt;
use crate::mutants::{Mutant, Mutation};
use crate::{Backoff, Effect, Effects, QueryId};

/// The L1 blocks that the next block may cite, and the question that is out about them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Selector {
    rules: OriginRules,
    /// By the operator's word.
    recovering: bool,
    l1_head: Option<u64>,
    /// The block to build on, and that its L1 block is known.
    head: Option<BlockHash>,
    origins: Origins,
    question: Option<Question>,
    /// How often in a row the next L1 block was needed and not there.
    absences: u32,
    #[serde(skip)]
    mutation: Mutation,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Question {
    query: QueryId,
    ask: Ask,
    attempt: Attempt,
    /// L1 moved since it was asked: that something is not there says nothing.
    overtaken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Ask {
    /// What this block cites.
    Origin(BlockRef),
    OnL1(Lookup),
}

/// What the loop sees at the moment, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) now: Timestamp,
    /// The block to build on.
    pub(crate) head: BlockRef,
    /// Could a block be opened now, were its origin known?
    pub(crate) level: bool,
    /// What the build that is open cites.
    pub(crate) building: Option<L1Origin>,
    /// Is the next L1 block needed to go on?
    pub(crate) needs_next: bool,
}

impl Selector {
    /// Knows nothing yet.
    pub(crate) fn new(rules: OriginRules, mutation: Mutation) -> Self {
        Self {
            rules,
            recovering: rules.recovering,
            l1_head: None,
            head: None,
            origins: Origins::default(),
            question: None,
            absences: 0,
            mutation,
        }
    }

    // --- hearing ------------------------------------------------------------------------------------------------------------

    /// This block is the head, and cites that L1 block. Where it does not say which, the backend is asked.
    pub(crate) fn follow(&mut self, head: BlockRef, origin: Option<L1Origin>) {
        self.head = origin.map(|_| head.hash);
        self.absences = 0;
        if let Some(origin) = origin {
            self.origins.follow_at(origin);
        }
    }

    /// L1's head is at this height now, and perhaps not on the one before.
    pub(crate) fn l1_moved(&mut self, l1_head: u64, reorganised: bool) {
        if self.l1_head == Some(l1_head) && !reorganised {
            return;
        }
        self.l1_head = Some(l1_head);
        self.absences = 0;
        if reorganised && !self.mutation.is(Mutant::IgnoreReorganisation) {
            self.origins.reset();
            self.question.take_if(|question| question.ask.is_on_l1());
        } else {
            self.origins.head_moved();
            // What waits to be asked again is asked at once, and an answer that is on its way may be of before.
            self.question.take_if(|question| question.ask.is_on_l1() && question.attempt.again().is_some());
            if let Some(question) = &mut self.question {
                question.overtaken = true;
            }
        }
    }

    /// The operator switches recovery on or off.
    pub(crate) fn recover(&mut self, on: bool) {
        self.recovering = on;
    }

    /// Forgets all that was looked up, and what the head cites: either may be wrong.
    pub(crate) fn forget(&mut self) {
        self.head = None;
        self.question = None;
        self.origins = Origins::default();
    }

    /// Does this answer what is asked of the backend?
    pub(crate) fn asks_backend(&self, query: QueryId) -> bool {
        self.question.is_some_and(|question| question.query == query && !question.ask.is_on_l1())
    }

    /// Does this answer what is asked of L1?
    pub(crate) fn asks_l1(&self, query: QueryId) -> bool {
        self.question.is_some_and(|question| question.query == query && question.ask.is_on_l1())
    }

    /// The head cites this. A head that cites nothing is one that the backend does not know well enough yet.
    pub(crate) fn origin_told(&mut self, now: Timestamp, origin: Option<L1Origin>, backoff: Backoff) {
        let Some(Question { ask: Ask::Origin(head), .. }) = self.question else { return };
        if origin.is_none() {
            return self.failed(now, backoff);
        }
        self.question = None;
        self.follow(head, origin);
    }

    /// L1 has this, or nothing. Another block than was asked for is no answer.
    pub(crate) fn found(&mut self, now: Timestamp, block: Option<L1Block>, backoff: Backoff) {
        let Some(Question { ask: Ask::OnL1(lookup), overtaken, .. }) = self.question else { return };
        if block.is_some_and(|block| !lookup.is_answered_by(&block)) {
            return self.failed(now, backoff);
        }
        self.question = None;
        if block.is_none() && overtaken {
            return;
        }
        self.absences = if block.is_some() { 0 } else { self.absences.saturating_add(1) };
        self.origins.found(lookup, block);
    }

    /// The question was not answered.
    pub(crate) fn failed(&mut self, now: Timestamp, backoff: Backoff) {
        if let Some(question) = &mut self.question {
            question.attempt.failed(now, backoff);
        }
    }

    // --- choosing -----------------------------------------------------------------------------------------------------------

    /// What a block on `head` at `timestamp` cites; `None` while that is not known.
    pub(crate) fn choose(&self, head: BlockRef, timestamp: Timestamp) -> Option<Choice> {
        let choice = self.known(head)?.choose(&self.rules.drift, timestamp, self.is_recovering())?;
        Some(self.mutated(choice, timestamp))
    }

    /// Will the answer that is awaited say whether the chain can advance? Then it is worth a little patience.
    pub(crate) fn awaits_next(&self) -> bool {
        self.origins.next() == NextOrigin::Unasked
            && self.question.is_none_or(|question| question.attempt.failures() == 0)
    }

    /// The height without which a block on `head` at `timestamp` cannot be built, if L1 was asked for it and does not have it.
    pub(crate) fn lacks_next(&self, head: BlockRef, timestamp: Timestamp) -> Option<u64> {
        let needed = matches!(self.choose(head, timestamp), Some(Choice::NeedNext));
        let current = self.origins.current().filter(|_| needed && self.origins.next() == NextOrigin::Absent)?;
        current.origin.number.checked_add(1)
    }

    /// What does not hold together in what is known of L1.
    pub(crate) fn contradiction(&self, head: BlockRef) -> Option<Contradiction> {
        self.known(head)?.contradiction().filter(|_| !self.mutation.is(Mutant::StayOnLostOrigin))
    }

    /// May a build with these attributes go on? Not where what it cites has gone from L1, and not with transactions of the
    /// pool once recovery has begun.
    pub(crate) fn bears(&self, attributes: &Attributes) -> bool {
        let (Some(origins), Some(origin)) = (self.known(attributes.parent), attributes.origin) else { return true };
        let stays = origins.current().is_none_or(|current| current.origin.hash == origin.hash);
        let there = match origins.next() {
            NextOrigin::Known(next) => next.origin.hash == origin.hash,
            NextOrigin::Absent => false,
            NextOrigin::Unasked => true,
        };
        let recovers = self.is_recovering() && !self.mutation.is(Mutant::RecoverWithPool);
        (stays || there) && !(recovers && attributes.use_pool)
    }

    /// Is the unsafe head so far ahead of the safe one that no block is built?
    pub(crate) fn is_too_far_ahead(&self, head: BlockRef, safe: BlockRef) -> bool {
        let lag = head.number.as_u64().saturating_sub(safe.number.as_u64());
        let limit = self.rules.max_safe_lag.filter(|limit| *limit > 0);
        limit.is_some_and(|limit| lag >= limit) && !self.mutation.is(Mutant::IgnoreSafeLag)
    }

    /// Are blocks to be those that derivation makes by itself, and why? By the operator's word, or because what cites the present
    /// L1 block would land too late.
    pub(crate) fn recovery(&self) -> Option<Recovery> {
        let ends = || {
            let (margin, l1_head) = (self.rules.recovers_before?, self.l1_head?);
            let window = self.rules.sequencing_window.saturating_sub(margin);
            let over = is_window_over(self.origins.current()?.origin.number, window, l1_head);
            (over && !self.mutation.is(Mutant::NeverRecover)).then_some(Recovery::WindowEnds)
        };
        if self.recovering { Some(Recovery::Ordered) } else { ends() }
    }

    fn is_recovering(&self) -> bool {
        self.recovery().is_some()
    }

    fn known(&self, head: BlockRef) -> Option<&Origins> {
        (self.head == Some(head.hash)).then_some(&self.origins)
    }

    /// The choice, with a mistake in it where one is switched on.
    fn mutated(&self, choice: Choice, timestamp: Timestamp) -> Choice {
        let too_far = |origin: &L1Origin| self.rules.drift.is_exceeded(timestamp, origin);
        match (choice, self.origins.next(), self.origins.current()) {
            (Choice::Reset(_), _, Some(current)) if self.mutation.is(Mutant::StayOnLostOrigin) => {
                Choice::Stay { origin: current.origin, empty: self.is_recovering() || too_far(&current.origin) }
            }
            (Choice::Stay { .. }, NextOrigin::Known(next), _) if self.mutation.is(Mutant::AdvanceEarly) => {
                Choice::Advance { origin: next.origin, empty: false }
            }
            (Choice::NeedNext, _, Some(current)) if self.mutation.is(Mutant::StayPastDrift) => {
                Choice::Stay { origin: current.origin, empty: true }
            }
            (Choice::Stay { origin, .. }, ..) if self.mutation.is(Mutant::PoolPastDrift) => {
                Choice::Stay { origin, empty: self.is_recovering() }
            }
            (Choice::Stay { origin, .. }, ..) if self.mutation.is(Mutant::RecoverWithPool) => {
                Choice::Stay { origin, empty: too_far(&origin) }
            }
            (Choice::Advance { origin, .. }, ..) if self.mutation.is(Mutant::RecoverWithPool) => {
                Choice::Advance { origin, empty: too_far(&origin) }
            }
            (choice, ..) => choice,
        }
    }

    // --- asking -------------------------------------------------------------------------------------------------------------

    /// Asks for what is not known and will be needed.
    pub(crate) fn advance(&mut self, sight: Sight, backoff: Backoff, queries: &mut QueryId, effects: &mut Effects) {
        let Some((ask, patiently)) = self.wanted(&sight) else {
            self.question = None;
            return;
        };
        if let Some(question) = &mut self.question
            && question.ask == ask
        {
            if question.attempt.take_due(sight.now) {
                question.overtaken = false;
                effects.push(question.effect());
            }
            return;
        }
        queries.0 += 1;
        let mut attempt = Attempt::default();
        if patiently {
            attempt = Attempt::after(self.absences.max(1), sight.now, backoff);
        }
        let question = Question { query: *queries, ask, attempt, overtaken: false };
        if !patiently {
            effects.push(question.effect());
        }
        self.question = Some(question);
    }

    /// When [`Selector::advance`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.question.and_then(|question| question.attempt.again())
    }

    /// What to ask, and whether it was asked in vain before.
    fn wanted(&self, sight: &Sight) -> Option<(Ask, bool)> {
        let Some(origins) = self.known(sight.head) else {
            return sight.level.then_some((Ask::Origin(sight.head), false));
        };
        let current = origins.current();
        let ahead = sight.building.is_some_and(|origin| current.is_none_or(|current| current.origin != origin));
        if let Some(lookup) = origins.wanted(ahead) {
            return Some((Ask::OnL1(lookup), false));
        }
        let absent = sight.needs_next && origins.next() == NextOrigin::Absent;
        let above = current.filter(|_| absent)?.origin.number.checked_add(1)?;
        Some((Ask::OnL1(Lookup::ByNumber(above)), true))
    }
}

impl Question {
    fn effect(&self) -> Effect {
        match self.ask {
            Ask::Origin(block) => Effect::AskOrigin { query: self.query, block },
            Ask::OnL1(lookup) => Effect::LookUp { query: self.query, lookup },
        }
    }
}

impl Ask {
    const fn is_on_l1(&self) -> bool {
        matches!(self, Self::OnL1(_))
    }
}
