//! A server on a port of its own that answers JSON-RPC as a test wants it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use futures::future::BoxFuture;
use l1::{Source, SourceConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// What is answered to one call.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Result(Value),
    Error(i64, &'static str),
    /// Whatever bytes, with this status.
    Raw(u16, String),
    /// Nothing, ever.
    Hang,
    /// After a while.
    Late(Duration, Box<Reply>),
}

/// Answers to a method and its parameters.
pub(crate) type Handler = Arc<dyn Fn(String, Value) -> BoxFuture<'static, Reply> + Send + Sync>;

/// Ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let answer = move |body: Bytes| {
            counted.fetch_add(1, Ordering::SeqCst);
            let handler = Arc::clone(&handler);
            async move {
                let request: Value = serde_json::from_slice(&body).unwrap();
                let method = request["method"].as_str().unwrap().to_owned();
                respond(request["id"].clone(), handler(method, request["params"].clone()).await).await
            }
        };
        let app = Router::new().fallback(answer);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, calls, task }
    }

    /// One whose answers need no waiting.
    pub(crate) async fn answering(reply: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let reply = Arc::new(reply);
        Self::start(Arc::new(move |method, params| {
            let reply = reply(&method, &params);
            Box::pin(async move { reply })
        }))
        .await
    }

    pub(crate) fn config(&self) -> SourceConfig {
        config(self.address)
    }

    pub(crate) fn source(&self) -> Source {
        Source::new(self.config()).unwrap()
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

pub(crate) fn config(address: SocketAddr) -> SourceConfig {
    SourceConfig::new(Url::parse(&format!("http://{address}/?key=key-that-nobody-may-see")).unwrap())
}

async fn respond(id: Value, mut reply: Reply) -> Response<Body> {
    loop {
        reply = match reply {
            Reply::Late(after, then) => {
                tokio::time::sleep(after).await;
                *then
            }
            Reply::Hang => std::future::pending().await,
            Reply::Raw(status, body) => return (StatusCode::from_u16(status).unwrap(), body).into_response(),
            Reply::Result(result) => {
                return json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string().into_response();
            }
            Reply::Error(code, message) => {
                let error = json!({ "code": code, "message": message });
                return json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string().into_response();
            }
        };
    }
}
