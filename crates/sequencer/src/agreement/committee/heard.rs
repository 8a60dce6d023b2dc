//! What proposals and attestations of others are worth.

use types::{Attestation, BlockRef, Certificate, Proposal, Slot, Stage};

use super::{Belief, Council, SLOTS_AHEAD_MAX, Scene, oldest, penalize};
use crate::agreement::tally::Counted;
use crate::mutants::Mutant;
use crate::{Effects, Offence, Peer};

impl Council {
    /// A proposal was heard. Yields the proof of its parent, which may be news.
    pub(crate) fn proposed(
        &mut self,
        scene: Scene,
        peer: Peer,
        proposal: Proposal,
        effects: &mut Effects,
    ) -> Option<Certificate> {
        match self.judge_proposal(scene, &proposal) {
            Judgement::Good => {}
            Judgement::Late => return None,
            Judgement::Behind => {
                self.help(scene.now, peer, effects);
                return None;
            }
            Judgement::Bad(offence) => {
                penalize(peer, offence, effects);
                return None;
            }
        }
        let parent = proposal.parent.clone();
        self.adopt_certificate(scene.head, parent.as_ref());
        self.know(proposal.payload.clone(), Belief::Heard);
        if let Some(lock) = &proposal.lock {
            self.consider_lock(scene.head, lock.clone());
        }
        if self.mutation.is(Mutant::VowTwice) {
            self.proposals.remove(&proposal.slot);
        }
        self.proposals.entry(proposal.slot).or_insert((peer, proposal));
        parent
    }

    /// An attestation was heard. Yields a certificate once a quorum attests to one block.
    pub(crate) fn attested(
        &mut self,
        scene: Scene,
        peer: Peer,
        attestation: &Attestation,
        effects: &mut Effects,
    ) -> Option<Certificate> {
        if let Some(offence) = self.hear_lock(scene, attestation) {
            penalize(peer, offence, effects);
            return None;
        }
        if attestation.vow.slot < oldest(scene.slot) {
            return None;
        }
        let counted = self.tally.count(self.quorum(), attestation);
        if self.shows_ignorance(scene, attestation, &counted) {
            self.help(scene.now, peer, effects);
        }
        match counted {
            Counted::NotEnough | Counted::Repeated => None,
            Counted::Conflict(first) => {
                penalize(peer, Offence::TwoVows { first, second: Box::new(attestation.clone()) }, effects);
                None
            }
            Counted::Quorum(certificate) => match certificate.vow.stage {
                Stage::Endorse => {
                    self.consider_lock(scene.head, certificate);
                    None
                }
                Stage::Attest => Some(certificate),
            },
        }
    }

    /// Takes the lock that an attestation brings along: it counts even when the vow comes too late to. Says what is wrong, if anything.
    fn hear_lock(&mut self, scene: Scene, attestation: &Attestation) -> Option<Offence> {
        if !self.committee.contains(attestation.member) {
            return Some(Offence::NotAMember);
        }
        match place(scene.slot, attestation.vow.slot) {
            Place::TooEarly => return Some(Offence::TooEarly),
            Place::Late | Place::Current => {}
        }
        let lock = attestation.lock.as_ref()?;
        let known = self.lock.as_ref().is_some_and(|ours| ours.vow == lock.vow);
        if !known && lock.vow.block.number > scene.head.number {
            if !self.proves(lock, Stage::Endorse) {
                return Some(Offence::BadCertificate);
            }
            self.consider_lock(scene.head, lock.clone());
        }
        None
    }

    /// Does its sender not know that this height is decided? A vow that was merely late is no sign of that, a repeated one is.
    fn shows_ignorance(&self, scene: Scene, attestation: &Attestation, counted: &Counted) -> bool {
        let later = || self.certificate.as_ref().is_some_and(|certificate| certificate.vow.slot < attestation.vow.slot);
        attestation.vow.block.number <= scene.head.number && (matches!(counted, Counted::Repeated) || later())
    }

    fn judge_proposal(&self, scene: Scene, proposal: &Proposal) -> Judgement {
        let block = proposal.payload.block;
        if proposal.proposer != self.committee.proposer(proposal.slot) {
            return Judgement::Bad(Offence::NotTheProposer);
        }
        match place(scene.slot, proposal.slot) {
            Place::TooEarly => return Judgement::Bad(Offence::TooEarly),
            Place::Late => return Judgement::Late,
            Place::Current => {}
        }
        if !self.proves_parent(proposal) || !self.proves_lock(proposal) {
            return Judgement::Bad(Offence::BadCertificate);
        }
        if !self.is_dated(proposal) {
            return Judgement::Bad(Offence::Malformed);
        }
        if let Some((_, first)) = self.proposals.get(&proposal.slot)
            && first.payload.block != block
            && !self.mutation.is(Mutant::VowTwice)
        {
            let (first, second) = (Box::new(first.clone()), Box::new(proposal.clone()));
            return Judgement::Bad(Offence::TwoProposals { first, second });
        }
        if block.number <= scene.head.number {
            return Judgement::Behind;
        }
        Judgement::Good
    }

    /// Is the parent proven, as far as it needs to be?
    fn proves_parent(&self, proposal: &Proposal) -> bool {
        let block = proposal.payload.block;
        match &proposal.parent {
            Some(parent) => self.proves(parent, Stage::Attest) && block.extends(&parent.vow.block),
            None => block.number == self.began.next(),
        }
    }

    /// Is the lock, if there is one, a lock on this payload?
    fn proves_lock(&self, proposal: &Proposal) -> bool {
        proposal.lock.as_ref().is_none_or(|lock| {
            self.proves(lock, Stage::Endorse)
                && lock.vow.block == proposal.payload.block
                && lock.vow.slot < proposal.slot
        })
    }

    /// Is the payload of this slot, or of an earlier one and locked, and not dated later than its slot?
    fn is_dated(&self, proposal: &Proposal) -> bool {
        let built = proposal.payload.slot;
        let in_turn = built == proposal.slot || (built < proposal.slot && proposal.lock.is_some());
        in_turn && proposal.payload.block.timestamp <= self.timetable.stamp(built)
    }

    /// Takes a quorum of endorsements as our lock if it is newer and we have the payload.
    fn consider_lock(&mut self, head: BlockRef, certificate: Certificate) {
        let newer = |than: &Option<Certificate>| {
            than.as_ref()
                .is_none_or(|than| than.vow.slot < certificate.vow.slot || than.vow.block.number <= head.number)
        };
        if certificate.vow.block.number <= head.number || !newer(&self.lock) {
            return;
        }
        if self.payloads.contains_key(&certificate.vow.block.hash) {
            self.lock = Some(certificate);
        } else if newer(&self.unseen_lock) {
            self.unseen_lock = Some(certificate);
        }
    }
}

/// What a proposal is worth.
enum Judgement {
    Good,
    /// Too old to matter.
    Late,
    /// Its sender does not know our head.
    Behind,
    Bad(Offence),
}

/// Where a slot lies by our clock.
enum Place {
    TooEarly,
    Current,
    Late,
}

fn place(current: Slot, slot: Slot) -> Place {
    if slot.as_u64() > current.as_u64().saturating_add(SLOTS_AHEAD_MAX) {
        Place::TooEarly
    } else if slot < oldest(current) {
        Place::Late
    } else {
        Place::Current
    }
}
