//! [`RollupNode`]: what `sequenza node` runs, inside another program.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use sequenza::seams::{JwtSecret, RollupConfig};
//! use sequenza::{NodeMode, RollupNode, SequencerConfig};
//!
//! let config = RollupConfig::from_rollup_json(&std::fs::read_to_string("rollup.json")?)?.strict()?;
//! let running = RollupNode::builder(config)
//!     .with_mode(NodeMode::Sequencer)
//!     .with_sequencer_config(SequencerConfig { l1_conf_delay: 2, ..SequencerConfig::default() })
//!     .with_l1_provider_rpc_url("http://127.0.0.1:8545")
//!     .with_l2_engine_rpc_url("http://127.0.0.1:8551")
//!     .with_jwt_secret(JwtSecret::from_file("jwt.hex".as_ref())?)
//!     .build()?
//!     .start()
//!     .await?;
//! running.ended().await?;
//! # Ok(())
//! # }
//! ```

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use engine::{AttributesBuilder, Secret};
use node::{Conductor, L1Origins, Pulse};
use optimism::RollupConfig;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::commands::surroundings;
use crate::config::{self, ChainKind, Fault, Raw, Sources};
use crate::exit::{Exit, Failure};
use crate::wiring::{self, Custom};

/// What the seams of a node are made of, by the field's names.
pub mod seams {
    pub use engine::{AttributesBuilder, Secret as JwtSecret, SecretError};
    pub use node::{BackendError, CommitError, Conductor, L1Origins, L1Unavailable, Pulse, Readiness};
    pub use op_alloy_rpc_types_engine::OpPayloadAttributes;
    pub use optimism::RollupConfig;
    pub use types::{Attributes, BlockHash, BlockRef, L1Block, L1Origin, Payload, Timestamp};

    /// Which L1 block the next block cites: the rule itself, a pure function, as the node applies it.
    pub mod origin_selector {
        pub use sequencer::origin::{
            Choice, Contradiction, Lookup, NextOrigin, OriginRules, Question, choose, is_deep_enough, is_window_over,
        };
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeMode {
    /// Builds blocks.
    #[default]
    Sequencer,
    /// Follows the blocks of another. Not here yet: [`RollupNodeBuilder::build`] refuses it.
    Validator,
}

/// How blocks are built. The default is that of the flags of `sequenza node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequencerConfig {
    /// Builds nothing until it is started through the admin API (`--sequencer.stopped`).
    pub sequencer_stopped: bool,
    /// Begins with recovery: blocks are exactly those that derivation makes by itself (`--sequencer.recover`).
    pub sequencer_recovery_mode: bool,
    /// op-conductor's JSON-RPC over HTTP (`--conductor.rpc`). It starts and stops the sequencer, so that the admin methods are needed:
    /// `with_setting("rpc.enable-admin", true)`. The sequencer begins stopped then, whatever [`SequencerConfig::sequencer_stopped`] says.
    pub conductor_rpc_url: Option<String>,
    /// How many blocks below L1's head a block has to lie before it is cited, 0 to 10,000 (`--sequencer.l1-confs`).
    pub l1_conf_delay: u64,
}

impl Default for SequencerConfig {
    fn default() -> Self {
        Self { sequencer_stopped: false, sequencer_recovery_mode: false, conductor_rpc_url: None, l1_conf_delay: 4 }
    }
}

/// A node that is not started yet.
pub struct RollupNode {
    settings: config::Node,
    custom: Custom,
}

/// Gathers what a node is to be. Nothing is checked before [`RollupNodeBuilder::build`], which tells every fault at once.
///
/// What has no method of its own is set by [`RollupNodeBuilder::with_setting`].
#[must_use]
pub struct RollupNodeBuilder {
    config: Arc<RollupConfig>,
    settings: Vec<(String, String)>,
    l1: Vec<String>,
    custom: Custom,
}

/// Why there is no node: every fault in what was asked for, a line each. Settings are named as the flags of `sequenza node`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(String);

/// Why a node did not start, or ended. It says what to do as well.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RollupNodeError {
    message: String,
    /// The exit code that `sequenza node` ends with for this reason, see `docs/exit-codes.md`.
    pub code: u8,
}

impl From<Failure> for RollupNodeError {
    fn from(failure: Failure) -> Self {
        Self { code: failure.exit.code(), message: failure.message }
    }
}

impl Debug for RollupNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RollupNode").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Debug for RollupNodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RollupNodeBuilder").field("chain", &self.config.l2_chain_id).finish_non_exhaustive()
    }
}

