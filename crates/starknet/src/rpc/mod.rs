//! The Starknet JSON-RPC interface, version 0.10.2: parameters in, JSON out.
//!
//! Knows nothing of how a request arrives: no HTTP, no WebSocket, no ids of requests. A transport calls
//! [`StarknetRpc::call`] and [`StarknetRpc::subscribe`] with the method's name and its parameters as they came, and
//! puts the answer into its envelope.
//!
//! What answers to whom:
//!
//! | file | methods |
//! |---|---|
//! | `read` | everything that only looks at the chain |
//! | `execute` | call, estimate, simulate |
//! | `traced` | traces of what the chain executed |
//! | `write` | the three submissions |
//! | `postman` | a message from L1, on development networks |
//! | `subscriptions` | what goes on telling over a WebSocket |
//! | `openrpc` | the document that describes it all |

mod block;
mod block_id;
mod class;
mod error;
mod events;
mod execute;
mod failure;
mod hex;
mod openrpc;
mod params;
mod postman;
mod proof;
mod read;
mod receipt;
mod state_update;
mod subscriptions;
mod trace;
mod traced;
mod transaction;
mod write;

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Semaphore;

pub use self::error::RpcError;
use self::params::Params;
pub use self::subscriptions::{Sink, SinkClosed};
use self::traced::TraceCache;
use crate::admission::{AdmissionLimits, Gateway};
use crate::chain::{Chain, ChainError};
use crate::deep::deep_thread;
use crate::pool::Pool;

/// Version of the specification that is served.
pub const SPEC_VERSION: &str = "0.10.2";

/// The method of development networks, with its parameters in order.
const SEND_MESSAGE_TO_L2: &str = "devnet_postmanSendMessageToL2";
const MESSAGE_TO_L2: &[&str] = &[
    "l2_contract_address",
    "entry_point_selector",
    "l1_contract_address",
    "payload",
    "paid_fee_on_l1",
    "nonce",
    "l1_transaction_hash",
];

/// Bounds on what one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events on one page of `starknet_getEvents`; more is error 31.
    pub event_page: usize,
    /// Key values, over all positions, in an event filter; more is error 34.
    pub event_keys: usize,
    /// Addresses in a filter of events, receipts or transactions; more is error 67 where the specification has it.
    pub filter_addresses: usize,
    /// Classes, contracts and slots proved in one call.
    pub proof_keys: usize,
    /// Transactions estimated or simulated in one call.
    pub simulated_transactions: usize,
    /// Calls, estimates, simulations and traces that execute at the same time; further ones wait.
    pub executions: usize,
    /// Bytes of traces of sealed blocks that are kept, so that a block is not executed again for each of them.
    pub trace_bytes: usize,
    /// What one submitted transaction may bring along.
    pub admission: AdmissionLimits,
    /// How many blocks before the head a subscription may start; more is error 68. The specification's number is 1024.
    pub blocks_back: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_page: 1024,
            event_keys: 256,
            filter_addresses: 1024,
            proof_keys: 100,
            simulated_transactions: 100,
            executions: std::thread::available_parallelism().map_or(2, usize::from),
            trace_bytes: 32 << 20,
            admission: AdmissionLimits::default(),
            blocks_back: 1024,
        }
    }
}

/// The interface of one chain. Cheap to clone.
#[derive(Clone)]
pub struct StarknetRpc(Arc<Inner>);

struct Inner {
    chain: Chain,
    pool: Pool,
    gateway: Gateway,
    limits: Limits,
    executions: Arc<Semaphore>,
    traces: TraceCache,
}

/// What a method comes back with.
type Answer = Result<Box<RawValue>, RpcError>;

impl StarknetRpc {
    /// The interface of `chain`.
    #[must_use]
    pub fn new(chain: Chain, pool: Pool, limits: Limits) -> Self {
        let executions = Arc::new(Semaphore::new(limits.executions.clamp(1, Semaphore::MAX_PERMITS)));
        let gateway = Gateway::new(chain.clone(), pool.clone(), limits.admission);
        let traces = TraceCache::new(limits.trace_bytes);
        Self(Arc::new(Inner { chain, pool, gateway, limits, executions, traces }))
    }

    /// Names of methods beyond the specification that [`call`](Self::call) answers on this chain: none but on development
    /// networks.
    #[must_use]
    pub fn extra_methods(&self) -> &'static [&'static str] {
        if postman::is_offered(self) { &[SEND_MESSAGE_TO_L2] } else { &[] }
    }

    /// Names of the specification's methods that [`call`](Self::call) answers.
    #[must_use]
    pub fn methods() -> &'static [&'static str] {
        method_names()
    }

    /// Names of the methods that [`subscribe`](Self::subscribe) answers.
    #[must_use]
    pub fn subscriptions() -> &'static [&'static str] {
        subscription_names()
    }

    /// Carries out a call. `params` is what came under that name: a list, an object, or nothing.
    ///
    /// # Errors
    /// The specification's errors for the method, `-32601` for an unknown one, `-32602` for wrong parameters,
    /// `-32603` when the node itself fails.
    pub async fn call(&self, method: &str, params: Option<&RawValue>) -> Answer {
        if method == SEND_MESSAGE_TO_L2 && postman::is_offered(self) {
            return postman::send_message_to_l2(self, Params::sort(MESSAGE_TO_L2, params)?).await;
        }
        dispatch(self, method, params).await
    }

    /// The OpenRPC document that describes all methods and notifications, for `rpc.discover`.
    #[must_use]
    pub fn openrpc() -> &'static serde_json::Value {
        openrpc::document()
    }

    /// What to answer to `starknet_unsubscribe` with an id that is not open on the connection.
    #[must_use]
    pub fn unknown_subscription() -> RpcError {
        error::INVALID_SUBSCRIPTION_ID.into()
    }

    fn chain(&self) -> &Chain {
        &self.0.chain
    }

    fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Executes without changing the chain, when it is the call's turn.
    async fn dry_run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Chain) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        // Kept until the work ends, also when the caller has gone before that.
        let turn = Arc::clone(&self.0.executions).acquire_owned().await.map_err(RpcError::internal)?;
        let chain = self.chain().clone();
        let work = move || {
            let answer = work(&chain);
            drop(turn);
            answer
        };
        let answer = deep_thread("dry-run", work).await;
        answer.unwrap_or_else(|| Err(RpcError::internal("the execution ended without a result")))
    }

    fn traces(&self) -> &TraceCache {
        &self.0.traces
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

/// A method with its parameters in the order of the specification.
struct Method {
    name: &'static str,
    params: &'static [&'static str],
}

