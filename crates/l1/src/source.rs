//! One L1 execution endpoint over JSON-RPC: every call has a deadline and a limit on its answer, every answer is
//! checked.
//!
//! Methods: <https://ethereum.github.io/execution-apis/>, `eth_getBlockByNumber`, `eth_getBlockByHash`,
//! `eth_getBlockReceipts`, `eth_getTransactionReceipt`, `eth_getStorageAt`, `eth_chainId`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_primitives::{Address, B256, U64, U256};
use alloy_rpc_types_eth::{Block as RpcBlock, Header as RpcHeader, TransactionReceipt};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;

use crate::http::{Http, cut};
use crate::verify::{self, At, Block, Header, Lie, Receipt, Tag};

/// Receipts asked for at the same time where an endpoint gives them only one by one.
const SINGLE_RECEIPTS_AT_ONCE: usize = 8;
/// Transactions that a block may have. The cheapest one takes 21,000 gas: room for two billion gas.
const TRANSACTIONS_MAX: usize = 100_000;

/// One endpoint, as an operator describes it.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Where it is: http or https. Never shown whole, because keys are often part of the path.
    pub url: Url,
    /// Is the hash that it names for a header believed? Otherwise it is computed. Default: not believed.
    pub trusted: bool,
    /// How long one call may take, to the last byte of the answer. Default 10 s.
    pub deadline: Duration,
    /// Bytes of one answer. Default 64 MiB: the receipts of a block full of logs take about half of that.
    pub answer_bytes_max: usize,
}

impl SourceConfig {
    /// With defaults.
    pub fn new(url: Url) -> Self {
        Self { url, trusted: false, deadline: Duration::from_secs(10), answer_bytes_max: 64 << 20 }
    }
}

/// A call that brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("L1 endpoint {endpoint}, {method}: {fault}")]
pub struct SourceError {
    /// The endpoint's host and port.
    pub endpoint: Arc<str>,
    /// What was called.
    pub method: &'static str,
    /// What happened.
    pub fault: Fault,
}

/// What an endpoint did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Too slow.
    #[error("no whole answer within {0:?}")]
    Deadline(Duration),
    /// HTTP said no.
    #[error("HTTP status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// More than it may send.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// Not what the method answers.
    #[error("the answer cannot be read: {0}")]
    Garbled(String),
    /// The method answered with an error.
    #[error("refused with code {code}: {message}")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// What the endpoint says, cut short.
        message: String,
    },
    /// An answer that cannot be true.
    #[error("false answer: {0}")]
    Lie(Box<Lie>),
    /// It knows the block and not yet its receipts.
    #[error("the receipts of block {0} are not there yet")]
    NotYet(B256),
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": check the key in its address",
        429 => ": it asks to be called less often",
        _ => "",
    }
}

/// One endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    http: Http,
    trusted: bool,
    next_id: AtomicU64,
    /// It has said that it does not know `eth_getBlockReceipts`.
    receipts_one_by_one: AtomicBool,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.0.http.name).finish()
    }
}

/// An endpoint that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    /// Only HTTP is spoken.
    #[error("L1 endpoint {endpoint} has scheme {scheme}: only http and https are spoken")]
    Scheme {
        /// Host and port.
        endpoint: String,
        /// The scheme.
        scheme: String,
    },
    /// The HTTP client cannot be set up.
    #[error("no HTTP client for L1 endpoint {endpoint}: {reason}")]
    Client {
        /// Host and port.
        endpoint: String,
        /// Why.
        reason: String,
    },
}

