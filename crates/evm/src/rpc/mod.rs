//! Ethereum's JSON-RPC: parameters in, JSON out.
//!
//! Knows nothing of how a request arrives: no HTTP, no WebSocket, no ids of requests. A transport calls [`EthRpc::call`] and
//! [`EthRpc::subscribe`] with the method's name and its parameters as they came, and puts the answer into its envelope.
//!
//! | file | methods |
//! |---|---|
//! | `read` | everything that only looks at the chain |
//! | `fees` | prices and their history |
//! | `execute` | calls, simulations, estimates, access lists, traces |
//! | `write` | what is sent, or made ready for that |
//! | `logs` | `eth_getLogs` and the filters that are polled |
//! | `subscriptions` | what goes on telling over a WebSocket |
//! | `development` | `evm_*` and `anvil_*`, on development chains |

mod answer;
mod development;
mod error;
mod execute;
mod fees;
mod logs;
mod params;
mod read;
mod subscriptions;
mod write;

use std::sync::Arc;
use std::time::Duration;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Semaphore;

pub use self::development::{ChainClock, DevControl};
pub use self::error::RpcError;
use self::logs::Filters;
use self::params::Params;
pub use self::subscriptions::{Sink, SinkClosed};
use crate::execute::BlockAttributes;
use crate::execution::{self, Executor};
use crate::{At, Chain, EvmBackend, Pool, StateView};

/// What an answer is: JSON, or an error.
type Answer = Result<Box<RawValue>, RpcError>;

/// Bounds on what one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Blocks that one `eth_getLogs` may look through. Default 10,000.
    pub log_blocks: u64,
    /// Logs that one answer may hold. Default 20,000.
    pub logs: usize,
    /// Filters that wait to be polled, all clients together. Default 1,000.
    pub filters: usize,
    /// How long a filter is kept without being polled. Default five minutes, as geth.
    pub filter_age: Duration,
    /// How long `eth_sendRawTransactionSync` waits when it is not told. Default 20 s.
    pub sync_wait: Duration,
    /// What one execution may take.
    pub execution: execution::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_blocks: 10_000,
            logs: 20_000,
            filters: 1_000,
            filter_age: Duration::from_secs(300),
            sync_wait: Duration::from_secs(20),
            execution: execution::Limits::default(),
        }
    }
}

/// What a development chain lets its users do.
pub struct Development {
    /// Accounts that this node signs for.
    pub signers: Vec<PrivateKeySigner>,
    /// Who makes blocks, and when.
    pub control: Arc<dyn DevControl>,
    /// What time it is on the chain.
    pub clock: Arc<ChainClock>,
    /// The chain as the driver sees it.
    pub backend: EvmBackend,
}

/// How a request names the block that would be next.
const PENDING: &str = "\"pending\"";
/// Calls that read whole blocks at once; more wait their turn.
const READERS_MAX: usize = 16;

/// The interface of one chain. Cheap to clone.
#[derive(Clone)]
pub struct EthRpc(Arc<Inner>);

struct Inner {
    chain: Chain,
    pool: Pool,
    limits: Limits,
    executor: Executor,
    filters: Filters,
    development: Option<Development>,
    snapshots: development::Snapshots,
    disguises: development::Disguises,
    /// Held from choosing an account's nonce until the pool has the transaction: two at once would choose the same. Accounts share them by
    /// their last byte.
    nonces: Vec<tokio::sync::Mutex<()>>,
    /// One for each that reads whole blocks.
    readers: Semaphore,
    /// What the block that would be next was last made of.
    looked: Mutex<Option<Sight>>,
}

/// All that the block that would be next depends on.
#[derive(PartialEq)]
struct Sight {
    parent: B256,
    /// The state may be edited without a new block.
    state_root: B256,
    pool_changes: u64,
    timestamp: u64,
}

impl std::fmt::Debug for EthRpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EthRpc").field("chain", &self.0.chain).finish_non_exhaustive()
    }
}

