//! The one build that may be outstanding.

use serde::{Deserialize, Serialize};
use types::{Attributes, BuildId, Payload, Slot, Timestamp};

use crate::attempt::Attempt;
use crate::{Backoff, Effect, Effects};

/// How often sealing one build may fail before the build is given up.
pub(crate) const SEAL_ATTEMPTS_MAX: u32 = 8;

/// At most one build, and the names and slots already spent.
///
/// ```text
///            Open ⇢                     Seal ⇢
///   idle ───────────► opening ─► open ────────► sealing ─► idle (sealed, empty or cancelled)
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Builder {
    build: Option<Build>,
    builds: u64,
    next_slot: Slot,
}

/// A block being made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) id: BuildId,
    pub(crate) attributes: Attributes,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Opening(Attempt),
    Open,
    Sealing(Attempt),
}

impl Builder {
    /// The build, if there is one.
    pub(crate) const fn build(&self) -> Option<&Build> {
        self.build.as_ref()
    }

    /// The first slot that no build of ours has been sealed for.
    pub(crate) const fn next_slot(&self) -> Slot {
        self.next_slot
    }

    /// Starts a build. There must be none.
    pub(crate) fn open(&mut self, attributes: Attributes, effects: &mut Effects) {
        self.builds += 1;
        let id = BuildId::new(self.builds);
        self.build = Some(Build { id, attributes, stage: Stage::Opening(Attempt::default()) });
        effects.push(Effect::Open { build: id, attributes });
    }

    /// Does this answer the order to open?
    pub(crate) fn awaits_opening(&self, id: BuildId) -> bool {
        self.build.as_ref().is_some_and(|build| build.id == id && matches!(build.stage, Stage::Opening(_)))
    }

    /// Does this answer the order to seal?
    pub(crate) fn awaits_sealing(&self, id: BuildId) -> bool {
        self.build.as_ref().is_some_and(|build| build.id == id && matches!(build.stage, Stage::Sealing(_)))
    }

    /// The build takes transactions.
    pub(crate) fn opened(&mut self) {
        if let Some(build) = &mut self.build {
            build.stage = Stage::Open;
        }
    }

    /// Opening or sealing failed in passing. Gives a build up that cannot be sealed.
    pub(crate) fn failed(&mut self, now: Timestamp, backoff: Backoff, effects: &mut Effects) {
        let Some(build) = &mut self.build else { return };
        match &mut build.stage {
            Stage::Opening(attempt) => attempt.failed(now, backoff),
            Stage::Sealing(attempt) if attempt.failures() + 1 < SEAL_ATTEMPTS_MAX => attempt.failed(now, backoff),
            Stage::Sealing(_) => self.cancel(effects),
            Stage::Open => {}
        }
    }

    /// The build is sealed, or was empty: its slot is spent. Says what it was.
    pub(crate) fn finish(&mut self) -> Option<Build> {
        let build = self.build.take()?;
        self.next_slot = self.next_slot.max(build.attributes.slot.next());
        Some(build)
    }

    /// Gives the build up. Its slot may be built for again.
    pub(crate) fn cancel(&mut self, effects: &mut Effects) {
        if let Some(build) = self.build.take() {
            effects.push(Effect::Cancel { build: build.id });
        }
    }

    /// Seals an open build whose time has come, and repeats what failed. Says which build it sealed for the first time, and its slot.
    pub(crate) fn advance(
        &mut self,
        now: Timestamp,
        seal_at: Timestamp,
        effects: &mut Effects,
    ) -> Option<(BuildId, Slot)> {
        let build = self.build.as_mut()?;
        match &mut build.stage {
            Stage::Opening(attempt) => {
                if attempt.take_due(now) {
                    effects.push(Effect::Open { build: build.id, attributes: build.attributes });
                }
            }
            Stage::Open => {
                if now >= seal_at {
                    build.stage = Stage::Sealing(Attempt::default());
                    effects.push(Effect::Seal { build: build.id });
                    return Some((build.id, build.attributes.slot));
                }
            }
            Stage::Sealing(attempt) => {
                if attempt.take_due(now) {
                    effects.push(Effect::Seal { build: build.id });
                }
            }
        }
        None
    }

    /// When [`Builder::advance`] has something to do, for an open build that is to be sealed at `seal_at`.
    pub(crate) fn deadline(&self, seal_at: Timestamp) -> Option<Timestamp> {
        match self.build.as_ref()?.stage {
            Stage::Opening(attempt) | Stage::Sealing(attempt) => attempt.again(),
            Stage::Open => Some(seal_at),
        }
    }
}

impl Build {
    /// Is this payload what was ordered?
    pub(crate) fn yields(&self, payload: &Payload) -> bool {
        payload.slot == self.attributes.slot
            && payload.block.extends(&self.attributes.parent)
            && payload.origin == self.attributes.origin
    }
}
