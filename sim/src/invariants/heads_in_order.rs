//! Heads move forward only, as `finalized <= safe <= unsafe`, unless the backend itself said that it lost some.
//!
//! Source: OP Stack rollup node specification, "Engine API usage": `finalized`, `safe` and `unsafe` of a fork-choice update; design of
//! the heart, the table of words.

use sequencer::{Effect, Event};
use types::{BlockRef, Heads};

use super::{Finding, Seen};

/// The heads that each node set last.
#[derive(Clone, Debug)]
pub struct HeadsInOrder {
    last: Vec<Option<Heads>>,
}

impl HeadsInOrder {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { last: vec![None; nodes] }
    }

    /// A backend that says where it stands may stand anywhere.
    pub fn hear(&mut self, node: usize, event: &Event) {
        if let Event::HeadsTold { .. } = event {
            self.last[node] = None;
        }
    }

    /// So may one that is started again.
    pub fn restarted(&mut self, node: usize) {
        self.last[node] = None;
    }

    /// Looks at every setting of heads.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let Effect::SetHeads(heads) = seen.effect else { return Ok(()) };
        let Some(last) = self.last[seen.node].replace(*heads) else { return Ok(()) };
        let forward = |old: BlockRef, new: BlockRef| old == new || old.number < new.number;
        let ordered = heads.finalized_head().number <= heads.safe_head().number
            && heads.safe_head().number <= heads.unsafe_head().number;
        if ordered
            && forward(last.unsafe_head(), heads.unsafe_head())
            && forward(last.safe_head(), heads.safe_head())
            && forward(last.finalized_head(), heads.finalized_head())
        {
            Ok(())
        } else {
            Err(format!("heads go from {last:?} to {heads:?}"))
        }
    }
}
