//! A running chain, seen from outside.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::launch::read;
use crate::{Account, Launch};

/// How long a chain may take to become ready.
const READY_MAX: Duration = Duration::from_secs(60);

/// How long one request may take before the test gives up on it.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Lines of the log that a failing test shows.
const LOG_LINES_SHOWN: usize = 60;

/// A running `sequenza`; killed when dropped.
pub struct Chain {
    launch: Launch,
    child: Child,
    client: reqwest::Client,
}

/// What JSON-RPC answers instead of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum RpcError {
    /// The chain refused: code, message and data of the answer.
    Refused {
        /// The error code.
        code: i64,
        /// The error message.
        message: String,
        /// The error's data; null when there is none.
        data: Value,
    },
    /// No answer came.
    Lost(String),
}

impl RpcError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<i64> {
        match self {
            RpcError::Refused { code, .. } => Some(*code),
            RpcError::Lost(_) => None,
        }
    }
}

impl Chain {
    pub(crate) fn new(launch: Launch, child: Child) -> Chain {
        Chain { launch, child, client: client() }
    }

    /// The address of JSON-RPC over HTTP.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.launch.port())
    }

    /// The address of JSON-RPC over WebSocket.
    pub fn ws(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.launch.port())
    }

    /// How it was started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Something to call it with from another task, which outlives the chain.
    pub fn caller(&self) -> Caller {
        Caller { url: self.http(), client: self.client.clone() }
    }

    /// Calls a JSON-RPC method.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.caller().rpc(method, params).await
    }

    /// The number of the newest sealed block.
    pub async fn height(&self) -> u64 {
        let answer = self.rpc("starknet_blockNumber", json!([])).await;
        answer.as_ref().ok().and_then(Value::as_u64).unwrap_or_else(|| panic!("starknet_blockNumber: {answer:?}"))
    }

    /// Waits until the chain has sealed `count` more blocks.
    pub async fn blocks(&self, count: u64) {
        let wanted = self.height().await + count;
        until("more blocks", READY_MAX, async || self.height().await >= wanted).await;
    }

    /// Fetches a plain path such as `/readyz`: the status and the body.
    pub async fn fetch(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("{}{path}", self.http())).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Posts a body as it is, with `content-type: application/json`: the status and the body of the answer.
    pub async fn post(&self, body: String) -> Option<(u16, String)> {
        let request = self.client.post(self.http()).header("content-type", "application/json").body(body);
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Waits until `/readyz` says yes; fails when the program ends first.
    pub async fn ready(&self) {
        let started = Instant::now();
        while self.fetch("/readyz").await.is_none_or(|(status, _)| status != 200) {
            assert!(self.is_running(), "ended before it was ready\n{}", self.log());
            assert!(started.elapsed() < READY_MAX, "not ready after {READY_MAX:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The funded accounts that the banner shows.
    pub fn accounts(&self) -> Vec<Account> {
        Account::from_banner(&self.stdout())
    }

    /// Standard output so far, over all restarts.
    pub fn stdout(&self) -> String {
        read(&self.launch.stdout_path())
    }

    /// Standard error so far, over all restarts.
    pub fn stderr(&self) -> String {
        read(&self.launch.stderr_path())
    }

    /// The end of both outputs, for a failing test.
    pub fn log(&self) -> String {
        let tail = |name: &str, text: String| {
            let lines: Vec<_> = text.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            format!("---- {name}\n{}\n", shown.join("\n"))
        };
        tail("standard output", self.stdout()) + &tail("standard error", self.stderr())
    }

    /// Whether the program still runs. A zombie does not.
    pub fn is_running(&self) -> bool {
        let stat =
            std::fs::read_to_string(PathBuf::from(format!("/proc/{}/stat", self.child.id()))).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a process id"), signal).expect("the child is ours");
    }

    /// Kills it at once, as a power cut would, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(started.elapsed() < within, "still runs after {within:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to stop, and waits for it as long as we promise that it takes.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(Duration::from_secs(10)).await
    }

    /// Starts it again in the same place, after it ended or was killed, and waits until it is ready.
    pub async fn start_again(&mut self) {
        let mut next = self.launch.start_unready();
        std::mem::swap(&mut self.child, &mut next.child);
        // What is dropped here is the process that has ended.
        drop(next);
        self.ready().await;
    }
}

/// Calls one chain, whether that still runs or not.
#[derive(Clone)]
pub struct Caller {
    url: String,
    client: reqwest::Client,
}

/// A client of one's own.
pub(crate) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().timeout(REQUEST_MAX).no_proxy().build();
    client.expect("a plain client needs nothing from outside")
}

impl Caller {
    pub(crate) fn new(url: String, client: reqwest::Client) -> Caller {
        Caller { url, client }
    }

    /// The same for another port of this machine.
    pub fn at(&self, port: u16) -> Caller {
        Caller { url: format!("http://127.0.0.1:{port}"), client: self.client.clone() }
    }

    /// Calls a JSON-RPC method.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let lost = |error: reqwest::Error| RpcError::Lost(error.to_string());
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.client.post(&self.url).json(&body).send().await.map_err(lost)?;
        let mut answer: Value = answer.json().await.map_err(lost)?;
        match answer.get_mut("error") {
            None => Ok(answer["result"].take()),
            Some(error) => Err(RpcError::Refused {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                data: error["data"].take(),
            }),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let running = self.is_running();
        self.kill();
        if std::thread::panicking() && running {
            eprintln!("{:?}\n{}", self.launch.command(), self.log());
        }
    }
}

/// Asks again and again until the answer is yes; fails after `within`.
pub(crate) async fn until(what: &str, within: Duration, mut yes: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !yes().await {
        assert!(started.elapsed() < within, "waited {within:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
