//! The chain without the network: blocks are built, stored, recovered and checked.

mod kit;
mod life;
