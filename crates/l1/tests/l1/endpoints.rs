//! Endpoints that hang, lie, lag, refuse or send rubbish, and what is made of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use alloy_consensus::{Eip658Value, Receipt as ConsensusReceipt, ReceiptEnvelope, ReceiptWithBloom};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, LogData, U64, address};
use alloy_rpc_types_eth::{Header as RpcHeader, TransactionReceipt};
use l1::{
    At, BreakerState, CallOutcome, EndpointId, Epochs, EpochsConfig, Fault, Follower, FollowerConfig, Header, L1View,
    Lie, ReadError, Receipt, Source, SourceConfig, SourceEvent, Sources, SourcesConfig, Tag,
};
use parking_lot::Mutex;
use sequencer::origin::Lookup;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use types::BlockHash;

use crate::server::{Reply, Server};
use crate::world::World;

/// How long a test waits for what must come.
const LONG: Duration = Duration::from_secs(30);

fn as_json(header: &Header) -> Value {
    let mut block = serde_json::to_value(RpcHeader::from_sealed(header.clone())).unwrap();
    block["transactions"] = json!([]);
    block["uncles"] = json!([]);
    block
}

/// Answers for a made-up L1.
fn honest(world: &World, method: &str, params: &Value) -> Reply {
    let found = match method {
        "eth_chainId" => return Reply::Result(json!("0x1")),
        "eth_getBlockByHash" => world.all.get(&serde_json::from_value::<B256>(params[0].clone()).unwrap()),
        "eth_getBlockByNumber" => match params[0].as_str().unwrap() {
            "latest" => world.chain.last(),
            "safe" | "finalized" => world.chain.first(),
            number => {
                let number = number.parse::<U64>().unwrap().to::<u64>();
                world.chain.iter().find(|block| block.number == number)
            }
        },
        "eth_getBlockReceipts" => return Reply::Result(json!([])),
        _ => return Reply::Error(-32601, "no such method"),
    };
    Reply::Result(found.map_or(Value::Null, |header| as_json(header)))
}

type Shared = Arc<Mutex<World>>;

fn shared(length: u64) -> Shared {
    Arc::new(Mutex::new(World::new(0, length)))
}

async fn honest_server(world: &Shared) -> Server {
    let world = Arc::clone(world);
    Server::answering(move |method, params| honest(&world.lock(), method, params)).await
}

async fn fault_of(reply: Reply) -> Fault {
    let server = Server::answering(move |_, _| reply.clone()).await;
    let config = SourceConfig { deadline: Duration::from_millis(500), answer_bytes_max: 10_000, ..server.config() };
    let error = Source::new(config).unwrap().header(At::Tag(Tag::Latest)).await.unwrap_err();
    assert!(!error.to_string().contains("key-that-nobody-may-see"), "{error}");
    error.fault
}

#[tokio::test]
async fn every_fault_is_told_apart() {
    let world = World::new(0, 3);
    let mut lie = as_json(world.head());
    lie["stateRoot"] = json!(B256::repeat_byte(7));
    assert!(matches!(fault_of(Reply::Result(lie)).await, Fault::Lie(lie) if matches!(*lie, Lie::HeaderHash { .. })));
    let mut long = as_json(world.head());
    long["extraData"] = json!(Bytes::from(vec![1; 4097]));
    assert!(matches!(fault_of(Reply::Result(long)).await, Fault::Lie(lie) if matches!(*lie, Lie::ExtraData { .. })));
    assert_eq!(fault_of(Reply::Hang).await, Fault::Deadline(Duration::from_millis(500)));
    assert_eq!(fault_of(Reply::Raw(200, "x".repeat(10_001))).await, Fault::TooLong(10_000));
    assert_eq!(fault_of(Reply::Raw(429, String::new())).await, Fault::Status(429));
    assert_eq!(fault_of(Reply::Raw(301, String::new())).await, Fault::Status(301));
    assert!(matches!(fault_of(Reply::Raw(200, "<html>".to_owned())).await, Fault::Garbled(_)));
    assert!(matches!(fault_of(Reply::Raw(200, "{\"id\":1}".to_owned())).await, Fault::Garbled(_)));
    assert!(matches!(fault_of(Reply::Raw(200, "{\"id\":77,\"result\":null}".to_owned())).await, Fault::Garbled(_)));
    assert!(matches!(fault_of(Reply::Error(-32005, "limit exceeded")).await, Fault::Refused { code: -32005, .. }));
    // Some wrap an error of JSON-RPC into a status: its words are kept.
    let wrapped = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": "asleep" } }).to_string();
    assert!(matches!(fault_of(Reply::Raw(503, wrapped)).await, Fault::Refused { code: -32000, .. }));
    let nobody = Source::new(crate::server::config("127.0.0.1:1".parse().unwrap())).unwrap();
    let error = nobody.chain_id().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Unreachable(_)), "{error}");
    assert!(!error.to_string().contains("key-that-nobody-may-see"), "{error}");
}