impl RollupNode {
    /// Begins with what is needed most: which rollup it is.
    pub fn builder(config: impl Into<Arc<RollupConfig>>) -> RollupNodeBuilder {
        RollupNodeBuilder { config: config.into(), settings: Vec::new(), l1: Vec::new(), custom: Custom::default() }
    }

    /// Starts it, and returns once it serves JSON-RPC and builds. Where L1 or the engine does not answer it waits for them; to give
    /// up, drop the future.
    ///
    /// The node listens to no signals, writes nothing to the standard output, and logs through `tracing`.
    ///
    /// # Errors
    /// When a socket is taken, the data folder is in use or damaged, or L1 or the engine runs another chain.
    pub async fn start(self) -> Result<RunningRollupNode, RollupNodeError> {
        let opened = wiring::open_node(self.settings, self.custom).await?;
        let (rpc_url, embedded) = opened.places();
        let rpc_url = rpc_url.map(str::to_owned);
        let l2_rpc_url = embedded.map(|address| format!("http://{address}"));
        let (stop, pulse) = (opened.stop(), opened.driver().pulse());
        let task = tokio::spawn(async move { opened.run("").await });
        Ok(RunningRollupNode { guard: stop.clone().drop_guard(), stop, task, pulse, rpc_url, l2_rpc_url })
    }
}

impl RollupNodeBuilder {
    /// What the node does; the default is [`NodeMode::Sequencer`].
    pub fn with_mode(self, mode: NodeMode) -> Self {
        self.with_setting("mode", format!("{mode:?}"))
    }

    /// How blocks are built.
    pub fn with_sequencer_config(self, config: SequencerConfig) -> Self {
        let SequencerConfig { sequencer_stopped, sequencer_recovery_mode, conductor_rpc_url, l1_conf_delay } = config;
        let told = match conductor_rpc_url {
            Some(url) => self.with_setting("conductor.rpc", url),
            None => self,
        };
        told.with_setting("sequencer.stopped", sequencer_stopped)
            .with_setting("sequencer.recover", sequencer_recovery_mode)
            .with_setting("sequencer.l1-confs", l1_conf_delay)
    }

    /// L1's JSON-RPC over HTTP. Called again it names one more endpoint, up to 16: the first good answer counts.
    pub fn with_l1_provider_rpc_url(mut self, url: impl Display) -> Self {
        self.l1.push(url.to_string());
        self
    }

    /// L1's beacon node.
    pub fn with_l1_beacon_api_url(self, url: impl Display) -> Self {
        self.with_setting("l1-beacon", url)
    }

    /// The execution engine's authenticated port, over HTTP. Without it the chain of this process is the engine.
    pub fn with_l2_engine_rpc_url(self, url: impl Display) -> Self {
        self.with_setting("l2-engine-rpc", url)
    }

    /// The secret that the engine behind [`RollupNodeBuilder::with_l2_engine_rpc_url`] shares.
    pub fn with_jwt_secret(mut self, secret: Secret) -> Self {
        self.custom.secret = Some(secret);
        self
    }

    /// The genesis of the chain of this process, a file in geth's JSON format. A new chain needs it.
    pub fn with_l2_genesis(self, file: impl AsRef<Path>) -> Self {
        self.with_setting("l2-genesis", file.as_ref().display())
    }

    /// Where everything is kept. The default is the folder of `sequenza node`, named after the chain.
    pub fn with_data_dir(self, folder: impl AsRef<Path>) -> Self {
        self.with_setting("db-path", folder.as_ref().display())
    }

    /// Where the node's JSON-RPC, health and metrics are served; port 0 takes any that is free. The default is 127.0.0.1:9545.
    pub fn with_rpc_addr(self, address: SocketAddr) -> Self {
        self.with_setting("rpc.addr", address.ip()).with_setting("port", address.port())
    }

    /// Where the JSON-RPC of the chain of this process is served. The default is 127.0.0.1:9546.
    pub fn with_l2_rpc_addr(self, address: SocketAddr) -> Self {
        self.with_setting("http-host", address.ip()).with_setting("http-port", address.port())
    }

