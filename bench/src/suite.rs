//! The whole measurement: ceiling, idle, peak, half load; ours, and a peer beside it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::load::{self, Outcome, Shape};
use crate::pace::Pace;
use crate::report::{self, Table};
use crate::server::{self, Server};
use crate::{account::Account, ceiling};

/// How long an idle chain is looked at.
const IDLE: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Measure starknet-devnet in the same way as well
    #[arg(long)]
    peer: bool,
    /// Where starknet-devnet is, if not on the PATH
    #[arg(long)]
    peer_binary: Option<PathBuf>,
    /// Our binary
    #[arg(long, env = "BENCH_BINARY", default_value = "target/release/sequenza")]
    binary: PathBuf,
    /// Accounts that send in turn
    #[arg(long, default_value_t = 200)]
    accounts: usize,
    /// Load at which latency is measured, as a part of the peak
    #[arg(long, default_value_t = 0.5)]
    part: f64,
    /// Leave the ceiling out
    #[arg(long)]
    no_ceiling: bool,
    /// More arguments for our server, such as `--server=--workers=1`
    #[arg(long = "server", value_name = "ARGUMENT", allow_hyphen_values = true)]
    server_arguments: Vec<String>,
    #[command(flatten)]
    shape: Shape,
}

/// What one chain came to.
struct Measured {
    name: &'static str,
    peak: Outcome,
    half: Outcome,
    memory_peak: u64,
}

/// What a chain without work takes.
struct Idle {
    memory: u64,
    processors: f64,
    close: Option<Close>,
}

/// How long empty blocks took to close.
struct Close {
    blocks: u64,
    mean_ms: f64,
}

/// Measures and prints.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let peer = if options.peer { Some(server::find_peer(options.peer_binary.as_deref())?) } else { None };
    let ceiling = if options.no_ceiling {
        None
    } else {
        eprintln!("ceiling: executing transfers alone …");
        let options = ceiling::Options { accounts: options.accounts, transfers: 3000, chunk: 256 };
        Some(tokio::task::spawn_blocking(move || ceiling::measure(&options)).await??)
    };
    eprintln!("ours, idle for {} s …", IDLE.as_secs());
    let idle = idle(server::ours(&options.binary, 10, &options.server_arguments).await?).await?;
    let ours = server::ours(&options.binary, options.accounts, &options.server_arguments).await?;
    let mut measured = vec![measure("sequenza", ours, &options).await?];
    if let Some(binary) = &peer {
        measured.push(measure("starknet-devnet", server::peer(binary, options.accounts).await?, &options).await?);
    }
    print(&options, ceiling, &idle, &measured);
    Ok(())
}

async fn measure(name: &'static str, server: Server, options: &Options) -> anyhow::Result<Measured> {
    let accounts: &[Account] = &server.accounts;
    eprintln!("{name}: closed loop for {} s …", options.shape.warm_up + options.shape.seconds);
    let pid = Some(server.pid()?);
    let peak = load::run(&server.endpoint, accounts, Pace::Closed, &options.shape, pid).await?;
    let peak = load::checked(peak, name)?;
    let rate = peak.included_per_second * options.part;
    eprintln!("{name}: {:.0}/s; now {rate:.0}/s …", peak.included_per_second);
    let half = load::run(&server.endpoint, accounts, Pace::PerSecond(rate), &options.shape, pid).await?;
    let half = load::checked(half, name)?;
    let memory_peak = server.peak_memory()?;
    server.stop().await.with_context(|| format!("stopping {name}"))?;
    Ok(Measured { name, peak, half, memory_peak })
}

async fn idle(server: Server) -> anyhow::Result<Idle> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = server.pid()?;
    let (first, before) = (close_times(&server).await, server::processor_time(pid)?);
    tokio::time::sleep(IDLE).await;
    let (last, after) = (close_times(&server).await, server::processor_time(pid)?);
    let close = first.zip(last).filter(|(first, last)| last.0 > first.0).map(|(first, last)| Close {
        blocks: last.0 - first.0,
        mean_ms: (last.1 - first.1) * 1000.0 / (last.0 - first.0) as f64,
    });
    let memory = server.memory()?;
    server.stop().await?;
    Ok(Idle { memory, processors: (after - before).as_secs_f64() / IDLE.as_secs_f64(), close })
}

/// Blocks closed so far and the seconds that this took, out of the server's own metrics: from the order to seal until the block is
/// durable and the head.
async fn close_times(server: &Server) -> Option<(u64, f64)> {
    let text = server.endpoint.text("/metrics").await.ok()?;
    let of = |call: &str, what: &str| metric(&text, &format!("_call_duration_seconds_{what}{{call=\"{call}\"}}"));
    let seconds: Option<f64> = ["seal", "import", "set_heads"].iter().map(|call| of(call, "sum")).sum();
    Some((of("set_heads", "count")? as u64, seconds?))
}

/// Value of the sample whose name and labels end so.
fn metric(text: &str, name_end: &str) -> Option<f64> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        if name.ends_with(name_end) { value.parse().ok() } else { None }
    })
}

fn print(options: &Options, ceiling: Option<ceiling::Ceiling>, idle: &Idle, measured: &[Measured]) {
    let shape = &options.shape;
    println!(
        "{} accounts, {} s measured after {} s of load, at most {} in flight, {} connections, a block each second\n",
        options.accounts, shape.seconds, shape.warm_up, shape.in_flight, shape.connections
    );
    let mut head = vec!["measure".to_owned()];
    for chain in measured {
        head.extend([format!("{}, peak", chain.name), format!("{}, at {:.0} %", chain.name, options.part * 100.0)]);
    }
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    let outcomes: Vec<&Outcome> = measured.iter().flat_map(|chain| [&chain.peak, &chain.half]).collect();
    report::outcome_rows(&mut table, &outcomes);
    let mut row = vec!["peak memory".to_owned()];
    row.extend(measured.iter().flat_map(|chain| [report::megabytes(chain.memory_peak), String::new()]));
    table.row(&row);
    println!("{table}");

    let mut table = Table::new(&["measure", "value"]);
    let ours = measured[0].peak.included_per_second;
    if let Some(ceiling) = ceiling {
        table.row(&["execution alone, sequential".to_owned(), format!("{:.0}/s", ceiling.sequential)]);
        table.row(&["execution alone, one worker".to_owned(), format!("{:.0}/s", ceiling.one_worker)]);
        table.row(&["execution alone, two workers".to_owned(), format!("{:.0}/s", ceiling.two_workers)]);
        table.row(&["ours of that ceiling".to_owned(), format!("{:.0} %", 100.0 * ours / ceiling.best())]);
    }
    if let Some(peer) = measured.get(1) {
        table.row(&[format!("ours over {}", peer.name), format!("{:.2}", ours / peer.peak.included_per_second)]);
    }
    let close = match &idle.close {
        Some(close) => format!("{} ms (mean of {})", report::milliseconds(close.mean_ms), close.blocks),
        None => "not told by the server's metrics".to_owned(),
    };
    table.row(&["closing an empty block".to_owned(), close]);
    table.row(&["idle memory".to_owned(), report::megabytes(idle.memory)]);
    table.row(&["idle processors".to_owned(), format!("{:.3}", idle.processors)]);
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_the_end_of_their_name() {
        let text = "# HELP x_sum a\nx_sum{call=\"seal\"} 0.5\nx_sum{call=\"import\"} 0.25\nx_count 4\n";
        assert_eq!(metric(text, "_sum{call=\"import\"}"), Some(0.25));
        assert_eq!(metric(text, "_count"), Some(4.0));
        assert_eq!(metric(text, "_absent"), None);
    }
}
