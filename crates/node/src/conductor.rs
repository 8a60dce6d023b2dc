//! The client of a conductor: what it asks, what it tells the heart, and who may start the sequencer.
//!
//! op-conductor is the elector. It does not tell its elections: it starts and stops the sequencer through the node's admin methods,
//! says on demand whether we are the leader, and takes payloads. It has no call that tells the newest block that it holds. So the
//! heart's questions are answered from what is known here, a [`Tenure`]:
//!
//! ```text
//!            started on a block, and the conductor says: leader
//!  follows ─────────────────────────────────────────────────────► leads: newest = that block
//!     ▲                                                              │  ▲ committed: newest = the payload
//!     └── stopped · a commit refused · the conductor says: another ──┘  │ unclear: ask at once whether we lead still,
//!                                                                    └──┘ and the heart commits the same payload again
//! ```
//!
//! While the conductor is silent nothing changes and nothing is decided, because nothing is decided without its word. When it comes
//! back and says that another leads, the tenure is over, and only a new start begins one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sequencer::{Event, Record, Role};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use types::{BlockRef, Failure, Payload, Timestamp};

use crate::calls::ConductorCall;
use crate::{Clock, Persistence};

/// How often the conductor is asked who leads, when nothing else has told it meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Orders of an operator, or of the conductor, that may wait.
const ORDERS_MAX: usize = 16;
/// How long a committed payload may take to be on disk. It is decided all the same: it is held by the conductor's quorum.
const PERSIST_MAX: Duration = Duration::from_secs(5);

/// Whoever elects the one that leads and holds its payloads.
///
/// An implementer upholds this: every call ends by itself within a deadline; the same payload may be committed again; a commit that
/// may have taken effect is never called refused.
#[async_trait]
pub trait Conductor: Send + Sync + 'static {
    /// Are we the leader?
    ///
    /// # Errors
    /// With the reason why it is not known.
    async fn leader(&self) -> Result<bool, String>;

    /// Holds the payload for good.
    ///
    /// # Errors
    /// See [`CommitError`].
    async fn commit(&self, payload: &Payload) -> Result<(), CommitError>;
}

/// Which blocks L1 bears. What L1 has left is decided no more, whoever holds it.
#[async_trait]
pub trait Bearing: Send + Sync + 'static {
    /// The highest block down from this one that cites L1's chain as it is now: this one, where its place is not known here.
    ///
    /// # Errors
    /// With the reason why it is not known at the moment.
    async fn borne(&self, block: BlockRef) -> Result<BlockRef, String>;
}

/// Why a payload does not count as held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It is not held, and will not be: we are not the leader.
    #[error("refused: {0}")]
    Refused(String),
    /// It may be held.
    #[error("unclear: {0}")]
    Unclear(String),
}

/// Our place behind the conductor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// Another leads, or nobody, or nobody has started us.
    Follows,
    /// We were started, and lead.
    Leads {
        /// The newest block that the conductor is known to hold: the one we were started on, then our last commit.
        newest: BlockRef,
        /// A payload of ours that it may hold as well.
        unclear: Option<BlockRef>,
    },
}

/// What is heard of the conductor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// We were started on this block, and the conductor says that we lead.
    Started(BlockRef),
    /// We were stopped.
    Stopped,
    /// It holds our payload.
    Committed(BlockRef),
    /// It refused our payload: we do not lead.
    Refused,
    /// Whether it holds our payload is not known.
    Unclear(BlockRef),
    /// It says that we lead.
    WeLead,
    /// It says that we do not.
    AnotherLeads,
    /// It says nothing.
    Silent,
}

impl Tenure {
    /// What is so after this.
    #[must_use]
    pub fn after(self, word: Word) -> Self {
        match (self, word) {
            (_, Word::Started(newest)) => Self::Leads { newest, unclear: None },
            // An answer that comes when the tenure is over begins none: whoever follows learns the block as all others do.
            (Self::Follows, _) | (Self::Leads { .. }, Word::Stopped | Word::Refused | Word::AnotherLeads) => {
                Self::Follows
            }
            (Self::Leads { .. }, Word::Committed(newest)) => Self::Leads { newest, unclear: None },
            (Self::Leads { newest, .. }, Word::Unclear(block)) => Self::Leads { newest, unclear: Some(block) },
            (Self::Leads { .. }, Word::WeLead | Word::Silent) => self,
        }
    }

    /// Do we lead?
    #[must_use]
    pub const fn leads(self) -> bool {
        matches!(self, Self::Leads { .. })
    }

