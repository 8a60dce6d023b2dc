//! Outside calls: made one at a time and in order where order matters, each with a deadline, each answered.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sequencer::origin::Lookup;
use sequencer::{Event, QueryId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use types::{Announcement, Attributes, BlockNumber, BlockRef, BuildId, Failure, Heads, Payload};

use crate::driver::{Deadlines, Outgoing};
use crate::{Backend, BackendError, L1Origins, Persistence, Sealed};

/// What the heart hears, with the reason of a failure for people.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) event: Event,
    pub(crate) trouble: Option<String>,
}

/// A call to the backend.
#[derive(Debug)]
pub(crate) enum Order {
    Open(BuildId, Attributes),
    Seal(BuildId),
    Cancel(BuildId),
    Import(Payload),
    SetHeads(Heads),
    AskHeads(QueryId),
    AskOrigin(QueryId, BlockRef),
}

impl Order {
    /// Whether an event answers it.
    pub(crate) const fn is_answered(&self) -> bool {
        !matches!(self, Self::Cancel(_))
    }

    /// The answer when the call was not made, or not well.
    pub(crate) fn failed(&self, failure: Failure, reason: &str) -> Answer {
        let (what, event) = match self {
            Self::Open(build, attributes) => (
                format!("opening a block on block {}", attributes.parent.number),
                Event::OpenFailed { build: *build, failure },
            ),
            Self::Seal(build) => (format!("sealing build {build}"), Event::SealFailed { build: *build, failure }),
            Self::Cancel(build) => (format!("cancelling build {build}"), Event::Wake),
            Self::Import(payload) => (
                format!("importing block {}", payload.block.number),
                Event::ImportFailed { block: payload.block.hash, failure },
            ),
            Self::SetHeads(heads) => (
                format!("making block {} the head", heads.unsafe_head().number),
                Event::SetHeadsFailed { block: heads.unsafe_head().hash, failure },
            ),
            Self::AskHeads(query) => {
                ("asking where the chain stands".to_owned(), Event::AskFailed { query: *query, failure })
            }
            Self::AskOrigin(query, block) => (
                format!("asking which L1 block is cited by block {}", block.number),
                Event::AskFailed { query: *query, failure },
            ),
        };
        Answer { event, trouble: Some(format!("{what}: {reason}")) }
    }
}

/// Calls the backend, one order after the other, until there will be no more. Says of each that it is done, and the answer if it has one.
pub(crate) async fn call_backend(
    backend: Arc<dyn Backend>,
    deadlines: Deadlines,
    mut orders: mpsc::Receiver<Order>,
    answers: mpsc::Sender<Option<Answer>>,
) {
    while let Some(order) = orders.recv().await {
        let answer = call(&*backend, &deadlines, &order).await;
        if answers.send(order.is_answered().then_some(answer)).await.is_err() {
            return;
        }
    }
}

async fn call(backend: &dyn Backend, deadlines: &Deadlines, order: &Order) -> Answer {
    let limit = deadlines.of(order);
    let result = match order {
        Order::Open(build, attributes) => {
            let opened = bounded(limit, backend.open(*build, *attributes)).await;
            opened.map(|()| Event::Opened { build: *build })
        }
        Order::Seal(build) => bounded(limit, backend.seal(*build)).await.map(|sealed| match sealed {
            Sealed::Payload(payload) => Event::Sealed { build: *build, payload },
            Sealed::Nothing => Event::NothingToSeal { build: *build },
        }),
        Order::Cancel(build) => {
            bounded(limit, async {
                backend.cancel(*build).await;
                Ok(Event::Wake)
            })
            .await
        }
        Order::Import(payload) => {
            let block = payload.block.hash;
            bounded(limit, backend.import(payload)).await.map(|verdict| Event::Imported { block, verdict })
        }
        Order::SetHeads(heads) => {
            let block = heads.unsafe_head().hash;
            bounded(limit, backend.set_heads(*heads)).await.map(|()| Event::HeadsSet { block })
        }
        Order::AskHeads(query) => {
            bounded(limit, backend.heads()).await.map(|heads| Event::HeadsTold { query: *query, heads })
        }
        Order::AskOrigin(query, block) => {
            let told = bounded(limit, backend.origin_of(*block)).await;
            if told == Ok(None) {
                let reason = "it cites none, or the chain cannot tell; no block can be built on it";
                return Answer {
                    event: Event::OriginTold { query: *query, origin: None },
                    ..order.failed(Failure::Retry, reason)
                };
            }
            told.map(|origin| Event::OriginTold { query: *query, origin })
        }
    };
    match result {
        Ok(event) => Answer { event, trouble: None },
        Err(error) => order.failed(error.failure(), &error.to_string()),
    }
}

