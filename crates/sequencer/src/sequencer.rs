//! The loop's one decision-maker: hears an event, then does all that this and the time allow.

mod hearing;

use serde::{Deserialize, Serialize};
use types::{Attributes, BlockRef, Heads, L1Origin, Millis, Slot, Timestamp};

use crate::agreement::{Agreement, Scene, Solo};
use crate::attempt::Attempt;
use crate::build::Builder;
use crate::catch_up::CatchUp;
use crate::demands::Demands;
use crate::lead::SealLead;
use crate::mutants::{Mutant, Mutation};
use crate::origin::{Choice, Recovery, Selector, Sight};
use crate::publication::{Decided, Publication};
use crate::{AgreementConfig, Backoff, Config, Effect, Effects, Event, HaltReason, Memory, QueryId, Record, Timetable};

/// Decides; never waits, never reads a clock, never sees a transaction.
///
/// The serialised form is a checkpoint for the journal: whoever reads it back decides the same from there on. Like the journal
/// it leaves out the bodies of payloads, so no process starts from one; for that there is [`Sequencer::recover`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sequencer {
    timetable: Timetable,
    backoff: Backoff,
    active: bool,
    heads: Heads,
    builder: Builder,
    agreement: Agreement,
    publication: Publication,
    /// Where blocks are built when one is asked for, and not by the clock.
    demands: Option<Demands>,
    catch_up: CatchUp,
    /// Where the time to seal follows what blocks take.
    #[serde(default)]
    lead: Option<SealLead>,
    /// Where the chain cites L1 blocks.
    #[serde(default)]
    origins: Option<Selector>,
    asking: Option<(QueryId, Attempt)>,
    /// Resets in a row without anything that went well: each waits longer.
    resets: u32,
    queries: QueryId,
    halted: Option<HaltReason>,
    deadline: Timestamp,
    #[serde(skip)]
    mutation: Mutation,
}

/// What a sequencer is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// May build when its slot comes: alone, elected, or as a member.
    Leading,
    /// Follows what others decide.
    Following,
    /// Knows of a decided block above its own head, and gets what lies between.
    CatchingUp {
        /// The newest block known to be decided.
        to: BlockRef,
    },
    /// Has given up.
    Halted(HaltReason),
}

impl Sequencer {
    /// A heart without a past, on a chain that stands at `heads`.
    pub fn new(config: Config, heads: Heads) -> Self {
        Self::recover(config, heads, Memory::default())
    }

    /// A heart after a restart: `heads` is where the backend says that its chain stands, `memory` what the records say.
    pub fn recover(config: Config, heads: Heads, memory: Memory) -> Self {
        Self::build(config, heads, memory, Mutation::default())
    }

    /// [`Sequencer::recover`], with a mistake in it.
    #[cfg(feature = "mutants")]
    pub fn recover_mutant(config: Config, heads: Heads, memory: Memory, mutant: Option<Mutant>) -> Self {
        Self::build(config, heads, memory, Mutation::of(mutant))
    }

    fn build(config: Config, heads: Heads, memory: Memory, mutation: Mutation) -> Self {
        let Config { timetable, agreement, active, backoff, seal_lead_adapts, origins } = config;
        let head = heads.unsafe_head();
        let mut catch_up = CatchUp::default();
        match agreement {
            AgreementConfig::Solo | AgreementConfig::OnDemand => {
                // Where L1 decides in the end, the backend may have given up what was decided last.
                let on_chain = |decided: &Decided| origins.is_none() || decided.block().extends(&head);
                if let Some(decided) = Solo::recover(&memory).filter(on_chain) {
                    catch_up.park(head, decided);
                }
            }
            AgreementConfig::Conductor | AgreementConfig::Committee { .. } => {}
        }
        let demands = matches!(agreement, AgreementConfig::OnDemand).then(Demands::default);
        let adapts = seal_lead_adapts && !matches!(agreement, AgreementConfig::Committee { .. });
        let agreement = Agreement::recover(&agreement, timetable, memory, mutation);
        let mut sequencer = Self {
            timetable,
            backoff,
            active,
            heads,
            builder: Builder::default(),
            agreement,
            publication: Publication::default(),
            demands,
            catch_up,
            lead: adapts.then(|| SealLead::new(&timetable, mutation)),
            origins: origins.map(|rules| Selector::new(rules, mutation)),
            asking: None,
            resets: 0,
            queries: QueryId(0),
            halted: None,
            deadline: Timestamp::default(),
            mutation,
        };
        sequencer.resume_certified();
        sequencer
    }

