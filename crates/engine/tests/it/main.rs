//! The backend against our own EVM chain's Engine API: in this process and over HTTP, sound and faulty.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod blocks;
mod conformance;
mod faults;
mod http;
mod restart;
mod vectors;
mod world;
