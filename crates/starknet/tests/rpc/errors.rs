//! Every error that the specification gives a method is provoked once, or it stands here why it cannot occur.

use serde_json::{Value, json};

use starknet::pool::PoolConfig;
use starknet::rpc::{Limits, StarknetRpc};

use starknet_types_core::felt::Felt;

use crate::client::{Account, STRK, Terms, hex, selector};
use crate::methods::Class;
use crate::world::{SPECIFICATION, World};

/// What cannot be provoked, and why.
const IMPOSSIBLE: &[(&str, &str, &str)] = &[
    ("starknet_blockNumber", "NO_BLOCKS", "a chain has a block from the first moment on: genesis"),
    ("starknet_blockHashAndNumber", "NO_BLOCKS", "a chain has a block from the first moment on: genesis"),
    ("starknet_getStorageProof", "STORAGE_PROOF_NOT_SUPPORTED", "the tries of every block are kept: none is too old"),
];

const NOBODY: &str = "0x123456789";

#[tokio::test(flavor = "multi_thread")]
async fn every_error_of_the_specification_is_provoked() {
    let world = World::new();
    blocks(&world).await;
    contracts(&world).await;
    the_rest_of_reading(&world).await;
    subscriptions(&world).await;
    // The real limit is 1024 blocks; the error is the same with a smaller one.
    let limits = Limits { blocks_back: 2, ..Limits::default() };
    let near = World::with(crate::world::config(), PoolConfig::default(), limits);
    too_far_back(&near).await;
    sending(&world).await;
    classes(&world).await;
    let one = mempool::Limits { count: 1, ..mempool::Limits::default() };
    let small =
        World::with(crate::world::config(), PoolConfig { limits: one, ..PoolConfig::default() }, Limits::default());
    full(&small).await;

    let mut provoked = world.provoked.lock().expect("no test panicked").clone();
    provoked.extend(near.provoked.lock().expect("no test panicked").clone());
    provoked.extend(small.provoked.lock().expect("no test panicked").clone());
    let mut missing = Vec::new();
    for method in SPECIFICATION.methods() {
        for error in SPECIFICATION.errors(method) {
            let known = provoked.contains(&(method.to_owned(), error.name.clone()));
            let reason = IMPOSSIBLE.iter().find(|(of, name, _)| *of == method && *name == error.name);
            assert!(!(known && reason.is_some()), "{method} {} is possible after all", error.name);
            if !known && reason.is_none() {
                missing.push(format!("{method} {}", error.name));
            }
        }
    }
    assert!(missing.is_empty(), "neither provoked nor impossible:\n{}", missing.join("\n"));
}

/// The parameters, beside the block, with which a method would answer.
fn sound(world: &World, method: &str) -> Value {
    let account = world.account(0);
    let class_hash = hex(world.chain.accounts()[0].class_hash.0);
    let balance =
        json!({"contract_address": STRK, "entry_point_selector": hex(selector("balance_of")), "calldata": ["0x1"]});
    let transactions = json!([account.transfer(Terms::nonce(0), account.address, 1)]);
    match method {
        "starknet_getStorageAt" => json!({"contract_address": STRK, "key": "0x1"}),
        "starknet_getTransactionByBlockIdAndIndex" => json!({"index": 0}),
        "starknet_getClass" => json!({"class_hash": class_hash}),
        "starknet_getClassHashAt" | "starknet_getClassAt" | "starknet_getNonce" => json!({"contract_address": STRK}),
        "starknet_call" => json!({"request": balance}),
        "starknet_estimateFee" => json!({"request": transactions, "simulation_flags": []}),
        "starknet_simulateTransactions" => json!({"transactions": transactions, "simulation_flags": []}),
        "starknet_estimateMessageFee" => json!({"message": message(STRK)}),
        _ => json!({}),
    }
}

