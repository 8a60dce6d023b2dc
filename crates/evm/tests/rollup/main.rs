//! Chains of the OP Stack, driven as a rollup node drives them: registered genesis files, every fork from Bedrock to Karst with the transactions
//! that upgrade to it, and what users pay and get.

mod forks;
mod genesis;
mod upgrades;
mod world;

use std::path::PathBuf;

/// Published test data of the OP Stack; `None`, and said so, where it is absent.
fn vectors() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
    let folder =
        std::env::var_os("SEQUENZA_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from).join("opstack");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there (SEQUENZA_VECTORS names another place)", folder.display());
    None
}
