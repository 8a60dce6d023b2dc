//! A JSON-RPC client of a chain on this machine.

use std::time::Duration;

use alloy_primitives::bytes::Bytes;
use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use starknet_types_core::felt::Felt;

/// A call that takes longer has failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a chain answers.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    client: reqwest::Client,
    /// Read once: to read it for each call would cost more than to write the call.
    url: reqwest::Url,
    pub(crate) ws: Option<String>,
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Value>,
}

impl<T> Answer<T> {
    fn read(self) -> anyhow::Result<T> {
        match (self.result, self.error) {
            (Some(result), None) => Ok(result),
            (_, Some(error)) => Err(anyhow!("{error}")),
            (None, None) => Err(anyhow!("neither result nor error")),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Block {
    /// Absent in the block that is being built.
    pub(crate) block_number: Option<u64>,
    pub(crate) transactions: Vec<Felt>,
}

impl Endpoint {
    /// An endpoint on this machine; others are refused, a load generator is no toy for other people's networks.
    pub(crate) fn new(url: &str, ws: Option<&str>) -> anyhow::Result<Self> {
        for url in std::iter::once(url).chain(ws) {
            let host = reqwest::Url::parse(url).with_context(|| format!("{url} is not a URL"))?;
            if !matches!(host.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
                bail!("{url}: load is put on loopback only (127.0.0.1, localhost, ::1)");
            }
        }
        let client = reqwest::Client::builder().timeout(CALL_TIMEOUT).no_proxy().build()?;
        Ok(Self { client, url: reqwest::Url::parse(url)?, ws: ws.map(str::to_owned) })
    }

    /// Calls a method and reads its result.
    pub(crate) async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> anyhow::Result<T> {
        self.send(request(method, &params)).await.with_context(|| method.to_owned())
    }

    /// Sends a request made by [`request`].
    pub(crate) async fn send<T: DeserializeOwned>(&self, body: String) -> anyhow::Result<T> {
        let bytes = self.post(body).await?;
        let answer: Answer<T> = serde_json::from_slice(&bytes)
            .with_context(|| format!("unexpected answer {}", String::from_utf8_lossy(&bytes)))?;
        answer.read()
    }

    /// Sends a batch of requests made by [`request`]; their answers in order.
    pub(crate) async fn answers<T: DeserializeOwned>(&self, body: String) -> anyhow::Result<Vec<anyhow::Result<T>>> {
        let bytes = self.post(body).await?;
        let answers: Vec<Answer<T>> = serde_json::from_slice(&bytes)
            .with_context(|| format!("unexpected answer {}", String::from_utf8_lossy(&bytes)))?;
        Ok(answers.into_iter().map(Answer::read).collect())
    }

    async fn post(&self, body: String) -> anyhow::Result<Bytes> {
        let post = self.client.post(self.url.clone()).header("content-type", "application/json").body(body);
        Ok(post.send().await?.bytes().await?)
    }

    /// Sends several calls at once; their results in order, null for none.
    pub(crate) async fn batch(&self, calls: Value) -> anyhow::Result<Vec<Value>> {
        let answers: Vec<Value> = serde_json::from_slice(&self.post(calls.to_string()).await?)?;
        Ok(answers.into_iter().map(|mut answer| answer["result"].take()).collect())
    }

    pub(crate) async fn block(&self, id: Value) -> anyhow::Result<Block> {
        self.call("starknet_getBlockWithTxHashes", json!({ "block_id": id })).await
    }

    pub(crate) async fn block_number(&self) -> anyhow::Result<u64> {
        self.call("starknet_blockNumber", json!([])).await
    }

    /// The text of an HTTP path of the same server, such as `/metrics`.
    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.client.get(self.url.join(path)?).send().await?.error_for_status()?.text().await?)
    }
}

/// A request as text.
pub(crate) fn request(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}
