//! Every method answers, and every answer has the shape that the specification gives it: for sealed blocks by number,
//! hash and tag, and for the open block.

use serde_json::{Value, json};
use starknet_types_core::felt::Felt;

use crate::client::{Account, Call, STRK, Terms, hash, hex, selector};
use crate::world::{SPECIFICATION, World, vector};

/// The universal deployer of the chain.
pub(crate) const UDC: &str = "0x2ceed65a4bd731034c01113685c831b01c15d7d432f71afb1cf1634b53a2125";
/// The old one, of a Cairo 0 class.
pub(crate) const UDC_CAIRO0: &str = "0x41a78e741e5af2fec34b695679bc6891742439f7afb8484ecd7766661ad02bf";

/// A class out of the compiler's test data with its hashes.
pub(crate) struct Class {
    pub(crate) json: Value,
    pub(crate) hash: Felt,
    pub(crate) compiled_hash: Felt,
}

impl Class {
    pub(crate) fn load(name: &str) -> Option<Self> {
        let mut class = vector(&format!("starknet/classes/compiler/{name}.contract_class.json"))?;
        let hashes = vector("starknet/classes/compiler/class_hashes.json")?;
        // Submitted, the ABI is a string and the debug part is absent.
        let abi = class["abi"].take();
        class["abi"] = json!(abi.to_string());
        class.as_object_mut()?.retain(|key, _| {
            ["sierra_program", "contract_class_version", "entry_points_by_type", "abi"].contains(&key.as_str())
        });
        let sierra: starknet_api::state::SierraContractClass = serde_json::from_value(class.clone()).expect("a class");
        let hash = sierra.calculate_class_hash().0;
        let known = hashes["classes"].as_array().expect("a list");
        let known = known.iter().find(|known| known["name"] == name).unwrap_or_else(|| panic!("{name} has no hashes"));
        let felt = |key: &str| Felt::from_hex(known[key].as_str().expect("hex")).expect("a felt");
        Some(Self { json: class, hash, compiled_hash: felt("compiled_class_hash_blake") })
    }
}

/// Deploys a class through the universal deployer, at an address that depends on the salt alone.
pub(crate) fn deploy(
    account: &Account,
    terms: Terms,
    class_hash: Felt,
    salt: u64,
    constructor: &[Felt],
) -> (Value, Felt) {
    let mut calldata = vec![class_hash, Felt::from(salt), Felt::ZERO, Felt::from(constructor.len())];
    calldata.extend(constructor);
    let to = Felt::from_hex(UDC).expect("an address");
    let transaction = account.invoke(terms, &[Call { to, selector: selector("deployContract"), calldata }]);
    (transaction, contract_address(class_hash, Felt::from(salt), constructor))
}

/// What the tests of reading look at.
struct Scene {
    world: World,
    account: Account,
    transfer: Value,
    declaration: Option<(Value, Class)>,
    listener: Option<Class>,
    deployment: Value,
    deployed: Felt,
    reverted: Value,
}

/// Block 1: a transfer, a declaration, a deployment of an account, a transfer that is reverted. Block 2: empty.
async fn scene() -> Scene {
    let world = World::new();
    let account = world.account(0);
    let class_hash = world.chain.accounts()[0].class_hash.0;
    let other = world.account(1);
    let newcomer = Account { private_key: Felt::from(99), ..other.clone() };
    let deployment = newcomer.deploy(Terms::nonce(0), class_hash, Felt::from(5));
    let deployed = account_address(&newcomer, class_hash, Felt::from(5));
    let mut transactions = vec![
        account.transfer(Terms::nonce(0), deployed, 100_000_000_000_000_000_000),
        // More than anyone has.
        account.transfer(Terms { tip: 3, ..Terms::nonce(1) }, other.address, u128::MAX),
    ];
    let class = Class::load("hello_starknet__hello_starknet");
    if let Some(class) = &class {
        transactions.push(other.declare(Terms::nonce(0), &class.json, class.compiled_hash));
    }
    let hashes = world.block_of(&transactions).await;
    let mut second = vec![deployment];
    // A contract that hears messages of L1, declared and then deployed through the universal deployer.
    let listener = Class::load("test_contract__test_contract");
    if let Some(class) = &listener {
        second.push(other.declare(Terms::nonce(1), &class.json, class.compiled_hash));
    }
    let second = world.block_of(&second).await;
    let declaration = class.map(|class| (hashes[2].clone(), class));
    Scene {
        world,
        account,
        transfer: hashes[0].clone(),
        reverted: hashes[1].clone(),
        declaration,
        listener,
        deployment: second[0].clone(),
        deployed,
    }
}

