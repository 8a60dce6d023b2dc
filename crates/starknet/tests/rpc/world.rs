//! A chain in a temporary folder with its interface, driven by hand: blocks open and close when the test says so.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use node::{Backend, Persistence, Sealed};
use sequencer::Record;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use starknet::backend::StarknetBackend;
use starknet::chain::Chain;
use starknet::config::{BouncerProfile, ChainConfig, GasPriceConfig, GenesisSource};
use starknet::pool::{Pool, PoolConfig};
use starknet::rpc::{Limits, RpcError, Sink, SinkClosed, StarknetRpc};
use starknet_api::block::{GasPrice, NonzeroGasPrice, StarknetVersion};
use starknet_api::core::{ChainId, ContractAddress};
use starknet_types_core::felt::Felt;
use tempfile::TempDir;
use tokio::sync::mpsc;
use types::{Attributes, BlockRef, BuildId, Heads, Slot, Timestamp};

use crate::client::Account;
use crate::specification::Specification;

pub(crate) static SPECIFICATION: LazyLock<Specification> = LazyLock::new(Specification::load);

/// How long anything that should happen at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) rpc: StarknetRpc,
    pub(crate) chain: Chain,
    pub(crate) pool: Pool,
    backend: StarknetBackend,
    builds: AtomicU64,
    /// Calls alternate between parameters by name and by position.
    by_name: AtomicBool,
    /// Methods that answered and (method, error) pairs that were provoked.
    pub(crate) answered: Mutex<BTreeSet<String>>,
    pub(crate) provoked: Mutex<BTreeSet<(String, String)>>,
    _folder: TempDir,
}

