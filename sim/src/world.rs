//! The world around a set of hearts: clocks, links, disks, backends and a conductor, all from one seed.
//!
//! ```text
//!                  ┌──────────── agenda (virtual time) ◄───────────┐
//!                  ▼                                               │ messages, answers, wake-ups,
//!   event ──► heart.step ──► effects ──► oracle ──► performed ─────┘ restarts, elections
//!                                          │         (may fail, be slow, be lost, or be the last thing done)
//!                                          ▼
//!                                      violation
//! ```

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;

use sequencer::{
    AgreementConfig, Backoff, Config, Effect, Effects, Event, Memory, Mutant, Peer, Record, Role, Sequencer, Stamp,
    Timetable, TimetableConfig,
};
use types::{
    Announcement, Attestation, BlockHash, BlockNumber, BlockRef, Committee, Failure, Heads, MemberId, Millis, Payload,
    Proposal, Slot, Stage, Timestamp, Vow,
};

use crate::agenda::Agenda;
use crate::backend::{Backend, INVALID, payload};
use crate::conductor::Conductor;
use crate::dice::Dice;
use crate::digest::Digest;
use crate::faults::Faults;
use crate::invariants::{Oracle, Seen, Violation, deadline_ahead};
use crate::truth::Truth;

/// Length of a slot in the simulated world.
pub const SLOT: Millis = Millis::new(1_000);
/// When the simulated world begins. Slot 0 starts ten slots later.
const DAWN: Timestamp = Timestamp::from_secs(1_700_000_000);
/// How long a message or an answer usually takes.
const USUAL: RangeInclusive<u64> = 1..=25;
/// How long anything takes at most.
const LONGEST: u64 = 2 * SLOT.as_u64();
/// Sealed payloads whose contents are kept until it is known whether they are decided.
const MADE_MAX: usize = 1024;
/// Blocks handed out at one request.
const SERVED_MAX: u64 = 8;

/// How the nodes agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Mode {
    /// One leads; others follow.
    Solo,
    /// A conductor elects.
    Conductor,
    /// A committee votes.
    Committee,
}

/// A number of things that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the number of what it is called")]
pub struct Counts {
    pub steps: u64,
    pub effects: u64,
    pub lost_messages: u64,
    pub failed_calls: u64,
    pub crashes: u64,
    pub elections: u64,
    pub tricks: u64,
    pub penalties: u64,
    pub fetches: u64,
}

/// The world.
pub struct World {
    mode: Mode,
    mutant: Option<Mutant>,
    timetable: Timetable,
    committee: Committee,
    faults: Faults,
    dice: Dice,
    now: Timestamp,
    agenda: Agenda<Item>,
    nodes: Vec<Node>,
    cut: Vec<bool>,
    conductor: Conductor,
    made: BTreeMap<BlockHash, Payload>,
    made_order: std::collections::VecDeque<BlockHash>,
    truth: Truth,
    oracle: Oracle,
    digest: Digest,
    counts: Counts,
    scratch: Effects,
    trace: bool,
}

struct Node {
    heart: Option<Sequencer>,
    backend: Backend,
    memory: Memory,
    /// Counts restarts: what was under way before one never arrives.
    run: u32,
    wake_at: Timestamp,
    skew: i64,
    suspended: bool,
    /// Until when the backend refuses everything.
    refuses_until: Timestamp,
    mailbox: Vec<Event>,
    faulty: bool,
    follows: bool,
    /// What it heard last that it is.
    role: Role,
}

enum Item {
    Event { to: usize, run: u32, event: Box<Event> },
    Wake { to: usize, run: u32 },
    Commit { from: usize, run: u32, payload: Payload, answered: bool },
    Restart { node: usize },
    Resume { node: usize },
    SlotBegins,
}

