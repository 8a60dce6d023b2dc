//! A block cites the L1 block of its parent or the one right on it, as it was heard of since L1 last reorganised; is never older than
//! that; holds nothing from the pool past the drift or in recovery, and stays past the drift only where the next L1 block is known to
//! be later. None is built too far ahead of what landed.
//!
//! Source: OP Stack derivation specification, "L1 origin" and "Batch Queue"; op-node's origin selector and `sequencer.max-safe-lag`.

use std::collections::BTreeMap;

use sequencer::origin::{OriginRules, is_window_over};
use sequencer::{Effect, Event, QueryId};
use types::{BlockHash, BuildId, Drift, L1Block, Millis};

use super::{Finding, Seen};

const DRIFT: Millis = Millis::new(20_000);

/// The rules of the simulated rollup: everything is so near that most runs come to it.
pub(crate) const RULES: OriginRules = OriginRules {
    drift: Drift { bedrock: DRIFT, fjord: DRIFT, fjord_begins: None },
    sequencing_window: 10,
    recovers_before: Some(4),
    recovering: false,
    max_safe_lag: Some(20),
};

/// What each node heard of L1.
#[derive(Clone, Debug)]
pub struct CitesL1 {
    heard: Vec<Heard>,
}

#[derive(Clone, Debug, Default)]
struct Heard {
    /// Since L1 last reorganised.
    blocks: BTreeMap<BlockHash, L1Block>,
    /// Since the backend was asked last where it stands: what did not fit before has led to that.
    fresh: Vec<L1Block>,
    /// The question whose first answer counts: one asked before L1 reorganised says nothing.
    asked: Option<QueryId>,
    head: Option<u64>,
    recovering: bool,
    last: Option<BuildId>,
}

impl CitesL1 {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { heard: vec![Heard::default(); nodes] }
    }

    /// News of L1, and answers about it.
    pub fn hear(&mut self, node: usize, event: &Event) {
        let heard = &mut self.heard[node];
        match event {
            Event::L1Moved { head, reorganised } => {
                heard.head = Some(*head);
                if *reorganised {
                    heard.blocks.clear();
                    heard.fresh.clear();
                    heard.asked = None;
                }
            }
            Event::HeadsTold { .. } => heard.fresh.clear(),
            Event::L1Found { query, block } if heard.asked == Some(*query) => {
                heard.asked = None;
                heard.fresh.extend(*block);
                heard.blocks.extend(block.map(|block| (block.origin.hash, block)));
            }
            Event::Recover(on) => heard.recovering = *on,
            _ => {}
        }
    }

    /// One that starts again knows nothing.
    pub fn restarted(&mut self, node: usize) {
        self.heard[node] = Heard::default();
    }

    /// Looks at every look-up, and at every build that is opened.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let heard = &mut self.heard[seen.node];
        if let Effect::LookUp { query, .. } = seen.effect {
            heard.asked = Some(*query);
        }
        let (Effect::Open { build, attributes }, Some(l1)) = (seen.effect, seen.l1) else { return Ok(()) };
        let again = heard.last.replace(*build) == Some(*build);
        let (Some(origin), Some(cited)) = (attributes.origin, l1.cited_by(attributes.parent.hash)) else {
            return Err("opens a build that cites nothing".to_owned());
        };
        let stays = origin == cited;
        let advances = l1.any(origin.hash).is_some_and(|block| block.parent == cited.hash);
        let time = attributes.timestamp;
        let next = heard.blocks.values().find(|block| block.origin.number == cited.number + 1);
        let above = |block: &&L1Block| block.origin.number == cited.number + 1;
        let elsewhere = heard.fresh.iter().rev().find(above).is_some_and(|next| next.parent != origin.hash);
        let too_far = RULES.drift.is_exceeded(time, &origin);
        let window = RULES.sequencing_window - RULES.recovers_before.unwrap_or_default();
        let late = heard.head.is_some_and(|head| is_window_over(cited.number, window, head));
        let lag = attributes.parent.number.as_u64().saturating_sub(seen.heads.safe_head().number.as_u64());
        if !stays && !advances {
            Err(format!("cites L1 block {} after {}", origin.number, cited.number))
        } else if time < origin.timestamp {
            Err(format!("dates a block {time} that cites L1 block {} of {}", origin.number, origin.timestamp))
        } else if attributes.use_pool && (too_far || !again && (late || heard.recovering)) {
            Err(format!("takes from the pool: past the drift {too_far}, late {late}, told {}", heard.recovering))
        } else if !again && !heard.blocks.contains_key(&origin.hash) {
            Err(format!("cites L1 block {} without having heard of it since L1 reorganised", origin.number))
        } else if !again && stays && elsewhere {
            Err(format!("cites L1 block {} and has heard of another at its height", origin.number))
        } else if !again && stays && too_far && next.is_none_or(|next| next.origin.timestamp <= time) {
            Err(format!("stays on L1 block {} past the drift", origin.number))
        } else if !again && RULES.max_safe_lag.is_some_and(|limit| lag >= limit) {
            Err(format!("builds {lag} blocks ahead of what landed"))
        } else {
            Ok(())
        }
    }
}
