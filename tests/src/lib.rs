//! The harness of the end-to-end tests: it starts the real `sequenza` in a folder of its own, talks to it as a stranger
//! would, stops it gently or not, and shows its log when a test fails.
//!
//! It knows the command line and JSON-RPC and nothing else: no room of ours is linked in, so that a mistake in our own
//! types cannot hide itself. Start from [`Launch`] and [`Chain`]; `cargo xtask test` prepares what is needed.
//!
//! ```no_run
//! # async fn example() {
//! let chain = tests::Launch::new().flag("--seq-block-time", "200ms").start().await;
//! assert_eq!(chain.rpc("starknet_specVersion", serde_json::json!([])).await, Ok("0.10.2".into()));
//! # }
//! ```

mod anvil;
mod chain;
mod clients;
mod conductor;
mod l1_info;
mod launch;
mod proxy;
mod wallet;

use std::io::Write;
use std::path::PathBuf;

pub use starknet_crypto::Felt;

pub use crate::anvil::Anvil;
pub use crate::chain::{Caller, Chain, RpcError};
pub use crate::clients::{javascript, python, viem};
pub use crate::conductor::{Call, Conductors, Mishap};
pub use crate::l1_info::L1Info;
pub use crate::launch::{Ended, Launch, program};
pub use crate::proxy::{Fate, Proxy};
pub use crate::wallet::{Account, SignedTransfer, hex};

/// The STRK token, at the address that it has on every public network.
pub const STRK: &str = "0x4718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d";

/// Says that a test cannot run on this machine and why; `cargo xtask test` repeats it in its summary.
///
/// It writes past the test runner's capture: a reader of a green run must see what was not tested.
pub fn skipped(test: &str, reason: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
}

/// A folder of the shared test vectors, when they are on this machine.
///
/// They lie beside the repository, or where `SEQUENZA_VECTORS` says.
pub fn vectors(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SEQUENZA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"), PathBuf::from);
    root.join(folder).canonicalize().ok()
}