    /// Any setting of `sequenza node`, by the name of its flag without dashes; a switch takes `true` or `false`. What was set before is
    /// forgotten.
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Display) -> Self {
        let name = name.into();
        self.settings.retain(|(other, _)| *other != name);
        self.settings.push((name, value.to_string()));
        self
    }

    /// Puts an attributes builder around the node's own, which it is handed. [`AttributesBuilder`] says what it must uphold.
    pub fn with_attributes_builder(
        mut self,
        around: impl FnOnce(Arc<dyn AttributesBuilder>) -> Arc<dyn AttributesBuilder> + Send + 'static,
    ) -> Self {
        self.custom.attributes = Some(Box::new(around));
        self
    }

    /// Puts a conductor around op-conductor's client, which is made where [`SequencerConfig::conductor_rpc_url`] is set. [`Conductor`] says
    /// what it must uphold.
    pub fn with_conductor(
        mut self,
        around: impl FnOnce(Arc<dyn Conductor>) -> Arc<dyn Conductor> + Send + 'static,
    ) -> Self {
        self.custom.conductor = Some(Box::new(around));
        self
    }

    /// Puts another view of L1 around that from which the origin selector chooses. [`L1Origins`] says what it must uphold; the choice
    /// itself is [`seams::origin_selector::choose`] and is not replaced, since derivation makes the same.
    pub fn with_l1_origins(
        mut self,
        around: impl FnOnce(Arc<dyn L1Origins>) -> Arc<dyn L1Origins> + Send + 'static,
    ) -> Self {
        self.custom.origins = Some(Box::new(around));
        self
    }

    /// The node.
    ///
    /// # Errors
    /// With every fault in what was asked for.
    pub fn build(mut self) -> Result<RollupNode, BuildError> {
        if !self.settings.iter().any(|(name, _)| name == "mode") {
            self = self.with_mode(NodeMode::default());
        }
        if !self.l1.is_empty() {
            self.settings.push(("l1-eth-rpc".to_owned(), self.l1.join(",")));
        }
        let mut more = unknown(&self.settings);
        let sources = Sources { chain: ChainKind::Node, flags: &self.settings, ..Sources::default() };
        let (raw, mut faults) = Raw::collect(&sources);
        let settings = config::resolve_node_of(self.config, &raw, &surroundings());
        let settings = settings.map_err(|more| faults.extend(more)).ok();
        let remote = self.settings.iter().any(|(name, _)| name == "l2-engine-rpc");
        let secret = secret_fault(remote, self.custom.secret.is_some(), &self.settings);
        more.extend(secret.map(str::to_owned));
        if self.custom.conductor.is_some() && !self.settings.iter().any(|(name, _)| name == "conductor.rpc") {
            more.push("with_conductor has no effect without a conductor_rpc_url: give one, or leave it out".to_owned());
        }
        match settings {
            Some(settings) if faults.is_empty() && more.is_empty() => Ok(RollupNode { settings, custom: self.custom }),
            _ => Err(told(&faults, more)),
        }
    }
}

/// The command line knows its flags by itself.
fn unknown(settings: &[(String, String)]) -> Vec<String> {
    let known = |name: &str| ChainKind::Node.settings().any(|setting| setting.key == name);
    let unknown = settings.iter().filter(|(name, _)| !known(name));
    unknown.map(|(name, _)| format!("{name}: there is no such setting; `sequenza node --help` names all")).collect()
}

/// A file with a secret is made for the command where none is named; whoever writes a program says which.
fn secret_fault(remote: bool, given: bool, settings: &[(String, String)]) -> Option<&'static str> {
    let named = settings.iter().any(|(name, _)| name.starts_with("l2-engine-jwt-"));
    match (remote, given, named) {
        (true, false, false) => Some("the engine's secret is missing: give it by with_jwt_secret"),
        (false, true, _) => Some("with_jwt_secret has no effect without with_l2_engine_rpc_url: leave it out"),
        (true, true, true) => Some("with_jwt_secret contradicts a setting l2-engine-jwt-…: leave out one of them"),
        _ => None,
    }
}

fn told(faults: &[Fault], more: Vec<String>) -> BuildError {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).chain(more).collect();
    BuildError(lines.join("\n"))
}

/// A node at work. It stops when this is dropped; [`RunningRollupNode::stop`] also waits until it has stopped.
#[must_use = "the node stops when this is dropped"]
pub struct RunningRollupNode {
    guard: DropGuard,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Failure>>,
    pulse: watch::Receiver<Pulse>,
    rpc_url: Option<String>,
    l2_rpc_url: Option<String>,
}

impl Debug for RunningRollupNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rpc_url, l2_rpc_url, .. } = self;
        f.debug_struct("RunningRollupNode")
            .field("rpc_url", rpc_url)
            .field("l2_rpc_url", l2_rpc_url)
            .finish_non_exhaustive()
    }
}

impl RunningRollupNode {
    /// Where `optimism_*` and `admin_*` are answered, unless that is disabled.
    #[must_use]
    pub fn rpc_url(&self) -> Option<&str> {
        self.rpc_url.as_deref()
    }

    /// Where the chain of this process answers `eth_*`, if that is the engine.
    #[must_use]
    pub fn l2_rpc_url(&self) -> Option<&str> {
        self.l2_rpc_url.as_deref()
    }

