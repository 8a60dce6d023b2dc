//! Sees transactions become pre-confirmed and accepted: by subscription, or by polling where there is none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use starknet_types_core::felt::Felt;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::endpoint::{Endpoint, request};

/// How often a chain without subscriptions is asked.
const POLL: Duration = Duration::from_millis(10);

/// What the watcher saw, and when.
#[derive(Debug)]
pub(crate) enum Sight {
    PreConfirmed { hash: Felt, at: Instant, reverted: bool },
    Accepted { hash: Felt, at: Instant },
}

/// How a chain is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Subscription,
    Polling,
}

/// Watches until dropped. Sightings arrive in the channel; it is as deep as the run is long, so nothing is lost.
pub(crate) struct Watch {
    pub(crate) method: Method,
    pub(crate) sights: mpsc::UnboundedReceiver<Sight>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Deserialize)]
struct Notification {
    params: Option<Params>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Params {
    result: Noticed,
}

/// The fields that tell a receipt from a header.
#[derive(Deserialize)]
struct Noticed {
    transaction_hash: Option<Felt>,
    execution_status: Option<String>,
    block_number: Option<u64>,
}

impl Watch {
    /// Starts watching. Falls back to polling, with a word on stderr, when the chain does not take the subscriptions.
    pub(crate) async fn start(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let (send, sights) = mpsc::unbounded_channel();
        let endpoint = Arc::new(endpoint.clone());
        if endpoint.ws.is_some() {
            match subscribe(&endpoint).await {
                Ok(socket) => {
                    let task = tokio::spawn(listen(socket, endpoint, send));
                    return Ok(Self { method: Method::Subscription, sights, task });
                }
                Err(error) => eprintln!("no subscription ({error:#}): polling each {} ms", POLL.as_millis()),
            }
        }
        let next = endpoint.block_number().await? + 1;
        let task = tokio::spawn(poll(endpoint, next, send));
        Ok(Self { method: Method::Polling, sights, task })
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn subscribe(endpoint: &Endpoint) -> anyhow::Result<Socket> {
    let url = endpoint.ws.as_deref().context("no WebSocket endpoint")?;
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.with_context(|| url.to_owned())?;
    for (method, params) in [
        ("starknet_subscribeNewTransactionReceipts", json!({"finality_status": ["PRE_CONFIRMED"]})),
        ("starknet_subscribeNewHeads", json!({})),
    ] {
        socket.send(Message::text(request(method, &params))).await?;
        let answer = socket.next().await.context("the server closed the socket")??;
        let answer: Notification = serde_json::from_str(answer.to_text()?)?;
        if let Some(error) = answer.error {
            bail!("{method}: {error}");
        }
    }
    Ok(socket)
}

async fn listen(mut socket: Socket, endpoint: Arc<Endpoint>, send: mpsc::UnboundedSender<Sight>) -> anyhow::Result<()> {
    while let Some(message) = socket.next().await {
        let message = message?;
        let at = Instant::now();
        let Message::Text(text) = message else { continue };
        let Ok(Notification { params: Some(Params { result }), .. }) = serde_json::from_str(&text) else { continue };
        if let Some(hash) = result.transaction_hash {
            let reverted = result.execution_status.as_deref() == Some("REVERTED");
            send.send(Sight::PreConfirmed { hash, at, reverted })?;
        } else if let Some(number) = result.block_number {
            // Read off the socket's task: the next receipts must not wait for it.
            tokio::spawn(accept(Arc::clone(&endpoint), number, at, send.clone()));
        }
    }
    bail!("the server closed the WebSocket")
}

async fn accept(endpoint: Arc<Endpoint>, number: u64, at: Instant, send: mpsc::UnboundedSender<Sight>) {
    match endpoint.block(json!({"block_number": number})).await {
        Ok(block) => {
            for hash in block.transactions {
                // The receiver is gone when the run is over.
                let _ = send.send(Sight::Accepted { hash, at });
            }
        }
        Err(error) => eprintln!("block {number}: {error:#}"),
    }
}

async fn poll(endpoint: Arc<Endpoint>, mut next: u64, send: mpsc::UnboundedSender<Sight>) -> anyhow::Result<()> {
    let mut seen = std::collections::HashSet::new();
    loop {
        let open = endpoint.block(json!("pre_confirmed")).await?;
        let at = Instant::now();
        for hash in open.transactions {
            if seen.insert(hash) {
                send.send(Sight::PreConfirmed { hash, at, reverted: false })?;
            }
        }
        let head = endpoint.block(json!("latest")).await?;
        let sealed = head.block_number.map_or(next, |number| number + 1).max(next);
        for number in next..sealed {
            let block = endpoint.block(json!({"block_number": number})).await?;
            let at = Instant::now();
            for hash in block.transactions {
                if seen.insert(hash) {
                    send.send(Sight::PreConfirmed { hash, at, reverted: false })?;
                }
                send.send(Sight::Accepted { hash, at })?;
            }
        }
        next = sealed;
        tokio::time::sleep(POLL).await;
    }
}
