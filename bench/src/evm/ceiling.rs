//! The ceiling: what any server could answer on this machine beside this generator. It reads a transaction, finds out who signed it, and answers
//! its hash; it keeps nothing, executes nothing, and makes no block.

use std::process::Stdio;
use std::time::Duration;

use alloy_consensus::TxEnvelope;
use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, Bytes};
use anyhow::Context;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use super::Shape;
use super::account::{Account, Signed};
use super::load::{Run, TRANSACTIONS_MAX};
use crate::endpoint::Endpoint;
use crate::pace::Pace;
use crate::{answering, server};

/// The subcommand under which this program is that server.
pub(crate) const SUBCOMMAND: &str = "answer";

/// Measures how many transactions a second such a server answers.
pub(crate) async fn run(accounts: &[Account], shape: &Shape) -> anyhow::Result<()> {
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("this program cannot be started once more")?;
    let mut told = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut told).await?;
    let endpoint = Endpoint::new(told.trim(), None)?;
    let seconds = shape.seconds + shape.warm_up;
    let signed = sign(accounts, Pace::Closed.count(seconds, shape.sign_for));
    // Nothing is included, so that nothing makes room.
    let run = Run::new(
        endpoint,
        signed,
        Pace::Closed,
        &Shape { waiting: TRANSACTIONS_MAX, ..shape.clone() },
        Duration::from_secs(seconds),
    );
    let senders = run.send_from(shape.connections);
    let processors =
        server::processors(child.id().context("it ended")?, run.measured().start, run.measured().end).await?;
    for sender in senders {
        sender.await?;
    }
    child.kill().await?;
    println!(
        "ceiling: {:.0}/s answered{}, {processors:.2} processors used by a server that only finds out who signed ({} connections, {} to a request)",
        run.answered_per_second(),
        run.ran_dry(),
        shape.connections,
        shape.batch,
    );
    Ok(())
}

fn sign(accounts: &[Account], count: usize) -> Vec<Signed> {
    let sign = |number: usize| {
        let (from, to) = (&accounts[number % accounts.len()], &accounts[(number + 1) % accounts.len()]);
        from.transfer((number / accounts.len()) as u64, to.address())
    };
    (0..count).map(sign).collect()
}

/// Is that server until it is ended.
pub(crate) async fn answer() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(answering::serve(stream, answer_to));
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    One(Request),
    Many(Vec<Request>),
}

#[derive(Deserialize)]
struct Request {
    params: (Bytes,),
}

fn answer_to(body: &[u8]) -> anyhow::Result<String> {
    match serde_json::from_slice(body)? {
        Message::One(request) => hash(&request),
        Message::Many(requests) => {
            Ok(format!("[{}]", requests.iter().map(hash).collect::<anyhow::Result<Vec<_>>>()?.join(",")))
        }
    }
}

fn hash(request: &Request) -> anyhow::Result<String> {
    let transaction = TxEnvelope::decode_2718(&mut &request.params.0[..])?;
    let sender = transaction.recover_signer()?;
    anyhow::ensure!(!sender.is_zero(), "nobody signed it");
    let hash: &B256 = transaction.tx_hash();
    Ok(format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{hash}"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_answers_the_hash_of_what_is_signed_and_nothing_else() {
        let accounts = Account::development(2, 31_337).expect("the words are good");
        let signed = accounts[0].transfer(0, accounts[1].address());
        let message = serde_json::from_str(&signed.body).expect("a request");
        let Message::One(request) = message else { panic!("one request") };
        assert!(hash(&request).expect("signed").contains(&signed.hash.to_string()));
        assert!(hash(&Request { params: (Bytes::from_static(b"\x02\xc0"),) }).is_err());
    }
}