/// A chain as a newcomer gets it, with gas prices of 1 so that small accounts last.
pub(crate) fn config() -> ChainConfig {
    let price = NonzeroGasPrice::new(GasPrice(1_000_000_000)).expect("it is not zero");
    ChainConfig {
        chain_id: ChainId::Other("SN_TEST".to_owned()),
        protocol: StarknetVersion::V0_14_3,
        bouncer: BouncerProfile::Dev,
        fees: true,
        gas_prices: GasPriceConfig {
            l1_wei: price,
            l1_fri: price,
            l1_data_wei: price,
            l1_data_fri: price,
            l2_wei: price,
            l2_fri: price,
        },
        sequencer_address: ContractAddress::try_from(Felt::from(1234)).expect("an address"),
        blob_data: true,
        workers: 1,
        call_max_steps: 10_000_000,
        call_max_gas: 1_000_000_000,
        signing_key: Felt::from(7),
        genesis: GenesisSource::Dev { accounts: 3, seed: 1, balance: 1_000_000_000_000_000_000_000 },
        cache_bytes: 64 << 20,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config(), PoolConfig::default(), Limits::default())
    }

    pub(crate) fn with(config: ChainConfig, pool: PoolConfig, limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = Chain::open(&folder.path().join("chain"), config).expect("a new chain");
        let pool = Pool::open(&folder.path().join("pool"), pool, &chain).expect("an empty pool");
        let backend = StarknetBackend::start(chain.clone(), Arc::new(pool.clone()), true).expect("a builder");
        let rpc = StarknetRpc::new(chain.clone(), pool.clone(), limits);
        Self {
            rpc,
            chain,
            pool,
            backend,
            builds: AtomicU64::new(1),
            by_name: AtomicBool::new(false),
            answered: Mutex::default(),
            provoked: Mutex::default(),
            _folder: folder,
        }
    }

    pub(crate) fn account(&self, index: usize) -> Account {
        let account = &self.chain.accounts()[index];
        Account {
            address: account.address.into(),
            private_key: account.private_key,
            chain_id: self.chain.config().chain_id.clone(),
        }
    }

    fn raw(&self, method: &str, params: &Value) -> Box<RawValue> {
        let by_name = self.by_name.fetch_xor(true, Ordering::Relaxed);
        let Value::Object(members) = params else { return to_raw(params) };
        if by_name {
            return to_raw(params);
        }
        let order = SPECIFICATION.params(method);
        let mut list: Vec<Value> =
            order.iter().map(|(name, _, _)| members.get(*name).cloned().unwrap_or(Value::Null)).collect();
        while list.last() == Some(&Value::Null) {
            list.pop();
        }
        to_raw(&Value::Array(list))
    }

    /// Calls `method`, which must answer as the specification says.
    pub(crate) async fn ok(&self, method: &str, params: Value) -> Value {
        let raw = self.raw(method, &params);
        let answer = self.rpc.call(method, Some(&raw)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {params}: {error}"));
        let result: Value = serde_json::from_str(answer.get()).expect("JSON");
        SPECIFICATION.check_result(method, &result);
        self.answered.lock().expect("no test panicked").insert(method.to_owned());
        result
    }

    /// Calls `method`, which must fail with the specification's error `name`; returns the error's data.
    pub(crate) async fn err(&self, method: &str, params: Value, name: &str) -> Value {
        let raw = self.raw(method, &params);
        let error = match self.rpc.call(method, Some(&raw)).await {
            Ok(answer) => panic!("{method} {params} answered {}", answer.get()),
            Err(error) => error,
        };
        self.judge(method, &params, error, name)
    }

    /// Opens the subscription `method`, which must fail with the specification's error `name`.
    pub(crate) async fn subscribe_err(&self, method: &str, params: Value, name: &str) {
        let raw = self.raw(method, &params);
        let (sink, _) = Channel::new();
        let error = self.rpc.subscribe(method, Some(&raw), sink).await.expect_err("it should fail");
        self.judge(method, &params, error, name);
    }

    pub(crate) fn judge(&self, method: &str, params: &Value, error: RpcError, name: &str) -> Value {
        let found = SPECIFICATION.check_error(method, error.code, &error.message, error.data.as_ref());
        assert_eq!(found, name, "{method} {params}: {error}");
        self.provoked.lock().expect("no test panicked").insert((method.to_owned(), found));
        error.data.unwrap_or_default()
    }

    /// Calls `method`, which must refuse its parameters; returns why.
    pub(crate) async fn invalid(&self, method: &str, params: Value) -> String {
        let raw = to_raw(&params);
        let error = match self.rpc.call(method, Some(&raw)).await {
            Ok(answer) => panic!("{method} {params} answered {}", answer.get()),
            Err(error) => error,
        };
        assert_eq!(error.code, -32602, "{method} {params}: {error}");
        error.data.and_then(|data| data.as_str().map(str::to_owned)).expect("a reason")
    }

    /// Opens a subscription.
    pub(crate) async fn subscribe(&self, method: &str, params: Value) -> Subscription {
        let raw = self.raw(method, &params);
        let (channel, received) = Channel::new();
        let sink = Arc::downgrade(&channel);
        let id = self.rpc.subscribe(method, Some(&raw), channel).await;
        let id = id.unwrap_or_else(|error| panic!("{method} {params}: {error}"));
        SPECIFICATION.check_result(method, &json!(id));
        self.answered.lock().expect("no test panicked").insert(method.to_owned());
        Subscription { id, received, sink }
    }

    /// Submits a transaction; returns its hash.
    pub(crate) async fn send(&self, transaction: &Value) -> Value {
        let (method, name) = submission(transaction);
        self.ok(method, json!({ name: transaction })).await["transaction_hash"].clone()
    }

    /// Submits a transaction, which must be refused.
    pub(crate) async fn refuse(&self, transaction: &Value, error: &str) -> Value {
        let (method, name) = submission(transaction);
        self.err(method, json!({ name: transaction }), error).await
    }

    /// Opens a block.
    pub(crate) async fn open(&self) -> BuildId {
        let build = BuildId::new(self.builds.fetch_add(1, Ordering::Relaxed));
        let head = self.chain.head();
        let parent = BlockRef {
            number: types::BlockNumber::new(head.number.0),
            hash: types::BlockHash::new(head.hash.0.to_bytes_be()),
            parent: types::BlockHash::new(head.parent_hash.0.to_bytes_be()),
            timestamp: Timestamp::from_secs(head.timestamp.0),
        };
        let timestamp = Timestamp::from_secs(head.timestamp.0 + 10);
        let slot = Slot::new(head.number.0 + 1);
        let attributes = Attributes { slot, parent, timestamp, origin: None, use_pool: true };
        self.backend.open(build, attributes).await.expect("a block opens");
        build
    }

    /// Closes the open block and makes it the head.
    pub(crate) async fn seal(&self, build: BuildId) {
        let Sealed::Payload(payload) = self.backend.seal(build).await.expect("a block seals") else {
            panic!("an empty block is a block too")
        };
        self.backend.persist(&Record::Payload(payload.clone())).await.expect("the disk takes it");
        self.backend.import(&payload).await.expect("our own block is sound");
        self.backend.set_heads(Heads::at(payload.block)).await.expect("it becomes the head");
    }

    /// Submits transactions and puts them into one block; returns their hashes.
    pub(crate) async fn block_of(&self, transactions: &[Value]) -> Vec<Value> {
        let build = self.open().await;
        let mut hashes = Vec::new();
        for transaction in transactions {
            hashes.push(self.send(transaction).await);
        }
        self.executed(&hashes).await;
        self.seal(build).await;
        hashes
    }

    /// Waits until all are executed in the open block.
    pub(crate) async fn executed(&self, hashes: &[Value]) {
        let mut open = self.chain.watch_pre_confirmed();
        let all = async {
            loop {
                let done = hashes.iter().all(|hash| {
                    let hash = Felt::from_hex(hash.as_str().expect("a hash")).expect("a hash");
                    self.chain
                        .transaction(starknet_api::transaction::TransactionHash(hash))
                        .expect("a sound disk")
                        .is_some()
                });
                if done {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), open.changed()).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            let reasons: Vec<_> = hashes
                .iter()
                .map(|hash| Felt::from_hex(hash.as_str().expect("a hash")).expect("a hash"))
                .map(|hash| self.pool.rejection(starknet_api::transaction::TransactionHash(hash)))
                .collect();
            panic!("not executed: {hashes:?} {reasons:?}");
        }
    }
}

