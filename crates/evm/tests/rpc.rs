//! Every method on a small chain: what it answers, and what it says when it cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_signer_local::PrivateKeySigner;
use async_trait::async_trait;
use evm::genesis::{DEV_BASE_FEE, DEV_GAS_LIMIT, DevGenesis};
use evm::rpc::{ChainClock, DevControl, Development, EthRpc, Limits, RpcError, Sink, SinkClosed};
use evm::{BlockPolicy, Chain, EvmBackend, Pool};
use node::{Backend, Persistence, Sealed};
use sequencer::Record;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use types::{Attributes, BuildId, Heads, Slot, Timestamp, Verdict};

const KEY: B256 = B256::with_last_byte(1);
/// Returns 42 for no calldata; logs and stores otherwise. Hand-assembled:
/// `calldatasize iszero jumpi(answer) sstore(1, 1) log0(0, 0) stop answer: mstore(0, 42) return(0, 32)`.
const CODE: [u8; 27] = hex!("3615601057600160015560006000a0005b602a60005260206000f3");

struct World {
    _folder: tempfile::TempDir,
    rpc: EthRpc,
    key: PrivateKeySigner,
}

/// Makes blocks without a driver: open, seal, import, set heads.
struct Maker {
    chain: Chain,
    backend: EvmBackend,
    builds: AtomicU64,
}

#[async_trait]
impl DevControl for Maker {
    async fn mine(&self, date: u64) -> Result<(), String> {
        let parent = evm::block::block_ref(&self.chain.head());
        let build = BuildId::new(self.builds.fetch_add(1, Ordering::Relaxed));
        let timestamp = Timestamp::from_secs(date.max(parent.timestamp.as_secs() + 1));
        let slot = Slot::new(parent.number.as_u64() + 1);
        let attributes = Attributes { slot, parent, timestamp, origin: None, use_pool: true };
        self.backend.open(build, attributes).await.map_err(|error| error.to_string())?;
        let Sealed::Payload(payload) = self.backend.seal(build).await.map_err(|error| error.to_string())? else {
            return Err("nothing to seal".into());
        };
        assert_eq!(self.backend.import(&payload).await, Ok(Verdict::Valid));
        self.backend.persist(&Record::Payload(payload.clone())).await.map_err(|error| error.to_string())?;
        self.backend.set_heads(Heads::at(payload.block)).await.map_err(|error| error.to_string())
    }

    fn automine(&self) -> bool {
        false
    }
    fn set_automine(&self, _on: bool) {}
    fn interval(&self) -> Option<Duration> {
        None
    }
    fn set_interval(&self, _interval: Option<Duration>) {}
}

impl World {
    fn new(development: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = PrivateKeySigner::from_bytes(&KEY).expect("a key");
        let balances = vec![(key.address(), U256::from(10_u128.pow(18)))];
        let (gas_limit, base_fee) = (DEV_GAS_LIMIT, DEV_BASE_FEE);
        let genesis = DevGenesis { chain_id: 31_337, balances, gas_limit, base_fee, timestamp: 1_700_000_000 };
        let chain = Chain::open(&folder.path().join("chain"), Some(genesis.into_file())).expect("opens");
        let limits = mempool::Limits::default();
        let pool = Pool::open(&folder.path().join("pool"), &chain, limits, mempool::Order::Tip).expect("opens");
        let policy =
            BlockPolicy { beneficiary: Address::ZERO, gas_limit, extra_data: Bytes::new(), empty_blocks: true };
        let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
        let maker = Maker { chain: chain.clone(), backend: backend.clone(), builds: AtomicU64::new(1) };
        let development = development.then(|| Development {
            signers: vec![key.clone()],
            control: Arc::new(maker),
            clock: Arc::new(ChainClock::default()),
            backend,
        });
        let limits = Limits { log_blocks: 5, filters: 3, ..Limits::default() };
        Self { _folder: folder, rpc: EthRpc::new(chain, pool, limits, development), key }
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let raw = RawValue::from_string(params.to_string()).expect("JSON");
        let answer = self.rpc.call(method, Some(&raw)).await?;
        Ok(serde_json::from_str(answer.get()).expect("JSON"))
    }