fn message(to: &str) -> Value {
    json!({
        "from_address": "0x00000000000000000000000000000000000000aa",
        "to_address": to,
        "entry_point_selector": hex(selector("handle_deposit")),
        "payload": ["0x1"],
    })
}

async fn blocks(world: &World) {
    for method in SPECIFICATION.methods() {
        if !SPECIFICATION.errors(method).iter().any(|error| error.name == "BLOCK_NOT_FOUND") {
            continue;
        }
        let mut ids = vec![json!({"block_number": 10_000}), json!({"block_hash": "0xdead"})];
        if method.starts_with("starknet_subscribe") {
            for id in ids {
                world.subscribe_err(method, json!({"block_id": id}), "BLOCK_NOT_FOUND").await;
            }
            continue;
        }
        ids.push(json!("l1_accepted"));
        for id in ids {
            let mut params = sound(world, method);
            if method == "starknet_getEvents" {
                params = json!({"filter": {"from_block": id, "chunk_size": 1}});
            } else {
                params["block_id"] = id;
            }
            world.err(method, params, "BLOCK_NOT_FOUND").await;
        }
    }
}

async fn contracts(world: &World) {
    let nobody = json!({"block_id": "latest", "contract_address": NOBODY});
    for method in ["starknet_getNonce", "starknet_getClassHashAt", "starknet_getClassAt"] {
        world.err(method, nobody.clone(), "CONTRACT_NOT_FOUND").await;
    }
    let slot = json!({"block_id": "latest", "contract_address": NOBODY, "key": "0x1"});
    world.err("starknet_getStorageAt", slot, "CONTRACT_NOT_FOUND").await;

    let call = |to: &str, name: &str, calldata: Value| {
        let request =
            json!({"contract_address": to, "entry_point_selector": hex(selector(name)), "calldata": calldata});
        json!({"request": request, "block_id": "latest"})
    };
    world.err("starknet_call", call(NOBODY, "balance_of", json!([])), "CONTRACT_NOT_FOUND").await;
    world.err("starknet_call", call(STRK, "no_such_thing", json!([])), "ENTRYPOINT_NOT_FOUND").await;
    let data = world.err("starknet_call", call(STRK, "transfer", json!(["0x1", "0x1", "0x0"])), "CONTRACT_ERROR").await;
    assert!(data["revert_error"].to_string().len() > 10, "{data}");

    let mut stranger = world.account(0);
    stranger.address = Felt::from_hex(NOBODY).expect("an address");
    let strange = json!({
        "request": [stranger.transfer(Terms::nonce(0), stranger.address, 1)],
        "simulation_flags": [],
        "block_id": "latest",
    });
    world.err("starknet_estimateFee", strange, "CONTRACT_NOT_FOUND").await;
    let account = world.account(0);
    // The second one transfers more than there is; the error says which.
    let transactions = json!([
        account.transfer(Terms::nonce(0), account.address, 1),
        account.transfer(Terms::nonce(1), account.address, u128::MAX),
    ]);
    let estimate = json!({"request": transactions, "simulation_flags": [], "block_id": "latest"});
    let data = world.err("starknet_estimateFee", estimate, "TRANSACTION_EXECUTION_ERROR").await;
    assert_eq!(data["transaction_index"], 1);
    let wrong = json!([account.transfer(Terms::nonce(7), account.address, 1)]);
    let simulate = json!({"transactions": wrong, "simulation_flags": [], "block_id": "latest"});
    let data = world.err("starknet_simulateTransactions", simulate, "TRANSACTION_EXECUTION_ERROR").await;
    assert_eq!(data["transaction_index"], 0);

    let fee = |to: &str| json!({"message": message(to), "block_id": "latest"});
    world.err("starknet_estimateMessageFee", fee(NOBODY), "CONTRACT_NOT_FOUND").await;
    world.err("starknet_estimateMessageFee", fee(STRK), "CONTRACT_ERROR").await;
}

