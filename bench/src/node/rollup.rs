//! A rollup to measure: L1, the files that describe it, its sequencer, and, if it is another process, its engine.

use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, U64};
use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::Form;
use super::proxy::Proxy;
use crate::endpoint::Endpoint;
use crate::evm::account::Account;
use crate::server::{Server, free_port};

/// What the rollup calls itself.
pub(crate) const CHAIN_ID: u64 = 901;
/// What anvil calls itself.
const L1_CHAIN_ID: u64 = 31_337;
/// Every fork of the OP Stack up to Karst, from the first block on.
const FORKS: [&str; 10] =
    ["regolith", "canyon", "delta", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian", "karst"];
/// Ethereum's forks up to London, from the first block on.
const BLOCKS: [&str; 14] = [
    "homestead",
    "eip150",
    "eip155",
    "eip158",
    "byzantium",
    "constantinople",
    "petersburg",
    "istanbul",
    "muirGlacier",
    "berlin",
    "london",
    "arrowGlacier",
    "grayGlacier",
    "mergeNetsplit",
];
/// Gas for each block: room for five thousand transfers.
const GAS_LIMIT: u64 = 120_000_000;
/// Ten thousand ether, in wei.
const BALANCE: &str = "0x21e19e0c9bab2400000";
/// Seconds between two L1 blocks.
const L1_SLOT: &str = "2";

/// All that runs; ends when dropped.
pub(crate) struct Rollup {
    pub(crate) l1: Server,
    pub(crate) proxy: Proxy,
    pub(crate) node: Server,
    /// The engine's own process, if it has one.
    pub(crate) engine: Option<Server>,
    /// JSON-RPC of the engine.
    pub(crate) chain: Endpoint,
}

impl Rollup {
    /// Starts it, with L1 behind a proxy. It begins on L1's newest block, with these accounts rich.
    pub(crate) async fn start(
        binary: &Path,
        anvil: &Path,
        form: Form,
        block_time: u64,
        accounts: &[Account],
    ) -> anyhow::Result<Self> {
        let (l1, l1_port) = start_l1(anvil).await?;
        let first: Value = l1.endpoint.call("eth_getBlockByNumber", json!(["latest", false])).await?;
        let files = TempDir::new()?;
        let genesis = files.path().join("genesis.json");
        std::fs::write(&genesis, genesis_file(&first["timestamp"], accounts).to_string())?;
        let (engine, chain, flags) = start_engine(binary, form, &genesis, files.path()).await?;
        let hash = match &engine {
            Some(engine) => first_hash(engine).await?,
            None => {
                let alone = start_evm(binary, &genesis, &[]).await?.0;
                let hash = first_hash(&alone).await?;
                alone.stop().await?;
                hash
            }
        };
        let config = files.path().join("rollup.json");
        std::fs::write(&config, rollup_file(&first, &hash, block_time)?.to_string())?;
        let proxy = Proxy::start(l1_port).await?;
        let port = free_port()?;
        let mut command = Command::new(binary);
        command.args(["node", "--mode", "Sequencer", "--sequencer.l1-confs", "1"]);
        command.args(["--l1-slot-duration-override", L1_SLOT, "--l1-eth-rpc", &proxy.url, "--l1-beacon", &proxy.url]);
        command.arg("--rollup-cfg").arg(&config).args(["--rpc.port", &port.to_string()]).args(flags);
        command.arg("--db-path").arg(files.path().join("node"));
        let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/"), None)?;
        let node = Server::start(command, files, endpoint, "optimism_syncStatus").await?;
        Ok(Self { l1, proxy, node, engine, chain })
    }

    /// Ends all of it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.proxy.hang(false);
        self.node.stop().await?;
        if let Some(engine) = self.engine {
            engine.stop().await?;
        }
        self.l1.stop().await
    }
}

async fn start_l1(anvil: &Path) -> anyhow::Result<(Server, u16)> {
    let port = free_port()?;
    let mut command = Command::new(anvil);
    // By itself it would write the state after each of thousands of blocks to the disk that the node needs.
    command.args(["--silent", "--port", &port.to_string(), "--block-time", L1_SLOT, "--prune-history"]);
    let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/"), None)?;
    Ok((Server::start(command, TempDir::new()?, endpoint, "eth_blockNumber").await?, port))
}

/// The engine's process, if it has one, where the chain's JSON-RPC will be, and what the node is told of the engine.
async fn start_engine(
    binary: &Path,
    form: Form,
    genesis: &Path,
    folder: &Path,
) -> anyhow::Result<(Option<Server>, Endpoint, Vec<String>)> {
    match form {
        Form::Embedded => {
            let port = free_port()?;
            let genesis = format!("--l2-genesis={}", genesis.display());
            Ok((None, endpoint(port)?, vec![genesis, format!("--http-port={port}")]))
        }
        Form::Remote => {
            let secret = folder.join("jwt.hex");
            std::fs::write(&secret, "42".repeat(32))?;
            let authenticated = free_port()?;
            let more = [format!("--authrpc.port={authenticated}"), format!("--authrpc.jwtsecret={}", secret.display())];
            let (engine, chain) = start_evm(binary, genesis, &more).await?;
            let flags = vec![
                format!("--l2-engine-rpc=http://127.0.0.1:{authenticated}"),
                format!("--l2-engine-jwt-secret={}", secret.display()),
            ];
            Ok((Some(engine), chain, flags))
        }
    }
}

