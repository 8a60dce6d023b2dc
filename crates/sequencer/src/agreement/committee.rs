//! Members propose in turn, and a quorum decides.
//!
//! ```text
//!  proposer   Open ⇢ Seal ⇢ Persist(vow) · Propose · Attest(endorse)
//!  others     Import ⇢ valid   Persist(vow) ·       Attest(endorse)
//!                              ⇢ quorum endorsed: locked
//!  all                         Persist(vow, lock) · Attest(attest)
//!                              ⇢ quorum attested: decided
//!  proposer                    Persist(certificate) · Announce · Import ⇢ SetHeads · Publish
//!  others                      Persist(certificate) ·                     SetHeads
//! ```
//!
//! One height is agreed on at a time, over as many slots as it takes. The rules, with `f` of `3f + 1` members faulty:
//!
//! 1. A vow is durable before it is sent, names one block a slot, and never goes back. So a slot has at most one lock, and one
//!    certificate.
//! 2. Whoever is locked on a block endorses another at this height only for a lock of a later slot. Those behind a certificate
//!    include `f + 1` honest members locked on its block, so no other block at this height is ever locked: no two are decided.
//! 3. Whoever is locked proposes that very payload again, with the lock, when its turn comes. So the highest lock spreads, and once
//!    messages arrive again, one round of turns decides.
//! 4. A proposal carries its parent's certificate: whoever missed that the parent was decided catches up by the next proposal.
//!
//! The two stages and rules 2 and 3 are those of Tendermint (Buchman, Kwon, Milosevic, "The latest gossip on BFT consensus", 2018,
//! algorithm 1), with slots of a clock in the place of rounds with time-outs, and silence in the place of votes for nil.

mod heard;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{
    Announcement, Attestation, BlockHash, BlockNumber, BlockRef, BuildId, Certificate, Committee, MemberId, Millis,
    Payload, Proposal, Signature, Slot, Stage, Timestamp, Verdict, Vow,
};

use super::tally::Tally;
use crate::mutants::{Mutant, Mutation};
use crate::publication::Decided;
use crate::{Effect, Effects, Memory, Offence, Peer, Record, Timetable};

/// How many slots ahead of our clock a message may be: others' clocks may differ by up to one slot.
const SLOTS_AHEAD_MAX: u64 = 1;
/// How many slots behind our clock a message may be and still count.
const SLOTS_BEHIND_MAX: u64 = 2;
/// Most payloads kept while one height is agreed on.
const PAYLOADS_MAX: usize = 8;

/// One member's, or a mere listener's, part in the committee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Council {
    committee: Committee,
    me: Option<MemberId>,
    began: BlockNumber,
    resend: Millis,
    timetable: Timetable,
    #[serde(skip)]
    mutation: Mutation,

    /// Our newest promise. Never goes back.
    vow: Option<Vow>,
    /// The payload that a record of ours carries already.
    recorded: Option<BlockHash>,
    /// The newest quorum of endorsements whose payload we have. Binds us.
    lock: Option<Certificate>,
    /// A newer one whose payload we do not have.
    unseen_lock: Option<Certificate>,
    /// The proof of our head.
    certificate: Option<Certificate>,
    /// The proof of a block above our head whose payload we do not have.
    awaiting: Option<Certificate>,

    proposals: BTreeMap<Slot, (Peer, Proposal)>,
    payloads: BTreeMap<BlockHash, Known>,
    tally: Tally,
    own: Option<Own>,
    /// What we proposed for the slot of our vow.
    proposed: Option<Proposal>,
    resend_at: Option<Timestamp>,

    /// Our head, to show to those who are behind.
    latest: Option<Announcement>,
    help_at: Timestamp,
}

/// A payload at a height not decided yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    payload: Payload,
    belief: Belief,
}

/// How far a payload is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Belief {
    /// Heard of.
    Heard,
    /// Sealed by our own backend in this run, not imported.
    Own,
    /// Imported and found valid.
    Valid,
    /// Imported and found invalid.
    Invalid,
}

/// The payload that our own backend sealed last.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Own {
    build: BuildId,
    slot: Slot,
    block: BlockRef,
}

/// The moment and the place at which something is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) now: Timestamp,
    /// The slot that `now` lies in.
    pub(crate) slot: Slot,
    pub(crate) head: BlockRef,
    /// May we propose and vow?
    pub(crate) active: bool,
}