#[tokio::test]
async fn another_block_than_the_one_asked_for_is_a_lie() {
    let world = World::new(0, 3);
    let other = as_json(world.head());
    let server = Server::answering(move |_, _| Reply::Result(other.clone())).await;
    for trusted in [false, true] {
        let source = Source::new(SourceConfig { trusted, ..server.config() }).unwrap();
        for at in [At::Number(2), At::Hash(world.chain[2].hash())] {
            let error = source.header(at).await.unwrap_err();
            assert!(matches!(error.fault, Fault::Lie(lie) if matches!(*lie, Lie::OtherBlock { .. })));
        }
    }
}

/// Receipts of a block with two transactions, and its header.
fn with_receipts() -> (Header, Vec<TransactionReceipt>, Vec<Receipt>) {
    let receipt = |gas: u64, address: Address| {
        let data = LogData::new_unchecked(vec![B256::repeat_byte(9)], Bytes::from_static(b"data"));
        let log = Log { address, data };
        let inner = ConsensusReceipt { status: Eip658Value::Eip658(true), cumulative_gas_used: gas, logs: vec![log] };
        let logs_bloom: Bloom = inner.logs.iter().collect();
        ReceiptEnvelope::Eip1559(ReceiptWithBloom { receipt: inner, logs_bloom })
    };
    let receipts = vec![
        receipt(21_000, address!("0x00000000000000000000000000000000000000aa")),
        receipt(50_000, address!("0x00000000000000000000000000000000000000bb")),
    ];
    let receipts_root = alloy_consensus::proofs::calculate_receipt_root(&receipts);
    let header = Header::new(alloy_consensus::Header { number: 5, receipts_root, ..Default::default() });
    let as_told = |(index, receipt): (usize, &Receipt)| TransactionReceipt {
        inner: receipt.clone().map_logs(|inner| alloy_rpc_types_eth::Log {
            inner,
            // What no root vouches for: nobody may rely on it.
            log_index: Some(77),
            ..Default::default()
        }),
        transaction_hash: B256::repeat_byte(index as u8 + 1),
        transaction_index: Some(index as u64),
        block_hash: Some(header.hash()),
        block_number: Some(5),
        gas_used: 21_000,
        effective_gas_price: 1,
        blob_gas_used: None,
        blob_gas_price: None,
        from: Address::ZERO,
        to: None,
        contract_address: None,
    };
    let told = receipts.iter().enumerate().map(as_told).collect();
    (header, told, receipts)
}

#[tokio::test]
async fn receipts_are_checked_against_the_header() {
    let (header, told, receipts) = with_receipts();
    let all = json!(told);
    let server = Server::answering(move |_, _| Reply::Result(all.clone())).await;
    assert_eq!(server.source().receipts(&header).await.unwrap(), receipts);
    // One too few, one changed, another order, none.
    let mut changed = told.clone();
    changed[1].inner = changed[0].inner.clone();
    let swapped = vec![told[1].clone(), told[0].clone()];
    for bad in [json!(told[..1]), json!(changed), json!(swapped)] {
        let server = Server::answering(move |_, _| Reply::Result(bad.clone())).await;
        let error = server.source().receipts(&header).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Lie(lie) if matches!(*lie, Lie::Root { what: "receipts", .. })));
    }
    for early in [json!(null), json!([]), json!([told[0], null])] {
        let server = Server::answering(move |_, _| Reply::Result(early.clone())).await;
        let error = server.source().receipts(&header).await.unwrap_err();
        assert_eq!(error.fault, Fault::NotYet(header.hash()));
    }
}

