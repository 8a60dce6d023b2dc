//! What comes of an engine that hangs, fails, does not know, or says strange things.

use std::sync::Arc;
use std::time::Duration;

use engine::{CallError, Ended, EngineBackend, EngineError, Outcome};
use evm::engine_api::{EngineError as Answered, Fault};
use futures::FutureExt;
use node::conformance::order_on;
use node::{Backend, BackendError, Sealed};
use optimism::Fork;
use parking_lot::Mutex;
use serde_json::{Value, json};
use types::{BlockRef, BuildId, Failure, Payload, Verdict};

use crate::conformance::block;
use crate::world::{PATIENT, World, heads, origin, stranger};

const UPDATE: &str = "engine_forkchoiceUpdatedV3";
const GIVE: &str = "engine_newPayloadV4";
const FETCH: &str = "engine_getPayloadV5";
/// Long enough for an answer of an engine that answers, most of the time; a test tries again where it is not.
const SHORT: Duration = Duration::from_millis(300);

fn id(count: u64) -> BuildId {
    BuildId::new(count)
}

async fn genesis(world: &World) -> BlockRef {
    again(|| world.backend.heads()).await.unsafe_head()
}

/// Calls until something else than a time-out comes of it.
async fn again<T, F: Future<Output = Result<T, BackendError>>>(call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(BackendError::Retry(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn payload(sealed: Sealed) -> Payload {
    match sealed {
        Sealed::Payload(payload) => payload,
        Sealed::Nothing => panic!("a block"),
    }
}

fn failure<T: std::fmt::Debug>(result: Result<T, BackendError>) -> Failure {
    result.unwrap_err().failure()
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_asked_again_and_nothing_is_lost() {
    let world = World::with_deadline(Fork::Karst, SHORT).await;
    let (host, backend) = (&world.host, &world.backend);
    let order = order_on(genesis(&world).await);
    for fault in [Fault::Hang, Fault::Silence] {
        host.inject(UPDATE, Some(fault));
        assert_eq!(failure(backend.open(id(1), order).await), Failure::Retry);
    }
    host.inject(UPDATE, None);
    again(|| backend.open(id(1), order)).await;

    // Worked and not told: what was built is still what is fetched.
    for fault in [Fault::Hang, Fault::Silence] {
        host.inject(FETCH, Some(fault));
        let error = backend.seal(id(1)).await.unwrap_err();
        assert!(matches!(&error, BackendError::Retry(reason) if reason.contains("300ms")), "{error}");
    }
    host.inject(FETCH, None);
    let sealed = payload(again(|| backend.seal(id(1))).await);
    assert_eq!(payload(backend.seal(id(1)).await.unwrap()), sealed);

    for fault in [Fault::Hang, Fault::Silence] {
        host.inject(GIVE, Some(fault));
        assert_eq!(failure(backend.import(&sealed).await), Failure::Retry);
    }
    host.inject(GIVE, None);
    assert_eq!(again(|| backend.import(&sealed)).await, Verdict::Valid);
    host.inject(UPDATE, Some(Fault::Hang));
    let now = heads(sealed.block, order.parent);
    assert_eq!(failure(backend.set_heads(now).await), Failure::Retry);
    host.inject(UPDATE, None);
    again(|| backend.set_heads(now)).await;
    assert_eq!(again(|| backend.heads()).await, now);
}

#[tokio::test]
async fn errors_of_the_engine_say_what_to_do() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    let order = order_on(genesis(&world).await);
    let table = [
        (Answered::invalid_forkchoice("a test"), Failure::Reset),
        (Answered::invalid_attributes("a test"), Failure::Reset),
        (Answered::unsupported_fork("a test"), Failure::Fatal),
        (Answered::method_not_found(UPDATE), Failure::Fatal),
        (Answered::invalid_params("a test"), Failure::Fatal),
        (Answered::internal("a test"), Failure::Retry),
    ];
    for (error, expected) in table {
        host.inject(UPDATE, Some(Fault::Error(error.clone())));
        assert_eq!(failure(backend.open(id(1), order).await), expected, "{error}");
        let now = heads(order.parent, order.parent);
        assert_eq!(failure(backend.set_heads(now).await), expected, "{error}");
    }
    host.inject(UPDATE, None);
    backend.open(id(1), order).await.unwrap();
    host.inject(FETCH, Some(Fault::Error(Answered::unknown_payload("0x0"))));
    assert_eq!(failure(backend.seal(id(1)).await), Failure::Reset);
    host.inject(FETCH, None);
    payload(backend.seal(id(1)).await.unwrap());
}

#[tokio::test]
async fn what_the_engine_says_of_a_payload_is_understood() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    let parent = genesis(&world).await;
    backend.open(id(1), order_on(parent)).await.unwrap();
    let sealed = payload(backend.seal(id(1)).await.unwrap());
    let status =
        |status: &str, reason: Value| json!({ "status": status, "latestValidHash": null, "validationError": reason });
    let table = [
        ("VALID", Ok(Verdict::Valid)),
        ("INVALID", Ok(Verdict::Invalid)),
        ("INVALID_BLOCK_HASH", Ok(Verdict::Invalid)),
        ("ACCEPTED", Err(Failure::Retry)),
        // The parent is genesis, which the engine has.
        ("SYNCING", Err(Failure::Retry)),
        ("NONSENSE", Err(Failure::Fatal)),
    ];
    for (word, expected) in table {
        // Engines may give no reason.
        for reason in [json!("a test"), Value::Null] {
            host.script(GIVE, [Ok(status(word, reason))]);
            assert_eq!(backend.import(&sealed).await.map_err(|error| error.failure()), expected, "{word}");
        }
    }
    host.script(GIVE, [Ok(status("SYNCING", Value::Null))]);
    host.script("eth_getBlockByHash", [Ok(Value::Null)]);
    assert_eq!(backend.import(&sealed).await, Ok(Verdict::ParentUnknown));
}

#[tokio::test]
async fn what_the_engine_says_of_heads_is_understood() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    let parent = genesis(&world).await;
    let status = |status: &str, reason: Value, id: Value| {
        Ok(json!({ "payloadStatus": { "status": status, "latestValidHash": null, "validationError": reason },
            "payloadId": id }))
    };
    let build = json!("0x0300000000000001");
    let table = [
        ("VALID", Value::Null, build.clone(), Ok(()), Ok(())),
        ("VALID", Value::Null, Value::Null, Err(Failure::Retry), Ok(())),
        ("SYNCING", Value::Null, Value::Null, Err(Failure::Reset), Err(Failure::Reset)),
        ("INVALID", json!("a test"), Value::Null, Err(Failure::Reset), Err(Failure::Reset)),
        // geth gives no reason.
        ("INVALID", Value::Null, Value::Null, Err(Failure::Reset), Err(Failure::Reset)),
    ];
    for (number, (word, reason, build, opened, set)) in table.into_iter().enumerate() {
        host.script(UPDATE, [status(word, reason, build)]);
        let open = backend.open(id(number as u64), order_on(parent)).await;
        assert_eq!(open.map_err(|error| error.failure()), opened, "{word}");
        let heads = backend.set_heads(heads(parent, parent)).await;
        assert_eq!(heads.map_err(|error| error.failure()), set, "{word}");
    }
}

/// A payload that lies about itself never reaches the engine.
#[tokio::test]
async fn payloads_of_another_form_are_invalid_without_asking() {
    let world = World::new(Fork::Karst).await;
    let older = World::new(Fork::Holocene).await;
    let parent = genesis(&older).await;
    let theirs = block(&older, 1, order_on(parent)).await;
    let asked = |world: &World| world.host.calls().iter().filter(|(method, _)| method == GIVE).count();
    assert_eq!(world.backend.import(&theirs).await, Ok(Verdict::Invalid), "a form of another fork");
    for body in [&b""[..], b"\x04", b"\x09abc", &theirs.body[..60]] {
        let lie = Payload { body: bytes::Bytes::copy_from_slice(body), ..theirs.clone() };
        assert_eq!(world.backend.import(&lie).await, Ok(Verdict::Invalid));
    }
    let lie = Payload { block: stranger(parent), ..theirs };
    assert_eq!(world.backend.import(&lie).await, Ok(Verdict::Invalid));
    assert_eq!(asked(&world), 0);
}

/// Some engines hand a payload out once. A dropped call must not lose it.
#[tokio::test]
async fn a_payload_that_is_handed_out_once_is_kept() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    backend.open(id(1), order_on(genesis(&world).await)).await.unwrap();
    let update = host.calls().into_iter().rfind(|(method, _)| method == UPDATE).unwrap();
    let begun: Value = engine::Transport::call(&**host, UPDATE, update.1).await.unwrap();
    let answer = engine::Transport::call(&**host, FETCH, json!([begun["payloadId"]])).await;
    let gone = CallError::Rpc { code: -38001, message: "Unknown payload".into() };
    host.script(FETCH, [answer, Err(gone)]);
    assert!(backend.seal(id(1)).now_or_never().is_none(), "dropped before it is answered");
    let sealed = payload(backend.seal(id(1)).await.unwrap());
    assert_eq!(payload(backend.seal(id(1)).await.unwrap()), sealed);
    assert_eq!(backend.import(&sealed).await, Ok(Verdict::Valid));
}

