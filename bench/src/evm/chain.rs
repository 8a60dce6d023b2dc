//! A chain that runs for a measurement, and what it says of itself.

use std::path::Path;

use alloy_primitives::{Address, B256, U64};
use anyhow::{Context, bail};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::{Account, Signed};
use super::{Load, Mining};
use crate::PATIENCE;
use crate::endpoint::Endpoint;
use crate::server::{self, Server};

/// The calls between the order to build a block and its being the head.
const CALLS: [&str; 3] = ["seal", "import", "set_heads"];
/// What each account gets of the token before the measurement.
const TOKENS: u64 = 1_000_000_000;

/// A chain, the accounts that it funded and what they are to send.
pub(crate) struct Chain {
    pub(crate) server: Server,
    accounts: Vec<Account>,
    nonces: Vec<u64>,
    token: Option<Address>,
}

/// A block as far as the measurement needs it.
#[derive(Debug, Deserialize)]
pub(crate) struct Block {
    pub(crate) number: U64,
    pub(crate) transactions: Vec<B256>,
}

#[derive(Deserialize)]
struct Receipt {
    status: U64,
}

impl Chain {
    /// Starts a program of this name in a folder of its own.
    pub(crate) async fn start(
        name: &str,
        program: &Path,
        accounts: &[Account],
        load: Load,
        mining: Mining,
    ) -> anyhow::Result<Self> {
        let interval = mining == Mining::Interval;
        let server = server::evm(program, name == "anvil", accounts.len(), interval).await?;
        let nonces = vec![0; accounts.len()];
        let mut chain = Self { server, accounts: accounts.to_vec(), nonces, token: None };
        if load == Load::Erc20 {
            chain.found_token().await?;
        }
        Ok(chain)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.server.endpoint
    }

    /// Makes the token and gives everybody some.
    async fn found_token(&mut self) -> anyhow::Result<()> {
        let maker = self.accounts[0].clone();
        let creation = maker.create_token(self.next_nonce(0));
        self.send(&creation).await?;
        let receipt = self.receipt(&creation).await?;
        let token: Address = serde_json::from_value(receipt["contractAddress"].clone()).context("no token")?;
        let mut last = creation;
        for index in 1..self.accounts.len() {
            let (to, nonce) = (self.accounts[index].address(), self.next_nonce(0));
            last = maker.transfer_token(token, nonce, to, TOKENS);
            self.send(&last).await?;
        }
        if self.receipt(&last).await?["status"] != json!("0x1") {
            bail!("the token cannot be handed out");
        }
        self.token = Some(token);
        Ok(())
    }

    async fn send(&self, signed: &Signed) -> anyhow::Result<()> {
        self.endpoint().send::<Value>(signed.body.clone()).await.map(drop)
    }