async fn start_evm(binary: &Path, genesis: &Path, more: &[String]) -> anyhow::Result<(Server, Endpoint)> {
    let (port, folder) = (free_port()?, TempDir::new()?);
    let mut command = Command::new(binary);
    command.args(["evm", "--http-port", &port.to_string()]).arg("--genesis").arg(genesis);
    command.arg("--db-path").arg(folder.path().join("data")).args(more);
    let chain = endpoint(port)?;
    Ok((Server::start(command, folder, chain.clone(), "eth_blockNumber").await?, chain))
}

fn endpoint(port: u16) -> anyhow::Result<Endpoint> {
    Endpoint::new(&format!("http://127.0.0.1:{port}/"), Some(&format!("ws://127.0.0.1:{port}/ws")))
}

async fn first_hash(engine: &Server) -> anyhow::Result<Value> {
    let first: Value = engine.endpoint.call("eth_getBlockByNumber", json!(["0x0", false])).await?;
    Ok(first["hash"].clone())
}

fn genesis_file(timestamp: &Value, accounts: &[Account]) -> Value {
    let mut config = json!({
        "chainId": CHAIN_ID, "shanghaiTime": 0, "cancunTime": 0, "pragueTime": 0, "osakaTime": 0, "bedrockBlock": 0,
        "terminalTotalDifficulty": 0, "terminalTotalDifficultyPassed": true,
        "optimism": { "eip1559Elasticity": 6, "eip1559Denominator": 50, "eip1559DenominatorCanyon": 250 },
    });
    for fork in BLOCKS {
        config[format!("{fork}Block")] = json!(0);
    }
    for fork in FORKS {
        config[format!("{fork}Time")] = json!(0);
    }
    let mut alloc = json!({});
    for account in accounts {
        alloc[account.address().to_string()] = json!({ "balance": BALANCE });
    }
    json!({
        "config": config, "timestamp": timestamp, "gasLimit": format!("{GAS_LIMIT:#x}"), "difficulty": "0x0",
        "baseFeePerGas": "0x3b9aca00", "extraData": "0x0100000032000000060000000000000000", "alloc": alloc,
    })
}

fn rollup_file(l1: &Value, l2_hash: &Value, block_time: u64) -> anyhow::Result<Value> {
    let number = |value: &Value| serde_json::from_value::<U64>(value.clone()).map(|number| number.to::<u64>());
    let (number, time) = (number(&l1["number"]).context("L1")?, number(&l1["timestamp"]).context("L1")?);
    let mut config = json!({
        "genesis": {
            "l1": { "number": number, "hash": l1["hash"] },
            "l2": { "number": 0, "hash": l2_hash },
            "l2_time": time,
            "system_config": {
                "batcherAddr": Address::with_last_byte(1), "overhead": B256::ZERO,
                "scalar": format!("0x01{}", "00".repeat(31)), "gasLimit": GAS_LIMIT, "eip1559Params": "0x0000003200000006",
            },
        },
        // A window that no burst of L1 blocks ends: past it blocks are empty.
        "block_time": block_time, "max_sequencer_drift": 600, "seq_window_size": 100_000, "channel_timeout": 300,
        "l1_chain_id": L1_CHAIN_ID, "l2_chain_id": CHAIN_ID, "batch_inbox_address": Address::with_last_byte(2),
        "deposit_contract_address": Address::with_last_byte(3), "l1_system_config_address": Address::with_last_byte(4),
    });
    for fork in FORKS {
        config[format!("{fork}_time")] = json!(0);
    }
    Ok(config)
}

/// A chain of its own rhythm, without L1: what the loop does where blocks are closer than a rollup can date them.
pub(crate) async fn alone(binary: &Path, block_time: &str, accounts: usize) -> anyhow::Result<Server> {
    let (port, folder) = (free_port()?, TempDir::new()?);
    let mut command = Command::new(binary);
    command.args(["evm", "--http-port", &port.to_string(), "--block-time", block_time]);
    command.args(["--accounts", &accounts.to_string()]).arg("--db-path").arg(folder.path().join("data"));
    Server::start(command, folder, endpoint(port)?, "eth_blockNumber").await
}

/// anvil, as it was named or is found.
pub(crate) fn find_l1(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    crate::server::find_anvil(given).context("L1 is anvil; --anvil names it")
}