async fn the_rest_of_reading(world: &World) {
    let unknown = json!({"transaction_hash": "0xdead"});
    for method in [
        "starknet_getTransactionStatus",
        "starknet_getMessagesStatus",
        "starknet_getTransactionByHash",
        "starknet_getTransactionReceipt",
        "starknet_traceTransaction",
    ] {
        world.err(method, unknown.clone(), "TXN_HASH_NOT_FOUND").await;
    }
    for id in [json!("latest"), json!("pre_confirmed")] {
        let params = json!({"block_id": id, "index": 1_000});
        world.err("starknet_getTransactionByBlockIdAndIndex", params, "INVALID_TXN_INDEX").await;
    }
    let class = json!({"block_id": "latest", "class_hash": "0xdead"});
    world.err("starknet_getClass", class, "CLASS_HASH_NOT_FOUND").await;
    world.err("starknet_getCompiledCasm", json!({"class_hash": "0xdead"}), "CLASS_HASH_NOT_FOUND").await;
    let old = json!({"block_id": "latest", "contract_address": crate::methods::UDC_CAIRO0});
    let old = world.ok("starknet_getClassHashAt", old).await;
    let data = world.err("starknet_getCompiledCasm", json!({"class_hash": old}), "COMPILATION_ERROR").await;
    assert!(data["compilation_error"].is_string());

    let events = |more: Value| {
        let mut filter = json!({"chunk_size": 10});
        filter.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"filter": filter})
    };
    world.err("starknet_getEvents", events(json!({"chunk_size": 1_025})), "PAGE_SIZE_TOO_BIG").await;
    for token in ["x", "0", "7-0", "0-x"] {
        let params = events(json!({"continuation_token": token}));
        world.err("starknet_getEvents", params, "INVALID_CONTINUATION_TOKEN").await;
    }
    let keys: Vec<Value> = (0..300).map(|key| json!([format!("{key:#x}")])).collect();
    world.err("starknet_getEvents", events(json!({"keys": keys})), "TOO_MANY_KEYS_IN_FILTER").await;
    world.subscribe_err("starknet_subscribeEvents", json!({"keys": keys}), "TOO_MANY_KEYS_IN_FILTER").await;

    let account = world.account(2);
    let parked = world.send(&account.transfer(Terms::nonce(5), account.address, 1)).await;
    let data = world.err("starknet_traceTransaction", json!({"transaction_hash": parked}), "NO_TRACE_AVAILABLE").await;
    assert_eq!(data, json!({"status": "RECEIVED"}));
}

async fn subscriptions(world: &World) {
    let addresses: Vec<String> = (0..1_025).map(|address| format!("{address:#x}")).collect();
    let params = json!({"sender_address": addresses});
    for method in ["starknet_subscribeNewTransactions", "starknet_subscribeNewTransactionReceipts"] {
        world.subscribe_err(method, params.clone(), "TOO_MANY_ADDRESSES_IN_FILTER").await;
    }
    let params = json!({"subscription_id": "no such"});
    let error = StarknetRpc::unknown_subscription();
    world.judge("starknet_unsubscribe", &params, error, "INVALID_SUBSCRIPTION_ID");
}

async fn too_far_back(world: &World) {
    for _ in 0..3 {
        world.block_of(&[]).await;
    }
    let start = json!({"block_id": {"block_number": 0}});
    for method in ["starknet_subscribeNewHeads", "starknet_subscribeEvents"] {
        world.subscribe_err(method, start.clone(), "TOO_MANY_BLOCKS_BACK").await;
    }
}

/// A transaction of each kind, in terms of the caller's choice. Each is sound when the terms are.
struct Kinds {
    account: Account,
    newcomer: Account,
    class_hash: Felt,
    class: Option<Class>,
}

