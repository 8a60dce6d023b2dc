//! What each event changes.

use types::{
    Announcement, Attestation, BlockHash, BlockNumber, BlockRef, BuildId, Certificate, Failure, Heads, Payload,
    Proposal, Timestamp, Verdict,
};

use super::Sequencer;
use crate::agreement::{Agreement, Council, Solo, Told};
use crate::catch_up::CatchUp;
use crate::mutants::Mutant;
use crate::publication::Decided;
use crate::{Call, Effect, Effects, Event, HaltReason, Offence, Peer, QueryId};

impl Sequencer {
    /// Does the event answer what is no longer, or never was, asked?
    pub(super) fn is_stale(&self, event: &Event) -> bool {
        match event {
            Event::Opened { build } | Event::OpenFailed { build, .. } => !self.builder.awaits_opening(*build),
            Event::Sealed { build, .. } | Event::NothingToSeal { build } | Event::SealFailed { build, .. } => {
                !self.builder.awaits_sealing(*build)
            }
            Event::Imported { block, .. } | Event::ImportFailed { block, .. } => !self.publication.imports(*block),
            Event::HeadsSet { block } | Event::SetHeadsFailed { block, .. } => !self.publication.sets(*block),
            Event::Committed { block } | Event::CommitFailed { block, .. } => match &self.agreement {
                Agreement::Conductor(conductor) => !conductor.commits(*block),
                Agreement::Solo(Solo) | Agreement::Committee(_) => true,
            },
            Event::HeadsTold { query, .. } => !self.asks_heads(*query),
            Event::ConductorTold { query, .. } => !self.asks_conductor(*query),
            Event::AskFailed { query, .. } => !self.asks_heads(*query) && !self.asks_conductor(*query),
            Event::Fetched { from, to, .. } => !self.catch_up.awaits(*from, *to),
            Event::Wake
            | Event::Start
            | Event::Stop
            | Event::Demand { .. }
            | Event::Leadership(_)
            | Event::Proposed { .. }
            | Event::Attested { .. }
            | Event::Announced { .. }
            | Event::Landed { .. } => false,
        }
    }

    fn asks_heads(&self, query: QueryId) -> bool {
        self.asking.is_some_and(|(asked, _)| asked == query)
    }

    fn asks_conductor(&self, query: QueryId) -> bool {
        match &self.agreement {
            Agreement::Conductor(conductor) => conductor.asks(query),
            Agreement::Solo(Solo) | Agreement::Committee(_) => false,
        }
    }

    pub(super) fn hear(&mut self, now: Timestamp, event: Event, effects: &mut Effects) {
        match event {
            Event::Wake => {}
            Event::Start => self.active = true,
            Event::Stop => self.active = false,
            Event::Demand { date } => {
                if let Some(demands) = &mut self.demands {
                    demands.hear(date);
                }
            }
            Event::Opened { .. } => {
                self.resets = 0;
                self.builder.opened();
            }
            Event::OpenFailed { failure, .. } => self.build_failed(now, Call::Open, failure, effects),
            Event::Sealed { build, payload } => self.sealed(now, build, payload, effects),
            Event::NothingToSeal { .. } => {
                self.builder.finish();
                self.answer_demand(None);
            }
            Event::SealFailed { failure, .. } => self.build_failed(now, Call::Seal, failure, effects),
            Event::Imported { block, verdict } => self.imported(now, block, verdict, effects),
            Event::ImportFailed { failure, .. } => self.import_failed(now, failure, effects),
            Event::HeadsSet { .. } => self.heads_set(effects),
            Event::SetHeadsFailed { failure, .. } => self.set_heads_failed(now, failure, effects),
            Event::HeadsTold { heads, .. } => self.heads_told(heads, effects),
            Event::ConductorTold { head, .. } => self.conductor_told(head, effects),
            Event::AskFailed { query, failure } => self.ask_failed(now, query, failure, effects),
            Event::Fetched { found, .. } => self.fetched(now, found),
            Event::Leadership(role) => {
                if let Agreement::Conductor(conductor) = &mut self.agreement {
                    conductor.elected(role);
                }
            }
            Event::Committed { .. } => {
                if let Agreement::Conductor(conductor) = &mut self.agreement
                    && let Some(decided) = conductor.committed()
                {
                    self.catch_up.park(self.heads.unsafe_head(), decided);
                }
            }
            Event::CommitFailed { failure, .. } => self.commit_failed(now, failure, effects),
            Event::Proposed { peer, proposal } => self.proposed(now, peer, proposal, effects),
            Event::Attested { peer, attestation } => self.attested(now, peer, &attestation, effects),
            Event::Announced { peer, announcement } => self.announced(peer, announcement, effects),
            Event::Landed { safe, finalized } => self.landed(safe, finalized, effects),
        }
    }

    fn build_failed(&mut self, now: Timestamp, call: Call, failure: Failure, effects: &mut Effects) {
        match failure {
            Failure::Retry => self.builder.failed(now, self.backoff, effects),
            Failure::Reset => self.ask_heads(now, effects),
            Failure::Fatal => self.halt(HaltReason::Failed(call), effects),
        }
    }

