//! Several L1 endpoints as one: the first good answer wins, and an endpoint that misbehaves is left alone for a while.
//!
//! A read goes to the endpoint that stands first: healthy before ailing, level with the newest head before lagging,
//! then in the order of the configuration. When it has not answered within a delay that follows its usual pace, the
//! next one is asked too. That an L1 block does not exist is believed once two endpoints say so, or the only one that
//! can be asked.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::breaker::{Breaker, BreakerConfig, BreakerState, Severity};
use crate::chain::{EndpointId, Objection};
use crate::source::{Fault, Source, SourceError};
use crate::verify::{At, Block, Header, Receipt, Tag};

/// Events that wait for a slow listener; beyond that it misses the oldest.
const EVENTS_MAX: usize = 256;
/// Heights whose hashes are compared between endpoints.
const HEIGHTS_COMPARED: usize = 64;
/// How often receipts that are not there yet are asked for, and the first pause between; each is twice the one before.
const RECEIPTS_TRIES: u32 = 5;
const RECEIPTS_PAUSE: Duration = Duration::from_millis(100);
/// The delay before a second endpoint is asked, while the pace of the first is not known.
const UNKNOWN_PACE: Duration = Duration::from_millis(500);

/// How endpoints are used together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcesConfig {
    /// The shortest and longest delay before the next endpoint is asked too. Default 50 ms to 2 s.
    pub hedge_after: (Duration, Duration),
    /// Calls to one endpoint at the same time; more wait. Default 16.
    pub calls_max: usize,
    /// Blocks that an endpoint may be behind the newest head and still be asked first. Default 2.
    pub lag_max: u64,
    /// When an endpoint is left alone.
    pub breaker: BreakerConfig,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self {
            hedge_after: (Duration::from_millis(50), Duration::from_secs(2)),
            calls_max: 16,
            lag_max: 2,
            breaker: BreakerConfig::default(),
        }
    }
}

/// What is read, for those who measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A header.
    Header,
    /// A block with its transactions.
    Block,
    /// The receipts of a block.
    Receipts,
    /// A word of storage, or the chain's id.
    Word,
}

/// What came of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// A good answer.
    Answered,
    /// It says that there is no such block.
    Absent,
    /// Another endpoint was faster.
    Overtaken,
    /// No answer, or none that can be used.
    Failed,
    /// An answer that cannot be true.
    False,
}

/// One call, told to the observer when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Who was asked.
    pub endpoint: EndpointId,
    /// For what.
    pub kind: Kind,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub outcome: CallOutcome,
}

/// Hears of every call. Must return at once.
pub type Observer = Arc<dyn Fn(Call) + Send + Sync>;

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// Two endpoints have different blocks at one height: L1 is reorganising, or one of them is wrong.
    Disagreement {
        /// The height.
        number: u64,
        /// One endpoint and its block.
        one: (EndpointId, B256),
        /// Another and its.
        other: (EndpointId, B256),
    },
    /// An endpoint is left alone for a while.
    LeftAlone {
        /// Which.
        endpoint: EndpointId,
        /// The last thing that it did wrong.
        reason: String,
    },
    /// An endpoint is asked again.
    Back(EndpointId),
    /// An endpoint's claim about the chain was refused.
    Refused(EndpointId, Objection),
}

/// How one endpoint does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Which.
    pub endpoint: EndpointId,
    /// Host and port.
    pub name: Arc<str>,
    /// Is it asked?
    pub breaker: BreakerState,
    /// Its newest block.
    pub head: Option<u64>,
    /// How many blocks it is behind the head that is followed, or, before there is one, behind the newest that was
    /// told.
    pub lag: Option<u64>,
    /// How long it usually takes to answer with a header.
    pub pace: Option<Duration>,
    /// How long ago it gave its last good answer; `None` before the first.
    pub silent_for: Option<Duration>,
    /// Good answers, absent blocks among them.
    pub answered: u64,
    /// Calls that brought nothing.
    pub failed: u64,
    /// Calls in which another endpoint was faster.
    pub overtaken: u64,
    /// Answers that could not be true, and claims that were refused.
    pub falsehoods: u64,
    /// The last thing that it did wrong.
    pub last_error: Option<String>,
}

