//! The transport over real sockets, with a namespace that does what the test needs.

mod fake;
mod http;
mod sockets;
mod websocket;
