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

mod below;
mod malice;
mod outside;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;

use sequencer::{
    AgreementConfig, Backoff, Config, Effects, Event, Memory, Mutant, Role, Sequencer, Stamp, Timetable,
    TimetableConfig,
};
use types::{BlockHash, BlockNumber, BlockRef, Committee, Heads, MemberId, Millis, Payload, Slot, Timestamp};

use crate::agenda::Agenda;
use crate::backend::Backend;
use crate::conductor::Conductor;
use crate::dice::Dice;
use crate::digest::Digest;
use crate::faults::Faults;
use crate::invariants::cites_l1::RULES;
use crate::invariants::{Oracle, Violation, deadline_ahead};
use crate::l1::L1;
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
    /// One leads and builds when it is asked to; others follow.
    OnDemand,
    /// One leads, and its blocks cite L1, which reorganises and stalls.
    L1,
    /// A conductor elects.
    Conductor,
    /// A conductor elects, and blocks cite L1, which reorganises and stalls.
    Rollup,
    /// A committee votes.
    Committee,
}

impl Mode {
    /// Do blocks cite L1?
    pub const fn cites_l1(self) -> bool {
        matches!(self, Self::L1 | Self::Rollup)
    }

    /// Does a conductor elect?
    pub const fn has_conductor(self) -> bool {
        matches!(self, Self::Conductor | Self::Rollup)
    }
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
    l1: L1,
    /// When L1 grew last.
    grew: Timestamp,
    /// Until when L1 stands still.
    stalled_until: Timestamp,
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
    #[expect(clippy::vec_box, reason = "events travel in boxes, so that none is copied on its way")]
    mailbox: Vec<Box<Event>>,
    faulty: bool,
    follows: bool,
    /// L1 has taken blocks back, and it does not know yet.
    left_unheard: bool,
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
            Mode::Solo | Mode::OnDemand => (2, 0),
            Mode::L1 => (1, 0),
            Mode::Conductor | Mode::Rollup => (if dice.happens(700) { 3 } else { 5 }, 0),
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
            l1: L1::at(genesis, DAWN),
            grew: DAWN,
            stalled_until: DAWN,
            made: BTreeMap::new(),
            made_order: std::collections::VecDeque::new(),
            truth: Truth::default(),
            oracle: Oracle::of(nodes, mode),
            digest: Digest::default(),
            counts: Counts::default(),
            scratch: Effects::new(),
            trace: false,
        };
        for place in 0..nodes {
            world.settle(place, genesis);
        }
        for _ in 0..faulty {
            let place = world.draw_node();
            world.nodes[place].faulty = true;
        }
        world.agenda.plan(timetable.start(Slot::new(0)), Item::SlotBegins);
        world
    }

    /// A node that is about to start.
    fn settle(&mut self, place: usize, genesis: BlockRef) {
        let skew = self.draw_skew();
        self.nodes.push(Node {
            heart: None,
            backend: Backend::at(Heads::at(genesis), matches!(self.mode, Mode::OnDemand | Mode::L1)),
            left_unheard: false,
            memory: Memory::default(),
            run: 0,
            wake_at: Timestamp::MAX,
            skew,
            suspended: false,
            refuses_until: DAWN,
            mailbox: Vec::new(),
            faulty: false,
            follows: matches!(self.mode, Mode::Solo | Mode::OnDemand) && place > 0,
            role: Role::Follower,
        });
        let at = self.now.after(Millis::new(self.dice.below(500)));
        self.agenda.plan(at, Item::Restart { node: place });
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
        self.stalled_until = self.now;
        for place in 0..self.nodes.len() {
            self.nodes[place].skew = 0;
            self.nodes[place].refuses_until = self.now;
            self.agenda.plan(self.now, Item::Resume { node: place });
            self.plan_wake(place);
        }
    }

    /// Do all honest nodes have one head, at this height or higher?
    pub fn has_converged(&self, height: u64) -> bool {
        if !self.has_answered() {
            return false;
        }
        let mut heads = self.honest().map(|node| node.heart.as_ref().map(|heart| heart.heads().unsafe_head()));
        let Some(Some(first)) = heads.next() else { return false };
        first.number.as_u64() >= height && heads.all(|head| head == Some(first))
    }

    /// Is every demand answered?
    fn has_answered(&self) -> bool {
        let served = self.nodes[0].heart.as_ref().map(Sequencer::served);
        self.mode != Mode::OnDemand || served.is_some_and(|served| self.oracle.is_level(0, served))
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
            Item::Event { to, run, event } => self.deliver(to, run, event),
            Item::Wake { to, run } => {
                if self.nodes[to].wake_at <= self.now {
                    self.nodes[to].wake_at = Timestamp::MAX;
                    self.deliver(to, run, Box::new(Event::Wake))
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
        if self.mode.has_conductor() {
            self.maybe_elect();
        }
        if self.mode.cites_l1() {
            self.l1_goes_on();
        }
        if self.mode == Mode::OnDemand {
            self.demand();
        }
        self.land();
    }

    /// Somebody asks for some blocks, of dates that lie anywhere.
    fn demand(&mut self) {
        for _ in 0..self.dice.below(5) {
            let away = Millis::new(self.dice.below(100 * SLOT.as_u64()));
            let date = if self.dice.happens(500) { self.now.before(away) } else { self.now.after(away) };
            self.answer_in_time(0, Event::Demand { date });
        }
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
        if !self.dice.happens(if self.mode.cites_l1() { 600 } else { 300 }) {
            return;
        }
        let place = self.draw_node();
        let newest = self.nodes[place].backend.heads().unsafe_head().number.as_u64();
        let safe = newest.saturating_sub(self.dice.below(30));
        let finalized = safe.saturating_sub(self.dice.below(30));
        let block = |number: u64| self.truth.decided(BlockNumber::new(number)).map(|decided| decided.payload.block);
        let finalized = block(finalized).filter(|block| self.is_final(*block));
        let Some((safe, finalized)) = block(safe).zip(finalized) else { return };
        // Whoever leads must hear of it, else it waits for what is safe: where L1 is cited all derive the same.
        let hearers = if self.mode == Mode::Rollup { 0..self.nodes.len() } else { place..place + 1 };
        for hearer in hearers {
            self.answer_in_time(hearer, Event::Landed { safe, finalized });
        }
    }

    // --- nodes --------------------------------------------------------------------------------------------------------------

    fn restart(&mut self, place: usize) -> Result<(), Violation> {
        self.derive(place);
        let config = self.config(place);
        let node = &mut self.nodes[place];
        let heads = node.backend.heads();
        node.heart = Some(Sequencer::recover_mutant(config, heads, node.memory.clone(), self.mutant));
        self.oracle.restarted(place);
        if self.conductor.leader() == Some(place) {
            self.answer_in_time(place, Event::Leadership(Role::Leader));
        }
        let run = self.nodes[place].run;
        self.deliver(place, run, Box::new(Event::Wake))
    }

    fn config(&self, place: usize) -> Config {
        let agreement = match self.mode {
            Mode::OnDemand if place == 0 => AgreementConfig::OnDemand,
            Mode::Solo | Mode::OnDemand | Mode::L1 => AgreementConfig::Solo,
            Mode::Conductor | Mode::Rollup => AgreementConfig::Conductor,
            Mode::Committee => AgreementConfig::Committee {
                committee: self.committee,
                me: member(place),
                began: BlockNumber::GENESIS,
                resend: Millis::new(100),
            },
        };
        let origins = self.mode.cites_l1().then_some(RULES);
        let active = !self.nodes[place].follows;
        let seal_lead_adapts = seal_lead_adapts(self.mode);
        Config { timetable: self.timetable, agreement, active, backoff: Backoff::default(), seal_lead_adapts, origins }
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
        if self.mode.has_conductor() && self.conductor.leader() == Some(place) && self.dice.happens(700) {
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
    fn deliver(&mut self, place: usize, run: u32, event: Box<Event>) -> Result<(), Violation> {
        let node = &mut self.nodes[place];
        if node.run != run || node.heart.is_none() {
            return Ok(());
        }
        if node.suspended {
            node.mailbox.push(event);
            return Ok(());
        }
        if let Event::Leadership(role) = *event {
            node.role = role;
        }
        if node.faulty {
            self.plot(place, &event);
        }
        self.step(place, event)
    }

    fn step(&mut self, place: usize, event: Box<Event>) -> Result<(), Violation> {
        let clock = self.clock(place);
        self.counts.steps += 1;
        self.digest.write_u64(clock.as_millis());
        self.digest.write_usize(place);
        event.hash(&mut self.digest);
        let honest = !self.nodes[place].faulty;
        if honest {
            self.oracle.hear(place, clock, &event);
        }
        let mut effects = std::mem::take(&mut self.scratch);
        if self.trace {
            println!("slot {} {clock} node {place} ◄ {event:?}", self.slot());
        }
        if let Some(heart) = &mut self.nodes[place].heart {
            heart.step(clock, *event, &mut effects);
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
        if self.mode == Mode::OnDemand
            && let Some(heart) = &self.nodes[place].heart
        {
            self.oracle.answered(place, if place == 0 { heart.served() } else { 0 })?;
        }
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

/// Does the time to seal follow what blocks take?
pub(crate) fn seal_lead_adapts(mode: Mode) -> bool {
    match mode {
        Mode::L1 | Mode::Conductor | Mode::Rollup => true,
        Mode::Solo | Mode::OnDemand | Mode::Committee => false,
    }
}

fn member(place: usize) -> Option<MemberId> {
    u32::try_from(place).ok().map(MemberId::new)
}

fn timetable(mode: Mode, dice: &mut Dice) -> Timetable {
    let genesis = DAWN.after(SLOT.times(10));
    let stamp = if dice.happens(500) { Stamp::Opening } else { Stamp::Closing };
    let (build_ahead, seal_lead) = match mode {
        Mode::Solo | Mode::OnDemand => (SLOT, Millis::ZERO),
        Mode::Conductor | Mode::L1 | Mode::Rollup => (Millis::new(dice.below(1_000)), Millis::new(dice.below(200))),
        Mode::Committee => (Millis::new(dice.below(300)), Millis::new(500 + dice.below(300))),
    };
    let config = TimetableConfig { genesis, slot: SLOT, build_ahead, seal_lead, stamp };
    Timetable::new(config).unwrap_or_else(|fault| unreachable!("a timetable that makes sense: {fault}"))
}
