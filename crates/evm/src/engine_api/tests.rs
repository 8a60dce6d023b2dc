//! Orders to a chain on disk, and the published payload ids and gossip messages.

use std::path::PathBuf;

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE};
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use op_alloy_rpc_types_engine::OpNetworkPayloadEnvelope;
use tempfile::TempDir;

use super::*;
use crate::BlockPolicy;
use crate::genesis::{DEV_BASE_FEE, DEV_GAS_LIMIT, DevGenesis};

const BEGAN: u64 = 1_700_000_000;

struct World {
    _folder: TempDir,
    chain: Chain,
    pool: Pool,
    engine: EngineApi,
    key: PrivateKeySigner,
}

impl World {
    fn new() -> Self {
        Self::with_genesis(|_| ())
    }

    fn with_genesis(change: impl FnOnce(&mut alloy_genesis::Genesis)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = PrivateKeySigner::from_bytes(&B256::with_last_byte(7)).unwrap();
        let genesis = DevGenesis {
            chain_id: 31_337,
            balances: vec![(key.address(), U256::from(10u128.pow(20)))],
            gas_limit: DEV_GAS_LIMIT,
            base_fee: DEV_BASE_FEE,
            timestamp: BEGAN,
        };
        let mut genesis = genesis.into_file();
        change(&mut genesis);
        let chain = Chain::open(&folder.path().join("chain"), Some(genesis)).unwrap();
        let pool =
            Pool::open(&folder.path().join("pool"), &chain, mempool::Limits::default(), mempool::Order::Tip).unwrap();
        let policy = BlockPolicy {
            beneficiary: Address::ZERO,
            gas_limit: DEV_GAS_LIMIT,
            extra_data: Bytes::new(),
            empty_blocks: true,
        };
        let backend = EvmBackend::new(chain.clone(), pool.clone(), policy);
        let engine = EngineApi::new(chain.clone(), pool.clone(), backend);
        Self { _folder: folder, chain, pool, engine, key }
    }

    async fn ask(&self, method: &str, params: Value) -> Result<Value, EngineError> {
        let params = RawValue::from_string(params.to_string()).unwrap();
        let answer = self.engine.call(method, Some(&params)).await?;
        Ok(serde_json::from_str(answer.get()).unwrap())
    }

    fn transfer(&self, nonce: u64) -> Bytes {
        self.call(nonce, Address::repeat_byte(9), 21_000, Bytes::new())
    }

    /// A transaction that pays one wei.
    fn call(&self, nonce: u64, to: Address, gas_limit: u64, input: Bytes) -> Bytes {
        let transaction = TxEip1559 {
            chain_id: 31_337,
            nonce,
            gas_limit,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 3,
            to: TxKind::Call(to),
            value: U256::ONE,
            input,
            ..TxEip1559::default()
        };
        let signature = self.key.sign_hash_sync(&transaction.signature_hash()).unwrap();
        crate::Transaction::from(transaction.into_signed(signature)).encoded_2718().into()
    }

    async fn update(&self, head: B256, attributes: Value) -> Result<Value, EngineError> {
        let state = json!({ "headBlockHash": head, "safeBlockHash": B256::ZERO, "finalizedBlockHash": B256::ZERO });
        self.ask("engine_forkchoiceUpdatedV3", json!([state, attributes])).await
    }

    /// Builds a block on the head and fetches it.
    async fn build(&self, attributes: Value) -> Value {
        let updated = self.update(self.chain.head().seal(), attributes).await.unwrap();
        assert_eq!(updated["payloadStatus"]["status"], "VALID", "{updated}");
        self.ask("engine_getPayloadV5", json!([updated["payloadId"]])).await.unwrap()
    }

    async fn give(&self, payload: &Value) -> Result<Value, EngineError> {
        self.give_with(payload, &json!([])).await
    }

    async fn give_with(&self, payload: &Value, requests: &Value) -> Result<Value, EngineError> {
        self.ask("engine_newPayloadV4", json!([payload, [], B256::ZERO, requests])).await
    }
}

fn attributes(seconds: u64) -> Value {
    json!({
        "timestamp": format!("{:#x}", BEGAN + seconds),
        "prevRandao": B256::repeat_byte(1),
        "suggestedFeeRecipient": Address::repeat_byte(2),
        "withdrawals": [],
        "parentBeaconBlockRoot": B256::ZERO,
    })
}

fn with(mut attributes: Value, key: &str, value: Value) -> Value {
    attributes[key] = value;
    attributes
}