/// At most one build is open, also when the next one cannot be opened; and none is opened twice.
#[tokio::test]
async fn an_order_ends_the_one_before_and_is_given_once() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    let order = order_on(genesis(&world).await);
    backend.open(id(1), order).await.unwrap();
    let asked = host.calls().len();
    backend.open(id(1), order).await.unwrap();
    assert_eq!(host.calls().len(), asked, "the same again asks nobody");
    host.inject(UPDATE, Some(Fault::Error(Answered::internal("a test"))));
    assert_eq!(failure(backend.open(id(2), order).await), Failure::Retry);
    assert_eq!(failure(backend.seal(id(1)).await), Failure::Reset);
    host.inject(UPDATE, None);
    // The same build with another order is another build.
    backend.open(id(3), order).await.unwrap();
    let sealed = payload(backend.seal(id(3)).await.unwrap());
    let closed = types::Attributes { use_pool: false, slot: types::Slot::new(7), ..order };
    backend.open(id(3), closed).await.unwrap();
    assert_ne!(payload(backend.seal(id(3)).await.unwrap()).slot, sealed.slot);
}

/// Once its block is the head, or it is given up, a build is over.
#[tokio::test]
async fn a_build_is_kept_until_it_is_cancelled_or_the_head() {
    let world = World::new(Fork::Karst).await;
    let backend = &world.backend;
    let order = order_on(genesis(&world).await);
    backend.open(id(1), order).await.unwrap();
    let sealed = payload(backend.seal(id(1)).await.unwrap());
    backend.import(&sealed).await.unwrap();
    backend.set_heads(heads(order.parent, order.parent)).await.unwrap();
    assert_eq!(payload(backend.seal(id(1)).await.unwrap()), sealed, "other heads change nothing");
    backend.cancel(id(2)).await;
    assert_eq!(payload(backend.seal(id(1)).await.unwrap()), sealed, "nor does the end of another build");
    backend.set_heads(heads(sealed.block, order.parent)).await.unwrap();
    assert_eq!(failure(backend.seal(id(1)).await), Failure::Reset);
}

