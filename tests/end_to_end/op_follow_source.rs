//! What another node says is safe and final, and the limit of how far to run ahead of it.

use std::sync::{Arc, Mutex};

use alloy_primitives::B256;
use axum::Json;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use tests::Chain;

use crate::op_node::{Rollup, free_port, head, height, until};

/// How far ahead of the safe block it may run.
const LAG: u64 = 5;

/// A node that derives, as far as it is asked.
struct Other {
    said: Arc<Mutex<Value>>,
    url: String,
}

impl Other {
    async fn start() -> Other {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let said = Arc::new(Mutex::new(Value::Null));
        let answer = |State(said): State<Arc<Mutex<Value>>>, Json(asked): Json<Value>| async move {
            assert_eq!(asked["method"], "optimism_syncStatus");
            Json(json!({ "jsonrpc": "2.0", "id": asked["id"], "result": said.lock().unwrap().clone() }))
        };
        let router = axum::Router::new().route("/", post(answer)).with_state(Arc::clone(&said));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Other { said, url }
    }

    /// From now on this block is the safe one, and the final one.
    fn says(&self, block: &Value) {
        let origin = &block["l1origin"];
        let current = json!({ "number": origin["number"], "hash": origin["hash"] });
        *self.said.lock().unwrap() = json!({ "current_l1": current, "safe_l2": block, "finalized_l2": block });
    }
}

async fn block(node: &Chain, number: u64) -> Value {
    node.rpc("optimism_outputAtBlock", json!([format!("{number:#x}")])).await.unwrap()["blockRef"].clone()
}

/// Guards against a limit that does nothing, one that stops the chain for good, and another chain's word that is taken over.
#[tokio::test]
async fn what_is_safe_elsewhere_is_safe_here_and_how_far_it_runs_ahead_is_bounded() {
    let Some(rollup) = Rollup::begin("op_follow_source").await else { return };
    let (other, chain_port) = (Other::start().await, free_port());
    let launch = rollup.sequencer();
    let launch = launch.flag("--l2-genesis", rollup.genesis.as_os_str()).flag("--http-port", chain_port.to_string());
    launch
        .clone()
        .flag("--sequencer.max-safe-lag", "5")
        .run()
        .says(2, &["--sequencer.max-safe-lag", "--l2-follow-source"]);
    let launch = launch.flag("--l2-follow-source", &other.url).flag("--sequencer.max-safe-lag", LAG.to_string());
    let mut node = launch.start().await;

    // It runs ahead as far as it may, and says why it stands.
    until("it stands", async || {
        let (code, said) = node.fetch("/readyz").await.unwrap_or_default();
        code == 503 && said.contains("awaits_safe")
    })
    .await;
    assert_eq!(height(&node).await, LAG);

    // More is safe elsewhere: the same is safe here, and blocks come again.
    other.says(&block(&node, 3).await);
    until("blocks come again", async || height(&node).await == LAG + 3).await;
    let status = node.rpc("optimism_syncStatus", json!([])).await.unwrap();
    assert_eq!((&status["safe_l2"]["number"], &status["finalized_l2"]["number"]), (&json!(3), &json!(3)));
    let safe = node.caller().at(chain_port).rpc("eth_getBlockByNumber", json!(["safe", false])).await.unwrap();
    assert_eq!(safe["hash"], block(&node, 3).await["hash"]);

    // A block that is another one here is not taken over.
    let mut stranger = block(&node, 6).await;
    stranger["hash"] = json!(B256::repeat_byte(7));
    other.says(&stranger);
    until("it is told", async || node.log().contains("block 6 is")).await;
    assert_eq!(head(&node).await["number"], LAG + 3);
    other.says(&block(&node, 6).await);
    until("what fits is taken over", async || height(&node).await == LAG + 6).await;
    assert!(node.stop().await.success(), "{}", node.log());
}