    async fn get(&self, method: &str, params: Value) -> Value {
        self.ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn fails(&self, method: &str, params: Value, code: i64, text: &str) {
        let error = self.ask(method, params).await.expect_err(method);
        assert_eq!(error.code, code, "{method}: {error}");
        assert!(error.message.contains(text), "{method}: {error} lacks {text:?}");
    }
}

/// A chain with a transfer, a contract and a call of it in its first three blocks.
async fn lively() -> (World, [Value; 3], Value) {
    let world = World::new(true);
    let from = world.key.address();
    let init = hex::encode_prefixed([&hex!("601b80600b6000396000f3")[..], &CODE].concat());
    let mut hashes = Vec::new();
    let transactions = [
        json!({ "from": from, "to": Address::repeat_byte(7), "value": "0x5" }),
        json!({ "from": from, "data": init }),
        json!({ "from": from, "to": from.create(1), "data": "0x01" }),
    ];
    for transaction in transactions {
        hashes.push(world.get("eth_sendTransaction", json!([transaction])).await);
        world.get("evm_mine", json!([])).await;
    }
    let contract = world.get("eth_getTransactionReceipt", json!([hashes[1]])).await["contractAddress"].clone();
    (world, hashes.try_into().expect("three"), contract)
}

#[tokio::test]
async fn every_method_answers() {
    let (world, [transfer, deployment, called], contract) = lively().await;
    let from = json!(world.key.address());
    let block = world.get("eth_getBlockByNumber", json!(["latest", false])).await;
    let hash = block["hash"].clone();
    assert_eq!((&block["number"], &block["transactions"][0]), (&json!("0x3"), &called));
    let filter = world.get("eth_newFilter", json!([{ "address": contract }])).await;
    let call = json!({ "to": contract });
    let mut asked = std::collections::BTreeSet::new();
    let mut check = async |method: &'static str, params: Value, expected: Value| {
        asked.insert(method);
        let answer = world.get(method, params).await;
        if !expected.is_null() {
            assert_eq!(answer, expected, "{method}");
        }
        answer
    };
    check("eth_chainId", json!([]), json!("0x7a69")).await;
    check("net_version", json!([]), json!("31337")).await;
    check("net_listening", json!([]), json!(true)).await;
    check("net_peerCount", json!([]), json!("0x0")).await;
    check("eth_blockNumber", json!([]), json!("0x3")).await;
    check("eth_syncing", json!([]), json!(false)).await;
    check("eth_mining", json!([]), json!(false)).await;
    check("eth_hashrate", json!([]), json!("0x0")).await;
    check("eth_protocolVersion", json!([]), Value::Null).await;
    check("eth_coinbase", json!([]), json!(Address::ZERO)).await;
    check("eth_accounts", json!([]), json!([from])).await;
    check("web3_clientVersion", json!([]), json!(format!("sequenza/{}", env!("CARGO_PKG_VERSION")))).await;
    let empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    check("web3_sha3", json!(["0x"]), json!(empty)).await;
    check("rpc_modules", json!([]), Value::Null).await;
    for method in ["eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_blobBaseFee"] {
        let price = check(method, json!([]), Value::Null).await;
        assert!(price.as_str().is_some_and(|price| price.starts_with("0x") && price != "0x0"), "{method}: {price}");
    }
    let history = check("eth_feeHistory", json!(["0x2", "latest", [25.0, 75.0]]), Value::Null).await;
    assert_eq!(history["oldestBlock"], "0x2");
    assert_eq!(history["baseFeePerGas"].as_array().map(Vec::len), Some(3));
    assert_eq!(history["reward"].as_array().map(Vec::len), Some(2));