/// A read that brought nothing. Ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// All endpoints are being left alone.
    #[error("no L1 endpoint can be asked now: {}; it will be tried again", .0.join("; "))]
    AllResting(Vec<String>),
    /// None of those asked answered well.
    #[error("no L1 endpoint answered: {}", words(.0))]
    Failed(Vec<SourceError>),
    /// One says that there is no such block, and the others do not answer.
    #[error("one L1 endpoint says that there is no such block, and nobody confirms it: {}", words(.0))]
    Unconfirmed(Vec<SourceError>),
}

fn words(errors: &[SourceError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// All endpoints. Cheap to clone.
#[derive(Clone)]
pub struct Sources(Arc<Inner>);

struct Inner {
    config: SourcesConfig,
    endpoints: Vec<Endpoint>,
    /// The head that is linked and believed; 0 before there is one.
    followed: AtomicU64,
    seen: Mutex<BTreeMap<u64, BTreeMap<EndpointId, B256>>>,
    events: broadcast::Sender<SourceEvent>,
    observer: Option<Observer>,
}

struct Endpoint {
    source: Source,
    calls: Semaphore,
    state: Mutex<State>,
}

struct State {
    breaker: Breaker,
    pace: BTreeMap<Kind, Pace>,
    head: Option<u64>,
    answered_at: Option<Instant>,
    answered: u64,
    failed: u64,
    overtaken: u64,
    falsehoods: u64,
    last_error: Option<String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.endpoints.iter().map(|endpoint| &endpoint.source)).finish()
    }
}

impl Sources {
    /// These endpoints, the preferred first.
    pub fn new(sources: Vec<Source>, config: SourcesConfig, observer: Option<Observer>) -> Self {
        let endpoint = |source| Endpoint {
            source,
            calls: Semaphore::new(config.calls_max.max(1)),
            state: Mutex::new(State::new(config.breaker)),
        };
        let endpoints = sources.into_iter().map(endpoint).collect();
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let followed = AtomicU64::new(0);
        Self(Arc::new(Inner { config, endpoints, followed, seen: Mutex::default(), events, observer }))
    }

    /// Every endpoint.
    pub fn ids(&self) -> impl Iterator<Item = EndpointId> + use<> {
        (0..self.0.endpoints.len()).map(EndpointId)
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<SourceEvent> {
        self.0.events.subscribe()
    }

    /// How every endpoint does.
    pub fn status(&self) -> Vec<EndpointStatus> {
        let best = self.best_head();
        let status = |(index, endpoint): (usize, &Endpoint)| {
            endpoint.state.lock().status(EndpointId(index), endpoint.source.name(), best)
        };
        self.0.endpoints.iter().enumerate().map(status).collect()
    }

    /// A header; `None` if there is no such block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn header(&self, at: At) -> Result<Option<Header>, ReadError> {
        self.header_from(None, at).await
    }