#[tokio::test]
async fn receipts_one_by_one_where_they_are_not_given_at_once() {
    let (header, told, receipts) = with_receipts();
    let answer = move |method: &str, params: &Value| match method {
        "eth_getBlockByHash" => {
            Reply::Result(json!({ "transactions": [told[0].transaction_hash, told[1].transaction_hash] }))
        }
        "eth_getTransactionReceipt" => {
            let found = told.iter().find(|receipt| json!(receipt.transaction_hash) == params[0]);
            Reply::Result(json!(found))
        }
        _ => Reply::Error(-32601, "no such method"),
    };
    let server = Server::answering(answer).await;
    let source = server.source();
    assert_eq!(source.receipts(&header).await.unwrap(), receipts);
    assert_eq!(server.calls(), 4);
    // It remembers what the endpoint does not know.
    assert_eq!(source.receipts(&header).await.unwrap(), receipts);
    assert_eq!(server.calls(), 7);
}

#[tokio::test]
async fn receipts_that_come_late_are_waited_for() {
    let (header, told, receipts) = with_receipts();
    let tries = AtomicUsize::new(0);
    let answer = move |_: &str, _: &Value| {
        let early = tries.fetch_add(1, Ordering::SeqCst) < 2;
        Reply::Result(if early { Value::Null } else { json!(told) })
    };
    let server = Server::answering(answer).await;
    let sources = Sources::new(vec![server.source()], SourcesConfig::default(), None);
    assert_eq!(sources.receipts(&header).await.unwrap(), receipts);
    assert_eq!(sources.status()[0].breaker, BreakerState::Closed);
}

#[tokio::test]
async fn the_second_endpoint_answers_for_one_that_hangs() {
    let world = shared(3);
    let hanging = Server::answering(|_, _| Reply::Hang).await;
    let good = honest_server(&world).await;
    let heard: Arc<Mutex<Vec<(EndpointId, CallOutcome)>>> = Arc::default();
    let hear = Arc::clone(&heard);
    let observer: l1::Observer = Arc::new(move |call| hear.lock().push((call.endpoint, call.outcome)));
    let sources = Sources::new(vec![hanging.source(), good.source()], SourcesConfig::default(), Some(observer));
    let mut events = sources.events();
    let head = world.lock().head().clone();
    // Six times overtaken, it is not asked any more.
    for _ in 0..8 {
        assert_eq!(sources.header(At::Hash(head.hash())).await.unwrap().as_ref(), Some(&*head));
    }
    let status = sources.status();
    assert_eq!(status[1].breaker, BreakerState::Closed);
    assert!(status[0].overtaken >= 6, "{status:?}");
    let overtaken = heard.lock().iter().filter(|(_, outcome)| *outcome == CallOutcome::Overtaken).count();
    assert_eq!(overtaken as u64, status[0].overtaken);
    assert!(heard.lock().contains(&(EndpointId(1), CallOutcome::Answered)));
    assert!(matches!(events.try_recv(), Ok(SourceEvent::LeftAlone { endpoint: EndpointId(0), .. })));
}

#[tokio::test]
async fn a_lie_is_passed_over_and_ends_the_asking() {
    let world = shared(3);
    let mut lie = as_json(world.lock().head());
    lie["parentHash"] = json!(B256::repeat_byte(7));
    let liar = Server::answering(move |_, _| Reply::Result(lie.clone())).await;
    let good = honest_server(&world).await;
    let sources = Sources::new(vec![liar.source(), good.source()], SourcesConfig::default(), None);
    let head = world.lock().head().clone();
    assert_eq!(sources.header(At::Hash(head.hash())).await.unwrap().as_ref(), Some(&*head));
    let status = sources.status();
    assert_eq!((status[0].breaker, status[0].falsehoods), (BreakerState::Open, 1));
    assert!(status[0].last_error.as_ref().is_some_and(|error| error.contains("false answer")));
    assert_eq!(sources.header(At::Hash(head.hash())).await.unwrap().as_ref(), Some(&*head));
    assert_eq!(liar.calls(), 1);
}