    /// Takes one event and leaves all its effects, in order, at the end of `effects`.
    ///
    /// Never fails and never panics, whatever the event. `now` may jump either way; no slot is led twice for it.
    pub fn step(&mut self, now: Timestamp, event: Event, effects: &mut Effects) {
        if self.halted.is_some() {
            return;
        }
        if !self.is_stale(&event) || self.mutation.is(Mutant::AcceptStale) {
            self.hear(now, event, effects);
        }
        self.advance(now, effects);
        self.deadline = self.next_deadline(now);
    }

    /// When [`Event::Wake`] is due at the latest; [`Timestamp::MAX`] if only an event can change anything. After a step this lies
    /// later than the step's `now`. Before the first step it is the epoch: wake at once.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Where the chain stands.
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// How many demands were answered, see [`Event::Demand`]: their blocks are the backend's, or there was nothing to seal.
    pub fn served(&self) -> u64 {
        self.demands.as_ref().map_or(0, Demands::served)
    }

    /// What this sequencer is doing, for health and displays.
    pub fn standing(&self) -> Standing {
        if let Some(reason) = &self.halted {
            return Standing::Halted(reason.clone());
        }
        if let Some(to) = self.catch_up.target(self.head()) {
            return Standing::CatchingUp { to };
        }
        if self.leads() { Standing::Leading } else { Standing::Following }
    }

    /// Is nothing on its way that may still become the head: no decided payload, and none whose commit has not been answered? Once that
    /// is so for a sequencer that does not lead, its head moves only by what others decide.
    pub fn is_settled(&self) -> bool {
        let committing = match &self.agreement {
            Agreement::Conductor(conductor) => conductor.is_committing(),
            Agreement::Solo(Solo) | Agreement::Committee(_) => false,
        };
        self.publication.is_idle() && !committing && !self.catch_up.has_next(self.head())
    }

    /// How long before its slot's end a build is sealed, as things are now.
    pub fn seal_lead(&self) -> Millis {
        self.lead.as_ref().map_or(self.timetable.config().seal_lead, SealLead::lead)
    }

    /// Are blocks those that derivation makes by itself at the moment, and why? For health and displays.
    pub fn recovery(&self) -> Option<Recovery> {
        self.origins.as_ref().and_then(Selector::recovery)
    }

    /// Is nothing built because the newest block is as far ahead of the safe one as it may be
    /// ([`crate::origin::OriginRules::max_safe_lag`])? For health and displays.
    pub fn awaits_safe(&self) -> bool {
        let (head, safe) = (self.head(), self.heads.safe_head());
        self.leads() && self.origins.as_ref().is_some_and(|origins| origins.is_too_far_ahead(head, safe))
    }

    /// The height on L1 that the next block waits for, for health and displays: its time has come, it has run too far ahead of the L1
    /// block that its parent cites, and L1 does not have the one after that, or not deep enough.
    pub fn awaits_l1(&self, now: Timestamp) -> Option<u64> {
        let origins = self.origins.as_ref().filter(|_| self.leads() && self.may_lead())?;
        let (_, timestamp) = self.slot_to_build(now)?;
        origins.lacks_next(self.head(), timestamp)
    }

    // --- doing --------------------------------------------------------------------------------------------------------------

    /// All that the time and what was heard allow. The only place where time drives anything.
    fn advance(&mut self, now: Timestamp, effects: &mut Effects) {
        if self.halted.is_some() {
            return;
        }
        self.repeat(now, effects);
        self.decide(now, effects);
        self.agree(now, effects);
        self.decide(now, effects);
        self.heed_l1(now, effects);
        self.drop_build(now, effects);
        if self.asking.is_none() && self.halted.is_none() {
            self.import_decided(effects);
            let top = self.publication.deciding.as_ref().map_or(self.head(), Decided::block);
            self.catch_up.advance(now, top, effects);
            self.open_build(now, effects);
            self.seal_build(now, effects);
            self.look_up(now, effects);
        }
    }