impl World {
    /// A world in which so many nodes are about to start.
    pub fn new(mode: Mode, seed: u64, mutant: Option<Mutant>, faults: Faults) -> Self {
        let mut dice = Dice::of(seed);
        let (nodes, faulty) = match mode {
            Mode::Solo => (2, 0),
            Mode::Conductor => (if dice.happens(700) { 3 } else { 5 }, 0),
            Mode::Committee => match dice.below(10) {
                0..=5 => (4, 1),
                6..=8 => (7, 2),
                _ => (10, 3),
            },
        };
        let genesis = BlockRef { timestamp: DAWN, ..BlockRef::default() };
        let timetable = timetable(mode, &mut dice);
        let committee = Committee::of(u32::try_from(nodes).unwrap_or(1)).unwrap_or_else(|| unreachable!("few nodes"));
        let mut world = Self {
            mode,
            mutant,
            timetable,
            committee,
            faults,
            dice,
            now: DAWN,
            agenda: Agenda::default(),
            nodes: Vec::new(),
            cut: vec![false; nodes * nodes],
            conductor: Conductor::at(genesis),
            made: BTreeMap::new(),
            made_order: std::collections::VecDeque::new(),
            truth: Truth::default(),
            oracle: Oracle::of(nodes),
            digest: Digest::default(),
            counts: Counts::default(),
            scratch: Effects::new(),
            trace: false,
        };
        let heads = Heads::at(genesis);
        for place in 0..nodes {
            let skew = world.draw_skew();
            world.nodes.push(Node {
                heart: None,
                backend: Backend::at(heads),
                memory: Memory::default(),
                run: 0,
                wake_at: Timestamp::MAX,
                skew,
                suspended: false,
                refuses_until: DAWN,
                mailbox: Vec::new(),
                faulty: false,
                follows: mode == Mode::Solo && place > 0,
                role: Role::Follower,
            });
            let at = world.now.after(Millis::new(world.dice.below(500)));
            world.agenda.plan(at, Item::Restart { node: place });
        }
        for _ in 0..faulty {
            let place = world.draw_node();
            world.nodes[place].faulty = true;
        }
        world.agenda.plan(timetable.start(Slot::new(0)), Item::SlotBegins);
        world
    }

    /// Prints every step from now on.
    pub fn trace(&mut self) {
        self.trace = true;
    }

    /// Lets this many slots pass from the present one on.
    ///
    /// # Errors
    /// The first violation; the world is of no use after it.
    pub fn pass(&mut self, slots: u64) -> Result<(), Violation> {
        let end = self.slot_end(slots);
        self.pass_until(end, |_| false).map(|_| ())
    }

    /// Lets slots pass until `done`, but at most so many. Says how many it took, or `None` if that was not enough.
    ///
    /// # Errors
    /// The first violation.
    pub fn pass_until_done(&mut self, slots: u64, done: impl Fn(&Self) -> bool) -> Result<Option<u64>, Violation> {
        let (begin, end) = (self.slot(), self.slot_end(slots));
        let met = self.pass_until(end, done)?;
        Ok(met.then(|| self.slot().as_u64().saturating_sub(begin.as_u64())))
    }

    /// From now on nothing goes wrong any more; what lies broken is repaired.
    pub fn heal(&mut self) {
        self.faults = Faults { malice: self.faults.malice, ..Faults::NONE };
        self.cut.fill(false);
        for place in 0..self.nodes.len() {
            self.nodes[place].skew = 0;
            self.nodes[place].refuses_until = self.now;
            self.agenda.plan(self.now, Item::Resume { node: place });
            self.plan_wake(place);
        }
    }

