//! What L1 orders of a rollup: another system configuration, deposits. Each takes effect in the first block that cites the L1 block of it.

use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use serde_json::{Value, json};
use tests::{Caller, Chain, L1Info};

use crate::op_l1_trouble::{cited, embedded};
use crate::op_node::{DEPOSITOR, PORTAL, RECEIVER, RICH, Rollup, assert_sound, deposit_input, height, number, until};

/// Where L1 logs changes of the system configuration.
const SYSTEM_CONFIG: Address = address!("0x00000000000000000000000000000000000000c0");
const BATCHER: Address = address!("0xba7c4e5000000000000000000000000000000001");

/// Emits `ConfigUpdate` of version 0 for whoever calls: the type out of the first word of the input, the rest as the log's data.
fn system_config_code() -> Bytes {
    let topic = keccak256("ConfigUpdate(uint256,uint8,bytes)");
    // Topics type, version, event; the size of the rest; the rest copied to memory; LOG3; STOP.
    let head = hex!("6000 35 6000 7f");
    let tail = hex!("6020 36 03 80 6020 6000 37 6000 a3 00");
    [&head[..], topic.as_slice(), &tail].concat().into()
}

/// The call that makes it log a change of this type to these words.
fn update(kind: u8, words: &[B256]) -> Bytes {
    let count = |number: usize| B256::left_padding_from(&number.to_be_bytes());
    let mut input = [B256::with_last_byte(kind), count(32), count(32 * words.len())].to_vec();
    input.extend(words);
    input.concat().into()
}

fn word(number: u128) -> B256 {
    B256::left_padding_from(&number.to_be_bytes())
}

/// A rollup on an L1 that mines when it is told to.
async fn begin(test: &str) -> Option<Rollup> {
    let change = |_: &mut Value, config: &mut Value| config["l1_system_config_address"] = json!(SYSTEM_CONFIG);
    let rollup = Rollup::begin_with(test, &["--no-mining"], change).await?;
    rollup.l1.rpc("anvil_setCode", json!([SYSTEM_CONFIG, system_config_code()])).await.unwrap();
    Some(rollup)
}

/// Mines one L1 block with these calls. Its height, and the receipts of the calls.
async fn mine(rollup: &Rollup, calls: &[(Address, Bytes)]) -> u64 {
    let mut sent = Vec::new();
    for (to, input) in calls {
        let call = json!([{ "from": RICH, "to": to, "input": input, "gas": "0x186a0" }]);
        sent.push(rollup.l1.rpc("eth_sendTransaction", call).await.unwrap());
    }
    rollup.l1.rpc("evm_mine", json!([])).await.unwrap();
    let height = number(&rollup.l1.rpc("eth_blockNumber", json!([])).await.unwrap());
    for hash in sent {
        let receipt = rollup.l1.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap();
        assert_eq!((number(&receipt["blockNumber"]), &receipt["status"]), (height, &json!("0x1")), "{receipt}");
        assert_eq!(receipt["logs"].as_array().map(Vec::len), Some(1), "{receipt}");
    }
    height
}

/// The block before the first one that cites this L1 block, and that one.
async fn around_first(node: &Chain, chain: &Caller, l1: u64) -> [Value; 2] {
    until(&format!("L1 block {l1} is cited\n{}", node.log()), async || cited(node).await >= l1).await;
    let mut above = Value::Null;
    for height in (1..=height(node).await).rev() {
        let block = chain.rpc("eth_getBlockByNumber", json!([format!("{height:#x}"), true])).await.unwrap();
        if L1Info::read(&block["transactions"][0]).number < l1 {
            assert_ne!(above, Value::Null, "no block cites L1 block {l1}");
            return [block, above];
        }
        above = block;
    }
    panic!("no block is below L1 block {l1}")
}

