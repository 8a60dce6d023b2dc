//! The whole measurement of EVM chains: each load in each way of mining, ours, and anvil beside it.

pub(crate) mod account;
pub(crate) mod ceiling;
mod chain;
pub(crate) mod load;
mod soak;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::account::Account;
use self::chain::Chain;
use self::load::Outcome;
use crate::pace::Pace;
use crate::report::{self, Table};
use crate::server;

/// Transactions that wait for a block of their own, at most.
const AUTOMINE_WAITING_MAX: usize = 256;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Measure this chain in the same way as well
    #[arg(long, value_name = "NAME", value_parser = ["anvil"])]
    peer: Option<String>,
    /// Where the peer's program is, if neither installed by `cargo xtask test` nor on the PATH
    #[arg(long)]
    peer_binary: Option<PathBuf>,
    /// Our binary
    #[arg(long, env = "BENCH_BINARY", default_value = "target/release/sequenza")]
    binary: PathBuf,
    /// Accounts that send in turn
    #[arg(long, default_value_t = 200)]
    accounts: usize,
    /// What is sent; without it both, one after the other
    #[arg(long)]
    load: Option<Load>,
    /// When blocks are made; without it both ways, one after the other
    #[arg(long)]
    mining: Option<Mining>,
    /// Instead of all that: send so many transfers with a block each second and look at the memory ten times
    #[arg(long, value_name = "TRANSACTIONS")]
    soak: Option<usize>,
    /// Instead of all that: what a server answers that only finds out who signed each transfer. No chain on this machine can take more
    #[arg(long, conflicts_with_all = ["soak", "peer"])]
    ceiling: bool,
    /// Load at which latency is measured, as a part of the chain's own peak
    #[arg(long, default_value_t = 0.8)]
    part: f64,
    #[command(flatten)]
    shape: Shape,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// Ether from account to account
    Transfers,
    /// A token from account to account: a call, two slots, a log
    Erc20,
}

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mining {
    /// One each second
    Interval,
    /// One for each transaction, or for those that came meanwhile
    Automine,
}

/// What a run looks like, whatever its pace.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shape {
    /// Seconds that are measured
    #[arg(long, default_value_t = 15)]
    pub(crate) seconds: u64,
    /// Seconds of load before the measurement
    #[arg(long, default_value_t = 5)]
    pub(crate) warm_up: u64,
    /// Connections, each of which sends when its last transaction was answered
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Transactions that a connection sends in one JSON-RPC batch. One by one, most of what is measured on a small machine is HTTP
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) batch: u64,
    /// Closed loop: transactions that are in no block yet, at most. With a block for each transaction at most 256: anvil slows down with each
    /// that waits there
    #[arg(long, default_value_t = 20_000)]
    pub(crate) waiting: usize,
    /// Closed loop: transactions a second that are signed ahead for
    #[arg(long, default_value_t = 9_000)]
    pub(crate) sign_for: usize,
}

/// What one chain came to under one load.
struct Measured {
    peak: Outcome,
    part: Outcome,
    memory_peak: u64,
    /// What ninety-nine blocks in a hundred took at most from the order to seal until they were the head.
    block_p99: Option<String>,
}

/// Measures and prints.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    if options.ceiling {
        let accounts = Account::development(options.accounts, account::CHAIN_ID)?;
        return ceiling::run(&accounts, &options.shape).await;
    }
    let mut programs = vec![("sequenza", options.binary.clone())];
    if let Some(peer) = &options.peer {
        programs.push(("anvil", server::find_anvil(options.peer_binary.as_deref())?));
        eprintln!("beside {peer} at {}", programs[1].1.display());
    }
    let accounts = Account::development(options.accounts, account::CHAIN_ID)?;
    if let Some(transactions) = options.soak {
        return soak::run(&programs, &accounts, transactions, &options.shape).await;
    }
    for load in options.load.map_or(vec![Load::Transfers, Load::Erc20], |load| vec![load]) {
        for mining in options.mining.map_or(vec![Mining::Interval, Mining::Automine], |mining| vec![mining]) {
            let mut measured = Vec::new();
            for (name, program) in &programs {
                eprintln!("{name}, {load:?}, {mining:?} …");
                let chain = Chain::start(name, program, &accounts, load, mining).await?;
                measured.push((*name, measure(chain, mining, &options).await?));
            }
            print(load, mining, &options, &measured);
        }
    }
    Ok(())
}

async fn measure(mut chain: Chain, mining: Mining, options: &Options) -> anyhow::Result<Measured> {
    let waiting = if mining == Mining::Automine { AUTOMINE_WAITING_MAX } else { usize::MAX };
    let shape = &Shape { waiting: options.shape.waiting.min(waiting), ..options.shape.clone() };
    let pid = chain.server.pid()?;
    let peak = load::run(&mut chain, Pace::Closed, shape, pid).await?;
    let rate = peak.included_per_second * options.part;
    eprintln!("  {:.0}/s; now {rate:.0}/s …", peak.included_per_second);
    let before = chain.block_times().await;
    let part = load::run(&mut chain, Pace::PerSecond(rate), shape, pid).await?;
    let after = chain.block_times().await;
    let memory_peak = chain.server.peak_memory()?;
    chain.server.stop().await?;
    let block_p99 = before.zip(after).map(|(before, after)| after.since(&before).told(0.99));
    Ok(Measured { peak, part, memory_peak, block_p99 })
}

fn print(load: Load, mining: Mining, options: &Options, measured: &[(&str, Measured)]) {
    let shape = &options.shape;
    println!(
        "\n{load:?}, {mining:?}: {} accounts, {} s measured after {} s of load, {} connections, {} to a request\n",
        options.accounts, shape.seconds, shape.warm_up, shape.connections, shape.batch
    );
    let mut head = vec!["measure".to_owned()];
    for (name, _) in measured {
        head.extend([format!("{name}, peak"), format!("{name}, at {:.0} %", options.part * 100.0)]);
    }
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells = measured.iter().flat_map(|(_, chain)| [cell(&chain.peak), cell(&chain.part)]);
        table.row(&std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>());
    };
    row("included", &Outcome::rate);
    row("sent / refused / failed of 200 / lost", &Outcome::counts);
    row("blocks", &|outcome| outcome.blocks.to_string());
    row("to the answer p50 / p99", &|outcome| report::percentiles(&outcome.answered, &[0.5, 0.99]));
    row("to the block p50 / p99", &|outcome| report::percentiles(&outcome.included, &[0.5, 0.99]));
    row("processors used", &|outcome| format!("{:.2}", outcome.processors));
    let mut row = vec!["peak memory".to_owned()];
    row.extend(measured.iter().flat_map(|(_, chain)| [report::megabytes(chain.memory_peak), String::new()]));
    table.row(&row);
    println!("{table}");
    if let Some(p99) = &measured[0].1.block_p99 {
        println!("a block at {:.0} % load, p99: {p99}", options.part * 100.0);
    }
    if let [(_, ours), (peer, theirs)] = measured {
        println!("ours over {peer}: {:.2}", ours.peak.included_per_second / theirs.peak.included_per_second);
    }
}
