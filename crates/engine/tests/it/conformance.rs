//! What every backend must do, through the versions of the methods that each fork has.

use std::sync::Arc;

use node::conformance::{self, order_on};
use node::{Backend, Sealed};
use optimism::{Fork, Forks};
use types::{BuildId, Verdict};

use crate::world::{BEGAN, PATIENT, World, heads, origin};

async fn conforms(last: Fork) {
    // The worlds must outlive the chains made from them.
    let worlds = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    conformance::check_all(|| async {
        let world = World::new(last).await;
        let backend = world.backend.clone();
        worlds.lock().await.push(world);
        Arc::new(backend) as conformance::Subject
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_from_bedrock_on() {
    conforms(Fork::Regolith).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_from_canyon_on() {
    conforms(Fork::Canyon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_from_ecotone_on() {
    conforms(Fork::Holocene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_from_isthmus_on() {
    conforms(Fork::Jovian).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_from_karst_on() {
    conforms(Fork::Karst).await;
}

/// Each fork is driven with its own methods, and with no others.
#[tokio::test]
async fn each_fork_has_its_methods() {
    let table = [
        (Fork::Regolith, [2, 2, 2], 1),
        (Fork::Canyon, [2, 2, 2], 2),
        (Fork::Holocene, [3, 3, 3], 3),
        (Fork::Jovian, [3, 4, 4], 4),
        (Fork::Karst, [3, 4, 5], 4),
    ];
    for (last, versions, form) in table {
        let world = World::new(last).await;
        let genesis = world.backend.heads().await.unwrap().unsafe_head();
        let payload = block(&world, 1, order_on(genesis)).await;
        assert_eq!(payload.body[0], form, "{last}");
        let called: Vec<String> = world.host.calls().into_iter().map(|(method, _)| method).collect();
        let called: Vec<&str> = called.iter().filter_map(|method| method.strip_prefix("engine_")).collect();
        let [update, give, fetch] = versions;
        let update = format!("forkchoiceUpdatedV{update}");
        let expected = [&update, &format!("getPayloadV{fetch}"), &format!("newPayloadV{give}"), &update];
        assert_eq!(called, expected, "{last}");
    }
}

/// The block that upgrades a chain is the first to be driven with the new methods.
#[tokio::test]
async fn a_chain_is_upgraded_on_the_way() {
    let table = [
        (Fork::Delta, Fork::Ecotone, [(2, 2, 2), (3, 3, 3)]),
        (Fork::Holocene, Fork::Isthmus, [(3, 3, 3), (3, 4, 4)]),
        (Fork::Jovian, Fork::Karst, [(3, 4, 4), (3, 4, 5)]),
    ];
    for (before, fork, versions) in table {
        let forks = Forks::from_genesis(before).with(fork, BEGAN + 4);
        let world = World::with(forks, PATIENT).await;
        let mut parent = world.backend.heads().await.unwrap().unsafe_head();
        for number in 1..=3 {
            let since = world.host.calls().len();
            let payload = block(&world, number, order_on(parent)).await;
            parent = payload.block;
            let (update, give, fetch) = versions[usize::from(number >= 2)];
            let called: Vec<String> = world.host.calls()[since..].iter().map(|(method, _)| method.clone()).collect();
            for method in
                [format!("forkchoiceUpdatedV{update}"), format!("getPayloadV{fetch}"), format!("newPayloadV{give}")]
            {
                assert!(called.contains(&format!("engine_{method}")), "{fork}, block {number}: {called:?}");
            }
            let envelope = engine::decode_body(&payload.body).unwrap();
            let transactions = envelope.execution_payload.as_v1().transactions.len();
            assert_eq!(transactions > 1, number == 2, "{fork}, block {number}: upgrades come with the fork alone");
        }
    }
}

/// A payload carries the L1 block that was ordered, and its first transaction tells of it.
#[tokio::test]
async fn a_payload_cites_what_was_ordered() {
    let world = World::new(Fork::Karst).await;
    let genesis = world.backend.heads().await.unwrap().unsafe_head();
    let order = types::Attributes { origin: Some(origin()), use_pool: false, ..order_on(genesis) };
    let payload = block(&world, 1, order).await;
    assert_eq!(payload.origin, Some(origin()));
    let envelope = engine::decode_body(&payload.body).unwrap();
    let place = optimism::L2Block::of(&world.config, &(&envelope.execution_payload).into()).unwrap();
    assert_eq!((place.origin.number, place.sequence_number), (origin().number, 1));
    let first = &envelope.execution_payload.as_v1().transactions[0];
    assert_eq!(engine::cited_origin(first), Some(origin()));
    assert_eq!(engine::cited_origin(&first[1..]), None);
}

/// After a start nobody but the engine knows what a block cites.
#[tokio::test]
async fn what_a_block_cites_is_told_from_the_engines_block() {
    for last in [Fork::Regolith, Fork::Holocene, Fork::Karst] {
        let world = World::new(last).await;
        let genesis = world.backend.heads().await.unwrap().unsafe_head();
        let first = block(&world, 1, order_on(genesis)).await.block;
        let backend = world.backend_again();
        assert_eq!(backend.origin_of(first).await, Ok(Some(origin())), "{last}");
        assert_eq!(backend.origin_of(genesis).await, Ok(None), "{last}");
        let unknown = backend.origin_of(crate::world::stranger(first)).await;
        assert!(
            matches!(&unknown, Err(node::BackendError::Reset(reason)) if reason.contains("does not have")),
            "{last}"
        );
    }
}

/// The unsafe chain is left for an older block to build on, as derivation does; final blocks are not left.
#[tokio::test]
async fn an_order_on_an_older_block_leads_the_engine_there() {
    let world = World::new(Fork::Karst).await;
    let genesis = world.backend.heads().await.unwrap().unsafe_head();
    let first = block(&world, 1, order_on(genesis)).await.block;
    let second = block(&world, 2, order_on(first)).await.block;
    world.backend.set_heads(types::Heads::new(second, second, genesis).unwrap()).await.unwrap();

    // Without the pool and with it are two different builds on one parent.
    let other = types::Attributes { use_pool: false, ..order_on(first) };
    world.backend.open(BuildId::new(3), other).await.unwrap();
    assert_eq!(world.backend.heads().await, Ok(heads(first, genesis)), "what was safe is left too");
    let third = block(&world, 4, order_on(first)).await.block;
    assert_eq!(world.backend.heads().await.unwrap().unsafe_head(), third);

    world.backend.set_heads(types::Heads::new(third, first, first).unwrap()).await.unwrap();
    let below = world.backend.open(BuildId::new(5), order_on(genesis)).await;
    assert!(matches!(&below, Err(node::BackendError::Reset(reason)) if reason.contains("finalized")), "{below:?}");
}

/// Orders, seals, imports and adopts a block.
pub(crate) async fn block(world: &World, build: u64, order: types::Attributes) -> types::Payload {
    let backend = &world.backend;
    backend.open(BuildId::new(build), order).await.unwrap();
    let Sealed::Payload(payload) = backend.seal(BuildId::new(build)).await.unwrap() else { panic!("a block") };
    assert_eq!(backend.import(&payload).await, Ok(Verdict::Valid));
    let before = backend.heads().await.unwrap();
    let heads = types::Heads::new(payload.block, before.safe_head(), before.finalized_head()).unwrap();
    backend.set_heads(heads).await.unwrap();
    payload
}