    /// What the heart has to hear once this has become `now`.
    fn told(self, now: Self) -> Option<Role> {
        match (self.leads(), now.leads()) {
            (false, true) => Some(Role::Leader),
            (true, false) => Some(Role::Follower),
            (true, true) | (false, false) => None,
        }
    }
}

/// How things stand with the conductor, for health, metrics and the admin methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConductorStatus {
    /// Our place.
    pub tenure: Tenure,
    /// What the conductor said last, when asked whether we lead; `None` while it has not answered since it fell silent.
    pub elected: Option<bool>,
    /// Since when it is unclear whether the conductor holds our payload.
    pub unclear_since: Option<Timestamp>,
    /// Whether the operator has the conductor left out: it is asked nothing, and given nothing.
    pub overridden: bool,
    /// What went wrong last, while it is so.
    pub trouble: Option<String>,
}

impl ConductorStatus {
    const fn new() -> Self {
        Self { tenure: Tenure::Follows, elected: None, unclear_since: None, overridden: false, trouble: None }
    }

    /// Whether we lead and all is well; if not, why.
    ///
    /// # Errors
    /// With the reason.
    pub fn readiness(&self, now: Timestamp) -> Result<String, String> {
        let because = |what: String| match &self.trouble {
            Some(trouble) => format!("{what}: {trouble}"),
            None => what,
        };
        match (self.tenure, self.elected) {
            (Tenure::Leads { newest, .. }, _) if self.overridden => Ok(format!(
                "leads past block {}, and the leader override is on: no block is given to the conductor; admin_overrideLeader(false) ends it",
                newest.number
            )),
            (Tenure::Leads { unclear: Some(block), .. }, _) => {
                let since = self.unclear_since.unwrap_or(now);
                let age = now.since(since);
                Err(because(format!("commit unclear since {age}: whether the conductor holds block {}", block.number)))
            }
            (Tenure::Leads { newest, .. }, _) => Ok(format!("leads; the conductor holds block {}", newest.number)),
            (Tenure::Follows, Some(true)) => {
                Err("the conductor has not started it, and says that it is the leader".to_owned())
            }
            (Tenure::Follows, Some(false)) => Err("not the leader".to_owned()),
            (Tenure::Follows, None) => Err(because("the conductor does not say who leads".to_owned())),
        }
    }
}

/// How a commit ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
enum CommitLabel {
    held,
    unclear,
    refused,
    overridden,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommitLabels {
    result: CommitLabel,
}

/// What is counted of the conductor, under `conductor_`.
#[derive(Clone, Debug, Default)]
struct ConductorMetrics {
    leading: Gauge,
    elected: Gauge,
    overridden: Gauge,
    unclear: Gauge,
    commits: Family<CommitLabels, Counter>,
    silences: Counter,
}

impl ConductorMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let r = registry.sub_registry_with_prefix("conductor");
        r.register("leading", "Whether it was started behind the conductor, and leads", metrics.leading.clone());
        r.register("elected", "Whether the conductor said last that this is the leader", metrics.elected.clone());
        r.register("overridden", "Whether the operator has the conductor left out", metrics.overridden.clone());
        r.register("commit_unclear", "Whether it is unclear that the newest payload is held", metrics.unclear.clone());
        r.register("commits", "Payloads given to the conductor, by what came of it", metrics.commits.clone());
        r.register("silences", "Questions to the conductor that brought no answer", metrics.silences.clone());
        metrics
    }

    fn show(&self, status: &ConductorStatus) {
        let unclear = matches!(status.tenure, Tenure::Leads { unclear: Some(_), .. });
        self.leading.set(i64::from(status.tenure.leads()));
        self.elected.set(i64::from(status.elected == Some(true)));
        self.overridden.set(i64::from(status.overridden));
        self.unclear.set(i64::from(unclear));
    }

    fn count(&self, result: CommitLabel) {
        self.commits.get_or_create(&CommitLabels { result }).inc();
    }
}

/// What the admin methods ask of the client.
#[derive(Debug)]
enum Order {
    Start { head: BlockRef, answer: oneshot::Sender<Result<(), String>> },
    Stop { answer: oneshot::Sender<()> },
    Override { on: bool, answer: oneshot::Sender<()> },
}

/// What the admin methods may ask of a running client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConductorHandle {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<ConductorStatus>,
}

/// The client has ended.
const GONE: &str = "the conductor's client has ended";