async fn bounded<T>(limit: Duration, call: impl Future<Output = Result<T, BackendError>>) -> Result<T, BackendError> {
    match timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(BackendError::Retry(format!("no answer within {} ms", limit.as_millis()))),
    }
}

/// A call to the conductor. Its client answers by `answer`; dropped, it counts as [`Failure::Retry`].
#[derive(Debug)]
pub enum ConductorCall {
    /// Hold this payload for good.
    Commit {
        /// The payload.
        payload: Payload,
        /// [`Failure::Retry`] when it is unclear whether it is held, [`Failure::Reset`] when it was refused.
        answer: oneshot::Sender<Result<(), Failure>>,
    },
    /// Tell the newest block held, of those that L1 bears where the chain cites L1; `None` before the first.
    Head {
        /// The answer.
        answer: oneshot::Sender<Result<Option<BlockRef>, Failure>>,
    },
}

/// Gives a payload to the conductor.
pub(crate) async fn commit(conductor: mpsc::Sender<ConductorCall>, limit: Duration, payload: Payload) -> Answer {
    let block = payload.block;
    let result = ask(conductor, limit, |answer| ConductorCall::Commit { payload, answer }).await;
    match result {
        Ok(()) => Answer { event: Event::Committed { block: block.hash }, trouble: None },
        Err((failure, reason)) => Answer {
            event: Event::CommitFailed { block: block.hash, failure },
            trouble: Some(format!("giving block {} to the conductor: {reason}", block.number)),
        },
    }
}

/// Asks the conductor for its newest block.
pub(crate) async fn ask_conductor(conductor: mpsc::Sender<ConductorCall>, limit: Duration, query: QueryId) -> Answer {
    match ask(conductor, limit, |answer| ConductorCall::Head { answer }).await {
        Ok(head) => Answer { event: Event::ConductorTold { query, head }, trouble: None },
        Err((failure, reason)) => Answer {
            event: Event::AskFailed { query, failure },
            trouble: Some(format!("asking the conductor for its newest block: {reason}")),
        },
    }
}

async fn ask<T>(
    conductor: mpsc::Sender<ConductorCall>,
    limit: Duration,
    call: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> ConductorCall,
) -> Result<T, (Failure, String)> {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        conductor.send(call(answer)).await.map_err(|_| "its client is gone".to_owned())?;
        answered.await.map_err(|_| "its client dropped the call".to_owned())
    };
    match timeout(limit, asked).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(failure))) => Err((failure, "it refused, or could not be reached".to_owned())),
        Ok(Err(reason)) => Err((Failure::Retry, reason)),
        Err(_) => Err((Failure::Retry, format!("no answer within {} ms", limit.as_millis()))),
    }
}

/// Looks up a block on L1.
pub(crate) async fn look_up(origins: Arc<dyn L1Origins>, limit: Duration, query: QueryId, lookup: Lookup) -> Answer {
    let reason = match timeout(limit, origins.look_up(lookup)).await {
        Ok(Ok(block)) => return Answer { event: Event::L1Found { query, block }, trouble: None },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", limit.as_millis()),
    };
    let what = match lookup {
        Lookup::ByHash(hash) => format!("L1 block {hash}"),
        Lookup::ByNumber(number) => format!("L1 block {number}"),
    };
    Answer {
        event: Event::LookUpFailed { query, failure: Failure::Retry },
        trouble: Some(format!("looking up {what}: {reason}")),
    }
}

/// Gets decided payloads: from the own log, and what that has not, from the carrier.
pub(crate) async fn fetch(
    persistence: Arc<dyn Persistence>,
    carrier: Option<mpsc::Sender<Outgoing>>,
    limit: Duration,
    from: BlockNumber,
    to: BlockNumber,
) -> Answer {
    let mut found = Vec::new();
    let search = async {
        found = persistence.fetch(from, to).await;
        if let Some(carrier) = carrier.filter(|_| found.is_empty()) {
            found = fetch_from_peers(&carrier, from, to).await.unwrap_or_default();
        }
    };
    let trouble =
        timeout(limit, search).await.is_err().then(|| format!("getting blocks {from} to {to}: no answer in time"));
    Answer { event: Event::Fetched { from, to, found }, trouble }
}

async fn fetch_from_peers(
    carrier: &mpsc::Sender<Outgoing>,
    from: BlockNumber,
    to: BlockNumber,
) -> Option<Vec<Announcement>> {
    let (answer, answered) = oneshot::channel();
    carrier.send(Outgoing::Fetch { from, to, answer }).await.ok()?;
    answered.await.ok()
}
