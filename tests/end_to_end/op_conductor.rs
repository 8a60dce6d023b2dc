//! `sequenza node` behind op-conductor. Named after what upstream wants of a sequencer there (optimism#21906); the conductors are the
//! harness's, the nodes and their engines are real.
//!
//! "Visible" is what others see of a block: the engine's `latest` and by hash, `optimism_syncStatus`, new heads over WebSocket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_eips::eip2718::Encodable2718;
use alloy_network::{Ethereum, EthereumWallet, NetworkTransactionBuilder, TransactionBuilder};
use alloy_primitives::{B256, U256, hex};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_signer_local::PrivateKeySigner;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::{Caller, Chain, Conductors, Launch, Mishap, RpcError};
use tokio_tungstenite::tungstenite::Message;

use super::op_node::{RECEIVER, Rollup, free_port, height, number, until};

/// The key of the first of anvil's accounts.
const RICH_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// How long something is watched that must not happen: a few block times.
const WATCHED: Duration = Duration::from_secs(4);

/// Sequencers of one rollup, each with its own engine and its own conductor, which read missing blocks of each other.
struct Cluster {
    rollup: Rollup,
    conductors: Conductors,
    launches: Vec<Launch>,
    engines: Vec<u16>,
}

impl Cluster {
    async fn begin(test: &str, count: usize) -> Option<Cluster> {
        let rollup = Rollup::begin(test).await?;
        let conductors = Conductors::start(count).await;
        let engines: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let launches = (0..count).map(|node| {
            let others = engines.iter().enumerate().filter(|(other, _)| *other != node);
            let peers: Vec<String> = others.map(|(_, port)| format!("http://127.0.0.1:{port}")).collect();
            let launch = rollup.sequencer().flag("--l2-genesis", rollup.genesis.as_os_str());
            let launch = launch.flag("--http-port", engines[node].to_string());
            let launch = launch.flag("--conductor.rpc", conductors.url(node)).flag("--conductor.rpc.timeout", "500ms");
            if peers.is_empty() { launch } else { launch.flag("--conductor.peers", peers.join(",")) }
        });
        let launches = launches.collect();
        Some(Cluster { rollup, conductors, launches, engines })
    }

    /// Starts the node; it answers when this returns.
    async fn start(&self, node: usize) -> Chain {
        answers(&self.launches[node]).await
    }

    fn engine(&self, node: &Chain, of: usize) -> Caller {
        node.caller().at(self.engines[of])
    }

    /// Elects the node, starts it as an operator does on a conductor that holds nothing yet, and waits for its first blocks.
    async fn bootstrap(&self, node: &Chain, of: usize) {
        self.conductors.elect(Some(of));
        let newest = latest(&self.engine(node, of)).await;
        node.rpc("admin_startSequencer", json!([newest["hash"]]))
            .await
            .unwrap_or_else(|error| panic!("{error:?}\n{}", node.log()));
        until("the first blocks are committed", async || {
            self.conductors.newest().is_some_and(|(newest, _)| newest >= 2)
        })
        .await;
    }

    /// Nothing is decided twice, and what a node has is what was decided.
    async fn assert_one_chain(&self, nodes: &[(&Chain, usize)]) {
        assert_eq!(self.conductors.forks(), Vec::<String>::new());
        let mut tops = Vec::new();
        for (node, of) in nodes {
            let engine = self.engine(node, *of);
            let top = number(&latest(&engine).await["number"]);
            tops.push((engine, of, top));
        }
        // Blocks go on coming: what showed was decided before.
        let decided = self.conductors.decided();
        for (engine, of, top) in tops {
            let mut below: Option<Value> = None;
            for height in 0..=top {
                let block = at(&engine, height).await;
                if let Some(below) = &below {
                    assert_eq!(block["parentHash"], below["hash"], "block {height} of node {of}");
                    assert_eq!(
                        number(&block["timestamp"]),
                        number(&below["timestamp"]) + 1,
                        "block {height} of node {of}"
                    );
                    assert_eq!(block["hash"], json!(decided[&height]), "block {height} of node {of}");
                }
                below = Some(block);
            }
        }
    }
}