impl ConductorHandle {
    /// Begins to lead on `head`, if the conductor says that we are the leader. The heart hears it before this returns.
    ///
    /// # Errors
    /// With the reason why not.
    pub async fn start(&self, head: BlockRef) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Start { head, answer }).await.map_err(|_| GONE)?;
        answered.await.map_err(|_| GONE)?
    }

    /// Leads no more. The heart must have been told to stop, and have settled.
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn stop(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Stop { answer }).await.map_err(|_| GONE)?;
        answered.await.map_err(|_| GONE.to_owned())
    }

    /// Leaves the conductor out, or asks it again: see [`ConductorStatus::overridden`].
    ///
    /// # Errors
    /// When the client has ended.
    pub async fn override_leader(&self, on: bool) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Override { on, answer }).await.map_err(|_| GONE)?;
        answered.await.map_err(|_| GONE.to_owned())
    }

    /// The newest status.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ConductorStatus> {
        self.status.clone()
    }
}

/// One task: it alone speaks with the conductor, one call after the other.
pub struct ConductorClient {
    conductor: Arc<dyn Conductor>,
    bearing: Arc<dyn Bearing>,
    persistence: Arc<dyn Persistence>,
    heart: mpsc::Sender<Event>,
    calls: mpsc::Receiver<ConductorCall>,
    orders: mpsc::Receiver<Order>,
    status: watch::Sender<ConductorStatus>,
    metrics: ConductorMetrics,
    clock: Clock,
    /// When the conductor last told who leads.
    looked: Option<Instant>,
}

