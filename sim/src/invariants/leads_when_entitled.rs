//! Nobody opens, seals or proposes but the one whose turn it is, as far as he knows.
//!
//! Source: op-conductor's promise of one active sequencer, and the report of two (optimism#13438); turns of a committee are
//! `types::Committee::proposer`.

use sequencer::{Effect, Event, Role};
use types::MemberId;

use super::{Finding, Seen};
use crate::world::Mode;

/// What each node was told last to be.
#[derive(Clone, Debug)]
pub struct LeadsWhenEntitled {
    leads: Vec<bool>,
}

impl LeadsWhenEntitled {
    /// For so many nodes, none of which leads.
    pub fn of(nodes: usize) -> Self {
        Self { leads: vec![false; nodes] }
    }

    /// An election.
    pub fn hear(&mut self, node: usize, event: &Event) {
        if let Event::Leadership(role) = event {
            self.leads[node] = *role == Role::Leader;
        }
    }

    /// One that starts again leads only when told so.
    pub fn restarted(&mut self, node: usize) {
        self.leads[node] = false;
    }

    /// Looks at everything that makes a block.
    pub fn see(&self, seen: &Seen<'_>) -> Finding {
        let slot = match seen.effect {
            Effect::Open { attributes, .. } => Some(attributes.slot),
            Effect::Seal { .. } => None,
            Effect::Propose(proposal) => Some(proposal.slot),
            _ => return Ok(()),
        };
        let entitled = match seen.mode {
            Mode::Solo => true,
            Mode::Conductor => self.leads[seen.node],
            Mode::Committee => slot.is_none_or(|slot| {
                u32::try_from(seen.node).is_ok_and(|place| seen.committee.proposer(slot) == MemberId::new(place))
            }),
        };
        if entitled { Ok(()) } else { Err("makes a block although it does not lead".to_owned()) }
    }
}
