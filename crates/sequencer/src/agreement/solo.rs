//! One sequencer decides alone.
//!
//! `Open ⇢ Seal ⇢ Persist · Announce · Import ⇢ SetHeads · Publish`

use serde::{Deserialize, Serialize};
use types::{Announcement, Payload};

use crate::mutants::{Mutant, Mutation};
use crate::publication::Decided;
use crate::{Effect, Effects, Memory, Record};

/// Nothing to remember: each slot may be led, and a payload is decided as soon as it is durable.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Solo;

impl Solo {
    /// Our payload is sealed.
    pub(crate) fn sealed(payload: Payload, mutation: Mutation, effects: &mut Effects) -> Decided {
        if mutation.is(Mutant::AnnounceBeforePersist) {
            effects.push(Effect::Announce(Announcement { payload: payload.clone(), certificate: None }));
        }
        effects.push(Effect::Persist(Record::Payload(payload.clone())));
        Self::decided(payload)
    }

    /// The payload that was decided last before the process ended. It may never have been announced or imported.
    pub(crate) fn recover(memory: &Memory) -> Option<Decided> {
        memory.decided.clone().map(Self::decided)
    }

    fn decided(payload: Payload) -> Decided {
        Decided { announcement: Announcement { payload, certificate: None }, led: true }
    }
}