/// A block that was not ordered is not passed on.
#[tokio::test]
async fn a_block_that_was_not_ordered_is_refused() {
    let world = World::new(Fork::Karst).await;
    let (host, backend) = (&world.host, &world.backend);
    let order = types::Attributes { use_pool: false, ..order_on(genesis(&world).await) };
    backend.open(id(1), order).await.unwrap();
    let update = host.calls().into_iter().rfind(|(method, _)| method == UPDATE).unwrap();
    let begun: Value = engine::Transport::call(&**host, UPDATE, update.1).await.unwrap();
    let sound = engine::Transport::call(&**host, FETCH, json!([begun["payloadId"]])).await.unwrap();
    type Spoil = fn(&mut Value);
    let table: [(&str, Spoil); 6] = [
        ("parent", |answer| answer["executionPayload"]["parentHash"] = json!(alloy_primitives::B256::ZERO)),
        ("time", |answer| answer["executionPayload"]["timestamp"] = json!("0x1")),
        ("the transactions", |answer| answer["executionPayload"]["transactions"] = json!([])),
        ("more transactions", |answer| {
            answer["executionPayload"]["transactions"].as_array_mut().unwrap().push(json!("0x02"));
        }),
        ("beacon block root", |answer| answer["parentBeaconBlockRoot"] = json!(alloy_primitives::B256::repeat_byte(1))),
        ("number", |answer| answer["executionPayload"]["blockNumber"] = json!("0x9")),
    ];
    for (what, spoil) in table {
        let mut answer = sound.clone();
        spoil(&mut answer);
        host.script(FETCH, [Ok(answer)]);
        let refused = backend.seal(id(1)).await;
        assert!(refused.is_err(), "{what}: {refused:?}");
    }
    host.script(FETCH, [Ok(sound)]);
    payload(backend.seal(id(1)).await.unwrap());
}

