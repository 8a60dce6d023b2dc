//! A port that wants a token: neither calls nor WebSockets without one, health as everywhere.

use std::time::{Duration, SystemTime};

use rpc::JwtSecret;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::fake::start_authenticated;

const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"t_echo","params":[7]}"#;

fn secret(digit: &str) -> JwtSecret {
    JwtSecret::from_hex(&digit.repeat(64)).unwrap()
}

fn request(authorization: Option<&str>) -> String {
    let authorization = authorization.map_or(String::new(), |value| format!("authorization: {value}\r\n"));
    format!(
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{authorization}content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_fresh_token_of_the_secret_gets_an_answer() {
    let server = start_authenticated(secret("a")).await;
    let now = SystemTime::now();
    let old = now - Duration::from_secs(120);
    // Header {"alg":"none"}, no signature.
    let none = "Bearer eyJhbGciOiJub25lIn0.eyJpYXQiOjF9.";
    let table = [
        (Some(format!("Bearer {}", secret("a").token(now))), 200, "[7]"),
        (None, 401, "missing"),
        (Some(format!("Bearer {}", secret("b").token(now))), 401, "different secrets"),
        (Some(format!("Bearer {}", secret("a").token(old))), 401, "60 s"),
        (Some(none.to_owned()), 401, "HS256"),
        (Some("Bearer junk".to_owned()), 401, "cannot be read"),
    ];
    for (authorization, status, word) in table {
        let (answered, text) = server.raw(&request(authorization.as_deref())).await;
        assert_eq!(answered, status, "{authorization:?}: {text}");
        assert!(text.contains(word), "{authorization:?}: {text}");
    }
    assert_eq!(server.get("/").await.0, 401);
    assert_eq!(server.get("/livez").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_needs_the_token_when_it_is_opened() {
    let server = start_authenticated(secret("a")).await;
    let url = format!("ws://{}/", server.address);
    assert!(tokio_tungstenite::connect_async(&url).await.is_err());
    let mut request = url.into_client_request().unwrap();
    let token = secret("a").token(SystemTime::now());
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert!(tokio_tungstenite::connect_async(request).await.is_ok());
}