    /// Do all honest nodes have one head, at this height or higher?
    pub fn has_converged(&self, height: u64) -> bool {
        let mut heads = self.honest().map(|node| node.heart.as_ref().map(|heart| heart.heads().unsafe_head()));
        let Some(Some(first)) = heads.next() else { return false };
        first.number.as_u64() >= height && heads.all(|head| head == Some(first))
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A digest of every step and effect so far.
    pub fn digest(&self) -> u128 {
        self.digest.value()
    }

    /// Height up to which blocks are decided.
    pub fn height(&self) -> u64 {
        self.truth.height()
    }

    /// The present slot.
    pub fn slot(&self) -> Slot {
        self.timetable.slot_at(self.now)
    }

    /// How many nodes there are, and how many of them are faulty.
    pub fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.nodes.iter().filter(|node| node.faulty).count())
    }

    // --- time ---------------------------------------------------------------------------------------------------------------

    fn pass_until(&mut self, end: Timestamp, done: impl Fn(&Self) -> bool) -> Result<bool, Violation> {
        let mut begun = false;
        while let Some((at, item)) = self.agenda.next() {
            self.now = self.now.max(at);
            let slot_begins = matches!(item, Item::SlotBegins);
            self.happen(item)?;
            if slot_begins {
                if begun && done(self) {
                    return Ok(true);
                }
                begun = true;
            }
            if self.now >= end {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn happen(&mut self, item: Item) -> Result<(), Violation> {
        match item {
            Item::Event { to, run, event } => self.deliver(to, run, *event),
            Item::Wake { to, run } => {
                if self.nodes[to].wake_at <= self.now {
                    self.nodes[to].wake_at = Timestamp::MAX;
                    self.deliver(to, run, Event::Wake)
                } else {
                    Ok(())
                }
            }
            Item::Commit { from, run, payload, answered } => self.commit(from, run, payload, answered),
            Item::Restart { node } => self.restart(node),
            Item::Resume { node } => self.resume(node),
            Item::SlotBegins => {
                self.slot_begins();
                Ok(())
            }
        }
    }

    /// Once a slot: the weather changes.
    fn slot_begins(&mut self) {
        let next = self.timetable.start(self.slot().next());
        self.agenda.plan(next, Item::SlotBegins);
        if self.dice.happens(100) {
            for link in 0..self.cut.len() {
                self.cut[link] = self.dice.happens(self.faults.partition);
            }
        }
        if self.dice.happens(self.faults.suspension) {
            let (place, slots) = (self.draw_node(), self.dice.within(&(1..=40)));
            self.nodes[place].suspended = true;
            self.agenda.plan(self.now.after(SLOT.times(slots)), Item::Resume { node: place });
        }
        if self.dice.happens(self.faults.refusal) {
            let (place, slots) = (self.draw_node(), self.dice.within(&(1..=6)));
            self.nodes[place].refuses_until = self.now.after(SLOT.times(slots));
        }
        if self.dice.happens(50) && self.faults.skew > 0 {
            let place = self.draw_node();
            self.nodes[place].skew = self.draw_skew();
            self.plan_wake(place);
        }
        if self.mode == Mode::Conductor {
            self.maybe_elect();
        }
        self.land();
    }

    fn maybe_elect(&mut self) {
        let down = self.conductor.leader().is_none_or(|leader| self.nodes[leader].heart.is_none());
        if (down && self.dice.happens(500)) || self.dice.happens(self.faults.election) {
            let leader = self.draw_node();
            self.counts.elections += 1;
            self.conductor.elect(Some(leader));
            for node in 0..self.nodes.len() {
                self.answer_in_time(node, Event::Leadership(self.role(node)));
            }
        }
        // News of elections may overtake each other; whoever looks again hears of it.
        for node in 0..self.nodes.len() {
            if self.nodes[node].role != self.role(node) && self.dice.happens(500) {
                self.answer_in_time(node, Event::Leadership(self.role(node)));
            }
        }
    }

    fn role(&self, place: usize) -> Role {
        if self.conductor.leader() == Some(place) { Role::Leader } else { Role::Follower }
    }

    /// Tells a node now and then what landed on L1, and sometimes what landed long ago.
    fn land(&mut self) {
        if !self.dice.happens(300) {
            return;
        }
        let place = self.draw_node();
        let newest = self.nodes[place].backend.heads().unsafe_head().number.as_u64();
        let safe = newest.saturating_sub(self.dice.below(30));
        let finalized = safe.saturating_sub(self.dice.below(30));
        let block = |number: u64| self.truth.decided(BlockNumber::new(number)).map(|decided| decided.payload.block);
        if let Some((safe, finalized)) = block(safe).zip(block(finalized)) {
            self.answer_in_time(place, Event::Landed { safe, finalized });
        }
    }

    // --- nodes --------------------------------------------------------------------------------------------------------------

    fn restart(&mut self, place: usize) -> Result<(), Violation> {
        let config = self.config(place);
        let node = &mut self.nodes[place];
        let heads = node.backend.heads();
        node.heart = Some(Sequencer::recover_mutant(config, heads, node.memory.clone(), self.mutant));
        self.oracle.restarted(place);
        if self.conductor.leader() == Some(place) {
            self.answer_in_time(place, Event::Leadership(Role::Leader));
        }
        let run = self.nodes[place].run;
        self.deliver(place, run, Event::Wake)
    }

    fn config(&self, place: usize) -> Config {
        let agreement = match self.mode {
            Mode::Solo => AgreementConfig::Solo,
            Mode::Conductor => AgreementConfig::Conductor,
            Mode::Committee => AgreementConfig::Committee {
                committee: self.committee,
                me: member(place),
                began: BlockNumber::GENESIS,
                resend: Millis::new(100),
            },
        };
        Config { timetable: self.timetable, agreement, active: !self.nodes[place].follows, backoff: Backoff::default() }
    }

    fn crash(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.heart = None;
        node.role = Role::Follower;
        node.mailbox.clear();
        node.run += 1;
        node.wake_at = Timestamp::MAX;
        node.backend.crash();
        self.counts.crashes += 1;
        let downtime = if self.dice.happens(500) { self.dice.below(300) } else { self.dice.below(5 * SLOT.as_u64()) };
        self.agenda.plan(self.now.after(Millis::new(downtime)), Item::Restart { node: place });
        if self.mode == Mode::Conductor && self.conductor.leader() == Some(place) && self.dice.happens(700) {
            self.conductor.elect(None);
        }
    }

    /// A suspended process goes on: all that came meanwhile is heard at once.
    fn resume(&mut self, place: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        node.suspended = false;
        let (run, mailbox) = (node.run, std::mem::take(&mut node.mailbox));
        mailbox.into_iter().try_for_each(|event| self.deliver(place, run, event))
    }

    /// One turn of one heart.
    fn deliver(&mut self, place: usize, run: u32, event: Event) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        if node.run != run || node.heart.is_none() {
            return Ok(());
        }
        if node.suspended {
            node.mailbox.push(event);
            return Ok(());
        }
        if let Event::Leadership(role) = event {
            node.role = role;
        }
        if node.faulty {
            self.plot(place, &event);
        }
        self.step(place, event)
    }

    fn step(&mut self, place: usize, event: Event) -> Result<(), Violation> {
        let clock = self.clock(place);
        self.counts.steps += 1;
        self.digest.write_u64(clock.as_millis());
        self.digest.write_usize(place);
        event.hash(&mut self.digest);
        let honest = !self.nodes[place].faulty;
        if honest {
            self.oracle.hear(place, &event);
        }
        let mut effects = std::mem::take(&mut self.scratch);
        if self.trace {
            println!("slot {} {clock} node {place} ◄ {event:?}", self.slot());
        }
        if let Some(heart) = &mut self.nodes[place].heart {
            heart.step(clock, event, &mut effects);
            let deadline = heart.deadline();
            if !deadline_ahead::holds(clock, deadline) {
                let what = format!("asks to be woken at {deadline}, and it is {clock}");
                return Err(Violation { invariant: "deadline_ahead", node: place, what });
            }
        }
        for effect in effects.drain() {
            if self.trace {
                println!("    ► {effect:?}");
            }
            effect.hash(&mut self.digest);
            if self.dice.happens(self.faults.crash) && self.dice.happens(100) {
                self.crash(place);
                break;
            }
            self.perform(place, clock, effect)?;
        }
        effects.clear();
        self.scratch = effects;
        self.plan_wake(place);
        Ok(())
    }

    fn plan_wake(&mut self, place: usize) {
        let Some(heart) = &self.nodes[place].heart else { return };
        let node = &self.nodes[place];
        let deadline = heart.deadline();
        if deadline == Timestamp::MAX {
            return;
        }
        let due = Timestamp::from_millis(deadline.as_millis().saturating_add_signed(-node.skew));
        let at = due.max(self.now.after(Millis::new(1)));
        if at < node.wake_at || node.wake_at <= self.now {
            let run = node.run;
            self.nodes[place].wake_at = at;
            self.agenda.plan(at, Item::Wake { to: place, run });
        }
    }

    // --- effects ------------------------------------------------------------------------------------------------------------

    fn perform(&mut self, place: usize, clock: Timestamp, effect: Effect) -> Result<(), Violation> {
        self.counts.effects += 1;
        self.happen_above(place, &effect)?;
        if !self.nodes[place].faulty {
            let seen = Seen {
                node: place,
                clock,
                effect: &effect,
                mode: self.mode,
                committee: self.committee,
                timetable: &self.timetable,
                truth: &self.truth,
            };
            self.oracle.see(&seen)?;
        }
        match effect {
            Effect::Open { build, attributes } => self.call(
                place,
                |world| world.nodes[place].backend.open(build, attributes).map(|()| Event::Opened { build }),
                |failure| Event::OpenFailed { build, failure },
            ),
            Effect::Seal { build } => {
                self.call(place, |world| world.seal(place, build), |failure| Event::SealFailed { build, failure })
            }
            Effect::Cancel { build } => self.nodes[place].backend.cancel(build),
            Effect::Persist(record) => self.nodes[place].memory.remember(record),
            Effect::Commit(payload) => self.send_commit(place, payload),
            Effect::Propose(proposal) => self.propose(place, proposal),
            Effect::Attest(attestation) => self.attest(place, attestation),
            Effect::Announce(announcement) => self.announce(place, &announcement),
            Effect::Import(payload) => {
                let block = payload.block.hash;
                self.call(
                    place,
                    |world| Ok(Event::Imported { block, verdict: world.nodes[place].backend.import(&payload) }),
                    |failure| Event::ImportFailed { block, failure },
                );
            }
            Effect::SetHeads(heads) => {
                let block = heads.unsafe_head().hash;
                self.call(
                    place,
                    |world| {
                        world.nodes[place].backend.set_heads(heads, &mut world.dice).map(|()| Event::HeadsSet { block })
                    },
                    |failure| Event::SetHeadsFailed { block, failure },
                );
            }
            Effect::Publish(_) => {}
            Effect::Fetch { from, to } => self.fetch(place, from, to),
            Effect::AskHeads { query } => self.call(
                place,
                |world| Ok(Event::HeadsTold { query, heads: world.nodes[place].backend.heads() }),
                |failure| Event::AskFailed { query, failure },
            ),
            Effect::AskConductor { query } => self.call(
                place,
                |world| world.conductor.head(place).map(|head| Event::ConductorTold { query, head: Some(head) }),
                |failure| Event::AskFailed { query, failure },
            ),
            Effect::Penalize { .. } => self.counts.penalties += 1,
            Effect::Halt(_) => {}
        }
        Ok(())
    }

    /// What an effect makes true, however little anyone knows of it.
    fn happen_above(&mut self, place: usize, effect: &Effect) -> Result<(), Violation> {
        let decided = match effect {
            Effect::Persist(Record::Payload(payload)) => Announcement { payload: payload.clone(), certificate: None },
            Effect::Persist(Record::Certificate(certificate)) => {
                let Some(payload) = self.made.get(&certificate.vow.block.hash) else { return Ok(()) };
                Announcement { payload: payload.clone(), certificate: Some(certificate.clone()) }
            }
            Effect::Attest(attestation) => {
                self.truth.voted(attestation.member, attestation.vow);
                return Ok(());
            }
            _ => return Ok(()),
        };
        if self.nodes[place].faulty {
            return Ok(());
        }
        self.truth.decide(decided).map_err(|what| Violation { invariant: "decided_per_height", node: place, what })
    }

    /// An outside call: does what it should or not, and answers in time, late, twice or with a failure.
    fn call(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Self) -> Result<Event, Failure>,
        failed: impl Fn(Failure) -> Event,
    ) {
        if self.dice.happens(self.faults.failure) {
            self.counts.failed_calls += 1;
            return self.answer_in_time(place, failed(Failure::Retry));
        }
        if self.dice.happens(self.faults.reset) {
            self.counts.failed_calls += 1;
            self.nodes[place].backend.crash();
            return self.answer_in_time(place, failed(Failure::Reset));
        }
        let answer = act(self).unwrap_or_else(&failed);
        let is_order =
            !matches!(answer, Event::HeadsTold { .. } | Event::ConductorTold { .. } | Event::AskFailed { .. });
        if is_order && self.nodes[place].refuses_until > self.now {
            return self.answer_in_time(place, failed(Failure::Reset));
        }
        if self.dice.happens(self.faults.unclear) {
            self.counts.failed_calls += 1;
            self.answer_in_time(place, failed(Failure::Retry));
            if self.dice.happens(500) {
                self.answer_after(place, LONGEST, answer);
            }
            return;
        }
        self.answer_in_time(place, answer);
    }

    fn answer_in_time(&mut self, place: usize, event: Event) {
        let longest = if self.dice.happens(self.faults.slowness) { LONGEST } else { *USUAL.end() };
        self.answer_after(place, longest, event);
    }

    fn answer_after(&mut self, place: usize, longest: u64, event: Event) {
        let wait = self.dice.within(&(*USUAL.start()..=longest));
        let run = self.nodes[place].run;
        self.agenda.plan(self.now.after(Millis::new(wait)), Item::Event { to: place, run, event: Box::new(event) });
    }

    fn seal(&mut self, place: usize, build: types::BuildId) -> Result<Event, Failure> {
        if self.dice.happens(self.faults.nothing_to_seal) {
            self.nodes[place].backend.cancel(build);
            return Ok(Event::NothingToSeal { build });
        }
        let payload = self.nodes[place].backend.seal(build, &mut self.dice)?;
        self.make(&payload);
        Ok(Event::Sealed { build, payload })
    }

    fn make(&mut self, payload: &Payload) {
        let hash = payload.block.hash;
        if self.made.insert(hash, payload.clone()).is_none() {
            self.made_order.push_back(hash);
        }
        if self.made_order.len() > MADE_MAX
            && let Some(oldest) = self.made_order.pop_front()
        {
            self.made.remove(&oldest);
        }
    }

    fn send_commit(&mut self, from: usize, payload: Payload) {
        let answered = !self.dice.happens(self.faults.unclear);
        let block = payload.block.hash;
        if self.dice.happens(self.faults.failure) {
            return self.answer_in_time(from, Event::CommitFailed { block, failure: Failure::Retry });
        }
        if !answered {
            self.answer_after(from, LONGEST, Event::CommitFailed { block, failure: Failure::Retry });
        }
        let longest = if self.dice.happens(self.faults.slowness) { LONGEST } else { *USUAL.end() };
        let wait = Millis::new(self.dice.within(&(1..=longest)));
        let run = self.nodes[from].run;
        self.agenda.plan(self.now.after(wait), Item::Commit { from, run, payload, answered });
    }

    /// A payload reaches the conductor, even if its sender has died since.
    fn commit(&mut self, from: usize, run: u32, payload: Payload, answered: bool) -> Result<(), Violation> {
        let block = payload.block.hash;
        let answer = match self.conductor.commit(from, &payload) {
            Ok(grown) => {
                if grown {
                    let broken = |what| Violation { invariant: "decided_per_height", node: from, what };
                    self.truth.decide(Announcement { payload, certificate: None }).map_err(broken)?;
                }
                Event::Committed { block }
            }
            Err(failure) => Event::CommitFailed { block, failure },
        };
        if self.nodes[from].run == run && (answered || self.dice.happens(300)) {
            self.answer_in_time(from, answer);
        }
        Ok(())
    }

    fn fetch(&mut self, place: usize, from: BlockNumber, to: BlockNumber) {
        self.counts.fetches += 1;
        let reach = match self.mode {
            Mode::Solo if self.nodes[place].follows && self.is_cut(0, place) => 0,
            Mode::Solo | Mode::Conductor => self.truth.height(),
            Mode::Committee => {
                let server = self.draw_node();
                let reached = self.is_cut(server, place) || self.is_cut(place, server);
                let heart = self.nodes[server].heart.as_ref().filter(|_| !reached);
                heart.map_or(0, |heart| heart.heads().unsafe_head().number.as_u64())
            }
        };
        let last = to.as_u64().min(reach).min(from.as_u64() + SERVED_MAX - 1);
        let found = (from.as_u64()..=last).filter_map(|number| self.truth.decided(BlockNumber::new(number)).cloned());
        let found: Vec<Announcement> = found.collect();
        let found = if self.dice.happens(self.faults.failure) { Vec::new() } else { found };
        self.answer_in_time(place, Event::Fetched { from, to, found });
    }

    // --- messages -----------------------------------------------------------------------------------------------------------

    fn propose(&mut self, from: usize, proposal: Proposal) {
        if self.nodes[from].faulty && self.dice.happens(self.faults.malice) {
            return self.twist_proposal(from, &proposal);
        }
        for to in self.others(from) {
            self.send(from, to, |peer| Event::Proposed { peer, proposal: proposal.clone() });
        }
    }

    fn attest(&mut self, from: usize, attestation: Attestation) {
        let withholds = self.nodes[from].faulty && self.dice.happens(self.faults.malice);
        for to in self.others(from) {
            if !withholds || self.dice.happens(300) {
                self.send(from, to, |peer| Event::Attested { peer, attestation: attestation.clone() });
            }
        }
        let own = Event::Attested { peer: Peer::OURSELVES, attestation };
        self.answer_in_time(from, own);
    }

    fn announce(&mut self, from: usize, announcement: &Announcement) {
        if self.nodes[from].faulty && self.dice.happens(self.faults.malice) {
            return;
        }
        for to in self.others(from) {
            self.send(from, to, |peer| Event::Announced { peer, announcement: announcement.clone() });
        }
    }

    fn send(&mut self, from: usize, to: usize, event: impl Fn(Peer) -> Event) {
        if self.is_cut(from, to) || self.dice.happens(self.faults.loss) {
            self.counts.lost_messages += 1;
            return;
        }
        let copies = if self.dice.happens(self.faults.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            let longest = if self.dice.happens(self.faults.delay) { LONGEST } else { *USUAL.end() };
            self.answer_after(to, longest, event(Peer::new(from as u64 + 1)));
        }
    }

    // --- malice -------------------------------------------------------------------------------------------------------------

    /// A faulty proposer equivocates, withholds, or proposes what is invalid or unproven.
    fn twist_proposal(&mut self, from: usize, proposal: &Proposal) {
        self.counts.tricks += 1;
        let trick = self.dice.below(5);
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
        let attributes = types::Attributes {
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
    fn plot(&mut self, place: usize, event: &Event) {
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
        let attestation = Attestation { member, vow, lock: None, signature: types::Signature::default() };
        self.send(from, to, |peer| Event::Attested { peer, attestation: attestation.clone() });
    }

    // --- looking ------------------------------------------------------------------------------------------------------------

    fn honest(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.faulty)
    }

    fn others(&self, from: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.nodes.len()).filter(move |to| *to != from)
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        from != to && self.cut[from * self.nodes.len() + to]
    }

    fn clock(&self, place: usize) -> Timestamp {
        Timestamp::from_millis(self.now.as_millis().saturating_add_signed(self.nodes[place].skew))
    }

    fn slot_end(&self, slots: u64) -> Timestamp {
        self.timetable.end(Slot::new(self.slot().as_u64() + slots))
    }

    fn draw_node(&mut self) -> usize {
        usize::try_from(self.dice.below(self.nodes.len() as u64)).unwrap_or(0)
    }

    fn draw_skew(&mut self) -> i64 {
        let widest = self.faults.skew * SLOT.as_u64() / 1000;
        let skew = self.dice.below(2 * widest + 1);
        i64::try_from(skew).unwrap_or(0) - i64::try_from(widest).unwrap_or(0)
    }
}

fn member(place: usize) -> Option<MemberId> {
    u32::try_from(place).ok().map(MemberId::new)
}

fn timetable(mode: Mode, dice: &mut Dice) -> Timetable {
    let genesis = DAWN.after(SLOT.times(10));
    let stamp = if dice.happens(500) { Stamp::Opening } else { Stamp::Closing };
    let (build_ahead, seal_lead) = match mode {
        Mode::Solo => (SLOT, Millis::ZERO),
        Mode::Conductor => (Millis::new(dice.below(1_000)), Millis::new(dice.below(200))),
        Mode::Committee => (Millis::new(dice.below(300)), Millis::new(500 + dice.below(300))),
    };
    let config = TimetableConfig { genesis, slot: SLOT, build_ahead, seal_lead, stamp };
    Timetable::new(config).unwrap_or_else(|fault| unreachable!("a timetable that makes sense: {fault}"))
}