/// Where an account of this key is deployed.
pub(crate) fn account_address(account: &Account, class_hash: Felt, salt: Felt) -> Felt {
    contract_address(class_hash, salt, &[starknet_crypto::get_public_key(&account.private_key)])
}

/// Where a contract is deployed whose address depends on no deployer.
pub(crate) fn contract_address(class_hash: Felt, salt: Felt, constructor: &[Felt]) -> Felt {
    let address = starknet_api::core::calculate_contract_address(
        starknet_api::transaction::fields::ContractAddressSalt(salt),
        starknet_api::core::ClassHash(class_hash),
        &starknet_api::transaction::fields::Calldata(std::sync::Arc::new(constructor.to_vec())),
        starknet_api::core::ContractAddress::default(),
    );
    address.expect("an address").into()
}

/// The block ids by which a test asks for the same things.
fn block_ids(world: &World) -> Vec<Value> {
    let head = world.chain.head();
    vec![
        json!({"block_number": 0}),
        json!({"block_number": 1}),
        json!({"block_hash": hex(head.hash.0)}),
        json!("latest"),
        json!("pre_confirmed"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_in_its_schema() {
    let scene = scene().await;
    let world = &scene.world;
    let account = &scene.account;
    // The open block holds a transaction, so that it is not looked at empty.
    let build = world.open().await;
    let open_transfer = world.send(&account.transfer(Terms::nonce(2), Felt::from(77), 5)).await;
    world.executed(std::slice::from_ref(&open_transfer)).await;

    assert_eq!(world.ok("starknet_specVersion", json!({})).await, json!("0.10.2"));
    assert_eq!(world.ok("starknet_chainId", json!({})).await, json!("0x534e5f54455354"));
    assert_eq!(world.ok("starknet_syncing", json!({})).await, json!(false));
    assert_eq!(world.ok("starknet_blockNumber", json!({})).await, json!(2));
    let head = world.ok("starknet_blockHashAndNumber", json!({})).await;
    assert_eq!(head["block_hash"], json!(hex(world.chain.head().hash.0)));

    for id in block_ids(world) {
        blocks(world, &id).await;
        state(&scene, &id).await;
        executions(&scene, &id).await;
    }
    transactions(&scene, &open_transfer).await;
    classes(&scene).await;
    proofs(&scene).await;
    traces(&scene).await;
    let events =
        world.ok("starknet_getEvents", json!({"filter": {"to_block": "pre_confirmed", "chunk_size": 100}})).await;
    assert!(!events["events"].as_array().expect("a list").is_empty());
    world.seal(build).await;
    messages(&scene).await;
    subscriptions(world).await;

    let answered = world.answered.lock().expect("no test panicked");
    // Answers that no chain without L1 can give, and the end of a subscription, which is the transport's.
    let silent = ["starknet_getMessagesStatus", "starknet_unsubscribe"];
    let missing: Vec<&str> = SPECIFICATION
        .methods()
        .into_iter()
        .filter(|method| !answered.contains(*method) && !silent.contains(method))
        .filter(|method| {
            let of_vectors = ["starknet_addDeclareTransaction", "starknet_estimateMessageFee"];
            scene.declaration.is_some() || !of_vectors.contains(method)
        })
        .collect();
    assert!(missing.is_empty(), "no answer of {missing:?} was looked at");
}

async fn blocks(world: &World, id: &Value) {
    let hashes = world.ok("starknet_getBlockWithTxHashes", json!({"block_id": id})).await;
    let flags = json!({"block_id": id, "response_flags": ["INCLUDE_PROOF_FACTS"]});
    let transactions = world.ok("starknet_getBlockWithTxs", json!({"block_id": id})).await;
    world.ok("starknet_getBlockWithTxs", flags.clone()).await;
    let receipts = world.ok("starknet_getBlockWithReceipts", json!({"block_id": id})).await;
    world.ok("starknet_getBlockWithReceipts", flags).await;
    let count = world.ok("starknet_getBlockTransactionCount", json!({"block_id": id})).await;
    let length = |block: &Value| block["transactions"].as_array().expect("a list").len();
    assert_eq!(json!(length(&hashes)), count);
    assert_eq!((length(&transactions), length(&receipts)), (length(&hashes), length(&hashes)));
    for index in 0..length(&hashes) {
        let hash = &hashes["transactions"][index];
        assert_eq!(&transactions["transactions"][index]["transaction_hash"], hash);
        assert_eq!(&receipts["transactions"][index]["receipt"]["transaction_hash"], hash);
        let params = json!({"block_id": id, "index": index});
        let one = world.ok("starknet_getTransactionByBlockIdAndIndex", params).await;
        assert_eq!(&one, &transactions["transactions"][index]);
    }
    assert_eq!(id == "pre_confirmed", hashes.get("block_hash").is_none());
    assert_eq!(id == "pre_confirmed", hashes.get("status").is_none());

    let whole = world.ok("starknet_getStateUpdate", json!({"block_id": id})).await;
    let one = json!({"block_id": id, "contract_addresses": [STRK]});
    let filtered = world.ok("starknet_getStateUpdate", one).await;
    let of = |update: &Value| -> Vec<Value> {
        let diffs = update["state_diff"]["storage_diffs"].as_array().expect("a list");
        diffs.iter().filter(|diff| diff["address"] == STRK).cloned().collect()
    };
    assert_eq!(of(&whole), of(&filtered));
    assert_eq!(filtered["state_diff"]["storage_diffs"], json!(of(&whole)));
    assert_eq!(filtered["state_diff"]["declared_classes"], whole["state_diff"]["declared_classes"]);
}

async fn state(scene: &Scene, id: &Value) {
    let world = &scene.world;
    let address = hex(scene.account.address);
    let of = json!({"block_id": id, "contract_address": address});
    let nonce = world.ok("starknet_getNonce", of.clone()).await;
    let expected = match id {
        Value::String(tag) if tag == "pre_confirmed" => "0x3",
        id if id["block_number"] == 0 => "0x0",
        _ => "0x2",
    };
    assert_eq!(nonce, json!(expected), "{id}");
    let class_hash = world.ok("starknet_getClassHashAt", of.clone()).await;
    let at = world.ok("starknet_getClassAt", of).await;
    let class = world.ok("starknet_getClass", json!({"block_id": id, "class_hash": class_hash})).await;
    assert_eq!(at, class);
    assert_eq!(class["contract_class_version"], "0.1.0");
    let old = world.ok("starknet_getClassAt", json!({"block_id": id, "contract_address": UDC_CAIRO0})).await;
    assert!(old["program"].is_string(), "the old deployer is of Cairo 0");

    let slot =
        hex(starknet_api::abi::abi_utils::get_storage_var_address("ERC20_balances", &[scene.account.address]).into());
    let params = json!({"contract_address": STRK, "key": slot, "block_id": id});
    let value = world.ok("starknet_getStorageAt", params.clone()).await;
    let mut flagged = params;
    flagged["response_flags"] = json!(["INCLUDE_LAST_UPDATE_BLOCK"]);
    let flagged = world.ok("starknet_getStorageAt", flagged).await;
    assert_eq!(flagged["value"], value);
    assert_ne!(value, "0x0");
    let expected = match id {
        Value::String(tag) if tag == "pre_confirmed" => 3,
        id if id["block_number"] == 0 => 0,
        _ => 1,
    };
    assert_eq!(flagged["last_update_block"], expected, "{id}");
    let balance = json!({
        "request": {"contract_address": STRK, "entry_point_selector": hex(selector("balance_of")), "calldata": [address]},
        "block_id": id,
    });
    let balance = world.ok("starknet_call", balance).await;
    assert_eq!(balance[0], value, "{id}");
    // Block hashes are kept in a contract without a class.
    world.ok("starknet_getStorageAt", json!({"contract_address": "0x1", "key": "0x0", "block_id": id})).await;
}

/// Estimates and simulations on the state of a block, with the nonce that the account has there.
async fn executions(scene: &Scene, id: &Value) {
    let world = &scene.world;
    let nonce = world.chain_nonce(id, &scene.account).await;
    for query in [false, true] {
        let terms = Terms { query, ..Terms::nonce(nonce) };
        let transactions = [
            scene.account.transfer(terms, Felt::from(8), 9),
            scene.account.transfer(Terms { nonce: nonce + 1, ..terms }, Felt::from(8), 10),
        ];
        let params = json!({"request": transactions, "simulation_flags": [], "block_id": id});
        let estimates = world.ok("starknet_estimateFee", params).await;
        assert_eq!(estimates.as_array().map(Vec::len), Some(2));
        let skipped = json!({"request": transactions, "simulation_flags": ["SKIP_VALIDATE"], "block_id": id});
        let cheaper = world.ok("starknet_estimateFee", skipped).await;
        assert!(number(&cheaper[0]["overall_fee"]) < number(&estimates[0]["overall_fee"]), "{id}: validation costs");
        for flags in [json!([]), json!(["SKIP_VALIDATE"]), json!(["SKIP_FEE_CHARGE"])] {
            let params = json!({"block_id": id, "transactions": transactions, "simulation_flags": flags});
            let simulated = world.ok("starknet_simulateTransactions", params).await;
            let trace = &simulated[0]["transaction_trace"];
            assert_eq!(trace.get("validate_invocation").is_none(), flags[0] == "SKIP_VALIDATE");
            assert_eq!(trace.get("fee_transfer_invocation").is_none(), flags[0] == "SKIP_FEE_CHARGE");
        }
        let params =
            json!({"block_id": id, "transactions": transactions, "simulation_flags": ["RETURN_INITIAL_READS"]});
        let simulated = world.ok("starknet_simulateTransactions", params).await;
        let reads = &simulated["initial_reads"];
        let nonces = reads["nonces"].as_array().expect("a list");
        let ours = nonces.iter().find(|read| read["contract_address"] == hex(scene.account.address));
        assert_eq!(ours.expect("the nonce was read")["nonce"], json!(format!("{nonce:#x}")));
    }
}

impl World {
    pub(crate) async fn chain_nonce(&self, id: &Value, account: &Account) -> u64 {
        let nonce =
            self.ok("starknet_getNonce", json!({"block_id": id, "contract_address": hex(account.address)})).await;
        number(&nonce) as u64
    }
}

pub(crate) fn number(value: &Value) -> u128 {
    let text = value.as_str().expect("a number in hex");
    u128::from_str_radix(text.trim_start_matches("0x"), 16).expect("hex")
}

async fn transactions(scene: &Scene, open: &Value) {
    let world = &scene.world;
    let declared = scene.declaration.iter().map(|(hash, _)| (hash, "DECLARE", "ACCEPTED_ON_L2", "SUCCEEDED"));
    let all = [
        (&scene.transfer, "INVOKE", "ACCEPTED_ON_L2", "SUCCEEDED"),
        (&scene.reverted, "INVOKE", "ACCEPTED_ON_L2", "REVERTED"),
        (&scene.deployment, "DEPLOY_ACCOUNT", "ACCEPTED_ON_L2", "SUCCEEDED"),
        (open, "INVOKE", "PRE_CONFIRMED", "SUCCEEDED"),
    ];
    for (hash, kind, finality, execution) in all.into_iter().chain(declared) {
        let params = json!({"transaction_hash": hash});
        let flagged = json!({"transaction_hash": hash, "response_flags": ["INCLUDE_PROOF_FACTS"]});
        let transaction = world.ok("starknet_getTransactionByHash", params.clone()).await;
        world.ok("starknet_getTransactionByHash", flagged).await;
        assert_eq!((&transaction["type"], &transaction["transaction_hash"]), (&json!(kind), hash));
        assert_eq!(&self::rehash(world, &transaction), hash, "the transaction is the one that was signed");
        let receipt = world.ok("starknet_getTransactionReceipt", params.clone()).await;
        assert_eq!(receipt["type"], kind);
        assert_eq!((&receipt["finality_status"], &receipt["execution_status"]), (&json!(finality), &json!(execution)));
        assert_eq!(receipt.get("block_hash").is_some(), finality == "ACCEPTED_ON_L2");
        assert_eq!(receipt["actual_fee"]["unit"], "FRI");
        let status = world.ok("starknet_getTransactionStatus", params).await;
        assert_eq!((&status["finality_status"], &status["execution_status"]), (&json!(finality), &json!(execution)));
        assert_eq!(status.get("failure_reason").is_some(), execution == "REVERTED");
        assert_eq!(status.get("failure_reason"), receipt.get("revert_reason"));
    }
    let receipt = world.ok("starknet_getTransactionReceipt", json!({"transaction_hash": scene.deployment})).await;
    assert_eq!(receipt["contract_address"], hex(scene.deployed));
    // Parked behind a gap: known, and waiting.
    let parked = world.send(&scene.account.transfer(Terms::nonce(9), Felt::from(8), 1)).await;
    let status = world.ok("starknet_getTransactionStatus", json!({"transaction_hash": parked})).await;
    assert_eq!(status, json!({"finality_status": "RECEIVED"}));
    let transaction = world.ok("starknet_getTransactionByHash", json!({"transaction_hash": parked})).await;
    assert_eq!(transaction["nonce"], "0x9");
    world.err("starknet_getTransactionReceipt", json!({"transaction_hash": parked}), "TXN_HASH_NOT_FOUND").await;
}

/// The hash of a transaction as the chain shows it.
fn rehash(world: &World, transaction: &Value) -> Value {
    if transaction["type"] == "DECLARE" {
        return transaction["transaction_hash"].clone();
    }
    json!(hex(hash(transaction, &world.chain.config().chain_id).0))
}

async fn classes(scene: &Scene) {
    let world = &scene.world;
    let account_class = hex(world.chain.accounts()[0].class_hash.0);
    world.ok("starknet_getCompiledCasm", json!({"class_hash": account_class})).await;
    let Some((_, class)) = &scene.declaration else { return };
    let casm = world.ok("starknet_getCompiledCasm", json!({"class_hash": hex(class.hash)})).await;
    assert!(!casm["bytecode"].as_array().expect("bytecode").is_empty());
    let back = world.ok("starknet_getClass", json!({"block_id": "latest", "class_hash": hex(class.hash)})).await;
    assert_eq!(back["sierra_program"], class.json["sierra_program"]);
    assert_eq!(back["abi"], class.json["abi"]);
}

async fn traces(scene: &Scene) {
    let world = &scene.world;
    let mut hashes = vec![&scene.transfer, &scene.reverted, &scene.deployment];
    hashes.extend(scene.declaration.iter().map(|(hash, _)| hash));
    for hash in hashes {
        let trace = world.ok("starknet_traceTransaction", json!({"transaction_hash": hash})).await;
        let receipt = world.ok("starknet_getTransactionReceipt", json!({"transaction_hash": hash})).await;
        assert_eq!(trace["type"], receipt["type"]);
        assert_eq!(trace["execution_resources"], receipt["execution_resources"], "{}", trace["type"]);
        assert_eq!(events_of(&trace), receipt["events"].as_array().expect("a list").len(), "{}", trace["type"]);
        if receipt["execution_status"] == "REVERTED" {
            assert_eq!(trace["execute_invocation"]["revert_reason"], receipt["revert_reason"]);
        }
    }
    for number in 0..=2 {
        let id = json!({"block_number": number});
        let traces = world.ok("starknet_traceBlockTransactions", json!({"block_id": id})).await;
        let flagged = json!({"block_id": id, "trace_flags": ["RETURN_INITIAL_READS"]});
        let flagged = world.ok("starknet_traceBlockTransactions", flagged).await;
        assert_eq!(flagged["traces"], traces);
        let hashes = world.ok("starknet_getBlockWithTxHashes", json!({"block_id": id})).await;
        let traced: Vec<&Value> =
            traces.as_array().expect("a list").iter().map(|trace| &trace["transaction_hash"]).collect();
        assert_eq!(traced, hashes["transactions"].as_array().expect("a list").iter().collect::<Vec<_>>());
    }
}

/// Nothing was executed in block 0; a burst of requests for traces of one block gets the same answers.
#[tokio::test(flavor = "multi_thread")]
async fn traces_of_the_first_block_and_in_a_burst() {
    let world = World::new();
    let zero = json!({"block_id": {"block_number": 0}});
    assert_eq!(world.ok("starknet_traceBlockTransactions", zero.clone()).await, json!([]));
    let flagged = json!({"block_id": {"block_number": 0}, "trace_flags": ["RETURN_INITIAL_READS"]});
    assert_eq!(world.ok("starknet_traceBlockTransactions", flagged).await["traces"], json!([]));

    let account = world.account(0);
    let transfers: Vec<Value> =
        (0..3).map(|nonce| account.transfer(Terms::nonce(nonce), Felt::from(8), 1 + u128::from(nonce))).collect();
    let hashes = world.block_of(&transfers).await;
    let params = json!({"block_id": {"block_number": 1}});
    let asked = (0..8).map(|_| world.ok("starknet_traceBlockTransactions", params.clone()));
    let traces = futures::future::join_all(asked).await;
    assert!(traces.iter().all(|one| *one == traces[0]));
    for (hash, traced) in hashes.iter().zip(traces[0].as_array().expect("a list")) {
        assert_eq!(*hash, traced["transaction_hash"]);
        let trace = world.ok("starknet_traceTransaction", json!({"transaction_hash": hash})).await;
        assert_eq!(trace, traced["trace_root"]);
    }
}

/// Events in a trace, over all of its calls.
fn events_of(trace: &Value) -> usize {
    match trace {
        Value::Object(members) => {
            let own = members.get("events").and_then(Value::as_array).map_or(0, Vec::len);
            own + members.values().map(events_of).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(events_of).sum(),
        _ => 0,
    }
}

async fn messages(scene: &Scene) {
    let Some(class) = &scene.listener else { return };
    let world = &scene.world;
    let nonce = world.chain_nonce(&json!("pre_confirmed"), &scene.account).await;
    let (deployment, listener) = deploy(&scene.account, Terms::nonce(nonce), class.hash, 1, &[Felt::from(7)]);
    let hashes = world.block_of(&[deployment]).await;
    let trace = world.ok("starknet_traceTransaction", json!({"transaction_hash": hashes[0]})).await;
    let deployed = &trace["state_diff"]["deployed_contracts"];
    assert_eq!(deployed, &json!([{"address": hex(listener), "class_hash": hex(class.hash)}]));
    let message = json!({
        "from_address": "0x00000000000000000000000000000000000000aa",
        "to_address": hex(listener),
        "entry_point_selector": hex(selector("l1_handle")),
        "payload": ["0x2"],
    });
    for id in [json!("latest"), json!("pre_confirmed")] {
        let fee = world.ok("starknet_estimateMessageFee", json!({"message": message, "block_id": id})).await;
        assert!(number(&fee["overall_fee"]) > 0);
    }
    sent_without_an_l1(world, listener).await;
}

/// Development networks take messages from L1 from anyone.
async fn sent_without_an_l1(world: &World, listener: Felt) {
    let message = |to: &str| {
        json!({
            "l2_contract_address": to,
            "entry_point_selector": hex(selector("l1_handle")),
            "l1_contract_address": "0x00000000000000000000000000000000000000aa",
            "payload": ["0x2"],
            "paid_fee_on_l1": "0x123456abcdef",
            "nonce": "0x0",
        })
    };
    let build = world.open().await;
    let sent = send_to_l2(world, &message(&hex(listener))).await.expect("it is accepted");
    let hash = sent["transaction_hash"].clone();
    world.executed(std::slice::from_ref(&hash)).await;
    world.seal(build).await;
    let receipt = world.ok("starknet_getTransactionReceipt", json!({"transaction_hash": hash})).await;
    assert_eq!(receipt["type"], "L1_HANDLER");
    assert_eq!(receipt["execution_status"], "SUCCEEDED", "{receipt}");
    let trace = world.ok("starknet_traceTransaction", json!({"transaction_hash": hash})).await;
    assert_eq!(trace["type"], "L1_HANDLER");
    let transaction = world.ok("starknet_getTransactionByHash", json!({"transaction_hash": hash})).await;
    assert_eq!(transaction["calldata"], json!(["0xaa", "0x2"]));

    assert_eq!(send_to_l2(world, &message("0x1234567")).await, Err(20), "no such contract");
    assert_eq!(send_to_l2(world, &message(&hex(listener))).await, Err(59), "the same message again");
    assert_eq!(send_to_l2(world, &json!({"l2_contract_address": hex(listener)})).await, Err(-32602));
}

async fn send_to_l2(world: &World, message: &Value) -> Result<Value, i64> {
    let raw = serde_json::value::RawValue::from_string(message.to_string()).expect("JSON");
    match world.rpc.call("devnet_postmanSendMessageToL2", Some(&raw)).await {
        Ok(answer) => Ok(serde_json::from_str(answer.get()).expect("JSON")),
        Err(error) => Err(error.code),
    }
}

/// A chain with a genesis of its own is nobody's playground.
#[tokio::test(flavor = "multi_thread")]
async fn only_development_networks_take_messages_from_anyone() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../genesis/genesis_prefund_accounts.json");
    let genesis = starknet::config::GenesisSource::File(file.into());
    let config = starknet::config::ChainConfig { genesis, ..crate::world::config() };
    let world = World::with(config, Default::default(), Default::default());
    assert!(world.rpc.extra_methods().is_empty());
    assert_eq!(send_to_l2(&world, &json!({})).await, Err(-32601));
    assert_eq!(World::new().rpc.extra_methods(), ["devnet_postmanSendMessageToL2"]);
}

async fn subscriptions(world: &World) {
    world.subscribe("starknet_subscribeNewHeads", json!({})).await;
    world.subscribe("starknet_subscribeEvents", json!({"from_address": STRK, "keys": [[]]})).await;
    world.subscribe("starknet_subscribeTransactionStatus", json!({"transaction_hash": "0x1"})).await;
    world.subscribe("starknet_subscribeNewTransactionReceipts", json!({})).await;
    world.subscribe("starknet_subscribeNewTransactions", json!({"tags": ["INCLUDE_PROOF_FACTS"]})).await;
}

async fn proofs(scene: &Scene) {
    use crate::proofs::{Hash, class_leaf, contract_leaf, felt, proved, state_root};
    let world = &scene.world;
    let slot =
        Felt::from(starknet_api::abi::abi_utils::get_storage_var_address("ERC20_balances", &[scene.account.address]));
    let (strk, absent) = (Felt::from_hex(STRK).expect("an address"), Felt::from(0x1234_5678_u32));
    let class_hash = world.chain.accounts()[0].class_hash.0;
    for id in [json!("latest"), json!({"block_number": 1}), json!({"block_number": 0})] {
        let params = json!({
            "block_id": id,
            "class_hashes": [hex(class_hash), hex(absent)],
            "contract_addresses": [STRK, hex(absent), hex(scene.account.address)],
            "contracts_storage_keys": [
                {"contract_address": STRK, "storage_keys": [hex(slot), hex(absent)]},
                {"contract_address": hex(scene.account.address), "storage_keys": ["0x1"]},
            ],
        });
        let proof = world.ok("starknet_getStorageProof", params).await;
        let roots = &proof["global_roots"];
        let (contracts, classes) = (felt(&roots["contracts_tree_root"]), felt(&roots["classes_tree_root"]));
        let block = world.ok("starknet_getBlockWithTxHashes", json!({"block_id": id})).await;
        assert_eq!(roots["block_hash"], block["block_hash"]);
        assert_eq!(state_root(contracts, classes), felt(&block["new_root"]), "{id}");

        let nodes = &proof["contracts_proof"]["nodes"];
        let leaves = &proof["contracts_proof"]["contract_leaves_data"];
        for (index, address) in [strk, absent, scene.account.address].into_iter().enumerate() {
            let leaf = &leaves[index];
            let (class, nonce, root) = (felt(&leaf["class_hash"]), felt(&leaf["nonce"]), felt(&leaf["storage_root"]));
            let expected = if address == absent { Felt::ZERO } else { contract_leaf(class, root, nonce) };
            assert_eq!(proved(contracts, address, nodes, Hash::Pedersen), Ok(expected), "{id} {address:#x}");
        }
        let storage = &proof["contracts_storage_proofs"][0];
        let params = json!({"contract_address": STRK, "key": hex(slot), "block_id": id});
        let value = felt(&world.ok("starknet_getStorageAt", params).await);
        let root = felt(&leaves[0]["storage_root"]);
        assert_eq!(proved(root, slot, storage, Hash::Pedersen), Ok(value), "{id}");
        assert_eq!(proved(root, absent, storage, Hash::Pedersen), Ok(Felt::ZERO), "{id}");

        let nodes = &proof["classes_proof"];
        let leaf = proved(classes, class_hash, nodes, Hash::Poseidon).expect("a sound proof");
        let state = world.chain.state(starknet::At::Number(starknet_api::block::BlockNumber(0)));
        let state = state.expect("a sound disk").expect("genesis");
        let compiled = state.compiled_class_hash(starknet_api::core::ClassHash(class_hash)).expect("a sound disk");
        assert_eq!(leaf, class_leaf(compiled.expect("it is declared").0), "{id}");
        assert_eq!(proved(classes, absent, nodes, Hash::Poseidon), Ok(Felt::ZERO), "{id}");
    }
}

/// With fees off a transaction offers nothing, and is executed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn without_fees_nothing_has_to_be_offered() {
    let config = starknet::ChainConfig { fees: false, ..crate::world::config() };
    let world = World::with(config, starknet::pool::PoolConfig::default(), starknet::rpc::Limits::default());
    let (one, two) = (world.account(0), world.account(1));
    let free = Terms { l2_gas: 0, l2_price: 0, ..Terms::nonce(0) };
    let mut transfer = one.transfer(free, two.address, 5);
    for gas in ["l1_gas", "l1_data_gas", "l2_gas"] {
        transfer["resource_bounds"][gas] = json!({"max_amount": "0x0", "max_price_per_unit": "0x0"});
    }
    let transfer = one.sign(transfer);
    let hashes = world.block_of(std::slice::from_ref(&transfer)).await;
    let receipt = world.ok("starknet_getTransactionReceipt", json!({"transaction_hash": hashes[0]})).await;
    assert_eq!(receipt["execution_status"], "SUCCEEDED", "{receipt}");
    // The token tells of the transfer and of nothing else: no fee was moved.
    assert_eq!(receipt["events"].as_array().map(Vec::len), Some(1), "{receipt}");
    let mut forged = one.transfer(Terms { nonce: 1, ..free }, two.address, 5);
    forged["signature"] = json!(["0x1", "0x2"]);
    world.refuse(&forged, "VALIDATION_FAILURE").await;
}