    async fn receipt(&self, signed: &Signed) -> anyhow::Result<Value> {
        let until = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < until {
            let asked: anyhow::Result<Value> =
                self.endpoint().call("eth_getTransactionReceipt", json!([signed.hash])).await;
            // Null is no answer here: it is in no block yet.
            if let Ok(receipt) = asked {
                return Ok(receipt);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        bail!("{} is in no block after {} s", signed.hash, PATIENCE.as_secs())
    }

    fn next_nonce(&mut self, index: usize) -> u64 {
        let nonce = self.nonces[index];
        self.nonces[index] += 1;
        nonce
    }

    /// Transactions in the order to send them: one of each account, then the next of each.
    pub(crate) fn sign(&mut self, count: usize) -> Vec<Signed> {
        let senders = self.accounts.len();
        let plan: Vec<(usize, u64)> =
            (0..count).map(|number| (number % senders, self.next_nonce(number % senders))).collect();
        let sign = |(index, nonce): (usize, u64)| {
            let (from, to) = (&self.accounts[index], self.accounts[(index + senders / 2) % senders].address());
            match self.token {
                Some(token) => from.transfer_token(token, nonce, to, 1),
                None => from.transfer(nonce, to),
            }
        };
        plan.into_par_iter().map(sign).collect()
    }

    /// These were signed and not sent: their nonces come again.
    pub(crate) fn unsent(&mut self, first: usize, count: usize) {
        let senders = self.accounts.len();
        for number in first..count {
            self.nonces[number % senders] -= 1;
        }
    }

    /// How many of these transactions failed.
    pub(crate) async fn failed(&self, hashes: &[B256]) -> anyhow::Result<usize> {
        let mut failed = 0;
        for hash in hashes {
            let receipt: Receipt = self.endpoint().call("eth_getTransactionReceipt", json!([hash])).await?;
            failed += usize::from(receipt.status.is_zero());
        }
        Ok(failed)
    }

    /// How long blocks took so far, out of the server's own metrics; `None` of a server that has none.
    pub(crate) async fn block_times(&self) -> Option<Times> {
        let text = self.endpoint().text("/metrics").await.ok()?;
        let calls: Vec<Buckets> = CALLS.iter().map(|call| buckets(&text, call)).collect();
        calls.iter().all(|buckets| !buckets.is_empty()).then_some(Times(calls))
    }
}

/// Upper bound in seconds, and how many took up to it.
type Buckets = Vec<(f64, f64)>;

/// A histogram of each of [`CALLS`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Times(Vec<Buckets>);

impl Times {
    /// What came since an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let less = |(now, then): (&Buckets, &Buckets)| {
            now.iter().zip(then).map(|(now, then)| (now.0, now.1 - then.1)).collect()
        };
        Self(self.0.iter().zip(&earlier.0).map(less).collect())
    }

    /// What this part of the blocks took at most, call by call, and the sum of that, which no block may have taken.
    pub(crate) fn told(&self, part: f64) -> String {
        let calls: Vec<f64> = self.quantiles(part).map(|seconds| seconds * 1_000.0).collect();
        let each = CALLS.iter().zip(&calls).map(|(call, time)| format!("{call} {time:.0}"));
        format!("{} ms; together {:.0} ms", each.collect::<Vec<_>>().join(", "), calls.iter().sum::<f64>())
    }

    fn quantiles(&self, part: f64) -> impl Iterator<Item = f64> {
        self.0.iter().map(move |buckets| quantile(buckets, part))
    }
}

/// The histogram of a call in the text of the server's metrics.
fn buckets(text: &str, call: &str) -> Buckets {
    let call = format!("call=\"{call}\"");
    let lines = text.lines().filter(|line| line.contains("_call_duration_seconds_bucket{") && line.contains(&call));
    let read = lines.filter_map(|line| {
        let (labels, count) = line.rsplit_once(' ')?;
        let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
        Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
    });
    read.collect()
}

/// Where this part of the samples ends, between two bounds in proportion.
fn quantile(buckets: &Buckets, part: f64) -> f64 {
    let wanted = buckets.last().map_or(0.0, |bucket| bucket.1) * part;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted && *count > below {
            let high = if bound.is_finite() { *bound } else { low };
            return low + (high - low) * (wanted - below) / (count - below);
        }
        (low, below) = (*bound, *count);
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_read_from_the_metrics() {
        let line =
            |bound: &str, count| format!("x_call_duration_seconds_bucket{{le=\"{bound}\",call=\"seal\"}} {count}\n");
        let first = line("0.1", 1) + &line("0.2", 1) + &line("+Inf", 1);
        let later = line("0.1", 51) + &line("0.2", 101) + &line("+Inf", 101);
        let times = Times(vec![buckets(&later, "seal")]).since(&Times(vec![buckets(&first, "seal")]));
        let at = |part| times.quantiles(part).sum::<f64>();
        assert!((at(0.5) - 0.1).abs() < 1e-9);
        assert!((at(0.75) - 0.15).abs() < 1e-9);
        assert!(times.told(0.5).ends_with("100 ms; together 100 ms"), "{}", times.told(0.5));
        assert!(buckets(&later, "import").is_empty());
    }
}