/// Guards against changes of the system configuration that are lost, come a block too late or too early, or change something else.
#[tokio::test]
async fn changes_of_the_system_configuration_take_effect_with_their_l1_block() {
    let Some(rollup) = begin("op_l1_changes configuration").await else { return };
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--sequencer.l1-confs", "0")).await;
    until("a first block", async || height(&node).await > 0).await;

    // All at once, and one that nobody knows, which is skipped.
    let (denominator, elasticity) = (100_u32, 4_u32);
    let scalar = B256::new(hex!("0100000000000000000000000000000000000000000000000000002a00000539"));
    let updates = [
        update(0, &[BATCHER.into_word()]),
        update(1, &[B256::ZERO, scalar]),
        update(2, &[word(40_000_000)]),
        update(4, &[word(u128::from(denominator) << 32 | u128::from(elasticity))]),
        update(5, &[word(7_u128 << 64 | 123_456)]),
        update(6, &[word(1_000)]),
        update(9, &[word(1)]),
    ];
    let at = mine(&rollup, &updates.map(|input| (SYSTEM_CONFIG, input))).await;
    let [before, after] = around_first(&node, &chain, at).await;
    assert_eq!((&before["gasLimit"], &after["gasLimit"]), (&json!("0x1c9c380"), &json!("0x2625a00")));
    // Version 1: denominator, elasticity, lowest base fee.
    assert_eq!(before["extraData"], "0x0100000032000000060000000000000000");
    assert_eq!(after["extraData"], "0x01000000640000000400000000000003e8");
    let (old, new) = (L1Info::read(&before["transactions"][0]), L1Info::read(&after["transactions"][0]));
    assert_eq!((old.base_fee_scalar, old.blob_base_fee_scalar, old.operator_fee), (0, 0, (0, 0)));
    assert_eq!((new.base_fee_scalar, new.blob_base_fee_scalar, new.operator_fee), (1_337, 42, (7, 123_456)));
    assert_eq!((old.batcher, new.batcher), (format!("{:#x}", Address::with_last_byte(1)), format!("{BATCHER:#x}")));

    // One alone: what was set before stays, also over a restart.
    let mut node = node;
    node.kill();
    node.start_again().await;
    let at = mine(&rollup, &[(SYSTEM_CONFIG, update(2, &[word(50_000_000)]))]).await;
    let [before, after] = around_first(&node, &chain, at).await;
    assert_eq!((&before["gasLimit"], &after["gasLimit"]), (&json!("0x2625a00"), &json!("0x2faf080")));
    assert_eq!(after["extraData"], before["extraData"]);
    let told = L1Info::read(&after["transactions"][0]);
    assert_eq!((told.batcher, told.operator_fee), (format!("{BATCHER:#x}"), (7, 123_456)));

    // The same gas limit again in one block: the last word counts.
    let twice = [55_000_000, 45_000_000].map(|limit| (SYSTEM_CONFIG, update(2, &[word(limit)])));
    let at = mine(&rollup, &twice).await;
    let [_, after] = around_first(&node, &chain, at).await;
    assert_eq!(after["gasLimit"], "0x2aea540");
    assert_sound(&chain, &node, &rollup.l1).await;
}

/// Guards against deposits that are lost, come in another order, or take what they mint back when they fail.
#[tokio::test]
async fn deposits_arrive_in_order_and_mint_even_if_they_fail() {
    let Some(rollup) = begin("op_l1_changes deposits").await else { return };
    let (node, chain) = embedded(&rollup, rollup.sequencer().flag("--sequencer.l1-confs", "0")).await;
    until("a first block", async || height(&node).await > 0).await;
    let ether = |amount: u64| U256::from(amount) * U256::from(1_000_000_000_000_000_000_u64);
    let poor = Address::repeat_byte(0x33);
    let deposits = [
        deposit_input(DEPOSITOR, RECEIVER, [ether(7), ether(7)], &[]),
        // It sends more than it has.
        deposit_input(poor, RECEIVER, [ether(5), ether(6)], &[]),
        deposit_input(DEPOSITOR, RECEIVER, [ether(2), ether(1)], &hex!("c0ffee")),
    ];
    let at = mine(&rollup, &deposits.map(|input| (PORTAL, input))).await;
    let [_, block] = around_first(&node, &chain, at).await;
    let transactions = block["transactions"].as_array().unwrap();
    let told: Vec<_> = transactions.iter().map(|one| (&one["type"], &one["from"])).collect();
    let (deposit, depositor, poor_one) = (json!("0x7e"), json!(DEPOSITOR), json!(poor));
    assert_eq!(told[1..], [(&deposit, &depositor), (&deposit, &poor_one), (&deposit, &depositor)]);
    assert_eq!(transactions[3]["input"], "0xc0ffee");
    let mut statuses = Vec::new();
    for one in &transactions[1..] {
        let receipt = chain.rpc("eth_getTransactionReceipt", json!([one["hash"]])).await.unwrap();
        statuses.push(receipt["status"].clone());
    }
    assert_eq!(statuses, ["0x1", "0x0", "0x1"]);
    for (account, wei) in [(RECEIVER, ether(8)), (poor, ether(5)), (DEPOSITOR, ether(1))] {
        let balance = chain.rpc("eth_getBalance", json!([account, "latest"])).await.unwrap();
        assert_eq!(balance, json!(format!("{wei:#x}")), "{account}");
    }
    let nonce = chain.rpc("eth_getTransactionCount", json!([poor, "latest"])).await.unwrap();
    assert_eq!(nonce, "0x1", "a deposit that fails counts");
    assert_sound(&chain, &node, &rollup.l1).await;
}
