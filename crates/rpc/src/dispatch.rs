//! From the text of a message to the text of its answer: batches, turns, time-outs, sizes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::message::{self, Call, ErrorObject, Message, Refused};
use crate::metrics::Metrics;
use crate::namespace::{Namespace, Peer, Sink, SubscriptionId};

/// Members of one batch that are worked on at once. They start in their order, so that transactions reach the pool in
/// the order in which they were written, and share what can be shared, such as one durable write.
const BATCH_CONCURRENCY: usize = 16;

/// The name under which every namespace gives its OpenRPC document (EIP-1901).
const DISCOVER: &str = "rpc.discover";

/// Where a message came from, and so where notifications may go.
#[derive(Clone, Copy)]
pub(crate) enum Via<'a> {
    Http,
    Socket(&'a Arc<Peer>),
}

/// What to send back, and which subscriptions may speak once it is on its way.
#[derive(Default)]
pub(crate) struct Answer {
    /// Nothing when the message held only notifications.
    pub(crate) text: Option<String>,
    pub(crate) opened: Vec<CancellationToken>,
}

impl Answer {
    /// An answer to a message that could not be read at all.
    pub(crate) fn refusal(error: ErrorObject) -> Self {
        Answer { text: Some(message::response(None, &Err(error))), opened: Vec::new() }
    }
}

/// A namespace with the transport's rules around it.
pub(crate) struct Dispatcher {
    namespace: Arc<dyn Namespace>,
    kinds: HashMap<String, Kind>,
    turns: Arc<Turns>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Metrics,
}

#[derive(Clone, Copy)]
enum Kind {
    Call,
    Subscribe,
    Unsubscribe,
    Discover,
}

type Outcome = Result<Box<RawValue>, ErrorObject>;

impl Dispatcher {
    pub(crate) fn new(namespace: Arc<dyn Namespace>, limits: Arc<Limits>, turns: Arc<Turns>, metrics: Metrics) -> Self {
        let mut kinds = HashMap::from([(DISCOVER.to_owned(), Kind::Discover)]);
        kinds.extend(namespace.methods().into_iter().map(|name| (name, Kind::Call)));
        kinds.extend(namespace.subscriptions().into_iter().map(|name| (name, Kind::Subscribe)));
        kinds.extend(namespace.unsubscribe_method().map(|name| (name, Kind::Unsubscribe)));
        Dispatcher { namespace, kinds, turns, limits, metrics }
    }

    pub(crate) async fn answer(self: &Arc<Self>, text: &[u8], via: Via<'_>) -> Answer {
        match message::read(text, self.limits.batch_calls_max) {
            Err(error) => {
                self.metrics.refused(error.code);
                Answer::refusal(error)
            }
            Ok(Message::Single(member)) => {
                let mut opened = Vec::new();
                let id = member.as_ref().map_or_else(|refused| Some(refused.id), |call| call.id.map(Some));
                let outcome = self.member(member, via, &mut opened).await;
                let text = id.map(|id| message::response(id, &self.within_size(outcome, 0).0));
                Answer { text, opened }
            }
            Ok(Message::Batch(members)) => self.batch(members, via).await,
        }
    }

    async fn batch(self: &Arc<Self>, members: Vec<Result<Call<'_>, Refused<'_>>>, via: Via<'_>) -> Answer {
        let ids: Vec<_> = members
            .iter()
            .map(|member| member.as_ref().map_or_else(|refused| Some(refused.id), |call| call.id.map(Some)))
            .collect();
        let outcomes: Vec<BoxFuture<'_, _>> = members
            .into_iter()
            .map(|member| {
                let working = async move {
                    let mut opened = Vec::new();
                    let outcome = self.member(member, via, &mut opened).await;
                    (outcome, opened)
                };
                working.boxed()
            })
            .collect();
        let mut outcomes = futures::stream::iter(outcomes).buffered(BATCH_CONCURRENCY);
        let (mut written, mut opened, mut responses) = (0, Vec::new(), Vec::new());
        for id in ids {
            let Some((outcome, gates)) = outcomes.next().await else { break };
            opened.extend(gates);
            if let Some(id) = id {
                let (outcome, size) = self.within_size(outcome, written);
                written += size;
                responses.push(message::response(id, &outcome));
            }
        }
        let text = (!responses.is_empty()).then(|| format!("[{}]", responses.join(",")));
        Answer { text, opened }
    }

    /// The outcome, unless its result would push a response that has `written` bytes over the limit.
    fn within_size(&self, outcome: Outcome, written: usize) -> (Outcome, usize) {
        let size = outcome.as_ref().map_or(0, |result| result.get().len());
        if written + size > self.limits.response_bytes_max {
            return (Err(ErrorObject::response_too_large(self.limits.response_bytes_max)), 0);
        }
        (outcome, size)
    }

