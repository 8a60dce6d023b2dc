//! The EVM chain is killed again and again while transactions pour in. Whatever was acknowledged must be there afterwards.

use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};
use tests::{Caller, Chain, Launch, RpcError};
use tokio::task::JoinSet;

/// A full check of the data folder from scratch comes after each so many kills, and at the end.
const KILLS_PER_VERIFY: u32 = 10;
/// Accounts that send.
const SENDERS: usize = 4;
/// How long what waits may take to be included at the end.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// Guards against an acknowledged transaction that a power cut forgets, a block that is half there, and a state root that the state does not
/// have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_five_kills_of_an_evm_chain_lose_nothing() {
    let mut chain = Launch::evm().start().await;
    let accounts = chain.rpc("eth_accounts", json!([])).await.unwrap();
    let accounts: Vec<String> = serde_json::from_value(accounts).unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut tip = (0, block(&chain, 0).await["hash"].clone());
    for kill in 1..=25 {
        let mut load = JoinSet::new();
        for sender in &accounts[..SENDERS] {
            load.spawn(send(chain.caller(), sender.clone(), accounts[SENDERS].clone()));
        }
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..500))).await;
        chain.kill();
        while let Some(heard) = load.join_next().await {
            acknowledged.extend(heard.unwrap());
        }
        if kill % KILLS_PER_VERIFY == 0 {
            verify(&chain);
        }
        chain.start_again().await;
        tip = follow(&chain, tip).await;
        for hash in &acknowledged {
            let found = chain.rpc("eth_getTransactionByHash", json!([hash])).await.unwrap();
            assert_eq!(found["hash"], **hash, "acknowledged and gone\n{}", chain.log());
        }
    }
    let started = tokio::time::Instant::now();
    for hash in &acknowledged {
        while chain.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap().is_null() {
            assert!(started.elapsed() < DRAINED_WITHIN, "{hash} is never included\n{}", chain.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(chain.stop().await.success(), "{}", chain.log());
    verify(&chain);
    assert!(acknowledged.len() > 25, "hardly anything was acknowledged: the kills hit nothing");
}

/// Sends one transfer after the other until the chain is gone; the hashes that it was given.
async fn send(caller: Caller, from: String, to: String) -> Vec<String> {
    let mut hashes = Vec::new();
    loop {
        let transfer = json!({ "from": from, "to": to, "value": "0x1", "gas": "0x5208" });
        match caller.rpc("eth_sendTransaction", json!([transfer])).await {
            Ok(hash) => hashes.push(hash.as_str().unwrap().to_owned()),
            Err(RpcError::Lost(_)) => return hashes,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Each new block continues the one before; returns the newest.
async fn follow(chain: &Chain, tip: (u64, Value)) -> (u64, Value) {
    let height = chain.rpc("eth_blockNumber", json!([])).await.unwrap();
    let height = u64::from_str_radix(height.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    assert!(height >= tip.0, "the chain lost blocks: {height} after {}\n{}", tip.0, chain.log());
    assert_eq!(block(chain, tip.0).await["hash"], tip.1, "block {} changed", tip.0);
    let (first, mut hash) = tip;
    for number in first + 1..=height {
        let next = block(chain, number).await;
        assert_eq!(next["parentHash"], hash, "block {number} does not continue its parent");
        hash = next["hash"].clone();
    }
    (height, hash)
}

async fn block(chain: &Chain, number: u64) -> Value {
    chain.rpc("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await.unwrap()
}

/// Checks the folder of a chain that does not run: log, blocks, and the state root from scratch.
fn verify(chain: &Chain) {
    let folder = chain.launch().data();
    let launch = Launch::bare().subcommand("verify").switch("evm").flag("--db-path", folder);
    let ended = launch.run();
    assert!(ended.status.success(), "{ended:#?}\n{}", chain.log());
}
