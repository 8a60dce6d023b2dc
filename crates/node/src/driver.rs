//! The loop around the heart: hears, lets it decide, performs what it orders.
//!
//! ```text
//!  stop ─┐                                          ┌─ Persist: awaited, durable before the next
//!  admin ┤                                          ├─ backend calls: one at a time, in order, with a deadline
//!  answers ┼─► one event ─► Sequencer::step ─► effects ┼─ conductor and L1 calls, fetches: each in its own task, with a deadline
//!  carrier ┤                      │                  ├─ carrier, publisher: a bounded channel, never waited for
//!  clock ─┘                      └─► journal, metrics, pulse
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sequencer::{
    AgreementConfig, Config, Effect, Effects, Event, HaltReason, Memory, Offence, Peer, Record, Sequencer, Timetable,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use types::{Announcement, Attestation, BlockNumber, Failure, Millis, Proposal, Timestamp};

use crate::calls::{Answer, ConductorCall, Order, ask_conductor, call_backend, commit, fetch, look_up};
use crate::clock::Clock;
use crate::journal::{Journal, Start};
use crate::metrics::{Metrics, Stand};
use crate::pulse::{Party, Pulse, Trouble};
use crate::{Backend, BackendError, L1Origins, Persistence};

/// Backend calls waiting for their turn. The heart has a handful outstanding; one too many is answered with a failure.
const ORDERS_MAX: usize = 64;
/// Answers waiting to be heard.
const ANSWERS_MAX: usize = 64;
/// Operator's commands waiting to be heard; who sends one waits while there is no room.
const COMMANDS_MAX: usize = 16;

/// How long outside calls may take before the heart hears that they failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Opening a block. Default 10 s.
    pub open: Duration,
    /// Sealing one. Default 30 s.
    pub seal: Duration,
    /// Importing one, or setting heads. Default 60 s.
    pub import: Duration,
    /// Making a record durable. Passing it stops the driver. Default 30 s.
    pub persist: Duration,
    /// Anything asked of the conductor's client. Default 5 s.
    pub conductor: Duration,
    /// Asking the backend for its heads, or for blocks. Default 10 s.
    pub ask: Duration,
    /// Looking up a block on L1. Default 2 s.
    pub l1: Duration,
    /// From the order to stop until the driver stops, whatever is outstanding. Default 8 s, below [`crate::STOP_GRACE`].
    pub stop: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            open: secs(10),
            seal: secs(30),
            import: secs(60),
            persist: secs(30),
            conductor: secs(5),
            ask: secs(10),
            l1: secs(2),
            stop: secs(8),
        }
    }
}

impl Deadlines {
    pub(crate) const fn of(&self, order: &Order) -> Duration {
        match order {
            Order::Open(..) | Order::Cancel(_) => self.open,
            Order::Seal(_) => self.seal,
            Order::Import(_) | Order::SetHeads(_) => self.import,
            Order::AskHeads(_) | Order::AskOrigin(..) => self.ask,
        }
    }
}

/// Everything the driver works with.
pub struct Parts {
    /// Where blocks are made.
    pub backend: Arc<dyn Backend>,
    /// Where records go.
    pub persistence: Arc<dyn Persistence>,
    /// Where the story is written; `None` writes none.
    pub journal: Option<JournalPlace>,
    /// Where is counted.
    pub metrics: Metrics,
    /// Where the time comes from.
    pub clock: Clock,
    /// How long calls may take.
    pub deadlines: Deadlines,
    /// Others that take part.
    pub outside: Outside,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("clock", &self.clock).field("outside", &self.outside).finish_non_exhaustive()
    }
}

/// Where the journal is written.
#[derive(Clone, Debug)]
pub struct JournalPlace {
    /// The folder.
    pub folder: std::path::PathBuf,
    /// How much is kept.
    pub options: crate::JournalOptions,
}

/// Handles to others. Solo needs none; [`Driver::start`] refuses an agreement whose handles are missing.
#[derive(Default)]
pub struct Outside {
    /// The conductor's client. It also reports elections, through `incoming`.
    pub conductor: Option<mpsc::Sender<ConductorCall>>,
    /// What carries messages to other members and followers. When its channel is full a message is dropped: the heart repeats what
    /// matters.
    pub carrier: Option<mpsc::Sender<Outgoing>>,
    /// Who lands blocks on L1. When its channel is full an announcement is dropped: the publisher finds the block in the chain.
    pub publisher: Option<mpsc::Sender<Announcement>>,
    /// Where L1 blocks are looked up, for a chain that cites them ([`Config::origins`]). Its follower also reports each new L1 head,
    /// through `incoming`.
    pub origins: Option<Arc<dyn L1Origins>>,
    /// What others bring: elections, proposals, attestations, announcements, news from L1.
    pub incoming: Option<mpsc::Receiver<Event>>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside")
            .field("conductor", &self.conductor)
            .field("carrier", &self.carrier)
            .field("publisher", &self.publisher)
            .field("origins", &self.origins.is_some())
            .field("incoming", &self.incoming)
            .finish()
    }
}

