//! The sequencer of a rollup: how punctual its blocks are, idle and under load, while L1 hangs and while L1 brings much at once.
//!
//! Each run starts anvil as L1, `sequenza node` behind a proxy to it, and, in one of the two forms, `sequenza evm` as an engine of its own.
//! To bring much at once L1 mines while the proxy lets nothing through, and is let go then. A block counts as there when the engine announces
//! it to a subscriber of `newHeads`.

mod figures;
mod proxy;
mod rollup;
mod sights;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::U64;
use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde_json::json;

use self::figures::{Calls, Means};
use self::rollup::Rollup;
use self::sights::{Figures, Watch};
use crate::endpoint::Endpoint;
use crate::evm::Shape;
use crate::evm::account::{Account, CHAIN_ID as ALONE_CHAIN_ID, Signed};
use crate::evm::load::Run;
use crate::pace::Pace;
use crate::report::{self, Table};
use crate::server::{self, Server};

/// What the longest gap between two blocks should stay below, in block times.
const GAP_AIM: f64 = 1.5;
/// How long a chain is left alone after its start, before anything is measured.
const SETTLES: Duration = Duration::from_secs(5);
/// How long a chain is still watched once L1 answers again.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// How long a chain is watched at least once the burst is let go: it takes the node some seconds to ask an endpoint again that hung, and to
/// believe a head that is far from the last.
const BURST_LASTS_MIN: Duration = Duration::from_secs(30);
/// L1 blocks that anvil is told to mine in one call.
const MINED_AT_ONCE: u64 = 128;
/// Block time of the chain without L1.
const FAST: Duration = Duration::from_millis(200);

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Our binary
    #[arg(long, env = "BENCH_BINARY", default_value = "target/release/sequenza")]
    binary: PathBuf,
    /// Where anvil is, if neither installed by `cargo xtask test` nor on the PATH
    #[arg(long)]
    anvil: Option<PathBuf>,
    /// Where the engine is; without it both forms, one after the other
    #[arg(long)]
    engine: Option<Form>,
    /// Seconds between two blocks; without it 2 and 1, one after the other
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60))]
    block_time: Option<u64>,
    /// Seconds that are measured idle, and again under load
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Transfers a second, under load
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Seconds for which L1 hangs; 0 leaves this out
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=600))]
    hang: u64,
    /// L1 blocks that are there all at once; 0 leaves this out
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(0..=20_000))]
    burst: u64,
    /// Leave out the chain without L1, with a block each 200 ms
    #[arg(long)]
    no_fast: bool,
    /// Accounts that send in turn
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    accounts: u16,
}

/// Where the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// In the node's own process
    Embedded,
    /// In another process, `sequenza evm`, over the Engine API
    Remote,
}

/// What happens around the chain while it is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    Idle,
    Load,
    Hang,
    Burst,
}

impl Scene {
    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Load => "load",
            Self::Hang => "load, L1 hangs",
            Self::Burst => "load, L1 burst",
        }
    }
}

/// What a chain came to in one scene.
struct Outcome {
    scene: Scene,
    lasted: Duration,
    figures: Figures,
    /// What the node's own metrics say of the time.
    means: Means,
    included: usize,
    processors: f64,
    memory: u64,
}

/// Measures and prints.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let anvil = rollup::find_l1(options.anvil.as_deref())?;
    for form in options.engine.map_or(vec![Form::Embedded, Form::Remote], |form| vec![form]) {
        for block_time in options.block_time.map_or(vec![2, 1], |seconds| vec![seconds]) {
            eprintln!("{form:?}, a block each {block_time} s …");
            let mut bench = Bench::rollup(&options, &anvil, form, block_time).await?;
            let mut outcomes = Vec::new();
            for scene in [Scene::Idle, Scene::Load, Scene::Hang, Scene::Burst] {
                if !left_out(scene, &options) {
                    outcomes.push(bench.measure(scene, &options).await?);
                }
            }
            bench.stop().await?;
            print(&format!("engine {form:?}, a block each {block_time} s"), block_time as f64, &options, &outcomes);
        }
    }
    if !options.no_fast {
        eprintln!("without L1, a block each {} ms …", FAST.as_millis());
        let mut bench = Bench::alone(&options).await?;
        let mut outcomes = Vec::new();
        for scene in [Scene::Idle, Scene::Load] {
            outcomes.push(bench.measure(scene, &options).await?);
        }
        bench.stop().await?;
        print("sequenza evm --block-time 0.2, without L1", FAST.as_secs_f64(), &options, &outcomes);
        println!(
            "A rollup dates its blocks in whole seconds, so that none has a block each 200 ms: this is the same loop on a chain without L1. \
             Its blocks have whole seconds too, so that how late they are cannot be seen: gaps can."
        );
    }
    println!(
        "There is no peer beside it: op-node and kona-node are not to be had as programs from a package registry."
    );
    Ok(())
}

fn left_out(scene: Scene, options: &Options) -> bool {
    match scene {
        Scene::Idle | Scene::Load => false,
        Scene::Hang => options.hang == 0,
        Scene::Burst => options.burst == 0,
    }
}

