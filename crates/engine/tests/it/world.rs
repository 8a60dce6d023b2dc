//! An engine that can be restarted, made to misbehave or to say what a test wants, and a backend over it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_consensus::{Header, Receipt};
use alloy_genesis::Genesis as GenesisFile;
use alloy_primitives::{Address, B256, Bytes, Sealed, b256};
use async_trait::async_trait;
use engine::{AttributesBuilder, BlockAt, CallError, EngineBackend, EngineClient, Transport};
use evm::engine_api::{EngineApi, Fault};
use evm::genesis::{DEV_BASE_FEE, DevGenesis};
use evm::rpc::EthRpc;
use evm::{BlockPolicy, Chain, EvmBackend, Pool};
use node::BackendError;
use op_alloy_rpc_types_engine::OpPayloadAttributes;
use optimism::{
    AttributesError, BEDROCK_CHANNEL_TIMEOUT, BlobSchedule, BlockId, FeeParams, Fork, Forks, Genesis, Order, Plan,
    RollupConfig, SystemConfig,
};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;
use types::{Attributes, BlockHash, BlockNumber, BlockRef, Failure, Heads, L1Origin, Timestamp};

/// When the chains of these tests begin: before any slot that is due now.
pub(crate) const BEGAN: u64 = 1_700_000_000;
pub(crate) const CHAIN_ID: u64 = 901;
const GAS_LIMIT: u64 = 60_000_000;
/// For tests in which every call is answered: reached by an overloaded machine alone.
pub(crate) const PATIENT: Duration = Duration::from_secs(60);

/// An engine's process, as far as a caller can tell.
pub(crate) struct Host {
    folder: TempDir,
    genesis: GenesisFile,
    running: Mutex<Option<Arc<Running>>>,
    /// Answers told instead of the engine's, by method. The last one is told again and again.
    scripts: Mutex<BTreeMap<String, Vec<Result<Value, CallError>>>>,
    calls: Mutex<Vec<(String, Value)>>,
}

struct Running {
    api: EngineApi,
    rpc: EthRpc,
}

impl Host {
    fn new(forks: &Forks) -> Arc<Self> {
        let genesis = genesis(forks);
        let folder = tempfile::tempdir().unwrap();
        let host =
            Self { folder, genesis, running: Mutex::default(), scripts: Mutex::default(), calls: Mutex::default() };
        host.start();
        Arc::new(host)
    }

    pub(crate) fn start(&self) {
        *self.running.lock() = Some(Arc::new(Running::open(&self.folder, &self.genesis)));
    }

    pub(crate) fn stop(&self) {
        let running = self.running.lock().take().expect("it runs");
        Arc::into_inner(running).expect("no call is under way");
    }

    pub(crate) fn inject(&self, method: &str, fault: Option<Fault>) {
        self.running.lock().as_ref().expect("it runs").api.inject(method, fault);
    }

    /// From now on these are the answers, one after the other; none: the engine answers again.
    pub(crate) fn script(&self, method: &str, answers: impl IntoIterator<Item = Result<Value, CallError>>) {
        self.scripts.lock().insert(method.to_owned(), answers.into_iter().collect());
    }

    /// What was called, in order, with the parameters.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        self.calls.lock().clone()
    }

    fn scripted(&self, method: &str) -> Option<Result<Value, CallError>> {
        let mut scripts = self.scripts.lock();
        let answers = scripts.get_mut(method)?;
        if answers.len() > 1 { Some(answers.remove(0)) } else { answers.first().cloned() }
    }
}

