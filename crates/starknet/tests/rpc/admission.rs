//! What admission promises a sender: an estimate that suffices, a verdict that is the account's own, and nonces in any
//! order.

use serde_json::{Value, json};
use starknet_types_core::felt::{Felt, NonZeroFelt};

use crate::client::{Account, Call, STRK, Terms, hex, selector};
use crate::methods::{account_address, number};
use crate::world::World;

/// Order of the STARK curve.
const ORDER: &str = "0x800000000000010ffffffffffffffffb781126dcae7b2321e66a241adc64d2f";

fn bounds_of(estimate: &Value) -> Value {
    let bound = |gas: &str| json!({"max_amount": estimate[format!("{gas}_consumed")], "max_price_per_unit": estimate[format!("{gas}_price")]});
    json!({"l1_gas": bound("l1_gas"), "l1_data_gas": bound("l1_data_gas"), "l2_gas": bound("l2_gas")})
}

/// A transaction that offers exactly what was estimated succeeds and costs exactly that.
#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_what_execution_costs() {
    let world = World::new();
    let account = world.account(0);
    let strk = Felt::from_hex(STRK).expect("an address");
    let to_new =
        |to: u64| Call { to: strk, selector: selector("transfer"), calldata: vec![to.into(), 5u64.into(), Felt::ZERO] };
    let cases: [(u64, Vec<Call>); 3] = [
        (0, vec![to_new(0x1001)]),
        (7, vec![to_new(0x1001)]),
        (0, vec![to_new(0x1002), to_new(0x1003), to_new(0x1004)]),
    ];
    for (nonce, (tip, calls)) in cases.into_iter().enumerate() {
        let terms = Terms { tip, ..Terms::nonce(nonce as u64) };
        let rough = account.invoke(terms, &calls);
        let params = json!({"request": [rough], "simulation_flags": [], "block_id": "pre_confirmed"});
        let estimate = world.ok("starknet_estimateFee", params).await[0].clone();
        let mut exact = rough.clone();
        exact["resource_bounds"] = bounds_of(&estimate);
        let hash = world.block_of(&[account.sign(exact)]).await.remove(0);
        let receipt = world.ok("starknet_getTransactionReceipt", json!({"transaction_hash": hash})).await;
        assert_eq!(receipt["execution_status"], "SUCCEEDED", "{receipt}");
        assert_eq!(number(&receipt["actual_fee"]["amount"]), number(&estimate["overall_fee"]), "tip {tip}");
    }
}

/// Whether the account itself, run in the VM, would take the transaction.
async fn account_accepts(world: &World, transaction: &Value) -> bool {
    let params = json!({"block_id": "pre_confirmed", "transactions": [transaction], "simulation_flags": []});
    let raw = serde_json::value::RawValue::from_string(params.to_string()).expect("JSON");
    world.rpc.call("starknet_simulateTransactions", Some(&raw)).await.is_ok()
}

/// The native check of signatures and the account's `__validate__` say the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_native_verdict_is_the_verdict_of_the_account() {
    let world = World::new();
    let (account, other) = (world.account(0), world.account(1));
    let stranger = Account { private_key: other.private_key, ..account.clone() };
    let order = Felt::from_hex(ORDER).expect("a felt");
    let of = |transaction: &Value, index: usize| {
        Felt::from_hex(transaction["signature"][index].as_str().expect("a felt")).expect("a felt")
    };
    let transfer = account.transfer(Terms::nonce(0), other.address, 1);
    let (r, s) = (of(&transfer, 0), of(&transfer, 1));
    let foreign = stranger.transfer(Terms::nonce(0), other.address, 1);
    // The owner of a key can choose r so that the sum of the two products is the point at infinity.
    let modulus = NonZeroFelt::try_from(order).expect("not 0");
    let key = NonZeroFelt::try_from(account.private_key).expect("not 0");
    let inverse = Felt::from(key).mod_inverse(&modulus).expect("the order is prime");
    let infinite = crate::client::hash(&transfer, &account.chain_id).0.mul_mod(&inverse, &modulus);
    let signatures = [
        vec![infinite, Felt::ONE],
        vec![order - infinite, Felt::ONE],
        vec![r, s],
        vec![r, order - s],
        vec![s, r],
        vec![r, s + Felt::ONE],
        vec![r + Felt::ONE, s],
        vec![Felt::ZERO, s],
        vec![r, Felt::ZERO],
        vec![r, order],
        vec![order, s],
        vec![Felt::MAX, Felt::MAX],
        vec![of(&foreign, 0), of(&foreign, 1)],
        vec![],
        vec![r],
        vec![r, s, Felt::ZERO],
    ];
    let mut accepted = 0;
    for signature in signatures {
        let mut signed = transfer.clone();
        signed["signature"] = json!(signature.iter().map(|felt| hex(*felt)).collect::<Vec<_>>());
        if account_accepts(&world, &signed).await {
            // The signature is no part of the hash: an accepted one goes to a pool that does not know the hash yet.
            World::new().send(&signed).await;
            accepted += 1;
        } else {
            world.refuse(&signed, "VALIDATION_FAILURE").await;
        }
    }
    assert!(accepted >= 1, "the right signature is accepted");
    // Calldata that is no list of calls: the account cannot even read it.
    for calldata in [json!([]), json!(["0x1"]), json!(["0x1", "0x2", "0x3", "0x2", "0x5"]), json!(["0x0", "0x7"])] {
        let mut broken = transfer.clone();
        broken["calldata"] = calldata;
        let broken = account.sign(broken);
        assert!(!account_accepts(&world, &broken).await, "{broken}");
        world.refuse(&broken, "VALIDATION_FAILURE").await;
    }
}