/// Engines that were never told what is safe say so in different ways.
#[tokio::test]
async fn without_safe_and_final_blocks_the_first_block_stands_for_both() {
    let world = World::new(Fork::Karst).await;
    let parent = genesis(&world).await;
    let latest = block(&world, 1, order_on(parent)).await.block;
    let told = |block: BlockRef| {
        Ok(json!({ "number": format!("{:#x}", block.number.as_u64()), "hash": block.hash, "parentHash": block.parent,
            "timestamp": format!("{:#x}", block.timestamp.as_secs()) }))
    };
    let rpc = |code, message: &str| Err(CallError::Rpc { code, message: message.into() });
    for nothing in [Ok(Value::Null), rpc(-39001, "Unknown block"), rpc(-32000, "safe block not found")] {
        // Finalized, safe, latest; then the first block.
        world.host.script("eth_getBlockByNumber", [nothing.clone(), nothing, told(latest), told(parent)]);
        let expected = heads(latest, parent);
        assert_eq!(world.backend.heads().await, Ok(expected));
    }
    let other = stranger(parent);
    let nothing = || Ok(Value::Null);
    world.host.script(
        "eth_getBlockByNumber",
        [nothing(), nothing(), told(latest), told(BlockRef { number: parent.number, ..other })],
    );
    assert_eq!(failure(world.backend.heads().await), Failure::Fatal, "another first block");
    // One height, two blocks: read while the chain moved to another branch.
    world.host.script("eth_getBlockByNumber", [told(parent), told(other), told(latest)]);
    assert_eq!(failure(world.backend.heads().await), Failure::Retry);
    world.host.script("eth_getBlockByNumber", [rpc(-32000, "database is closed")]);
    assert_eq!(failure(world.backend.heads().await), Failure::Retry);
    // After a crash an engine may have less than it called safe.
    world.host.script("eth_getBlockByNumber", [told(parent), told(latest), told(parent)]);
    assert_eq!(world.backend.heads().await, Ok(types::Heads::at(parent)));
}

