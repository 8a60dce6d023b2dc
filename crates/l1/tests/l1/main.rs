//! L1 through the eyes of crate `l1`: random chains, published blocks, endpoints that misbehave, and a real anvil.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod anvil;
mod beacon;
mod endpoints;
mod random_chains;
mod server;
mod vectors;
mod world;