    check("eth_getBalance", json!([Address::repeat_byte(7), "latest"]), json!("0x5")).await;
    check("eth_getBalance", json!([Address::repeat_byte(7), "earliest"]), json!("0x0")).await;
    check("eth_getBalance", json!([Address::repeat_byte(7), { "blockHash": hash }]), json!("0x5")).await;
    check("eth_getCode", json!([contract, "latest"]), json!(hex::encode_prefixed(CODE))).await;
    check("eth_getStorageAt", json!([contract, "0x1", "latest"]), json!(B256::with_last_byte(1))).await;
    check("eth_getTransactionCount", json!([from, "pending"]), json!("0x3")).await;
    check("eth_getTransactionCount", json!([from, "0x1"]), json!("0x1")).await;
    let proof = check("eth_getProof", json!([contract, ["0x1"], "latest"]), Value::Null).await;
    assert_eq!(proof["storageProof"][0]["value"], "0x1");
    let by_hash = check("eth_getBlockByHash", json!([hash, false]), Value::Null).await;
    assert_eq!(by_hash, block);
    check("eth_getBlockByNumber", json!(["0x9", false]), Value::Null).await;
    let header = check("eth_getHeaderByNumber", json!(["latest"]), Value::Null).await;
    assert_eq!(header["hash"], hash);
    check("eth_getHeaderByHash", json!([hash]), header).await;
    for (method, named) in [("ByNumber", json!("0x3")), ("ByHash", hash.clone())] {
        let count = if method == "ByNumber" {
            "eth_getBlockTransactionCountByNumber"
        } else {
            "eth_getBlockTransactionCountByHash"
        };
        check(count, json!([named]), json!("0x1")).await;
        let (uncles, uncle, transaction) = if method == "ByNumber" {
            (
                "eth_getUncleCountByBlockNumber",
                "eth_getUncleByBlockNumberAndIndex",
                "eth_getTransactionByBlockNumberAndIndex",
            )
        } else {
            ("eth_getUncleCountByBlockHash", "eth_getUncleByBlockHashAndIndex", "eth_getTransactionByBlockHashAndIndex")
        };
        check(uncles, json!([named]), json!("0x0")).await;
        assert_eq!(check(uncle, json!([named, "0x0"]), Value::Null).await, Value::Null);
        assert_eq!(check(transaction, json!([named, "0x0"]), Value::Null).await["hash"], called);
    }
    let found = check("eth_getTransactionByHash", json!([transfer]), Value::Null).await;
    assert_eq!((&found["value"], &found["from"], &found["blockNumber"]), (&json!("0x5"), &from, &json!("0x1")));
    assert_eq!(check("eth_getTransactionByHash", json!([B256::ZERO]), Value::Null).await, Value::Null);
    let raw = check("eth_getRawTransactionByHash", json!([transfer]), Value::Null).await;
    check("debug_getRawTransaction", json!([transfer]), raw).await;
    let receipt = check("eth_getTransactionReceipt", json!([called]), Value::Null).await;
    assert_eq!((&receipt["status"], receipt["logs"].as_array().map(Vec::len)), (&json!("0x1"), Some(1)));
    check("eth_getBlockReceipts", json!(["0x3"]), json!([receipt])).await;
    let logs = check("eth_getLogs", json!([{ "address": contract, "fromBlock": "0x0" }]), Value::Null).await;
    assert_eq!(logs, receipt["logs"]);
    check("eth_getLogs", json!([{ "blockHash": hash }]), logs.clone()).await;
    check("eth_getLogs", json!([{ "address": from, "fromBlock": "0x0" }]), json!([])).await;