/// What is to be carried to others. Signing is the carrier's.
#[derive(Debug)]
pub enum Outgoing {
    /// Sign and send.
    Propose(Proposal),
    /// Sign, send, and bring back as [`Event::Attested`] from [`Peer::OURSELVES`].
    Attest(Attestation),
    /// Send to whoever follows.
    Announce(Announcement),
    /// The peer misbehaved.
    Penalize(Peer, Offence),
    /// Get decided payloads from peers.
    Fetch {
        /// Lowest height wanted.
        from: BlockNumber,
        /// Highest height wanted.
        to: BlockNumber,
        /// As many as could be had.
        answer: oneshot::Sender<Vec<Announcement>>,
    },
}

/// Why the driver did not start, or stopped by itself.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The agreement needs a conductor.
    #[error("the conductor agreement needs a conductor to talk to, and there is none: give one, or run alone")]
    NoConductor,
    /// The agreement needs others to talk to.
    #[error(
        "the committee agreement needs a carrier of messages to and from its members, and there is none: give one, or run alone"
    )]
    NoCarrier,
    /// The chain cites L1 blocks, and there is nowhere to look them up.
    #[error("the chain cites L1 blocks, and there is nowhere to look them up: give an L1 endpoint")]
    NoL1Origins,
    /// L1 blocks can be looked up, and the chain cites none.
    #[error(
        "there is an L1 to look blocks up on, and the chain has no rules for citing them: give rules, or leave L1 out"
    )]
    NoOriginRules,
    /// The backend does not say where it stands.
    #[error("the chain does not say where it stands: {0}")]
    Heads(BackendError),
    /// The journal cannot be begun.
    #[error("cannot begin the journal in {folder}: {source}: check that folder, or turn the journal off")]
    Journal {
        /// Where.
        folder: std::path::PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A record could not be made durable, so nothing may be said about it.
    #[error("block production stopped: {0}")]
    Persist(String),
    /// The heart gave up.
    #[error("block production halted: {reason:?}{}", .trouble.as_ref().map(|t| format!(": {t}")).unwrap_or_default())]
    Halted {
        /// Why.
        reason: Box<HaltReason>,
        /// What failed last.
        trouble: Option<String>,
    },
    /// A task that makes outside calls panicked; where and why is in the log.
    #[error("a task that calls the chain ended in a panic")]
    TaskGone,
}

/// What others may ask of a running driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DriverHandle {
    commands: mpsc::Sender<Event>,
    pulse: watch::Receiver<Pulse>,
}

impl DriverHandle {
    /// Lets the sequencer lead. Returns whether the driver still listens.
    pub async fn lead(&self) -> bool {
        self.commands.send(Event::Start).await.is_ok()
    }

    /// Keeps the sequencer from leading; it goes on following. Returns whether the driver still listens.
    pub async fn rest(&self) -> bool {
        self.commands.send(Event::Stop).await.is_ok()
    }

    /// Asks for a block of this date, where blocks are built on demand ([`AgreementConfig::OnDemand`]). Returns whether the driver still
    /// listens; the demand is answered when [`Pulse::served`] has risen by one for it and for each that came before.
    pub async fn demand(&self, date: Timestamp) -> bool {
        self.commands.send(Event::Demand { date }).await.is_ok()
    }

    /// Switches recovery on or off ([`Event::Recover`]). Returns whether the driver still listens.
    pub async fn recover(&self, on: bool) -> bool {
        self.commands.send(Event::Recover(on)).await.is_ok()
    }

    /// The newest state, for health and displays.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }
}

