//! op-conductor as sequencers see it: one endpoint for each of a set, one leader, the newest payload that was committed, and the loop
//! that starts and stops the sequencers by their admin methods. What goes wrong with a real one can be ordered here.
//!
//! Written after op-conductor `conductor/service.go` (`action`, `startSequencer`), `consensus/raft_fsm.go` and `rpc/api.go`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Caller, RpcError};

/// Between two rounds of the loop that starts and stops.
const ROUND: Duration = Duration::from_millis(100);

/// What an endpoint does with calls, beside answering them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    #[default]
    None,
    /// Answers so much later; what is committed is held at once.
    Slow(Duration),
    /// Holds what is committed, and never answers a commit.
    LosesAnswers,
    /// Answers commits with an error that leaves them open, and holds nothing.
    Fails,
    /// Never answers anything, and holds nothing.
    Gone,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose conductor was called, from 0.
    pub node: usize,
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Value,
}

#[derive(Default)]
struct Inner {
    leader: Option<usize>,
    /// The newest payload with its envelope.
    held: Option<Value>,
    /// Which block was committed at each height first.
    decided: BTreeMap<u64, String>,
    /// Blocks that were committed at a height that had another.
    forks: Vec<String>,
    mishaps: Vec<Mishap>,
    calls: Vec<Call>,
    /// What the loop could not do last, by node.
    stuck: BTreeMap<usize, String>,
    /// Whether the loop starts and stops.
    paused: bool,
}

/// A set of conductors, one for each sequencer; gone when dropped.
pub struct Conductors {
    inner: Arc<Mutex<Inner>>,
    urls: Vec<String>,
    tasks: Vec<JoinHandle<()>>,
}

impl Conductors {
    /// Conductors for so many sequencers, without a leader and without a payload.
    pub async fn start(count: usize) -> Conductors {
        let inner = Arc::new(Mutex::new(Inner { mishaps: vec![Mishap::None; count], ..Inner::default() }));
        let (mut urls, mut tasks) = (Vec::new(), Vec::new());
        for node in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
            urls.push(format!("http://{}", listener.local_addr().expect("it is bound")));
            let router = axum::Router::new().route("/", post(serve)).with_state((Arc::clone(&inner), node));
            // Payloads are larger than what is taken by default.
            let router = router.layer(axum::extract::DefaultBodyLimit::disable());
            tasks.push(tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") }));
        }
        Conductors { inner, urls, tasks }
    }

    /// Where the conductor of a sequencer is.
    pub fn url(&self, node: usize) -> &str {
        &self.urls[node]
    }

    /// Makes one the leader, or none.
    pub fn elect(&self, leader: Option<usize>) {
        self.lock().leader = leader;
    }

    /// What goes wrong with the conductor of a sequencer from now on.
    pub fn mishap(&self, node: usize, mishap: Mishap) {
        self.lock().mishaps[node] = mishap;
    }

    /// The newest payload that is held, with its envelope.
    pub fn held(&self) -> Option<Value> {
        self.lock().held.clone()
    }

    /// Height and hash of the newest payload that is held.
    pub fn newest(&self) -> Option<(u64, String)> {
        self.lock().held.as_ref().map(named)
    }

    /// Which block is decided at each height.
    pub fn decided(&self) -> BTreeMap<u64, String> {
        self.lock().decided.clone()
    }

