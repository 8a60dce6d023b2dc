//! Whatever the outside answers, nobody is asked the same thing more than a few times a slot. L1 may be asked that often for each block:
//! blocks of missed slots are made many in a slot.
//!
//! Source: design of the heart, rule 4; the public failure: after a refusal, fork-choice updates by the thousand a second (kona-node,
//! optimism#22681, #22686).

use sequencer::{Effect, Record};
use types::Slot;

use super::{Finding, Seen};

/// Questions and commits of one kind that one node may send in one slot. Patience starts at 25 ms and doubles, and a few unrelated
/// failures may fall into one slot.
const ORDERS_MAX: u32 = 30;

/// Kinds that are counted apart.
const KINDS: usize = 6;
/// The kind that is counted for each block.
const LOOK_UPS: usize = 5;

/// What each node has asked in the present slot.
#[derive(Clone, Debug)]
pub struct NoBusyLoop {
    asked: Vec<(Slot, [u32; KINDS])>,
}

impl NoBusyLoop {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { asked: vec![(Slot::new(0), [0; KINDS]); nodes] }
    }

    /// Looks at every question, commit and fetch.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let (kind, verb) = match seen.effect {
            Effect::AskHeads { .. } => (0, "asks where the backend stands"),
            Effect::AskConductor { .. } => (1, "asks where the conductor stands"),
            Effect::Commit(_) => (2, "commits"),
            Effect::Fetch { .. } => (3, "fetches"),
            Effect::AskOrigin { .. } => (4, "asks what its head cites"),
            Effect::LookUp { .. } => (LOOK_UPS, "looks up L1 blocks"),
            Effect::Persist(Record::Payload(_)) => {
                self.asked[seen.node].1[LOOK_UPS] = 0;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let (slot, current) = (&mut self.asked[seen.node], seen.timetable.slot_at(seen.clock));
        if slot.0 != current {
            *slot = (current, [0; KINDS]);
        }
        slot.1[kind] += 1;
        if slot.1[kind] <= ORDERS_MAX { Ok(()) } else { Err(format!("{verb} {ORDERS_MAX} times in slot {current}")) }
    }
}
