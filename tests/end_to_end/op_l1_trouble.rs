//! `sequenza node` while L1 takes blocks back, hangs, lags, lies, or stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_eips::eip2718::Encodable2718;
use alloy_network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder};
use alloy_primitives::{B256, Bytes, U256, hex, keccak256};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use tests::{Caller, Chain, Fate, L1Info, Launch, Proxy, RpcError};

use crate::op_node::{RECEIVER, RICH, Rollup, assert_sound, blocks, free_port, head, height, number, until};

/// The key of [`RICH`].
const KEY: B256 = B256::new(hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"));

/// A node with its embedded chain, and the JSON-RPC of that.
pub(crate) async fn embedded(rollup: &Rollup, launch: Launch) -> (Chain, Caller) {
    let port = free_port();
    let launch = launch.flag("--l2-genesis", rollup.genesis.as_os_str()).flag("--http-port", port.to_string());
    let node = launch.start().await;
    let chain = node.caller().at(port);
    (node, chain)
}

/// The height of the L1 block that the newest block cites.
pub(crate) async fn cited(node: &Chain) -> u64 {
    head(node).await["l1origin"]["number"].as_u64().unwrap()
}

/// Waits until the newest block cites an L1 block above this height.
pub(crate) async fn cites_above(node: &Chain, height: u64) {
    until(&format!("origin above {height}\n{}", node.log()), async || cited(node).await > height).await;
}

/// A transfer of one wei, as it is sent.
pub(crate) async fn transfer(nonce: u64) -> Bytes {
    let wallet = EthereumWallet::from(PrivateKeySigner::from_bytes(&KEY).unwrap());
    let request = TransactionRequest::default()
        .with_chain_id(901)
        .with_nonce(nonce)
        .with_to(RECEIVER)
        .with_value(U256::ONE)
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(100_000_000_000)
        .with_max_priority_fee_per_gas(1);
    request.build(&wallet).await.unwrap().encoded_2718().into()
}

/// Transfers that are sent one after the other until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: tokio::task::JoinHandle<Vec<Value>>,
}