/// Guards against a consensus layer that never hears what its users ask for on the chain (EIP-7685): here a withdrawal (EIP-7002).
#[tokio::test]
async fn requests_of_the_consensus_layer_are_handed_out_and_demanded() {
    let contract = |genesis: &mut alloy_genesis::Genesis| {
        let code = Some(WITHDRAWAL_REQUEST_PREDEPLOY_CODE.clone());
        let account = alloy_genesis::GenesisAccount { code, ..Default::default() };
        genesis.alloc.insert(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, account);
    };
    let (world, other) = (World::with_genesis(contract), World::with_genesis(contract));
    let (validator, amount) = ([0xab; 48], 7_u64.to_be_bytes());
    let asked = Bytes::from([&validator[..], &amount].concat());
    let raw = world.call(0, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 500_000, asked);
    world.pool.submit(raw).await.unwrap();
    let answer = world.build(attributes(2)).await;
    // Kind, who asked, the validator, and the amount with its lowest byte first.
    let request = [&[1][..], world.key.address().as_slice(), &validator, &7_u64.to_le_bytes()].concat();
    assert_eq!(answer["executionRequests"], json!([Bytes::from(request)]), "{answer}");

    let payload = &answer["executionPayload"];
    let give = async |requests: &Value| other.give_with(payload, requests).await.unwrap()["status"].clone();
    assert_eq!(give(&json!([])).await, "INVALID", "the header speaks of a request");
    assert_eq!(give(&answer["executionRequests"]).await, "VALID");
    // The next block has none.
    let hash: B256 = serde_json::from_value(payload["blockHash"].clone()).unwrap();
    world.give_with(payload, &answer["executionRequests"]).await.unwrap();
    world.update(hash, Value::Null).await.unwrap();
    assert_eq!(world.build(attributes(4)).await["executionRequests"], json!([]));
}