impl Council {
    /// The council as it was when the process ended.
    pub(crate) fn recover(
        committee: Committee,
        me: Option<MemberId>,
        began: BlockNumber,
        resend: Millis,
        timetable: Timetable,
        memory: Memory,
        mutation: Mutation,
    ) -> Self {
        let forgetful = mutation.is(Mutant::ForgetVow);
        let mut payloads = BTreeMap::new();
        for payload in memory.payloads().iter().cloned() {
            payloads.insert(payload.block.hash, Known { payload, belief: Belief::Heard });
        }
        Self {
            committee,
            me: me.filter(|me| committee.contains(*me)),
            began,
            resend: resend.max(Millis::new(1)),
            timetable,
            mutation,
            vow: memory.vow.filter(|_| !forgetful),
            recorded: None,
            lock: memory.lock.filter(|_| !forgetful),
            unseen_lock: None,
            certificate: memory.certificate,
            awaiting: None,
            proposals: BTreeMap::new(),
            payloads,
            tally: Tally::default(),
            own: None,
            proposed: None,
            resend_at: memory.vow.map(|_| Timestamp::default()),
            latest: None,
            help_at: Timestamp::default(),
        }
    }

    /// The newest certificate of the last run: it may prove a block above the backend's head.
    pub(crate) fn recovered_certificate(&self) -> Option<Certificate> {
        self.certificate.clone()
    }

    /// Is this payload worth importing although it is not decided?
    pub(crate) fn wants(&self, block: BlockHash) -> bool {
        self.payloads.get(&block).is_some_and(|known| known.belief == Belief::Heard)
    }

    /// Has our backend imported this payload?
    pub(crate) fn has_imported(&self, block: BlockHash) -> bool {
        self.payloads.get(&block).is_some_and(|known| known.belief == Belief::Valid)
    }

    /// Does the certificate decide its block?
    pub(crate) fn decides(&self, certificate: &Certificate) -> bool {
        self.proves(certificate, Stage::Attest)
    }

    /// A payload that the certificate decides, or the certificate again if we do not have it.
    pub(crate) fn decided(&self, certificate: Certificate) -> Result<Decided, Certificate> {
        match self.payloads.get(&certificate.vow.block.hash) {
            Some(known) => Ok(self.decided_payload(known.payload.clone(), certificate)),
            None => Err(certificate),
        }
    }

    /// Keeps a certificate until its payload comes.
    pub(crate) fn await_payload(&mut self, certificate: Certificate) {
        self.awaiting = Some(certificate);
    }

    /// The decided payload whose certificate was here first, if it has come.
    pub(crate) fn take_awaited(&mut self) -> Option<Decided> {
        let certificate =
            self.awaiting.take_if(|certificate| self.payloads.contains_key(&certificate.vow.block.hash))?;
        self.decided(certificate).ok()
    }

    /// Do we vote?
    pub(crate) const fn is_member(&self) -> bool {
        self.me.is_some()
    }

    /// A payload that the certificate decides.
    pub(crate) fn decided_payload(&self, payload: Payload, certificate: Certificate) -> Decided {
        let led = self.me == Some(self.committee.proposer(certificate.vow.slot));
        Decided { announcement: Announcement { payload, certificate: Some(certificate) }, led }
    }

    /// Our own payload is sealed. It is proposed if its slot is still running.
    pub(crate) fn sealed(&mut self, payload: Payload, build: BuildId, effects: &mut Effects) {
        self.give_up_own(effects);
        self.own = Some(Own { build, slot: payload.slot, block: payload.block });
        self.know(payload, Belief::Own);
    }

    /// The backend judged a payload that is not decided.
    pub(crate) fn vetted(&mut self, block: BlockHash, verdict: Verdict, effects: &mut Effects) {
        let Some(known) = self.payloads.get_mut(&block) else { return };
        match verdict {
            Verdict::Valid => known.belief = Belief::Valid,
            Verdict::Invalid => {
                known.belief = Belief::Invalid;
                let bringer = self.proposals.values().find(|(_, proposal)| proposal.payload.block.hash == block);
                if let Some((peer, _)) = bringer {
                    penalize(*peer, Offence::InvalidBlock, effects);
                }
            }
            Verdict::ParentUnknown => {}
        }
    }