impl Kinds {
    fn new(world: &World, index: usize) -> Self {
        let account = world.account(index);
        Self {
            newcomer: Account { private_key: Felt::from(1_000 + index as u64), ..account.clone() },
            class_hash: world.chain.accounts()[0].class_hash.0,
            // One class for each, since a class is declared once.
            class: Class::load(["hello_starknet__hello_starknet", "minimal_contract__minimal_contract"][index]),
            account,
        }
    }

    fn invoke(&self, terms: Terms) -> Value {
        self.account.transfer(terms, self.account.address, 1)
    }

    fn declare(&self, terms: Terms) -> Option<Value> {
        let class = self.class.as_ref()?;
        Some(self.account.declare(terms, &class.json, class.compiled_hash))
    }

    fn deploy(&self, terms: Terms) -> Value {
        self.newcomer.deploy(terms, self.class_hash, Felt::ONE)
    }

    /// One of each kind; without the vectors there is no class to declare.
    fn all(&self, terms: Terms) -> Vec<Value> {
        [Some(self.invoke(terms)), self.declare(terms), Some(self.deploy(terms))].into_iter().flatten().collect()
    }

    /// The address that `deploy` deploys at.
    fn address(&self) -> Felt {
        crate::methods::account_address(&self.newcomer, self.class_hash, Felt::ONE)
    }
}