/// What runs.
enum Running {
    Rollup(Box<Rollup>),
    Alone(Box<Server>),
}

/// A chain that is watched, and the accounts that send on it.
struct Bench {
    running: Running,
    watch: Watch,
    accounts: Vec<Account>,
    /// Transfers that were signed so far: the nonces follow from it.
    signed: usize,
}

impl Bench {
    async fn rollup(options: &Options, anvil: &std::path::Path, form: Form, block_time: u64) -> anyhow::Result<Self> {
        let accounts = Account::development(usize::from(options.accounts), rollup::CHAIN_ID)?;
        let rollup = Rollup::start(&options.binary, anvil, form, block_time, &accounts).await?;
        Self::watched(Running::Rollup(Box::new(rollup)), accounts).await
    }

    async fn alone(options: &Options) -> anyhow::Result<Self> {
        let accounts = Account::development(usize::from(options.accounts), ALONE_CHAIN_ID)?;
        let server = rollup::alone(&options.binary, &FAST.as_secs_f64().to_string(), accounts.len()).await?;
        Self::watched(Running::Alone(Box::new(server)), accounts).await
    }

    async fn watched(running: Running, accounts: Vec<Account>) -> anyhow::Result<Self> {
        let url = running.chain().ws.clone().unwrap_or_default();
        let watch = Watch::start(&url).await?;
        tokio::time::sleep(SETTLES).await;
        ensure!(watch.count() > 0, "no block within {} s of the start", SETTLES.as_secs());
        Ok(Self { running, watch, accounts, signed: 0 })
    }

    async fn measure(&mut self, scene: Scene, options: &Options) -> anyhow::Result<Outcome> {
        eprintln!("  {} …", scene.name());
        let lasts = match scene {
            Scene::Idle | Scene::Load => Duration::from_secs(options.seconds),
            Scene::Hang => Duration::from_secs(options.hang) + AFTERWARDS,
            Scene::Burst => Duration::from_secs(options.seconds).max(BURST_LASTS_MIN),
        };
        self.prepare(scene, options).await?;
        let load = match scene {
            Scene::Idle => None,
            Scene::Load | Scene::Hang | Scene::Burst => Some(self.load(options, lasts).await?),
        };
        let pid = self.running.node().pid()?;
        let before = (Calls::read(&self.running.node().endpoint).await?, server::processor_time(pid)?);
        let from = Instant::now();
        self.play(scene, options).await?;
        tokio::time::sleep_until((from + lasts).into()).await;
        let to = Instant::now();
        let after = (Calls::read(&self.running.node().endpoint).await?, server::processor_time(pid)?);
        let (sights, last) = self.watch.between(from, to);
        let figures = Figures::of(&sights, last, from, to);
        let included = match load {
            Some(load) => load.end().await?,
            None => 0,
        };
        Ok(Outcome {
            scene,
            lasted: to - from,
            means: after.0.since(&before.0),
            included,
            processors: after.1.saturating_sub(before.1).as_secs_f64() / (to - from).as_secs_f64(),
            memory: self.running.node().memory()?,
            figures,
        })
    }

    /// What has to be there before the scene begins: L1 blocks that the node does not see yet.
    async fn prepare(&self, scene: Scene, options: &Options) -> anyhow::Result<()> {
        let (Running::Rollup(rollup), Scene::Burst) = (&self.running, scene) else { return Ok(()) };
        rollup.proxy.hang(true);
        let l1 = &rollup.l1.endpoint;
        let before: U64 = l1.call("eth_blockNumber", json!([])).await?;
        let wanted = before.to::<u64>() + options.burst;
        let mut height = before;
        while height.to::<u64>() < wanted {
            // A second apart: from here on most of L1 is ahead of the clock, and each L2 block may cite the next of them.
            let blocks = json!([format!("{:#x}", MINED_AT_ONCE.min(wanted - height.to::<u64>())), "0x1"]);
            l1.batch(json!([{ "jsonrpc": "2.0", "id": 1, "method": "anvil_mine", "params": blocks }])).await?;
            let now: U64 = l1.call("eth_blockNumber", json!([])).await?;
            ensure!(now > height, "anvil does not mine on order");
            height = now;
        }
        Ok(())
    }

    /// Lets happen to L1 what the scene wants.
    async fn play(&self, scene: Scene, options: &Options) -> anyhow::Result<()> {
        let Running::Rollup(rollup) = &self.running else { return Ok(()) };
        match scene {
            Scene::Idle | Scene::Load => {}
            Scene::Hang => {
                rollup.proxy.hang(true);
                tokio::time::sleep(Duration::from_secs(options.hang)).await;
                rollup.proxy.hang(false);
            }
            Scene::Burst => rollup.proxy.hang(false),
        }
        Ok(())
    }