fn submission(transaction: &Value) -> (&'static str, &'static str) {
    match transaction["type"].as_str() {
        Some("INVOKE") => ("starknet_addInvokeTransaction", "invoke_transaction"),
        Some("DECLARE") => ("starknet_addDeclareTransaction", "declare_transaction"),
        _ => ("starknet_addDeployAccountTransaction", "deploy_account_transaction"),
    }
}

fn to_raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("JSON")
}

/// A subscriber that keeps all it is told.
pub(crate) struct Channel {
    notifications: mpsc::UnboundedSender<(String, Value)>,
}

impl Channel {
    fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<(String, Value)>) {
        let (notifications, received) = mpsc::unbounded_channel();
        (Arc::new(Self { notifications }), received)
    }
}

#[async_trait]
impl Sink for Channel {
    async fn send(&self, method: &'static str, params: Box<RawValue>) -> Result<(), SinkClosed> {
        let params = serde_json::from_str(params.get()).expect("JSON");
        self.notifications.send((method.to_owned(), params)).map_err(|_| SinkClosed)
    }

    async fn closed(&self) {
        self.notifications.closed().await;
    }
}

/// An open subscription.
pub(crate) struct Subscription {
    pub(crate) id: String,
    received: mpsc::UnboundedReceiver<(String, Value)>,
    /// What the subscription's task holds.
    pub(crate) sink: Weak<Channel>,
}

impl Subscription {
    /// The next notification, which must be `method` in its schema; returns its result.
    pub(crate) async fn next(&mut self, method: &str) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        let (found, params) = next.unwrap_or_else(|_| panic!("no {method} came")).expect("the subscription is open");
        assert_eq!(found, method);
        assert_eq!(params["subscription_id"], json!(self.id));
        let mut members: Vec<&String> = params.as_object().map(Map::keys).expect("an object").collect();
        members.sort();
        assert_eq!(members, ["result", "subscription_id"]);
        SPECIFICATION.check_notification(method, &params["result"]);
        params["result"].clone()
    }

    /// Panics if anything came that was not expected.
    pub(crate) fn nothing_more(&mut self) {
        if let Ok(more) = self.received.try_recv() {
            panic!("{more:?} came as well");
        }
    }
}

/// A file of the vectors, or `None` (and a word about it) where they are absent.
pub(crate) fn vector(path: &str) -> Option<Value> {
    let root = std::env::var_os("SEQUENZA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let path = root.join(path);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).expect("a vector is JSON")),
        Err(error) => {
            eprintln!("skipped: {}: {error}", path.display());
            None
        }
    }
}

/// A subscriber who does not listen.
pub(crate) fn deaf() -> Arc<dyn Sink> {
    Channel::new().0
}