#[tokio::test]
async fn that_a_block_does_not_exist_is_confirmed() {
    let (short, long) = (shared(3), shared(3));
    long.lock().extend(1);
    let head = long.lock().head().clone();
    let (behind, level) = (honest_server(&short).await, honest_server(&long).await);
    let dead = Server::answering(|_, _| Reply::Raw(500, String::new())).await;
    let of = |servers: &[&Server]| {
        Sources::new(servers.iter().map(|server| server.source()).collect(), SourcesConfig::default(), None)
    };
    let at = At::Hash(head.hash());
    assert_eq!(of(&[&behind, &level]).header(at).await.unwrap().as_ref(), Some(&*head));
    assert_eq!(of(&[&behind]).header(at).await.unwrap(), None);
    assert_eq!(of(&[&behind, &behind, &dead]).header(at).await.unwrap(), None);
    let sources = of(&[&behind, &dead]);
    for _ in 0..3 {
        assert!(matches!(sources.header(at).await, Err(ReadError::Unconfirmed(_))));
    }
    // The other one is out of service now: what the only one says counts.
    assert_eq!(sources.header(at).await.unwrap(), None);
}

#[tokio::test]
async fn an_endpoint_that_is_behind_is_asked_last_and_disagreement_is_told() {
    let (short, long) = (shared(3), shared(9));
    let (behind, level) = (honest_server(&short).await, honest_server(&long).await);
    let sources = Sources::new(vec![behind.source(), level.source()], SourcesConfig::default(), None);
    let mut events = sources.events();
    for id in sources.ids() {
        sources.poll(id, Tag::Latest).await.unwrap();
    }
    let status = sources.status();
    assert_eq!((status[0].lag, status[1].lag), (Some(6), Some(0)));
    let before = behind.calls();
    sources.header(At::Number(2)).await.unwrap();
    assert_eq!(behind.calls(), before);
    // Another block at the same height.
    short.lock().reorganise(1, 7);
    sources.poll(EndpointId(0), Tag::Latest).await.unwrap();
    let (one, other) = (short.lock().head().hash(), long.lock().head().hash());
    let told = SourceEvent::Disagreement { number: 9, one: (EndpointId(0), one), other: (EndpointId(1), other) };
    assert_eq!(events.try_recv(), Ok(told));
}

fn follow(sources: &Sources, stop: &CancellationToken) -> watch::Receiver<L1View> {
    let config = FollowerConfig {
        latest_every: Duration::from_millis(20),
        final_every: Duration::from_millis(100),
        ..FollowerConfig::default()
    };
    let (follower, view) = Follower::new(sources.clone(), config);
    tokio::spawn(follower.run(stop.clone()));
    view
}

async fn reaches(view: &mut watch::Receiver<L1View>, hash: B256) {
    let there = view.wait_for(|view| view.latest().is_some_and(|head| head.hash() == hash));
    tokio::time::timeout(LONG, there).await.expect("the head is reached in time").unwrap();
}

#[tokio::test]
async fn the_follower_goes_on_beside_endpoints_that_hang_and_lag() {
    let (world, old) = (shared(100), shared(90));
    let good = honest_server(&world).await;
    let stale = honest_server(&old).await;
    let hanging = Server::answering(|_, _| Reply::Hang).await;
    let sources = Sources::new(vec![hanging.source(), stale.source(), good.source()], SourcesConfig::default(), None);
    let stop = CancellationToken::new();
    let mut view = follow(&sources, &stop);
    let head = world.lock().head().hash();
    reaches(&mut view, head).await;
    let mut seen = crate::world::id(view.borrow().latest().unwrap());
    for depth in [0, 1, 5, 40] {
        world.lock().reorganise(depth, depth as u64 + 10);
        let head = world.lock().head().hash();
        reaches(&mut view, head).await;
        let news = view.borrow().since(seen);
        let reorged =
            news.iter().any(|news| matches!(news, l1::News::Reorged { depth: told, .. } if *told == depth as u64));
        assert_eq!(reorged, depth > 0, "{news:?}");
        assert_eq!(news.len(), depth + 10 + usize::from(reorged));
        seen = crate::world::id(view.borrow().latest().unwrap());
    }
    stop.cancel();
}