    async fn load(&mut self, options: &Options, lasts: Duration) -> anyhow::Result<Load> {
        let pace = Pace::PerSecond(options.rate as f64);
        let signed = self.sign(pace.count(lasts.as_secs(), 0));
        let chain = self.running.chain();
        let first = chain.call::<U64>("eth_blockNumber", json!([])).await?.to::<u64>() + 1;
        let shape = Shape {
            seconds: lasts.as_secs(),
            warm_up: 0,
            connections: 8,
            batch: 1,
            waiting: usize::MAX >> 4,
            sign_for: 0,
        };
        let run = Run::new(chain.clone(), signed, pace, &shape, lasts);
        let senders = run.send_from(shape.connections);
        let watcher = tokio::spawn(Arc::clone(&run).watch(first));
        Ok(Load { run, senders, watcher })
    }

    /// Transfers, one of each account in turn.
    fn sign(&mut self, count: usize) -> Vec<Signed> {
        let (senders, first) = (self.accounts.len(), self.signed);
        self.signed += count;
        let transfer = |number: usize| {
            let (index, nonce) = (number % senders, number / senders);
            let to = self.accounts[(index + senders / 2) % senders].address();
            self.accounts[index].transfer(nonce as u64, to)
        };
        (first..self.signed).map(transfer).collect()
    }

    async fn stop(self) -> anyhow::Result<()> {
        match self.running {
            Running::Rollup(rollup) => rollup.stop().await,
            Running::Alone(server) => server.stop().await,
        }
    }
}

impl Running {
    /// The process that decides when blocks are made.
    fn node(&self) -> &Server {
        match self {
            Self::Rollup(rollup) => &rollup.node,
            Self::Alone(server) => server,
        }
    }

    /// Where transactions go and blocks are announced.
    fn chain(&self) -> &Endpoint {
        match self {
            Self::Rollup(rollup) => &rollup.chain,
            Self::Alone(server) => &server.endpoint,
        }
    }
}

/// A load that is being put on the chain.
struct Load {
    run: Arc<Run>,
    senders: Vec<tokio::task::JoinHandle<()>>,
    watcher: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Load {
    /// Waits for what was sent; how many transactions are in a block.
    async fn end(self) -> anyhow::Result<usize> {
        for sender in self.senders {
            sender.await?;
        }
        self.run.settle().await;
        self.run.end();
        self.watcher.await??;
        Ok(self.run.included())
    }
}

fn print(title: &str, block_time: f64, options: &Options, outcomes: &[Outcome]) {
    println!(
        "\n{title}; load: {} transfers a second from {} accounts; blocks seen by newHeads\n",
        options.rate, options.accounts
    );
    let names: Vec<&str> =
        std::iter::once("measure").chain(outcomes.iter().map(|outcome| outcome.scene.name())).collect();
    let mut table = Table::new(&names);
    let mut row = |name: &str, cell: &dyn Fn(&Outcome) -> String| {
        table.row(&std::iter::once(name.to_owned()).chain(outcomes.iter().map(cell)).collect::<Vec<_>>());
    };
    row("seconds", &|outcome| outcome.lasted.as_secs().to_string());
    row("blocks / out of line", &|outcome| format!("{} / {}", outcome.figures.blocks, outcome.figures.out_of_line));
    row("L1 blocks that came into view", &|outcome| format!("{:.0}", outcome.means.l1_blocks));
    row("transactions included", &|outcome| outcome.included.to_string());
    if block_time >= 1.0 {
        row("seen after its time p50 / p99 / max", &|outcome| lateness(&outcome.figures));
        row("the head after its slot, mean, by metrics", &|outcome| millis(outcome.means.lag));
    }
    row("longest gap", &|outcome| format!("{} ms", outcome.figures.longest_gap.as_millis()));
    row("longest gap / block time", &|outcome| format!("{:.2}", ratio(outcome, block_time)));
    for (index, call) in figures::PHASES.iter().enumerate() {
        row(&format!("{call}, mean"), &|outcome| millis(outcome.means.phases[index]));
    }
    row("engine calls for each block", &|outcome| {
        outcome.means.engine_calls.map_or_else(|| "-".to_owned(), |calls| format!("{calls:.2}"))
    });
    row("processors of the deciding process", &|outcome| format!("{:.3}", outcome.processors));
    row("its memory", &|outcome| report::megabytes(outcome.memory));
    println!("{table}");
    let worst = outcomes.iter().map(|outcome| ratio(outcome, block_time)).fold(0.0, f64::max);
    let verdict = if worst < GAP_AIM { "held" } else { "MISSED" };
    println!("longest gap between blocks / block time: {worst:.2}; the aim, below {GAP_AIM}, is {verdict}");
}

fn ratio(outcome: &Outcome, block_time: f64) -> f64 {
    outcome.figures.longest_gap.as_secs_f64() / block_time
}

fn lateness(figures: &Figures) -> String {
    let at = |part| figures.late_within(part).map_or_else(|| "-".to_owned(), |late| format!("{:.0}", late * 1_000.0));
    format!("{} / {} / {} ms", at(0.5), at(0.99), at(1.0))
}

fn millis(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{} ms", report::milliseconds(seconds * 1_000.0)))
}