    /// As [`Sources::header`], and asks this endpoint first if it may be asked.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn header_from(&self, first: Option<EndpointId>, at: At) -> Result<Option<Header>, ReadError> {
        self.first_good(Kind::Header, first, |source| async move { source.header(at).await }).await
    }

    /// A block with its transactions; `None` if there is no such block.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn block(&self, at: At) -> Result<Option<Block>, ReadError> {
        self.first_good(Kind::Block, None, |source| async move { source.block(at).await }).await
    }

    /// The receipts of the block with this header. Those of a very new block may take a moment to be there: they are
    /// waited for.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn receipts(&self, header: &Header) -> Result<Vec<Receipt>, ReadError> {
        let mut pause = RECEIPTS_PAUSE;
        let mut tries_left = RECEIPTS_TRIES;
        loop {
            tries_left -= 1;
            let read = |source: Source| async move { source.receipts(header).await };
            match self.first_some(Kind::Receipts, read).await {
                Err(ReadError::Failed(errors)) if tries_left > 0 && errors.iter().any(is_not_yet) => {
                    sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
    }

    /// A word of an account's storage after the block with this hash. It is as true as the endpoint that answers.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn storage(&self, account: Address, slot: B256, block: B256) -> Result<B256, ReadError> {
        let read = |source: Source| async move { source.storage(account, slot, block).await };
        self.first_some(Kind::Word, read).await
    }

    /// Which chain each endpoint serves: to be looked at once, at the start.
    pub async fn chain_ids(&self) -> Vec<(EndpointId, Result<u64, SourceError>)> {
        let ask = |(index, endpoint): (usize, &Endpoint)| {
            let source = endpoint.source.clone();
            async move { (EndpointId(index), source.chain_id().await) }
        };
        futures::future::join_all(self.0.endpoints.iter().enumerate().map(ask)).await
    }

    /// Asks one endpoint for a head; `None` if it has none, and nothing at all while it is left alone.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn poll(&self, id: EndpointId, tag: Tag) -> Result<Option<Header>, ReadError> {
        let Some(endpoint) = self.0.endpoints.get(id.0) else { return Err(ReadError::AllResting(Vec::new())) };
        if !endpoint.state.lock().breaker.admit(Instant::now()) {
            return Err(ReadError::AllResting(vec![self.why_resting(id)]));
        }
        let (began, answer) = self.call(id, |source| async move { source.header(At::Tag(tag)).await }).await;
        let read = self.note(id, Kind::Header, began, answer);
        if let (Ok(Some(header)), Tag::Latest) = (&read, tag) {
            self.note_head(id, header);
        }
        read.map_err(|error| ReadError::Failed(vec![error]))
    }

    /// The head of the chain that is followed is at this height: endpoints are measured by it.
    pub(crate) fn note_followed(&self, number: u64) {
        self.0.followed.store(number, Ordering::Relaxed);
    }

    /// A claim of this endpoint was refused.
    pub(crate) fn object(&self, id: EndpointId, objection: Objection) {
        let severity = match objection {
            Objection::LeavesOutFinalized { .. } | Objection::Heights { .. } => Severity::False,
            // It may have left that head for another while the way down was asked for: then nobody has the ancestors any more.
            Objection::Unlinked { .. } => Severity::Failed,
            // Which of the two is wrong, the label or the head that is believed, is not known.
            Objection::NotOnChain { .. } => Severity::Slow,
        };
        let _ = self.0.events.send(SourceEvent::Refused(id, objection));
        self.count_fault(id, severity, objection.to_string());
    }

    /// As [`Self::first_good`], where there always is an answer.
    async fn first_some<T, F>(&self, kind: Kind, read: impl Fn(Source) -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let read = |source| {
            let answer = read(source);
            async move { answer.await.map(Some) }
        };
        // `None` is never made above; were it, it would be no answer.
        self.first_good(kind, None, read).await?.ok_or_else(|| ReadError::Failed(Vec::new()))
    }

    /// Asks one endpoint after the other, as the module says.
    async fn first_good<T, F>(
        &self,
        kind: Kind,
        first: Option<EndpointId>,
        read: impl Fn(Source) -> F,
    ) -> Result<Option<T>, ReadError>
    where
        F: Future<Output = Result<Option<T>, SourceError>>,
    {
        let order = self.order(first);
        if order.is_empty() {
            return Err(ReadError::AllResting(self.ids().map(|id| self.why_resting(id)).collect()));
        }
        let read = &read;
        let mut next = order.into_iter();
        let mut running = FuturesUnordered::new();
        let (mut absent, mut errors) = (0, Vec::new());
        let mut asked = Vec::new();
        let mut ask_another = true;
        loop {
            if ask_another {
                let id = next.by_ref().find(|id| self.admit(*id));
                if let Some(id) = id {
                    asked.push((id, Instant::now()));
                    running.push(async move { (id, self.call(id, read).await) });
                }
            }
            let Some((last, _)) = asked.last() else { break };
            let delay = self.delay(*last, kind);
            ask_another = tokio::select! {
                biased;
                Some((id, (began, answer))) = running.next() => match self.note(id, kind, began, answer) {
                    Ok(Some(good)) => {
                        self.note_overtaken(kind, id, &asked);
                        return Ok(Some(good));
                    }
                    Ok(None) => {
                        absent += 1;
                        asked.retain(|(other, _)| *other != id);
                        if absent >= 2 {
                            return Ok(None);
                        }
                        true
                    }
                    Err(error) => {
                        asked.retain(|(other, _)| *other != id);
                        errors.push(error);
                        true
                    }
                },
                () = sleep(delay), if next.len() > 0 && !running.is_empty() => true,
                else => break,
            };
        }
        match (absent, errors.is_empty()) {
            (0, _) => Err(ReadError::Failed(errors)),
            (_, true) => Ok(None),
            (_, false) => Err(ReadError::Unconfirmed(errors)),
        }
    }

    async fn call<T, F>(&self, id: EndpointId, read: impl Fn(Source) -> F) -> (Instant, Result<Option<T>, SourceError>)
    where
        F: Future<Output = Result<Option<T>, SourceError>>,
    {
        let endpoint = &self.0.endpoints[id.0];
        // Never closed. To wait for a turn is no fault of the endpoint: its time begins afterwards.
        let _turn = endpoint.calls.acquire().await;
        (Instant::now(), read(endpoint.source.clone()).await)
    }

    /// Who may be asked, the best first.
    fn order(&self, first: Option<EndpointId>) -> Vec<EndpointId> {
        let (now, best) = (Instant::now(), self.best_head());
        let rank = |id: EndpointId| {
            let state = self.0.endpoints[id.0].state.lock();
            let behind =
                state.head.zip(best).is_some_and(|(head, best)| best.saturating_sub(head) > self.0.config.lag_max);
            let ailing = state.breaker.state() != BreakerState::Closed;
            state.breaker.would_admit(now).then_some((ailing, first != Some(id), behind, id))
        };
        let mut ranked: Vec<_> = self.ids().filter_map(rank).collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(.., id)| id).collect()
    }

    fn admit(&self, id: EndpointId) -> bool {
        self.0.endpoints[id.0].state.lock().breaker.admit(Instant::now())
    }

    /// The head that is followed, so that nobody looks fresh by a false one; without a follower the highest that was
    /// told.
    fn best_head(&self) -> Option<u64> {
        let followed = self.0.followed.load(Ordering::Relaxed);
        if followed > 0 {
            return Some(followed);
        }
        self.0.endpoints.iter().filter_map(|endpoint| endpoint.state.lock().head).max()
    }

    fn delay(&self, id: EndpointId, kind: Kind) -> Duration {
        let (min, max) = self.0.config.hedge_after;
        let pace = self.0.endpoints[id.0].state.lock().pace.get(&kind).map_or(UNKNOWN_PACE, Pace::patience);
        pace.clamp(min, max.max(min))
    }

    fn why_resting(&self, id: EndpointId) -> String {
        let endpoint = &self.0.endpoints[id.0];
        let reason = endpoint.state.lock().last_error.clone();
        reason.unwrap_or_else(|| format!("L1 endpoint {} is being tried", endpoint.source.name()))
    }

    /// Keeps account of an answer.
    fn note<T>(
        &self,
        id: EndpointId,
        kind: Kind,
        began: Instant,
        answer: Result<Option<T>, SourceError>,
    ) -> Result<Option<T>, SourceError> {
        let took = began.elapsed();
        let outcome = match &answer {
            Ok(found) => {
                self.count_answer(id, kind, took);
                if found.is_some() { CallOutcome::Answered } else { CallOutcome::Absent }
            }
            Err(error) => {
                let severity = severity(&error.fault);
                self.count_fault(id, severity, error.to_string());
                if severity == Severity::False { CallOutcome::False } else { CallOutcome::Failed }
            }
        };
        self.observe(Call { endpoint: id, kind, took, outcome });
        answer
    }

    fn count_answer(&self, id: EndpointId, kind: Kind, took: Duration) {
        let mut state = self.0.endpoints[id.0].state.lock();
        let before = state.breaker.state();
        state.breaker.succeeded();
        state.answered += 1;
        state.answered_at = Some(Instant::now());
        state.pace.entry(kind).and_modify(|pace| pace.note(took)).or_insert_with(|| Pace::begin(took));
        let back = before != BreakerState::Closed && state.breaker.state() == BreakerState::Closed;
        drop(state);
        if back {
            info!(endpoint = %self.0.endpoints[id.0].source.name(), "L1 endpoint answers again");
            let _ = self.0.events.send(SourceEvent::Back(id));
        }
    }

    fn count_fault(&self, id: EndpointId, severity: Severity, reason: String) {
        let Some(endpoint) = self.0.endpoints.get(id.0) else { return };
        let mut state = endpoint.state.lock();
        let before = state.breaker.state();
        state.breaker.failed(Instant::now(), severity);
        match severity {
            Severity::Slow | Severity::Failed => state.failed += 1,
            Severity::False => state.falsehoods += 1,
        }
        state.last_error = Some(reason.clone());
        let opened = before != BreakerState::Open && state.breaker.state() == BreakerState::Open;
        drop(state);
        debug!(%reason, "L1 endpoint at fault");
        if opened {
            warn!(endpoint = %endpoint.source.name(), %reason, "L1 endpoint is left alone for a while");
            let _ = self.0.events.send(SourceEvent::LeftAlone { endpoint: id, reason });
        }
    }

    /// Those who were asked before the winner and have not answered.
    fn note_overtaken(&self, kind: Kind, winner: EndpointId, asked: &[(EndpointId, Instant)]) {
        let before = asked.iter().take_while(|(id, _)| *id != winner);
        for (id, began) in before {
            let took = began.elapsed();
            let mut state = self.0.endpoints[id.0].state.lock();
            state.overtaken += 1;
            let was = state.breaker.state();
            state.breaker.failed(Instant::now(), Severity::Slow);
            let opened = was != BreakerState::Open && state.breaker.state() == BreakerState::Open;
            let reason = format!("L1 endpoint {}: others answer sooner", self.0.endpoints[id.0].source.name());
            state.last_error = Some(reason.clone());
            drop(state);
            self.observe(Call { endpoint: *id, kind, took, outcome: CallOutcome::Overtaken });
            if opened {
                let _ = self.0.events.send(SourceEvent::LeftAlone { endpoint: *id, reason });
            }
        }
    }

    fn note_head(&self, id: EndpointId, header: &Header) {
        let (number, hash) = (header.number, header.hash());
        self.0.endpoints[id.0].state.lock().head = Some(number);
        let mut seen = self.0.seen.lock();
        let here = seen.entry(number).or_default();
        let news = here.insert(id, hash) != Some(hash);
        let other = here.iter().find(|(_, other)| **other != hash).map(|(id, hash)| (*id, *hash));
        while seen.len() > HEIGHTS_COMPARED {
            seen.pop_first();
        }
        drop(seen);
        if let Some(other) = other.filter(|_| news) {
            warn!(number, %hash, other = %other.1, "L1 endpoints have different blocks at one height");
            let _ = self.0.events.send(SourceEvent::Disagreement { number, one: (id, hash), other });
        }
    }

    fn observe(&self, call: Call) {
        if let Some(observer) = &self.0.observer {
            observer(call);
        }
    }
}