impl EthRpc {
    /// The interface of `chain`. `development` is given for development chains alone.
    pub fn new(chain: Chain, pool: Pool, limits: Limits, development: Option<Development>) -> Self {
        let executor = Executor::new(chain.clone(), limits.execution);
        let (filters, snapshots) = (Filters::new(limits), development::Snapshots::default());
        let disguises = development::Disguises::default();
        let nonces = (0..=u8::MAX).map(|_| tokio::sync::Mutex::default()).collect();
        let looked = Mutex::default();
        Self(Arc::new(Inner {
            chain,
            pool,
            limits,
            executor,
            filters,
            development,
            snapshots,
            disguises,
            nonces,
            readers: Semaphore::new(READERS_MAX),
            looked,
        }))
    }

    /// Names that [`EthRpc::call`] answers.
    pub fn methods() -> Vec<&'static str> {
        METHODS.iter().map(|(name, _)| *name).collect()
    }

    /// Names that [`EthRpc::subscribe`] answers.
    pub fn subscriptions() -> &'static [&'static str] {
        &["eth_subscribe"]
    }

    /// What to answer when a subscription to be ended is not open on the connection.
    pub fn unknown_subscription() -> RpcError {
        RpcError::server("subscription not found")
    }

    /// Carries out a call.
    ///
    /// # Errors
    /// With geth's code and words where there are such.
    pub async fn call(&self, method: &str, raw: Option<&RawValue>) -> Answer {
        let Some((name, names)) = METHODS.iter().find(|(name, _)| *name == method) else {
            return Err(RpcError::method_not_found(method));
        };
        let params = Params::sort(names, raw)?;
        // The next nonce is known without looking ahead, and wallets ask for it before each transaction.
        if *name != "eth_getTransactionCount" && raw.is_some_and(|raw| raw.get().contains(PENDING)) {
            self.look_ahead().await?;
        }
        let inner = &*self.0;
        match name.split_once('_') {
            Some(("evm" | "anvil" | "hardhat", what)) => development::call(self, name, what, params).await,
            Some(("debug", _)) => execute::debug(inner, name, params).await,
            Some((_, "call" | "estimateGas" | "createAccessList")) => execute::eth(inner, name, params).await,
            Some((_, "simulateV1")) => execute::simulate(inner, params).await,
            Some((
                _,
                "fillTransaction" | "sendTransaction" | "sendRawTransaction" | "sendRawTransactionSync" | "accounts",
            )) => write::call(inner, name, params).await,
            Some((_, "gasPrice" | "maxPriorityFeePerGas" | "blobBaseFee" | "feeHistory")) => {
                let params = params.into_owned();
                self.beside(move |inner| fees::call(inner, name, params)).await
            }
            Some((_, what)) if what.contains("ilter") || what == "getLogs" => logs::call(self, name, params).await,
            _ if read::is_quick(name) => read::call(inner, name, params),
            _ => {
                let params = params.into_owned();
                self.beside(move |inner| read::call(inner, name, params)).await
            }
        }
    }

    /// Does what reads whole blocks off the async threads: one that is not in memory comes from the disk, and each of its transactions has its
    /// sender recovered. Few at a time, so that many readers do not take the threads that blocks are built on.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let _turn = self.0.readers.acquire().await.map_err(RpcError::internal)?;
        self.off_thread(work).await
    }

    /// Makes the block that would be next, unless nothing has changed since it was made last. One at a time.
    async fn look_ahead(&self) -> Result<(), RpcError> {
        self.off_thread(Inner::look_ahead).await
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let rpc = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&rpc.0)).await;
        done.unwrap_or_else(|error| Err(RpcError::internal(error)))
    }
}

