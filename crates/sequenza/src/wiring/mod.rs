//! From settings to a running chain: opens everything in order, says so, and stays until something ends it.
//!
//! ```text
//!  sockets ─► data folder ─► chain ─► pool ─► builder ─► driver
//!                              └────────┴──► JSON-RPC, health, metrics on the sockets
//! ```
//!
//! Sockets come first because a port in use is the most common fault and costs nothing to find. What every chain has
//! stands in `process`, `drive` and `folder`; what is a chain's own in `starknet`,
//! `evm` and `rollup`.

mod drive;
mod evm;
mod folder;
mod gauges;
mod listen;
mod mining;
mod namespace;
mod process;
mod rollup;
mod starknet;
mod stop;

pub(crate) use self::evm::{run as run_evm, verify as verify_evm};
pub(crate) use self::folder::holds_chain;
pub(crate) use self::rollup::{Custom, open as open_node, run as run_node};
pub(crate) use self::starknet::{open_chain, run as run_starknet};