fn is_not_yet(error: &SourceError) -> bool {
    matches!(error.fault, Fault::NotYet(_))
}

fn severity(fault: &Fault) -> Severity {
    match fault {
        Fault::Lie(_) => Severity::False,
        Fault::NotYet(_) => Severity::Slow,
        Fault::Unreachable(_)
        | Fault::Deadline(_)
        | Fault::Status(_)
        | Fault::TooLong(_)
        | Fault::Garbled(_)
        | Fault::Refused { .. } => Severity::Failed,
    }
}

impl State {
    fn new(breaker: BreakerConfig) -> Self {
        Self {
            breaker: Breaker::new(breaker),
            pace: BTreeMap::new(),
            head: None,
            answered_at: None,
            answered: 0,
            failed: 0,
            overtaken: 0,
            falsehoods: 0,
            last_error: None,
        }
    }

    fn status(&self, endpoint: EndpointId, name: &Arc<str>, best: Option<u64>) -> EndpointStatus {
        EndpointStatus {
            endpoint,
            name: Arc::clone(name),
            breaker: self.breaker.state(),
            head: self.head,
            lag: self.head.zip(best).map(|(head, best)| best.saturating_sub(head)),
            pace: self.pace.get(&Kind::Header).map(|pace| pace.mean),
            silent_for: self.answered_at.map(|at| at.elapsed()),
            answered: self.answered,
            failed: self.failed,
            overtaken: self.overtaken,
            falsehoods: self.falsehoods,
            last_error: self.last_error.clone(),
        }
    }
}

/// How long answers take: a moving mean, and how far they stray from it (RFC 6298, section 2).
#[derive(Clone, Copy, Debug)]
struct Pace {
    mean: Duration,
    stray: Duration,
}

impl Pace {
    fn begin(took: Duration) -> Self {
        Self { mean: took, stray: took / 2 }
    }

    fn note(&mut self, took: Duration) {
        self.stray = (self.stray * 3 + self.mean.abs_diff(took)) / 4;
        self.mean = (self.mean * 7 + took) / 8;
    }

    /// Who takes longer than this is unusually slow.
    fn patience(&self) -> Duration {
        self.mean + self.stray * 4
    }
}
