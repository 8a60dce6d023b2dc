//! Nobody opens, seals or proposes but the one whose turn it is, as far as he knows.
//!
//! Source: op-conductor's promise of one active sequencer, and the report of two (optimism#13438); turns of a committee are
//! `types::Committee::proposer`.

use sequencer::{Effect, Event, QueryId, Role};
use types::{BlockNumber, MemberId};

use super::{Finding, Seen};
use crate::world::Mode;

/// What each node was told last to be.
#[derive(Clone, Debug)]
pub struct LeadsWhenEntitled {
    told: Vec<Told>,
    /// What each asked the conductor last: older answers say nothing.
    asked: Vec<Option<QueryId>>,
    /// Does the backend derive its chain from L1, so that what it says holds?
    derives: bool,
}

/// What one node was told. Whoever is elected must see where the conductor's chain ends before it builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Follow,
    Lead,
    LeadFrom(BlockNumber),
}

impl LeadsWhenEntitled {
    /// For so many nodes, none of which leads.
    pub fn of(nodes: usize, mode: Mode) -> Self {
        Self { told: vec![Told::Follow; nodes], asked: vec![None; nodes], derives: mode.cites_l1() }
    }

    /// An election, or the conductor's answer.
    pub fn hear(&mut self, node: usize, event: &Event) {
        let told = &mut self.told[node];
        match (event, *told) {
            (Event::Leadership(Role::Leader), _) => *told = Told::Lead,
            (Event::Leadership(Role::Follower), _) => *told = Told::Follow,
            (Event::ConductorTold { head, query }, Told::Lead | Told::LeadFrom(_))
                if self.asked[node] == Some(*query) =>
            {
                *told = Told::LeadFrom(head.map_or(BlockNumber::GENESIS, |head| head.number));
            }
            (Event::HeadsTold { heads, .. }, Told::LeadFrom(from)) if self.derives => {
                *told = Told::LeadFrom(from.min(heads.unsafe_head().number));
            }
            _ => {}
        }
    }

    /// One that starts again leads only when told so.
    pub fn restarted(&mut self, node: usize) {
        self.told[node] = Told::Follow;
    }

    /// Looks at everything that makes a block.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let (slot, parent) = match seen.effect {
            Effect::Open { attributes, .. } => (Some(attributes.slot), Some(attributes.parent.number)),
            Effect::AskConductor { query } => {
                self.asked[seen.node] = Some(*query);
                return Ok(());
            }
            Effect::Seal { .. } => (None, None),
            Effect::Propose(proposal) => (Some(proposal.slot), None),
            _ => return Ok(()),
        };
        let entitled = match seen.mode {
            Mode::Solo | Mode::OnDemand | Mode::L1 => true,
            Mode::Conductor | Mode::Rollup => match self.told[seen.node] {
                Told::Follow => false,
                Told::Lead => parent.is_none(),
                Told::LeadFrom(head) => parent.is_none_or(|parent| parent >= head),
            },
            Mode::Committee => slot.is_none_or(|slot| {
                u32::try_from(seen.node).is_ok_and(|place| seen.committee.proposer(slot) == MemberId::new(place))
            }),
        };
        if entitled { Ok(()) } else { Err("makes a block although it does not lead".to_owned()) }
    }
}
