//! Pages of events over sealed blocks and the open one.

use serde_json::{Value, json};
use starknet_types_core::felt::Felt;

use crate::client::{STRK, Terms, hex, selector};
use crate::world::World;

/// All events of a filter, page by page.
async fn all(world: &World, mut filter: Value, chunk: u64) -> Vec<Value> {
    filter["chunk_size"] = json!(chunk);
    let mut events = Vec::new();
    loop {
        let page = world.ok("starknet_getEvents", json!({"filter": filter})).await;
        let found = page["events"].as_array().expect("a list");
        assert!(found.len() as u64 <= chunk);
        events.extend(found.iter().cloned());
        match page.get("continuation_token") {
            Some(token) => filter["continuation_token"] = token.clone(),
            None => return events,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_to_the_whole_whatever_their_size() {
    let world = World::new();
    let (one, two) = (world.account(0), world.account(1));
    world
        .block_of(&[one.transfer(Terms::nonce(0), two.address, 1), two.transfer(Terms::nonce(0), one.address, 2)])
        .await;
    world.block_of(&[]).await;
    world.block_of(&[one.transfer(Terms::nonce(1), two.address, 3)]).await;
    let build = world.open().await;
    let open = world.send(&one.transfer(Terms::nonce(2), two.address, 4)).await;
    world.executed(std::slice::from_ref(&open)).await;

    // From the receipts: what there is to be found.
    let mut expected = Vec::new();
    for id in
        [json!({"block_number": 0}), json!({"block_number": 1}), json!({"block_number": 3}), json!("pre_confirmed")]
    {
        let block = world.ok("starknet_getBlockWithReceipts", json!({"block_id": id})).await;
        for (transaction_index, transaction) in block["transactions"].as_array().expect("a list").iter().enumerate() {
            let receipt = &transaction["receipt"];
            for (event_index, event) in receipt["events"].as_array().expect("a list").iter().enumerate() {
                let mut event = event.clone();
                event["block_number"] = block["block_number"].clone();
                if let Some(hash) = block.get("block_hash") {
                    event["block_hash"] = hash.clone();
                }
                event["transaction_hash"] = receipt["transaction_hash"].clone();
                event["transaction_index"] = json!(transaction_index);
                event["event_index"] = json!(event_index);
                expected.push(event);
            }
        }
    }
    let sealed: Vec<Value> = expected.iter().filter(|event| event.get("block_hash").is_some()).cloned().collect();
    assert!(expected.len() > sealed.len() && !sealed.is_empty());
    for chunk in [1, 2, 3, 1024] {
        assert_eq!(all(&world, json!({"to_block": "pre_confirmed"}), chunk).await, expected, "pages of {chunk}");
        assert_eq!(all(&world, json!({}), chunk).await, sealed, "pages of {chunk}");
        assert_eq!(all(&world, json!({"to_block": {"block_number": 99}}), chunk).await, sealed);
        let open = all(&world, json!({"from_block": "pre_confirmed", "to_block": "pre_confirmed"}), chunk).await;
        assert_eq!(open, expected[sealed.len()..]);
        // By emitter, alone and in a list, and by key.
        let matching = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Value> {
            expected.iter().filter(|event| wanted(event)).cloned().collect()
        };
        let of_token = matching(&|event| event["from_address"] == STRK);
        assert_eq!(all(&world, json!({"to_block": "pre_confirmed", "address": STRK}), chunk).await, of_token);
        assert_eq!(all(&world, json!({"to_block": "pre_confirmed", "address": [STRK, "0x1"]}), chunk).await, of_token);
        assert!(all(&world, json!({"to_block": "pre_confirmed", "address": "0x1"}), chunk).await.is_empty());
        let transfer = hex(selector("Transfer"));
        let sender = hex(two.address);
        let filter = json!({"to_block": "pre_confirmed", "keys": [[transfer], [sender]]});
        let found = all(&world, filter, chunk).await;
        assert_eq!(found, matching(&|event| event["keys"][0] == transfer && event["keys"][1] == sender));
    }

    // A page over the open block goes on where it was when the block is sealed meanwhile.
    let filter = json!({"from_block": "pre_confirmed", "to_block": "pre_confirmed", "chunk_size": 1});
    let first = world.ok("starknet_getEvents", json!({"filter": filter})).await;
    let token = first["continuation_token"].clone();
    assert!(token.is_string(), "a transfer has more than one event");
    world.seal(build).await;
    let filter = json!({"from_block": {"block_number": 4}, "chunk_size": 1024, "continuation_token": token});
    let rest = world.ok("starknet_getEvents", json!({"filter": filter})).await;
    let rest = rest["events"].as_array().expect("a list");
    assert_eq!(rest.len() + 1, expected.len() - sealed.len());
    assert_eq!(rest[0]["event_index"], 1);
    assert!(Felt::from_hex(rest[0]["block_hash"].as_str().expect("it is sealed")).is_ok());
}