    async fn member(
        self: &Arc<Self>,
        member: Result<Call<'_>, Refused<'_>>,
        via: Via<'_>,
        opened: &mut Vec<CancellationToken>,
    ) -> Outcome {
        let call = match member {
            Ok(call) => call,
            Err(refused) => {
                self.metrics.refused(refused.error.code);
                return Err(refused.error);
            }
        };
        let Some(&kind) = self.kinds.get(call.method.as_ref()) else {
            self.metrics.refused(-32601);
            return Err(ErrorObject::method_not_found(format!("{} is not a method of this endpoint", call.method)));
        };
        let started = Instant::now();
        let outcome = match kind {
            Kind::Discover => Ok(self.discover()),
            Kind::Call => self.call(&call).await,
            Kind::Subscribe => self.subscribe(&call, via, opened).await,
            Kind::Unsubscribe => self.unsubscribe(&call, via),
        };
        self.metrics.answered(&call.method, started.elapsed(), outcome.as_ref().err().map(|error| error.code));
        outcome
    }

    fn discover(&self) -> Box<RawValue> {
        self.namespace.openrpc().unwrap_or_else(|| RawValue::NULL.to_owned())
    }

    /// Runs the call as a task of its own, so that a client that hangs up does not cut a write in half, and so that a
    /// panic stays inside. The turn is kept until the task ends, also when the answer was given up.
    async fn call(&self, call: &Call<'_>) -> Outcome {
        let namespace = Arc::clone(&self.namespace);
        let (method, params) = (call.method.clone().into_owned(), call.params.map(RawValue::to_owned));
        let within = self.limits.request_timeout;
        let worked = tokio::time::timeout(within, async {
            let turn = self.turns.take().await?;
            let task = tokio::spawn(async move {
                let outcome = namespace.call(&method, params.as_deref()).await;
                drop(turn);
                outcome
            });
            task.await.unwrap_or_else(|ended| {
                tracing::error!(reason = %ended, method = %call.method, "a call ended by panic");
                Err(ErrorObject::internal("the call failed in an unforeseen way; the log has the details"))
            })
        });
        match worked.await {
            Ok(outcome) => outcome,
            Err(_) => Err(ErrorObject::timed_out(format!("no result within {} s", within.as_secs_f64()))),
        }
    }

    async fn subscribe(&self, call: &Call<'_>, via: Via<'_>, opened: &mut Vec<CancellationToken>) -> Outcome {
        let Via::Socket(peer) = via else {
            let reason = format!("{} needs a WebSocket connection", call.method);
            return Err(ErrorObject::method_not_found(reason));
        };
        let limit = self.limits.subscriptions_max;
        let Ok(permit) = Arc::clone(&peer.permits).try_acquire_owned() else {
            return Err(ErrorObject::too_many_subscriptions(limit));
        };
        let sink = Sink::open(peer, permit);
        let subscribing = self.namespace.subscribe(&call.method, call.params, sink.clone());
        let id = match tokio::time::timeout(self.limits.request_timeout, subscribing).await {
            Ok(id) => id?,
            Err(_) => return Err(ErrorObject::timed_out("the subscription could not be opened in time")),
        };
        opened.push(sink.enter(&id));
        id.result()
    }

    fn unsubscribe(&self, call: &Call<'_>, via: Via<'_>) -> Outcome {
        let Via::Socket(peer) = via else {
            return Err(ErrorObject::method_not_found(format!("{} needs a WebSocket connection", call.method)));
        };
        let id = SubscriptionId::from_params(call.params)?;
        if !peer.unsubscribe(&id) {
            return Err(self.namespace.unknown_subscription());
        }
        to_raw_value(&true).map_err(ErrorObject::internal)
    }
}

/// Turns to work on a call, shared by all mounts: so many at once, as many again waiting, the rest sent away.
pub(crate) struct Turns {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Turns {
    pub(crate) fn new(concurrent_max: usize) -> Self {
        let running = Arc::new(Semaphore::new(concurrent_max.min(Semaphore::MAX_PERMITS)));
        Turns { running, waiting: AtomicUsize::new(0), waiting_max: concurrent_max }
    }

    async fn take(&self) -> Result<OwnedSemaphorePermit, ErrorObject> {
        if let Ok(turn) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting, self.waiting_max).ok_or_else(ErrorObject::busy)?;
        Arc::clone(&self.running).acquire_owned().await.map_err(ErrorObject::internal)
    }
}

/// A place in the queue for a turn, given back when the wait ends or is given up.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, limit: usize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= limit {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
