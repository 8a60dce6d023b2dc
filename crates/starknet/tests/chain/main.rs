//! The chain without the network: blocks are built, stored, recovered and checked.

mod building;
mod genesis;
mod kit;
mod life;
mod measure;
mod recovery;
mod vectors;