    /// A build became a payload. One that is not what was ordered is as good as none, and says that we see the backend wrongly.
    fn sealed(&mut self, now: Timestamp, id: BuildId, payload: Payload, effects: &mut Effects) {
        if !self.builder.build().is_some_and(|build| build.yields(&payload)) {
            return self.ask_heads(now, effects);
        }
        self.builder.finish();
        self.answer_demand(Some(payload.block.number));
        match &mut self.agreement {
            Agreement::Solo(Solo) => {
                let decided = Solo::sealed(payload, self.mutation, effects);
                self.catch_up.park(self.heads.unsafe_head(), decided);
            }
            Agreement::Conductor(conductor) => conductor.sealed(payload, id, effects),
            Agreement::Committee(council) => council.sealed(payload, id, effects),
        }
    }

    fn answer_demand(&mut self, block: Option<BlockNumber>) {
        if let Some(demands) = &mut self.demands {
            demands.sealed(block);
        }
    }

    fn imported(&mut self, now: Timestamp, block: BlockHash, verdict: Verdict, effects: &mut Effects) {
        self.publication.take_import();
        let decided = self.publication.deciding.as_ref().is_some_and(|decided| decided.block().hash == block);
        match (verdict, decided) {
            (Verdict::Valid, true) => self.canonical(effects),
            (Verdict::Invalid, true) => self.decided_but_invalid(effects),
            (Verdict::ParentUnknown, true | false) => self.ask_heads(now, effects),
            (Verdict::Valid | Verdict::Invalid, false) => {
                if let Agreement::Committee(council) = &mut self.agreement {
                    council.vetted(block, verdict, effects);
                }
            }
        }
    }

    fn import_failed(&mut self, now: Timestamp, failure: Failure, effects: &mut Effects) {
        if self.mutation.is(Mutant::DropOnImportFailure) {
            self.publication.take_import();
            self.publication.deciding = None;
            self.catch_up = CatchUp::default();
        }
        let backoff = self.backoff;
        self.publication.import_failed(|attempt| attempt.failed(now, backoff));
        match failure {
            Failure::Retry => {}
            Failure::Reset => self.ask_heads(now, effects),
            Failure::Fatal => self.halt(HaltReason::Failed(Call::Import), effects),
        }
    }

    /// Heads may have moved while they were being set: then they are set again.
    fn heads_set(&mut self, effects: &mut Effects) {
        self.resets = 0;
        if self.publication.take_setting().is_some_and(|set| set != self.heads) {
            self.publication.set_heads(self.heads, effects);
        } else if let Some(demands) = &mut self.demands {
            demands.stands_at(self.heads.unsafe_head().number);
        }
    }

    fn set_heads_failed(&mut self, now: Timestamp, failure: Failure, effects: &mut Effects) {
        let backoff = self.backoff;
        self.publication.setting_failed(|attempt| attempt.failed(now, backoff));
        match failure {
            Failure::Retry => {}
            Failure::Reset => self.ask_heads(now, effects),
            Failure::Fatal => self.halt(HaltReason::Failed(Call::SetHeads), effects),
        }
    }

    /// The backend's chain stands elsewhere than we thought. What it lost is fetched; a decided payload on its way waits its turn.
    fn heads_told(&mut self, heads: Heads, effects: &mut Effects) {
        self.asking = None;
        let (ours, theirs) = (self.head(), heads.unsafe_head());
        if self.demands.is_none() && theirs.number == ours.number && theirs.hash != ours.hash {
            return self.halt(HaltReason::Fork { ours, theirs }, effects);
        }
        if self.publication.deciding.as_ref().is_some_and(|decided| decided.block() == theirs) {
            return self.canonical(effects);
        }
        self.heads = heads;
        if let Agreement::Committee(council) = &mut self.agreement {
            council.reset(theirs);
        }
        self.catch_up.learned(theirs, ours);
        for decided in self.publication.take_decided() {
            self.catch_up.park(theirs, decided);
        }
        self.catch_up.advanced(theirs);
        self.follow_owner(theirs);
    }

    /// Where blocks are built on demand, the chain is its owner's, who may take it back: the backend has all that is decided, so
    /// what it no longer has is meant to be gone, and is not fetched again. Only a block that sits right on its head is on its way.
    fn follow_owner(&mut self, head: BlockRef) {
        let Some(demands) = &mut self.demands else { return };
        self.catch_up.taken_back(head);
        let coming = self.catch_up.target(head).map(|block| block.number);
        if self.mutation.is(Mutant::LoseUnclearAnswer) {
            return;
        }
        demands.stands_at(coming.map_or(BlockNumber::new(u64::MAX), |_| head.number));
    }

    fn conductor_told(&mut self, theirs: Option<BlockRef>, effects: &mut Effects) {
        let head = self.head();
        let Agreement::Conductor(conductor) = &mut self.agreement else { return };
        match conductor.told(head, theirs, effects) {
            Told::Level => {}
            Told::HeldIsDecided(decided) => self.catch_up.park(head, decided),
            Told::Ahead(block) => self.catch_up.learned(head, block),
            Told::Fork(theirs) => self.halt(HaltReason::Fork { ours: head, theirs }, effects),
        }
    }