/// Guards against an honest endpoint that is said to lie: its chain was reorganised between its head and the question for what is below.
#[tokio::test]
async fn a_head_that_was_left_while_it_was_linked_is_a_failure_and_no_lie() {
    let world = shared(100);
    let good = honest_server(&world).await;
    let stranger = World::new(70, 120);
    let (known, left) = (Arc::clone(&world), as_json(stranger.head()));
    let shows_it = Arc::new(AtomicBool::new(false));
    let shown = Arc::clone(&shows_it);
    let reorganised = Server::answering(move |method, params| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("latest")) if shown.load(Ordering::Relaxed) => Reply::Result(left.clone()),
        _ => honest(&known.lock(), method, params),
    })
    .await;
    let sources = Sources::new(vec![good.source(), reorganised.source()], SourcesConfig::default(), None);
    let mut events = sources.events();
    let stop = CancellationToken::new();
    let mut view = follow(&sources, &stop);
    let head = world.lock().head().hash();
    reaches(&mut view, head).await;
    shows_it.store(true, Ordering::Relaxed);
    let refused = async { while !matches!(events.recv().await.unwrap(), SourceEvent::Refused(EndpointId(1), _)) {} };
    tokio::time::timeout(LONG, refused).await.expect("the head is refused in time");
    let failed = async {
        while sources.status()[1].failed == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, failed).await.expect("it counts as a failure");
    assert_eq!(sources.status()[1].falsehoods, 0);
    stop.cancel();
}

/// The first head is not simply the first answer, nor the lowest: where there are three, one liar is outvoted from the
/// start.
#[tokio::test]
async fn the_first_head_is_the_one_in_the_middle() {
    let world = Arc::new(Mutex::new(World::new(10_000, 50)));
    for absurd in [3, u64::MAX / 2] {
        let liar = honest_server(&Arc::new(Mutex::new(World::new(absurd, 0)))).await;
        let (one, other) = (honest_server(&world).await, honest_server(&world).await);
        let all = vec![liar.source(), one.source(), other.source()];
        let stop = CancellationToken::new();
        let mut view = follow(&Sources::new(all, SourcesConfig::default(), None), &stop);
        let first = view.wait_for(|view| view.latest().is_some());
        let first = tokio::time::timeout(LONG, first).await.expect("a head is there in time").unwrap();
        assert_eq!(first.latest().map(|head| head.number), Some(10_050));
        drop(first);
        stop.cancel();
    }
}

#[tokio::test]
async fn epochs_answer_the_questions_of_origins() {
    let world = shared(100);
    let good = honest_server(&world).await;
    let sources = Sources::new(vec![good.source()], SourcesConfig::default(), None);
    let stop = CancellationToken::new();
    // Nothing is known: nothing is held back, and an endpoint is asked.
    let (_unused, view) = watch::channel(L1View::default());
    let blind = Epochs::new(sources.clone(), view, EpochsConfig::default());
    let found = blind.by_number(100, 4).await.unwrap().unwrap();
    assert_eq!(found.number, 100);
    // What it said is kept: only the receipts are asked for.
    let asked = good.calls();
    assert!(blind.receipts(found.hash()).await.unwrap().is_some());
    assert_eq!(good.calls(), asked + 1);

    let mut view = follow(&sources, &stop);
    let head = world.lock().head().hash();
    reaches(&mut view, head).await;
    let epochs = Epochs::new(sources.clone(), view.clone(), EpochsConfig::default());
    let found = |number| {
        let epochs = epochs.clone();
        async move { epochs.look_up(Lookup::ByNumber(number), 4).await.unwrap().map(|block| block.origin.number) }
    };
    assert_eq!(found(96).await, Some(96));
    assert_eq!(found(97).await, None);
    assert_eq!(found(0).await, Some(0));
    assert_eq!(epochs.by_number(100, 0).await.unwrap().map(|header| header.number), Some(100));
    assert_eq!(epochs.by_number(101, 0).await.unwrap(), None);
    assert_eq!(epochs.by_number(u64::MAX, 4).await.unwrap(), None);
    // By hash nothing is held back.
    let by_hash = epochs.look_up(Lookup::ByHash(BlockHash::new(head.0)), 4).await.unwrap();
    assert_eq!(by_hash, Some(optimism::l1_block(world.lock().head())));
    assert_eq!(epochs.header(B256::repeat_byte(1)).await.unwrap(), None);
    assert_eq!(epochs.receipts(B256::repeat_byte(1)).await.unwrap(), None);
    // Below what the view keeps, an endpoint is asked, and what it said is kept.
    let old = world.lock().chain[3].hash();
    assert!(view.borrow().by_hash(old).is_none());
    assert!(epochs.header(old).await.unwrap().is_some());
    stop.cancel();
}

