//! What goes on telling: new heads, logs, transactions that were accepted.
//!
//! Each subscription is one task between the chain's notices and a [`Sink`]. A subscriber that reads more slowly than the chain speaks is
//! cut off rather than told half: heads and logs are caught up from the chain, a gap in accepted transactions ends the subscription.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::B256;
use alloy_rpc_types_eth::{Filter, Log};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::params::Params;
use super::{EthRpc, RpcError, logs};
use crate::block::Block;
use crate::pool::Signed;
use crate::{At, Chain};

/// Blocks that a subscriber remembers, to tell it which logs are gone when the chain branches off.
const REMEMBERED_MAX: usize = 64;

/// The way to one subscriber.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Sends the notification `method` with its `params`, `{"subscription": ..., "result": ...}`. Waits while there is no room, but not without
    /// end.
    ///
    /// # Errors
    /// [`SinkClosed`] when the subscriber has gone, has unsubscribed or does not make room.
    async fn send(&self, method: &'static str, params: Box<RawValue>) -> Result<(), SinkClosed>;

    /// Ends when the subscription is over.
    async fn closed(&self);
}

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber is gone")]
pub struct SinkClosed;

#[derive(Serialize)]
struct Told<'a, T> {
    subscription: &'a str,
    result: &'a T,
}

/// One subscriber with the id that it knows.
struct Subscriber {
    id: String,
    sink: Arc<dyn Sink>,
}

impl Subscriber {
    async fn tell<T: Serialize>(&self, result: &T) -> Result<(), SinkClosed> {
        let params = to_raw_value(&Told { subscription: &self.id, result }).map_err(|_| SinkClosed)?;
        self.sink.send("eth_subscription", params).await
    }
}

impl EthRpc {
    /// Opens a subscription: `newHeads`, `logs` with an optional filter, or `newPendingTransactions` with `true` for whole ones.
    ///
    /// # Errors
    /// −32602 for a kind that there is not, or a filter that makes no sense.
    pub async fn subscribe(
        &self,
        _method: &str,
        raw: Option<&RawValue>,
        sink: Arc<dyn Sink>,
    ) -> Result<String, RpcError> {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let params = Params::sort(&["kind", "options"], raw)?;
        let id = format!("0x{:x}", COUNT.fetch_add(1, Ordering::Relaxed));
        let subscriber = Subscriber { id: id.clone(), sink };
        // Each task is handed what it listens to: what happens once the client knows the id is told, however late the task begins.
        match params.required::<String>(0)?.as_str() {
            "newHeads" => drop(tokio::spawn(tell_heads(subscriber, News::of(&self.0.chain)))),
            "logs" => {
                let filter: Filter = params.optional(1)?.unwrap_or_default();
                logs::check(&filter)?;
                drop(tokio::spawn(tell_logs(subscriber, News::of(&self.0.chain), filter)));
            }
            "newPendingTransactions" => {
                let full = params.optional(1)?.unwrap_or(false);
                drop(tokio::spawn(tell_transactions(subscriber, self.0.pool.notices(), full)));
            }
            other => {
                return Err(RpcError::invalid_params(format!(
                    "kind: there is no subscription {:?}: newHeads, logs and newPendingTransactions are there",
                    super::error::shorten(other)
                )));
            }
        }
        Ok(id)
    }
}

async fn tell_heads(subscriber: Subscriber, mut news: News) -> Result<(), SinkClosed> {
    loop {
        let block = tokio::select! {
            () = subscriber.sink.closed() => return Err(SinkClosed),
            block = news.next() => block.ok_or(SinkClosed)?,
        };
        subscriber.tell(&super::answer::header(&block.header, Some(block.size))).await?;
    }
}

async fn tell_logs(subscriber: Subscriber, mut news: News, filter: Filter) -> Result<(), SinkClosed> {
    let mut told: VecDeque<(B256, u64, Vec<Log>)> = VecDeque::new();
    loop {
        let block = tokio::select! {
            () = subscriber.sink.closed() => return Err(SinkClosed),
            block = news.next() => block.ok_or(SinkClosed)?,
        };
        // What was told of blocks at this height or above is of a branch that was left.
        while let Some((_, _, logs)) = told.pop_back_if(|(_, number, _)| *number >= block.header.number) {
            for log in logs.into_iter().rev() {
                subscriber.tell(&Log { removed: true, ..log }).await?;
            }
        }
        let logs = logs::matching(&block, &filter);
        for log in &logs {
            subscriber.tell(log).await?;
        }
        told.push_back((block.header.seal(), block.header.number, logs));
        if told.len() > REMEMBERED_MAX {
            told.pop_front();
        }
    }
}

async fn tell_transactions(
    subscriber: Subscriber,
    mut accepted: Receiver<Arc<Signed>>,
    full: bool,
) -> Result<(), SinkClosed> {
    loop {
        let signed = tokio::select! {
            () = subscriber.sink.closed() => return Err(SinkClosed),
            signed = accepted.recv() => signed.map_err(|_| SinkClosed)?,
        };
        if full {
            subscriber.tell(&super::answer::waiting(&signed)).await?;
        } else {
            subscriber.tell(&signed.tx_hash()).await?;
        }
    }
}

/// New blocks in their order, none left out.
struct News {
    chain: Chain,
    notices: Receiver<Block>,
    /// Hashes of the last ones.
    told: VecDeque<B256>,
    next: u64,
    missed: VecDeque<u64>,
}

impl News {
    fn of(chain: &Chain) -> Self {
        let notices = chain.notices();
        Self {
            chain: chain.clone(),
            notices,
            told: VecDeque::new(),
            next: chain.head().number + 1,
            missed: VecDeque::new(),
        }
    }

    /// `None` when the chain has ended.
    async fn next(&mut self) -> Option<Block> {
        loop {
            let block = match self.missed.pop_front() {
                Some(number) => match self.chain.block(At::Number(number)) {
                    Ok(Some(block)) => block,
                    _ => continue,
                },
                None => match self.notices.recv().await {
                    Ok(block) => block,
                    Err(RecvError::Lagged(_)) => {
                        self.missed = (self.next..=self.chain.head().number).collect();
                        continue;
                    }
                    Err(RecvError::Closed) => return None,
                },
            };
            let hash = block.header.seal();
            // What was caught up comes again as a notice.
            if self.told.contains(&hash) {
                continue;
            }
            self.told.push_back(hash);
            if self.told.len() > REMEMBERED_MAX {
                self.told.pop_front();
            }
            self.next = block.header.number + 1;
            return Some(block);
        }
    }
}