    /// Gives orders again that failed a while ago; while the backend has not said where it stands, that is the only question.
    fn repeat(&mut self, now: Timestamp, effects: &mut Effects) {
        if let Some((query, attempt)) = &mut self.asking {
            if attempt.take_due(now) {
                effects.push(Effect::AskHeads { query: *query });
            }
            return;
        }
        let deciding = self.publication.deciding.as_ref().map(|decided| decided.block().hash);
        let agreement = &self.agreement;
        self.publication.advance(now, |block| deciding == Some(block) || agreement.wants(block), effects);
    }

    /// Takes up the decided payload right above the head, once the one before has become the head.
    fn decide(&mut self, now: Timestamp, effects: &mut Effects) {
        if !self.publication.is_idle() || self.asking.is_some() {
            return;
        }
        let head = self.head();
        if let Agreement::Committee(council) = &mut self.agreement
            && let Some(decided) = council.take_awaited()
        {
            self.catch_up.park(head, decided);
        }
        let Some(decided) = self.catch_up.take_next(head) else { return };
        if !decided.block().extends(&head) {
            return self.contradicted(now, decided.block(), effects);
        }
        if let Some(certificate) = &decided.announcement.certificate {
            effects.push(Effect::Persist(Record::Certificate(certificate.clone())));
        }
        if decided.led
            && !(matches!(self.agreement, Agreement::Solo(Solo)) && self.mutation.is(Mutant::AnnounceBeforePersist))
        {
            effects.push(Effect::Announce(decided.announcement.clone()));
        }
        let imported = match &self.agreement {
            Agreement::Committee(council) => council.has_imported(decided.block().hash),
            Agreement::Solo(Solo) | Agreement::Conductor(_) => false,
        };
        self.publication.deciding = Some(decided);
        if imported {
            self.canonical(now, effects);
        }
    }

    /// What the agreement has to say by itself.
    fn agree(&mut self, now: Timestamp, effects: &mut Effects) {
        let scene = self.scene(now);
        let idle = self.asking.is_none() && self.publication.is_idle();
        match &mut self.agreement {
            Agreement::Solo(Solo) => {}
            Agreement::Conductor(conductor) => {
                let level = idle && self.catch_up.target(scene.head).is_none();
                if self.active {
                    conductor.advance(now, level, &mut self.queries, effects);
                }
            }
            Agreement::Committee(council) => {
                let vet = council.advance(scene, effects);
                if let Some(payload) = vet.filter(|_| idle && !self.publication.is_importing()) {
                    self.publication.import(payload, effects);
                }
            }
        }
    }

    /// Gives up a build that can no longer become a block: on another head, or not ours to make any more.
    fn drop_build(&mut self, now: Timestamp, effects: &mut Effects) {
        let Some(build) = self.builder.build() else { return };
        let ours = self.active
            && match &self.agreement {
                Agreement::Solo(Solo) => true,
                Agreement::Conductor(conductor) => conductor.may_keep_build(),
                Agreement::Committee(council) => council.may_keep_build(self.scene(now), build.attributes.slot),
            };
        let borne = self.origins.as_ref().is_none_or(|origins| origins.bears(&build.attributes));
        if !ours || !borne || build.attributes.parent != self.head() {
            self.builder.cancel(effects);
        }
    }

    /// Imports the decided payload as soon as no other import is outstanding.
    fn import_decided(&mut self, effects: &mut Effects) {
        if !self.publication.is_importing()
            && let Some(decided) = &self.publication.deciding
        {
            let payload = decided.announcement.payload.clone();
            self.publication.import(payload, effects);
        }
    }

    /// Opens the next build as soon as its slot may be built for: nothing decided is on its way, nothing is known above the head.
    fn open_build(&mut self, now: Timestamp, effects: &mut Effects) {
        if self.builder.build().is_some() || !self.may_lead() {
            return;
        }
        let Some((slot, timestamp)) = self.slot_to_build(now) else { return };
        let Some((origin, use_pool)) = self.choose_origin(now, slot, timestamp) else { return };
        let attributes = Attributes { slot, parent: self.head(), timestamp, origin, use_pool };
        self.builder.open(attributes, effects);
    }