/// The loop around the heart. One per chain.
pub struct Driver {
    sequencer: Sequencer,
    timetable: Timetable,
    effects: Effects,
    clock: Clock,
    deadlines: Deadlines,
    persistence: Arc<dyn Persistence>,
    journal: Option<Journal>,
    metrics: Metrics,
    outside: Outside,
    active: bool,
    pulse: watch::Sender<Pulse>,
    commands: mpsc::Receiver<Event>,
    orders: mpsc::Sender<Order>,
    answers: mpsc::Receiver<Option<Answer>>,
    /// Answers that need no waiting.
    at_once: VecDeque<Answer>,
    /// Backend calls that are not done.
    outstanding: usize,
    /// Conductor calls, look-ups on L1 and fetches.
    errands: JoinSet<Answer>,
    /// The task that calls the backend.
    backend: JoinSet<()>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("heads", &self.sequencer.heads()).finish_non_exhaustive()
    }
}

impl Driver {
    /// Asks the backend where it stands and sets the heart up. Nothing is ordered before [`Driver::run`].
    ///
    /// `memory` is what the records of earlier runs say; a chain whose backend already applied all its blocks may give an empty one.
    ///
    /// # Errors
    /// See [`DriverError`]; an agreement whose outside handles are missing is refused.
    pub async fn start(config: Config, memory: Memory, parts: Parts) -> Result<(Self, DriverHandle), DriverError> {
        let Parts { backend, persistence, journal, metrics, clock, deadlines, outside } = parts;
        match config.agreement {
            AgreementConfig::Solo | AgreementConfig::OnDemand => {}
            AgreementConfig::Conductor if outside.conductor.is_some() && outside.incoming.is_some() => {}
            AgreementConfig::Conductor => return Err(DriverError::NoConductor),
            AgreementConfig::Committee { .. } if outside.carrier.is_some() && outside.incoming.is_some() => {}
            AgreementConfig::Committee { .. } => return Err(DriverError::NoCarrier),
        }
        match (&config.origins, &outside.origins) {
            (Some(_), Some(_)) | (None, None) => {}
            (Some(_), None) => return Err(DriverError::NoL1Origins),
            (None, Some(_)) => return Err(DriverError::NoOriginRules),
        }
        let heads = timeout(deadlines.ask, backend.heads()).await;
        let heads = heads.unwrap_or_else(|_| Err(BackendError::Retry("no answer in time".to_owned())));
        let start = Start { config, heads: heads.map_err(DriverError::Heads)?, memory };
        let journal = journal.map(|place| begin_journal(&place, clock.now(), &start)).transpose()?;
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (answered, answers) = mpsc::channel(ANSWERS_MAX);
        let (command, commands) = mpsc::channel(COMMANDS_MAX);
        let mut lane = JoinSet::new();
        lane.spawn(call_backend(backend, deadlines, ordered, answered));
        let sequencer = start.sequencer();
        let timetable = start.config.timetable;
        let (pulse, watched) = watch::channel(Pulse {
            slot: slot_length(&timetable),
            head: sequencer.heads().unsafe_head(),
            beat: clock.now(),
            standing: sequencer.standing(),
            active: start.config.active,
            settled: sequencer.is_settled(),
            trouble: None,
            awaits_l1: None,
            awaits_safe: false,
            recovery: sequencer.recovery(),
            on_demand: matches!(start.config.agreement, AgreementConfig::OnDemand),
            served: 0,
        });
        let driver = Self {
            sequencer,
            timetable,
            effects: Effects::new(),
            clock,
            deadlines,
            persistence,
            journal,
            metrics,
            outside,
            active: start.config.active,
            pulse,
            commands,
            orders,
            answers,
            at_once: VecDeque::new(),
            outstanding: 0,
            errands: JoinSet::new(),
            backend: lane,
        };
        Ok((driver, DriverHandle { commands: command, pulse: watched }))
    }

