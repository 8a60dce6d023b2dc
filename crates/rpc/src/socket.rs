//! One WebSocket: reads messages, works on several at once, writes answers and notifications through one queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connections::Connection;
use crate::dispatch::{Dispatcher, Via};
use crate::namespace::Peer;

/// How long a peer gets to take our close frame.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Serves the socket until either side ends it, it is dropped for being slow, or the service stops.
pub(crate) async fn serve(
    socket: WebSocket,
    dispatcher: Arc<Dispatcher>,
    connection: Connection,
    stop: CancellationToken,
) {
    dispatcher.metrics.sockets.inc();
    let limits = Arc::clone(&dispatcher.limits);
    let (writing, reading) = socket.split();
    let (outbound, queue) = mpsc::channel(limits.socket_queue_max.max(1));
    let peer = Arc::new(Peer {
        outbound,
        closed: connection.dropped().child_token(),
        subscriptions: Mutex::new(BTreeMap::new()),
        permits: Arc::new(Semaphore::new(limits.subscriptions_max.min(Semaphore::MAX_PERMITS))),
        write_timeout: limits.write_timeout,
    });
    let writer = Writer {
        socket: writing,
        queue,
        closed: peer.closed.clone(),
        stop: stop.clone(),
        ping_interval: limits.ping_interval,
        write_timeout: limits.write_timeout,
    };
    let writer = tokio::spawn(writer.run());
    read(reading, &dispatcher, &peer, &stop).await;
    // Ends the subscriptions, which hold tokens below this one; a stop leaves the writer the time to say good-bye.
    if !stop.is_cancelled() {
        peer.closed.cancel();
    }
    let _ = writer.await;
    peer.closed.cancel();
    dispatcher.metrics.sockets.dec();
}

async fn read(
    mut socket: SplitStream<WebSocket>,
    dispatcher: &Arc<Dispatcher>,
    peer: &Arc<Peer>,
    stop: &CancellationToken,
) {
    let limits = &dispatcher.limits;
    let mut working = JoinSet::new();
    let mut silence = tokio::time::interval(limits.ping_interval);
    let mut heard = Instant::now();
    loop {
        let may_read = working.len() < limits.socket_calls_max.max(1);
        let message = tokio::select! {
            biased;
            () = peer.closed.cancelled() => return,
            () = stop.cancelled() => return,
            Some(_) = working.join_next(), if !working.is_empty() => {
                // While nothing was read, silence proves nothing.
                if !may_read { heard = Instant::now(); }
                continue;
            }
            _ = silence.tick() => {
                if may_read && heard.elapsed() > 2 * limits.ping_interval { return; }
                continue;
            }
            message = socket.next(), if may_read => message,
        };
        heard = Instant::now();
        let text = match message {
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
        };
        let (dispatcher, peer) = (Arc::clone(dispatcher), Arc::clone(peer));
        working.spawn(async move {
            let answer = dispatcher.answer(&text, Via::Socket(&peer)).await;
            if let Some(text) = answer.text {
                let _ = peer.send(text).await;
            }
            answer.opened.iter().for_each(CancellationToken::cancel);
        });
    }
}

/// The one task that writes to the socket.
struct Writer {
    socket: SplitSink<WebSocket, Message>,
    queue: mpsc::Receiver<String>,
    closed: CancellationToken,
    stop: CancellationToken,
    ping_interval: Duration,
    write_timeout: Duration,
}

impl Writer {
    async fn run(mut self) {
        let mut ping = tokio::time::interval(self.ping_interval);
        ping.reset();
        loop {
            let message = tokio::select! {
                biased;
                () = self.closed.cancelled() => return self.close(close_code::POLICY, "").await,
                () = self.stop.cancelled() => return self.close(close_code::AWAY, "the server is stopping").await,
                text = self.queue.recv() => match text {
                    Some(text) => Message::Text(Utf8Bytes::from(text)),
                    None => return,
                },
                _ = ping.tick() => Message::Ping(Bytes::new()),
            };
            let sending = tokio::time::timeout(self.write_timeout, self.socket.send(message));
            if !matches!(sending.await, Ok(Ok(()))) {
                return self.closed.cancel();
            }
        }
    }

    async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let closing = async {
            let _ = self.socket.send(Message::Close(Some(frame))).await;
            let _ = self.socket.close().await;
        };
        let _ = tokio::time::timeout(CLOSE_GRACE, closing).await;
    }
}