    let forty_two = json!(B256::with_last_byte(42));
    check("eth_call", json!([call, "latest"]), forty_two).await;
    let code = json!({ contract.as_str().expect("text"): { "code": "0x602b60005260206000f3" } });
    check("eth_call", json!([call, "latest", code]), json!(B256::with_last_byte(43))).await;
    check("eth_estimateGas", json!([{ "from": from, "to": Address::repeat_byte(7), "value": "0x1" }]), json!("0x5208"))
        .await;
    let blocks = json!({ "blockStateCalls": [{ "calls": [call] }] });
    let simulated = check("eth_simulateV1", json!([blocks, "latest"]), Value::Null).await;
    assert_eq!(simulated[0]["calls"][0]["returnData"], json!(B256::with_last_byte(42)));
    let filled =
        check("eth_fillTransaction", json!([{ "from": from, "to": contract, "data": "0x01" }]), Value::Null).await;
    assert_eq!((&filled["tx"]["nonce"], &filled["tx"]["type"]), (&json!("0x3"), &json!("0x2")));
    assert!(filled["raw"].as_str().is_some_and(|raw| raw.starts_with("0x02")), "{filled}");
    let listed =
        check("eth_createAccessList", json!([{ "from": from, "to": contract, "data": "0x01" }]), Value::Null).await;
    assert_eq!(listed["accessList"][0]["storageKeys"], json!([B256::with_last_byte(1)]));
    let tracer = json!({ "tracer": "callTracer" });
    let trace = check("debug_traceTransaction", json!([called, tracer]), Value::Null).await;
    assert_eq!((&trace["to"], &trace["type"]), (&contract, &json!("CALL")));
    let steps = check("debug_traceTransaction", json!([called]), Value::Null).await;
    assert!(steps["structLogs"].as_array().is_some_and(|steps| steps.len() > 5));
    let prestate = json!([deployment, { "tracer": "prestateTracer", "tracerConfig": { "diffMode": true } }]);
    assert!(check("debug_traceTransaction", prestate, Value::Null).await["post"].is_object());
    check("debug_traceCall", json!([call, "latest", tracer]), Value::Null).await;
    let traces = check("debug_traceBlockByNumber", json!(["0x3", tracer]), Value::Null).await;
    assert_eq!(traces[0]["result"], trace);
    check("debug_traceBlockByHash", json!([hash, tracer]), traces).await;
    for method in ["debug_getRawHeader", "debug_getRawBlock", "debug_getRawReceipts"] {
        check(method, json!(["0x3"]), Value::Null).await;
    }

    let waiting =
        check("eth_sendTransaction", json!([{ "from": from, "to": from, "gas": "0x5208" }]), Value::Null).await;
    check("txpool_status", json!([]), json!({ "pending": "0x1", "queued": "0x0" })).await;
    let content = check("txpool_content", json!([]), Value::Null).await;
    let address = world.key.address().to_string();
    assert_eq!(content["pending"][&address]["3"]["hash"], waiting);
    assert_eq!(check("txpool_contentFrom", json!([from]), Value::Null).await["pending"]["3"]["hash"], waiting);
    assert!(check("txpool_inspect", json!([]), Value::Null).await["pending"][&address]["3"].is_string());
    check("anvil_dropTransaction", json!([waiting]), waiting.clone()).await;
    check("eth_getFilterChanges", json!([filter]), json!([])).await;
    check("eth_getFilterLogs", json!([filter]), Value::Null).await;
    check("eth_uninstallFilter", json!([filter]), json!(true)).await;
    check("eth_uninstallFilter", json!([filter]), json!(false)).await;

