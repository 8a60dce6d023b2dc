//! The loop's one decision-maker.

use serde::{Deserialize, Serialize};
use types::{BlockRef, Heads, Timestamp};

use crate::{Config, Effects, Event, HaltReason, Memory};

/// Most decided payloads that wait for those below them, and most heights asked for at once.
pub const PARKED_MAX: u64 = 32;

/// Decides; never waits, never reads a clock, never sees a transaction.
#[derive(Clone, Debug)]
pub struct Sequencer {
    config: Config,
    heads: Heads,
    memory: Memory,
}

impl Sequencer {
    /// A heart without a past, on a chain that stands at `heads`.
    pub fn new(config: Config, heads: Heads) -> Self {
        Self::recover(config, heads, Memory::default())
    }

    /// A heart after a restart: `heads` is where the backend says that its chain stands, `memory` what the records say.
    pub fn recover(config: Config, heads: Heads, memory: Memory) -> Self {
        Self { config, heads, memory }
    }

    /// Takes one event and leaves all its effects, in order, at the end of `effects`.
    ///
    /// Never fails and never panics, whatever the event. `now` may jump either way; slots are never led twice for it.
    pub fn step(&mut self, now: Timestamp, event: Event, effects: &mut Effects) {
        let _ = (now, event, effects, &self.memory, &self.config);
    }

    /// When [`Event::Wake`] is due at the latest; [`Timestamp::MAX`] if only an event can change anything. After a step this lies
    /// later than the step's `now`. Before the first step it is the epoch: wake at once.
    pub fn deadline(&self) -> Timestamp {
        Timestamp::default()
    }

    /// Where the chain stands.
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// What this sequencer is doing, for health and displays.
    pub fn standing(&self) -> Standing {
        Standing::Following
    }
}

/// What a sequencer is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Leads, or will when its slot comes.
    Leading,
    /// Follows what others decide.
    Following,
    /// Knows of a decided block above its own head, and gets what lies between.
    CatchingUp {
        /// The newest block known to be decided.
        to: BlockRef,
    },
    /// Has given up.
    Halted(HaltReason),
}