#[tokio::test]
async fn a_block_is_ordered_fetched_brought_and_made_the_head() {
    let world = World::new();
    world.pool.submit(world.transfer(0)).await.unwrap();
    let updated = world.update(world.chain.head().seal(), attributes(2)).await.unwrap();
    // What comes after the order and before the fetch is in the block too.
    world.pool.submit(world.transfer(1)).await.unwrap();
    let answer = world.ask("engine_getPayloadV5", json!([updated["payloadId"]])).await.unwrap();
    let payload = &answer["executionPayload"];
    assert_eq!(payload["transactions"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["blockValue"], format!("{:#x}", 2 * 21_000 * 3));
    assert_eq!(answer["executionRequests"], json!([]));
    let again = world.ask("engine_getPayloadV5", json!([updated["payloadId"]])).await.unwrap();
    assert_eq!(again, answer, "fetched again it is the same");

    let status = world.give(payload).await.unwrap();
    assert_eq!((&status["status"], &status["latestValidHash"]), (&json!("VALID"), &payload["blockHash"]));
    assert_eq!(world.chain.head().number, 0, "brought is not led");
    let hash: B256 = serde_json::from_value(payload["blockHash"].clone()).unwrap();
    let led = world.update(hash, Value::Null).await.unwrap();
    assert_eq!(
        led,
        json!({"payloadStatus": {"status": "VALID", "latestValidHash": hash, "validationError": null}, "payloadId": null})
    );
    assert_eq!(world.chain.head().seal(), hash);
    assert_eq!(world.pool.load().0, 0);

    // An older block as head, with nothing to build, is no order to go back.
    let genesis = world.chain.header(At::Number(0)).unwrap().unwrap().seal();
    let older = world.update(genesis, Value::Null).await.unwrap();
    assert_eq!(older["payloadStatus"]["status"], "VALID");
    assert_eq!(world.chain.head().seal(), hash);

    let bodies = world.ask("engine_getPayloadBodiesByRangeV1", json!(["0x1", "0x5"])).await.unwrap();
    assert_eq!(bodies.as_array().unwrap().len(), 1);
    assert_eq!(bodies[0]["transactions"], payload["transactions"]);
    let bodies = world.ask("engine_getPayloadBodiesByHashV1", json!([[B256::ZERO, hash]])).await.unwrap();
    assert_eq!((&bodies[0], &bodies[1]["transactions"]), (&Value::Null, &payload["transactions"]));
}

#[tokio::test]
async fn another_engines_block_is_executed_and_a_forged_one_refused() {
    let (ours, theirs) = (World::new(), World::new());
    theirs.pool.submit(theirs.transfer(0)).await.unwrap();
    let first = theirs.build(attributes(2)).await["executionPayload"].clone();
    theirs.give(&first).await.unwrap();
    let hash: B256 = serde_json::from_value(first["blockHash"].clone()).unwrap();
    theirs.update(hash, Value::Null).await.unwrap();
    let second = theirs.build(attributes(4)).await["executionPayload"].clone();

    let status = ours.give(&second).await.unwrap();
    assert_eq!(status["status"], "SYNCING", "what is below it is missing");
    assert_eq!(ours.update(B256::repeat_byte(5), Value::Null).await.unwrap()["payloadStatus"]["status"], "SYNCING");
    let forged = ours.give(&with(first.clone(), "gasUsed", json!("0x0"))).await.unwrap();
    assert_eq!((&forged["status"], &forged["latestValidHash"]), (&json!("INVALID"), &Value::Null));
    assert_eq!(ours.give(&first).await.unwrap()["status"], "VALID");
    // The second is known by now, so both become the chain at one order.
    let hash: B256 = serde_json::from_value(second["blockHash"].clone()).unwrap();
    assert_eq!(ours.update(hash, Value::Null).await.unwrap()["payloadStatus"]["status"], "VALID");
    assert_eq!(ours.chain.head().seal(), hash);
}

/// The unsafe chain goes where the node leads it: to another branch, and back to a block to build on.
#[tokio::test]
async fn the_unsafe_chain_is_led_to_another_branch() {
    let (ours, theirs) = (World::new(), World::new());
    let lead = async |world: &World, payload: &Value| {
        assert_eq!(world.give(payload).await.unwrap()["status"], "VALID");
        let hash: B256 = serde_json::from_value(payload["blockHash"].clone()).unwrap();
        assert_eq!(world.update(hash, Value::Null).await.unwrap()["payloadStatus"]["status"], "VALID");
        hash
    };
    ours.pool.submit(ours.transfer(0)).await.unwrap();
    let lost = ours.build(attributes(2)).await["executionPayload"].clone();
    let lost = (lead(&ours, &lost).await, lost["transactions"].as_array().unwrap().len());
    assert_eq!((ours.pool.load().0, lost.1), (0, 1));

    let genesis = theirs.chain.head().seal();
    let first = theirs.build(attributes(3)).await["executionPayload"].clone();
    lead(&theirs, &first).await;
    let second = theirs.build(attributes(4)).await["executionPayload"].clone();
    let second_hash = lead(&theirs, &second).await;
    assert_eq!(ours.give(&first).await.unwrap()["status"], "VALID");
    assert_eq!(lead(&ours, &second).await, second_hash);
    assert_eq!(ours.chain.head().seal(), second_hash);
    assert_eq!(ours.chain.header(At::Hash(lost.0)).unwrap(), None);
    assert_eq!(ours.pool.load().0, 1, "what was on the branch that was left waits again");
    assert_eq!(ours.chain.verify().unwrap(), theirs.chain.verify().unwrap());

    // A block further down is led again to build on it.
    let updated = ours.update(genesis, attributes(2)).await.unwrap();
    assert_eq!(updated["payloadStatus"]["status"], "VALID");
    assert!(updated["payloadId"].is_string());
    assert_eq!(ours.chain.head().seal(), genesis);
}

#[tokio::test]
async fn orders_that_cannot_be_are_refused_with_their_code() {
    let world = World::new();
    let head = world.chain.head().seal();
    let code = async |attributes: Value| world.update(head, attributes).await.unwrap_err().code;
    assert_eq!(code(attributes(0)).await, -38003);
    assert_eq!(code(with(attributes(2), "parentBeaconBlockRoot", Value::Null)).await, -38003);
    assert_eq!(code(with(attributes(2), "withdrawals", Value::Null)).await, -38003);
    assert_eq!(code(with(attributes(2), "transactions", json!(["0x7e00"]))).await, -38003);
    // Sound by itself, but its nonce is not next.
    assert_eq!(code(with(attributes(2), "transactions", json!([world.transfer(3)]))).await, -38003);
    assert_eq!(code(with(attributes(2), "eip1559Params", json!("0x0000000800000002"))).await, -38003);
    let state =
        json!({ "headBlockHash": head, "safeBlockHash": B256::repeat_byte(1), "finalizedBlockHash": B256::ZERO });
    let error = world.ask("engine_forkchoiceUpdatedV3", json!([state, null])).await.unwrap_err();
    assert_eq!(error.code, -38002);
    let table = [
        (
            "engine_forkchoiceUpdatedV2",
            json!([{ "headBlockHash": head, "safeBlockHash": head, "finalizedBlockHash": head }, with(attributes(2), "parentBeaconBlockRoot", Value::Null)]),
            -38005,
        ),
        ("engine_getPayloadV5", json!(["0x0300000000000000"]), -38001),
        ("engine_getPayloadV5", json!([]), -32602),
        ("engine_getPayloadBodiesByRangeV1", json!(["0x0", "0x1"]), -32602),
        ("engine_getPayloadBodiesByRangeV1", json!(["0x1", "0x401"]), -38004),
        ("engine_getBlobsV1", json!([vec![B256::ZERO; 129]]), -38004),
        ("engine_newPayloadV4", json!([{}, [], B256::ZERO, []]), -32602),
        ("engine_newPayloadV9", json!([]), -32601),
        ("eth_chainId", json!([]), -32601),
    ];
    for (method, params, code) in table {
        assert_eq!(world.ask(method, params).await.unwrap_err().code, code, "{method}");
    }
    let built = world.update(head, attributes(2)).await.unwrap();
    assert_eq!(world.ask("engine_getPayloadV3", json!([built["payloadId"]])).await.unwrap_err().code, -38005);
    assert_eq!(world.ask("engine_getBlobsV1", json!([[B256::ZERO]])).await.unwrap(), json!([null]));
    assert_eq!(world.ask("engine_getBlobsV2", json!([[B256::ZERO]])).await.unwrap(), Value::Null);
    let able = world.ask("engine_exchangeCapabilities", json!([[]])).await.unwrap();
    assert!(able.as_array().unwrap().contains(&json!("engine_newPayloadV4")));
    assert_eq!(world.ask("engine_getClientVersionV1", json!([{}])).await.unwrap()[0]["name"], "Sequenza");
}

#[tokio::test]
async fn forced_transactions_come_first_and_the_pool_stays_out_when_told() {
    let world = World::new();
    world.pool.submit(world.transfer(1)).await.unwrap();
    let order = with(attributes(2), "transactions", json!([world.transfer(0)]));
    let closed = with(with(order.clone(), "noTxPool", json!(true)), "gasLimit", json!("0x1c9c380"));
    assert_eq!(world.build(closed).await["executionPayload"]["transactions"], json!([world.transfer(0)]));
    let open = world.build(order).await["executionPayload"]["transactions"].clone();
    assert_eq!(open[0], json!(world.transfer(0)));
}

#[tokio::test]
async fn methods_misbehave_on_order() {
    let world = World::new();
    let method = "engine_getClientVersionV1";
    world.engine.inject(method, Some(Fault::Error(EngineError::internal("a test"))));
    assert_eq!(world.ask(method, json!([{}])).await.unwrap_err().code, -32603);
    for fault in [Fault::Hang, Fault::Silence] {
        world.engine.inject(method, Some(fault));
        let patience = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(patience, world.ask(method, json!([{}]))).await.is_err());
    }
    world.engine.inject(method, Some(Fault::Delay(std::time::Duration::from_millis(10))));
    assert!(world.ask(method, json!([{}])).await.is_ok());
    world.engine.inject(method, None);
    assert!(world.ask(method, json!([{}])).await.is_ok());
}

