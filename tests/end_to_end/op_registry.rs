//! A chain of the superchain registry with its real genesis, on an L1 of our own.

use std::io::Read;
use std::path::Path;

use alloy_primitives::{Address, B256, U256, address, b256, hex};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tests::{Anvil, L1Info, Launch, skipped, vectors};

use crate::op_l1_trouble::cites_above;
use crate::op_node::{DEPOSITOR, RECEIVER, RICH, deposit_input, free_port, height, number, portal_code, until};

/// sepolia-devnet-2, from its file in the registry: `superchain/configs/sepolia-devnet-2/sepolia-devnet-2.toml`.
const CHAIN_ID: u64 = 420_130_015;
const L2_TIME: u64 = 1_783_536_096;
const GENESIS: B256 = b256!("0x782e7ef559d86bd85ca14b3b51bcd64b2a5abba5bf3017d83d34e666d8dc0a57");
const STATE_ROOT: B256 = b256!("0x8c687a71a6fee4c6d8b25c4f75a844c447f30a7dc7074feea4c7c695f84152d9");
const PORTAL: Address = address!("0xCe313e6d194260417FF9Fee5C58f487D1da9fce0");
const FORKS: [&str; 9] = ["canyon", "delta", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian", "karst"];

/// Sepolia.
const L1_CHAIN_ID: &str = "11155111";
const L1_BLOCK: Address = address!("0x4200000000000000000000000000000000000015");
const MESSAGE_PASSER: Address = address!("0x4200000000000000000000000000000000000016");

/// Its configuration, on another L1 block.
fn rollup_file(l1: &Value) -> Value {
    let mut config = json!({
        "genesis": {
            "l1": { "number": number(&l1["number"]), "hash": l1["hash"] },
            "l2": { "number": 0, "hash": GENESIS },
            "l2_time": L2_TIME,
            "system_config": {
                "batcherAddr": "0x62a6Ed699757EFA7C6D7E14e11AFf684E904E91a", "overhead": B256::ZERO,
                "scalar": "0x010000000000000000000000000000000000000000000000000c3c9d00000558", "gasLimit": 60_000_000,
            },
        },
        "block_time": 2, "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
        "l1_chain_id": L1_CHAIN_ID.parse::<u64>().unwrap(), "l2_chain_id": CHAIN_ID,
        "batch_inbox_address": "0x00ab2D21A3e869A42603c37731699D1EedF89eB3", "deposit_contract_address": PORTAL,
        "l1_system_config_address": "0x5F91Ea5EEA70E505b457A442Dc7A8e5D9641b937", "regolith_time": 0,
        "chain_op_config": { "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250 },
    });
    for fork in FORKS {
        config[format!("{fork}_time")] = json!(0);
    }
    config
}

fn unpack(from: &Path, to: &Path) {
    let mut text = Vec::new();
    GzDecoder::new(std::fs::File::open(from).unwrap()).read_to_end(&mut text).unwrap();
    std::fs::write(to, text).unwrap();
}

/// Guards against a genesis that is read otherwise than the rest of the world does, and real contracts that do not get what they need: L1's
/// blocks, deposits, the root of what leaves for L1.
#[tokio::test]
async fn a_chain_of_the_registry_runs_on_its_real_genesis() {
    let test = "op_registry";
    let Some(folder) = vectors("opstack/genesis") else {
        return skipped(test, "the test vectors are not beside the repository");
    };
    // L1 as it was then, with a block each 12 seconds.
    let began = (L2_TIME - 12).to_string();
    let Some(l1) = Anvil::start(test, &["--chain-id", L1_CHAIN_ID, "--timestamp", &began, "--no-mining"]) else {
        return;
    };
    l1.rpc("anvil_setCode", json!([PORTAL, portal_code()])).await.unwrap();
    let first = l1.rpc("eth_getBlockByNumber", json!(["latest", false])).await.unwrap();
    let (own, port) = (free_port(), free_port());
    let launch = Launch::bare().subcommand("node").reached_at(own);
    let (genesis, config) = (launch.folder().join("genesis.json"), launch.folder().join("rollup.json"));
    unpack(&folder.join("sepolia-devnet-2.genesis.json.gz"), &genesis);
    std::fs::write(&config, rollup_file(&first).to_string()).unwrap();
    let data = launch.folder().join("data");
    let launch = launch
        .flag("--mode", "Sequencer")
        .flag("--l1-eth-rpc", l1.http())
        .flag("--l1-beacon", l1.http())
        .flag("--l1-slot-duration-override", "1")
        .flag("--sequencer.l1-confs", "0")
        .flag("--rollup-cfg", config)
        .flag("--l2-genesis", genesis)
        .flag("--http-port", port.to_string())
        .flag("--rpc.port", own.to_string())
        .flag("--db-path", data)
        .switch("--rpc.enable-admin")
        .switch("--sequencer.stopped");
    let node = launch.start_unready();
    until(&format!("it answers\n{}", node.log()), async || node.rpc("optimism_version", json!([])).await.is_ok()).await;
    let chain = node.caller().at(port);
    let block =
        async |height: u64| chain.rpc("eth_getBlockByNumber", json!([format!("{height:#x}"), true])).await.unwrap();
    let zero = block(0).await;
    assert_eq!((&zero["hash"], &zero["stateRoot"]), (&json!(GENESIS), &json!(STATE_ROOT)));

    // A deposit of a user, and one that leaves for L1 again.
    let ether = U256::from(1_000_000_000_000_000_000_u64);
    for to in [RECEIVER, MESSAGE_PASSER] {
        let input = deposit_input(DEPOSITOR, to, [ether, ether], &[]);
        l1.rpc("eth_sendTransaction", json!([{ "from": RICH, "to": PORTAL, "input": input, "gas": "0x186a0" }]))
            .await
            .unwrap();
    }
    l1.rpc("anvil_mine", json!(["0x4", "0xc"])).await.unwrap();
    // It is long behind the present: what it does not see of L1 when it begins it would not cite for many blocks.
    until("it sees L1", async || {
        node.rpc("optimism_syncStatus", json!([])).await.is_ok_and(|status| status["head_l1"]["number"] == 4)
    })
    .await;
    node.rpc("admin_startSequencer", json!([GENESIS])).await.unwrap();
    cites_above(&node, 3).await;
    node.rpc("admin_stopSequencer", json!([])).await.unwrap();

    let top = height(&node).await;
    let call = async |to: Option<Address>, data: &str, height: u64| {
        let at = format!("{height:#x}");
        chain.rpc("eth_call", json!([{ "to": to, "data": data }, at])).await.unwrap()
    };
    let passer = async |height: u64| {
        let proof = chain.rpc("eth_getProof", json!([MESSAGE_PASSER, [], format!("{height:#x}")])).await.unwrap();
        proof["storageHash"].clone()
    };
    let mut with_deposits = None;
    for height in 1..=top.min(30) {
        let block = block(height).await;
        let transactions = block["transactions"].as_array().unwrap();
        let told = L1Info::read(&transactions[0]);
        let receipt = chain.rpc("eth_getTransactionReceipt", json!([transactions[0]["hash"]])).await.unwrap();
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        // number() and hash() of L1Block.
        let number = call(Some(L1_BLOCK), "0x8381f58a", height).await;
        assert_eq!(number, json!(format!("{:#066x}", told.number)), "block {height}");
        assert_eq!(call(Some(L1_BLOCK), "0x09bd5a60", height).await, json!(told.hash), "block {height}");
        assert_eq!(block["withdrawalsRoot"], passer(height).await, "block {height}");
        assert_eq!(block["gasLimit"], "0x3938700");
        assert_eq!(block["extraData"], "0x01000000fa000000060000000000000000", "the parameters of the genesis");
        if transactions.len() > 1 {
            with_deposits = Some(height);
        }
    }
    let at = with_deposits.expect("the deposits are in a block");
    let balance = chain.rpc("eth_getBalance", json!([RECEIVER, format!("{at:#x}")])).await.unwrap();
    assert_eq!(balance, json!(format!("{ether:#x}")));
    assert_ne!(passer(at).await, passer(at - 1).await, "what leaves for L1 is kept by the message passer");
    // clz(1), which is there from Osaka on, that is from Karst on: mstore(0, clz(1)) return(0, 32).
    let clz = hex::encode_prefixed(hex!("6001 1e 6000 52 6020 6000 f3"));
    assert_eq!(call(None, &clz, top).await, json!(format!("{:#066x}", 255)));
}
