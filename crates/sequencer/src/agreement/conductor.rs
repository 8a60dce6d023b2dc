//! The conductor elects the one that leads, and a payload is decided once the conductor holds it.
//!
//! `Open ⇢ Seal ⇢ Commit ⇢ Announce · Import ⇢ SetHeads · Publish`
//!
//! ```text
//!             elected                      told: same head
//!  follower ──────────► leader, unsure ◄──────────────────► leader, sure ──► may lead
//!      ▲                   │   ▲  refused commit, elected anew
//!      └── not any more ───┘   └─ told: further ahead; fill the gap, then ask again
//! ```
//!
//! A commit whose outcome is unclear is neither trusted nor given up: the payload is held, the same payload is committed again
//! while we lead and are not stopped, and it is lost only when another block stands at its height. What
//! the conductor holds counts as far as L1 bears it: whoever answers for it leaves out what cites an L1 block that is no more.

use serde::{Deserialize, Serialize};
use types::{Announcement, BlockHash, BlockRef, BuildId, Failure, Payload, Timestamp};

use crate::attempt::Attempt;
use crate::mutants::{Mutant, Mutation};
use crate::publication::Decided;
use crate::{Backoff, Effect, Effects, QueryId, Role};

/// What is known of the conductor, and the payload that it may or may not hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Conductor {
    role: Role,
    sight: Sight,
    held: Option<Held>,
    #[serde(skip)]
    mutation: Mutation,
}

/// Does the conductor's chain end where ours does? Asked anew after each election.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Sight {
    Unsure,
    Asking(QueryId, Attempt),
    Sure,
}

/// Our sealed payload until it is decided or lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    payload: Payload,
    build: BuildId,
    commit: Attempt,
}

/// What the conductor's answer means.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, taken apart at once")]
pub(crate) enum Told {
    /// Our chain ends where the conductor's does.
    Level,
    /// The payload that we hold is committed after all.
    HeldIsDecided(Decided),
    /// The conductor is further ahead.
    Ahead(BlockRef),
    /// The conductor has another block at the height of our head.
    Fork(BlockRef),
}

impl Conductor {
    /// A follower until elected.
    pub(crate) const fn new(mutation: Mutation) -> Self {
        Self { role: Role::Follower, sight: Sight::Unsure, held: None, mutation }
    }

    /// Are we the one elected?
    pub(crate) const fn leads(&self) -> bool {
        matches!(self.role, Role::Leader)
    }

    /// May we open a build on our head?
    pub(crate) fn may_lead(&self) -> bool {
        self.may_keep_build() && self.held.is_none()
    }

    /// May a build that is open go on? Not once someone else may have led since it was opened.
    pub(crate) fn may_keep_build(&self) -> bool {
        match (self.role, self.sight) {
            (Role::Leader, Sight::Sure) => true,
            (Role::Leader, Sight::Unsure | Sight::Asking(..)) => self.mutation.is(Mutant::LeadWithoutAsking),
            (Role::Follower, _) => self.mutation.is(Mutant::SealWithoutLeadership),
        }
    }

    /// Elected, or another was. An election of whoever leads already may hide one in between: look again.
    pub(crate) fn elected(&mut self, role: Role) {
        self.role = role;
        self.sight = Sight::Unsure;
    }

    /// What the conductor told of its chain is doubted: look again.
    pub(crate) fn doubt(&mut self) {
        self.sight = Sight::Unsure;
    }

    /// Our payload is sealed: decided once the conductor holds it.
    pub(crate) fn sealed(&mut self, payload: Payload, build: BuildId, effects: &mut Effects) {
        effects.push(Effect::Commit(payload.clone()));
        if self.mutation.is(Mutant::GossipBeforeCommit) {
            effects.push(Effect::Announce(Announcement { payload: payload.clone(), certificate: None }));
        }
        self.held = Some(Held { payload, build, commit: Attempt::default() });
    }

    /// The payload that waits to be decided.
    pub(crate) fn held(&self) -> Option<&Payload> {
        self.held.as_ref().map(|held| &held.payload)
    }

    /// Does this answer a commit?
    pub(crate) fn commits(&self, block: BlockHash) -> bool {
        self.held.as_ref().is_some_and(|held| held.payload.block.hash == block)
    }

    /// Does this answer our question?
    pub(crate) fn asks(&self, query: QueryId) -> bool {
        matches!(self.sight, Sight::Asking(asked, _) if asked == query)
    }

    /// The conductor holds our payload.
    pub(crate) fn committed(&mut self) -> Option<Decided> {
        self.held.take().map(Held::into_decided)
    }