/// What a sender can do wrong in every kind of transaction.
async fn sending(world: &World) {
    let kinds = Kinds::new(world, 0);
    // The newcomer can pay, and has not been deployed.
    let fund = kinds.account.transfer(Terms::nonce(0), kinds.address(), 100_000_000_000_000_000_000);
    world.block_of(&[fund]).await;
    let sound = |transaction: &Value| if transaction["type"] == "DEPLOY_ACCOUNT" { 0 } else { 1 };
    let each = |change: &dyn Fn(Terms) -> Terms| -> Vec<Value> {
        [0, 1]
            .iter()
            .flat_map(|nonce| kinds.all(change(Terms::nonce(*nonce))))
            .filter(|transaction| transaction["nonce"] == json!(format!("{:#x}", sound(transaction))))
            .collect()
    };

    for transaction in each(&|terms| Terms { l2_price: 1, ..terms }) {
        world.refuse(&transaction, "FEE_BELOW_MINIMUM").await;
    }
    for transaction in each(&|terms| Terms { l2_gas: 1, ..terms }) {
        world.refuse(&transaction, "INSUFFICIENT_RESOURCES_FOR_VALIDATE").await;
    }
    for transaction in each(&|terms| Terms { l2_price: u128::from(u64::MAX), ..terms }) {
        world.refuse(&transaction, "INSUFFICIENT_ACCOUNT_BALANCE").await;
    }
    for mut transaction in each(&|terms| terms) {
        transaction["signature"] = json!(["0x1", "0x2"]);
        world.refuse(&transaction, "VALIDATION_FAILURE").await;
        transaction["version"] = json!("0x1");
        world.refuse(&transaction, "UNSUPPORTED_TX_VERSION").await;
        transaction["version"] = json!("0x100000000000000000000000000000003");
        world.refuse(&transaction, "UNSUPPORTED_TX_VERSION").await;
    }
    for transaction in [kinds.invoke(Terms::nonce(0)), kinds.deploy(Terms::nonce(3))] {
        // Another amount, so that it is not the transaction that was executed.
        let mut transaction = transaction;
        transaction["tip"] = json!("0x5");
        let signer = if transaction["type"] == "INVOKE" { &kinds.account } else { &kinds.newcomer };
        world.refuse(&signer.sign(transaction), "INVALID_TRANSACTION_NONCE").await;
    }
    if let Some(declaration) = kinds.declare(Terms::nonce(0)) {
        world.refuse(&declaration, "INVALID_TRANSACTION_NONCE").await;
    }

    let mut proven = kinds.invoke(Terms::nonce(1));
    proven["proof_facts"] = json!(["0x1"]);
    proven["proof"] = json!("AAAA");
    world.refuse(&kinds.account.sign(proven), "INVALID_PROOF").await;
    let unknown = kinds.newcomer.deploy(Terms::nonce(0), Felt::from(0xdead), Felt::ONE);
    world.refuse(&unknown, "CLASS_HASH_NOT_FOUND").await;

    // Nobody, and somebody who is no account.
    for address in [NOBODY, crate::methods::UDC] {
        let stranger = Account { address: Felt::from_hex(address).expect("an address"), ..kinds.account.clone() };
        fund_and_refuse(world, &kinds, &stranger).await;
    }
    let udc = json!({"block_id": "latest", "contract_address": crate::methods::UDC});
    let udc_class = crate::proofs::felt(&world.ok("starknet_getClassHashAt", udc).await);
    let mut deployment = kinds.newcomer.deploy(Terms::nonce(0), udc_class, Felt::TWO);
    deployment["constructor_calldata"] = json!([]);
    let address = crate::methods::contract_address(udc_class, Felt::TWO, &[]);
    let nonce = world.chain_nonce(&json!("pre_confirmed"), &kinds.account).await;
    world.block_of(&[kinds.account.transfer(Terms::nonce(nonce), address, 100_000_000_000_000_000_000)]).await;
    world.refuse(&kinds.newcomer.sign(deployment), "NON_ACCOUNT").await;

    // Waiting in the pool: the same again, and another one in its place that offers no more.
    let nonce = world.chain_nonce(&json!("pre_confirmed"), &kinds.account).await;
    let invoke = kinds.invoke(Terms { tip: 100, ..Terms::nonce(nonce) });
    world.send(&invoke).await;
    world.refuse(&invoke, "DUPLICATE_TX").await;
    world.refuse(&kinds.invoke(Terms { tip: 101, ..Terms::nonce(nonce) }), "REPLACEMENT_TRANSACTION_UNDERPRICED").await;
    if let Some(declaration) = kinds.declare(Terms { tip: 100, ..Terms::nonce(nonce + 1) }) {
        world.send(&declaration).await;
        world.refuse(&declaration, "DUPLICATE_TX").await;
        let other = kinds.declare(Terms { tip: 101, ..Terms::nonce(nonce + 1) }).expect("as before");
        world.refuse(&other, "REPLACEMENT_TRANSACTION_UNDERPRICED").await;
    }
    let deployment = kinds.deploy(Terms { tip: 100, ..Terms::nonce(0) });
    world.send(&deployment).await;
    world.refuse(&deployment, "DUPLICATE_TX").await;
    world.refuse(&kinds.deploy(Terms { tip: 101, ..Terms::nonce(0) }), "REPLACEMENT_TRANSACTION_UNDERPRICED").await;
    // What follows a deployment that waits may wait as well.
    let deployed = Account { address: kinds.address(), ..kinds.newcomer.clone() };
    world.send(&deployed.transfer(Terms::nonce(1), kinds.account.address, 1)).await;
}

/// Gives `stranger` enough to pay with, so that the fee is not what is wrong.
async fn fund_and_refuse(world: &World, kinds: &Kinds, stranger: &Account) {
    let nonce = world.chain_nonce(&json!("pre_confirmed"), &kinds.account).await;
    let fund = kinds.account.transfer(Terms::nonce(nonce), stranger.address, 100_000_000_000_000_000_000);
    world.block_of(&[fund]).await;
    world.refuse(&stranger.transfer(Terms::nonce(0), kinds.account.address, 1), "NON_ACCOUNT").await;
    if let Some(class) = &kinds.class {
        world.refuse(&stranger.declare(Terms::nonce(0), &class.json, class.compiled_hash), "NON_ACCOUNT").await;
    }
}

