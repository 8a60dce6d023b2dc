//! A chain driven from outside, through the Engine API's port, as a rollup node does it.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tests::{Chain, Launch};

const ZERO: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";
const NOBODY: &str = "0x0000000000000000000000000000000000000000";

struct Driven {
    chain: Chain,
    url: String,
    client: reqwest::Client,
}

impl Driven {
    async fn start() -> Driven {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let launch = Launch::evm();
        let secret = launch.folder().join("jwt.hex");
        std::fs::write(&secret, format!("0x{}\n", "42".repeat(32))).unwrap();
        let launch = launch.flag("--authrpc.port", port.to_string()).flag("--authrpc.jwtsecret", secret);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Driven { chain: launch.start().await, url: format!("http://127.0.0.1:{port}"), client }
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let key = EncodingKey::from_secret(&[0x42; 32]);
        let token = jsonwebtoken::encode(&Header::default(), &json!({ "iat": now }), &key).unwrap();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.client.post(&self.url).bearer_auth(token).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{method}");
        answer.json().await.unwrap()
    }

    async fn update(&self, head: &Value, attributes: Value) -> Value {
        let state = json!({ "headBlockHash": head, "safeBlockHash": ZERO, "finalizedBlockHash": ZERO });
        let updated = self.ask("engine_forkchoiceUpdatedV3", json!([state, attributes])).await["result"].clone();
        assert_eq!(updated["payloadStatus"]["status"], "VALID", "{updated}\n{}", self.chain.log());
        updated
    }

    /// Builds a block on `parent`, brings it and makes it the head.
    async fn extend(&self, parent: &Value, seconds: u64) -> Value {
        let time = u64::from_str_radix(parent["timestamp"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        let attributes = json!({
            "timestamp": format!("{:#x}", time + seconds), "prevRandao": ZERO, "suggestedFeeRecipient": NOBODY,
            "withdrawals": [], "parentBeaconBlockRoot": ZERO,
        });
        let updated = self.update(&parent["hash"], attributes).await;
        let built = self.ask("engine_getPayloadV5", json!([updated["payloadId"]])).await["result"].clone();
        let payload = &built["executionPayload"];
        let status = self.ask("engine_newPayloadV4", json!([payload, [], ZERO, []])).await["result"].clone();
        assert_eq!(status["status"], "VALID", "{status}");
        self.update(&payload["blockHash"], Value::Null).await;
        self.block("latest").await
    }

    async fn block(&self, at: &str) -> Value {
        self.ask("eth_getBlockByNumber", json!([at, false])).await["result"].clone()
    }
}

/// Guards against a driver that cannot build, bring, lead, or lead elsewhere; and against a chain that forgets where it was led.
#[tokio::test]
async fn a_rollup_node_leads_the_chain_and_changes_its_mind() {
    let mut driven = Driven::start().await;
    let genesis = driven.block("latest").await;
    let told = async || driven.chain.fetch("/readyz").await.unwrap();
    assert!(told().await.1.contains("waits for the first forkchoice"), "{:?}", told().await);
    let first = driven.extend(&genesis, 2).await;
    assert!(told().await.1.contains("the last forkchoice came "), "{:?}", told().await);
    let second = driven.extend(&first, 2).await;
    assert_eq!(second["number"], "0x2");
    // Another block on the first: the second is not part of the chain any more.
    let other = driven.extend(&first, 4).await;
    assert_eq!(other["number"], "0x2");
    assert_ne!(other["hash"], second["hash"]);
    assert!(driven.ask("eth_getBlockByNumber", json!(["0x3", false])).await["result"].is_null());
    let third = driven.extend(&other, 2).await;
    assert_eq!(third["parentHash"], other["hash"]);
    assert!(driven.chain.stop().await.success());
    driven.chain.start_again().await;
    assert_eq!(driven.block("latest").await["hash"], third["hash"]);
}

/// Guards against an open door: no token, and another secret's.
#[tokio::test]
async fn nobody_leads_without_the_secret() {
    let driven = Driven::start().await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "engine_exchangeCapabilities", "params": [[]] });
    let bare = driven.client.post(&driven.url).json(&body).send().await.unwrap();
    assert_eq!(bare.status(), 401);
    let key = EncodingKey::from_secret(&[0x43; 32]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = jsonwebtoken::encode(&Header::default(), &json!({ "iat": now }), &key).unwrap();
    let forged = driven.client.post(&driven.url).bearer_auth(token).json(&body).send().await.unwrap();
    assert_eq!(forged.status(), 401);
    // The public port has no Engine API at all.
    let refused = driven.chain.rpc("engine_exchangeCapabilities", json!([[]])).await.unwrap_err();
    assert_eq!(refused.code(), Some(-32601));
    assert!(driven.chain.stdout().contains("Driven from outside"));
}
