//! `sequenza node` between a real L1 (anvil) and an engine: the embedded chain, or another process over HTTP.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tests::{Anvil, Caller, Chain, L1Info, Launch};

/// How long something that has to happen may take: blocks come each second, on a machine with other work.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(90);
pub(crate) const PORTAL: Address = address!("0x00000000000000000000000000000000000000d0");
/// What a deposit may use on the rollup.
const DEPOSIT_GAS: u64 = 200_000;
pub(crate) const DEPOSITOR: Address = address!("0x1111111111111111111111111111111111111111");
pub(crate) const RECEIVER: Address = address!("0x2222222222222222222222222222222222222222");
/// The first of anvil's accounts, which hold ether on both chains.
pub(crate) const RICH: Address = address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const FORKS: [&str; 10] =
    ["regolith", "canyon", "delta", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian", "karst"];

/// An L1, and what a rollup that begins on it is described with.
pub(crate) struct Rollup {
    pub(crate) l1: Anvil,
    pub(crate) genesis: PathBuf,
    pub(crate) config: PathBuf,
    /// Holds both files.
    _folder: tempfile::TempDir,
}

impl Rollup {
    /// A rollup with a block each second that begins on L1's newest block. `None`, and said so, without anvil.
    pub(crate) async fn begin(test: &str) -> Option<Rollup> {
        Rollup::begin_with(test, &["--block-time", "1"], |_, _| ()).await
    }

    /// The same on an L1 that is started with these arguments, with other files: `change` is given the genesis and the configuration.
    pub(crate) async fn begin_with(test: &str, l1: &[&str], change: impl Fn(&mut Value, &mut Value)) -> Option<Rollup> {
        let l1 = Anvil::start(test, l1)?;
        l1.rpc("anvil_setCode", json!([PORTAL, portal_code()])).await.unwrap();
        let first = l1.rpc("eth_getBlockByNumber", json!(["latest", false])).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (genesis, config) = (folder.path().join("genesis.json"), folder.path().join("rollup.json"));
        let (mut state, mut described) = (genesis_file(&first["timestamp"]), rollup_file(&first, &Value::Null));
        change(&mut state, &mut described);
        std::fs::write(&genesis, state.to_string()).unwrap();
        described["genesis"]["l2"]["hash"] = genesis_hash(&genesis).await;
        std::fs::write(&config, described.to_string()).unwrap();
        Some(Rollup { l1, genesis, config, _folder: folder })
    }

    /// An engine of this rollup in a process of its own, where its authenticated port is, and the file with its secret.
    pub(crate) async fn engine(&self) -> (Chain, String, PathBuf) {
        let port = free_port();
        let launch = Launch::evm().flag("--genesis", self.genesis.as_os_str()).flag("--authrpc.port", port.to_string());
        let secret = launch.folder().join("jwt.hex");
        std::fs::write(&secret, "42".repeat(32)).unwrap();
        let engine = launch.flag("--authrpc.jwtsecret", secret.as_os_str()).start().await;
        (engine, format!("http://127.0.0.1:{port}"), secret)
    }

    /// A sequencer of this rollup whose own port is the one that the harness calls.
    pub(crate) fn sequencer(&self) -> Launch {
        let own = free_port();
        let launch = Launch::bare().subcommand("node").reached_at(own);
        let data = launch.folder().join("data");
        launch
            .flag("--mode", "Sequencer")
            .flag("--l1-eth-rpc", self.l1.http())
            .flag("--l1-beacon", self.l1.http())
            .flag("--l1-slot-duration-override", "1")
            .flag("--sequencer.l1-confs", "1")
            .flag("--rollup-cfg", self.config.as_os_str())
            .flag("--db-path", data)
            .flag("--rpc.port", own.to_string())
            .switch("--rpc.enable-admin")
    }

    /// Tells the portal to emit a deposit of `value`. The L1 block that it is in.
    pub(crate) async fn deposit(&self, value: U256) -> u64 {
        let input = deposit_input(DEPOSITOR, RECEIVER, [value, value], &[]);
        let call = json!([{ "from": RICH, "to": PORTAL, "input": input }]);
        let hash = self.l1.rpc("eth_sendTransaction", call).await.unwrap();
        let mut receipt = Value::Null;
        until("the deposit is in an L1 block", async || {
            receipt = self.l1.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap();
            !receipt.is_null()
        })
        .await;
        assert_eq!(receipt["logs"].as_array().map(Vec::len), Some(1), "{receipt}");
        number(&receipt["blockNumber"])
    }
}

/// What the portal is called with to emit a deposit that mints and sends so much.
pub(crate) fn deposit_input(from: Address, to: Address, mint_and_value: [U256; 2], data: &[u8]) -> Bytes {
    let [mint, value] = mint_and_value.map(|amount| amount.to_be_bytes::<32>());
    let opaque = [&mint[..], &value, &DEPOSIT_GAS.to_be_bytes(), &[0], data].concat();
    let words = [U256::from(32), U256::from(opaque.len())].map(|word| word.to_be_bytes::<32>());
    let padding = vec![0; opaque.len().next_multiple_of(32) - opaque.len()];
    let topics = [from.into_word(), to.into_word()];
    [topics[0].as_slice(), topics[1].as_slice(), &words[0], &words[1], &opaque, &padding].concat().into()
}

/// Emits `TransactionDeposited` for whoever calls: from and to out of the first two words of the input, the rest as the log's data.
pub(crate) fn portal_code() -> Bytes {
    let topic = keccak256("TransactionDeposited(address,address,uint256,bytes)");
    // Topics version 0, to, from, event; the size of the rest; the rest copied to memory; LOG4; STOP.
    let head = hex!("6000 6020 35 6000 35 7f");
    let tail = hex!("6040 36 03 80 6040 6000 37 6000 a4 00");
    [&head[..], topic.as_slice(), &tail].concat().into()
}

fn genesis_file(timestamp: &Value) -> Value {
    let mut config = json!({
        "chainId": 901, "shanghaiTime": 0, "cancunTime": 0, "pragueTime": 0, "osakaTime": 0, "bedrockBlock": 0,
        "terminalTotalDifficulty": 0, "terminalTotalDifficultyPassed": true,
        "optimism": { "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250 },
    });
    let blocks = ["homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul"];
    for fork in
        blocks.into_iter().chain(["muirGlacier", "berlin", "london", "arrowGlacier", "grayGlacier", "mergeNetsplit"])
    {
        config[format!("{fork}Block")] = json!(0);
    }
    for fork in FORKS {
        config[format!("{fork}Time")] = json!(0);
    }
    json!({
        "config": config, "timestamp": timestamp, "gasLimit": "0x1c9c380", "difficulty": "0x0", "baseFeePerGas": "0x3b9aca00",
        "extraData": "0x0100000032000000060000000000000000",
        "alloc": { RICH.to_string(): { "balance": "0x21e19e0c9bab2400000" } },
    })
}

/// The hash of the first block, as a chain by itself has it.
async fn genesis_hash(genesis: &std::path::Path) -> Value {
    let mut chain = Launch::evm().flag("--genesis", genesis.as_os_str()).start().await;
    let first = chain.rpc("eth_getBlockByNumber", json!(["0x0", false])).await.unwrap();
    assert!(chain.stop().await.success());
    first["hash"].clone()
}

fn rollup_file(l1: &Value, l2_hash: &Value) -> Value {
    let mut config = json!({
        "genesis": {
            "l1": { "number": number(&l1["number"]), "hash": l1["hash"] },
            "l2": { "number": 0, "hash": l2_hash },
            "l2_time": number(&l1["timestamp"]),
            "system_config": {
                "batcherAddr": Address::with_last_byte(1), "overhead": B256::ZERO,
                "scalar": format!("0x01{}", "00".repeat(31)), "gasLimit": 30_000_000, "eip1559Params": "0x0000003200000006",
            },
        },
        "block_time": 1, "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
        "l1_chain_id": 31_337, "l2_chain_id": 901, "batch_inbox_address": Address::with_last_byte(2),
        "deposit_contract_address": PORTAL, "l1_system_config_address": Address::with_last_byte(4),
    });
    for fork in FORKS {
        config[format!("{fork}_time")] = json!(0);
    }
    config
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn number(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or_else(|| panic!("{quantity} is no quantity"));
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

pub(crate) async fn until(what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !yes().await {
        assert!(began.elapsed() < WAIT_MAX, "not in {WAIT_MAX:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The newest block as the node tells of it.
pub(crate) async fn head(node: &Chain) -> Value {
    let status = node.rpc("optimism_syncStatus", json!([])).await;
    status.unwrap_or_else(|error| panic!("{error:?}\n{}", node.log()))["unsafe_l2"].clone()
}

pub(crate) async fn height(node: &Chain) -> u64 {
    head(node).await["number"].as_u64().unwrap()
}

/// Waits for `count` more blocks.
pub(crate) async fn blocks(node: &Chain, count: u64) {
    let wanted = height(node).await + count;
    until(&format!("block {wanted}\n{}", node.log()), async || height(node).await >= wanted).await;
}

/// Every block from the first to the newest: one each second, origins that never go back nor leap, none later than the block.
pub(crate) async fn assert_sound(engine: &Caller, node: &Chain, l1: &Anvil) -> Vec<Value> {
    let mut below: Option<Value> = None;
    let mut chain = Vec::new();
    for height in 0..=height(node).await {
        let output = node.rpc("optimism_outputAtBlock", json!([format!("{height:#x}")])).await.unwrap();
        let block = output["blockRef"].clone();
        let executed = engine.rpc("eth_getBlockByNumber", json!([format!("{height:#x}"), true])).await.unwrap();
        assert_eq!(executed["hash"], block["hash"], "block {height}");
        assert_eq!(executed["stateRoot"], output["stateRoot"], "block {height}");
        let origin = l1.rpc(
            "eth_getBlockByNumber",
            json!([format!("{:#x}", block["l1origin"]["number"].as_u64().unwrap()), false]),
        );
        let origin = origin.await.unwrap();
        assert_eq!(origin["hash"], block["l1origin"]["hash"], "the origin of block {height} is on L1");
        // The first block has no transactions.
        if height > 0 {
            let told = L1Info::read(&executed["transactions"][0]);
            let wanted =
                (number(&origin["number"]), &origin["hash"], number(&origin["timestamp"]), &origin["baseFeePerGas"]);
            assert_eq!(
                (told.number, &json!(told.hash), told.timestamp, &json!(told.base_fee)),
                wanted,
                "block {height}"
            );
            assert_eq!(told.sequence_number, block["sequenceNumber"], "block {height}");
        }
        let time = block["timestamp"].as_u64().unwrap();
        assert!(number(&origin["timestamp"]) <= time, "block {height} is older than its origin");
        if let Some(below) = below {
            assert_eq!(block["parentHash"], below["hash"], "block {height}");
            assert_eq!(time, below["timestamp"].as_u64().unwrap() + 1, "block {height}");
            let step = block["l1origin"]["number"].as_u64().unwrap() - below["l1origin"]["number"].as_u64().unwrap();
            assert!(step <= 1, "the origin of block {height} leaps by {step}");
            let sequence = if step == 1 { 0 } else { below["sequenceNumber"].as_u64().unwrap() + 1 };
            assert_eq!(block["sequenceNumber"], sequence, "block {height}");
        }
        below = Some(block);
        chain.push(executed);
    }
    chain
}

/// Guards against a path from L1 to a block that breaks anywhere: origins that stand still, deposits that are lost, a chain with gaps
/// or another one after a stop, a kill, a pause of the operator or of L1.
#[tokio::test]
async fn a_rollup_runs_on_its_embedded_chain_through_stops_kills_and_a_silent_l1() {
    let Some(rollup) = Rollup::begin("op_node embedded").await else { return };
    let chain_port = free_port();
    let launch = rollup.sequencer();
    let launch = launch.flag("--l2-genesis", rollup.genesis.as_os_str()).flag("--http-port", chain_port.to_string());
    let mut node = launch.start().await;
    let engine = node.caller().at(chain_port);

    // Blocks come, origins advance, and a transaction that is sent to the chain is in a block.
    blocks(&node, 3).await;
    let cited = head(&node).await["l1origin"]["number"].as_u64().unwrap();
    until("origins advance", async || head(&node).await["l1origin"]["number"].as_u64().unwrap() > cited + 1).await;

    // A deposit on L1 is in the first block that cites its L1 block.
    let value = U256::from(7_000_000_000_000_000_000_u64);
    let l1_block = rollup.deposit(value).await;
    until("the deposit has arrived", async || {
        engine.rpc("eth_getBalance", json!([RECEIVER, "latest"])).await == Ok(json!(format!("{value:#x}")))
    })
    .await;

    // L1 falls silent: blocks go on, citing its last block.
    rollup.l1.rpc("evm_setIntervalMining", json!([0])).await.unwrap();
    blocks(&node, 6).await;
    let silent = head(&node).await["l1origin"]["number"].as_u64().unwrap();
    blocks(&node, 3).await;
    assert_eq!(head(&node).await["l1origin"]["number"], silent);
    rollup.l1.rpc("evm_setIntervalMining", json!([1])).await.unwrap();
    until("origins advance again", async || head(&node).await["l1origin"]["number"].as_u64().unwrap() > silent + 1)
        .await;

    // Stopped and killed, it goes on where it was, and misses no slot.
    let before = head(&node).await;
    assert!(node.stop().await.success(), "{}", node.log());
    node.start_again().await;
    blocks(&node, 2).await;
    node.kill();
    node.start_again().await;
    blocks(&node, 2).await;

    let chain = assert_sound(&engine, &node, &rollup.l1).await;
    let kept = &chain[usize::try_from(before["number"].as_u64().unwrap()).unwrap()];
    assert_eq!(kept["hash"], before["hash"]);
    let deposits =
        |block: &&Value| block["transactions"].as_array().unwrap().iter().any(|one| one["to"] == json!(RECEIVER));
    let with_deposit: Vec<&Value> = chain.iter().filter(deposits).collect();
    assert_eq!(with_deposit.len(), 1);
    let deposit = &with_deposit[0]["transactions"][1];
    assert_eq!((&deposit["type"], &deposit["from"]), (&json!("0x7e"), &json!(DEPOSITOR)), "{deposit}");
    let output = node.rpc("optimism_outputAtBlock", json!([with_deposit[0]["number"]])).await.unwrap();
    assert_eq!(output["blockRef"]["l1origin"]["number"], l1_block);
    assert_eq!(output["blockRef"]["sequenceNumber"], 0);
}

/// Guards against a chain that goes on citing, through its parents, L1 blocks that are no more, and against a standstill where it could
/// go on.
#[tokio::test]
async fn a_rollup_goes_on_when_l1_takes_blocks_back_that_it_cites() {
    let Some(rollup) = Rollup::begin("op_node reorganised").await else { return };
    let chain_port = free_port();
    let launch = rollup.sequencer().flag("--l2-genesis", rollup.genesis.as_os_str());
    let launch = launch.flag("--sequencer.l1-confs", "0").flag("--http-port", chain_port.to_string());
    let node = launch.start().await;
    let engine = node.caller().at(chain_port);
    let cited = async || head(&node).await["l1origin"]["number"].as_u64().unwrap();
    let first = cited().await;
    until("origins advance", async || cited().await > first + 4).await;
    let before = head(&node).await;

    // The last L1 blocks are others now: a transfer makes sure that they are not the same again.
    let depth = 4;
    let transfer = json!({ "from": RICH, "to": RECEIVER, "value": "0x1" });
    let instead: Vec<Value> = (0..depth).map(|at| json!([transfer, at])).collect();
    let top = number(&rollup.l1.rpc("eth_blockNumber", json!([])).await.unwrap());
    let old = rollup.l1.rpc("eth_getBlockByNumber", json!([format!("{top:#x}"), false])).await.unwrap();
    rollup.l1.rpc("anvil_reorg", json!([depth, instead])).await.unwrap();
    let new = rollup.l1.rpc("eth_getBlockByNumber", json!([format!("{top:#x}"), false])).await.unwrap();
    assert_ne!(old["hash"], new["hash"]);

    // It goes on, on L1's new chain, in the present.
    until("origins advance again", async || cited().await > top + 2).await;
    let chain = assert_sound(&engine, &node, &rollup.l1).await;
    let at = usize::try_from(before["number"].as_u64().unwrap()).unwrap();
    assert_ne!(chain[at]["hash"], before["hash"], "what cited the blocks that L1 took back is made anew");
    assert_eq!(node.fetch("/readyz").await.unwrap().0, 200);

    // The operator's stop still tells the last block.
    let last = node.rpc("admin_stopSequencer", json!([])).await.unwrap();
    assert_eq!(head(&node).await["hash"], last);
}

/// Guards against a handover that loses blocks, and against an operator's word that is not heard or heard by anyone.
#[tokio::test]
async fn the_sequencer_stops_and_starts_where_its_operator_says() {
    let Some(rollup) = Rollup::begin("op_node admin").await else { return };
    let launch = rollup.sequencer().flag("--l2-genesis", rollup.genesis.as_os_str()).flag("--http-port", "0");
    let mut node = launch.flag("--rpc.admin-state", "state.json").start().await;
    blocks(&node, 1).await;
    assert_eq!(node.rpc("admin_sequencerActive", json!([])).await, Ok(json!(true)));
    assert_eq!(node.rpc("admin_conductorEnabled", json!([])).await, Ok(json!(false)));
    assert!(node.rpc("admin_startSequencer", json!([B256::ZERO])).await.is_err(), "it runs already");
    let last = node.rpc("admin_stopSequencer", json!([])).await.unwrap();
    assert_eq!(node.rpc("admin_sequencerActive", json!([])).await, Ok(json!(false)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(head(&node).await["hash"], last);
    // A crash does not start what was stopped.
    node.kill();
    let node = node.launch().clone().start_unready();
    until("it answers", async || node.rpc("optimism_version", json!([])).await.is_ok()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(head(&node).await["hash"], last);
    let refused = node.rpc("admin_startSequencer", json!([B256::repeat_byte(1)])).await.unwrap_err();
    assert_eq!(refused.code(), Some(-32000));
    assert_eq!(node.rpc("admin_startSequencer", json!([last])).await, Ok(Value::Null));
    // Recovering: an empty block also where something waits. Nothing waits here; the word is kept.
    node.rpc("admin_setRecoverMode", json!([true])).await.unwrap();
    assert_eq!(node.rpc("admin_recoverMode", json!([])).await, Ok(json!(true)));
    blocks(&node, 2).await;
    let metrics = node.fetch("/metrics").await.unwrap().1;
    for name in ["sequenza_l1_head", "sequenza_engine_call_duration_seconds_bucket", "sequenza_sequencer_blocks_total"]
    {
        assert!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }
    let version = node.rpc("optimism_version", json!([])).await.unwrap();
    assert_eq!(node.rpc("healthz", json!([])).await, Ok(json!({ "version": version })));
    let config = node.rpc("optimism_rollupConfig", json!([])).await.unwrap();
    assert_eq!(config["l2_chain_id"], 901);
    let said = std::fs::read_to_string(node.launch().folder().join("state.json")).unwrap();
    assert_eq!(said, r#"{"sequencerStarted":true}"#);

    // Without the word there is no such method; stopped from the start, nothing is built.
    let quiet = rollup.sequencer().without("--rpc.enable-admin").flag("--l2-genesis", rollup.genesis.as_os_str());
    let quiet = quiet.flag("--http-port", "0").switch("--sequencer.stopped").start_unready();
    until("it answers", async || quiet.rpc("optimism_version", json!([])).await.is_ok()).await;
    assert_eq!(quiet.rpc("admin_startSequencer", json!([])).await.unwrap_err().code(), Some(-32601));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(height(&quiet).await, 0);
}

/// Guards against an engine behind HTTP that is driven otherwise than the embedded one, and against one that is lost for good when
/// either side is killed.
#[tokio::test]
async fn a_rollup_runs_on_an_engine_of_another_process() {
    let Some(rollup) = Rollup::begin("op_node remote").await else { return };
    let (mut engine, url, secret) = rollup.engine().await;
    let launch = rollup.sequencer().flag("--l2", url);
    let mut node = launch.flag("--l2.jwt-secret", secret.as_os_str()).start().await;
    blocks(&node, 3).await;
    let before = head(&node).await;
    engine.kill();
    engine.start_again().await;
    blocks(&node, 3).await;
    node.kill();
    node.start_again().await;
    blocks(&node, 2).await;
    let chain = assert_sound(&engine.caller(), &node, &rollup.l1).await;
    assert_eq!(chain[usize::try_from(before["number"].as_u64().unwrap()).unwrap()]["hash"], before["hash"]);
}

/// Guards against a sequencer that anybody on the network can stop.
#[tokio::test]
async fn whoever_stops_it_from_elsewhere_needs_a_token() {
    let Some(rollup) = Rollup::begin("op_node token").await else { return };
    let launch = rollup.sequencer().flag("--l2-genesis", rollup.genesis.as_os_str()).flag("--http-port", "0");
    let launch = launch.flag("--rpc.addr", "0.0.0.0");
    launch.clone().run().says(2, &["--rpc.enable-admin", "--rpc.addr=127.0.0.1", "--rpc.jwt-secret"]);
    let file = launch.folder().join("rpc.hex");
    std::fs::write(&file, "42".repeat(32)).unwrap();
    let mut node = launch.flag("--rpc.jwt-secret", file.as_os_str()).start().await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "admin_stopSequencer", "params": [] });
    let (status, said) = node.post(call.to_string()).await.unwrap();
    assert_eq!(status, 401, "{said}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = EncodingKey::from_secret(&[0x42; 32]);
    let token = jsonwebtoken::encode(&Header::default(), &json!({ "iat": now }), &key).unwrap();
    let answer = reqwest::Client::new().post(node.http()).bearer_auth(token).json(&call).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert!(answer["result"].is_string(), "{answer}");
    assert!(node.stop().await.success(), "{}", node.log());
}

/// Guards against the wrong chain on either side, and settings that are silently ignored.
#[tokio::test]
async fn what_does_not_fit_together_is_refused_with_the_reason() {
    let Some(rollup) = Rollup::begin("op_node refusals").await else { return };
    let launch = rollup.sequencer().flag("--l2-genesis", rollup.genesis.as_os_str()).flag("--http-port", "0");
    launch.clone().flag("--p2p.sequencer.key", "0x11").run().says(2, &["--p2p.sequencer.key", "not sent to peers"]);
    launch.clone().flag("--mode", "Validator").run().says(2, &["--mode=Sequencer"]);
    launch.clone().variable("KONA_NODE_P2P_LISTEN_TCP", "9222").run().says(2, &["KONA_NODE_P2P_LISTEN_TCP", "peers"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    launch.clone().flag("--rpc.port", port).run().says(69, &["--port"]);
    launch.clone().flag("--chain", "902").run().says(65, &["901", "902"]);
    launch.clone().flag("--rollup-cfg", "nowhere.json").run().says(65, &["nowhere.json"]);
    rollup.sequencer().flag("--http-port", "0").run().says(2, &["--l2-genesis", "--l2-engine-rpc"]);
    let config = std::fs::read_to_string(&rollup.config).unwrap();
    let other = launch.folder().join("other.json");
    std::fs::write(&other, config.replace("\"l1_chain_id\":31337", "\"l1_chain_id\":1")).unwrap();
    launch.clone().flag("--rollup-cfg", other.as_os_str()).run().says(78, &["31337", "--l1-eth-rpc"]);
    // Called by kona-node's name it is the same command.
    let link = launch.folder().join("kona-node");
    std::os::unix::fs::symlink(tests::program(), &link).unwrap();
    let ended = Launch::bare().as_program(link).switch("node").flag("--mode", "Validator").run();
    ended.says(2, &["--mode=Sequencer", "l1-eth-rpc", "--l2-config-file"]);
}