    /// Runs until `stop` is cancelled.
    ///
    /// Then the heart is told not to lead, so that an open build goes back to the pool; what is decided is still imported, for as long
    /// as [`Deadlines::stop`] allows. Nothing durable depends on that: a start after a kill ends up at the same place.
    ///
    /// # Errors
    /// When the heart gives up, or a record cannot be made durable.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), DriverError> {
        let mut over: Option<Instant> = None;
        loop {
            if let Some(over) = over
                && (self.is_idle() || Instant::now() >= over)
            {
                return Ok(());
            }
            let wakes_at = over.unwrap_or_else(|| Instant::now() + Duration::from_secs(24 * 60 * 60));
            let deadline = self.sequencer.deadline();
            let heard = if let Some(answer) = self.at_once.pop_front() {
                Heard::Answer(answer)
            } else {
                tokio::select! {
                    biased;
                    () = stop.cancelled(), if over.is_none() => {
                        over = Some(Instant::now() + self.deadlines.stop);
                        Heard::Told(Event::Stop)
                    }
                    Some(command) = self.commands.recv(), if over.is_none() => Heard::Told(command),
                    Some(done) = self.answers.recv() => {
                        self.outstanding -= 1;
                        let Some(answer) = done else { continue };
                        Heard::Answer(answer)
                    }
                    Some(answer) = self.errands.join_next() => match answer {
                        Ok(answer) => Heard::Answer(answer),
                        Err(_) => return Err(DriverError::TaskGone),
                    },
                    Some(_) = self.backend.join_next() => return Err(DriverError::TaskGone),
                    Some(event) = brought(&mut self.outside.incoming) => Heard::Told(event),
                    () = self.clock.nap_until(deadline) => {
                        if self.clock.now() < deadline {
                            continue;
                        }
                        Heard::Told(Event::Wake)
                    }
                    () = tokio::time::sleep_until(wakes_at) => continue,
                }
            };
            match heard {
                Heard::Told(event) => self.hear(event, None).await?,
                Heard::Answer(answer) => self.hear(answer.event, answer.trouble).await?,
            }
        }
    }

    /// Is nothing outstanding that should be waited for before stopping?
    fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.at_once.is_empty() && self.errands.is_empty()
    }

    /// One event, then all its effects.
    async fn hear(&mut self, event: Event, trouble: Option<String>) -> Result<(), DriverError> {
        let now = self.clock.now();
        if let Some(trouble) = &trouble {
            tracing::warn!(reason = %trouble, "an outside call failed");
        }
        match event {
            Event::Start => self.active = true,
            Event::Stop => self.active = false,
            _ => {}
        }
        self.sequencer.step(now, event.clone(), &mut self.effects);
        self.record(now, &event);
        self.tell(now, &event, trouble);
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain() {
            self.perform(effect).await?;
        }
        self.effects = effects;
        Ok(())
    }

    /// The line of this step, and what is counted from it.
    fn record(&mut self, now: Timestamp, event: &Event) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            // As in the journal, which leaves bodies out.
            let text = |part: Result<String, serde_json::Error>| part.unwrap_or_else(|error| error.to_string());
            let (event, effects) = (text(serde_json::to_string(event)), text(serde_json::to_string(&self.effects)));
            tracing::debug!(event, effects, "step");
        }
        let stand = Stand {
            seal_lead: self.sequencer.seal_lead(),
            recovers: self.sequencer.recovery().is_some(),
            awaits_l1: self.sequencer.awaits_l1(now).is_some(),
            on_demand: self.pulse.borrow().on_demand,
        };
        self.metrics.observe(now, &self.timetable, event, self.effects.as_slice(), stand);
        let Some(journal) = &mut self.journal else { return };
        if let Err(error) = beside_the_others(|| journal.step(now, event, &self.effects, &self.sequencer)) {
            // The chain matters more than its story. A gap would make the rest undecidable, so the story ends here.
            tracing::error!(%error, "the journal cannot be written and is closed until the next start");
            self.metrics.journal_failed();
            self.journal = None;
        }
    }

    /// Brings the pulse up to date.
    fn tell(&self, now: Timestamp, event: &Event, trouble: Option<String>) {
        let head = self.sequencer.heads().unsafe_head();
        let standing = self.sequencer.standing();
        let served = self.sequencer.served();
        let awaits_l1 = self.sequencer.awaits_l1(now);
        let awaits_safe = self.sequencer.awaits_safe();
        let settled = self.sequencer.is_settled();
        let recovery = self.sequencer.recovery();
        match (self.pulse.borrow().recovery, recovery) {
            (before, Some(recovery)) if before != Some(recovery) => {
                tracing::warn!(number = %head.number, ?recovery, "recovery begins: blocks are empty from here on");
            }
            (Some(_), None) => tracing::info!(number = %head.number, "recovery is over"),
            (None | Some(_), Some(_)) | (None, None) => {}
        }
        let beats = matches!(event, Event::HeadsSet { .. } | Event::NothingToSeal { .. });
        if matches!(event, Event::HeadsSet { .. }) && head != self.pulse.borrow().head {
            tracing::info!(number = %head.number, hash = %head.hash, "block");
        }
        self.pulse.send_if_modified(|pulse| {
            let before = pulse.clone();
            if beats {
                pulse.beat = now;
                pulse.head = head;
                pulse.trouble = None;
            }
            // Where the chain was taken back, its head is below what was set last.
            if matches!(event, Event::HeadsTold { .. }) {
                pulse.head = head;
            }
            pulse.settled = settled;
            pulse.standing = standing;
            pulse.served = served;
            pulse.awaits_l1 = awaits_l1;
            pulse.awaits_safe = awaits_safe;
            pulse.recovery = recovery;
            pulse.active = self.active;
            if let Some(what) = trouble {
                pulse.trouble = Some(Trouble { at: now, with: Party::of(event), what });
            }
            *pulse != before
        });
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), DriverError> {
        match effect {
            Effect::Open { build, attributes } => self.order(Order::Open(build, attributes)),
            Effect::Seal { build } => self.order(Order::Seal(build)),
            Effect::Cancel { build } => self.order(Order::Cancel(build)),
            Effect::Import(payload) => self.order(Order::Import(payload)),
            Effect::SetHeads(heads) => self.order(Order::SetHeads(heads)),
            Effect::AskHeads { query } => self.order(Order::AskHeads(query)),
            Effect::AskOrigin { query, block } => self.order(Order::AskOrigin(query, block)),
            Effect::LookUp { query, lookup } => {
                // `Driver::start` made sure that a heart that looks up has somewhere to.
                if let Some(origins) = self.outside.origins.clone() {
                    self.errands.spawn(look_up(origins, self.deadlines.l1, query, lookup));
                }
            }
            Effect::Persist(record) => return self.persist(&record).await,
            Effect::Commit(payload) => {
                // `Driver::start` made sure that a heart that commits has a conductor.
                if let Some(conductor) = self.outside.conductor.clone() {
                    self.errands.spawn(commit(conductor, self.deadlines.conductor, payload));
                }
            }
            Effect::AskConductor { query } => {
                if let Some(conductor) = self.outside.conductor.clone() {
                    self.errands.spawn(ask_conductor(conductor, self.deadlines.conductor, query));
                }
            }
            Effect::Fetch { from, to } => {
                let (persistence, carrier) = (Arc::clone(&self.persistence), self.outside.carrier.clone());
                self.errands.spawn(fetch(persistence, carrier, self.deadlines.ask, from, to));
            }
            Effect::Propose(proposal) => self.carry(Outgoing::Propose(proposal)),
            Effect::Attest(attestation) => self.carry(Outgoing::Attest(attestation)),
            Effect::Announce(announcement) => self.carry(Outgoing::Announce(announcement)),
            Effect::Penalize { peer, offence } => self.carry(Outgoing::Penalize(peer, offence)),
            Effect::Publish(announcement) => {
                if let Some(publisher) = &self.outside.publisher
                    && publisher.try_send(announcement).is_err()
                {
                    tracing::warn!("the publisher does not keep up; it will find the block in the chain");
                }
            }
            Effect::Halt(reason) => {
                let trouble = self.pulse.borrow().trouble.as_ref().map(|trouble| trouble.what.clone());
                return Err(DriverError::Halted { reason: Box::new(reason), trouble });
            }
        }
        Ok(())
    }

    async fn persist(&self, record: &Record) -> Result<(), DriverError> {
        match timeout(self.deadlines.persist, self.persistence.persist(record)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(DriverError::Persist(error.to_string())),
            Err(_) => {
                let limit = self.deadlines.persist.as_secs();
                Err(DriverError::Persist(format!("the disk took a record and did not answer for {limit} s")))
            }
        }
    }

    fn order(&mut self, order: Order) {
        match self.orders.try_send(order) {
            Ok(()) => self.outstanding += 1,
            Err(mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order)) => {
                if order.is_answered() {
                    self.at_once.push_back(order.failed(Failure::Retry, "too many calls wait for the chain"));
                }
            }
        }
    }

    fn carry(&self, outgoing: Outgoing) {
        if let Some(carrier) = &self.outside.carrier
            && carrier.try_send(outgoing).is_err()
        {
            tracing::warn!("the carrier does not keep up, a message was dropped");
        }
    }
}

/// What woke the loop.
enum Heard {
    Told(Event),
    Answer(Answer),
}

/// The next event from outside; never, when nobody brings any.
async fn brought(incoming: &mut Option<mpsc::Receiver<Event>>) -> Option<Event> {
    match incoming {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// Does what may wait for the disk. On a runtime with several threads the tasks of this one move to another first: a disk that
/// hangs must not silence health.
fn beside_the_others<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn begin_journal(place: &JournalPlace, at: Timestamp, start: &Start) -> Result<Journal, DriverError> {
    Journal::begin(&place.folder, at, start, place.options)
        .map_err(|source| DriverError::Journal { folder: place.folder.clone(), source })
}

fn slot_length(timetable: &Timetable) -> Millis {
    timetable.config().slot
}

#[cfg(test)]
mod tests;