    /// Seals the build when it is due, and repeats what failed about it.
    fn seal_build(&mut self, now: Timestamp, effects: &mut Effects) {
        let seal_at = self.seal_at();
        if let Some((build, slot)) = self.builder.advance(now, seal_at, effects)
            && let Some(lead) = &mut self.lead
        {
            lead.ordered(now, build, self.timetable.end(slot));
        }
    }

    /// What a block of this slot cites, and whether it may take from the pool; `None` while that is not known.
    fn choose_origin(&self, now: Timestamp, slot: Slot, timestamp: Timestamp) -> Option<(Option<L1Origin>, bool)> {
        let Some(origins) = &self.origins else { return Some((None, true)) };
        match origins.choose(self.head(), timestamp)? {
            // An answer that is on its way may still let the chain advance.
            Choice::Stay { .. } if origins.awaits_next() && now < self.patience_ends(now, slot) => None,
            Choice::Advance { origin, empty } | Choice::Stay { origin, empty } => Some((Some(origin), !empty)),
            Choice::NeedNext | Choice::Reset(_) => None,
        }
    }

    /// Until when a build waits to hear whether it can cite the next L1 block: a while into its slot, never until it is to be
    /// sealed. A block that is late anyway waits for the answer, since a chain that makes up for many slots would else cite ever older
    /// L1 blocks. Blocks that are asked for do not wait.
    fn patience_ends(&self, now: Timestamp, slot: Slot) -> Timestamp {
        const LONGEST: Millis = Millis::new(500);
        if self.demands.is_some() {
            return Timestamp::default();
        }
        let (start, seal_at) = (self.timetable.start(slot), self.seals_at(slot));
        if seal_at <= now {
            return Timestamp::MAX;
        }
        let quarter = Millis::new(seal_at.since(start).as_u64() / 4);
        start.after(quarter.min(LONGEST))
    }

    /// Where L1 contradicts what our chain cites, the backend is asked where the chain stands.
    fn heed_l1(&mut self, now: Timestamp, effects: &mut Effects) {
        let head = self.head();
        let contradiction = |origins: &Selector| {
            let dated = self.slot_to_build(now).and_then(|(_, timestamp)| origins.choose(head, timestamp));
            origins.contradiction(head).is_some() || matches!(dated, Some(Choice::Reset(_)))
        };
        if self.asking.is_none() && self.leads() && self.origins.as_ref().is_some_and(contradiction) {
            if let Some(origins) = &mut self.origins {
                origins.forget();
            }
            self.ask_heads(now, effects);
        }
    }

    /// Asks for what the next blocks may cite.
    fn look_up(&mut self, now: Timestamp, effects: &mut Effects) {
        if !self.leads() {
            return;
        }
        let (head, building) = (self.head(), self.being_made());
        let level = building.is_none() && self.may_lead();
        let slot = self.slot_to_build(now).filter(|_| level);
        let Some(origins) = &mut self.origins else { return };
        let choice = slot.and_then(|(_, timestamp)| origins.choose(head, timestamp));
        let needs_next = matches!(choice, Some(Choice::NeedNext));
        let sight = Sight { now, head, level, building, needs_next };
        origins.advance(sight, self.backoff, &mut self.queries, effects);
    }

    /// What the block cites that is being built, or waits for the conductor.
    fn being_made(&self) -> Option<L1Origin> {
        let build = self.builder.build().and_then(|build| build.attributes.origin);
        build.or_else(|| match &self.agreement {
            Agreement::Conductor(conductor) => conductor.held().and_then(|payload| payload.origin),
            Agreement::Solo(_) | Agreement::Committee(_) => None,
        })
    }

    /// May this sequencer build when its slot comes, if all else allows it?
    fn leads(&self) -> bool {
        self.active
            && match &self.agreement {
                Agreement::Solo(Solo) => true,
                Agreement::Conductor(conductor) => conductor.leads(),
                Agreement::Committee(council) => council.is_member(),
            }
    }