    /// The chain moved to the decided payload: all that was said about its height is history.
    pub(crate) fn advanced(&mut self, announcement: Announcement, effects: &mut Effects) {
        let head = announcement.payload.block;
        if self.own.as_ref().is_some_and(|own| own.block != head) {
            self.give_up_own(effects);
        }
        self.own = None;
        self.proposed = None;
        self.resend_at = None;
        self.certificate.clone_from(&announcement.certificate);
        self.latest = Some(announcement);
        let open = |number: BlockNumber| number > head.number;
        self.lock.take_if(|lock| !open(lock.vow.block.number));
        self.unseen_lock.take_if(|lock| !open(lock.vow.block.number));
        self.awaiting.take_if(|certificate| !open(certificate.vow.block.number));
        self.payloads.retain(|_, known| open(known.payload.block.number));
        self.proposals.retain(|_, (_, proposal)| open(proposal.payload.block.number));
    }

    /// The backend's head is another than we thought: the proof at hand may not be of it.
    pub(crate) fn reset(&mut self, head: BlockRef) {
        self.certificate.take_if(|certificate| certificate.vow.block != head);
        self.latest = None;
        for known in self.payloads.values_mut() {
            if known.belief == Belief::Valid {
                known.belief = Belief::Heard;
            }
        }
    }

    /// Does all that time and what is known allow: attest, propose, endorse, repeat. Yields a payload to be imported before we can
    /// say more.
    pub(crate) fn advance(&mut self, scene: Scene, effects: &mut Effects) -> Option<Payload> {
        self.forget(scene.slot);
        if !scene.active || self.me.is_none() {
            return None;
        }
        self.see_lock();
        self.attest(scene, effects);
        self.propose(scene, effects);
        let vet = self.endorse(scene, effects);
        self.repeat(scene, effects);
        self.lock_to_vet(scene.head).or(vet)
    }

    /// The slot for which a build may be opened now, not before `earliest`.
    pub(crate) fn build_slot(&self, scene: Scene, earliest: Slot) -> Option<Slot> {
        [scene.slot, scene.slot.next()].into_iter().find(|slot| {
            *slot >= earliest
                && self.may_build(scene, *slot)
                && scene.now >= self.timetable.opens_at(*slot)
                && scene.now < self.timetable.seal_at(*slot)
        })
    }

    /// May a build for this slot go on?
    pub(crate) fn may_keep_build(&self, scene: Scene, slot: Slot) -> bool {
        self.may_build(scene, slot) && scene.now < self.timetable.end(slot)
    }

    /// When [`Council::advance`] or [`Council::build_slot`] has something to do.
    pub(crate) fn deadline(&self, now: Timestamp, slot: Slot) -> Option<Timestamp> {
        self.me?;
        let next = slot.next();
        let opens = self.timetable.opens_at(next);
        let turn = if opens > now { opens } else { self.timetable.start(next) };
        Some(self.resend_at.map_or(turn, |resend_at| resend_at.min(turn)))
    }

    // --- what is said -------------------------------------------------------------------------------------------------------

    /// Keeps to the lock, if that is no step back and the payload is known to be good.
    fn attest(&mut self, scene: Scene, effects: &mut Effects) {
        let Some(lock) = self.binding_lock(scene.head) else { return };
        let vow = Vow { stage: Stage::Attest, ..lock.vow };
        if self.believes(vow.block.hash) && self.may_vow(&vow) {
            let lock = lock.clone();
            self.make(scene.now, vow, Some(lock), None, effects);
        }
    }

    /// In our own slot, proposes the locked payload again, or else the one that we sealed.
    fn propose(&mut self, scene: Scene, effects: &mut Effects) {
        let slot = scene.slot;
        if scene.now < self.timetable.start(slot) || !self.is_turn(scene.head, slot) {
            return;
        }
        let lock = self.binding_lock(scene.head).cloned();
        let block = match (&lock, &self.own) {
            (Some(lock), _) => lock.vow.block,
            (None, Some(own)) if own.slot == slot && own.block.extends(&scene.head) => own.block,
            (None, _) => return,
        };
        let vow = Vow { slot, stage: Stage::Endorse, block };
        let Some(known) = self.payloads.get(&block.hash) else { return };
        let Some(me) = self.me else { return };
        if !self.believes(block.hash) || !self.may_vow(&vow) {
            return;
        }
        let proposal = Proposal {
            slot,
            proposer: me,
            payload: known.payload.clone(),
            parent: self.certificate.clone().filter(|_| !self.mutation.is(Mutant::OmitParentCertificate)),
            lock: lock.filter(|lock| lock.vow.slot < slot),
            signature: Signature::default(),
        };
        self.make(scene.now, vow, None, Some(proposal), effects);
    }