    fn ask_failed(&mut self, now: Timestamp, query: QueryId, failure: Failure, effects: &mut Effects) {
        match failure {
            Failure::Retry | Failure::Reset => {}
            Failure::Fatal => return self.halt(HaltReason::Failed(Call::Ask), effects),
        }
        match &mut self.asking {
            Some((asked, attempt)) if *asked == query => attempt.failed(now, self.backoff),
            Some(_) | None => {
                if let Agreement::Conductor(conductor) = &mut self.agreement {
                    conductor.ask_failed(now, self.backoff);
                }
            }
        }
    }

    fn fetched(&mut self, now: Timestamp, found: Vec<Announcement>) {
        let head = self.head();
        let agreement = &self.agreement;
        let found = found.into_iter().filter_map(|announcement| accept(agreement, announcement));
        self.catch_up.fetched(now, head, found, self.backoff);
    }

    fn commit_failed(&mut self, now: Timestamp, failure: Failure, effects: &mut Effects) {
        let head = self.head();
        let Agreement::Conductor(conductor) = &mut self.agreement else { return };
        if let Some(decided) = conductor.commit_failed(now, failure, self.backoff, effects) {
            self.catch_up.park(head, decided);
        }
        if failure == Failure::Fatal {
            self.halt(HaltReason::Failed(Call::Commit), effects);
        }
    }

    fn proposed(&mut self, now: Timestamp, peer: Peer, proposal: Proposal, effects: &mut Effects) {
        let scene = self.scene(now);
        match &mut self.agreement {
            Agreement::Committee(council) => {
                if let Some(parent) = council.proposed(scene, peer, proposal, effects) {
                    self.certified(parent, effects);
                }
            }
            Agreement::Solo(Solo) | Agreement::Conductor(_) => self.out_of_place(peer, effects),
        }
    }

    fn attested(&mut self, now: Timestamp, peer: Peer, attestation: &Attestation, effects: &mut Effects) {
        let scene = self.scene(now);
        match &mut self.agreement {
            Agreement::Committee(council) => {
                if let Some(certificate) = council.attested(scene, peer, attestation, effects) {
                    self.certified(certificate, effects);
                }
            }
            Agreement::Solo(Solo) | Agreement::Conductor(_) => self.out_of_place(peer, effects),
        }
    }

    /// A decided payload was brought. Whoever decides alone has no use for another's.
    fn announced(&mut self, peer: Peer, announcement: Announcement, effects: &mut Effects) {
        if matches!(self.agreement, Agreement::Solo(Solo)) && self.active {
            return self.out_of_place(peer, effects);
        }
        let (ours, theirs) = (self.head(), announcement.payload.block);
        let Some(decided) = accept(&self.agreement, announcement) else {
            return effects.push(Effect::Penalize { peer, offence: Offence::BadCertificate });
        };
        if theirs.number == ours.number && theirs.hash != ours.hash {
            return self.contradicted(theirs, effects);
        }
        self.catch_up.park(ours, decided);
    }

    /// L1 says where the chain is safe and final. Heads never go back for it, and never beyond what is decided here.
    fn landed(&mut self, safe: BlockRef, finalized: BlockRef, effects: &mut Effects) {
        let forward = safe.number >= self.heads.safe_head().number
            && finalized.number >= self.heads.finalized_head().number
            || self.mutation.is(Mutant::HeadsGoBack);
        if let Ok(heads) = Heads::new(self.head(), safe, finalized)
            && forward
            && heads != self.heads
        {
            self.heads = heads;
            if !self.publication.is_setting() {
                self.publication.set_heads(heads, effects);
            }
        }
    }

    /// A quorum attests to a block: decided if we have its payload, else known to be missing.
    fn certified(&mut self, certificate: Certificate, effects: &mut Effects) {
        let Agreement::Committee(council) = &mut self.agreement else { return };
        let (head, block) = (self.heads.unsafe_head(), certificate.vow.block);
        if block.number == head.number && block.hash != head.hash {
            self.contradicted(block, effects);
        } else if block.number > head.number {
            match council.decided(certificate) {
                Ok(decided) => self.catch_up.park(head, decided),
                Err(certificate) => {
                    self.catch_up.learned(head, block);
                    council.await_payload(certificate);
                }
            }
        }
    }

    fn out_of_place(&self, peer: Peer, effects: &mut Effects) {
        effects.push(Effect::Penalize { peer, offence: Offence::OutOfPlace });
    }
}

/// A payload that someone says is decided, if the agreement lets him say so.
fn accept(agreement: &Agreement, announcement: Announcement) -> Option<Decided> {
    match agreement {
        Agreement::Solo(Solo) | Agreement::Conductor(_) => Some(Decided { announcement, led: false }),
        Agreement::Committee(council) => {
            let Announcement { payload, certificate } = announcement;
            let certificate = certificate?;
            let proven = certificate.vow.block == payload.block && Council::decides(council, &certificate);
            proven.then(|| council.decided_payload(payload, certificate))
        }
    }
}
