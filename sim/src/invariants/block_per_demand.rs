//! On demand, each block was asked for, and each demand is answered by one block, or by word that there was nothing to seal.
//!
//! Source: `sequencer::Event::Demand`. Whoever asks for a block waits until the number of answers has risen, so that one too few is a
//! caller who waits for ever, and one too many is a caller who is told of a block that is not there.

use sequencer::{DEMANDS_MAX, Effect, Event, Record};
use types::{BuildId, Millis};

use super::{Finding, Seen};
use crate::world::Mode;

/// Dates of blocks are a second apart at least.
const SECOND: Millis = Millis::new(1_000);

/// What each node was asked for since it started.
#[derive(Clone, Debug)]
pub struct BlockPerDemand {
    asked: Vec<Asked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    heard: u64,
    made: u64,
    open: Option<BuildId>,
}

impl BlockPerDemand {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { asked: vec![Asked::default(); nodes] }
    }

    /// A demand that there is room for, or word that there was nothing to seal for one.
    pub fn hear(&mut self, node: usize, event: &Event) {
        let asked = &mut self.asked[node];
        match event {
            Event::Demand { .. } if asked.heard - asked.made < DEMANDS_MAX as u64 => asked.heard += 1,
            Event::NothingToSeal { build } if asked.open == Some(*build) => {
                asked.made += 1;
                asked.open = None;
            }
            _ => {}
        }
    }

    /// With the process its demands are gone, and whoever asked hears of that.
    pub fn restarted(&mut self, node: usize) {
        self.asked[node] = Asked::default();
    }

    /// Looks at everything that makes a block.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        if seen.mode != Mode::OnDemand {
            return Ok(());
        }
        let asked = &mut self.asked[seen.node];
        match seen.effect {
            Effect::Open { build, attributes } => {
                asked.open = Some(*build);
                if attributes.timestamp < attributes.parent.timestamp.after(SECOND) {
                    return Err(format!("dates a block less than {SECOND} after its parent"));
                }
                if asked.made == asked.heard {
                    return Err("opens a build that nobody asked for".to_owned());
                }
            }
            Effect::Cancel { build } => {
                asked.open.take_if(|open| open == build);
            }
            Effect::Persist(Record::Payload(_)) => {
                asked.open = None;
                asked.made += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks at how many demands a node says that it has answered: all but the one whose block is on its way.
    pub fn answered(&self, node: usize, served: u64) -> Finding {
        let Asked { heard, made, .. } = self.asked[node];
        if served <= made && made <= served + 1 {
            Ok(())
        } else {
            Err(format!("says that it answered {served} of {heard} demands, and it made {made} blocks"))
        }
    }

    /// Is every demand answered, now that the node says that it has answered so many?
    pub fn is_level(&self, node: usize, served: u64) -> bool {
        self.asked[node].heard == served
    }
}
