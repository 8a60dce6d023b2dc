//! What a development chain lets its users do: blocks when they want them, time as they want it, state as they want it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::params::{Params, number};
use super::{Answer, Development, EthRpc, Inner, RpcError, answer};
use crate::{Edit, Snapshot};

/// Blocks that one call may ask for.
const BLOCKS_MAX: u64 = 10_000;
/// Snapshots that are remembered; the oldest goes.
const SNAPSHOTS_MAX: usize = 256;
/// Accounts that are impersonated at a time.
const DISGUISES_MAX: usize = 10_000;

/// Who makes the blocks of a development chain.
#[async_trait]
pub trait DevControl: Send + Sync + 'static {
    /// Makes one block of this date (seconds since the epoch) and returns when it is the newest.
    ///
    /// # Errors
    /// When no blocks are made any more.
    async fn mine(&self, date: u64) -> Result<(), String>;
    /// Whether each transaction gets a block.
    fn automine(&self) -> bool;
    /// Whether each transaction gets a block from now on.
    fn set_automine(&self, on: bool);
    /// The time between blocks, where they come by the clock.
    fn interval(&self) -> Option<Duration>;
    /// From now on a block comes each so often, or no block by the clock.
    fn set_interval(&self, interval: Option<Duration>);
}

/// What time it is on the chain: the system's, moved as its users say.
#[derive(Debug, Default)]
pub struct ChainClock {
    offset: AtomicI64,
    next: Mutex<Option<u64>>,
}

impl ChainClock {
    /// The time in seconds since the epoch.
    pub fn now(&self) -> u64 {
        self.shifted(SystemTime::now())
    }

    /// What the chain's clock shows at this moment of the machine's.
    fn shifted(&self, moment: SystemTime) -> u64 {
        let moment = moment.duration_since(UNIX_EPOCH).map_or(0, |moment| moment.as_secs());
        moment.saturating_add_signed(self.offset.load(Ordering::Acquire))
    }

    /// The date for the next block: the one that was set for it, once, or now.
    pub fn take_date(&self) -> u64 {
        match self.next.lock().take() {
            Some(date) => {
                self.set(date);
                date
            }
            None => self.now(),
        }
    }

    /// The date that a block made at this moment will have, if nobody moves the time before.
    pub fn date_at(&self, moment: SystemTime) -> u64 {
        self.next.lock().unwrap_or_else(|| self.shifted(moment))
    }

    /// Moves the time.
    fn advance(&self, seconds: i64) -> i64 {
        self.offset.fetch_add(seconds, Ordering::AcqRel).saturating_add(seconds)
    }

    /// It is this time now.
    fn set(&self, time: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let offset = i64::try_from(i128::from(time) - i128::from(now)).unwrap_or(i64::MAX);
        self.offset.store(offset, Ordering::Release);
    }
}

/// Moments to go back to.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<(u64, BTreeMap<u64, Snapshot>)>);

impl Snapshots {
    fn keep(&self, snapshot: Snapshot) -> u64 {
        let (count, kept) = &mut *self.0.lock();
        let id = *count;
        *count += 1;
        kept.insert(id, snapshot);
        if kept.len() > SNAPSHOTS_MAX {
            kept.pop_first();
        }
        id
    }

    /// A snapshot serves once, and those after it are of a time that will not have been.
    fn take(&self, id: u64) -> Option<Snapshot> {
        let kept = &mut self.0.lock().1;
        let snapshot = kept.remove(&id);
        if snapshot.is_some() {
            kept.retain(|other, _| *other < id);
        }
        snapshot
    }
}

/// Accounts in whose name transactions are sent without their key.
#[derive(Debug, Default)]
pub(super) struct Disguises(Mutex<(bool, BTreeSet<Address>)>);

impl Disguises {
    /// Switches one account, or with `None` all of them.
    fn set(&self, address: Option<Address>, on: bool) -> Answer {
        let (all, some) = &mut *self.0.lock();
        match address {
            None => *all = on,
            Some(address) if on && some.len() < DISGUISES_MAX => drop(some.insert(address)),
            Some(_) if on => {
                return Err(RpcError::limit_exceeded(format!("{DISGUISES_MAX} accounts are impersonated already")));
            }
            Some(address) => drop(some.remove(&address)),
        }
        answer(&Value::Null)
    }

    /// May transactions be sent in this account's name?
    pub(super) fn allow(&self, address: Address) -> bool {
        let (all, some) = &*self.0.lock();
        *all || some.contains(&address)
    }
}

/// How `evm_mine` may be asked.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MineOptions {
    timestamp: Option<Value>,
    blocks: Option<Value>,
}

pub(super) async fn call(rpc: &EthRpc, method: &str, what: &str, params: Params<'_>) -> Answer {
    let inner = &*rpc.0;
    let Some(development) = &inner.development else { return Err(RpcError::development_only(method)) };
    match what {
        "mine" => mine(inner, development, method, params).await,
        "snapshot" | "revert" => moments(inner, development, what, params).await,
        "increaseTime" | "setTime" | "setNextBlockTimestamp" => time(inner, development, what, params),
        "setAutomine" | "getAutomine" | "setIntervalMining" | "getIntervalMining" => pace(development, what, params),
        "setBalance" | "setCode" | "setNonce" | "setStorageAt" => edit(development, what, params).await,
        "dropTransaction" => {
            // What was executed ahead for the next block would be in it all the same.
            development.backend.expect_nothing().await;
            let dropped = inner.pool.drop_transaction(params.required(0)?);
            answer(&dropped.map(|signed| signed.tx_hash()))
        }
        "nodeInfo" => node_info(inner, development),
        "impersonateAccount" => inner.disguises.set(Some(params.required(0)?), true),
        "stopImpersonatingAccount" => inner.disguises.set(Some(params.required(0)?), false),
        "autoImpersonateAccount" => inner.disguises.set(None, params.required(0)?),
        _ => Err(RpcError::method_not_found(method)),
    }
}

