//! Servers under test: started in a folder of their own, stopped at the end, and asked how much memory they took.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::PATIENCE;
use crate::account::{self, Account};
use crate::endpoint::Endpoint;

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    pub(crate) endpoint: Endpoint,
    pub(crate) accounts: Vec<Account>,
}

/// Our server with `accounts` funded accounts, a block each second, and whatever else is said.
pub(crate) async fn ours(binary: &Path, accounts: usize, more: &[String]) -> anyhow::Result<Server> {
    let folder = TempDir::new()?;
    let port = free_port()?;
    let mut command = Command::new(binary);
    command.arg("starknet").args(["--http-port", &port.to_string(), "--seq-block-time", "1s"]);
    command.args(["--accounts", &accounts.to_string()]).arg("--db-path").arg(folder.path().join("data")).args(more);
    let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/"), Some(&format!("ws://127.0.0.1:{port}/ws")))?;
    let mut server = Server::start(command, folder, endpoint, "starknet_blockNumber").await?;
    if accounts > 0 {
        server.accounts = account::from_banner(&server.output()?)?;
    }
    Ok(server)
}

/// `starknet-devnet` with as many accounts of the same class, a block each second, and the same prices.
pub(crate) async fn peer(binary: &Path, accounts: usize) -> anyhow::Result<Server> {
    let folder = TempDir::new()?;
    let port = free_port()?;
    let mut command = Command::new(binary);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--accounts", &accounts.to_string()]);
    command.args(["--seed", "0", "--initial-balance", "10000000000000000000000", "--block-generation-on", "1"]);
    let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/"), Some(&format!("ws://127.0.0.1:{port}/ws")))?;
    let mut server = Server::start(command, folder, endpoint, "starknet_blockNumber").await?;
    server.accounts = account::predeployed(&server.endpoint).await?;
    Ok(server)
}

/// The peer's binary: as given, or on the PATH.
pub(crate) fn find_peer(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let found = match given {
        Some(path) => Some(path.to_owned()).filter(|path| path.is_file()),
        None => on_path("starknet-devnet"),
    };
    found.context(
        "starknet-devnet is not there: install it with `cargo install starknet-devnet --version 0.10.1 --locked`, \
         or name it with --peer-binary",
    )
}

/// Room for as many transactions as can come in a second.
const EVM_GAS_LIMIT: &str = "4000000000";

/// An EVM chain with as many accounts, with a block each second or one for each transaction: ours, durable as it always is, or anvil, told to
/// print nothing about each transaction, which would slow it down.
pub(crate) async fn evm(binary: &Path, is_anvil: bool, accounts: usize, interval: bool) -> anyhow::Result<Server> {
    let folder = TempDir::new()?;
    let port = free_port()?.to_string();
    let mut command = Command::new(binary);
    if is_anvil {
        command.args(["--silent", "--port", &port]);
    } else {
        command.args(["evm", "--http-port", &port]).arg("--db-path").arg(folder.path().join("data"));
    }
    command.args(["--gas-limit", EVM_GAS_LIMIT, "--accounts", &accounts.to_string()]);
    if interval {
        command.args(["--block-time", "1"]);
    }
    let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/"), None)?;
    Server::start(command, folder, endpoint, "eth_blockNumber").await
}

/// anvil's binary: as given, as `cargo xtask test` installed it, or on the PATH.
pub(crate) fn find_anvil(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let installed = || {
        let packages = std::fs::read_dir("tests/clients/node_modules/@foundry-rs").ok()?;
        let programs = packages.filter_map(|package| Some(package.ok()?.path().join("bin/anvil")));
        programs.into_iter().find(|program| program.is_file())
    };
    let found = match given {
        Some(path) => Some(path.to_owned()).filter(|path| path.is_file()),
        None => installed().or_else(|| on_path("anvil")),
    };
    found.context("anvil is not there: `cargo xtask test` installs it, or name it with --peer-binary")
}

fn on_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}

impl Server {
    /// Starts a program and waits until it answers `ready`.
    pub(crate) async fn start(
        mut command: Command,
        folder: TempDir,
        endpoint: Endpoint,
        ready: &str,
    ) -> anyhow::Result<Self> {
        let log = std::fs::File::create(folder.path().join("out"))?;
        let errors = std::fs::File::create(folder.path().join("err"))?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors).kill_on_drop(true);
        // What is measured is what the command line says, not what happens to be in our environment.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SEQUENZA_") {
                command.env_remove(name);
            }
        }
        let child = command.spawn().with_context(|| format!("starting {:?}", command.as_std().get_program()))?;
        let mut server = Self { child, folder, endpoint, accounts: Vec::new() };
        let until = Instant::now() + PATIENCE;
        while server.endpoint.call::<serde_json::Value>(ready, serde_json::json!([])).await.is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at once ({status}): {}", server.complaint());
            }
            if Instant::now() > until {
                bail!("the server does not answer after {} s: {}", PATIENCE.as_secs(), server.complaint());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(server)
    }

    /// What the server printed so far.
    fn output(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("out"))?)
    }

    fn complaint(&self) -> String {
        let text = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        let lines = text("err") + &text("out");
        lines.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Bytes of memory it holds now.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        memory(self.pid()?, "VmRSS:")
    }

    /// Most bytes of memory it ever held.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        peak_memory(self.pid()?)
    }

    /// Asks it to end and waits; kills it when it does not.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        if tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await.is_err() {
            eprintln!("the server did not end within 15 s of SIGTERM; killing it");
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// Most bytes of memory a process ever held.
pub(crate) fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

/// Processors that a process uses from one moment to another.
pub(crate) async fn processors(pid: u32, from: Instant, to: Instant) -> anyhow::Result<f64> {
    tokio::time::sleep_until(from.into()).await;
    let (from, before) = (Instant::now(), processor_time(pid)?);
    tokio::time::sleep_until(to.into()).await;
    let used = processor_time(pid)?.saturating_sub(before);
    Ok(used.as_secs_f64() / from.elapsed().as_secs_f64())
}

/// Processor time that a process took so far.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the server has ended")?;
    // After the name in brackets: state is field 3, user and system time are 14 and 15, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis(10 * (ticks(14) + ticks(15))))
}

fn memory(pid: u32, line: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let kilobytes = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse::<u64>().ok())
        .with_context(|| format!("{path} has no {line}"))?;
    Ok(kilobytes * 1024)
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
