//! A real anvil: blocks, reorganisations and receipts as an endpoint that others wrote serves them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use l1::{
    At, Beacon, BeaconConfig, BreakerConfig, BreakerState, Epochs, EpochsConfig, Fault, Follower, FollowerConfig,
    L1View, News, Source, SourceConfig, Sources, SourcesConfig, Tag,
};
use optimism::BlockId;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::server::{Handler, Reply, Server, config};
use crate::world::id;

/// How long a test waits for what must come.
const LONG: Duration = Duration::from_secs(60);

/// A chain of its own. Ends with the test.
struct Anvil {
    address: SocketAddr,
    client: reqwest::Client,
    _process: Child,
}

/// `None`, and said so, where it is absent.
fn binary() -> Option<PathBuf> {
    let beside = "../../tests/clients/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(beside);
    let path = std::env::var_os("SEQUENZA_ANVIL").map_or(beside, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: no anvil at {} (`cargo xtask test` installs it; SEQUENZA_ANVIL names another)", path.display());
    None
}

impl Anvil {
    async fn start() -> Option<Self> {
        let mut process = Command::new(binary()?)
            .args(["--port", "0", "--no-mining", "--slots-in-an-epoch", "32"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("anvil says where it listens");
            if let Some(address) = line.strip_prefix("Listening on ") {
                break address.trim().parse().unwrap();
            }
        };
        // Whoever closes its output ends it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { address, client: reqwest::Client::new(), _process: process })
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        forward(&self.client, self.address, method, &params).await
    }

    async fn mine(&self, count: u64) {
        self.call("anvil_mine", json!([format!("{count:#x}")])).await;
    }

    /// A transfer that waits for the next block.
    async fn transfer(&self) {
        let accounts = self.call("eth_accounts", json!([])).await;
        let transfer = json!({ "from": accounts[0], "to": accounts[1], "value": "0x1" });
        self.call("eth_sendTransaction", json!([transfer])).await;
    }

    /// Leaves the newest blocks and mines as many others: with a transfer in the first, without which they may be the
    /// same again.
    async fn reorganise(&self, depth: u64) {
        let accounts = self.call("eth_accounts", json!([])).await;
        let transfer = json!({ "from": accounts[2], "to": accounts[1], "value": format!("{depth:#x}") });
        self.call("anvil_reorg", json!([depth, [[transfer, 0]]])).await;
    }

    async fn head(&self) -> B256 {
        let head = self.call("eth_getBlockByNumber", json!(["latest", false])).await;
        serde_json::from_value(head["hash"].clone()).unwrap()
    }

    fn source(&self) -> Source {
        Source::new(config(self.address)).unwrap()
    }
}

async fn forward(client: &reqwest::Client, address: SocketAddr, method: &str, params: &Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = client.post(format!("http://{address}")).json(&body).send().await.unwrap();
    let mut answer: Value = answer.json().await.unwrap();
    assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
    answer["result"].take()
}

fn follow(sources: &Sources, stop: &CancellationToken) -> watch::Receiver<L1View> {
    let config = FollowerConfig {
        latest_every: Duration::from_millis(50),
        final_every: Duration::from_millis(200),
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

/// The head before, and what was told since: every block, one on the other.
fn told(view: &watch::Receiver<L1View>, seen: &mut BlockId) -> Vec<News> {
    let view = view.borrow();
    let news = view.since(*seen);
    for news in &news {
        match news {
            News::Advanced(header) => {
                assert_eq!((header.parent_hash, header.number), (seen.hash, seen.number + 1));
                *seen = id(header);
            }
            News::Reorged { from, to, .. } => {
                assert_eq!(from, seen);
                *seen = *to;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(Some(*seen), view.latest().map(|head| id(head)));
    news
}

#[tokio::test]
async fn blocks_and_reorganisations_are_followed() {
    let Some(anvil) = Anvil::start().await else { return };
    anvil.mine(30).await;
    let sources = Sources::new(vec![anvil.source()], SourcesConfig::default(), None);
    let stop = CancellationToken::new();
    let mut view = follow(&sources, &stop);
    reaches(&mut view, anvil.head().await).await;
    assert_eq!(view.borrow().latest().map(|head| head.number), Some(30));
    let mut seen = id(view.borrow().latest().unwrap());
    for depth in 1..=20_u64 {
        anvil.mine(2).await;
        reaches(&mut view, anvil.head().await).await;
        assert_eq!(told(&view, &mut seen).len(), 2);
        let before = anvil.head().await;
        anvil.reorganise(depth).await;
        assert_ne!(anvil.head().await, before, "anvil reorganised to the same blocks at depth {depth}");
        reaches(&mut view, anvil.head().await).await;
        let news = told(&view, &mut seen);
        assert!(matches!(news[0], News::Reorged { depth: told, .. } if told == depth), "depth {depth}: {news:?}");
        assert_eq!(news.len() as u64, 1 + depth);
    }
    // 64 blocks below the head, as `--slots-in-an-epoch` says.
    let final_at = view.borrow().latest().unwrap().number - 64;
    let there = view.wait_for(|view| view.finalized().is_some_and(|block| block.number == final_at));
    tokio::time::timeout(LONG, there).await.expect("finality is reached in time").unwrap();
    stop.cancel();
}

#[tokio::test]
async fn blocks_and_receipts_of_another_client_pass_every_check() {
    let Some(anvil) = Anvil::start().await else { return };
    for _ in 0..3 {
        anvil.transfer().await;
    }
    anvil.mine(1).await;
    let source = anvil.source();
    assert_eq!(source.chain_id().await.unwrap(), 31337);
    let block = source.block(At::Tag(Tag::Latest)).await.unwrap().unwrap();
    assert_eq!(block.transactions.len(), 3);
    let receipts = source.receipts(&block.header).await.unwrap();
    assert_eq!(receipts.len(), 3);
    assert!(receipts.iter().all(l1_receipt_succeeded));
    let sources = Sources::new(vec![anvil.source()], SourcesConfig::default(), None);
    assert_eq!(sources.block(At::Number(1)).await.unwrap(), Some(block.clone()));
    assert!(matches!(sources.chain_ids().await[..], [(_, Ok(31337))]));
    let word = source.storage(alloy_primitives::Address::ZERO, B256::ZERO, block.header.hash()).await.unwrap();
    assert_eq!(word, B256::ZERO);
    assert_eq!(source.header(At::Number(2)).await.unwrap(), None);
    assert_eq!(source.header(At::Hash(B256::ZERO)).await.unwrap(), None);
    // The same one by one, as from an endpoint without eth_getBlockReceipts.
    let client = anvil.client.clone();
    let address = anvil.address;
    let handler: Handler = Arc::new(move |method, params| {
        let client = client.clone();
        Box::pin(async move {
            if method == "eth_getBlockReceipts" {
                return Reply::Error(-32601, "no such method");
            }
            Reply::Result(forward(&client, address, &method, &params).await)
        })
    });
    let proxy = Server::start(handler).await;
    assert_eq!(proxy.source().receipts(&block.header).await.unwrap(), receipts);
}

#[tokio::test]
async fn the_beacon_routes_of_anvil_are_understood() {
    let Some(anvil) = Anvil::start().await else { return };
    anvil.mine(3).await;
    let url = config(anvil.address).url;
    let unknown = Beacon::new(BeaconConfig::new(url.clone())).unwrap();
    let error = unknown.slots().await.unwrap_err();
    assert_eq!(error.fault, Fault::Status(404), "anvil does not tell how long a slot is");
    let beacon = Beacon::new(BeaconConfig { slot_seconds: Some(12), ..BeaconConfig::new(url) }).unwrap();
    let slots = beacon.slots().await.unwrap();
    // There a slot is a block number. This block has no blobs.
    assert_eq!(beacon.blobs(slots.genesis + 2 * 12, &[B256::repeat_byte(1)]).await.unwrap(), None);
}

fn l1_receipt_succeeded(receipt: &l1::Receipt) -> bool {
    receipt.is_success()
}

/// What the proxy in front of anvil does.
#[derive(Clone, Debug)]
enum Mode {
    Honest,
    Hang,
    /// Tells this head for ever.
    Stale(Value),
    /// Changes a field of every header.
    Lie,
    /// Leaves out a receipt.
    Short,
    Broken,
}

async fn proxy(anvil: &Anvil, mode: &Arc<Mutex<Mode>>) -> Server {
    let (client, address, mode) = (anvil.client.clone(), anvil.address, Arc::clone(mode));
    let handler: Handler = Arc::new(move |method, params| {
        let (client, mode) = (client.clone(), mode.lock().clone());
        Box::pin(async move {
            let mut answer = forward(&client, address, &method, &params).await;
            match mode {
                Mode::Honest => {}
                Mode::Hang => return Reply::Hang,
                Mode::Broken => return Reply::Raw(502, "bad gateway".to_owned()),
                Mode::Stale(head) if params[0] == "latest" => return Reply::Result(head),
                Mode::Lie if answer.get("stateRoot").is_some() => answer["stateRoot"] = json!(B256::repeat_byte(1)),
                Mode::Short if method == "eth_getBlockReceipts" => {
                    answer.as_array_mut().unwrap().pop();
                }
                Mode::Stale(_) | Mode::Lie | Mode::Short => {}
            }
            Reply::Result(answer)
        })
    });
    Server::start(handler).await
}

#[tokio::test]
async fn the_follower_carries_on_beside_an_endpoint_that_fails_in_every_way() {
    let Some(anvil) = Anvil::start().await else { return };
    anvil.mine(30).await;
    let mode = Arc::new(Mutex::new(Mode::Honest));
    let bad = proxy(&anvil, &mode).await;
    // The bad one is preferred.
    let bad = Source::new(SourceConfig { deadline: Duration::from_secs(2), ..bad.config() }).map(|s| (s, bad));
    let (bad, _server) = bad.unwrap();
    let breaker = BreakerConfig { pause_max: Duration::from_millis(500), ..BreakerConfig::default() };
    let sources = SourcesConfig { breaker, ..SourcesConfig::default() };
    let sources = Sources::new(vec![bad, anvil.source()], sources, None);
    let stop = CancellationToken::new();
    let mut view = follow(&sources, &stop);
    let epochs = Epochs::new(sources.clone(), view.clone(), EpochsConfig::default());
    reaches(&mut view, anvil.head().await).await;
    let mut seen = id(view.borrow().latest().unwrap());
    let old = anvil.call("eth_getBlockByNumber", json!(["0x1c", false])).await;
    for now in [Mode::Hang, Mode::Honest, Mode::Stale(old), Mode::Lie, Mode::Short, Mode::Broken, Mode::Honest] {
        *mode.lock() = now.clone();
        for depth in [0_u64, 1, 4] {
            anvil.transfer().await;
            anvil.mine(3).await;
            if depth > 0 {
                anvil.reorganise(depth).await;
            }
            let head = anvil.head().await;
            reaches(&mut view, head).await;
            told(&view, &mut seen);
            let block = anvil.source().block(At::Hash(head)).await.unwrap().unwrap();
            let receipts = epochs.receipts(head).await.unwrap_or_else(|error| panic!("{now:?}: {error}")).unwrap();
            assert_eq!(receipts.len(), block.transactions.len());
        }
        if matches!(now, Mode::Lie) {
            let found_out = async {
                while sources.status()[0].falsehoods == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(LONG, found_out).await.expect("a lie is found out");
        }
        // A block with a transaction, so that a receipt can be missing.
        anvil.transfer().await;
        anvil.mine(1).await;
        let head = anvil.head().await;
        reaches(&mut view, head).await;
        told(&view, &mut seen);
        assert_eq!(epochs.receipts(head).await.unwrap().unwrap().len(), 1, "{now:?}");
    }
    // It is honest again, and asked again.
    let healed = async {
        while sources.status().iter().any(|status| status.breaker != BreakerState::Closed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, healed).await.expect("it is asked again in time");
    let status = sources.status();
    assert!(status[0].falsehoods > 0 && status[0].failed > 0, "{status:?}");
    assert_eq!((status[1].falsehoods, status[1].lag), (0, Some(0)), "{status:?}");
    stop.cancel();
}