/// What is cached is served at once, whatever the endpoints do; and the next epochs are there before they are asked
/// for.
#[tokio::test]
async fn what_was_read_ahead_is_served_while_every_endpoint_hangs() {
    let world = shared(100);
    let hangs = Arc::new(AtomicBool::new(false));
    let asleep = Arc::clone(&hangs);
    let answering = Arc::clone(&world);
    let server = Server::answering(move |method, params| {
        if asleep.load(Ordering::SeqCst) { Reply::Hang } else { honest(&answering.lock(), method, params) }
    })
    .await;
    let sources = Sources::new(vec![server.source()], SourcesConfig::default(), None);
    let stop = CancellationToken::new();
    let mut view = follow(&sources, &stop);
    let head = world.lock().head().hash();
    reaches(&mut view, head).await;
    let epochs = Epochs::new(sources, view.clone(), EpochsConfig::default());
    tokio::spawn(epochs.clone().read_ahead(stop.clone()));
    epochs.origin_moved(90);
    let hash_at = |number: usize| world.lock().chain[number].hash();
    let ahead = [91, 92, 93, 94].map(hash_at);
    let all_there = async {
        while !ahead.iter().all(|hash| epochs.has_receipts(*hash)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, all_there).await.expect("four blocks are read ahead");
    assert!(!epochs.has_receipts(hash_at(90)) && !epochs.has_receipts(hash_at(95)));
    hangs.store(true, Ordering::SeqCst);
    let before = server.calls();
    for number in 91..=94 {
        let served = async {
            let header = epochs.by_number(number, 4).await.unwrap().unwrap();
            epochs.receipts(header.hash()).await.unwrap().unwrap()
        };
        // Ready at once: no timer runs here.
        assert!(futures::FutureExt::now_or_never(served).is_some());
    }
    // Only the follower has asked meanwhile, if anyone.
    assert!(server.calls() - before <= 3);
    stop.cancel();
}

#[tokio::test]
async fn everyone_who_waits_for_the_same_receipts_shares_one_call() {
    let world = shared(5);
    let answering = Arc::clone(&world);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::answering(move |method, params| {
        let reply = honest(&answering.lock(), method, params);
        if method != "eth_getBlockReceipts" {
            return reply;
        }
        count.fetch_add(1, Ordering::SeqCst);
        Reply::Late(Duration::from_millis(100), Box::new(reply))
    })
    .await;
    let (_unused, view) = watch::channel(L1View::default());
    let epochs =
        Epochs::new(Sources::new(vec![server.source()], SourcesConfig::default(), None), view, EpochsConfig::default());
    let hash = world.lock().head().hash();
    // The first one goes away before the answer is there: the others do not go away with it.
    let first = tokio::spawn({
        let epochs = epochs.clone();
        async move { epochs.receipts(hash).await }
    });
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    let all = futures::future::join_all((0..10).map(|_| epochs.receipts(hash))).await;
    assert!(all.iter().all(|answer| matches!(answer, Ok(Some(_)))));
    assert!(asked.load(Ordering::SeqCst) <= 2);
}
