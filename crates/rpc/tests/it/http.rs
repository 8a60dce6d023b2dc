//! Requests by POST, limits of one request, health and metrics.

use std::time::Duration;

use rpc::{Cors, Finding, Health, Limits, Surface};
use serde_json::{Value, json};

use crate::fake::{check, start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_answered_as_json_rpc_says() {
    let server = start(Limits::default()).await;
    let table = [
        (r#"{"jsonrpc":"2.0","id":1,"method":"t_echo","params":[7]}"#, 200, r#"{"jsonrpc":"2.0","id":1,"result":[7]}"#),
        (r#"{"jsonrpc":"2.0","id":"a","method":"t_echo"}"#, 200, r#"{"jsonrpc":"2.0","id":"a","result":null}"#),
        (r#"{"jsonrpc":"2.0","id":null,"method":"t_echo"}"#, 200, r#"{"jsonrpc":"2.0","id":null,"result":null}"#),
        (r#"{"jsonrpc":"2.0","method":"t_echo"}"#, 204, ""),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"t_fail"}"#,
            200,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":20,"message":"Contract not found","data":"0x1"}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"nope"}"#,
            200,
            concat!(
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found","#,
                r#""data":"nope is not a method of this endpoint"}}"#
            ),
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"t_echo"},{"jsonrpc":"2.0","method":"t_echo"},{"jsonrpc":"2.0","id":2,"method":"t_echo","params":{"a":1}}]"#,
            200,
            r#"[{"jsonrpc":"2.0","id":1,"result":null},{"jsonrpc":"2.0","id":2,"result":{"a":1}}]"#,
        ),
        (r#"[{"jsonrpc":"2.0","method":"t_echo"}]"#, 204, ""),
    ];
    for (body, status, expected) in table {
        assert_eq!(server.post(body).await, (status, expected.to_owned()), "for {body}");
    }
    for (body, code) in [("{", -32700), ("[]", -32600), ("1", -32600), (r#"{"jsonrpc":"2.0","id":1}"#, -32600)] {
        let (status, text) = server.post(body).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, answer["error"]["code"].as_i64()), (200, Some(code)), "for {body}");
    }
    assert_eq!(server.call("rpc.discover", json!([])).await["result"]["openrpc"], "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_answer_and_nothing_else() {
    let server = start(Limits::default()).await;
    assert_eq!(server.call("t_panic", json!([])).await["error"]["code"], -32603);
    assert_eq!(server.call("t_echo", json!([1])).await["result"], json!([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_by_name() {
    let limits = Limits { body_bytes_max: 2_000, batch_calls_max: 3, response_bytes_max: 1_500, ..Limits::default() };
    let server = start(limits).await;
    let padded = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"t_echo","params":["{}"]}}"#, "x".repeat(2_000));
    let (status, text) = server.post(&padded).await;
    assert_eq!(status, 413);
    assert!(text.contains("-32007"), "{text}");
    // A body without a length, too long as well.
    let chunk = "x".repeat(3_000);
    let request = format!(
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    assert_eq!(server.raw(&request).await.0, 413);

    let one = r#"{"jsonrpc":"2.0","id":1,"method":"t_large","params":[1000]}"#;
    assert!(server.post(&format!("[{one},{one},{one},{one}]")).await.1.contains("-32010"));
    assert_eq!(server.call("t_large", json!([1_600])).await["error"]["code"], -32008);
    // Together too large: the first fits, the second does not, and each keeps its id.
    let answer: Value = serde_json::from_str(&server.post(&format!("[{one},{one}]")).await.1).unwrap();
    assert!(answer[0]["result"].is_string());
    assert_eq!(answer[1]["error"]["code"], -32008);
    assert_eq!(answer[1]["id"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_can_be_switched_off() {
    let server = start(Limits { batch_calls_max: 0, ..Limits::default() }).await;
    assert!(server.post(r#"[{"jsonrpc":"2.0","id":1,"method":"t_echo"}]"#).await.1.contains("-32005"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_given_up() {
    let server = start(Limits { request_timeout: Duration::from_millis(80), ..Limits::default() }).await;
    assert_eq!(server.call("t_slow", json!([5_000])).await["error"]["code"], -32000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_says_so() {
    let server = start(Limits { concurrent_calls_max: 1, ..Limits::default() }).await;
    // One works, one waits, the third is sent away.
    let slow = || server.call("t_slow", json!([400]));
    let (first, second, third) = tokio::join!(slow(), slow(), slow());
    let mut codes: Vec<_> = [first, second, third].iter().map(|answer| answer["error"]["code"].as_i64()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [None, None, Some(-32009)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_json_is_read_and_people_are_greeted() {
    let server = start(Limits::default()).await;
    let (status, advice) = server.raw("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\n{}").await;
    assert_eq!(status, 415);
    assert!(advice.contains("content-type: application/json"));
    let (status, greeting) = server.get("/").await;
    assert_eq!(status, 200);
    assert!(greeting.contains("JSON-RPC"));
    assert_eq!(server.get("/nowhere").await.0, 404);
    assert_eq!(server.raw("PUT / HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n").await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn cors_is_off_until_asked_for() {
    let preflight = concat!(
        "OPTIONS / HTTP/1.1\r\nhost: t\r\norigin: http://app.example\r\n",
        "access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n"
    );
    let off = start(Limits::default()).await;
    assert_eq!(off.raw(preflight).await.0, 405);
    let on = start_with(Limits::default(), Cors::Any, Surface::ALL, Health::new()).await;
    assert_eq!(on.raw(preflight).await.0, 200);
    let client = reqwest::Client::new();
    let response = client.post(format!("http://{}/", on.address)).header("origin", "http://app.example");
    let response = response.header("content-type", "application/json").body("{}").send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_why() {
    let health = Health::new().live(check("loop", Finding::Good("turning".to_owned()))).ready(check(
        "blocks",
        Finding::Bad(rpc::Fault {
            cause: "stopped".to_owned(),
            reason: "no block for 3 s".to_owned(),
            remedy: "start it".to_owned(),
        }),
    ));
    let server = start_with(Limits::default(), Cors::Off, Surface::ALL, health).await;
    for path in ["/livez", "/live", "/is_alive"] {
        assert_eq!(server.get(path).await.0, 200, "{path}");
    }
    for path in ["/readyz", "/ready", "/ready/sync", "/ready/synced", "/health", "/healthz"] {
        let (status, body) = server.get(path).await;
        assert_eq!(status, 503, "{path}");
        assert!(body.contains("no block for 3 s"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_by_method_and_code() {
    let server = start(Limits::default()).await;
    server.call("t_echo", json!([])).await;
    server.call("t_fail", json!([])).await;
    server.call("made_up_by_a_stranger", json!([])).await;
    let (status, text) = server.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"test_rpc_requests_total{method="t_echo",code="0"} 1"#,
        r#"test_rpc_requests_total{method="t_fail",code="20"} 1"#,
        r#"test_rpc_request_duration_seconds_count{method="t_echo"} 1"#,
        r#"test_rpc_refused_total{code="-32601"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("made_up_by_a_stranger"));
    // This request's own, and perhaps one of before that its end has not reached yet.
    let connections = text.lines().find_map(|line| line.strip_prefix("test_rpc_connections ")).expect("counted");
    assert!((1..=4).contains(&connections.parse::<u32>().expect("a number")), "{connections}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_shows_only_its_surface() {
    let table = [
        (Surface::METRICS, 404, 200, 200),
        (Surface::WEBSOCKET, 403, 200, 404),
        (Surface { http: true, websocket: false, health: false, metrics: false }, 200, 404, 404),
    ];
    for (surface, post, health, metrics) in table {
        let server = start_with(Limits::default(), Cors::Off, surface, Health::new()).await;
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"t_echo"}"#;
        let seen = (server.post(call).await.0, server.get("/readyz").await.0, server.get("/metrics").await.0);
        assert_eq!(seen, (post, health, metrics), "{surface:?}");
    }
}
