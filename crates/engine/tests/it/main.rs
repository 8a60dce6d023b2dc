//! The backend against our own EVM chain's Engine API: in this process and over HTTP, sound and faulty.

mod blocks;
mod conformance;
mod faults;
mod http;
mod restart;
mod vectors;
mod world;