impl Running {
    fn open(folder: &TempDir, genesis: &GenesisFile) -> Self {
        let chain = Chain::open(&folder.path().join("chain"), Some(genesis.clone())).unwrap();
        let (limits, order) = (mempool::Limits::default(), mempool::Order::Tip);
        let pool = Pool::open(&folder.path().join("pool"), &chain, limits, order).unwrap();
        let policy = BlockPolicy {
            beneficiary: Address::ZERO,
            gas_limit: GAS_LIMIT,
            extra_data: Bytes::new(),
            empty_blocks: true,
        };
        let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
        let rpc = EthRpc::new(chain.clone(), pool.clone(), Default::default(), None);
        Self { api: EngineApi::new(chain, pool, backend), rpc }
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let params = RawValue::from_string(params.to_string()).unwrap();
        let answer = if method.starts_with("engine_") {
            let answer = self.api.call(method, Some(&params)).await;
            answer.map_err(|error| CallError::Rpc { code: error.code, message: error.to_string() })
        } else {
            let answer = self.rpc.call(method, Some(&params)).await;
            answer.map_err(|error| CallError::Rpc { code: error.code, message: error.message })
        };
        Ok(serde_json::from_str(answer?.get()).unwrap())
    }
}

#[async_trait]
impl Transport for Host {
    async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        self.calls.lock().push((method.to_owned(), params.clone()));
        if let Some(answer) = self.scripted(method) {
            return answer;
        }
        let running = self.running.lock().clone();
        let running = running.ok_or_else(|| CallError::Unreachable("connection refused".into()))?;
        running.call(method, params).await
    }
}

/// An engine, its chain's configuration, a client and a backend.
pub(crate) struct World {
    pub(crate) host: Arc<Host>,
    pub(crate) config: Arc<RollupConfig>,
    pub(crate) client: EngineClient,
    pub(crate) backend: EngineBackend,
}

impl World {
    /// A chain that has had all forks up to `last` from the beginning.
    pub(crate) async fn new(last: Fork) -> Self {
        Self::with_deadline(last, PATIENT).await
    }

    /// Calls end after `deadline`.
    pub(crate) async fn with_deadline(last: Fork, deadline: Duration) -> Self {
        Self::with(Forks::from_genesis(last), deadline).await
    }

    pub(crate) async fn with(forks: Forks, deadline: Duration) -> Self {
        let host = Host::new(&forks);
        let config = Arc::new(config(&host, forks).await);
        let client = EngineClient::new(host.clone(), deadline);
        let backend = EngineBackend::new(client.clone(), config.clone(), rules(&client, &config));
        Self { host, config, client, backend }
    }

    /// A second node beside the same engine, or the same node started again.
    pub(crate) fn backend_again(&self) -> EngineBackend {
        EngineBackend::new(self.client.clone(), self.config.clone(), rules(&self.client, &self.config))
    }
}

pub(crate) fn rules(client: &EngineClient, config: &Arc<RollupConfig>) -> Arc<Rules> {
    Arc::new(Rules { client: client.clone(), config: config.clone(), l1: l1_block() })
}

/// The L1 block that everything cites.
fn l1_block() -> Sealed<Header> {
    let header = Header { number: 7, timestamp: BEGAN - 10, base_fee_per_gas: Some(7), ..Header::default() };
    Sealed::new(header)
}

pub(crate) fn origin() -> L1Origin {
    let block = l1_block();
    L1Origin {
        number: block.number,
        hash: BlockHash::new(block.hash().0),
        timestamp: Timestamp::from_secs(block.timestamp),
    }
}

/// Attributes by the rules of the OP Stack, on the parent as the engine tells it, citing one L1 block for ever.
pub(crate) struct Rules {
    client: EngineClient,
    config: Arc<RollupConfig>,
    l1: Sealed<Header>,
}

#[async_trait]
impl AttributesBuilder for Rules {
    async fn build(&self, order: &Attributes) -> Result<OpPayloadAttributes, BackendError> {
        let parent = self.client.block(BlockAt::Hash(B256::from(*order.parent.hash.as_bytes()))).await?;
        let parent = parent.ok_or_else(|| BackendError::Reset("the parent is not known".into()))?;
        let (parent, system) = parent.place(&self.config).map_err(|error| BackendError::Fatal(error.to_string()))?;
        let plan: Plan<'_, Receipt> = Plan {
            parent: &parent,
            parent_system: &system,
            origin: &self.l1,
            receipts: None,
            timestamp: order.timestamp.as_secs(),
            use_pool: order.use_pool,
        };
        let schedule = BlobSchedule::of_l1(self.config.l1_chain_id).expect("Ethereum");
        let order = Order::prepare(&self.config, &schedule, &plan);
        order.map(|order| order.attributes).map_err(|error| refused(&error))
    }
}

