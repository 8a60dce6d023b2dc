//! Calls and subscriptions over WebSocket.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use rpc::{Cors, Health, Limits, Surface};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::fake::{Server, start, start_with};

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(server: &Server) -> Self {
        Client(connect_async(format!("ws://{}/ws", server.address)).await.unwrap().0)
    }

    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn call(&mut self, id: u64, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
    }

    /// The next text, or why there is none.
    async fn next(&mut self) -> Result<Value, String> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(5), self.0.next()).await;
            match next.map_err(|_| "silence")? {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(format!("closed {}", frame.map_or(0, |frame| u16::from(frame.code))));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("ended".to_owned()),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_batches_work_over_a_websocket() {
    let server = start(Limits::default()).await;
    let mut client = Client::connect(&server).await;
    client.call(1, "t_echo", json!([5])).await;
    assert_eq!(client.next().await.unwrap(), json!({"jsonrpc": "2.0", "id": 1, "result": [5]}));
    client.send(r#"[{"jsonrpc":"2.0","id":1,"method":"t_echo"},{"jsonrpc":"2.0","id":2,"method":"t_fail"}]"#).await;
    let answer = client.next().await.unwrap();
    assert_eq!((&answer[0]["id"], &answer[1]["error"]["code"]), (&json!(1), &json!(20)));
    client.send("{").await;
    assert_eq!(client.next().await.unwrap()["error"]["code"], -32700);
    client.0.send(Message::binary(r#"{"jsonrpc":"2.0","id":9,"method":"t_echo"}"#)).await.unwrap();
    assert_eq!(client.next().await.unwrap()["id"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_does_not_hold_up_a_quick_one() {
    let server = start(Limits::default()).await;
    let mut client = Client::connect(&server).await;
    client.call(1, "t_slow", json!([400])).await;
    client.call(2, "t_echo", json!([])).await;
    assert_eq!(client.next().await.unwrap()["id"], 2);
    assert_eq!(client.next().await.unwrap()["id"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_speaks_after_its_id_and_until_it_is_ended() {
    let server = start(Limits::default()).await;
    let mut client = Client::connect(&server).await;
    client.call(1, "t_count", json!(["mine"])).await;
    assert_eq!(client.next().await.unwrap(), json!({"jsonrpc": "2.0", "id": 1, "result": "mine"}));
    for count in 0..3 {
        let said = client.next().await.unwrap();
        assert_eq!(said["method"], "t_counted");
        assert_eq!(said["params"]["subscription_id"], "mine");
        assert_eq!(said["params"]["result"], count);
    }
    client.call(2, "t_stop", json!(["mine"])).await;
    while client.next().await.unwrap()["id"] != 2 {}
    client.call(3, "t_stop", json!({"subscription_id": "mine"})).await;
    // Notifications that were queued before the end may still come; then the answer, then silence.
    loop {
        let said = client.next().await.unwrap();
        if said["id"] == 3 {
            assert_eq!(said["error"]["code"], 66);
            break;
        }
    }
    client.call(4, "t_echo", json!([])).await;
    assert_eq!(client.next().await.unwrap()["id"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_counted_and_need_a_websocket() {
    let server = start(Limits { subscriptions_max: 1, ..Limits::default() }).await;
    assert_eq!(server.call("t_count", json!(["x"])).await["error"]["code"], -32601);
    let mut client = Client::connect(&server).await;
    client.call(1, "t_count", json!(["one"])).await;
    assert_eq!(client.next().await.unwrap()["result"], "one");
    client.call(2, "t_count", json!(["two"])).await;
    loop {
        let said = client.next().await.unwrap();
        if said["id"] == 2 {
            assert_eq!(said["error"]["code"], -32006);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_too_slow_is_dropped() {
    let limits = Limits { write_timeout: Duration::from_millis(400), socket_queue_max: 4, ..Limits::default() };
    let server = start(limits).await;
    let mut client = Client::connect(&server).await;
    client.call(1, "t_flood", json!(["flood"])).await;
    // Not reading now. What the kernel holds may be read afterwards, then the connection is over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.next().await.is_ok() {
        assert!(Instant::now() < deadline, "still being served");
    }
    let (_, metrics) = server.get("/metrics").await;
    assert!(metrics.contains("test_rpc_websockets 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_closes_the_socket() {
    let server = start(Limits { message_bytes_max: 1_000, ..Limits::default() }).await;
    let mut client = Client::connect(&server).await;
    let _ = client.0.send(Message::text("x".repeat(2_000))).await;
    assert!(client.next().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_no_ping_is_dropped() {
    let server = start(Limits { ping_interval: Duration::from_millis(200), ..Limits::default() }).await;
    let client = Client::connect(&server).await;
    // Not polled, so no pong goes out.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(server.get("/metrics").await.1.contains("test_rpc_websockets 0"));
    drop(client);
    let mut polled = Client::connect(&server).await;
    let silent = tokio::time::timeout(Duration::from_millis(1_200), polled.0.next());
    // Polling answers pings; only pings come.
    if let Ok(Some(Ok(message))) = silent.await {
        assert!(message.is_ping(), "{message:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_good_bye() {
    let server = start(Limits::default()).await;
    let mut client = Client::connect(&server).await;
    client.call(1, "t_count", json!(["mine"])).await;
    client.next().await.unwrap();
    let started = Instant::now();
    server.stop.cancel();
    let end = loop {
        if let Err(end) = client.next().await {
            break end;
        }
    };
    assert_eq!(end, format!("closed {}", u16::from(CloseCode::Away)));
    server.task.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_may_not_connect() {
    let off = start(Limits::default()).await;
    let on = start_with(Limits::default(), Cors::Any, Surface::ALL, Health::new()).await;
    for (server, allowed) in [(&off, false), (&on, true)] {
        let mut request = format!("ws://{}/", server.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", "http://app.example".parse().unwrap());
        match connect_async(request).await {
            Ok(_) => assert!(allowed),
            Err(tungstenite::Error::Http(response)) => assert!(!allowed && response.status() == 403),
            Err(error) => panic!("{error}"),
        }
    }
}