/// What can be wrong with a class.
async fn classes(world: &World) {
    let kinds = Kinds::new(world, 1);
    let Some(class) = &kinds.class else { return };
    let declare = |class: &Value, compiled_hash: Felt| kinds.account.declare(Terms::nonce(0), class, compiled_hash);
    world.refuse(&declare(&class.json, Felt::from(1)), "COMPILED_CLASS_HASH_MISMATCH").await;
    let mut broken = class.json.clone();
    let program = broken["sierra_program"].as_array_mut().expect("a program");
    program.truncate(program.len() / 2);
    world.refuse(&declare(&broken, class.compiled_hash), "COMPILATION_FAILED").await;
    let mut future = class.json.clone();
    future["contract_class_version"] = json!("0.2.0");
    world.refuse(&declare(&future, class.compiled_hash), "UNSUPPORTED_CONTRACT_CLASS_VERSION").await;
    let mut large = class.json.clone();
    large["abi"] = json!("x".repeat(5_000_000));
    world.refuse(&declare(&large, class.compiled_hash), "CONTRACT_CLASS_SIZE_IS_TOO_LARGE").await;
    world.block_of(&[declare(&class.json, class.compiled_hash)]).await;
    let again = kinds.account.declare(Terms::nonce(1), &class.json, class.compiled_hash);
    world.refuse(&again, "CLASS_ALREADY_DECLARED").await;
}

/// A pool with room for one transaction: whatever else comes is refused without a code of its own.
async fn full(world: &World) {
    let kinds = Kinds::new(world, 0);
    world.block_of(&[kinds.account.transfer(Terms::nonce(0), kinds.address(), 100_000_000_000_000_000_000)]).await;
    let first = world.account(1);
    world.send(&first.transfer(Terms { tip: 1_000, ..Terms::nonce(0) }, first.address, 1)).await;
    for transaction in
        [Some(kinds.invoke(Terms::nonce(1))), kinds.declare(Terms::nonce(1)), Some(kinds.deploy(Terms::nonce(0)))]
            .into_iter()
            .flatten()
    {
        world.refuse(&transaction, "UNEXPECTED_ERROR").await;
    }
}

/// Parameters that no schema allows: what is wrong is named, with its value and its place.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let world = World::new();
    for (method, params, parts) in [
        ("starknet_getNonce", json!({}), &["block_id", "missing"][..]),
        ("starknet_getNonce", json!(["latest"]), &["contract_address", "missing"]),
        ("starknet_getNonce", json!(["pending", "0x1"]), &["block_id", "pre_confirmed"]),
        ("starknet_getNonce", json!(["latest", "1"]), &["contract_address", "0x"]),
        ("starknet_getNonce", json!(["latest", "0x1", 3]), &["3 parameters", "block_id, contract_address"]),
        ("starknet_getNonce", json!({"block": "latest"}), &["block", "block_id, contract_address"]),
        (
            "starknet_getBlockWithTxs",
            json!(["latest", ["INCLUDE_EVERYTHING"]]),
            &["response_flags[0]", "INCLUDE_PROOF_FACTS"],
        ),
        ("starknet_getStorageProof", json!(["pre_confirmed"]), &["block_id", "pre_confirmed"]),
        ("starknet_getEvents", json!([{"chunk_size": 0}]), &["filter.chunk_size", "0"]),
        ("starknet_getEvents", json!([{"chunk_size": 1, "from": 1}]), &["filter", "from"]),
        ("starknet_getEvents", json!([{"chunk_size": 1, "keys": [["zz"]]}]), &["filter.keys[0][0]", "zz"]),
        (
            "starknet_call",
            json!([{"contract_address": "0x1", "calldata": []}, "latest"]),
            &["request", "entry_point_selector"],
        ),
        ("starknet_getMessagesStatus", json!(["0xqq"]), &["transaction_hash", "0xqq"]),
    ] {
        let why = world.invalid(method, params.clone()).await;
        for part in parts {
            assert!(why.contains(part), "{method} {params}: {why:?} does not say {part:?}");
        }
    }
    let error = world.rpc.call("starknet_nothing", None).await.expect_err("there is no such method");
    assert_eq!(error.code, -32601);
}