fn refused(error: &AttributesError) -> BackendError {
    let reason = error.to_string();
    match error.failure() {
        Failure::Retry => BackendError::Retry(reason),
        Failure::Reset => BackendError::Reset(reason),
        Failure::Fatal => BackendError::Fatal(reason),
    }
}

/// The genesis of a chain with these forks.
fn genesis(forks: &Forks) -> GenesisFile {
    let dev = DevGenesis {
        chain_id: CHAIN_ID,
        balances: Vec::new(),
        gas_limit: GAS_LIMIT,
        base_fee: DEV_BASE_FEE,
        timestamp: BEGAN,
    };
    let mut genesis = dev.into_file();
    let fields = &mut genesis.config.extra_fields;
    fields.insert("bedrockBlock".into(), json!(0));
    fields.insert(
        "optimism".into(),
        json!({ "eip1559Elasticity": 6, "eip1559Denominator": 50,
        "eip1559DenominatorCanyon": 250 }),
    );
    for fork in Fork::ALL {
        if let Some((key, time)) = genesis_key(fork).zip(forks.time(fork)) {
            fields.insert(key, json!(time));
        }
    }
    genesis.extra_data = match forks.newest(BEGAN) {
        Fork::Holocene | Fork::Isthmus => vec![0, 0, 0, 0, 250, 0, 0, 0, 6].into(),
        Fork::Jovian | Fork::Karst => [&[1, 0, 0, 0, 250, 0, 0, 0, 6][..], &[0; 8]].concat().into(),
        _ => Bytes::new(),
    };
    genesis
}

fn genesis_key(fork: Fork) -> Option<String> {
    match fork {
        Fork::Bedrock | Fork::Delta => None,
        other => Some(format!("{}Time", other.name().to_lowercase())),
    }
}

async fn config(host: &Host, forks: Forks) -> RollupConfig {
    let block = host.running.lock().clone().expect("it runs");
    let block = block.call("eth_getBlockByNumber", json!(["0x0", false])).await.unwrap();
    let hash: B256 = serde_json::from_value(block["hash"].clone()).unwrap();
    let l1 = l1_block();
    RollupConfig {
        l1_chain_id: 1,
        l2_chain_id: CHAIN_ID,
        genesis: Genesis {
            l1: BlockId { number: l1.number, hash: l1.hash() },
            l2: BlockId { number: 0, hash },
            l2_time: BEGAN,
            system_config: SystemConfig {
                gas_limit: GAS_LIMIT,
                scalar: b256!("0x0100000000000000000000000000000000000000000000000000000000000001"),
                ..SystemConfig::default()
            },
        },
        block_time: 2,
        bedrock_sequencer_drift: 600,
        sequencing_window: 3600,
        bedrock_channel_timeout: BEDROCK_CHANNEL_TIMEOUT,
        forks,
        pectra_blob_schedule_time: None,
        keep_karst_upgrade_gas: false,
        batch_inbox: Address::repeat_byte(2),
        deposit_contract: Address::repeat_byte(3),
        l1_system_config: Address::repeat_byte(4),
        fees: FeeParams::default(),
        alt_da: None,
    }
}

pub(crate) fn stranger(parent: BlockRef) -> BlockRef {
    BlockRef {
        number: BlockNumber::new(parent.number.as_u64() + 1),
        hash: BlockHash::new([9; 32]),
        parent: parent.hash,
        timestamp: Timestamp::from_secs(parent.timestamp.as_secs() + 2),
    }
}

pub(crate) fn heads(block: BlockRef, safe: BlockRef) -> Heads {
    Heads::new(block, safe, safe).unwrap()
}