/// The table of methods, and the way from a name to the function that answers it.
macro_rules! methods {
    ($($name:literal ($($param:ident),*) => $function:path;)*) => {
        #[cfg(test)]
        const METHODS: &[Method] = &[$(Method { name: $name, params: &[$(stringify!($param)),*] }),*];

        fn method_names() -> &'static [&'static str] {
            &[$($name),*]
        }

        async fn dispatch(rpc: &StarknetRpc, method: &str, raw: Option<&RawValue>) -> Answer {
            match method {
                $($name => $function(rpc, Params::sort(&[$(stringify!($param)),*], raw)?).await,)*
                _ => Err(RpcError::method_not_found(method)),
            }
        }
    };
}

methods! {
    "starknet_specVersion" () => read::spec_version;
    "starknet_getBlockWithTxHashes" (block_id) => read::block_with_tx_hashes;
    "starknet_getBlockWithTxs" (block_id, response_flags) => read::block_with_txs;
    "starknet_getBlockWithReceipts" (block_id, response_flags) => read::block_with_receipts;
    "starknet_getStateUpdate" (block_id, contract_addresses) => read::state_update;
    "starknet_getStorageAt" (contract_address, key, block_id, response_flags) => read::storage_at;
    "starknet_getTransactionStatus" (transaction_hash) => read::transaction_status;
    "starknet_getMessagesStatus" (transaction_hash) => read::messages_status;
    "starknet_getTransactionByHash" (transaction_hash, response_flags) => read::transaction_by_hash;
    "starknet_getTransactionByBlockIdAndIndex" (block_id, index, response_flags) => read::transaction_by_block_id_and_index;
    "starknet_getTransactionReceipt" (transaction_hash) => read::transaction_receipt;
    "starknet_getClass" (block_id, class_hash) => read::class;
    "starknet_getClassHashAt" (block_id, contract_address) => read::class_hash_at;
    "starknet_getClassAt" (block_id, contract_address) => read::class_at;
    "starknet_getBlockTransactionCount" (block_id) => read::block_transaction_count;
    "starknet_blockNumber" () => read::block_number;
    "starknet_blockHashAndNumber" () => read::block_hash_and_number;
    "starknet_chainId" () => read::chain_id;
    "starknet_syncing" () => read::syncing;
    "starknet_getEvents" (filter) => read::get_events;
    "starknet_getNonce" (block_id, contract_address) => read::nonce;
    "starknet_getStorageProof" (block_id, class_hashes, contract_addresses, contracts_storage_keys) => read::storage_proof;
    "starknet_getCompiledCasm" (class_hash) => read::compiled_casm;
    "starknet_addInvokeTransaction" (invoke_transaction) => write::add_invoke_transaction;
    "starknet_addDeclareTransaction" (declare_transaction) => write::add_declare_transaction;
    "starknet_addDeployAccountTransaction" (deploy_account_transaction) => write::add_deploy_account_transaction;
    "starknet_call" (request, block_id) => execute::call;
    "starknet_estimateFee" (request, simulation_flags, block_id) => execute::estimate_fee;
    "starknet_estimateMessageFee" (message, block_id) => execute::estimate_message_fee;
    "starknet_simulateTransactions" (block_id, transactions, simulation_flags) => execute::simulate_transactions;
    "starknet_traceTransaction" (transaction_hash) => traced::trace_transaction;
    "starknet_traceBlockTransactions" (block_id, trace_flags) => traced::trace_block_transactions;
}

/// Names of the subscriptions.
fn subscription_names() -> &'static [&'static str] {
    subscriptions::NAMES
}

/// The parameters of a method or subscription, in order.
#[cfg(test)]
fn parameter_names(name: &str) -> Option<&'static [&'static str]> {
    let methods = METHODS.iter().chain(subscriptions::METHODS);
    methods.into_iter().find(|method| method.name == name).map(|method| method.params)
}

/// Writes a result.
fn answer<T: Serialize + ?Sized>(result: &T) -> Answer {
    to_raw_value(result).map_err(RpcError::internal)
}

/// The chain cannot answer: the disk, not the request, is at fault.
fn from_chain(error: ChainError) -> RpcError {
    RpcError::internal(error)
}

/// Runs what takes long or reads much on a thread where waiting harms no other call.
async fn off_thread<F>(work: F) -> Answer
where
    F: FnOnce() -> Answer + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(_) => Err(RpcError::internal("the call ended before it had an answer")),
    }
}
