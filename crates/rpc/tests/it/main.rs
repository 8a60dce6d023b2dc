//! The transport over real sockets, with a namespace that does what the test needs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod authentication;
mod fake;
mod http;
mod sockets;
mod websocket;