    /// The commit failed or is unclear. A refusal also means that we do not see the conductor's chain as it is.
    pub(crate) fn commit_failed(
        &mut self,
        now: Timestamp,
        failure: Failure,
        backoff: Backoff,
        effects: &mut Effects,
    ) -> Option<Decided> {
        match failure {
            Failure::Retry if self.mutation.is(Mutant::TrustUnclearCommit) => return self.committed(),
            Failure::Retry if self.mutation.is(Mutant::RebuildOnRetry) => self.give_up_held(effects),
            Failure::Retry | Failure::Fatal => {}
            Failure::Reset => self.sight = Sight::Unsure,
        }
        if let Some(held) = &mut self.held {
            held.commit.failed(now, backoff);
        }
        None
    }

    /// The conductor's chain ends here.
    pub(crate) fn told(&mut self, head: BlockRef, theirs: Option<BlockRef>, effects: &mut Effects) -> Told {
        self.sight = Sight::Sure;
        if let (Some(held), Some(theirs)) = (&self.held, theirs) {
            let ours = held.payload.block;
            if ours == theirs {
                return self.committed().map_or(Told::Level, Told::HeldIsDecided);
            }
            if ours.number <= theirs.number {
                self.give_up_held(effects);
            }
        }
        match theirs {
            Some(theirs) if theirs.number > head.number => {
                self.sight = Sight::Unsure;
                Told::Ahead(theirs)
            }
            Some(theirs) if theirs.number == head.number && theirs.hash != head.hash => {
                self.sight = Sight::Unsure;
                Told::Fork(theirs)
            }
            Some(_) | None => {
                // Nothing is to come between our head and what we hold.
                if self.held.as_ref().is_some_and(|held| !held.payload.block.extends(&head)) {
                    self.give_up_held(effects);
                }
                Told::Level
            }
        }
    }

    /// The conductor did not answer.
    pub(crate) fn ask_failed(&mut self, now: Timestamp, backoff: Backoff) {
        if let Sight::Asking(_, attempt) = &mut self.sight {
            attempt.failed(now, backoff);
        }
    }

    /// The chain moved: a payload held for a height that is taken is lost, unless it is the very one.
    pub(crate) fn advanced(&mut self, head: BlockRef, effects: &mut Effects) {
        let Some(held) = &self.held else { return };
        let ours = held.payload.block;
        if ours == head {
            self.held = None;
        } else if ours.number <= head.number || ours.number == head.number.next() && !ours.extends(&head) {
            self.give_up_held(effects);
        }
    }

    /// The chain was taken back, or derived anew, or its backend has lost some of it. Where the conductor stands is asked again: that
    /// tells whether the payload that we hold still has a place. It may be committed, so that no other is to be made for its height
    /// before.
    pub(crate) fn taken_back(&mut self, head: BlockRef, effects: &mut Effects) {
        self.sight = Sight::Unsure;
        self.advanced(head, effects);
    }

    /// Has our payload been given to the conductor, without an answer yet?
    pub(crate) fn is_committing(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.commit.again().is_none())
    }

    /// A leader asks where the conductor stands unless it is sure, and repeats a failed commit once it is. One that was stopped does
    /// neither: whoever stopped it was told where the chain ends.
    pub(crate) fn advance(&mut self, now: Timestamp, idle: bool, query: &mut QueryId, effects: &mut Effects) {
        match self.role {
            Role::Follower => return,
            Role::Leader => {}
        }
        match &mut self.sight {
            Sight::Unsure if idle => {
                query.0 += 1;
                self.sight = Sight::Asking(*query, Attempt::default());
                effects.push(Effect::AskConductor { query: *query });
            }
            Sight::Unsure => {}
            Sight::Asking(asked, attempt) => {
                if attempt.take_due(now) {
                    effects.push(Effect::AskConductor { query: *asked });
                }
            }
            Sight::Sure => {
                if let Some(held) = &mut self.held
                    && held.commit.take_due(now)
                {
                    effects.push(Effect::Commit(held.payload.clone()));
                }
            }
        }
    }

    /// When [`Conductor::advance`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match (self.role, self.sight) {
            (Role::Follower, _) | (Role::Leader, Sight::Unsure) => None,
            (Role::Leader, Sight::Asking(_, attempt)) => attempt.again(),
            (Role::Leader, Sight::Sure) => self.held.as_ref().and_then(|held| held.commit.again()),
        }
    }

    fn give_up_held(&mut self, effects: &mut Effects) {
        if let Some(held) = self.held.take() {
            effects.push(Effect::Cancel { build: held.build });
        }
    }
}

impl Held {
    fn into_decided(self) -> Decided {
        Decided { announcement: Announcement { payload: self.payload, certificate: None }, led: true }
    }
}