/// Fifty transactions of one account, sent in any order, are all in one block.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_shuffled_nonces_land_in_one_block() {
    let world = World::new();
    let account = world.account(0);
    let mut nonces: Vec<u64> = (0..50).collect();
    nonces.sort_by_key(|nonce| (nonce * 37 + 11) % 50);
    let transfers: Vec<Value> =
        nonces.iter().map(|nonce| account.transfer(Terms::nonce(*nonce), Felt::from(8), 1)).collect();
    let hashes = world.block_of(&transfers).await;
    for hash in hashes {
        let receipt = world.ok("starknet_getTransactionReceipt", json!({"transaction_hash": hash})).await;
        assert_eq!(receipt["block_number"], 1, "{receipt}");
    }
    assert_eq!(world.chain_nonce(&json!("latest"), &account).await, 50);
    assert_eq!(world.pool.load().transactions, 0);
}

/// An account is deployed and used in one go; only its key can use the place behind its deployment.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_and_what_follows_it_are_sent_together() {
    let world = World::new();
    let rich = world.account(0);
    let class_hash: Felt = world.chain.accounts()[0].class_hash.0;
    let mut newcomer = Account { private_key: Felt::from(0x5eed), ..rich.clone() };
    newcomer.address = account_address(&newcomer, class_hash, Felt::ONE);
    let funds = 200_000_000_000_000_000_000;
    world.block_of(&[rich.transfer(Terms::nonce(0), newcomer.address, funds)]).await;

    let first = newcomer.transfer(Terms::nonce(1), rich.address, 1);
    world.refuse(&first, "NON_ACCOUNT").await;
    let deployment = newcomer.deploy(Terms::nonce(0), class_hash, Felt::ONE);
    let mut hashes = vec![world.send(&deployment).await];
    let forger = Account { private_key: rich.private_key, ..newcomer.clone() };
    for nonce in [1, 2] {
        world.refuse(&forger.transfer(Terms::nonce(nonce), rich.address, 9), "VALIDATION_FAILURE").await;
    }
    for nonce in [3, 1, 2] {
        hashes.push(world.send(&newcomer.transfer(Terms::nonce(nonce), rich.address, 1)).await);
    }
    let build = world.open().await;
    world.executed(&hashes).await;
    world.seal(build).await;
    for hash in hashes {
        let receipt = world.ok("starknet_getTransactionReceipt", json!({"transaction_hash": hash})).await;
        assert_eq!(receipt["execution_status"], "SUCCEEDED", "{receipt}");
    }
}

/// The public network's bounds on what is offered and declared.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_bounds_hold() {
    let world = World::new();
    let account = world.account(0);
    let most = 1_210_000_000;
    let cheap = |l2_gas: u64| Terms { l2_gas, l2_price: 1_000_000_000, ..Terms::nonce(0) };
    let why = world.refuse(&account.transfer(cheap(most + 1), account.address, 1), "VALIDATION_FAILURE").await;
    assert!(why.as_str().is_some_and(|why| why.contains("l2_gas.max_amount")), "{why}");
    world.send(&account.transfer(cheap(most), account.address, 1)).await;

    // A proof that is empty is none.
    let mut unproved = account.transfer(Terms::nonce(1), account.address, 1);
    unproved["proof"] = json!("");
    unproved["proof_facts"] = json!([]);
    world.send(&unproved).await;
    let mut proved = account.transfer(Terms::nonce(2), account.address, 1);
    proved["proof"] = json!("AAAA");
    world.refuse(&proved, "INVALID_PROOF").await;

    let Some(class) = crate::methods::Class::load("hello_starknet__hello_starknet") else { return };
    let declarer = world.account(1);
    for change in [0, 1] {
        let mut unsorted = class.json.clone();
        let points = unsorted["entry_points_by_type"]["EXTERNAL"].as_array_mut().expect("a list");
        if change == 0 {
            points.reverse();
        } else {
            points.push(points.last().cloned().expect("it has some"));
        }
        let why = world
            .refuse(&declarer.declare(Terms::nonce(0), &unsorted, class.compiled_hash), "VALIDATION_FAILURE")
            .await;
        assert!(why.as_str().is_some_and(|why| why.contains("EXTERNAL")), "{why}");
    }
    // A declaration may offer more: its cost grows with the class.
    world.send(&declarer.declare(cheap(most + 1), &class.json, class.compiled_hash)).await;
}
