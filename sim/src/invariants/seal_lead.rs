//! Where the time to seal adapts, no build is sealed earlier before the end of its slot than it began with, or than two blocks took to
//! become the head; and never earlier than the bound, so that the engine always has most of the slot to build.
//!
//! Source: design of the heart (`sequencer::Config::seal_lead_adapts`).

use sequencer::{Effect, Event, LEAD_MIN, lead_longest, lead_with_headroom};
use types::{BlockHash, BuildId, Millis, Slot, Timestamp};

use super::{Finding, Seen};
use crate::world::{Mode, seal_lead_adapts};

/// What was seen of each node since it started.
#[derive(Clone, Debug)]
pub struct SealLead {
    nodes: Vec<Watched>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    /// The build that was opened last.
    open: Option<(BuildId, Slot)>,
    /// The build that was sealed last, when that was ordered, and what it became.
    sealed: Option<(BuildId, Timestamp, Option<BlockHash>)>,
    /// How long it took until its block was the head, so far.
    took: Option<Millis>,
    /// How long the two slowest took of those before it.
    slowest: [Option<Millis>; 2],
}

impl SealLead {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { nodes: vec![Watched::default(); nodes] }
    }

    /// Builds are counted anew, and nothing is remembered of how long they took.
    pub fn restarted(&mut self, node: usize) {
        self.nodes[node] = Watched::default();
    }

    /// A block on its way to being the head.
    pub fn hear(&mut self, node: usize, clock: Timestamp, event: &Event) {
        let watched = &mut self.nodes[node];
        let Some((build, since, became)) = &mut watched.sealed else { return };
        match event {
            Event::Sealed { build: other, payload } if other == build => *became = Some(payload.block.hash),
            Event::HeadsSet { block } if Some(*block) == *became => {
                watched.took = watched.took.max(Some(clock.since(*since)));
            }
            _ => {}
        }
    }

    /// Looks at every first order to seal.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let watched = &mut self.nodes[seen.node];
        if let Effect::Open { build, attributes } = seen.effect {
            watched.open = Some((*build, attributes.slot));
        }
        let Effect::Seal { build } = seen.effect else { return Ok(()) };
        let Some((_, slot)) = watched.open.filter(|(open, _)| open == build) else { return Ok(()) };
        if !watched.is_first(*build, seen.clock) {
            return Ok(());
        }
        let config = seen.timetable.config();
        let begins = if seal_lead_adapts(seen.mode) { config.seal_lead.max(LEAD_MIN) } else { config.seal_lead };
        let two_took = watched.slowest[1].map(lead_with_headroom).filter(|_| seal_lead_adapts(seen.mode));
        let mut most = begins.max(two_took.unwrap_or_default());
        if seal_lead_adapts(seen.mode) {
            most = most.min(lead_longest(config.slot));
        }
        let lead = seen.timetable.end(slot).since(seen.clock);
        // Blocks that are asked for have no slot to be sealed in.
        if lead <= most || seen.mode == Mode::OnDemand {
            Ok(())
        } else {
            Err(format!("seals {lead} before the end of slot {slot}, and {most} is the most that was called for"))
        }
    }
}

impl Watched {
    /// Is this the first order to seal the build? Then what the one before took counts from now on.
    fn is_first(&mut self, build: BuildId, clock: Timestamp) -> bool {
        if self.sealed.is_some_and(|(sealed, ..)| sealed == build) {
            return false;
        }
        self.sealed = Some((build, clock, None));
        let mut ranked = [self.slowest[0], self.slowest[1], self.took.take()];
        ranked.sort_by(|one, other| other.cmp(one));
        self.slowest = [ranked[0], ranked[1]];
        true
    }
}
