//! Load and side-by-side benchmarks of Starknet and EVM chains, over plain JSON-RPC.
//!
//! ```text
//! cargo xtask bench starknet            ours: ceiling, idle, peak, half load
//! cargo xtask bench starknet --peer     the same load on starknet-devnet as well, and the ratio
//! cargo xtask bench ceiling             what the execution library does alone on this machine
//! cargo xtask bench evm                 ours: transfers and ERC-20, a block each second and one for each transaction
//! cargo xtask bench evm --peer anvil    the same load on anvil as well, and the ratios
//! cargo xtask bench evm --soak 200000   memory over so many transactions
//! cargo xtask bench evm --ceiling       what any server could answer on this machine
//! cargo xtask bench node                a rollup's sequencer: how punctual its blocks are, also while L1 hangs or brings much at once
//! cargo xtask bench load --url …        load on a chain that already runs
//! ```
//!
//! It knows nothing of our node but its command line and the public RPC, so that whatever is measured here can be measured on
//! any other chain in the same way. Every transaction is signed before the clock starts. Loopback only; every run ends by itself.

mod account;
mod answering;
mod ceiling;
mod endpoint;
mod evm;
mod load;
#[cfg(test)]
mod mock;
mod node;
mod pace;
mod report;
mod server;
mod suite;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Measure Starknet and EVM chains over plain JSON-RPC.
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Start our release binary in a temporary folder and measure it, and a peer beside it if wished
    Starknet(suite::Options),
    /// Start our release binary as an EVM chain and measure it, and anvil beside it if wished
    Evm(evm::Options),
    /// Start our release binary as a rollup's sequencer between anvil and an engine, and measure how punctual its blocks are
    Node(node::Options),
    /// Execute transfers with the execution library alone: no RPC, no admission, no roots, no disk
    Ceiling(ceiling::Options),
    /// The server of `bench evm --ceiling`, until it is ended
    #[command(name = evm::ceiling::SUBCOMMAND, hide = true)]
    Answer,
    /// Put load on a Starknet chain that already runs on this machine
    Load(LoadOptions),
}

#[derive(Args)]
struct LoadOptions {
    /// JSON-RPC endpoint; loopback only
    #[arg(long, default_value = "http://127.0.0.1:6060/")]
    url: String,
    /// WebSocket endpoint; without it the chain is polled
    #[arg(long)]
    ws: Option<String>,
    /// JSON file `[{"address": "0x…", "private_key": "0x…"}]`; without it the chain is asked for its predeployed accounts
    #[arg(long)]
    accounts_file: Option<PathBuf>,
    /// Transactions a second; without it as many as the chain takes
    #[arg(long)]
    rate: Option<f64>,
    #[command(flatten)]
    shape: load::Shape,
    /// Process whose peak memory is reported
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    // One thread: what the generator takes, the chain beside it lacks.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match Cli::parse().what {
        What::Ceiling(options) => ceiling::run(&options),
        What::Starknet(options) => runtime.block_on(suite::run(options)),
        What::Evm(options) => runtime.block_on(evm::run(options)),
        What::Node(options) => runtime.block_on(node::run(options)),
        What::Answer => tokio::runtime::Runtime::new()?.block_on(evm::ceiling::answer()),
        What::Load(options) => runtime.block_on(load_running(options)),
    }
}

async fn load_running(options: LoadOptions) -> anyhow::Result<()> {
    let endpoint = endpoint::Endpoint::new(&options.url, options.ws.as_deref())?;
    let accounts = match &options.accounts_file {
        Some(file) => account::from_file(file)?,
        None => account::predeployed(&endpoint).await?,
    };
    let pace = options.rate.map_or(pace::Pace::Closed, pace::Pace::PerSecond);
    let shape = options.shape;
    let outcome = load::run(&endpoint, &accounts, pace, &shape, options.pid).await?;
    let mut table = report::Table::new(&["measure", "value"]);
    report::outcome_rows(&mut table, &[&outcome]);
    if let Some(pid) = options.pid {
        table.row(&["peak memory".to_owned(), report::megabytes(server::peak_memory(pid)?)]);
    }
    println!("{table}");
    Ok(())
}

/// Waits at most this long for a server to answer, or for the last transactions to be accepted.
const PATIENCE: Duration = Duration::from_secs(60);
