//! What each event changes.

use types::{
    Announcement, Attestation, BlockHash, BlockNumber, BlockRef, BuildId, Certificate, Failure, Heads, Payload,
    Proposal, Timestamp, Verdict,
};

use super::Sequencer;
use crate::agreement::{Agreement, Council, Solo, Told};
use crate::catch_up::CatchUp;
use crate::mutants::Mutant;
use crate::origin::Selector;
use crate::publication::Decided;
use crate::{Backoff, Call, Effect, Effects, Event, HaltReason, Offence, Peer, QueryId};

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
            Event::OriginTold { query, .. } => !self.asks_origin(*query),
            Event::AskFailed { query, .. } => {
                !self.asks_heads(*query) && !self.asks_conductor(*query) && !self.asks_origin(*query)
            }
            Event::L1Found { query, .. } | Event::LookUpFailed { query, .. } => {
                !self.origins.as_ref().is_some_and(|origins| origins.asks_l1(*query))
            }
            Event::Fetched { from, to, .. } => !self.catch_up.awaits(*from, *to),
            Event::Wake
            | Event::Start
            | Event::Stop
            | Event::Demand { .. }
            | Event::Leadership(_)
            | Event::Proposed { .. }
            | Event::Attested { .. }
            | Event::Announced { .. }
            | Event::Landed { .. }
            | Event::L1Moved { .. }
            | Event::Recover(_) => false,
        }
    }

    fn asks_origin(&self, query: QueryId) -> bool {
        self.origins.as_ref().is_some_and(|origins| origins.asks_backend(query))
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
        self.measure(now, &event);
        match event {
            Event::Wake => {}
            Event::Start => self.active = true,
            Event::Stop => self.active = false,
            Event::Demand { date } => {
                if let Some(demands) = &mut self.demands {
                    demands.hear(date);
                }
            }
            // To have begun is no success yet: a backend may take every order and know of none when it is to be sealed.
            Event::Opened { .. } => self.builder.opened(),
            Event::OpenFailed { failure, .. } => self.build_failed(now, Call::Open, failure, effects),
            Event::Sealed { build, payload } => self.sealed(now, build, payload, effects),
            // Without a block for this slot there is none for any later one.
            Event::NothingToSeal { .. } if self.fills_every_slot() => {
                self.build_failed(now, Call::Seal, Failure::Retry, effects);
            }
            Event::NothingToSeal { .. } => {
                self.builder.finish();
                self.answer_demand(None);
            }
            Event::SealFailed { failure, .. } => self.build_failed(now, Call::Seal, failure, effects),
            Event::Imported { block, verdict } => self.imported(now, block, verdict, effects),
            Event::ImportFailed { failure, .. } => self.import_failed(now, failure, effects),
            Event::HeadsSet { .. } => self.heads_set(effects),
            Event::SetHeadsFailed { failure, .. } => self.set_heads_failed(now, failure, effects),
            Event::HeadsTold { heads, .. } => self.heads_told(now, heads, effects),
            Event::ConductorTold { head, .. } => self.conductor_told(now, head, effects),
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
            Event::Announced { peer, announcement } => self.announced(now, peer, announcement, effects),
            Event::Landed { safe, finalized } => self.landed(now, safe, finalized, effects),
            Event::OriginTold { origin, .. } => {
                self.tell_origins(|origins, backoff| origins.origin_told(now, origin, backoff));
            }
            Event::L1Found { block, .. } => self.tell_origins(|origins, backoff| origins.found(now, block, backoff)),
            Event::LookUpFailed { failure, .. } => self.look_up_failed(now, failure, effects),
            Event::L1Moved { head, reorganised } => {
                self.tell_origins(|origins, _| origins.l1_moved(head, reorganised));
            }
            Event::Recover(on) => self.tell_origins(|origins, _| origins.recover(on)),
        }
    }

    /// News that matters only where the chain cites L1 blocks.
    fn tell_origins(&mut self, tell: impl FnOnce(&mut Selector, Backoff)) {
        if let Some(origins) = &mut self.origins {
            tell(origins, self.backoff);
        }
    }

    fn look_up_failed(&mut self, now: Timestamp, failure: Failure, effects: &mut Effects) {
        self.tell_origins(|origins, backoff| origins.failed(now, backoff));
        match failure {
            Failure::Retry => {}
            Failure::Reset => self.ask_heads(now, effects),
            Failure::Fatal => self.halt(HaltReason::Failed(Call::LookUp), effects),
        }
    }

    /// How long the block that is on its way takes. A call that is repeated tells nothing of calls that go well.
    fn measure(&mut self, now: Timestamp, event: &Event) {
        let Some(lead) = &mut self.lead else { return };
        match event {
            Event::Sealed { build, payload } => lead.sealed(*build, payload.block.hash),
            Event::HeadsSet { block } => lead.is_head(now, *block),
            Event::SealFailed { .. }
            | Event::NothingToSeal { .. }
            | Event::CommitFailed { .. }
            | Event::ImportFailed { .. }
            | Event::SetHeadsFailed { .. } => lead.spoiled(),
            Event::Wake
            | Event::Start
            | Event::Stop
            | Event::Demand { .. }
            | Event::Opened { .. }
            | Event::OpenFailed { .. }
            | Event::Imported { .. }
            | Event::HeadsTold { .. }
            | Event::ConductorTold { .. }
            | Event::OriginTold { .. }
            | Event::L1Found { .. }
            | Event::LookUpFailed { .. }
            | Event::AskFailed { .. }
            | Event::Fetched { .. }
            | Event::Leadership(_)
            | Event::Committed { .. }
            | Event::Proposed { .. }
            | Event::Attested { .. }
            | Event::Announced { .. }
            | Event::Landed { .. }
            | Event::L1Moved { .. }
            | Event::Recover(_) => {}
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
            // It waits its turn until the backend has said where it stands.
            (Verdict::Valid, true) if self.awaits_l1s_word() => {}
            (Verdict::Valid, true) => self.canonical(now, effects),
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
        let moved = self.publication.take_setting().is_some_and(|set| set != self.heads);
        if moved && !self.awaits_l1s_word() {
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
    fn heads_told(&mut self, now: Timestamp, heads: Heads, effects: &mut Effects) {
        self.asking = None;
        let (ours, theirs) = (self.head(), heads.unsafe_head());
        let elsewhere = theirs.number == ours.number && theirs.hash != ours.hash;
        let l1_decides = self.origins.is_some() && theirs.number >= self.heads.finalized_head().number;
        if self.demands.is_none() && elsewhere && !l1_decides {
            return self.halt(HaltReason::Fork { ours, theirs }, effects);
        }
        if self.publication.deciding.as_ref().is_some_and(|decided| decided.block() == theirs) {
            return self.canonical(now, effects);
        }
        self.heads = self.without_losing_finality(heads);
        if let Agreement::Committee(council) = &mut self.agreement {
            council.reset(theirs);
        }
        if l1_decides {
            return self.follow_l1(theirs, effects);
        }
        self.catch_up.learned(theirs, ours);
        for decided in self.publication.take_decided() {
            self.catch_up.park(theirs, decided);
        }
        self.catch_up.advanced(theirs);
        self.follow_owner(theirs);
    }

    /// The backend's heads, but for one thing: where L1 is cited, what was final stays final.
    fn without_losing_finality(&self, heads: Heads) -> Heads {
        let finalized = self.heads.finalized_head();
        if self.origins.is_none() || heads.finalized_head().number >= finalized.number {
            return heads;
        }
        let (head, safe) = (heads.unsafe_head(), heads.safe_head());
        Heads::new(head, safe, finalized).or_else(|_| Heads::new(head, finalized, finalized)).unwrap_or(heads)
    }

    /// Where L1 decides in the end, the backend may have derived its chain anew: what was decided above where it stands is gone for
    /// good, but for a payload right on it. A backend must therefore not lose what is durable, as on demand. Below what is final
    /// nobody derives anything: there a backend has lost blocks, and gets them again.
    fn follow_l1(&mut self, head: BlockRef, effects: &mut Effects) {
        self.catch_up.taken_back(head);
        for decided in self.publication.take_decided().filter(|decided| decided.block().extends(&head)) {
            self.catch_up.park(head, decided);
        }
        if let Agreement::Conductor(conductor) = &mut self.agreement {
            conductor.taken_back(head, effects);
        }
        self.follow_owner(head);
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

    fn conductor_told(&mut self, now: Timestamp, theirs: Option<BlockRef>, effects: &mut Effects) {
        let head = self.head();
        let Agreement::Conductor(conductor) = &mut self.agreement else { return };
        match conductor.told(head, theirs, effects) {
            Told::Level => {}
            Told::HeldIsDecided(decided) => self.catch_up.park(head, decided),
            Told::Ahead(block) => self.catch_up.learned(head, block),
            Told::Fork(theirs) => self.contradicted(now, theirs, effects),
        }
    }

    fn ask_failed(&mut self, now: Timestamp, query: QueryId, failure: Failure, effects: &mut Effects) {
        let on_origin = self.asks_origin(query);
        match failure {
            Failure::Retry | Failure::Reset => {}
            Failure::Fatal => return self.halt(HaltReason::Failed(Call::Ask), effects),
        }
        if on_origin {
            self.tell_origins(|origins, backoff| origins.failed(now, backoff));
            // The backend does not know the block that we take for its head.
            if failure == Failure::Reset {
                self.ask_heads(now, effects);
            }
            return;
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
        // Where L1 is cited, what was decided may be gone before we heard of it.
        if self.origins.is_some() && self.catch_up.is_in_vain() {
            self.catch_up.taken_back(head);
            if let Agreement::Conductor(conductor) = &mut self.agreement {
                conductor.doubt();
            }
        }
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
                    self.certified(now, parent, effects);
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
                    self.certified(now, certificate, effects);
                }
            }
            Agreement::Solo(Solo) | Agreement::Conductor(_) => self.out_of_place(peer, effects),
        }
    }

    /// A decided payload was brought. Whoever decides alone has no use for another's.
    fn announced(&mut self, now: Timestamp, peer: Peer, announcement: Announcement, effects: &mut Effects) {
        if matches!(self.agreement, Agreement::Solo(Solo)) && self.active {
            return self.out_of_place(peer, effects);
        }
        let (ours, theirs) = (self.head(), announcement.payload.block);
        let Some(decided) = accept(&self.agreement, announcement) else {
            return effects.push(Effect::Penalize { peer, offence: Offence::BadCertificate });
        };
        if theirs.number == ours.number && theirs.hash != ours.hash {
            return self.contradicted(now, theirs, effects);
        }
        self.catch_up.park(ours, decided);
    }

    /// L1 says where the chain is safe and final. Heads never go back for it, and never beyond what is decided here. Where L1 is
    /// cited and the safe block contradicts our chain, the backend is asked where it stands: what was derived from L1 holds.
    fn landed(&mut self, now: Timestamp, safe: BlockRef, finalized: BlockRef, effects: &mut Effects) {
        if self.origins.is_some() {
            if self.awaits_l1s_word() {
                return;
            }
            let head = self.head();
            if safe.number > head.number && matches!(self.agreement, Agreement::Conductor(_)) {
                // Another has led, and we are behind.
                return self.catch_up.learned(head, safe);
            }
            if self.is_contradicted_by(safe) {
                return self.ask_heads(now, effects);
            }
        }
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

    /// Is it being asked where a chain stands that may have been derived anew? To set heads meanwhile might put the backend back on
    /// what it gave up.
    fn awaits_l1s_word(&self) -> bool {
        self.origins.is_some() && self.asking.is_some()
    }

    /// Is this safe block not on our chain, as far as heads tell?
    fn is_contradicted_by(&self, safe: BlockRef) -> bool {
        let deciding = self.publication.deciding.as_ref().is_some_and(|decided| decided.block() == safe);
        let differs = |ours: BlockRef| ours.number == safe.number && ours.hash != safe.hash;
        let heads = [self.heads.unsafe_head(), self.heads.safe_head(), self.heads.finalized_head()];
        !deciding && (safe.number > self.head().number || heads.into_iter().any(differs))
    }

    /// A quorum attests to a block: decided if we have its payload, else known to be missing.
    fn certified(&mut self, now: Timestamp, certificate: Certificate, effects: &mut Effects) {
        let Agreement::Committee(council) = &mut self.agreement else { return };
        let (head, block) = (self.heads.unsafe_head(), certificate.vow.block);
        if block.number == head.number && block.hash != head.hash {
            self.contradicted(now, block, effects);
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
