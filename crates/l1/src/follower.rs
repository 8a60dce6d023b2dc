//! The task that keeps [`Chain`] up to date and shows it to everyone.
//!
//! It never waits for one answer: every call runs by itself, and whatever comes first is heard first. An endpoint that
//! hangs therefore delays nothing but itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::chain::{Chain, ChainConfig, EndpointId, Outcome, Wanted};
use crate::sources::{ReadError, Sources};
use crate::verify::{At, Header, Tag};
use crate::view::{L1View, News};

/// Headers fetched at once where many are missing.
const FETCHED_AT_ONCE: u64 = 16;
/// How long the first heads of all endpoints are waited for, so that the first one is not simply that of the fastest
/// liar.
const FIRST_HEADS: Duration = Duration::from_secs(2);
/// The first and the longest pause after a block could not be fetched.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How often heads are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerConfig {
    /// Between two looks at the newest block. Default 4 s: a third of Ethereum's slot.
    pub latest_every: Duration,
    /// Between two looks at the safe and finalized blocks. Default 24 s; they move every 32 slots.
    pub final_every: Duration,
    /// How much is kept.
    pub chain: ChainConfig,
}

impl Default for FollowerConfig {
    fn default() -> Self {
        Self {
            latest_every: Duration::from_secs(4),
            final_every: Duration::from_secs(24),
            chain: ChainConfig::default(),
        }
    }
}

/// Follows L1.
#[derive(Debug)]
pub struct Follower {
    sources: Sources,
    config: FollowerConfig,
    chain: Chain,
    view: watch::Sender<L1View>,
    calls: JoinSet<Answer>,
    /// Looks that are not answered yet.
    looking: BTreeSet<(Tag, EndpointId)>,
    /// The block that is being fetched.
    fetching: Option<B256>,
    /// Blocks fetched ahead of being wanted.
    fetched: HashMap<B256, Arc<Header>>,
    pause: Duration,
    retry_at: Option<Instant>,
}

/// What a call brought.
#[derive(Debug)]
enum Answer {
    Head(Tag, EndpointId, Result<Option<Header>, ReadError>),
    Fetched(Result<Option<Header>, ReadError>, Vec<Header>),
}

