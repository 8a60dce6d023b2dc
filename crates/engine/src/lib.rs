//! A remote execution engine as a [`node::Backend`]: op-geth, op-reth, or our own EVM chain, behind the Engine API.
//!
//! ```text
//!                 order ──► AttributesBuilder ──► attributes
//!                                                     ▼
//!   driver ──► EngineBackend ──► EngineClient ──► Transport ──► HttpTransport ──(token)──► the engine
//!     │             ▲                │                └───────► an engine in this process
//!     ▼             │ imported again └► Observer: how long, how it ended
//!   Handed ─────────┘
//! ```
//!
//! What it deliberately does not know: how attributes are made and where L1 is, when a block is due and whether it is
//! decided, what is on the other side of a [`Transport`], and any metrics library.
//!
//! Start with [`EngineBackend`] and [`EngineClient`].
//!
//! ```
//! use std::sync::Arc;
//! use engine::{DEADLINE, EngineClient, HttpTransport, Secret};
//!
//! let secret = Secret::from_hex("0x0011223344556677889900112233445566778899001122334455667788990011")?;
//! let transport = HttpTransport::new("http://127.0.0.1:8551", Some(secret))?;
//! let client = EngineClient::new(Arc::new(transport), DEADLINE);
//! # drop(client);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backend;
mod block;
mod body;
mod capabilities;
mod client;
mod envelope;
mod failure;
mod handed;
mod http;
mod secret;
mod transport;

pub use backend::{AttributesBuilder, EngineBackend, SYNCING};
pub use block::{BlockAt, WholeBlock};
pub use body::{BODY_BYTES_MAX, BadBody, block_ref, cited_origin, decode_body, encode_body, to_payload};
pub use client::{DEADLINE, Ended, EngineClient, Observer, Outcome};
pub use envelope::{envelope_from_json, envelope_to_json};
pub use failure::EngineError;
pub use handed::{Handed, HandedError};
pub use http::{BadUrl, HttpTransport};
pub use secret::{Secret, SecretError};
pub use transport::{CallError, Transport};