    let snapshot = check("evm_snapshot", json!([]), Value::Null).await;
    check("anvil_setBalance", json!([from, "0xde0b6b3a7640000"]), Value::Null).await;
    check("anvil_setNonce", json!([from, "0x9"]), Value::Null).await;
    check("eth_getTransactionCount", json!([from, "latest"]), json!("0x9")).await;
    check("anvil_setCode", json!([Address::repeat_byte(9), "0x00"]), Value::Null).await;
    check("anvil_setStorageAt", json!([Address::repeat_byte(9), "0x1", B256::with_last_byte(3)]), json!(true)).await;
    check("anvil_nodeInfo", json!([]), Value::Null).await;
    check("anvil_mine", json!(["0x2", "0xa"]), Value::Null).await;
    check("eth_blockNumber", json!([]), json!("0x5")).await;
    check("evm_revert", json!([snapshot]), json!(true)).await;
    check("evm_revert", json!([snapshot]), json!(false)).await;
    check("eth_blockNumber", json!([]), json!("0x3")).await;
    let later = u64::from_str_radix(block["timestamp"].as_str().expect("text").trim_start_matches("0x"), 16)
        .expect("hex")
        + 1_000_000;
    check("evm_setNextBlockTimestamp", json!([later]), Value::Null).await;
    check("evm_mine", json!([]), json!("0x0")).await;
    let newest = check("eth_getBlockByNumber", json!(["latest", true]), Value::Null).await;
    assert_eq!(newest["timestamp"], json!(format!("{later:#x}")));
    check("evm_increaseTime", json!([60]), Value::Null).await;
    check("evm_setTime", json!([later + 500]), Value::Null).await;
    check("evm_setAutomine", json!([true]), Value::Null).await;
    check("evm_setIntervalMining", json!([0]), Value::Null).await;
    for method in EthRpc::methods() {
        let alias = method.starts_with("hardhat_") || method.starts_with("anvil_");
        let elsewhere = ["eth_newFilter", "eth_newBlockFilter", "eth_newPendingTransactionFilter"].contains(&method)
            || method.starts_with("eth_sendRaw");
        assert!(alias || elsewhere || asked.contains(method), "{method} was not asked");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let (world, _, contract) = lively().await;
    let from = json!(world.key.address());
    world.fails("eth_nothing", json!([]), -32601, "the method eth_nothing does not exist").await;
    world.fails("eth_getBalance", json!([]), -32602, "missing value for required argument 0 (address)").await;
    world.fails("eth_getBalance", json!(["0x12"]), -32602, "address").await;
    world.fails("eth_getBalance", json!([from, "0x99"]), -32000, "header not found").await;
    world.fails("eth_sendRawTransaction", json!(["0x03c0"]), -32000, "transaction type not supported").await;
    world.fails("eth_sendTransaction", json!([{ "from": Address::repeat_byte(5) }]), -32000, "unknown account").await;
    world.fails("eth_getLogs", json!([{ "fromBlock": "0x3", "toBlock": "0x1" }]), -32602, "block range").await;
    world.get("anvil_mine", json!([5])).await;
    world.fails("eth_getLogs", json!([{ "fromBlock": "0x0" }]), -32005, "at most 5").await;
    world.fails("eth_getFilterChanges", json!(["0x77"]), -32000, "filter not found").await;
    world.fails("evm_setNextBlockTimestamp", json!([5]), -32602, "not above").await;
    world.fails("anvil_mine", json!([1_000_000]), -32005, "at most 10000").await;
    world.fails("debug_traceTransaction", json!([B256::ZERO]), -32000, "transaction not found").await;
    for _ in 0..3 {
        world.get("eth_newBlockFilter", json!([])).await;
    }
    world.fails("eth_newPendingTransactionFilter", json!([]), -32005, "3 filters are open").await;
    // A revert brings what the contract said.
    let reverting =
        json!({ contract.as_str().expect("text"): { "code": "0x62abcdef60005260036 01dfd".replace(' ', "") } });
    let error = world.ask("eth_call", json!([{ "to": contract }, "latest", reverting])).await.expect_err("reverts");
    assert_eq!((error.code, error.message.as_str(), error.data), (3, "execution reverted", Some(json!("0xabcdef"))));

    let public = World::new(false);
    public.fails("evm_mine", json!([]), -32601, "development chains").await;
    public.fails("anvil_setBalance", json!([from, "0x1"]), -32601, "development chains").await;
    assert_eq!(public.get("eth_accounts", json!([])).await, json!([]));
}

/// What is simulated under all rules has the state, the receipts and the gas of the block that is then made of the same.
#[tokio::test]
async fn a_simulated_block_is_the_block_that_would_be() {
    let (world, _, contract) = lively().await;
    let (from, fresh) = (world.key.address(), Address::repeat_byte(0xf0));
    let head = world.get("eth_getBlockByNumber", json!(["latest", false])).await;
    let number = |value: &Value| {
        u64::from_str_radix(value.as_str().expect("text").trim_start_matches("0x"), 16).expect("a number")
    };
    let later = number(&head["timestamp"]) + 50;
    let priced = |nonce: u64, to: Value, data: &str, value: &str| {
        json!({
            "from": from, "to": to, "data": data, "value": value, "nonce": format!("{nonce:#x}"), "gas": "0x186a0",
            "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x3b9aca00",
        })
    };
    let calls = [
        priced(3, json!(fresh), "0x", "0x9"),
        priced(4, contract.clone(), "0x01", "0x0"),
        // Runs out of its gas: invalid code of a contract to be.
        json!({ "from": from, "data": "0xfe", "nonce": "0x5", "gas": "0x186a0", "maxFeePerGas": "0x77359400",
            "maxPriorityFeePerGas": "0x3b9aca00" }),
    ];
    let payload = json!({
        "blockStateCalls": [{ "blockOverrides": { "time": format!("{later:#x}") }, "calls": calls }],
        "validation": true,
        "returnFullTransactions": true,
        "traceTransfers": true,
    });
    let simulated = world.get("eth_simulateV1", json!([payload, "latest"])).await[0].clone();
    for call in &calls {
        world.get("eth_sendTransaction", json!([call])).await;
    }
    world.get("evm_mine", json!([later])).await;
    let made = world.get("eth_getBlockByNumber", json!(["latest", true])).await;
    for field in
        ["number", "timestamp", "parentHash", "stateRoot", "receiptsRoot", "gasUsed", "baseFeePerGas", "logsBloom"]
    {
        assert_eq!(simulated[field], made[field], "{field}");
    }
    assert_eq!(made["transactions"].as_array().map(Vec::len), Some(3));
    for (index, call) in simulated["calls"].as_array().expect("calls").iter().enumerate() {
        let hash = &made["transactions"][index]["hash"];
        let receipt = world.get("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!((&call["gasUsed"], &call["status"]), (&receipt["gasUsed"], &receipt["status"]), "{index}");
        assert_eq!(simulated["transactions"][index]["from"], json!(from));
    }
    // A transfer of Ether is told as a log that no receipt has.
    let transfer = &simulated["calls"][0]["logs"][0];
    assert_eq!(transfer["address"], json!(Address::repeat_byte(0xee)));
    assert_eq!(
        (&transfer["topics"][2], &transfer["data"]),
        (&json!(fresh.into_word()), &json!(B256::with_last_byte(9)))
    );
    assert_eq!(simulated["calls"][1]["logs"][0]["logIndex"], "0x1");
    assert_eq!(simulated["calls"][2]["error"]["code"], -32015);
}

/// Blocks of a simulation stand on each other, with gaps filled; each overrides what it likes, and nothing of it stays.
#[tokio::test]
async fn simulated_blocks_follow_each_other() {
    let (world, _, contract) = lively().await;
    let (rich, poor) = (Address::repeat_byte(0xa1), Address::repeat_byte(0xa2));
    let send = json!({ "from": rich, "to": poor, "value": "0x64" });
    let hash_of_six = json!({ contract.as_str().expect("text"): { "code": "0x60064060005260206000f3" } });
    let payload = json!({ "blockStateCalls": [
        { "stateOverrides": { rich.to_string(): { "balance": "0xc8" } }, "calls": [send, send] },
        { "blockOverrides": { "number": "0x7", "baseFeePerGas": "0x7" }, "stateOverrides": hash_of_six,
          "calls": [{ "from": poor, "to": rich, "value": "0xc8" }, { "to": contract }] },
    ] });
    let simulated = world.get("eth_simulateV1", json!([payload, "latest"])).await;
    let heights: Vec<_> = simulated.as_array().expect("blocks").iter().map(|block| block["number"].clone()).collect();
    assert_eq!(heights, ["0x4", "0x5", "0x6", "0x7"].map(Value::from));
    for (index, pair) in simulated.as_array().expect("blocks").windows(2).enumerate() {
        assert_eq!(pair[1]["parentHash"], pair[0]["hash"], "{index}");
    }
    assert_eq!((&simulated[0]["baseFeePerGas"], &simulated[3]["baseFeePerGas"]), (&json!("0x0"), &json!("0x7")));
    // What the second call of the first block sent is there in the last one, and so is the hash of the block between.
    assert_eq!(simulated[3]["calls"][0]["status"], "0x1");
    assert_eq!(simulated[3]["calls"][1]["returnData"], simulated[2]["hash"]);
    assert_eq!(world.get("eth_getBalance", json!([poor, "latest"])).await, "0x0");
    assert_eq!(world.get("eth_blockNumber", json!([])).await, "0x3");

    let one = |block: Value| json!([{ "blockStateCalls": [block] }, "latest"]);
    let simulate = "eth_simulateV1";
    world.fails(simulate, one(json!({ "blockOverrides": { "number": "0x3" } })), -38020, "3 <= 3").await;
    world.fails(simulate, one(json!({ "blockOverrides": { "number": "0x200" } })), -38026, "256 at most").await;
    world.fails(simulate, one(json!({ "blockOverrides": { "time": "0x5" } })), -38021, "in order: 5 <=").await;
    world.fails(simulate, one(json!({ "calls": [send] })), -38014, "insufficient funds").await;
    let costly = json!({ "from": rich, "to": poor, "gas": "0xffffffffffff" });
    world.fails(simulate, one(json!({ "calls": [costly] })), -38015, "block gas limit reached").await;
    let cheap = json!({ "from": rich, "to": poor, "gas": "0x5207" });
    world.fails(simulate, one(json!({ "calls": [cheap] })), -38013, "intrinsic gas too low").await;
    let checked = |call: Value| json!([{ "validation": true, "blockStateCalls": [{ "calls": [call] }] }, "latest"]);
    let key = world.key.address();
    world.fails(simulate, checked(json!({ "from": key, "to": poor })), -38012, "less than block base fee").await;
    let old = json!({ "from": key, "to": poor, "nonce": "0x1", "maxFeePerGas": "0x77359400" });
    world.fails(simulate, checked(old), -38010, "nonce").await;
    world.fails(simulate, json!([{ "blockStateCalls": [] }, "0x99"]), -32000, "header not found").await;
}

/// A precompiled contract can be elsewhere for a call, and something else in its place.
#[tokio::test]
async fn precompiled_contracts_can_be_moved_for_a_call() {
    let world = World::new(true);
    let (identity, elsewhere) = (Address::with_last_byte(4), Address::repeat_byte(0x44));
    let moved =
        json!({ identity.to_string(): { "movePrecompileToAddress": elsewhere, "code": "0x602a60005260206000f3" } });
    let asked = |to: Address| json!([{ "to": to, "data": "0xabcd" }, "latest", moved]);
    assert_eq!(world.get("eth_call", asked(elsewhere)).await, "0xabcd");
    assert_eq!(world.get("eth_call", asked(identity)).await, json!(B256::with_last_byte(42)));
    let none = json!({ elsewhere.to_string(): { "movePrecompileToAddress": identity } });
    world.fails("eth_call", json!([{ "to": identity }, "latest", none]), -32602, "precompile").await;
}

/// What a subscriber hears.
struct Ear(mpsc::UnboundedSender<Value>);

#[async_trait]
impl Sink for Ear {
    async fn send(&self, method: &'static str, params: Box<RawValue>) -> Result<(), SinkClosed> {
        assert_eq!(method, "eth_subscription");
        self.0.send(serde_json::from_str(params.get()).expect("JSON")).map_err(|_| SinkClosed)
    }

    async fn closed(&self) {
        self.0.closed().await;
    }
}

/// News comes in order; a branch that is left takes its logs back.
#[tokio::test]
async fn subscribers_hear_of_blocks_logs_and_transactions() {
    let (world, _, contract) = lively().await;
    let subscribe = async |params: Value| {
        let (ear, heard) = mpsc::unbounded_channel();
        let raw = RawValue::from_string(params.to_string()).expect("JSON");
        let id = world.rpc.subscribe("eth_subscribe", Some(&raw), Arc::new(Ear(ear))).await;
        id.map(|id| (id, heard))
    };
    let (_, mut heads) = subscribe(json!(["newHeads"])).await.expect("opens");
    let (id, mut logs) = subscribe(json!(["logs", { "address": contract }])).await.expect("opens");
    let (_, mut pending) = subscribe(json!(["newPendingTransactions"])).await.expect("opens");
    assert_eq!(subscribe(json!(["newMoons"])).await.expect_err("no such kind").code, -32602);

    let snapshot = world.get("evm_snapshot", json!([])).await;
    let touch = json!({ "from": world.key.address(), "to": contract, "data": "0x01" });
    let hash = world.get("eth_sendTransaction", json!([touch])).await;
    world.get("evm_mine", json!([])).await;
    let next = async |heard: &mut mpsc::UnboundedReceiver<Value>| {
        tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.expect("in time").expect("open")
    };
    assert_eq!(next(&mut pending).await["result"], hash);
    assert_eq!(next(&mut heads).await["result"]["number"], "0x4");
    let log = next(&mut logs).await;
    assert_eq!((&log["subscription"], &log["result"]["transactionHash"]), (&json!(id), &hash));
    assert_eq!(log["result"]["removed"], false);

    world.get("evm_revert", json!([snapshot])).await;
    world.get("evm_mine", json!([])).await;
    assert_eq!(next(&mut heads).await["result"]["number"], "0x4");
    let taken_back = next(&mut logs).await["result"].clone();
    assert_eq!((&taken_back["transactionHash"], &taken_back["removed"]), (&hash, &json!(true)));
}

#[tokio::test]
async fn the_block_that_would_be_next_can_be_looked_at() {
    let (world, _, _) = lively().await;
    let (from, to) = (json!(world.key.address()), json!(Address::repeat_byte(7)));
    let newest = world.get("eth_getBlockByNumber", json!(["latest", false])).await;
    let sent = json!({ "from": from, "to": to, "value": "0x9", "gas": "0x5208" });
    let hash = world.get("eth_sendTransaction", json!([sent])).await;
    let init = hex::encode_prefixed([&hex!("601b80600b6000396000f3")[..], &CODE].concat());
    world.get("eth_sendTransaction", json!([{ "from": from, "data": init, "gas": "0x186a0" }])).await;
    let contract = world.key.address().create(4);

    let pending = world.get("eth_getBlockByNumber", json!(["pending", true])).await;
    assert_eq!((&pending["hash"], &pending["nonce"], &pending["miner"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(pending["parentHash"], newest["hash"]);
    assert_eq!(pending["number"], "0x4");
    assert_eq!(pending["transactions"][0]["hash"], hash);
    assert_eq!(pending["transactions"][0]["blockHash"], Value::Null);
    assert_eq!(world.get("eth_getBlockTransactionCountByNumber", json!(["pending"])).await, "0x2");
    let at = |tag: &'static str| world.get("eth_getBalance", json!([to, tag]));
    assert_eq!((at("latest").await, at("pending").await), (json!("0x5"), json!("0xe")));
    assert_eq!(world.get("eth_getCode", json!([contract, "latest"])).await, "0x");
    assert_eq!(world.get("eth_getCode", json!([contract, "pending"])).await, hex::encode_prefixed(CODE));
    let asked = json!([{ "to": contract }, "pending"]);
    assert_eq!(world.get("eth_call", asked).await, format!("{:#066x}", 42));
    let gas = world.get("eth_estimateGas", json!([{ "from": from, "to": to, "value": "0x1" }, "pending"])).await;
    assert_eq!(gas, "0x5208");
    // An edit changes what would be next, though neither the pool nor the newest block changes.
    world.get("anvil_setBalance", json!([to, "0x64"])).await;
    assert_eq!((at("latest").await, at("pending").await), (json!("0x64"), json!("0x6d")));
    world.get("anvil_setBalance", json!([to, "0x5"])).await;
    // Looking takes nothing away, and what was looked at is no block.
    assert_eq!(world.get("txpool_status", json!([])).await["pending"], "0x2");
    assert_eq!(world.get("eth_blockNumber", json!([])).await, "0x3");
    world.get("evm_mine", json!([])).await;
    let made = world.get("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!((&made["number"], made["transactions"].as_array().map(Vec::len)), (&json!("0x4"), Some(2)));
    let after = world.get("eth_getBlockByNumber", json!(["pending", false])).await;
    assert_eq!((&after["number"], after["transactions"].as_array().map(Vec::len)), (&json!("0x5"), Some(0)));
    assert_eq!(after["parentHash"], made["hash"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_at_once_choose_a_nonce_each() {
    let world = World::new(true);
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let (rpc, from) = (world.rpc.clone(), world.key.address());
        let sent = json!([{ "from": from, "to": Address::repeat_byte(7), "value": "0x1", "gas": "0x5208" }]);
        sends.spawn(async move {
            let raw = RawValue::from_string(sent.to_string()).expect("JSON");
            rpc.call("eth_sendTransaction", Some(&raw)).await
        });
    }
    let told = sends.join_all().await;
    assert!(told.iter().all(Result::is_ok), "{told:?}");
    let waiting = world.get("txpool_status", json!([])).await;
    assert_eq!((&waiting["pending"], &waiting["queued"]), (&json!("0x18"), &json!("0x0")));
    assert_eq!(world.get("eth_getTransactionCount", json!([world.key.address(), "pending"])).await, "0x18");
}