async fn answers(launch: &Launch) -> Chain {
    let node = launch.start_unready();
    until("the node answers", async || {
        assert!(node.is_running(), "{}", node.log());
        node.rpc("optimism_version", json!([])).await.is_ok()
    })
    .await;
    node
}

async fn latest(engine: &Caller) -> Value {
    engine.rpc("eth_getBlockByNumber", json!(["latest", false])).await.unwrap()
}

async fn at(engine: &Caller, height: u64) -> Value {
    engine.rpc("eth_getBlockByNumber", json!([format!("{height:#x}"), false])).await.unwrap()
}

async fn by_hash(engine: &Caller, hash: &str) -> Value {
    engine.rpc("eth_getBlockByHash", json!([hash, false])).await.unwrap()
}

async fn active(node: &Chain) -> bool {
    node.rpc("admin_sequencerActive", json!([])).await.unwrap() == json!(true)
}

/// The words of a refusal.
fn refused(answer: Result<Value, RpcError>) -> String {
    match answer {
        Err(RpcError::Refused { message, .. }) => message,
        other => panic!("it was to be refused: {other:?}"),
    }
}

/// What `/readyz` says; it must not be ready.
async fn unready(node: &Chain) -> String {
    let (status, body) = node.fetch("/readyz").await.unwrap();
    assert_eq!(status, 503, "{body}");
    body
}

/// The hashes of the payloads that were given to the conductor, in order.
fn committed(conductors: &Conductors) -> Vec<String> {
    let commits = conductors.calls().into_iter().filter(|call| call.method == "conductor_commitUnsafePayload");
    commits
        .map(|call| call.params[0]["executionPayload"]["blockHash"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// A signed transfer of the rich account.
async fn transfer(nonce: u64) -> String {
    let signer: PrivateKeySigner = RICH_KEY.parse().unwrap();
    let request = TransactionRequest::default()
        .with_chain_id(901)
        .with_to(RECEIVER)
        .with_value(U256::from(1))
        .with_nonce(nonce)
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(100_000_000_000)
        .with_max_priority_fee_per_gas(1);
    let wallet = EthereumWallet::from(signer);
    let signed = NetworkTransactionBuilder::<Ethereum>::build(request, &wallet).await.unwrap();
    format!("0x{}", hex::encode(signed.encoded_2718()))
}

/// Watches new heads of an engine, and notes each that is not decided when it shows.
async fn watch_heads(cluster: &Cluster, of: usize) -> (Arc<Mutex<Vec<String>>>, tokio::task::JoinHandle<()>) {
    let url = format!("ws://127.0.0.1:{}/ws", cluster.engines[of]);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let subscribe = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"] });
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Ok(text) = message.to_text() else { continue };
            let told: Value = serde_json::from_str(text).unwrap_or_default();
            if let Some(hash) = told["params"]["result"]["hash"].as_str() {
                noted.lock().unwrap().push(hash.to_owned());
            }
        }
    });
    (seen, task)
}

/// Guards against two sequencers that build at once because one was started by hand, by a restart, or by its election alone.
#[tokio::test]
async fn starts_stopped_behind_a_conductor() {
    let Some(cluster) = Cluster::begin("op_conductor stopped", 1).await else { return };
    let launch = &cluster.launches[0];
    launch.clone().without("--rpc.enable-admin").run().says(2, &["--conductor.rpc", "--rpc.enable-admin"]);
    launch.clone().flag("--rpc.admin-state", "state.json").run().says(2, &["--rpc.admin-state", "op-conductor"]);
    launch.clone().flag("--conductor.rpc.timeout", "soon").run().says(2, &["--conductor.rpc.timeout", "500ms"]);
    let mut node = cluster.start(0).await;
    assert_eq!(node.rpc("admin_conductorEnabled", json!([])).await, Ok(json!(true)));
    assert!(node.rpc("opp2p_peerStats", json!([])).await.unwrap()["connected"].is_u64());
    assert!(node.stdout().contains("the conductor starts it"), "{}", node.stdout());
    let stopped = async |node: &Chain| {
        tokio::time::sleep(WATCHED).await;
        assert!(!active(node).await);
        assert_eq!(height(node).await, 0);
        unready(node).await
    };
    let why = stopped(&node).await;
    assert!(why.contains("not the leader"), "{why}");
    cluster.conductors.elect(Some(0));
    let why = stopped(&node).await;
    assert!(why.contains("the conductor has not started it"), "{why}");
    // Neither does a restart go on where it was.
    cluster.bootstrap(&node, 0).await;
    until("it is ready", async || node.fetch("/readyz").await.is_some_and(|(status, _)| status == 200)).await;
    node.kill();
    let node = cluster.start(0).await;
    let stands = height(&node).await;
    tokio::time::sleep(WATCHED).await;
    assert!(!active(&node).await);
    assert_eq!(height(&node).await, stands);
}