impl Load {
    /// From the one account that is rich on the rollup. A transfer is sent again until somebody has taken it.
    pub(crate) fn on(chain: &Caller) -> Load {
        let (stop, chain) = (Arc::new(AtomicBool::new(false)), chain.clone());
        let stopped = Arc::clone(&stop);
        let sent = tokio::spawn(async move {
            let mut hashes = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let raw = transfer(hashes.len() as u64).await;
                match chain.rpc("eth_sendRawTransaction", json!([raw])).await {
                    Ok(_) => hashes.push(json!(keccak256(&raw))),
                    // It was taken, and the answer was lost.
                    Err(RpcError::Refused { message, .. }) if message.contains("already known") => {
                        hashes.push(json!(keccak256(&raw)));
                    }
                    Err(RpcError::Lost(_)) => {}
                    Err(refused) => panic!("transfer {}: {refused:?}", hashes.len()),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            hashes
        });
        Load { stop, sent }
    }

    /// The hashes of all that was sent.
    pub(crate) async fn end(self) -> Vec<Value> {
        self.stop.store(true, Ordering::Relaxed);
        self.sent.await.unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn l1_height(rollup: &Rollup) -> u64 {
    number(&rollup.l1.rpc("eth_blockNumber", json!([])).await.unwrap())
}

/// Guards against blocks that go on citing what L1 took back, however deep, and against transactions that are lost with the blocks that
/// are made anew.
#[tokio::test]
async fn what_l1_takes_back_is_made_anew_under_load() {
    // L1 began long ago, so that there is something to take back; the rollup began with it, and catches up.
    let began = (now() - 150).to_string();
    let l1 = ["--timestamp", &began, "--block-time", "1"];
    let Some(rollup) = Rollup::begin_with("op_l1_trouble reorganised", &l1, |_, _| ()).await else { return };
    rollup.l1.rpc("anvil_mine", json!(["0x50", "0x1"])).await.unwrap();
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--sequencer.l1-confs", "0")).await;
    let load = Load::on(&chain);
    cites_above(&node, 75).await;
    for depth in [1, 2, 7, 30, 64] {
        let top = l1_height(&rollup).await;
        // A transfer in each makes sure that they are not the same blocks again.
        let instead: Vec<Value> =
            (0..depth).map(|at| json!([{ "from": RICH, "to": RECEIVER, "value": "0x1" }, at])).collect();
        rollup.l1.rpc("anvil_reorg", json!([depth, instead])).await.unwrap();
        cites_above(&node, top + 1).await;
    }
    let sent = load.end().await;
    assert!(sent.len() > 10, "{} transactions were sent", sent.len());
    for hash in &sent {
        until(&format!("{hash} is in a block again"), async || {
            !chain.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap().is_null()
        })
        .await;
    }
    let executed = assert_sound(&chain, &node, &rollup.l1).await;
    let included = executed.iter().flat_map(|block| block["transactions"].as_array().unwrap());
    let included = included.filter(|one| one["type"] != "0x7e").count();
    assert_eq!(included, sent.len(), "each is in one block");
}

/// Guards against blocks that wait for an L1 that takes questions and does not answer.
#[tokio::test]
async fn blocks_come_while_l1_hangs() {
    let Some(rollup) = Rollup::begin_with("op_l1_trouble hangs", &["--block-time", "2"], |_, _| ()).await else {
        return;
    };
    let proxy = Proxy::start(rollup.l1.http()).await;
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--l1-eth-rpc", proxy.http())).await;
    cites_above(&node, 0).await;
    proxy.rule(|_, _| Fate::Hangs);
    let before = proxy.calls("");
    blocks(&node, 20).await;
    // A call each second at most, and what is tried again after its deadline: it is not asked in a circle.
    let asked = proxy.calls("") - before;
    assert!(asked < 100, "{asked} calls of an L1 that hangs");
    let top = l1_height(&rollup).await;
    proxy.heal();
    cites_above(&node, top).await;
    assert_sound(&chain, &node, &rollup.l1).await;
}

/// Guards against a block that is ordered on an L1 block whose receipts nobody has yet: it would wait for them, and the chain with it.
#[tokio::test]
async fn an_l1_block_is_not_cited_before_its_receipts_are_there() {
    let Some(rollup) = Rollup::begin("op_l1_trouble receipts").await else { return };
    let proxy = Proxy::start(rollup.l1.http()).await;
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--l1-eth-rpc", proxy.http())).await;
    cites_above(&node, 1).await;
    proxy.rule(|method, _| if method == "eth_getBlockReceipts" { Fate::Hangs } else { Fate::Pass });
    let at = l1_height(&rollup).await;
    // What was read ahead may be cited still.
    until("L1 is far ahead", async || l1_height(&rollup).await > at + 8).await;
    blocks(&node, 3).await;
    let stays = cited(&node).await;
    blocks(&node, 12).await;
    assert_eq!(cited(&node).await, stays, "no receipts came, so that the origin stays");
    proxy.heal();
    cites_above(&node, at + 8).await;
    let log = node.log();
    assert!(!log.contains("opening a block"), "each order was carried out at once\n{log}");
    assert_sound(&chain, &node, &rollup.l1).await;
}

/// An endpoint that does not get beyond this height.
fn stale(at: u64) -> impl Fn(&str, &Value) -> Fate {
    move |method, params| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("latest")) => Fate::Asked(json!([format!("{at:#x}"), params[1]])),
        ("eth_getBlockByNumber", Some(height)) if height.starts_with("0x") && number(&params[0]) > at => {
            Fate::Answered(Value::Null)
        }
        _ => Fate::Pass,
    }
}

/// Guards against a chain that stands still, or goes back, because an endpoint does not get on.
#[tokio::test]
async fn an_l1_that_stands_still_is_followed_elsewhere_or_waited_for() {
    let Some(rollup) = Rollup::begin("op_l1_trouble stale").await else { return };
    let (one, other) = (Proxy::start(rollup.l1.http()).await, Proxy::start(rollup.l1.http()).await);
    let both = format!("{},{}", one.http(), other.http());
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--l1-eth-rpc", both)).await;
    cites_above(&node, 3).await;

    // One stands still: the other is followed.
    let at = l1_height(&rollup).await;
    one.rule(stale(at));
    cites_above(&node, at + 3).await;

    // Both do: blocks go on, on what is known.
    let at = l1_height(&rollup).await;
    one.rule(stale(at));
    other.rule(stale(at));
    until("L1 is far ahead of what is told of it", async || l1_height(&rollup).await > at + 8).await;
    blocks(&node, 3).await;
    assert!(cited(&node).await <= at);

    // The second dies while the first is well again.
    one.heal();
    drop(other);
    let at = l1_height(&rollup).await;
    cites_above(&node, at + 2).await;
    assert_sound(&chain, &node, &rollup.l1).await;
}

/// Takes the logs out of receipts, so that a deposit seems never to have been made.
fn without_logs(receipts: &mut Value) {
    for receipt in receipts.as_array_mut().into_iter().flatten() {
        receipt["logs"] = json!([]);
    }
}

/// Moves a block to another state, so that its hash is not its own.
fn other_state(block: &mut Value) {
    if block.is_object() {
        block["stateRoot"] = json!(B256::repeat_byte(7));
    }
}

fn lies(method: &str, _: &Value) -> Fate {
    match method {
        "eth_getBlockReceipts" => Fate::Changed(without_logs),
        _ => Fate::Pass,
    }
}

/// Guards against an L1 endpoint that is believed: a deposit that is kept from the rollup, a block that does not exist.
#[tokio::test]
async fn an_l1_that_lies_is_not_believed() {
    let Some(rollup) = Rollup::begin("op_l1_trouble lies").await else { return };
    let proxy = Proxy::start(rollup.l1.http()).await;

    // Beside a good one it is found out, and the deposit arrives.
    let both = format!("{},{}", proxy.http(), rollup.l1.http());
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--l1-eth-rpc", both)).await;
    cites_above(&node, 1).await;
    proxy.rule(lies);
    let value = U256::from(5_000_000_000_000_u64);
    let arrived =
        async || chain.rpc("eth_getBalance", json!([RECEIVER, "latest"])).await == Ok(json!(format!("{value:#x}")));
    let at = rollup.deposit(value).await;
    cites_above(&node, at).await;
    assert!(arrived().await, "the deposit is in the first block that cites L1 block {at}");
    proxy.rule(|method, _| match method {
        "eth_getBlockByNumber" | "eth_getBlockByHash" => Fate::Changed(other_state),
        _ => Fate::Pass,
    });
    let at = l1_height(&rollup).await;
    cites_above(&node, at + 1).await;
    assert_sound(&chain, &node, &rollup.l1).await;
    let metrics = node.fetch("/metrics").await.unwrap().1;
    let falsehoods = metrics.lines().find_map(|line| line.strip_prefix("sequenza_l1_falsehoods ")).unwrap();
    assert_ne!(falsehoods, "0");
    drop((node, chain));

    // Alone it keeps the rollup from the L1 block, and not from making blocks.
    proxy.heal();
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--l1-eth-rpc", proxy.http())).await;
    cites_above(&node, 1).await;
    proxy.rule(lies);
    let at = rollup.deposit(value).await;
    until("L1 is ahead", async || l1_height(&rollup).await > at + 3).await;
    blocks(&node, 3).await;
    assert!(cited(&node).await < at, "the L1 block of the deposit is cited without its receipts");
    proxy.heal();
    cites_above(&node, at).await;
    let balance = chain.rpc("eth_getBalance", json!([RECEIVER, "latest"])).await.unwrap();
    assert_ne!(balance, json!("0x0"));
    assert_sound(&chain, &node, &rollup.l1).await;
}

/// Guards against blocks that verifiers would throw away because they ran too far ahead of L1: before Fjord they are empty past the drift,
/// and there are none at all while the next L1 block is not known.
#[tokio::test]
async fn a_chain_too_far_ahead_of_l1_is_empty_then_waits_then_catches_up() {
    let drift = 8;
    let before_fjord = |genesis: &mut Value, config: &mut Value| {
        for fork in ["fjord", "granite", "holocene", "isthmus", "jovian", "karst"] {
            genesis["config"].as_object_mut().unwrap().remove(&format!("{fork}Time"));
            config.as_object_mut().unwrap().remove(&format!("{fork}_time"));
        }
        for fork in ["pragueTime", "osakaTime"] {
            genesis["config"].as_object_mut().unwrap().remove(fork);
        }
        genesis["extraData"] = json!("0x");
        config["genesis"]["system_config"].as_object_mut().unwrap().remove("eip1559Params");
        config["max_sequencer_drift"] = json!(drift);
    };
    let began = (now() - 60).to_string();
    let l1 = ["--timestamp", &began, "--no-mining"];
    let Some(rollup) = Rollup::begin_with("op_l1_trouble drift", &l1, before_fjord).await else { return };
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--sequencer.l1-confs", "0")).await;

    // It is a minute late, and stops where L1 allows no more.
    until(&format!("block {drift}\n{}", node.log()), async || height(&node).await == drift).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(height(&node).await, drift, "no block is made past the drift while the next L1 block is not there");
    let sent = chain.rpc("eth_sendRawTransaction", json!([transfer(0).await])).await.unwrap();

    // The next L1 block is far ahead: up to there blocks are empty.
    let origin = number(&rollup.l1.rpc("eth_getBlockByNumber", json!(["latest", false])).await.unwrap()["timestamp"]);
    let gap = 20;
    rollup.l1.rpc("evm_setNextBlockTimestamp", json!([origin + gap])).await.unwrap();
    rollup.l1.rpc("evm_mine", json!([])).await.unwrap();
    until(&format!("block {gap}\n{}", node.log()), async || height(&node).await >= gap).await;
    let executed = assert_sound(&chain, &node, &rollup.l1).await;
    for (at, block) in executed.iter().enumerate().take(usize::try_from(gap).unwrap()).skip(1) {
        assert_eq!(block["transactions"].as_array().unwrap().len(), 1, "block {at} is empty");
    }
    let block = &executed[usize::try_from(gap).unwrap()];
    assert_eq!(L1Info::read(&block["transactions"][0]).sequence_number, 0, "it cites the next L1 block");
    until("the transaction is in a block", async || {
        !chain.rpc("eth_getTransactionReceipt", json!([sent])).await.unwrap().is_null()
    })
    .await;
    // L1 comes along again, and so does the chain.
    rollup.l1.rpc("evm_setIntervalMining", json!([1])).await.unwrap();
    cites_above(&node, cited(&node).await + 3).await;
    assert_sound(&chain, &node, &rollup.l1).await;
}