    /// Endorses the newest proposal that the rules allow. Yields its payload if it is yet to be imported.
    fn endorse(&mut self, scene: Scene, effects: &mut Effects) -> Option<Payload> {
        let (vow, known) = self.proposals.values().rev().find_map(|(_, proposal)| {
            let block = proposal.payload.block;
            let vow = Vow { slot: proposal.slot, stage: Stage::Endorse, block };
            let known = self.payloads.get(&block.hash).filter(|known| known.belief != Belief::Invalid)?;
            let allowed = block.extends(&scene.head) && self.may_vow(&vow) && self.lock_allows(scene.head, proposal);
            allowed.then_some((vow, known))
        })?;
        match known.belief {
            Belief::Heard => return Some(known.payload.clone()),
            Belief::Own | Belief::Valid | Belief::Invalid => {}
        }
        self.make(scene.now, vow, None, None, effects);
        None
    }

    /// Makes a vow: durable first, then sent.
    fn make(
        &mut self,
        now: Timestamp,
        vow: Vow,
        lock: Option<Certificate>,
        proposal: Option<Proposal>,
        effects: &mut Effects,
    ) {
        let hash = vow.block.hash;
        let unrecorded = self.recorded != Some(hash);
        let payload = self.payloads.get(&hash).filter(|_| unrecorded).map(|known| known.payload.clone());
        self.recorded = Some(hash);
        self.vow = Some(vow);
        self.proposed = proposal.or(self.proposed.take().filter(|proposed| proposed.slot == vow.slot));
        self.resend_at = Some(now.after(self.resend));
        let persist = Effect::Persist(Record::Vow { vow, payload, lock });
        if self.mutation.is(Mutant::SpeakBeforePersist) {
            self.speak(vow, vow.stage, effects);
            effects.push(persist);
        } else {
            effects.push(persist);
            self.speak(vow, vow.stage, effects);
        }
        if self.mutation.is(Mutant::AnnounceProposal)
            && let Some(proposal) = &self.proposed
        {
            effects.push(Effect::Announce(Announcement { payload: proposal.payload.clone(), certificate: None }));
        }
    }

    /// Says what our newest vow lets us say from this stage on.
    fn speak(&self, vow: Vow, from: Stage, effects: &mut Effects) {
        let Some(member) = self.me else { return };
        if from == Stage::Endorse
            && let Some(proposal) = &self.proposed
        {
            effects.push(Effect::Propose(proposal.clone()));
        }
        for stage in [Stage::Endorse, Stage::Attest] {
            if (from..=vow.stage).contains(&stage) {
                let vow = Vow { stage, ..vow };
                let lock = self.lock.clone().filter(|lock| stage == Stage::Attest && lock.vow.slot == vow.slot);
                effects.push(Effect::Attest(Attestation { member, vow, lock, signature: Signature::default() }));
            }
        }
    }

    /// Says it all again while its block is undecided: a lock must reach whoever will propose.
    fn repeat(&mut self, scene: Scene, effects: &mut Effects) {
        let Some(vow) = self.vow else { return };
        if self.resend_at.is_none_or(|resend_at| resend_at > scene.now) {
            return;
        }
        if vow.block.number <= scene.head.number {
            self.resend_at = None;
        } else {
            self.resend_at = Some(scene.now.after(self.resend));
            self.speak(vow, Stage::Endorse, effects);
        }
    }

    /// Shows our head to someone who does not know it, not more often than messages are repeated.
    fn help(&mut self, now: Timestamp, peer: Peer, effects: &mut Effects) {
        if peer == Peer::OURSELVES || now < self.help_at {
            return;
        }
        if let Some(latest) = &self.latest {
            effects.push(Effect::Announce(latest.clone()));
            self.help_at = now.after(self.resend);
        }
    }

    // --- what may be said ---------------------------------------------------------------------------------------------------

    /// New, and no step back.
    fn may_vow(&self, vow: &Vow) -> bool {
        self.vow.is_none_or(|earlier| {
            *vow != earlier
                && (vow.may_follow(&earlier) || (self.mutation.is(Mutant::VowTwice) && vow.slot == earlier.slot))
        })
    }

    /// Not bound, bound to this very block, or released by a lock of a later slot.
    fn lock_allows(&self, head: BlockRef, proposal: &Proposal) -> bool {
        let Some(lock) = self.binding_lock(head) else { return true };
        proposal.payload.block == lock.vow.block
            || proposal.lock.as_ref().is_some_and(|newer| newer.vow.slot > lock.vow.slot)
            || self.mutation.is(Mutant::IgnoreLock)
    }

    /// The lock that binds us at the height above the head.
    fn binding_lock(&self, head: BlockRef) -> Option<&Certificate> {
        self.lock.as_ref().filter(|lock| lock.vow.block.extends(&head) && !self.disbelieves(lock.vow.block.hash))
    }

