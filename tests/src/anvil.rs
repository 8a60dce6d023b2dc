//! A real anvil beside the chain: a peer to compare with, or an L1.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::chain::client;
use crate::{Caller, RpcError, skipped};

/// A running anvil on a free port; killed when dropped.
pub struct Anvil {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Anvil {
    /// Starts one with these arguments and waits until it listens. `None`, and said so, where anvil is not installed.
    pub fn start(test: &str, arguments: &[&str]) -> Option<Anvil> {
        let Some(program) = program() else {
            skipped(test, "anvil is not installed: run cargo xtask test");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["--port", "0"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program is there");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let listening =
            |line: String| line.strip_prefix("Listening on ").map(|place| format!("http://{}", place.trim()));
        let url = lines.by_ref().map_while(Result::ok).find_map(listening).expect("anvil says where it listens");
        // It must not wait for somebody to read what else it says.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Anvil { child, url, client: client() })
    }

    /// The address of JSON-RPC over HTTP.
    pub fn http(&self) -> &str {
        &self.url
    }

    /// Calls a JSON-RPC method.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        Caller::new(self.url.clone(), self.client.clone()).rpc(method, params).await
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has.
    pub fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), Signal::INT).expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one that npm installed for the tests, or that `SEQUENZA_ANVIL` names.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SEQUENZA_ANVIL") {
        return Some(named.into());
    }
    // Not the script that npm puts in front of it: a signal would end that and not what it started.
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules/@foundry-rs");
    let packages = packages.read_dir().ok()?.filter_map(Result::ok);
    packages.map(|package| package.path().join("bin/anvil")).find(|binary| binary.is_file())
}