async fn mine(inner: &Inner, development: &Development, method: &str, params: Params<'_>) -> Answer {
    let (mut blocks, mut interval, mut date) = (1, 0, None);
    if method == "evm_mine" {
        match params.raw(0).filter(|raw| raw.get().trim_start().starts_with('{')) {
            Some(raw) => {
                let options: MineOptions = super::params::read(raw.get(), "options")?;
                let read = |value: Option<Value>, name| value.map(|value| small(&value, name)).transpose();
                date = read(options.timestamp, "timestamp")?;
                blocks = read(options.blocks, "blocks")?.unwrap_or(1);
            }
            None => date = params.optional_small(0)?,
        }
    } else {
        blocks = params.optional_small(0)?.unwrap_or(1);
        interval = params.optional_small(1)?.unwrap_or(0);
    }
    if blocks > BLOCKS_MAX {
        return Err(RpcError::limit_exceeded(format!(
            "{blocks} blocks are asked for, at most {BLOCKS_MAX} are made at once"
        )));
    }
    if let Some(date) = date {
        in_future(inner, date)?;
        development.clock.set(date);
    }
    for number in 0..blocks {
        if number > 0 && interval > 0 {
            development.clock.advance(i64::try_from(interval).unwrap_or(i64::MAX));
        }
        let date = date.take().unwrap_or_else(|| development.clock.take_date());
        development.control.mine(date).await.map_err(RpcError::internal)?;
    }
    if method == "evm_mine" { answer("0x0") } else { answer(&Value::Null) }
}

fn small(value: &Value, name: &str) -> Result<u64, RpcError> {
    let number = number(&value.to_string(), name)?;
    u64::try_from(number).map_err(|_| RpcError::invalid_params(format!("{name}: {number} is too large")))
}

fn in_future(inner: &Inner, date: u64) -> Result<(), RpcError> {
    let head = inner.chain.head().timestamp;
    if date > head {
        return Ok(());
    }
    Err(RpcError::invalid_params(format!("timestamp: {date} is not above that of the newest block, which is {head}")))
}

async fn moments(inner: &Inner, development: &Development, what: &str, params: Params<'_>) -> Answer {
    if what == "snapshot" {
        let snapshot = development.backend.snapshot().await?;
        return answer(&U64::from(inner.snapshots.keep(snapshot)));
    }
    match inner.snapshots.take(params.small(0)?) {
        Some(snapshot) => answer(&development.backend.revert(snapshot).await?),
        None => answer(&false),
    }
}

fn time(inner: &Inner, development: &Development, what: &str, params: Params<'_>) -> Answer {
    let value = params.small(0)?;
    match what {
        "increaseTime" => {
            let seconds =
                i64::try_from(value).map_err(|_| RpcError::invalid_params(format!("seconds: {value} is too large")))?;
            answer(&development.clock.advance(seconds))
        }
        "setTime" => {
            // Milliseconds are taken for what they are: a date in the year 33658 is not meant.
            let date = if value > 1_000_000_000_000 { value / 1_000 } else { value };
            in_future(inner, date)?;
            development.clock.set(date);
            answer(&date)
        }
        _ => {
            in_future(inner, value)?;
            *development.clock.next.lock() = Some(value);
            answer(&Value::Null)
        }
    }
}

fn pace(development: &Development, what: &str, params: Params<'_>) -> Answer {
    let control = &development.control;
    match what {
        "setAutomine" => {
            control.set_automine(params.required(0)?);
            answer(&Value::Null)
        }
        "getAutomine" => answer(&control.automine()),
        "setIntervalMining" => {
            let seconds = params.small(0)?;
            control.set_interval((seconds > 0).then(|| Duration::from_secs(seconds)));
            answer(&Value::Null)
        }
        _ => answer(&control.interval().map(|interval| interval.as_secs())),
    }
}

async fn edit(development: &Development, what: &str, params: Params<'_>) -> Answer {
    let address: Address = params.required(0)?;
    let edit = match what {
        "setBalance" => Edit::Balance { address, balance: params.number(1)? },
        "setNonce" => Edit::Nonce { address, nonce: params.small(1)? },
        "setCode" => Edit::Code { address, code: params.required::<Bytes>(1)? },
        _ => Edit::Slot { address, slot: params.slot(1)?.into(), value: U256::from_be_bytes(params.slot(2)?.0) },
    };
    development.backend.edit(vec![edit]).await?;
    if what == "setStorageAt" { answer(&true) } else { answer(&Value::Null) }
}

fn node_info(inner: &Inner, development: &Development) -> Answer {
    let head = inner.chain.head();
    let hash: B256 = head.seal();
    answer(&json!({
        "currentBlockNumber": head.number,
        "currentBlockTimestamp": head.timestamp,
        "currentBlockHash": hash,
        "hardFork": "osaka",
        "transactionOrder": "fees",
        "environment": {
            "baseFee": U256::from(inner.chain.next_base_fee(&head)),
            "chainId": inner.chain.spec().chain_id(),
            "gasLimit": head.gas_limit,
            "gasPrice": U256::from(inner.chain.next_base_fee(&head)),
        },
        "forkConfig": {},
        "automine": development.control.automine(),
    }))
}