    fn may_lead(&self) -> bool {
        let head = self.head();
        let level = self.publication.is_idle() && self.catch_up.target(head).is_none();
        level
            && !self.awaits_safe()
            && self.active
            && match &self.agreement {
                Agreement::Solo(Solo) | Agreement::Committee(_) => true,
                Agreement::Conductor(conductor) => conductor.may_lead(),
            }
    }

    /// The slot that a build opened now would be for, and its block's date.
    fn slot_to_build(&self, now: Timestamp) -> Option<(Slot, Timestamp)> {
        if let Some(demands) = &self.demands {
            return demands.next(self.head(), self.builder.next_slot());
        }
        let slot = match &self.agreement {
            Agreement::Solo(Solo) | Agreement::Conductor(_) => {
                Some(self.next_slot(now)).filter(|slot| now >= self.timetable.opens_at(*slot))
            }
            Agreement::Committee(council) => council.build_slot(self.scene(now), self.earliest_slot()),
        }?;
        Some((slot, self.timetable.stamp(slot)))
    }

    /// The next slot for which one who leads alone has still time: missed ones are not made up for, except where each slot has a
    /// block.
    fn next_slot(&self, now: Timestamp) -> Slot {
        if self.fills_every_slot() && !self.mutation.is(Mutant::SkipSlots) {
            return self.timetable.slot_after(self.head().timestamp);
        }
        let earliest = self.earliest_slot();
        if self.mutation.is(Mutant::BurstAfterDowntime) && self.builder.next_slot() > Slot::new(0) {
            return earliest;
        }
        let slot = self.timetable.slot_at(now).max(earliest);
        if now < self.seals_at(slot) { slot } else { slot.next() }
    }

    /// Is there a block for each slot, however late? A chain that is derived from L1 has no gaps, and takes no block that leaves one.
    ///
    /// There the head alone says which slot is next. None is led twice for it: what we sealed is the next head, or on its way there,
    /// and nothing is opened meanwhile; only where L1 took it back its slot is built for again.
    fn fills_every_slot(&self) -> bool {
        self.origins.is_some()
            && self.demands.is_none()
            && match &self.agreement {
                Agreement::Solo(Solo) | Agreement::Conductor(_) => true,
                Agreement::Committee(_) => false,
            }
    }

    /// The first slot whose block would be later than our head and than any block we sealed.
    fn earliest_slot(&self) -> Slot {
        self.builder.next_slot().max(self.timetable.slot_after(self.head().timestamp))
    }

    // --- moving the chain ---------------------------------------------------------------------------------------------------

    /// The decided payload is imported: it is the head.
    fn canonical(&mut self, now: Timestamp, effects: &mut Effects) {
        let Some(Decided { announcement, led }) = self.publication.deciding.take() else { return };
        let head = announcement.payload.block;
        let (safe, finalized) = (self.heads.safe_head(), self.heads.finalized_head());
        let Ok(heads) = Heads::new(head, safe, finalized) else { return self.contradicted(now, head, effects) };
        self.heads = heads;
        self.publication.canonical(announcement.clone(), heads, effects);
        if led {
            effects.push(Effect::Publish(announcement.clone()));
        }
        self.catch_up.advanced(head);
        if let Some(origins) = &mut self.origins {
            origins.follow(head, announcement.payload.origin);
        }
        match &mut self.agreement {
            Agreement::Solo(Solo) => {}
            Agreement::Conductor(conductor) => conductor.advanced(head, effects),
            Agreement::Committee(council) => council.advanced(announcement, effects),
        }
    }

    /// The backend refuses what is decided. One block that a peer merely claimed to be decided is dropped.
    fn decided_but_invalid(&mut self, effects: &mut Effects) {
        if let Some(decided) = self.publication.deciding.take() {
            self.halt(HaltReason::DecidedButInvalid(decided.block()), effects);
        }
    }

    /// A decided block does not fit on our chain. Where L1 decides in the end, one of the two was derived anew: the block is
    /// dropped, and the backend says where the chain stands.
    fn contradicted(&mut self, now: Timestamp, theirs: BlockRef, effects: &mut Effects) {
        if self.origins.is_some() {
            return self.ask_heads(now, effects);
        }
        self.halt(HaltReason::Fork { ours: self.head(), theirs }, effects);
    }