    /// Where the node stands, always the newest: its head, whether it leads, what fails.
    #[must_use]
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }

    /// Waits until the node ends by itself, which it does only when a part of it fails.
    ///
    /// # Errors
    /// With the part that ended and why.
    pub async fn ended(self) -> Result<(), RollupNodeError> {
        let Self { guard, task, .. } = self;
        let ended = outcome(task.await);
        drop(guard);
        ended
    }

    /// Stops it and waits until it has stopped: within the ten seconds that its parts have for it.
    ///
    /// # Errors
    /// When a part failed meanwhile, or did not stop in time.
    pub async fn stop(self) -> Result<(), RollupNodeError> {
        self.stop.cancel();
        self.ended().await
    }
}

fn outcome(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), RollupNodeError> {
    let failed = |error| Failure::new(Exit::Internal, format!("the node ended in an unforeseen way: {error}"));
    ended.unwrap_or_else(|error| Err(failed(error))).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RollupConfig {
        let hash = |byte: &str| format!("0x{}", byte.repeat(32));
        let address = format!("0x{}", "22".repeat(20));
        let text = serde_json::json!({
            "genesis": {
                "l1": { "number": 1, "hash": hash("11") }, "l2": { "number": 0, "hash": hash("12") }, "l2_time": 1_700_000_000,
                "system_config": {
                    "batcherAddr": address, "overhead": hash("00"),
                    "scalar": format!("0x01{}", "00".repeat(31)), "gasLimit": 30_000_000,
                },
            },
            "block_time": 1, "max_sequencer_drift": 600, "seq_window_size": 3600, "channel_timeout": 300,
            "l1_chain_id": 31_337, "l2_chain_id": 901, "batch_inbox_address": address,
            "deposit_contract_address": address, "l1_system_config_address": address, "regolith_time": 0,
        });
        RollupConfig::from_rollup_json(&text.to_string()).unwrap().strict().unwrap()
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faulty = RollupNode::builder(config())
            .with_mode(NodeMode::Validator)
            .with_sequencer_config(SequencerConfig { l1_conf_delay: 10_001, ..SequencerConfig::default() })
            .with_l2_engine_rpc_url("ws://127.0.0.1:8551")
            .with_setting("no-such-setting", 1)
            .build();
        let told = faulty.unwrap_err().to_string();
        for word in ["only follows", "10001", "ws://", "no-such-setting", "l1-eth-rpc", "with_jwt_secret"] {
            assert!(told.contains(word), "{word} in {told}");
        }
        assert_eq!(told.lines().count(), 6, "{told}");
    }

    #[test]
    fn a_secret_is_asked_for_where_the_engine_is_elsewhere_and_only_there() {
        let secret = || Secret::from_hex(&"11".repeat(32)).unwrap();
        let builder = || RollupNode::builder(config()).with_l1_provider_rpc_url("http://127.0.0.1:8545");
        let remote = || builder().with_l2_engine_rpc_url("http://127.0.0.1:8551");
        assert!(remote().build().unwrap_err().to_string().contains("missing"));
        assert!(builder().with_jwt_secret(secret()).build().unwrap_err().to_string().contains("no effect"));
        let twice = remote().with_jwt_secret(secret()).with_setting("l2-engine-jwt-encoded", "22".repeat(32));
        assert!(twice.build().unwrap_err().to_string().contains("contradicts"));
        remote().with_jwt_secret(secret()).build().unwrap();
        builder().build().unwrap();
    }

    #[test]
    fn endpoints_add_up_and_other_settings_replace_each_other() {
        let node = RollupNode::builder(config())
            .with_l1_provider_rpc_url("http://127.0.0.1:1")
            .with_l1_provider_rpc_url("http://127.0.0.1:2")
            .with_rpc_addr(([127, 0, 0, 1], 7).into())
            .with_rpc_addr(([127, 0, 0, 1], 8).into())
            .with_sequencer_config(SequencerConfig { sequencer_stopped: true, ..SequencerConfig::default() })
            .build()
            .unwrap();
        assert_eq!(node.settings.l1.endpoints.len(), 2);
        assert_eq!(node.settings.endpoints.http.unwrap().port, 8);
        assert_eq!((node.settings.active, node.settings.confirmations), (false, 4));
    }

    /// The defaults of the two ways to say it must not part.
    #[test]
    fn the_default_of_the_sequencer_is_that_of_the_flags() {
        let builder = || RollupNode::builder(config()).with_l1_provider_rpc_url("http://127.0.0.1:1");
        let said = builder().with_sequencer_config(SequencerConfig::default()).build().unwrap();
        assert_eq!(said.settings, builder().build().unwrap().settings);
    }
}