    /// Two blocks at one height: what must never be.
    pub fn forks(&self) -> Vec<String> {
        self.lock().forks.clone()
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// What the loop could not do for a sequencer last.
    pub fn stuck(&self, node: usize) -> Option<String> {
        self.lock().stuck.get(&node).cloned()
    }

    /// Lets the loop rest, as `conductor_pause` does, or go on.
    pub fn pause(&self, paused: bool) {
        self.lock().paused = paused;
    }

    /// Starts and stops the sequencers from now on. Each is given by its node's and its engine's JSON-RPC.
    pub fn conduct(&mut self, sequencers: Vec<(Caller, Caller)>) {
        for (node, (caller, engine)) in sequencers.into_iter().enumerate() {
            let inner = Arc::clone(&self.inner);
            self.tasks.push(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(ROUND).await;
                    let (paused, leads, held) = {
                        let inner = inner.lock().expect("no panic under it");
                        (inner.paused, inner.leader == Some(node), inner.held.clone())
                    };
                    if paused {
                        continue;
                    }
                    let mut done = act(leads, held, &caller, &engine).await.map_err(|error| format!("{error:?}"));
                    let mut inner = inner.lock().expect("no panic under it");
                    match &mut done {
                        Ok(()) => inner.stuck.remove(&node),
                        Err(why) => inner.stuck.insert(node, std::mem::take(why)),
                    };
                }
            }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic under it")
    }
}

impl Drop for Conductors {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Height and hash of a payload.
fn named(envelope: &Value) -> (u64, String) {
    let payload = &envelope["executionPayload"];
    let number = payload["blockNumber"].as_str().unwrap_or_default().trim_start_matches("0x").to_owned();
    let hash = payload["blockHash"].as_str().unwrap_or_default().to_owned();
    (u64::from_str_radix(&number, 16).unwrap_or_default(), hash)
}

/// One round of the loop for one sequencer. All count as healthy.
async fn act(leads: bool, held: Option<Value>, node: &Caller, engine: &Caller) -> Result<(), RpcError> {
    let active = node.rpc("admin_sequencerActive", json!([])).await? == json!(true);
    match (leads, active) {
        (false, true) => match node.rpc("admin_stopSequencer", json!([])).await {
            Err(RpcError::Refused { message, .. }) if message.contains("sequencer not running") => Ok(()),
            other => other.map(drop),
        },
        (true, false) => {
            let lost = |text: &str| RpcError::Lost(text.to_owned());
            let held = held.ok_or_else(|| lost("no payload is held yet"))?;
            let (number, hash) = named(&held);
            let newest = engine.rpc("eth_getBlockByNumber", json!(["latest", false])).await?;
            if newest["hash"] == json!(hash) {
                return match node.rpc("admin_startSequencer", json!([hash])).await {
                    Err(RpcError::Refused { message, .. }) if message.contains("sequencer already running") => Ok(()),
                    other => other.map(drop),
                };
            }
            let height = newest["number"].as_str().unwrap_or_default().trim_start_matches("0x").to_owned();
            if u64::from_str_radix(&height, 16).is_ok_and(|height| height + 1 == number) {
                node.rpc("admin_postUnsafePayload", json!([held])).await?;
            }
            Err(lost("the newest block of the engine is not the one that is held"))
        }
        (false, false) | (true, true) => Ok(()),
    }
}

async fn serve(State((inner, node)): State<(Arc<Mutex<Inner>>, usize)>, Json(request): Json<Value>) -> Json<Value> {
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    let (answer, mishap) = {
        let mut inner = inner.lock().expect("no panic under it");
        inner.calls.push(Call { node, method: method.clone(), params: request["params"].clone() });
        let mishap = inner.mishaps[node];
        let answer = match (method.as_str(), mishap) {
            (_, Mishap::Gone) => Ok(Value::Null),
            ("conductor_commitUnsafePayload", Mishap::Fails) => {
                Err((-32000, "failed to apply payload envelope".to_owned()))
            }
            ("conductor_commitUnsafePayload", _) => inner.commit(node, &request["params"]),
            ("conductor_leader", _) => Ok(json!(inner.leader == Some(node))),
            (other, _) => Err((-32601, format!("the method {other} does not exist/is not available"))),
        };
        (answer, mishap)
    };
    match mishap {
        Mishap::None | Mishap::Fails => {}
        Mishap::Slow(time) => tokio::time::sleep(time).await,
        Mishap::LosesAnswers if method == "conductor_commitUnsafePayload" => std::future::pending().await,
        Mishap::LosesAnswers => {}
        Mishap::Gone => std::future::pending().await,
    }
    let id = &request["id"];
    Json(match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }),
    })
}

impl Inner {
    /// Only the leader's payloads are taken, and of those held the highest is told.
    fn commit(&mut self, node: usize, params: &Value) -> Result<Value, (i64, String)> {
        if self.leader != Some(node) {
            return Err((-32000, "failed to apply payload envelope: node is not the leader".to_owned()));
        }
        let envelope = params[0].clone();
        let (number, hash) = named(&envelope);
        let first = self.decided.entry(number).or_insert_with(|| hash.clone());
        if *first != hash {
            self.forks.push(format!("block {number}: {first} and {hash}"));
        }
        if self.held.as_ref().is_none_or(|held| named(held).0 < number) {
            self.held = Some(envelope);
        }
        Ok(Value::Null)
    }
}