    /// Our picture of the backend is wrong: no build survives that, and nothing is ordered until it has said where it stands. If that
    /// did not help the last time, the question waits, so that a backend that refuses everything is not asked thousands of times a
    /// second (kona-node, optimism#22681).
    fn ask_heads(&mut self, now: Timestamp, effects: &mut Effects) {
        self.builder.cancel(effects);
        self.spoil_measure();
        if self.asking.is_some() {
            return;
        }
        self.queries.0 += 1;
        let attempt = if self.resets == 0 || self.mutation.is(Mutant::AskWithoutPatience) {
            effects.push(Effect::AskHeads { query: self.queries });
            Attempt::default()
        } else {
            Attempt::after(self.resets, now, self.backoff)
        };
        self.resets = self.resets.saturating_add(1);
        self.asking = Some((self.queries, attempt));
    }

    fn halt(&mut self, reason: HaltReason, effects: &mut Effects) {
        self.halted = Some(reason.clone());
        effects.push(Effect::Halt(reason));
    }

    /// At a start, the certificate of the last run may prove a block that the backend does not have yet.
    fn resume_certified(&mut self) {
        let head = self.head();
        let Agreement::Committee(council) = &mut self.agreement else { return };
        let Some(certificate) = council.recovered_certificate() else { return };
        let block = certificate.vow.block;
        if block.number > head.number {
            self.catch_up.learned(head, block);
            council.await_payload(certificate);
        }
    }

    // --- looking ------------------------------------------------------------------------------------------------------------

    fn head(&self) -> BlockRef {
        self.heads.unsafe_head()
    }

    fn scene(&self, now: Timestamp) -> Scene {
        let busy = self.publication.deciding.is_some() || self.asking.is_some();
        Scene { now, slot: self.timetable.slot_at(now), head: self.head(), active: self.active && !busy }
    }

    fn seal_at(&self) -> Timestamp {
        if self.demands.is_some() {
            return Timestamp::default();
        }
        self.builder.build().map_or(Timestamp::MAX, |build| self.seals_at(build.attributes.slot))
    }

    /// When a build for this slot is sealed, unless it is late.
    fn seals_at(&self, slot: Slot) -> Timestamp {
        self.timetable.end(slot).before(self.seal_lead())
    }

    /// What is on its way says nothing of how long a block takes.
    fn spoil_measure(&mut self) {
        if let Some(lead) = &mut self.lead {
            lead.spoiled();
        }
    }

    fn next_deadline(&self, now: Timestamp) -> Timestamp {
        if self.halted.is_some() {
            return Timestamp::MAX;
        }
        let asking = self.asking.and_then(|(_, attempt)| attempt.again());
        let deadlines = [
            asking,
            self.builder.deadline(self.seal_at()),
            self.publication.deadline(),
            self.catch_up.deadline(),
            self.origins.as_ref().and_then(Selector::deadline),
            self.patience_deadline(now),
            self.agreement_deadline(now),
        ];
        deadlines.into_iter().flatten().filter(|deadline| *deadline > now).min().unwrap_or(Timestamp::MAX)
    }

    fn agreement_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.agreement {
            Agreement::Solo(Solo) => self.opening_deadline(now),
            Agreement::Conductor(conductor) => {
                let asking = conductor.deadline().filter(|_| self.active);
                asking.into_iter().chain(self.opening_deadline(now)).min()
            }
            Agreement::Committee(council) => council.deadline(now, self.timetable.slot_at(now)),
        }
    }

    /// When a build goes on without the answer that it waits for.
    fn patience_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let origins = self.origins.as_ref()?;
        let waits = self.builder.build().is_none() && origins.awaits_next() && self.may_lead();
        let (slot, _) = waits.then(|| self.slot_to_build(now)).flatten()?;
        Some(self.patience_ends(now, slot))
    }

    /// When the next build may be opened, if only time keeps it from that.
    fn opening_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let waits = self.builder.build().is_none() && self.demands.is_none() && self.may_lead();
        waits.then(|| self.timetable.opens_at(self.next_slot(now)))
    }
}
