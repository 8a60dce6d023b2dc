//! At most one build is outstanding.
//!
//! Source: design of the heart, rule 6.

use sequencer::{Effect, Event};
use types::BuildId;

use super::{Finding, Seen};

/// The build that each node has open.
#[derive(Clone, Debug)]
pub struct OneBuild {
    open: Vec<Option<BuildId>>,
}

impl OneBuild {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { open: vec![None; nodes] }
    }

    /// A build ends when it is sealed or found empty.
    pub fn hear(&mut self, node: usize, event: &Event) {
        match event {
            Event::Sealed { build, .. } | Event::NothingToSeal { build } => self.ended(node, *build),
            _ => {}
        }
    }

    /// With the process every build ends.
    pub fn restarted(&mut self, node: usize) {
        self.open[node] = None;
    }

    /// Looks at builds that are opened and given up.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        match seen.effect {
            Effect::Open { build, .. } => {
                let other = self.open[seen.node].replace(*build).filter(|other| other != build);
                other.map_or(Ok(()), |other| Err(format!("opens build {build} beside build {other}")))
            }
            Effect::Cancel { build } => {
                self.ended(seen.node, *build);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn ended(&mut self, node: usize, build: BuildId) {
        self.open[node].take_if(|open| *open == build);
    }
}
