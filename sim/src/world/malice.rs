//! What faulty members do: equivocate, withhold, propose what is invalid or unproven, vote for everything.
//!
//! They sign in their own name alone: nobody forges signatures.

use sequencer::Event;
use types::{Attestation, Attributes, BlockHash, BlockRef, Certificate, Proposal, Signature, Slot, Stage, Vow};

use super::{World, member};
use crate::backend::{INVALID, payload};

impl World {
    /// A faulty proposer equivocates, withholds, or proposes what is invalid or unproven.
    pub(super) fn twist_proposal(&mut self, from: usize, proposal: &Proposal) {
        self.counts.tricks += 1;
        let trick = self.dice.below(6);
        let other = self.forge(from, proposal);
        let few = self.dice.within(&(100..=900));
        for to in self.others(from) {
            let heads_up = self.dice.happens(few);
            let chosen = match trick {
                0 if heads_up => Some(proposal.clone()),
                0 => Some(other.clone()),
                1 => heads_up.then(|| proposal.clone()),
                2 => Some(self.spoil(proposal)),
                3 => Some(Proposal { parent: None, ..proposal.clone() }),
                4 => Some(boast(from, &other)),
                _ if heads_up => None,
                _ => Some(Proposal { slot: proposal.slot.next(), ..proposal.clone() }),
            };
            if let Some(chosen) = chosen {
                self.send(from, to, |peer| Event::Proposed { peer, proposal: chosen.clone() });
                self.vote(from, to, chosen.slot, chosen.payload.block, Stage::Endorse);
            }
        }
    }

    /// Another valid payload for the same slot.
    fn forge(&mut self, from: usize, proposal: &Proposal) -> Proposal {
        let parent = self.nodes[from].backend.heads().unsafe_head();
        let block = proposal.payload.block;
        let parent = BlockRef { hash: block.parent, number: block.number.previous().unwrap_or_default(), ..parent };
        let attributes = Attributes {
            slot: proposal.slot,
            parent,
            timestamp: self.timetable.stamp(proposal.slot),
            origin: None,
            use_pool: true,
        };
        let payload = payload(&attributes, self.dice.number());
        self.make(&payload);
        Proposal { payload, lock: None, ..proposal.clone() }
    }

    fn spoil(&mut self, proposal: &Proposal) -> Proposal {
        let mut spoiled = proposal.clone();
        spoiled.payload.body = bytes::Bytes::from_static(&[INVALID]);
        let mut hash = *spoiled.payload.block.hash.as_bytes();
        hash[31] ^= INVALID;
        spoiled.payload.block.hash = BlockHash::new(hash);
        self.make(&spoiled.payload.clone());
        Proposal { lock: None, ..spoiled }
    }

    /// A faulty member votes for all that it hears, in every stage, to whomever it likes.
    pub(super) fn plot(&mut self, place: usize, event: &Event) {
        if !self.dice.happens(self.faults.malice) {
            return;
        }
        let (slot, block) = match event {
            Event::Proposed { proposal, .. } => (proposal.slot, proposal.payload.block),
            Event::Attested { attestation, .. } => (attestation.vow.slot, attestation.vow.block),
            _ => return,
        };
        self.counts.tricks += 1;
        for to in self.others(place) {
            if self.dice.happens(200) {
                let stage = if self.dice.happens(500) { Stage::Endorse } else { Stage::Attest };
                self.vote(place, to, slot, block, stage);
            }
        }
    }

    fn vote(&mut self, from: usize, to: usize, slot: Slot, block: BlockRef, stage: Stage) {
        let Some(member) = member(from) else { return };
        let vow = Vow { slot, stage, block };
        self.truth.voted(member, vow);
        let attestation = Attestation { member, vow, lock: None, signature: Signature::default() };
        self.send(from, to, |peer| Event::Attested { peer, attestation: attestation.clone() });
    }
}

/// A proposal with a lock that only its proposer has signed, as often as it takes.
fn boast(from: usize, proposal: &Proposal) -> Proposal {
    let Some(slot) = proposal.slot.previous() else { return proposal.clone() };
    let vow = Vow { slot, stage: Stage::Endorse, block: proposal.payload.block };
    let signatures = member(from).map_or_else(Vec::new, |member| vec![(member, Signature::default()); 7]);
    Proposal { lock: Some(Certificate { vow, signatures: signatures.into() }), ..proposal.clone() }
}