fn vectors(name: &str) -> Option<Value> {
    let root = std::env::var_os("SEQUENZA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let path = root.join("opstack/engine").join(name);
    if !path.is_file() {
        eprintln!("skipped: {}: the test vectors are not beside the repository", path.display());
        return None;
    }
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

#[test]
fn payload_ids_are_the_published_ones() {
    let Some(file) = vectors("payload_id.json") else { return };
    let all = file["vectors"].as_array().unwrap();
    assert!(all.len() >= 2);
    for vector in all {
        let attributes = super::attributes(&vector["input"]["attributes"]).unwrap().unwrap();
        let parent: B256 = serde_json::from_value(vector["input"]["parent"].clone()).unwrap();
        // Both are calls of the third version.
        let id = drive::payload_id(3, parent, &attributes);
        assert_eq!(vector["expected"], id.to_string(), "{}", vector["name"]);
    }
}

#[test]
fn gossip_messages_are_read_and_written_as_published() {
    type Codec = (
        fn(&[u8]) -> Result<OpNetworkPayloadEnvelope, op_alloy_rpc_types_engine::PayloadEnvelopeError>,
        fn(&OpNetworkPayloadEnvelope) -> Result<Vec<u8>, op_alloy_rpc_types_engine::PayloadEnvelopeEncodeError>,
    );
    const CODECS: [Codec; 4] = [
        (OpNetworkPayloadEnvelope::decode_v1, OpNetworkPayloadEnvelope::encode_v1),
        (OpNetworkPayloadEnvelope::decode_v2, OpNetworkPayloadEnvelope::encode_v2),
        (OpNetworkPayloadEnvelope::decode_v3, OpNetworkPayloadEnvelope::encode_v3),
        (OpNetworkPayloadEnvelope::decode_v4, OpNetworkPayloadEnvelope::encode_v4),
    ];
    let Some(file) = vectors("gossip_envelopes.json") else { return };
    let all = file["vectors"].as_array().unwrap();
    assert!(all.len() >= 4);
    for vector in all {
        let (decode, encode) = CODECS[vector["version"].as_u64().unwrap() as usize - 1];
        let message: Bytes = serde_json::from_value(vector["message"].clone()).unwrap();
        let envelope = decode(&message).unwrap();
        assert_eq!(encode(&envelope).unwrap(), message, "{}", vector["name"]);
        assert!(decode(&message[..message.len() - 1]).is_err());
    }
}