    /// Could we propose in this slot, as far as turns and proofs go?
    fn is_turn(&self, head: BlockRef, slot: Slot) -> bool {
        let proven = head.number == self.began
            || self.certificate.as_ref().is_some_and(|certificate| certificate.vow.block == head);
        proven && self.me == Some(self.committee.proposer(slot)) && self.vow.is_none_or(|vow| vow.slot < slot)
    }

    /// Could we build for this slot? Not when a lock will have to be proposed instead.
    fn may_build(&self, scene: Scene, slot: Slot) -> bool {
        scene.active && self.is_turn(scene.head, slot) && self.binding_lock(scene.head).is_none()
    }

    fn believes(&self, block: BlockHash) -> bool {
        self.payloads.get(&block).is_some_and(|known| matches!(known.belief, Belief::Own | Belief::Valid))
    }

    fn disbelieves(&self, block: BlockHash) -> bool {
        self.payloads.get(&block).is_some_and(|known| known.belief == Belief::Invalid)
    }

    fn proves(&self, certificate: &Certificate, stage: Stage) -> bool {
        let careless = self.mutation.is(Mutant::HalfQuorum) || self.mutation.is(Mutant::CountSignatures);
        let enough = certificate.signatures.len() >= self.quorum() as usize;
        self.committee.proves(certificate, stage) || (careless && certificate.vow.stage == stage && enough)
    }

    fn quorum(&self) -> u32 {
        if self.mutation.is(Mutant::HalfQuorum) { self.committee.size() / 2 } else { self.committee.quorum() }
    }

    // --- what is known -------------------------------------------------------------------------------------------------------

    /// Takes the lock whose payload was missing, once it has come.
    fn see_lock(&mut self) {
        let seen = |lock: &mut Certificate| self.payloads.contains_key(&lock.vow.block.hash);
        if let Some(unseen) = self.unseen_lock.take_if(seen)
            && self.lock.as_ref().is_none_or(|lock| lock.vow.slot < unseen.vow.slot)
        {
            self.lock = Some(unseen);
        }
    }

    /// The locked payload, if it must be imported before we can keep to the lock.
    fn lock_to_vet(&self, head: BlockRef) -> Option<Payload> {
        let known = self.payloads.get(&self.binding_lock(head)?.vow.block.hash)?;
        (known.belief == Belief::Heard).then(|| known.payload.clone())
    }

    /// The proof of our head, if we had none.
    fn adopt_certificate(&mut self, head: BlockRef, certificate: Option<&Certificate>) {
        let proven = self.certificate.as_ref().is_some_and(|ours| ours.vow.block == head);
        if !proven
            && let Some(certificate) = certificate
            && certificate.vow.block == head
        {
            self.certificate = Some(certificate.clone());
        }
    }

    /// Keeps a payload; in want of room the oldest that nothing binds us to goes.
    fn know(&mut self, payload: Payload, belief: Belief) {
        let known = self.payloads.entry(payload.block.hash).or_insert(Known { payload, belief });
        if belief == Belief::Own && known.belief == Belief::Heard {
            known.belief = Belief::Own;
        }
        while self.payloads.len() > PAYLOADS_MAX {
            let named = [
                self.lock.as_ref().map(|lock| lock.vow.block.hash),
                self.vow.map(|vow| vow.block.hash),
                self.own.as_ref().map(|own| own.block.hash),
            ];
            let free = self.payloads.iter().filter(|(hash, _)| !named.contains(&Some(**hash)));
            let Some(oldest) = free.min_by_key(|(_, known)| known.payload.slot).map(|(hash, _)| *hash) else { return };
            self.payloads.remove(&oldest);
        }
    }

    fn forget(&mut self, current: Slot) {
        let oldest = oldest(current);
        while let Some(entry) = self.proposals.first_entry()
            && *entry.key() < oldest
        {
            entry.remove();
        }
        self.tally.forget_before(oldest);
    }

    fn give_up_own(&mut self, effects: &mut Effects) {
        if let Some(own) = self.own.take() {
            effects.push(Effect::Cancel { build: own.build });
        }
    }
}

/// The oldest slot that still counts.
fn oldest(current: Slot) -> Slot {
    Slot::new(current.as_u64().saturating_sub(SLOTS_BEHIND_MAX))
}

fn penalize(peer: Peer, offence: Offence, effects: &mut Effects) {
    if peer != Peer::OURSELVES {
        effects.push(Effect::Penalize { peer, offence });
    }
}
