//! A namespace for the tests, and a server of it on a free port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use rpc::{
    Check, Cors, ErrorObject, Finding, Health, JwtSecret, Limits, Namespace, Service, Sink, SubscriptionId, Surface,
};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub(crate) struct Fake;

#[async_trait]
impl Namespace for Fake {
    fn methods(&self) -> Vec<String> {
        ["t_echo", "t_fail", "t_panic", "t_slow", "t_large"].map(str::to_owned).to_vec()
    }

    fn subscriptions(&self) -> Vec<String> {
        ["t_count", "t_flood"].map(str::to_owned).to_vec()
    }

    fn unsubscribe_method(&self) -> Option<String> {
        Some("t_stop".to_owned())
    }

    fn unknown_subscription(&self) -> ErrorObject {
        ErrorObject::new(66, "Invalid subscription id")
    }

    async fn call(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject> {
        let number = |default: u64| {
            params
                .and_then(|params| serde_json::from_str::<Vec<u64>>(params.get()).ok())
                .map_or(default, |list| list[0])
        };
        match method {
            "t_echo" => Ok(params.map_or(RawValue::NULL.to_owned(), RawValue::to_owned)),
            "t_fail" => Err(ErrorObject::new(20, "Contract not found").with_data("0x1")),
            "t_panic" => panic!("on purpose"),
            "t_slow" => {
                tokio::time::sleep(Duration::from_millis(number(500))).await;
                to_raw_value("done").map_err(ErrorObject::internal)
            }
            "t_large" => {
                let size = usize::try_from(number(1000)).map_err(ErrorObject::invalid_params)?;
                to_raw_value(&"x".repeat(size)).map_err(ErrorObject::internal)
            }
            other => Err(ErrorObject::method_not_found(other)),
        }
    }

    async fn subscribe(
        &self,
        method: &str,
        params: Option<&RawValue>,
        sink: Sink,
    ) -> Result<SubscriptionId, ErrorObject> {
        let id = params
            .and_then(|params| serde_json::from_str::<Vec<String>>(params.get()).ok())
            .and_then(|list| list.into_iter().next())
            .ok_or_else(|| ErrorObject::invalid_params("name the subscription"))?;
        let (name, flood) = (id.clone(), method == "t_flood");
        tokio::spawn(async move {
            for count in 0..if flood { u64::MAX } else { 1_000_000 } {
                let padding = if flood { "x".repeat(64 * 1024) } else { String::new() };
                let params = json!({"subscription_id": name, "result": count, "padding": padding});
                let params = to_raw_value(&params).unwrap();
                if sink.send("t_counted", &params).await.is_err() {
                    return;
                }
                if !flood {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        Ok(SubscriptionId::new(id))
    }

    fn openrpc(&self) -> Option<Box<RawValue>> {
        to_raw_value(&json!({"openrpc": "1.0.0"})).ok()
    }
}

/// A running server of [`Fake`].
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

pub(crate) async fn start(limits: Limits) -> Server {
    start_with(limits, Cors::Off, Surface::ALL, Health::new()).await
}

pub(crate) async fn start_with(limits: Limits, cors: Cors, surface: Surface, health: Health) -> Server {
    let service = Service::new(limits);
    let mut registry = Registry::with_prefix("test");
    service.register_metrics(&mut registry);
    serve(service.cors(cors).health(health).registry(Arc::new(registry)), surface).await
}

/// A server that wants tokens of this secret.
pub(crate) async fn start_authenticated(secret: JwtSecret) -> Server {
    let surface = Surface { metrics: false, ..Surface::ALL };
    serve(Service::new(Limits::default()).beside().authenticated(secret), surface).await
}

async fn serve(service: Service, surface: Surface) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let service = service.mount("/", Arc::new(Fake)).mount("/ws", Arc::new(Fake)).shared();
    let task = tokio::spawn(service.serve(listener, surface, stop.clone()));
    Server { address, stop, task }
}

pub(crate) fn check(name: &'static str, finding: Finding) -> Check {
    Check::new(name, move || finding.clone())
}

impl Server {
    pub(crate) async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a socket of its own and returns status and body of the answer.
    pub(crate) async fn raw(&self, request: &str) -> (u16, String) {
        let mut socket = self.socket().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        read_response(&mut socket).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.raw(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await
    }

    pub(crate) async fn post(&self, body: &str) -> (u16, String) {
        self.raw(&post_request(body)).await
    }

    /// Posts a call of `method` and returns the response as JSON.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        serde_json::from_str(&self.post(&body).await.1).unwrap()
    }
}

pub(crate) fn post_request(body: &str) -> String {
    let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length:";
    format!("{head} {}\r\n\r\n{body}", body.len())
}

/// Reads one response with a known length; none when the peer closed instead.
pub(crate) async fn read_response(socket: &mut TcpStream) -> Option<(u16, String)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let status = head.split(' ').nth(1)?.parse().ok()?;
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some((status, String::from_utf8_lossy(&bytes[end + 4..end + 4 + length]).into_owned()));
            }
        }
        let mut chunk = [0; 65_536];
        match socket.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// How long the peer takes to close the socket.
pub(crate) async fn closed_after(socket: &mut TcpStream, patience: Duration) -> Option<Duration> {
    let started = std::time::Instant::now();
    let mut chunk = [0; 4096];
    let closing = async { while !matches!(socket.read(&mut chunk).await, Ok(0) | Err(_)) {} };
    tokio::time::timeout(patience, closing).await.ok()?;
    Some(started.elapsed())
}
