//! The same over HTTP, with tokens.

use std::net::SocketAddr;
use std::sync::Arc;

use alloy_rpc_types_engine::JwtSecret;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use engine::{CallError, EngineBackend, EngineClient, EngineError, HttpTransport, Secret, Transport};
use node::conformance::{self, order_on};
use node::{Backend, Sealed};
use optimism::Fork;
use parking_lot::Mutex;
use serde_json::{Value, json};
use types::{BuildId, Failure, Verdict};

use crate::world::{Host, PATIENT, World, rules};

const SECRET: &str = "0x0011223344556677889900112233445566778899001122334455667788990011";

/// What the port does instead of passing a call on.
#[derive(Clone, Debug, Default)]
enum Mood {
    #[default]
    Sound,
    Status(u16, &'static str),
    Body(&'static str),
    Endless,
}

struct Port {
    host: Arc<Host>,
    mood: Mutex<Mood>,
    called: Mutex<usize>,
}

/// Serves the engine's authenticated port.
async fn serve(host: Arc<Host>) -> (SocketAddr, Arc<Port>) {
    let port = Arc::new(Port { host, mood: Mutex::default(), called: Mutex::default() });
    let routes = Router::new().route("/", post(answer)).layer(axum::extract::DefaultBodyLimit::disable());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = routes.with_state(port.clone());
    tokio::spawn(async move { axum::serve(listener, service).await });
    (address, port)
}

async fn answer(State(port): State<Arc<Port>>, headers: HeaderMap, body: String) -> Response {
    *port.called.lock() += 1;
    let mood = port.mood.lock().clone();
    match mood {
        Mood::Sound => {}
        Mood::Status(status, text) => {
            let place = [(header::LOCATION, "http://127.0.0.1:1/")];
            return (StatusCode::from_u16(status).unwrap(), place, text).into_response();
        }
        Mood::Body(text) => return text.into_response(),
        Mood::Endless => {
            let chunk = Ok::<_, std::convert::Infallible>(vec![b' '; 1 << 20]);
            return Body::from_stream(futures::stream::repeat(chunk)).into_response();
        }
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let let_in = token.is_some_and(|token| JwtSecret::from_hex(SECRET).unwrap().validate(token).is_ok());
    if !let_in {
        return (StatusCode::UNAUTHORIZED, "no sound token").into_response();
    }
    let request: Value = serde_json::from_str(&body).unwrap();
    let answer = port.host.call(request["method"].as_str().unwrap(), request["params"].clone()).await;
    let mut message = json!({ "jsonrpc": "2.0", "id": request["id"] });
    match answer {
        Ok(result) => message["result"] = result,
        Err(CallError::Rpc { code, message: text }) => message["error"] = json!({ "code": code, "message": text }),
        Err(other) => return (StatusCode::BAD_GATEWAY, other.to_string()).into_response(),
    }
    message.to_string().into_response()
}

fn client(address: SocketAddr, secret: Option<&str>) -> EngineClient {
    let secret = secret.map(|text| Secret::from_hex(text).unwrap());
    EngineClient::new(Arc::new(HttpTransport::new(&format!("http://{address}"), secret).unwrap()), PATIENT)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_over_http() {
    let worlds = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    conformance::check_all(|| async {
        let world = World::new(Fork::Karst).await;
        let (address, _) = serve(world.host.clone()).await;
        let client = client(address, Some(SECRET));
        client.check(&world.config, crate::world::BEGAN).await.unwrap();
        let backend = EngineBackend::new(client.clone(), world.config.clone(), rules(&client, &world.config));
        worlds.lock().await.push(world);
        Arc::new(backend) as conformance::Subject
    })
    .await;
}

#[tokio::test]
async fn without_the_secret_nobody_is_let_in() {
    let world = World::new(Fork::Karst).await;
    let (address, _) = serve(world.host.clone()).await;
    for secret in [None, Some("11".repeat(32))] {
        let error = client(address, secret.as_deref()).chain_id().await.unwrap_err();
        assert!(error.to_string().contains("JWT secret"), "{error}");
        assert_eq!(error.failure(), Failure::Fatal);
    }
    assert_eq!(client(address, Some(SECRET)).chain_id().await, Ok(crate::world::CHAIN_ID));
}

#[tokio::test]
async fn a_port_that_is_not_an_engines_is_told_apart() {
    let world = World::new(Fork::Karst).await;
    let (address, port) = serve(world.host.clone()).await;
    let client = client(address, Some(SECRET));
    let table = [
        (Mood::Status(503, "restarting"), Failure::Retry, "restarting"),
        (Mood::Status(429, "slowly"), Failure::Retry, "429"),
        (Mood::Status(404, "not here"), Failure::Fatal, "404"),
        (Mood::Status(302, "over there"), Failure::Fatal, "302"),
        (Mood::Status(403, "no"), Failure::Fatal, "JWT secret"),
        (Mood::Body("<html>"), Failure::Retry, "no JSON-RPC"),
        (Mood::Body(""), Failure::Retry, "no JSON-RPC"),
        (Mood::Body(r#"{"jsonrpc":"2.0","id":0,"result":"0x1"}"#), Failure::Retry, "answers call 0"),
        (Mood::Endless, Failure::Fatal, "larger than"),
    ];
    for (mood, failure, word) in table {
        *port.mood.lock() = mood.clone();
        let before = *port.called.lock();
        let error = client.chain_id().await.unwrap_err();
        assert_eq!(error.failure(), failure, "{mood:?}: {error}");
        assert!(error.to_string().contains(word), "{mood:?}: {error}");
        assert_eq!(*port.called.lock(), before + 1, "nothing is repeated by itself, and nothing followed");
    }
    *port.mood.lock() = Mood::Sound;
    assert_eq!(client.chain_id().await, Ok(crate::world::CHAIN_ID));
}

#[tokio::test]
async fn where_nobody_listens_the_call_is_to_be_repeated() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(address, Some(SECRET)).chain_id().await.unwrap_err();
    assert!(matches!(&error, EngineError::Call { cause: CallError::Unreachable(_), .. }), "{error}");
    assert_eq!(error.failure(), Failure::Retry);
}

/// The connection breaks and the server comes back with nothing in memory: in the middle of a build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_is_found_again() {
    let world = World::new(Fork::Karst).await;
    let (address, port) = serve(world.host.clone()).await;
    let client = client(address, Some(SECRET));
    let backend = EngineBackend::new(client.clone(), world.config.clone(), rules(&client, &world.config));
    let order = order_on(backend.heads().await.unwrap().unsafe_head());
    backend.open(BuildId::new(1), order).await.unwrap();
    world.host.stop();
    let error = backend.seal(BuildId::new(1)).await.unwrap_err();
    assert_eq!(error.failure(), Failure::Retry, "{error}");
    world.host.start();
    let error = backend.seal(BuildId::new(1)).await.unwrap_err();
    assert_eq!(error.failure(), Failure::Reset, "{error}");
    backend.open(BuildId::new(2), order).await.unwrap();
    let Sealed::Payload(payload) = backend.seal(BuildId::new(2)).await.unwrap() else { panic!("a block") };
    assert_eq!(backend.import(&payload).await, Ok(Verdict::Valid));
    assert!(*port.called.lock() > 5);
}