/// Every method with the names of its parameters, in their order.
const METHODS: &[(&str, &[&str])] = &[
    ("eth_chainId", &[]),
    ("eth_blockNumber", &[]),
    ("eth_syncing", &[]),
    ("eth_protocolVersion", &[]),
    ("eth_accounts", &[]),
    ("eth_coinbase", &[]),
    ("eth_mining", &[]),
    ("eth_hashrate", &[]),
    ("eth_gasPrice", &[]),
    ("eth_maxPriorityFeePerGas", &[]),
    ("eth_blobBaseFee", &[]),
    ("eth_feeHistory", &["blockCount", "newestBlock", "rewardPercentiles"]),
    ("eth_getBalance", &["address", "block"]),
    ("eth_getCode", &["address", "block"]),
    ("eth_getStorageAt", &["address", "slot", "block"]),
    ("eth_getTransactionCount", &["address", "block"]),
    ("eth_getProof", &["address", "storageKeys", "block"]),
    ("eth_getBlockByNumber", &["block", "hydrated"]),
    ("eth_getBlockByHash", &["blockHash", "hydrated"]),
    ("eth_getHeaderByNumber", &["block"]),
    ("eth_getHeaderByHash", &["blockHash"]),
    ("eth_getBlockTransactionCountByNumber", &["block"]),
    ("eth_getBlockTransactionCountByHash", &["blockHash"]),
    ("eth_getUncleCountByBlockNumber", &["block"]),
    ("eth_getUncleCountByBlockHash", &["blockHash"]),
    ("eth_getUncleByBlockNumberAndIndex", &["block", "index"]),
    ("eth_getUncleByBlockHashAndIndex", &["blockHash", "index"]),
    ("eth_getTransactionByHash", &["transactionHash"]),
    ("eth_getTransactionByBlockNumberAndIndex", &["block", "index"]),
    ("eth_getTransactionByBlockHashAndIndex", &["blockHash", "index"]),
    ("eth_getRawTransactionByHash", &["transactionHash"]),
    ("eth_getTransactionReceipt", &["transactionHash"]),
    ("eth_getBlockReceipts", &["block"]),
    ("eth_getLogs", &["filter"]),
    ("eth_newFilter", &["filter"]),
    ("eth_newBlockFilter", &[]),
    ("eth_newPendingTransactionFilter", &[]),
    ("eth_getFilterChanges", &["filterId"]),
    ("eth_getFilterLogs", &["filterId"]),
    ("eth_uninstallFilter", &["filterId"]),
    ("eth_call", &["transaction", "block", "stateOverride", "blockOverrides"]),
    ("eth_estimateGas", &["transaction", "block", "stateOverride", "blockOverrides"]),
    ("eth_createAccessList", &["transaction", "block", "stateOverride"]),
    ("eth_simulateV1", &["payload", "block"]),
    ("eth_fillTransaction", &["transaction"]),
    ("eth_sendRawTransaction", &["transaction"]),
    ("eth_sendRawTransactionSync", &["transaction", "timeout"]),
    ("eth_sendTransaction", &["transaction"]),
    ("net_version", &[]),
    ("net_listening", &[]),
    ("net_peerCount", &[]),
    ("web3_clientVersion", &[]),
    ("web3_sha3", &["data"]),
    ("rpc_modules", &[]),
    ("txpool_status", &[]),
    ("txpool_content", &[]),
    ("txpool_contentFrom", &["address"]),
    ("txpool_inspect", &[]),
    ("debug_traceTransaction", &["transactionHash", "options"]),
    ("debug_traceCall", &["transaction", "block", "options"]),
    ("debug_traceBlockByNumber", &["block", "options"]),
    ("debug_traceBlockByHash", &["blockHash", "options"]),
    ("debug_getRawHeader", &["block"]),
    ("debug_getRawBlock", &["block"]),
    ("debug_getRawTransaction", &["transactionHash"]),
    ("debug_getRawReceipts", &["block"]),
    ("evm_mine", &["timestamp"]),
    ("evm_setAutomine", &["enabled"]),
    ("evm_setIntervalMining", &["interval"]),
    ("evm_increaseTime", &["seconds"]),
    ("evm_setTime", &["timestamp"]),
    ("evm_setNextBlockTimestamp", &["timestamp"]),
    ("evm_snapshot", &[]),
    ("evm_revert", &["id"]),
    ("anvil_mine", &["blocks", "interval"]),
    ("anvil_getAutomine", &[]),
    ("anvil_getIntervalMining", &[]),
    ("anvil_setAutomine", &["enabled"]),
    ("anvil_setIntervalMining", &["interval"]),
    ("anvil_increaseTime", &["seconds"]),
    ("anvil_setTime", &["timestamp"]),
    ("anvil_setNextBlockTimestamp", &["timestamp"]),
    ("anvil_snapshot", &[]),
    ("anvil_revert", &["id"]),
    ("anvil_setBalance", &["address", "balance"]),
    ("anvil_setCode", &["address", "code"]),
    ("anvil_setNonce", &["address", "nonce"]),
    ("anvil_setStorageAt", &["address", "slot", "value"]),
    ("anvil_dropTransaction", &["transactionHash"]),
    ("anvil_nodeInfo", &[]),
    ("anvil_impersonateAccount", &["address"]),
    ("anvil_stopImpersonatingAccount", &["address"]),
    ("anvil_autoImpersonateAccount", &["enabled"]),
    ("hardhat_mine", &["blocks", "interval"]),
    ("hardhat_getAutomine", &[]),
    ("hardhat_setBalance", &["address", "balance"]),
    ("hardhat_setCode", &["address", "code"]),
    ("hardhat_setNonce", &["address", "nonce"]),
    ("hardhat_setStorageAt", &["address", "slot", "value"]),
    ("hardhat_dropTransaction", &["transactionHash"]),
    ("hardhat_impersonateAccount", &["address"]),
    ("hardhat_stopImpersonatingAccount", &["address"]),
];

