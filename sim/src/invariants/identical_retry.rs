//! A retry carries the identical payload.
//!
//! Source: design of the heart ("a retry re-sends the same payload: the heart holds it until it is decided or lost"). The public
//! failure: after a time-out another payload for the same height was built (Base Sepolia, 2024-10-14, optimism#12448).

use sequencer::{Effect, Record};
use types::Payload;

use super::{Finding, Seen};

/// What each node gave out last.
#[derive(Clone, Debug)]
pub struct IdenticalRetry {
    last: Vec<Last>,
}

#[derive(Clone, Debug, Default)]
struct Last {
    persisted: Option<Payload>,
    committed: Option<Payload>,
    proposed: Option<Payload>,
    imported: Option<Payload>,
}

impl IdenticalRetry {
    /// For so many nodes.
    pub fn of(nodes: usize) -> Self {
        Self { last: vec![Last::default(); nodes] }
    }

    /// A restart keeps what is on the disk.
    pub fn restarted(&mut self, node: usize) {
        let persisted = self.last[node].persisted.take();
        self.last[node] = Last { persisted, ..Last::default() };
    }

    /// What is decided at a height where the chain was taken back may be another block.
    pub fn taken_back(&mut self, node: usize) {
        self.last[node].persisted = None;
    }

    /// Looks at everything that carries a payload out.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let last = &mut self.last[seen.node];
        match seen.effect {
            Effect::Persist(Record::Payload(payload)) => same_height(&mut last.persisted, payload, "persists"),
            Effect::Commit(payload) => {
                // What cites an L1 block that is no more has to give way to another.
                let left = |payload: &Payload| payload.origin.zip(seen.l1).is_some_and(|(origin, l1)| !l1.has(&origin));
                last.committed.take_if(|earlier| left(earlier));
                same_height(&mut last.committed, payload, "commits")
            }
            Effect::SetHeads(heads) => {
                let head = heads.unsafe_head();
                // Another was decided at its height: what was made for it is no more.
                last.committed.take_if(|earlier| earlier.block.number <= head.number && earlier.block != head);
                Ok(())
            }
            Effect::Propose(proposal) => {
                let earlier = last.proposed.replace(proposal.payload.clone());
                match earlier {
                    Some(earlier) if earlier.slot == proposal.payload.slot && earlier != proposal.payload => {
                        Err(format!("proposes two payloads built for slot {}", earlier.slot))
                    }
                    Some(_) | None => Ok(()),
                }
            }
            Effect::Import(payload) => {
                let earlier = last.imported.replace(payload.clone());
                match earlier {
                    Some(earlier) if earlier.block.hash == payload.block.hash && earlier != *payload => {
                        Err(format!("imports {} with another body", payload.block.hash))
                    }
                    Some(_) | None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn same_height(last: &mut Option<Payload>, payload: &Payload, verb: &str) -> Finding {
    let earlier = last.replace(payload.clone());
    match earlier {
        Some(earlier) if earlier.block.number >= payload.block.number && earlier != *payload => Err(format!(
            "{verb} {} at height {} after {} at height {}",
            payload.block.hash, payload.block.number, earlier.block.hash, earlier.block.number
        )),
        Some(_) | None => Ok(()),
    }
}