/// Guards against a leader on a block that is not the conductor's newest, and a start without the conductor's word.
#[tokio::test]
async fn starts_only_as_leader_and_on_the_given_hash() {
    let Some(cluster) = Cluster::begin("op_conductor start", 1).await else { return };
    let node = cluster.start(0).await;
    let genesis = latest(&cluster.engine(&node, 0)).await["hash"].clone();
    let start = async |params: Value| node.rpc("admin_startSequencer", params).await;
    cluster.conductors.elect(Some(0));
    for (params, word) in [
        (json!([]), "hash is missing"),
        (json!([null]), "hash is missing"),
        (json!([B256::ZERO]), "hash is zero"),
        (json!(["0x12"]), "hash"),
        (json!([B256::repeat_byte(1)]), "the newest block is 0"),
    ] {
        let said = refused(start(params.clone()).await);
        assert!(said.contains(word), "{params}: {said}");
    }
    cluster.conductors.elect(None);
    let said = refused(start(json!([genesis])).await);
    assert!(said.contains("not the leader"), "{said}");
    cluster.conductors.mishap(0, Mishap::Gone);
    let said = refused(start(json!([genesis])).await);
    assert!(said.contains("does not say") && said.contains("500ms"), "{said}");
    cluster.conductors.mishap(0, Mishap::None);
    cluster.conductors.elect(Some(0));
    assert!(!active(&node).await);
    assert_eq!(start(json!([genesis])).await, Ok(Value::Null));
    assert!(active(&node).await);
    // In the words by which op-conductor knows that nothing is to be done.
    assert!(refused(start(json!([genesis])).await).contains("sequencer already running"));
    until("it builds", async || height(&node).await >= 2).await;
    let last = node.rpc("admin_stopSequencer", json!([])).await.unwrap();
    assert_eq!(latest(&cluster.engine(&node, 0)).await["hash"], last);
    assert!(refused(node.rpc("admin_stopSequencer", json!([])).await).contains("sequencer not running"));
}

/// Guards against a conductor that is waited for for ever, and calls that op-conductor does not understand.
#[tokio::test]
async fn every_conductor_call_uses_the_timeout_and_op_conductors_shapes() {
    let Some(cluster) = Cluster::begin("op_conductor shapes", 1).await else { return };
    let node = cluster.start(0).await;
    cluster.bootstrap(&node, 0).await;
    // Later than the timeout: each commit is held, none is acknowledged, and what is given again is the same.
    cluster.conductors.mishap(0, Mishap::Slow(Duration::from_secs(5)));
    until("the timeout passes", async || unready_or_empty(&node).await.contains("did not answer within 500ms")).await;
    cluster.conductors.mishap(0, Mishap::None);
    let stands = height(&node).await;
    until("it goes on", async || height(&node).await > stands + 2).await;
    for call in cluster.conductors.calls() {
        match call.method.as_str() {
            "conductor_leader" => assert_eq!(call.params, json!([])),
            "conductor_commitUnsafePayload" => {
                assert_eq!(call.params.as_array().map(Vec::len), Some(1));
                let envelope = &call.params[0];
                let mut keys: Vec<&String> = envelope.as_object().unwrap().keys().collect();
                keys.sort_unstable();
                assert_eq!(keys, ["executionPayload", "parentBeaconBlockRoot"]);
                assert!(envelope["parentBeaconBlockRoot"].as_str().is_some_and(|root| root.len() == 66));
                let payload = &envelope["executionPayload"];
                for field in [
                    "blockHash",
                    "blockNumber",
                    "parentHash",
                    "transactions",
                    "withdrawals",
                    "withdrawalsRoot",
                    "blobGasUsed",
                ] {
                    assert!(!payload[field].is_null(), "{field} is missing: {payload}");
                }
                assert_eq!(payload["withdrawals"], json!([]));
            }
            other => panic!("op-conductor is not asked {other}"),
        }
    }
    cluster.assert_one_chain(&[(&node, 0)]).await;
}

