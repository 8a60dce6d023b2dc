//! Every bound of the transport, in one place.

use std::time::Duration;

/// What one client, and all clients together, may ask of the transport.
///
/// Each field is enforced and tested. The defaults suit a node that one team uses; a public one will want a proxy that
/// counts requests per client in front of it, which this crate does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one HTTP request body. More is answered with 413. Default 5 MB.
    pub body_bytes_max: usize,
    /// Bytes of one WebSocket message or frame. More closes the socket with code 1009. Default 5 MB.
    pub message_bytes_max: usize,
    /// Calls in one batch; 0 refuses every batch. Default 100.
    pub batch_calls_max: usize,
    /// Bytes of the results in one response, a batch's taken together. Default 15 MB.
    pub response_bytes_max: usize,
    /// Open sockets, half-open and idle ones included. When all are taken, the longest-waiting socket that is not
    /// serving a request makes room, so that a flood of silent sockets does not lock anyone out. Default 1000.
    pub connections_max: usize,
    /// From the first byte of a request (or from accepting the socket) to the end of its headers. Default 10 s.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body. Default 30 s.
    pub body_timeout: Duration,
    /// How long a kept-alive connection may stay silent between two requests. Default 60 s.
    pub idle_timeout: Duration,
    /// How long a peer may leave what we write unread before its connection is dropped. Default 20 s.
    pub write_timeout: Duration,
    /// How long one call may take, waiting for its turn included. Default 60 s.
    pub request_timeout: Duration,
    /// Calls being worked on at once, over all connections; as many again may wait for a turn, the rest are told that
    /// the server is busy. Default 1024.
    pub concurrent_calls_max: usize,
    /// Messages of one WebSocket being worked on at once; further ones are not read until one is answered. Default 32.
    pub socket_calls_max: usize,
    /// Messages waiting to be written to one WebSocket. When they stay that many for [`Limits::write_timeout`], the
    /// reader is too slow and is dropped. Default 512.
    pub socket_queue_max: usize,
    /// Subscriptions alive on one WebSocket. Default 1024.
    pub subscriptions_max: usize,
    /// A ping goes out each time this has passed; a peer silent for twice as long is dropped. Default 30 s.
    pub ping_interval: Duration,
    /// How long open requests and sockets may take to end once the service is told to stop. Default 5 s.
    pub stop_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes_max: 5_000_000,
            message_bytes_max: 5_000_000,
            batch_calls_max: 100,
            response_bytes_max: 15_000_000,
            connections_max: 1_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(60),
            concurrent_calls_max: 1_024,
            socket_calls_max: 32,
            socket_queue_max: 512,
            subscriptions_max: 1_024,
            ping_interval: Duration::from_secs(30),
            stop_grace: Duration::from_secs(5),
        }
    }
}
