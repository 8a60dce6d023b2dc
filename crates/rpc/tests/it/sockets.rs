//! Slow, silent and surplus sockets, and the end of the server.

use std::time::{Duration, Instant};

use rpc::Limits;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::fake::{closed_after, post_request, read_response, start};

fn quick() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(600),
        body_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(1_500),
        write_timeout: Duration::from_millis(500),
        stop_grace: Duration::from_millis(800),
        ..Limits::default()
    }
}

const ECHO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"t_echo"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_headers_are_closed_in_time() {
    let server = start(quick()).await;
    for begun in ["", "POST / HTTP/1.1\r\nhost: t\r\n"] {
        let mut socket = server.socket().await;
        socket.write_all(begun.as_bytes()).await.unwrap();
        let took = closed_after(&mut socket, Duration::from_secs(3)).await.expect("closed");
        assert!(took < Duration::from_millis(1_300), "{begun:?} was left open for {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_drips_is_closed_in_time() {
    let server = start(quick()).await;
    let mut socket = server.socket().await;
    let started = Instant::now();
    loop {
        if socket.write_all(b"x").await.is_err() {
            break;
        }
        if closed_after(&mut socket, Duration::from_millis(50)).await.is_some() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(3), "still open");
    }
    assert!(started.elapsed() < Duration::from_millis(1_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_has_the_headers_patience_too() {
    let server = start(quick()).await;
    let mut socket = server.socket().await;
    socket.write_all(post_request(ECHO).as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut socket).await.unwrap().0, 200);
    // Longer than a header may take, shorter than a connection may idle.
    tokio::time::sleep(Duration::from_millis(900)).await;
    socket.write_all(post_request(ECHO).as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut socket).await.unwrap().0, 200, "an idle connection lives on");
    socket.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    let took = closed_after(&mut socket, Duration::from_secs(3)).await.expect("closed");
    assert!(took < Duration::from_millis(1_300), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_after_its_time() {
    let server = start(quick()).await;
    let mut socket = server.socket().await;
    socket.write_all(post_request(ECHO).as_bytes()).await.unwrap();
    assert_eq!(read_response(&mut socket).await.unwrap().0, 200);
    let took = closed_after(&mut socket, Duration::from_secs(4)).await.expect("closed");
    assert!(took > Duration::from_millis(1_200) && took < Duration::from_millis(2_300), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_answered_408() {
    let server = start(quick()).await;
    let request = "POST / HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    assert_eq!(server.raw(request).await.0, 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_dropped() {
    let server = start(Limits { response_bytes_max: 80_000_000, ..quick() }).await;
    let mut socket = server.socket().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"t_large","params":[60000000]}"#;
    socket.write_all(post_request(body).as_bytes()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (_, text) = server.get("/metrics").await;
        if text.contains("test_rpc_connections_dropped_total 1") {
            break;
        }
        assert!(Instant::now() < deadline, "the connection is still open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_sockets_locks_nobody_out() {
    let server = start(Limits { connections_max: 20, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut socket = server.socket().await;
        let _ = socket.write_all(b"POST / HT").await;
        silent.push(socket);
    }
    for _ in 0..10 {
        let started = Instant::now();
        assert_eq!(server.call("t_echo", json!([1])).await["result"], json!([1]));
        assert!(started.elapsed() < Duration::from_millis(500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_places_are_at_work_a_newcomer_is_told() {
    let server = start(Limits { connections_max: 2, ..Limits::default() }).await;
    let slow = || server.call("t_slow", json!([600]));
    let late = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut socket = server.socket().await;
        read_response(&mut socket).await
    };
    let (first, second, late) = tokio::join!(slow(), slow(), late);
    assert_eq!((first["result"].as_str(), second["result"].as_str()), (Some("done"), Some("done")));
    assert_eq!(late.map(|(status, _)| status), Some(503));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_finish_and_then_closes_everything() {
    let server = start(quick()).await;
    let mut idle = server.socket().await;
    let mut half = server.socket().await;
    half.write_all(b"POST / HT").await.unwrap();
    let mut working = server.socket().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"t_slow","params":[300]}"#;
    working.write_all(post_request(body).as_bytes()).await.unwrap();
    let mut endless = server.socket().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"t_slow","params":[50000]}"#;
    endless.write_all(post_request(body).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;

    let started = Instant::now();
    server.stop.cancel();
    assert!(read_response(&mut working).await.unwrap().1.contains("done"), "work under way is finished");
    server.task.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
    for socket in [&mut idle, &mut half, &mut endless] {
        assert!(closed_after(socket, Duration::from_secs(1)).await.is_some());
    }
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "the port is free again");
}
