//! JSON-RPC 2.0 over HTTP and WebSocket on one port, with limits, health and metrics.
//!
//! The crate owns its accept loop and its dispatcher. It knows sockets, frames, ids, batches and limits; it
//! deliberately knows nothing of any chain: not a method name, not an error code above the ones of JSON-RPC, not how a
//! subscription's notification is shaped (`docs/adr/0001-own-json-rpc-dispatcher.md` says why). A chain is a
//! [`Namespace`]; the binary mounts it.
//!
//! Start from two types: [`Namespace`], what answers calls, and [`Service`], what carries it: mounts, [`Limits`],
//! [`Health`], metrics. One `Service` may listen on several sockets, each showing a [`Surface`] of it.
//!
//! ```
//! use std::sync::Arc;
//! use rpc::{ErrorObject, Limits, Namespace, Service, Surface};
//! use serde_json::value::{RawValue, to_raw_value};
//!
//! struct Clock;
//!
//! #[async_trait::async_trait]
//! impl Namespace for Clock {
//!     fn methods(&self) -> Vec<String> {
//!         vec!["clock_now".to_owned()]
//!     }
//!     async fn call(&self, _method: &str, _params: Option<&RawValue>) -> Result<Box<RawValue>, ErrorObject> {
//!         to_raw_value(&7).map_err(|error| ErrorObject::internal(error))
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let service = Service::new(Limits::default()).mount("/", Arc::new(Clock)).shared();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
//! let address = listener.local_addr().unwrap();
//! let stop = tokio_util::sync::CancellationToken::new();
//! let server = tokio::spawn(service.serve(listener, Surface::ALL, stop.clone()));
//!
//! let answer = reqwest::Client::new()
//!     .post(format!("http://{address}/"))
//!     .header("content-type", "application/json")
//!     .body(r#"{"jsonrpc":"2.0","id":1,"method":"clock_now"}"#)
//!     .send().await.unwrap().text().await.unwrap();
//! assert_eq!(answer, r#"{"jsonrpc":"2.0","id":1,"result":7}"#);
//!
//! stop.cancel();
//! server.await.unwrap();
//! # });
//! ```

mod connections;
mod dispatch;
mod health;
mod jwt;
mod limits;
mod message;
mod metrics;
mod namespace;
mod routes;
mod server;
mod socket;

pub use health::{Check, Fault, Finding, Health};
pub use jwt::{Denied, JwtSecret, SecretError};
pub use limits::Limits;
pub use message::ErrorObject;
pub use namespace::{Closed, Namespace, Sink, SubscriptionId};
pub use server::{Cors, Service, Surface};