#[tokio::test]
async fn the_engine_is_checked_at_the_start() {
    let world = World::new(Fork::Karst).await;
    let check = |config: &optimism::RollupConfig| {
        let (client, config) = (world.client.clone(), config.clone());
        async move { client.check(&config, crate::world::BEGAN).await }
    };
    assert_eq!(check(&world.config).await, Ok(()));
    let mut other = (*world.config).clone();
    other.l2_chain_id = 10;
    assert!(matches!(check(&other).await, Err(EngineError::WrongChain { what: "chain id", .. })));
    let mut other = (*world.config).clone();
    other.genesis.l2.hash = alloy_primitives::B256::repeat_byte(1);
    assert!(matches!(check(&other).await, Err(EngineError::WrongChain { what: "first block", .. })));
    // Karst is still to come, and its methods are not there.
    let mut other = (*world.config).clone();
    other.forks.set(Fork::Karst, Some(crate::world::BEGAN + 1_000));
    let offered = json!([UPDATE, GIVE, "engine_getPayloadV4"]);
    world.host.script("engine_exchangeCapabilities", [Ok(offered)]);
    let missing = check(&other).await.unwrap_err();
    assert_eq!(missing, EngineError::MissingMethods(vec![FETCH.into()]));
    assert_eq!(missing.failure(), Failure::Fatal);
    other.forks.set(Fork::Karst, None);
    assert_eq!(check(&other).await, Ok(()));
}

#[tokio::test]
async fn every_call_is_observed_once_however_it_ends() {
    let world = World::with_deadline(Fork::Karst, PATIENT).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let client = engine::EngineClient::new(world.host.clone(), SHORT)
        .observed(Arc::new(move |call: &Ended<'_>| heard.lock().push((call.method.to_owned(), call.outcome))));
    let versions = optimism::EngineVersions::at(&world.config, crate::world::BEGAN);
    client.chain_id().await.unwrap();
    world.host.inject(FETCH, Some(Fault::Hang));
    client.get_payload(versions, Default::default()).await.unwrap_err();
    assert!(client.get_payload(versions, Default::default()).now_or_never().is_none());
    world.host.inject(FETCH, None);
    client.get_payload(versions, Default::default()).await.unwrap_err();
    world.host.stop();
    client.chain_id().await.unwrap_err();
    let expected = [
        ("eth_chainId", Outcome::Answered),
        (FETCH, Outcome::TimedOut),
        (FETCH, Outcome::Dropped),
        (FETCH, Outcome::Refused(-38001)),
        ("eth_chainId", Outcome::Lost),
    ];
    assert_eq!(*seen.lock(), expected.map(|(method, outcome)| (method.to_owned(), outcome)));
}

/// What an attributes builder must uphold is looked at.
#[tokio::test]
async fn attributes_that_do_not_fit_the_order_are_a_defect() {
    struct Fixed(op_alloy_rpc_types_engine::OpPayloadAttributes);
    #[async_trait::async_trait]
    impl engine::AttributesBuilder for Fixed {
        async fn build(
            &self,
            _order: &types::Attributes,
        ) -> Result<op_alloy_rpc_types_engine::OpPayloadAttributes, BackendError> {
            Ok(self.0.clone())
        }
    }
    let world = World::new(Fork::Karst).await;
    let order = order_on(genesis(&world).await);
    let mut attributes = op_alloy_rpc_types_engine::OpPayloadAttributes::default();
    let open = |attributes: &op_alloy_rpc_types_engine::OpPayloadAttributes, order| {
        let builder = Arc::new(Fixed(attributes.clone()));
        let backend = EngineBackend::new(world.client.clone(), world.config.clone(), builder);
        async move { failure(backend.open(id(1), order).await) }
    };
    assert_eq!(open(&attributes, order).await, Failure::Fatal, "another time");
    attributes.payload_attributes.timestamp = order.timestamp.as_secs();
    let closed = types::Attributes { use_pool: false, ..order };
    assert_eq!(open(&attributes, closed).await, Failure::Fatal, "the pool is let in");
    assert_eq!(open(&attributes, order).await, Failure::Reset, "refused by the engine: no gas limit");
    let citing = types::Attributes { origin: Some(origin()), ..order };
    assert_eq!(open(&attributes, citing).await, Failure::Fatal, "cites nothing");
    let moved = types::L1Origin { hash: types::BlockHash::new([1; 32]), ..origin() };
    let other = world.backend.open(id(1), types::Attributes { origin: Some(moved), ..order }).await;
    assert_eq!(failure(other), Failure::Fatal, "cites another block than was ordered");
}
