//! Subscriptions tell everything, once, in order.

use serde_json::{Value, json};
use starknet_types_core::felt::Felt;

use crate::client::{STRK, Terms, hex};
use crate::world::World;

const HEADS: &str = "starknet_subscriptionNewHeads";
const EVENTS: &str = "starknet_subscriptionEvents";
const STATUS: &str = "starknet_subscriptionTransactionStatus";
const RECEIPTS: &str = "starknet_subscriptionNewTransactionReceipts";
const TRANSACTIONS: &str = "starknet_subscriptionNewTransaction";

#[tokio::test(flavor = "multi_thread")]
async fn heads_come_one_after_the_other_from_where_the_subscriber_wants() {
    let world = World::new();
    for _ in 0..3 {
        world.block_of(&[]).await;
    }
    let mut all = world.subscribe("starknet_subscribeNewHeads", json!({"block_id": {"block_number": 0}})).await;
    let hash = hex(world.chain.head().hash.0);
    let mut last = world.subscribe("starknet_subscribeNewHeads", json!({"block_id": {"block_hash": hash}})).await;
    let mut new = world.subscribe("starknet_subscribeNewHeads", json!({})).await;
    let mut latest = world.subscribe("starknet_subscribeNewHeads", json!({"block_id": "latest"})).await;
    for _ in 0..3 {
        world.block_of(&[]).await;
    }
    for (subscription, first) in [(&mut all, 0), (&mut last, 3), (&mut new, 4), (&mut latest, 4)] {
        for number in first..=6 {
            let head = subscription.next(HEADS).await;
            assert_eq!(head["block_number"], number);
            let block = world.ok("starknet_getBlockWithTxHashes", json!({"block_id": {"block_number": number}})).await;
            assert_eq!(head["block_hash"], block["block_hash"]);
        }
        subscription.nothing_more();
    }
    assert_ne!(all.id, new.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_told_at_every_step_it_takes() {
    let world = World::new();
    let (one, two) = (world.account(0), world.account(1));
    let first = one.transfer(Terms::nonce(0), two.address, 1);
    let hash = json!(hex(crate::client::hash(&first, &one.chain_id).0));
    let mut status = world.subscribe("starknet_subscribeTransactionStatus", json!({"transaction_hash": hash})).await;
    let steps = json!(["RECEIVED", "CANDIDATE", "PRE_CONFIRMED", "ACCEPTED_ON_L2"]);
    let mut transactions =
        world.subscribe("starknet_subscribeNewTransactions", json!({"finality_status": steps})).await;
    let accepted = json!({"sender_address": [hex(one.address)]});
    let mut accepted = world.subscribe("starknet_subscribeNewTransactions", accepted).await;
    let mut receipts = world
        .subscribe(
            "starknet_subscribeNewTransactionReceipts",
            json!({"finality_status": ["PRE_CONFIRMED", "ACCEPTED_ON_L2"]}),
        )
        .await;
    let of_two = json!({"sender_address": [hex(two.address)]});
    let mut of_two = world.subscribe("starknet_subscribeNewTransactionReceipts", of_two).await;

    let hashes = world.block_of(&[first, two.transfer(Terms::nonce(0), one.address, 2)]).await;

    for step in ["RECEIVED", "CANDIDATE", "PRE_CONFIRMED", "ACCEPTED_ON_L2"] {
        let told = status.next(STATUS).await;
        assert_eq!((&told["transaction_hash"], &told["status"]["finality_status"]), (&hash, &json!(step)));
    }
    status.nothing_more();
    // Told later, the subscriber learns where it stands and nothing of the past.
    let mut late = world.subscribe("starknet_subscribeTransactionStatus", json!({"transaction_hash": hash})).await;
    assert_eq!(late.next(STATUS).await["status"]["finality_status"], "ACCEPTED_ON_L2");
    late.nothing_more();

    let mut seen: Vec<(Value, Value)> = Vec::new();
    for _ in 0..8 {
        let told = transactions.next(TRANSACTIONS).await;
        seen.push((told["transaction_hash"].clone(), told["finality_status"].clone()));
    }
    transactions.nothing_more();
    for hash in &hashes {
        let steps: Vec<&Value> = seen.iter().filter(|(of, _)| of == hash).map(|(_, step)| step).collect();
        assert_eq!(steps, ["RECEIVED", "CANDIDATE", "PRE_CONFIRMED", "ACCEPTED_ON_L2"]);
    }
    let told = accepted.next(TRANSACTIONS).await;
    assert_eq!((&told["transaction_hash"], &told["finality_status"]), (&hashes[0], &json!("ACCEPTED_ON_L2")));
    accepted.nothing_more();

    for step in ["PRE_CONFIRMED", "ACCEPTED_ON_L2"] {
        for hash in &hashes {
            let receipt = receipts.next(RECEIPTS).await;
            assert_eq!((&receipt["transaction_hash"], &receipt["finality_status"]), (hash, &json!(step)));
        }
    }
    receipts.nothing_more();
    assert_eq!(of_two.next(RECEIPTS).await["transaction_hash"], hashes[1]);
    of_two.nothing_more();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_filtered_and_told_again_when_their_block_is_sealed() {
    let world = World::new();
    let (one, two) = (world.account(0), world.account(1));
    world.block_of(&[one.transfer(Terms::nonce(0), two.address, 1)]).await;
    let from_start = json!({"from_address": STRK, "block_id": {"block_number": 1}});
    let mut from_start = world.subscribe("starknet_subscribeEvents", from_start).await;
    let nothing = json!({"from_address": ["0x1", "0x2"], "block_id": {"block_number": 1}});
    let mut nothing = world.subscribe("starknet_subscribeEvents", nothing).await;
    let early = json!({"from_address": [STRK], "finality_status": "PRE_CONFIRMED"});
    let mut early = world.subscribe("starknet_subscribeEvents", early).await;
    world.block_of(&[one.transfer(Terms::nonce(1), two.address, 2)]).await;

    let mut expected = Vec::new();
    for number in [1, 2] {
        let block = world.ok("starknet_getBlockWithReceipts", json!({"block_id": {"block_number": number}})).await;
        let events = block["transactions"][0]["receipt"]["events"].as_array().expect("a list").clone();
        expected.extend(events.into_iter().filter(|event| event["from_address"] == STRK).map(|event| (number, event)));
    }
    for (number, event) in &expected {
        let told = from_start.next(EVENTS).await;
        assert_eq!(
            (&told["block_number"], &told["keys"], &told["data"]),
            (&json!(number), &event["keys"], &event["data"])
        );
        assert_eq!(told["finality_status"], "ACCEPTED_ON_L2");
        assert!(told.get("block_hash").is_some());
    }
    from_start.nothing_more();
    for step in ["PRE_CONFIRMED", "ACCEPTED_ON_L2"] {
        for (number, event) in expected.iter().filter(|(number, _)| *number == 2) {
            let told = early.next(EVENTS).await;
            assert_eq!((&told["block_number"], &told["data"]), (&json!(number), &event["data"]));
            assert_eq!(told["finality_status"], step);
            assert_eq!(told.get("block_hash").is_some(), step == "ACCEPTED_ON_L2");
        }
    }
    early.nothing_more();
    nothing.nothing_more();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_when_nobody_listens() {
    let world = World::new();
    let heard = world.subscribe("starknet_subscribeNewHeads", json!({})).await;
    let task = heard.sink.clone();
    drop(heard);
    for _ in 0..600 {
        if task.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the task of a subscription outlives its subscriber");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_start_where_there_is_a_block() {
    let world = World::new();
    for tag in ["pre_confirmed", "l1_accepted"] {
        for method in ["starknet_subscribeNewHeads", "starknet_subscribeEvents"] {
            let raw = serde_json::value::to_raw_value(&json!({"block_id": tag})).expect("JSON");
            let error = world.rpc.subscribe(method, Some(&raw), crate::world::deaf()).await.expect_err(tag);
            assert_eq!(error.code, -32602);
        }
    }
    let unknown = hex(Felt::from(12_345));
    world
        .subscribe_err("starknet_subscribeNewHeads", json!({"block_id": {"block_hash": unknown}}), "BLOCK_NOT_FOUND")
        .await;
}
