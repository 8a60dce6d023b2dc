//! A build is for a slot that is not over yet, and dated after its parent: after downtime the chain goes on in the present. Blocks that are
//! asked for are of whatever slot and date are asked for. Where L1 is cited a build is for the slot after its parent's, however late.
//!
//! Source: design of the heart; OP Stack derivation specification, block times that rise by one block time each.

use sequencer::Effect;
use types::BuildId;

use super::{Finding, Seen};
use crate::world::Mode;

/// The build that each node opened last: one that failed to open may be ordered again later.
#[derive(Clone, Debug)]
pub struct NoBlockForThePast {
    last: Vec<Option<BuildId>>,
}

impl NoBlockForThePast {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { last: vec![None; nodes] }
    }

    /// Builds are counted anew.
    pub fn restarted(&mut self, node: usize) {
        self.last[node] = None;
    }

    /// Looks at every build that is opened.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let Effect::Open { build, attributes } = seen.effect else { return Ok(()) };
        if self.last[seen.node].replace(*build) == Some(*build) {
            return Ok(());
        }
        let (slot, current) = (attributes.slot, seen.timetable.slot_at(seen.clock));
        if attributes.timestamp <= attributes.parent.timestamp {
            Err(format!("dates a block {} on a parent of {}", attributes.timestamp, attributes.parent.timestamp))
        } else if seen.mode.cites_l1() {
            let due = seen.timetable.slot_after(attributes.parent.timestamp);
            if slot == due { Ok(()) } else { Err(format!("opens a build for slot {slot}, and slot {due} has none")) }
        } else if slot < current && seen.mode != Mode::OnDemand {
            Err(format!("opens a build for slot {slot} in slot {current}"))
        } else {
            Ok(())
        }
    }
}