/// What `/readyz` says while it is not ready.
async fn unready_or_empty(node: &Chain) -> String {
    node.fetch("/readyz").await.filter(|(status, _)| *status == 503).map_or_else(String::new, |(_, body)| body)
}

/// Guards against kona-node's order: a block that others see, and then no conductor that holds it.
#[tokio::test]
async fn nothing_is_visible_before_its_commit() {
    let Some(cluster) = Cluster::begin("op_conductor visible", 1).await else { return };
    let node = cluster.start(0).await;
    let engine = cluster.engine(&node, 0);
    let (heads, watching) = watch_heads(&cluster, 0).await;
    cluster.bootstrap(&node, 0).await;
    cluster.conductors.mishap(0, Mishap::Fails);
    until("a commit fails", async || unready_or_empty(&node).await.contains("commit unclear since")).await;
    let waiting = committed(&cluster.conductors).pop().unwrap();
    let before = latest(&engine).await;
    let began = std::time::Instant::now();
    while began.elapsed() < WATCHED {
        assert_eq!(by_hash(&engine, &waiting).await, Value::Null);
        assert_eq!(latest(&engine).await["hash"], before["hash"]);
        assert_eq!(super::op_node::head(&node).await["hash"], before["hash"]);
        assert!(!heads.lock().unwrap().contains(&waiting));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(committed(&cluster.conductors).pop().unwrap(), waiting, "the same payload again");
    // Nor while the conductor is gone altogether.
    cluster.conductors.mishap(0, Mishap::Gone);
    tokio::time::sleep(WATCHED).await;
    assert_eq!(by_hash(&engine, &waiting).await, Value::Null);
    assert_eq!(latest(&engine).await["hash"], before["hash"]);
    assert!(active(&node).await, "a conductor that is silent has not said that another leads");
    cluster.conductors.mishap(0, Mishap::None);
    until("it is visible once it is held", async || !by_hash(&engine, &waiting).await.is_null()).await;
    until("it goes on", async || height(&node).await > number(&before["number"]) + 2).await;
    cluster.assert_one_chain(&[(&node, 0)]).await;
    let decided: Vec<String> = cluster.conductors.decided().into_values().collect();
    assert!(heads.lock().unwrap().iter().all(|head| decided.contains(head)));
    watching.abort();
}

/// Guards against a payload that leaks, or is replaced by another, when the conductor holds it and could not say so.
#[tokio::test]
async fn an_unclear_commit_never_leaks_a_payload() {
    let Some(mut cluster) = Cluster::begin("op_conductor unclear", 1).await else { return };
    let node = cluster.start(0).await;
    let engine = cluster.engine(&node, 0);
    cluster.bootstrap(&node, 0).await;
    cluster.conductors.mishap(0, Mishap::LosesAnswers);
    until("a commit is unclear", async || unready_or_empty(&node).await.contains("commit unclear since")).await;
    let (held_number, held) = cluster.conductors.newest().unwrap();
    let before = latest(&engine).await;
    assert_eq!(number(&before["number"]) + 1, held_number);
    // Stopped, it tells the head, which is not the payload that is unclear, and gives the conductor nothing more.
    let last = node.rpc("admin_stopSequencer", json!([])).await.unwrap();
    assert_eq!(last, before["hash"]);
    let commits = committed(&cluster.conductors);
    tokio::time::sleep(WATCHED).await;
    assert_eq!(committed(&cluster.conductors), commits);
    assert_eq!(commits.last(), Some(&held));
    assert_eq!(by_hash(&engine, &held).await, Value::Null);
    assert_eq!(latest(&engine).await["hash"], last);
    // The conductor holds it after all: it posts it, and starts the sequencer on it.
    cluster.conductors.mishap(0, Mishap::None);
    cluster.conductors.conduct(vec![(node.caller(), engine.clone())]);
    until("it goes on", async || height(&node).await > held_number + 2).await;
    assert_eq!(at(&engine, held_number).await["hash"], json!(held));
    cluster.assert_one_chain(&[(&node, 0)]).await;
}

/// Guards against two chains, lost blocks and a standstill when leadership moves back and forth while transactions come in.
#[tokio::test]
async fn leadership_moves_without_divergent_chains() {
    let Some(mut cluster) = Cluster::begin("op_conductor moves", 2).await else { return };
    let nodes = [cluster.start(0).await, cluster.start(1).await];
    let engines = [cluster.engine(&nodes[0], 0), cluster.engine(&nodes[1], 1)];
    cluster.bootstrap(&nodes[0], 0).await;
    cluster.conductors.conduct(vec![(nodes[0].caller(), engines[0].clone()), (nodes[1].caller(), engines[1].clone())]);
    let load = {
        let engines = engines.clone();
        tokio::spawn(async move {
            for nonce in 0.. {
                let raw = transfer(nonce).await;
                for engine in &engines {
                    // One that has it in a block already refuses it.
                    let _ = engine.rpc("eth_sendRawTransaction", json!([raw])).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    for turn in 1..=6 {
        let leader = turn % 2;
        cluster.conductors.elect(Some(leader));
        until("the new leader builds", async || active(&nodes[leader]).await && !active(&nodes[1 - leader]).await)
            .await;
        let (stands, _) = cluster.conductors.newest().unwrap();
        until("blocks are committed", async || cluster.conductors.newest().unwrap().0 >= stands + 3).await;
    }
    // And once when a payload is on its way whose commit stays unclear.
    cluster.conductors.mishap(0, Mishap::LosesAnswers);
    let (stands, _) = cluster.conductors.newest().unwrap();
    until("a commit is unclear", async || cluster.conductors.newest().unwrap().0 > stands).await;
    cluster.conductors.elect(Some(1));
    cluster.conductors.mishap(0, Mishap::None);
    until("the other goes on", async || cluster.conductors.newest().unwrap().0 >= stands + 5).await;
    load.abort();
    let (top, hash) = cluster.conductors.newest().unwrap();
    until("both have it", async || {
        let mut same = true;
        for engine in &engines {
            same &= at(engine, top).await["hash"] == json!(hash);
        }
        same
    })
    .await;
    cluster.assert_one_chain(&[(&nodes[0], 0), (&nodes[1], 1)]).await;
    let sent =
        number(&engines[1].rpc("eth_getTransactionCount", json!([super::op_node::RICH, "latest"])).await.unwrap());
    assert!(sent > 0, "transactions were in the blocks");
}

/// Guards against the standstill of optimism#22143: a leader that lacks two blocks or more is never started.
#[tokio::test]
async fn a_gap_of_any_size_behind_the_conductor_is_filled() {
    let Some(mut cluster) = Cluster::begin("op_conductor gap", 2).await else { return };
    let first = cluster.start(0).await;
    cluster.bootstrap(&first, 0).await;
    // More than are fetched at once.
    until("there is a gap", async || height(&first).await > 40).await;
    let held = cluster.conductors.held().unwrap();

    // Without peers nobody can fill it: the answer says what is missing, and the node waits for nothing.
    let alone = cluster.rollup.sequencer().flag("--l2-genesis", cluster.rollup.genesis.as_os_str());
    let alone = alone.flag("--http-port", "0").flag("--conductor.rpc", cluster.conductors.url(1));
    let alone = answers(&alone).await;
    let said = refused(alone.rpc("admin_postUnsafePayload", json!([held])).await);
    assert!(said.contains("needs blocks 1 to") && said.contains("--conductor.peers"), "{said}");
    assert_eq!(height(&alone).await, 0);
    drop(alone);

    // With peers the post is answered once the block is there.
    let second = cluster.start(1).await;
    let engine = cluster.engine(&second, 1);
    assert_eq!(second.rpc("admin_postUnsafePayload", json!([held])).await, Ok(Value::Null), "{}", second.log());
    let number_held = number(&held["executionPayload"]["blockNumber"]);
    assert_eq!(at(&engine, number_held).await["hash"], held["executionPayload"]["blockHash"]);
    // It follows by itself, and an election finds it level.
    let (stands, _) = cluster.conductors.newest().unwrap();
    until("it follows", async || height(&second).await > stands + 2).await;
    let callers = vec![(first.caller(), cluster.engine(&first, 0)), (second.caller(), engine.clone())];
    cluster.conductors.conduct(callers);
    cluster.conductors.elect(Some(1));
    until("it leads", async || active(&second).await).await;
    let (stands, _) = cluster.conductors.newest().unwrap();
    until("it builds", async || cluster.conductors.newest().unwrap().0 > stands + 2).await;
    cluster.assert_one_chain(&[(&first, 0), (&second, 1)]).await;
}

/// Guards against the hour of optimism#12448: a block that is there already stops the next leader.
#[tokio::test]
async fn reposting_is_idempotent() {
    let Some(cluster) = Cluster::begin("op_conductor repost", 1).await else { return };
    let node = cluster.start(0).await;
    cluster.bootstrap(&node, 0).await;
    let post = async |envelope: &Value| node.rpc("admin_postUnsafePayload", json!([envelope])).await;
    // While it leads it takes what it has, and nothing else.
    let early = cluster.conductors.held().unwrap();
    let early_number = number(&early["executionPayload"]["blockNumber"]);
    until("it is the head", async || height(&node).await >= early_number).await;
    for _ in 0..3 {
        assert_eq!(post(&early).await, Ok(Value::Null));
    }
    until("it goes on", async || height(&node).await > early_number + 1).await;
    let last = node.rpc("admin_stopSequencer", json!([])).await.unwrap();
    let newest = cluster.conductors.held().unwrap();
    for envelope in [&newest, &early, &newest, &newest] {
        assert_eq!(post(envelope).await, Ok(Value::Null));
    }
    assert_eq!(latest(&cluster.engine(&node, 0)).await["hash"], last);

    // The hash is that of the content.
    let mut spoiled = newest.clone();
    spoiled["executionPayload"]["gasUsed"] = json!("0x1");
    assert!(refused(post(&spoiled).await).contains("hash"));
    let mut cut = newest.clone();
    cut["executionPayload"].as_object_mut().unwrap().remove("withdrawalsRoot");
    assert!(refused(post(&cut).await).contains("withdrawalsRoot"));
    assert!(node.rpc("admin_postUnsafePayload", json!([])).await.is_err());

    // Without a conductor a stopped sequencer takes blocks as well, each on the one below.
    let alone = cluster.rollup.sequencer().flag("--l2-genesis", cluster.rollup.genesis.as_os_str());
    let alone = answers(&alone.flag("--http-port", "0").switch("--sequencer.stopped")).await;
    let commits = cluster.conductors.calls().into_iter();
    let commits =
        commits.filter(|call| call.method == "conductor_commitUnsafePayload").map(|call| call.params[0].clone());
    let blocks: Vec<Value> = commits.take(2).collect();
    let post_alone = async |envelope: &Value| alone.rpc("admin_postUnsafePayload", json!([envelope])).await;
    assert!(refused(post_alone(&blocks[1]).await).contains("needs blocks 1 to 1"));
    for block in [&blocks[0], &blocks[0], &blocks[1], &blocks[0]] {
        assert_eq!(post_alone(block).await, Ok(Value::Null));
    }
    assert_eq!(height(&alone).await, 2);
    drop(alone);

    // Another chain from the same beginning: it has a transaction that this one has not.
    let others = Conductors::start(1).await;
    let port = free_port();
    let other = cluster.rollup.sequencer().flag("--l2-genesis", cluster.rollup.genesis.as_os_str());
    let other = answers(&other.flag("--http-port", port.to_string()).flag("--conductor.rpc", others.url(0))).await;
    let engine = other.caller().at(port);
    others.elect(Some(0));
    engine.rpc("eth_sendRawTransaction", json!([transfer(0).await])).await.unwrap();
    let genesis = latest(&engine).await["hash"].clone();
    other.rpc("admin_startSequencer", json!([genesis])).await.unwrap();
    until("the other chain has blocks", async || others.newest().is_some()).await;
    other.rpc("admin_stopSequencer", json!([])).await.unwrap();
    let said = refused(post(&others.held().unwrap()).await);
    assert!(said.contains("another chain") || said.contains("needs blocks"), "{said}");
    assert_eq!(latest(&cluster.engine(&node, 0)).await["hash"], last);
}

/// Guards against a conductor that cannot be left out when it has failed for good, and against one that is left out in silence.
#[tokio::test]
async fn an_override_leaves_the_conductor_out() {
    let Some(cluster) = Cluster::begin("op_conductor override", 1).await else { return };
    let node = cluster.start(0).await;
    cluster.conductors.mishap(0, Mishap::Gone);
    let genesis = latest(&cluster.engine(&node, 0)).await["hash"].clone();
    refused(node.rpc("admin_startSequencer", json!([genesis])).await);
    assert_eq!(node.rpc("admin_overrideLeader", json!([true])).await, Ok(Value::Null));
    let calls = cluster.conductors.calls().len();
    assert_eq!(node.rpc("admin_startSequencer", json!([genesis])).await, Ok(Value::Null));
    until("it builds", async || height(&node).await >= 3).await;
    assert_eq!(cluster.conductors.calls().len(), calls, "the conductor is not called");
    until("it is ready", async || node.fetch("/readyz").await.is_some_and(|(status, _)| status == 200)).await;
    let ready = node.fetch("/readyz").await.unwrap().1;
    assert!(ready.contains("the leader override is on"), "{ready}");
    let metrics = node.fetch("/metrics").await.unwrap().1;
    assert!(metrics.contains("sequenza_conductor_overridden 1"), "{metrics}");
    assert!(node.stderr().contains("the leader override is ON"), "{}", node.log());
    // The conductor is back, and another leads.
    cluster.conductors.mishap(0, Mishap::None);
    assert_eq!(node.rpc("admin_overrideLeader", json!([false])).await, Ok(Value::Null));
    until("it stops", async || !active(&node).await).await;
    assert!(unready(&node).await.contains("not the leader"));
    let metrics = node.fetch("/metrics").await.unwrap().1;
    for line in [
        "sequenza_conductor_overridden 0",
        "sequenza_conductor_leading 0",
        "sequenza_conductor_commits_total{result=\"overridden\"}",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

/// Guards against a leader that gets back from the conductor what L1 took from it, and a follower that stays on the old chain.
#[tokio::test]
async fn what_l1_takes_back_is_made_anew_by_the_leader_and_followed() {
    let Some(mut cluster) = Cluster::begin("op_conductor reorganised", 2).await else { return };
    let launches = cluster.launches.drain(..).map(|launch| launch.flag("--sequencer.l1-confs", "0")).collect();
    cluster.launches = launches;
    let nodes = [cluster.start(0).await, cluster.start(1).await];
    let engines = [cluster.engine(&nodes[0], 0), cluster.engine(&nodes[1], 1)];
    cluster.bootstrap(&nodes[0], 0).await;
    let cited = async || super::op_node::head(&nodes[0]).await["l1origin"]["number"].as_u64().unwrap();
    let first = cited().await;
    until("origins advance", async || cited().await > first + 4).await;
    let before = latest(&engines[0]).await;
    until("the other follows", async || height(&nodes[1]).await >= number(&before["number"])).await;
    let (l1, depth) = (&cluster.rollup.l1, 4);
    let transfer = json!({ "from": super::op_node::RICH, "to": RECEIVER, "value": "0x1" });
    let instead: Vec<Value> = (0..depth).map(|at| json!([transfer, at])).collect();
    let top = number(&l1.rpc("eth_blockNumber", json!([])).await.unwrap());
    l1.rpc("anvil_reorg", json!([depth, instead])).await.unwrap();
    until("origins advance again", async || cited().await > top + 2).await;
    assert!(active(&nodes[0]).await);
    assert_ne!(at(&engines[0], number(&before["number"])).await["hash"], before["hash"], "it is made anew");
    let stands = latest(&engines[0]).await;
    until("the other goes along", async || at(&engines[1], number(&stands["number"])).await["hash"] == stands["hash"])
        .await;
    assert!(!active(&nodes[1]).await);
}
