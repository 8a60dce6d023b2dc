//! The chain without the network: blocks are built, stored, recovered and checked.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod building;
mod genesis;
mod kit;
mod life;
mod measure;
mod recovery;
mod vectors;
