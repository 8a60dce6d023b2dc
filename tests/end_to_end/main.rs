//! The real binary in the hands of real clients, and of a harsh world.
//!
//! Each test says which bug it guards against. `cargo xtask test` sets up what they need; a test that cannot run on a
//! machine says so on standard error.

// Everything here is a test, in which a panic is the report.
#![allow(clippy::unwrap_used)]

mod alloy_client;
mod command_line;
mod crash;
mod disk;
mod engine_api;
mod evm;
mod evm_crash;
mod evm_state;
mod health;
mod javascript;
mod juno;
mod messages;
mod op_conductor;
mod op_engine_trouble;
mod op_follow_source;
mod op_l1_changes;
mod op_l1_trouble;
mod op_library;
mod op_node;
mod op_registry;
mod python;
mod rust_client;
mod websocket;
mod why;
