//! Logs: asked for at once, or polled through a filter.

use std::collections::BTreeMap;
use std::time::Instant;

use alloy_primitives::{B256, U64};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, FilteredParams, Log};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::params::Params;
use super::{Answer, EthRpc, Inner, Limits, RpcError, answer};
use crate::block::Block;
use crate::{At, ChainError};

/// Addresses, and topics at one place, that a filter may name.
const ALTERNATIVES_MAX: usize = 1_000;

pub(super) async fn call(rpc: &EthRpc, method: &str, params: Params<'_>) -> Answer {
    let inner = &*rpc.0;
    match method {
        "eth_getLogs" => {
            let filter = read_filter(&params)?;
            answer(&rpc.beside(move |inner| search(inner, &filter)).await?)
        }
        "eth_newFilter" => inner.filters.add(Kind::Logs(Box::new(read_filter(&params)?), inner.chain.head().number)),
        "eth_newBlockFilter" => inner.filters.add(Kind::Blocks(inner.chain.head().number)),
        "eth_newPendingTransactionFilter" => inner.filters.add(Kind::Transactions(inner.pool.notices())),
        "eth_uninstallFilter" => answer(&inner.filters.remove(params.small(0)?)),
        "eth_getFilterLogs" => {
            let filter = inner.filters.logs_of(params.small(0)?)?;
            answer(&rpc.beside(move |inner| search(inner, &filter)).await?)
        }
        _ => {
            let id = params.small(0)?;
            rpc.beside(move |inner| inner.filters.poll(inner, id)).await
        }
    }
}

/// A filter that names no more than it may.
pub(super) fn read_filter(params: &Params<'_>) -> Result<Filter, RpcError> {
    let filter: Filter = params.required(0)?;
    check(&filter)?;
    Ok(filter)
}

pub(super) fn check(filter: &Filter) -> Result<(), RpcError> {
    let most = filter.topics.iter().map(|topic| topic.len()).chain([filter.address.len()]).max().unwrap_or_default();
    if most > ALTERNATIVES_MAX {
        return Err(RpcError::limit_exceeded(format!(
            "the filter names {most} addresses or topics at one place, at most {ALTERNATIVES_MAX} are taken"
        )));
    }
    Ok(())
}

/// The logs of a block that a filter lets through.
pub(super) fn matching(block: &Block, filter: &Filter) -> Vec<Log> {
    let bloom = block.header.logs_bloom;
    let wanted = FilteredParams::matches_address(bloom, &FilteredParams::address_filter(&filter.address))
        && FilteredParams::matches_topics(bloom, &FilteredParams::topics_filter(&filter.topics));
    if !wanted {
        return Vec::new();
    }
    let logs = (0..block.transactions.len()).flat_map(|index| super::answer::logs(block, index));
    logs.filter(|log| filter.matches(&log.inner)).collect()
}

/// All logs in the blocks that the filter names.
fn search(inner: &Inner, filter: &Filter) -> Result<Vec<Log>, RpcError> {
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = inner.chain.block(At::Hash(hash))?.ok_or_else(|| RpcError::server("unknown block"))?;
            return Ok(matching(&block, filter));
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let number = |tag: Option<alloy_eips::BlockNumberOrTag>| {
                let at = inner.at_tag(tag.unwrap_or_default())?;
                Ok::<u64, RpcError>(match at {
                    At::Number(number) => number,
                    _ => inner.chain.head().number,
                })
            };
            (number(from_block)?, number(to_block)?)
        }
    };
    if from > to {
        return Err(RpcError::invalid_params(format!(
            "invalid block range params: fromBlock {from} is above toBlock {to}"
        )));
    }
    range(inner, filter, from, to.min(inner.chain.head().number))
}