impl Follower {
    /// Knows nothing before it runs. The view is for everyone: clone it.
    pub fn new(sources: Sources, config: FollowerConfig) -> (Self, watch::Receiver<L1View>) {
        let (view, shown) = watch::channel(L1View::default());
        let follower = Self {
            sources,
            config,
            chain: Chain::new(config.chain),
            view,
            calls: JoinSet::new(),
            looking: BTreeSet::new(),
            fetching: None,
            fetched: HashMap::new(),
            pause: PAUSES.0,
            retry_at: None,
        };
        (follower, shown)
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = self.first_heads() => {}
        }
        let mut latest = ticks(self.config.latest_every);
        let mut finals = ticks(self.config.final_every);
        loop {
            let retry_at = self.retry_at;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(answer) = self.calls.join_next() => match answer {
                    Ok(answer) => self.hear(answer),
                    Err(error) => self.lost(&error),
                },
                _ = latest.tick() => self.look(Tag::Latest),
                _ = finals.tick() => {
                    self.look(Tag::Safe);
                    self.look(Tag::Finalized);
                }
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => self.retry_at = None,
            }
            self.go_on();
        }
    }

    /// The first head is believed; where there are several endpoints, the one in the middle is the first.
    async fn first_heads(&mut self) {
        let ask = |id| {
            let sources = self.sources.clone();
            async move { timeout(FIRST_HEADS, sources.poll(id, Tag::Latest)).await.ok().and_then(Result::ok).flatten() }
        };
        let asked: Vec<EndpointId> = self.sources.ids().collect();
        let answers = join_all(asked.iter().map(|id| ask(*id))).await;
        let mut heads: Vec<_> =
            asked.into_iter().zip(answers).filter_map(|(id, head)| head.map(|head| (id, Arc::new(head)))).collect();
        heads.sort_by_key(|(id, head)| (head.number, *id));
        let middle = heads.len() / 2;
        heads.rotate_left(middle);
        for (id, head) in heads {
            let outcome = self.chain.hear_latest(id, head);
            self.tell(outcome);
        }
        self.go_on();
    }

    /// Asks every endpoint that is not being asked already.
    fn look(&mut self, tag: Tag) {
        for id in self.sources.ids() {
            if !self.looking.insert((tag, id)) {
                continue;
            }
            let sources = self.sources.clone();
            self.calls.spawn(async move { Answer::Head(tag, id, sources.poll(id, tag).await) });
        }
    }

    fn hear(&mut self, answer: Answer) {
        match answer {
            Answer::Head(tag, id, answer) => {
                self.looking.remove(&(tag, id));
                self.hear_head(tag, id, answer);
            }
            Answer::Fetched(answer, more) => {
                let ahead = more.into_iter().map(|header| (header.hash(), Arc::new(header)));
                self.fetched.extend(ahead);
                self.hear_fetched(answer);
            }
        }
    }

    fn hear_head(&mut self, tag: Tag, id: EndpointId, answer: Result<Option<Header>, ReadError>) {
        if let Err(error) = &answer {
            debug!(%error, tag = tag.as_str(), "no L1 head");
        }
        let header = answer.ok().flatten().map(Arc::new);
        let outcome = match (tag, header) {
            (Tag::Latest, Some(header)) => self.chain.hear_latest(id, header),
            (Tag::Latest, None) => {
                self.chain.hear_nothing(id);
                return;
            }
            (Tag::Safe, header) => self.chain.hear_safe(id, header),
            (Tag::Finalized, header) => self.chain.hear_finalized(id, header),
        };
        self.tell(outcome);
    }

    fn hear_fetched(&mut self, answer: Result<Option<Header>, ReadError>) {
        let Some(asked) = self.fetching.take() else { return };
        match answer {
            Ok(header) => {
                self.pause = PAUSES.0;
                let outcome = self.chain.hear_block(asked, header.map(Arc::new));
                self.tell(outcome);
            }
            Err(error) => {
                debug!(%error, %asked, "an L1 block could not be fetched");
                self.retry_at = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSES.1);
            }
        }
    }

    /// Uses what was fetched ahead, and fetches what is missing.
    fn go_on(&mut self) {
        while self.fetching.is_none() && self.retry_at.is_none() {
            let Some(wanted) = self.chain.wanted() else {
                self.fetched.clear();
                return;
            };
            match self.fetched.remove(&wanted.hash) {
                Some(header) => {
                    let outcome = self.chain.hear_block(wanted.hash, Some(header));
                    self.tell(outcome);
                }
                None => self.fetch(wanted),
            }
        }
    }

    fn fetch(&mut self, wanted: Wanted) {
        self.fetched.clear();
        self.fetching = Some(wanted.hash);
        let sources = self.sources.clone();
        self.calls.spawn(async move {
            let lowest = wanted.number.saturating_sub(wanted.more.min(FETCHED_AT_ONCE - 1));
            // By height, those below may turn out to be of another branch: then they are of no use, and do no harm.
            let below = (lowest..wanted.number).map(|number| sources.header_from(wanted.from, At::Number(number)));
            let wanted = sources.header_from(wanted.from, At::Hash(wanted.hash));
            let (wanted, below) = tokio::join!(wanted, join_all(below));
            Answer::Fetched(wanted, below.into_iter().filter_map(|header| header.ok().flatten()).collect())
        });
    }

    fn tell(&mut self, outcome: Outcome) {
        for (id, objection) in outcome.objections {
            warn!(endpoint = id.0, %objection, "an L1 endpoint's claim is refused");
            self.sources.object(id, objection);
        }
        for news in &outcome.news {
            match news {
                News::Advanced(header) => debug!(number = header.number, hash = %header.hash(), "L1 advanced"),
                News::Reorged { from, to, depth } => info!(%from, %to, depth, "L1 reorganised"),
                News::Skipped { from, to } => warn!(%from, %to, "the link between two L1 heads is lost"),
                News::Safe(header) => debug!(number = header.number, "L1 block is safe"),
                News::Finalized(header) => debug!(number = header.number, "L1 block is final"),
            }
        }
        if let Some(head) = self.chain.view().latest() {
            self.sources.note_followed(head.number);
        }
        self.view.send_if_modified(|shown| {
            let view = self.chain.view();
            let changed = !shown.is_same(&view);
            *shown = view;
            changed
        });
    }

    /// A call ended in a panic: whatever it was is asked for anew.
    fn lost(&mut self, error: &tokio::task::JoinError) {
        warn!(%error, "a call to L1 was lost");
        self.looking.clear();
        self.fetching = None;
        self.retry_at = Some(Instant::now() + self.pause);
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
