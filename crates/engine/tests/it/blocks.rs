//! Blocks read back from the engine.

use alloy_primitives::B256;
use engine::{BlockAt, CallError, EngineError, decode_body, envelope_from_json, envelope_to_json};
use node::Backend;
use node::conformance::order_on;
use optimism::Fork;
use serde_json::{Value, json};

use crate::conformance::block;
use crate::world::{World, origin};

#[tokio::test]
async fn a_whole_block_says_where_it_stands_and_what_held_for_it() {
    for last in [Fork::Regolith, Fork::Canyon, Fork::Ecotone, Fork::Isthmus, Fork::Karst] {
        let world = World::new(last).await;
        let genesis = world.backend.heads().await.unwrap().unsafe_head();
        let payload = block(&world, 1, order_on(genesis)).await;
        let hash = B256::from(*payload.block.hash.as_bytes());
        let whole = world.client.block(BlockAt::Hash(hash)).await.unwrap().unwrap();
        assert_eq!(whole.block_ref(), payload.block, "{last}");
        let envelope = engine::decode_body(&payload.body).unwrap();
        assert_eq!(whole.transactions(), envelope.execution_payload.as_v1().transactions, "{last}");
        let (place, system) = whole.place(&world.config).unwrap();
        assert_eq!((place.origin.number, place.sequence_number), (origin().number, 1), "{last}");
        assert_eq!(system.gas_limit, world.config.genesis.system_config.gas_limit, "{last}");
        assert_eq!(world.client.block(BlockAt::Number(1)).await.unwrap().as_ref(), Some(&whole), "{last}");
        assert_eq!(world.client.block_ref(BlockAt::Latest).await, Ok(Some(payload.block)), "{last}");
        let genesis = world.client.block(BlockAt::Number(0)).await.unwrap().unwrap();
        assert_eq!(genesis.place(&world.config).unwrap().1, world.config.genesis.system_config, "{last}");
    }
}

#[tokio::test]
async fn a_block_that_is_not_there_is_none() {
    let world = World::new(Fork::Karst).await;
    for at in [BlockAt::Number(9), BlockAt::Hash(B256::repeat_byte(9))] {
        assert_eq!(world.client.block(at).await, Ok(None));
        assert_eq!(world.client.block_ref(at).await, Ok(None));
    }
}

/// What an engine tells is believed if it fits together.
#[tokio::test]
async fn a_block_that_is_not_what_it_says_is_refused() {
    let world = World::new(Fork::Karst).await;
    let genesis = world.backend.heads().await.unwrap().unsafe_head();
    block(&world, 1, order_on(genesis)).await;
    let method = "eth_getBlockByNumber";
    let sound = engine::Transport::call(&*world.host, method, json!(["0x1", true])).await.unwrap();
    type Spoil = fn(&mut Value);
    let table: [(&str, Spoil); 6] = [
        ("hashes", |block| block["gasUsed"] = json!("0x1")),
        ("hashes", |block| block["hash"] = json!(B256::repeat_byte(1))),
        ("not those", |block| block["transactions"] = json!([])),
        ("hashes alone", |block| block["transactions"] = json!([B256::ZERO])),
        ("asked for", |block| block["number"] = json!("0x2")),
        ("missing field", |block| *block = json!({ "hash": B256::ZERO })),
    ];
    for (word, spoil) in table {
        let mut told = sound.clone();
        spoil(&mut told);
        world.host.script(method, [Ok(told)]);
        let error = world.client.block(BlockAt::Number(1)).await.unwrap_err();
        assert!(matches!(&error, EngineError::Answer { reason, .. } if reason.contains(word)), "{word}: {error}");
    }
    world.host.script(method, [Err(CallError::Unreachable("a test".into()))]);
    assert!(world.client.block(BlockAt::Number(1)).await.is_err());
}

/// A payload as nodes and op-conductor send it to each other is read as it was, in each form; and the block that an engine tells is
/// the payload that it came from. Guards against a block that is posted, or read from another engine, and is refused by its hash.
#[tokio::test]
async fn payloads_are_sent_and_read_again_in_each_form() {
    for last in [Fork::Regolith, Fork::Canyon, Fork::Holocene, Fork::Jovian, Fork::Karst] {
        let world = World::new(last).await;
        let genesis = world.backend.heads().await.unwrap().unsafe_head();
        let payload = block(&world, 1, order_on(genesis)).await;
        let envelope = decode_body(&payload.body).unwrap();
        let sent = envelope_to_json(&envelope);
        assert_eq!(envelope_from_json(&world.config, &sent).as_ref(), Ok(&envelope), "{last:?}");
        for (field, value) in
            [("gasUsed", json!("0x1")), ("blockHash", json!(B256::repeat_byte(7))), ("timestamp", json!(null))]
        {
            let mut spoiled = sent.clone();
            spoiled["executionPayload"][field] = value;
            envelope_from_json(&world.config, &spoiled).unwrap_err();
        }
        envelope_from_json(&world.config, &json!({ "executionPayload": 1 })).unwrap_err();

        let told = world.client.block(BlockAt::Latest).await.unwrap().unwrap();
        assert_eq!(told.to_envelope(), envelope, "{last:?}");
    }
}