fn range(inner: &Inner, filter: &Filter, from: u64, to: u64) -> Result<Vec<Log>, RpcError> {
    let Limits { log_blocks, logs: logs_max, .. } = inner.limits;
    if to.saturating_sub(from) >= log_blocks {
        return Err(RpcError::limit_exceeded(format!(
            "blocks {from} to {to} are asked for, at most {log_blocks} are looked through at once"
        )));
    }
    let mut logs = Vec::new();
    for number in from..=to {
        let Some(header) = inner.chain.header(At::Number(number))? else { continue };
        let bloom = header.logs_bloom;
        if bloom.is_zero() {
            continue;
        }
        let Some(block) = inner.chain.block(At::Number(number))? else { continue };
        logs.extend(matching(&block, filter));
        if logs.len() > logs_max {
            return Err(RpcError::limit_exceeded(format!(
                "the answer has more than {logs_max} logs: ask for fewer blocks than {from} to {to}, the first {} are few enough",
                number - from
            )));
        }
    }
    Ok(logs)
}

/// Filters that wait to be polled.
pub(super) struct Filters {
    limits: Limits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    filters: BTreeMap<u64, Polled>,
    next: u64,
}

struct Polled {
    kind: Kind,
    at: Instant,
}

/// What a filter tells, and from where on.
enum Kind {
    Logs(Box<Filter>, u64),
    Blocks(u64),
    Transactions(broadcast::Receiver<std::sync::Arc<crate::pool::Signed>>),
}

impl Filters {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, kept: Mutex::default() }
    }

    fn add(&self, kind: Kind) -> Answer {
        let mut kept = self.kept.lock();
        let (now, age) = (Instant::now(), self.limits.filter_age);
        kept.filters.retain(|_, polled| now.duration_since(polled.at) < age);
        if kept.filters.len() >= self.limits.filters {
            return Err(RpcError::limit_exceeded(format!(
                "{} filters are open, which is the limit: uninstall those that are not used any more",
                kept.filters.len()
            )));
        }
        // From 1 on: some clients take 0 for none.
        kept.next += 1;
        let id = kept.next;
        kept.filters.insert(id, Polled { kind, at: now });
        answer(&U64::from(id))
    }

    fn remove(&self, id: u64) -> bool {
        self.kept.lock().filters.remove(&id).is_some()
    }

    fn logs_of(&self, id: u64) -> Result<Filter, RpcError> {
        match self.kept.lock().filters.get(&id) {
            Some(Polled { kind: Kind::Logs(filter, _), .. }) => Ok((**filter).clone()),
            _ => Err(unknown()),
        }
    }

    /// What is new since the last time.
    fn poll(&self, inner: &Inner, id: u64) -> Result<Box<RawValue>, RpcError> {
        let mut kept = self.kept.lock();
        let polled = kept.filters.get_mut(&id).ok_or_else(unknown)?;
        polled.at = Instant::now();
        let head = inner.chain.head().number;
        match &mut polled.kind {
            Kind::Logs(filter, since) => {
                let logs = if head > *since { range(inner, filter, *since + 1, head)? } else { Vec::new() };
                *since = head;
                answer(&logs)
            }
            Kind::Blocks(since) => {
                let from = (*since + 1).max((head + 1).saturating_sub(self.limits.log_blocks));
                let hash =
                    |number| Ok::<_, ChainError>(inner.chain.header(At::Number(number))?.map(|header| header.seal()));
                let hashes = (from..=head).map(hash).collect::<Result<Vec<Option<B256>>, _>>()?;
                *since = head;
                answer(&hashes.into_iter().flatten().collect::<Vec<_>>())
            }
            Kind::Transactions(accepted) => {
                let mut hashes = Vec::new();
                loop {
                    match accepted.try_recv() {
                        Ok(signed) => hashes.push(signed.tx_hash()),
                        Err(TryRecvError::Lagged(_)) => {}
                        Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                    }
                }
                answer(&hashes)
            }
        }
    }
}

fn unknown() -> RpcError {
    RpcError::server("filter not found")
}
