//! Memory over many transactions: what a chain holds after each tenth of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::U64;
use serde_json::json;

use super::account::Account;
use super::chain::Chain;
use super::load::{Run, TRANSACTIONS_MAX};
use super::{Load, Mining, Shape};
use crate::pace::Pace;
use crate::report::{self, Table};

/// Looks at the memory.
const LOOKS: usize = 10;
/// A chain that takes longer is not waited for.
const LASTS_MAX: Duration = Duration::from_secs(900);

/// Sends `transactions` transfers to each chain, with a block each second, and prints its memory.
pub(crate) async fn run(
    programs: &[(&str, PathBuf)],
    accounts: &[Account],
    transactions: usize,
    shape: &Shape,
) -> anyhow::Result<()> {
    let transactions = transactions.min(TRANSACTIONS_MAX);
    let mut series = Vec::new();
    for (name, program) in programs {
        eprintln!("{name}: {transactions} transfers …");
        let chain = Chain::start(name, program, accounts, Load::Transfers, Mining::Interval).await?;
        series.push((*name, memory(chain, transactions, shape).await?));
    }
    let mut head = vec!["transactions".to_owned()];
    head.extend(series.iter().map(|(name, _)| format!("memory of {name}")));
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for look in 0..=LOOKS {
        let mut row = vec![(transactions * look / LOOKS).to_string()];
        row.extend(
            series
                .iter()
                .map(|(_, series)| series.get(look).map_or_else(String::new, |bytes| report::megabytes(*bytes))),
        );
        table.row(&row);
    }
    println!("{table}");
    Ok(())
}

async fn memory(mut chain: Chain, transactions: usize, shape: &Shape) -> anyhow::Result<Vec<u64>> {
    let signed = chain.sign(transactions);
    let first = chain.endpoint().call::<U64>("eth_blockNumber", json!([])).await?.to::<u64>() + 1;
    let mut series = vec![chain.server.memory()?];
    let run = Run::new(chain.endpoint().clone(), signed, Pace::Closed, shape, LASTS_MAX);
    let senders = run.send_from(shape.connections);
    let watcher = tokio::spawn(Arc::clone(&run).watch(first));
    let began = Instant::now();
    while series.len() <= LOOKS && began.elapsed() < LASTS_MAX {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if run.included() >= transactions * series.len() / LOOKS {
            series.push(chain.server.memory()?);
        }
    }
    for sender in senders {
        sender.await?;
    }
    run.end();
    watcher.await??;
    chain.server.stop().await?;
    Ok(series)
}
