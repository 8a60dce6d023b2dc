//! Public clients in other languages: each script drives the chain and checks what it sees.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::{Chain, skipped, vectors};

/// Runs a script of `tests/clients/javascript` with starknet.js against `chain`; a script that ends badly fails the test.
pub async fn javascript(chain: &Chain, script: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    if !folder.join("node_modules/starknet").is_dir() {
        return skipped(script, "starknet.js is not installed: run cargo xtask test");
    }
    let mut node = Command::new("node");
    node.arg(folder.join("javascript").join(script));
    drive(chain, script, node).await;
}

/// Runs a script of `tests/clients/evm` with viem against `chain`; a script that ends badly fails the test.
pub async fn viem(chain: &Chain, script: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    if !folder.join("node_modules/viem").is_dir() {
        return skipped(script, "viem is not installed: run cargo xtask test");
    }
    let mut node = Command::new("node");
    node.arg(folder.join("evm").join(script));
    run(chain, script, node, json!({ "rpc": chain.http(), "ws": chain.ws() })).await;
}

/// Runs a script of `tests/clients/python` with starknet.py against `chain`, when that is installed in the Python that
/// `SEQUENZA_PYTHON` names, or else in `python3`.
pub async fn python(chain: &Chain, script: &str) {
    let program = std::env::var_os("SEQUENZA_PYTHON").unwrap_or_else(|| "python3".into());
    let installed = Command::new(&program).args(["-c", "import starknet_py"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        return skipped(
            script,
            "starknet.py is not installed: run cargo xtask test, or pip install starknet-py==0.30.0",
        );
    }
    let mut python = Command::new(&program);
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python").join(script));
    drive(chain, script, python).await;
}

async fn drive(chain: &Chain, script: &str, command: Command) {
    let Some(classes) = vectors("starknet/classes/compiler") else {
        return skipped(script, "the test vectors are not beside the repository");
    };
    let accounts: Vec<_> = chain.accounts().iter().map(|account| account.to_json()).collect();
    let described = json!({ "rpc": chain.http(), "ws": chain.ws(), "accounts": accounts, "classes": classes });
    run(chain, script, command, described).await;
}

async fn run(chain: &Chain, script: &str, mut command: Command, described: serde_json::Value) {
    command.env("SEQUENZA_CHAIN", described.to_string()).env("SEQUENZA_NOTES", notes(chain));
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the script is waited for");
    let output = output.unwrap_or_else(|error| panic!("{script}: cannot start it: {error}"));
    assert!(
        output.status.success(),
        "{script}: {}\n{}{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        chain.log(),
    );
}

/// Where a script leaves word for the one that runs after it.
fn notes(chain: &Chain) -> PathBuf {
    chain.launch().folder().join("notes.json")
}