impl Source {
    /// Connects nowhere yet.
    ///
    /// # Errors
    /// If the address is not one of HTTP, or this machine cannot speak https.
    pub fn new(config: SourceConfig) -> Result<Self, BadSource> {
        let SourceConfig { url, trusted, deadline, answer_bytes_max } = config;
        let http = Http::new(url, deadline, answer_bytes_max)?;
        let (next_id, receipts_one_by_one) = (AtomicU64::new(1), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { http, trusted, next_id, receipts_one_by_one })))
    }

    /// Host and port: safe to show.
    pub fn name(&self) -> &Arc<str> {
        &self.0.http.name
    }

    /// A header; `None` where the endpoint knows no such block.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn header(&self, at: At) -> Result<Option<Header>, SourceError> {
        let (method, params) = block_call(at, false);
        let believe = self.0.trusted;
        let answer = self.ask(method, params, move |answer: RpcHeader| verify::header(at, answer, believe)).await;
        none_if_unknown(at, answer)
    }

    /// A block with its transactions; `None` where the endpoint knows no such block.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn block(&self, at: At) -> Result<Option<Block>, SourceError> {
        let (method, params) = block_call(at, true);
        let believe = self.0.trusted;
        let answer = self.ask(method, params, move |answer: RpcBlock| verify::block(at, answer, believe)).await;
        none_if_unknown(at, answer)
    }

    /// The receipts of the block with this header, whole and in order.
    ///
    /// # Errors
    /// [`SourceError`]; [`Fault::NotYet`] where the endpoint has none of them.
    pub async fn receipts(&self, header: &Header) -> Result<Vec<Receipt>, SourceError> {
        if !self.0.receipts_one_by_one.load(Ordering::Relaxed) {
            match self.receipts_at_once(header).await {
                Err(error) if error.fault.is_unknown_method() => {
                    self.0.receipts_one_by_one.store(true, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
        // Together they may take no longer than one call.
        let all = self.receipts_one_by_one(header);
        let late = |_| self.error("eth_getTransactionReceipt", Fault::Deadline(self.0.http.deadline));
        timeout(self.0.http.deadline, all).await.map_err(late)?
    }

    /// A word of an account's storage, as it stands after the block with this hash. No hash vouches for it.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn storage(&self, account: Address, slot: B256, block: B256) -> Result<B256, SourceError> {
        let params = json!([account, slot, { "blockHash": block, "requireCanonical": false }]);
        let word: Option<U256> = self.ask("eth_getStorageAt", params, Ok).await?;
        let nothing = || self.error("eth_getStorageAt", Fault::Garbled("null in place of a word".to_owned()));
        word.map(B256::from).ok_or_else(nothing)
    }

    /// Which chain it serves.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn chain_id(&self) -> Result<u64, SourceError> {
        let id: Option<U64> = self.ask("eth_chainId", json!([]), Ok).await?;
        let nothing = || self.error("eth_chainId", Fault::Garbled("null in place of a chain id".to_owned()));
        id.map(|id| id.to::<u64>()).ok_or_else(nothing)
    }

    async fn receipts_at_once(&self, header: &Header) -> Result<Vec<Receipt>, SourceError> {
        let method = "eth_getBlockReceipts";
        let wanted = header.clone();
        // A list with holes is one whose rest is still being written; so is an empty one of a block that has some.
        let check = move |answer: Vec<Option<TransactionReceipt>>| {
            let begun = !answer.is_empty() || wanted.receipts_root == EMPTY_ROOT_HASH;
            let whole: Option<Vec<_>> = if begun { answer.into_iter().collect() } else { None };
            whole.map(|whole| verify::receipts(&wanted, whole)).transpose()
        };
        let answer = self.ask(method, json!([header.hash()]), check).await?.flatten();
        answer.ok_or_else(|| self.error(method, Fault::NotYet(header.hash())))
    }

    async fn receipts_one_by_one(&self, header: &Header) -> Result<Vec<Receipt>, SourceError> {
        let (method, params) = block_call(At::Hash(header.hash()), false);
        let list = self.ask(method, params, |answer: TransactionList| Ok(answer.transactions)).await?;
        let not_yet = |method| self.error(method, Fault::NotYet(header.hash()));
        let hashes = list.ok_or_else(|| not_yet(method))?;
        if hashes.len() > TRANSACTIONS_MAX {
            let reason = format!("{} transactions in one block, more than {TRANSACTIONS_MAX}", hashes.len());
            return Err(self.error(method, Fault::Garbled(reason)));
        }
        let method = "eth_getTransactionReceipt";
        let one = |hash: B256| async move {
            let receipt: Option<TransactionReceipt> = self.ask(method, json!([hash]), Ok).await?;
            receipt.ok_or_else(|| not_yet(method))
        };
        let all = stream::iter(hashes).map(one).buffered(SINGLE_RECEIPTS_AT_ONCE).try_collect().await?;
        verify::receipts(header, all).map_err(|lie| self.error(method, Fault::Lie(Box::new(lie))))
    }

    /// One call. `check` makes of the answer what is wanted; null is `None`.
    async fn ask<T, U>(
        &self,
        method: &'static str,
        params: Value,
        check: impl FnOnce(T) -> Result<U, Lie> + Send + 'static,
    ) -> Result<Option<U>, SourceError>
    where
        T: DeserializeOwned,
        U: Send + 'static,
    {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let request = self.0.http.post(&Request { jsonrpc: "2.0", id, method, params });
        let read = move |status: u16, bytes: &[u8]| {
            // Some give JSON-RPC errors a status of their own; their words say more than it does.
            let answer = read(bytes, id);
            if !(200..300).contains(&status) && !matches!(answer, Err(Fault::Refused { .. })) {
                return Err(Fault::Status(status));
            }
            answer?.map(check).transpose().map_err(|lie| Fault::Lie(Box::new(lie)))
        };
        self.0.http.exchange(method, request, read).await
    }

    fn error(&self, method: &'static str, fault: Fault) -> SourceError {
        self.0.http.error(method, fault)
    }
}

impl Fault {
    /// Does the endpoint not know the method at all? Codes of JSON-RPC and EIP-1474.
    fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Refused { code: -32601 | -32004, .. })
    }
}

#[derive(Debug, Serialize)]
struct Request {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: Value,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Answer<T> {
    #[serde(default)]
    id: Option<u64>,
    /// A result that is null is one; a missing one is none.
    #[serde(default, deserialize_with = "present")]
    result: Option<Option<T>>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
struct TransactionList {
    transactions: Vec<B256>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn block_call(at: At, whole: bool) -> (&'static str, Value) {
    match at {
        At::Number(number) => ("eth_getBlockByNumber", json!([U64::from(number), whole])),
        At::Tag(tag) => ("eth_getBlockByNumber", json!([tag.as_str(), whole])),
        At::Hash(hash) => ("eth_getBlockByHash", json!([hash, whole])),
    }
}

/// Before a chain has finalized anything some endpoints answer the question for it with an error (geth: -39001,
/// unknown block).
fn none_if_unknown<T>(at: At, answer: Result<Option<T>, SourceError>) -> Result<Option<T>, SourceError> {
    match (at, answer) {
        (At::Tag(Tag::Safe | Tag::Finalized), Err(SourceError { fault: Fault::Refused { code, message }, .. }))
            if code == -39001 || message.contains("not found") =>
        {
            Ok(None)
        }
        (_, answer) => answer,
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8], id: u64) -> Result<Option<T>, Fault> {
    let answer: Answer<T> = serde_json::from_slice(bytes).map_err(|error| Fault::Garbled(cut(&error.to_string())))?;
    if let Some(Refusal { code, message }) = answer.error {
        return Err(Fault::Refused { code, message: cut(&message) });
    }
    if let Some(other) = answer.id.filter(|other| *other != id) {
        return Err(Fault::Garbled(format!("it answers request {other} and not {id}")));
    }
    answer.result.ok_or_else(|| Fault::Garbled("neither result nor error".to_owned()))
}
