//! Something between a node and a JSON-RPC server that does what a test wants of the calls: an L1 that hangs or lies, an engine that fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long a call may take behind the proxy.
const FORWARD_MAX: Duration = Duration::from_secs(30);

/// What becomes of one call.
pub enum Fate {
    /// It goes through.
    Pass,
    /// It goes through with other parameters.
    Asked(Value),
    /// It goes through, and its result is changed on the way back.
    Changed(fn(&mut Value)),
    /// It is answered with this result and goes nowhere.
    Answered(Value),
    /// It is answered with an error of this code and goes nowhere.
    Refused(i64),
    /// It goes nowhere, and no answer comes.
    Hangs,
    /// It goes through, and its answer does not come back.
    Swallowed,
}

type Rule = Arc<dyn Fn(&str, &Value) -> Fate + Send + Sync>;

/// A running proxy; gone when dropped.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
}

struct Shared {
    target: String,
    client: reqwest::Client,
    rule: Mutex<Rule>,
    /// Methods in the order in which they were called.
    called: Mutex<Vec<String>>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target`.
    pub async fn start(target: impl Into<String>) -> Proxy {
        let client = reqwest::Client::builder().timeout(FORWARD_MAX).no_proxy().build();
        let shared = Arc::new(Shared {
            target: target.into(),
            client: client.expect("a plain client needs nothing from outside"),
            rule: Mutex::new(Arc::new(|_: &str, _: &Value| Fate::Pass)),
            called: Mutex::default(),
        });
        let router = Router::new().fallback(take).layer(DefaultBodyLimit::disable()).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let served = tokio::spawn(async move {
            // It ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Proxy { url, shared, served }
    }

    /// Where it listens.
    pub fn http(&self) -> &str {
        &self.url
    }

    /// What becomes of each call from now on, by its method and parameters.
    pub fn rule(&self, rule: impl Fn(&str, &Value) -> Fate + Send + Sync + 'static) {
        *locked(&self.shared.rule) = Arc::new(rule);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.rule(|_, _| Fate::Pass);
    }

    /// How many calls of methods that begin so there were so far.
    pub fn calls(&self, method: &str) -> usize {
        locked(&self.shared.called).iter().filter(|called| called.starts_with(method)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(mut request) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "no JSON").into_response();
    };
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    locked(&shared.called).push(method.clone());
    let rule = locked(&shared.rule).clone();
    let fate = rule(&method, &request["params"]);
    let id = request["id"].clone();
    match fate {
        Fate::Hangs => std::future::pending().await,
        Fate::Answered(result) => json_answer(&json!({ "jsonrpc": "2.0", "id": id, "result": result })),
        Fate::Refused(code) => {
            let error = json!({ "code": code, "message": "the test wants it so" });
            json_answer(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
        }
        Fate::Swallowed => {
            let _ = forward(&shared, &headers, &request).await;
            std::future::pending().await
        }
        Fate::Asked(params) => {
            request["params"] = params;
            forward(&shared, &headers, &request).await
        }
        Fate::Pass => forward(&shared, &headers, &request).await,
        Fate::Changed(change) => match answer(&shared, &headers, &request).await {
            Ok(mut answer) => {
                change(&mut answer["result"]);
                json_answer(&answer)
            }
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        },
    }
}

async fn forward(shared: &Shared, headers: &HeaderMap, request: &Value) -> Response {
    match answer(shared, headers, request).await {
        Ok(answer) => json_answer(&answer),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn answer(shared: &Shared, headers: &HeaderMap, request: &Value) -> reqwest::Result<Value> {
    let mut post = shared.client.post(&shared.target).json(request);
    if let Some(token) = headers.get(header::AUTHORIZATION) {
        post = post.header(header::AUTHORIZATION, token);
    }
    post.send().await?.error_for_status()?.json().await
}

fn json_answer(answer: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