impl std::fmt::Debug for ConductorClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConductorClient").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl ConductorClient {
    /// A client of `conductor` that serves the driver's `calls` and tells it elections through `heart`. What the conductor holds is
    /// made durable in `persistence` as well, so that an engine that loses its newest blocks gets them again.
    pub fn new(
        conductor: Arc<dyn Conductor>,
        bearing: Arc<dyn Bearing>,
        persistence: Arc<dyn Persistence>,
        heart: mpsc::Sender<Event>,
        calls: mpsc::Receiver<ConductorCall>,
        clock: Clock,
        registry: &mut Registry,
    ) -> (Self, ConductorHandle) {
        let (order, orders) = mpsc::channel(ORDERS_MAX);
        let (status, watched) = watch::channel(ConductorStatus::new());
        let metrics = ConductorMetrics::register(registry);
        let client =
            Self { conductor, bearing, persistence, heart, calls, orders, status, metrics, clock, looked: None };
        (client, ConductorHandle { orders: order, status: watched })
    }

    /// Runs until the driver, which makes the calls, has ended.
    pub async fn run(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                call = self.calls.recv() => match call {
                    Some(call) => self.serve(call).await,
                    None => return,
                },
                Some(order) = self.orders.recv() => self.obey(order).await,
                _ = looks.tick() => {
                    if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
                        self.look().await;
                    }
                }
            }
        }
    }

    async fn serve(&mut self, call: ConductorCall) {
        match call {
            ConductorCall::Commit { payload, answer } => self.commit(payload, answer).await,
            ConductorCall::Head { answer } => {
                self.look().await;
                let status = self.status.borrow().clone();
                let known = match (status.tenure, status.elected) {
                    (Tenure::Leads { newest, .. }, Some(true)) => self.borne(newest).await,
                    (Tenure::Leads { .. }, _) | (Tenure::Follows, _) => Err(Failure::Retry),
                };
                // Whoever asked has a deadline of his own.
                let _ = answer.send(known);
            }
        }
    }

    /// What the conductor holds counts as far as L1 bears it: nobody else has given it anything since, and what is above is void.
    async fn borne(&self, newest: BlockRef) -> Result<Option<BlockRef>, Failure> {
        self.bearing.borne(newest).await.map(Some).map_err(|reason| {
            tracing::warn!(number = %newest.number, %reason, "what L1 bears of the conductor's chain is not known");
            Failure::Retry
        })
    }

    async fn commit(&mut self, payload: Payload, answer: oneshot::Sender<Result<(), Failure>>) {
        let block = payload.block;
        if !self.status.borrow().tenure.leads() {
            // It was sealed before we stopped leading: the conductor never gets it from us.
            let _ = answer.send(Err(Failure::Reset));
            return;
        }
        let overridden = self.status.borrow().overridden;
        let result = if overridden { Ok(()) } else { self.conductor.commit(&payload).await };
        let (word, label, told) = match &result {
            Ok(()) => (Word::Committed(block), CommitLabel::held, Ok(())),
            Err(CommitError::Refused(_)) => (Word::Refused, CommitLabel::refused, Err(Failure::Reset)),
            Err(CommitError::Unclear(_)) => (Word::Unclear(block), CommitLabel::unclear, Err(Failure::Retry)),
        };
        self.metrics.count(if overridden { CommitLabel::overridden } else { label });
        if overridden {
            tracing::warn!(number = %block.number, hash = %block.hash,
                "the leader override is on: a block is not given to the conductor");
        }
        if result.is_ok() {
            self.keep(payload).await;
        }
        self.hear(word, result.as_ref().err().map(ToString::to_string)).await;
        let _ = answer.send(told);
        match result {
            Ok(()) if overridden => {}
            // Only the leader's payloads are taken.
            Ok(()) => {
                self.looked = Some(Instant::now());
                self.status.send_modify(|status| status.elected = Some(true));
            }
            Err(error) => {
                tracing::warn!(number = %block.number, hash = %block.hash, %error, "a commit did not succeed");
                self.look().await;
            }
        }
    }

    /// Makes a committed payload durable here too. If that fails it is decided all the same.
    async fn keep(&self, payload: Payload) {
        let number = payload.block.number;
        let record = Record::Payload(payload);
        match timeout(PERSIST_MAX, self.persistence.persist(&record)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%number, %error, "a block that the conductor holds is not kept on disk"),
            Err(_) => {
                tracing::error!(%number, "a block that the conductor holds is not kept on disk: it does not answer")
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start { head, answer } => {
                let started = self.start(head).await;
                let _ = answer.send(started);
            }
            Order::Stop { answer } => {
                self.hear(Word::Stopped, None).await;
                let _ = answer.send(());
            }
            Order::Override { on, answer } => {
                self.status.send_modify(|status| status.overridden = on);
                if on {
                    tracing::error!(
                        "the leader override is ON: the conductor is not asked, and blocks are not given to it"
                    );
                } else {
                    tracing::warn!("the leader override is off: the conductor decides again");
                }
                self.look().await;
                self.metrics.show(&self.status.borrow());
                let _ = answer.send(());
            }
        }
    }

    async fn start(&mut self, head: BlockRef) -> Result<(), String> {
        self.look().await;
        let status = self.status.borrow().clone();
        match status.elected {
            Some(true) => {
                self.hear(Word::Started(head), None).await;
                self.tell(Event::Start).await;
                tracing::info!(number = %head.number, hash = %head.hash, "started: it leads");
                Ok(())
            }
            Some(false) => Err("the conductor says that this is not the leader".to_owned()),
            None => {
                let why = status.trouble.unwrap_or_default();
                Err(format!("the conductor does not say whether this is the leader: {why}"))
            }
        }
    }

    /// Asks who leads.
    async fn look(&mut self) {
        let overridden = self.status.borrow().overridden;
        let answer = if overridden { Ok(true) } else { self.conductor.leader().await };
        self.looked = Some(Instant::now());
        let (word, elected, trouble) = match answer {
            Ok(true) => (Word::WeLead, Some(true), None),
            Ok(false) => (Word::AnotherLeads, Some(false), None),
            Err(reason) => {
                self.metrics.silences.inc();
                (Word::Silent, None, Some(reason))
            }
        };
        self.status.send_modify(|status| status.elected = elected);
        self.hear(word, trouble).await;
    }

    async fn hear(&mut self, word: Word, trouble: Option<String>) {
        let (before, now) = (self.status.borrow().tenure, self.status.borrow().tenure.after(word));
        let at = self.clock.now();
        self.status.send_modify(|status| {
            status.tenure = now;
            let unclear = matches!(now, Tenure::Leads { unclear: Some(_), .. });
            status.unclear_since = unclear.then(|| status.unclear_since.unwrap_or(at));
            if trouble.is_some() || !unclear {
                status.trouble = trouble;
            }
        });
        self.metrics.show(&self.status.borrow());
        let Some(role) = before.told(now) else { return };
        if role == Role::Follower && word != Word::Stopped {
            tracing::warn!(
                "the conductor says that this is not the leader any more: no block is built until it is started again"
            );
            self.tell(Event::Stop).await;
        }
        self.tell(Event::Leadership(role)).await;
    }

    async fn tell(&self, event: Event) {
        // Without a driver nobody needs to be told; the loop ends when it has gone.
        let _ = self.heart.send(event).await;
    }
}

#[cfg(test)]
mod tests;