impl Inner {
    fn look_ahead(&self) -> Result<(), RpcError> {
        let mut looked = self.looked.lock();
        let head = self.chain.head();
        let clock = self.development.as_ref().map(|development| development.clock.now());
        let timestamp = clock.unwrap_or_else(|| ChainClock::default().now()).max(head.timestamp + 1);
        let (parent, state_root, pool_changes) = (head.seal(), self.chain.state_root()?, self.pool.changes());
        let now = Some(Sight { parent, state_root, pool_changes, timestamp });
        if *looked == now {
            return Ok(());
        }
        // What nobody has said yet stays as in the newest block.
        let attributes =
            BlockAttributes { timestamp, parent_beacon_block_root: B256::ZERO, ..BlockAttributes::of(&head) };
        self.chain.look_ahead(&attributes, &mut self.pool.glance())?;
        *looked = now;
        Ok(())
    }

    /// The block that an id means.
    fn at(&self, id: BlockId) -> Result<At, RpcError> {
        Ok(match id {
            BlockId::Hash(hash) => At::Hash(hash.block_hash),
            BlockId::Number(tag) => self.at_tag(tag)?,
        })
    }

    fn at_tag(&self, tag: BlockNumberOrTag) -> Result<At, RpcError> {
        Ok(match tag {
            BlockNumberOrTag::Latest => At::Latest,
            BlockNumberOrTag::Pending => At::Pending,
            BlockNumberOrTag::Earliest => At::Number(self.chain.first()),
            BlockNumberOrTag::Number(number) => At::Number(number),
            BlockNumberOrTag::Safe => At::Number(self.labelled("safe")?),
            BlockNumberOrTag::Finalized => At::Number(self.labelled("finalized")?),
        })
    }

    /// Height of the safe or the finalized block: genesis, until it is said.
    fn labelled(&self, name: &str) -> Result<u64, RpcError> {
        Ok(self.chain.label(name)?.map_or(0, |header| header.number))
    }

    /// The state at the end of a block.
    fn state(&self, id: BlockId) -> Result<StateView, RpcError> {
        let unknown = || RpcError::server("header not found");
        self.chain.state(self.at(id)?)?.ok_or_else(unknown)
    }
}

/// Writes an answer.
fn answer<T: Serialize + ?Sized>(value: &T) -> Answer {
    to_raw_value(value).map_err(RpcError::internal)
}
