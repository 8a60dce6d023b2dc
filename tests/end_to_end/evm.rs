//! viem 2.57 drives an EVM chain, and anvil 1.7.1 stands beside it. What is checked stands in the scripts, `tests/clients/evm`.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Launch, viem};

/// Guards against receipts, logs, filters, subscriptions and fees that tell different stories about one transaction.
#[tokio::test]
async fn a_token_is_deployed_used_and_watched() {
    viem(&Launch::evm().start().await, "contract.mjs").await;
}

/// Guards against development methods that answer and do nothing.
#[tokio::test]
async fn blocks_time_and_state_obey_the_developer() {
    viem(&Launch::evm().start().await, "development.mjs").await;
}

/// Guards against a chain that forgets.
#[tokio::test]
async fn an_evm_chain_is_there_after_a_restart_and_after_a_kill() {
    let mut chain = Launch::evm().start().await;
    viem(&chain, "before_restart.mjs").await;
    assert!(chain.stop().await.success());
    chain.start_again().await;
    viem(&chain, "after_restart.mjs").await;
    viem(&chain, "before_restart.mjs").await;
    chain.kill();
    chain.start_again().await;
    viem(&chain, "after_restart.mjs").await;
}

/// Guards against gas, status, logs, balances or storage that differ from what another implementation of the same rules makes of the same
/// transactions, most of which fail.
#[tokio::test]
async fn the_same_transactions_come_out_as_on_anvil() {
    viem(&Launch::evm().start().await, "differential.mjs").await;
}

/// Guards against blocks that do not come by the clock, and against a health that does not see it.
#[tokio::test]
async fn blocks_come_by_the_clock_when_a_block_time_is_given() {
    let chain = Launch::evm().flag("--block-time", "200ms").start().await;
    let height = async || {
        let answer = chain.rpc("eth_blockNumber", json!([])).await.unwrap();
        u64::from_str_radix(answer.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    let before = height().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let made = height().await - before;
    assert!((8..=17).contains(&made), "{made} blocks in 3 s, a block each 200 ms");
    assert_eq!(chain.fetch("/readyz").await.map(|(status, _)| status), Some(200));
}

/// Guards against a chain that waits with all of its work until the block is due: most of what came by then is executed already.
#[tokio::test]
async fn a_block_is_made_while_its_slot_lasts() {
    const COUNT: usize = 600;
    // The clock reaches a full hour in the midst of this once in a long while; then there is one block more.
    let chain = Launch::evm().flag("--block-time", "1h").start().await;
    let accounts = chain.rpc("eth_accounts", json!([])).await.unwrap();
    for count in 0..COUNT {
        let transfer = json!({ "from": accounts[count % 10], "to": accounts[0], "gas": "0x5208", "value": "0x1" });
        chain.rpc("eth_sendTransaction", json!([transfer])).await.unwrap();
    }
    let began = Instant::now();
    let in_flight = async || {
        let (_, text) = chain.fetch("/metrics").await.unwrap();
        let line = text.lines().find(|line| line.starts_with("sequenza_pool_in_flight")).map(str::to_owned);
        line.and_then(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).expect("the metric")
    };
    while in_flight().await < COUNT / 4 {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is executed ahead\n{}", chain.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A block that is asked for now has another date: what was executed is executed for it once more.
    chain.rpc("evm_mine", json!([])).await.unwrap();
    let block = chain.rpc("eth_getBlockByNumber", json!(["latest", false])).await.unwrap();
    assert_eq!(block["transactions"].as_array().map(Vec::len), Some(COUNT));
    assert_eq!(in_flight().await, 0);
}

/// Guards against a data folder that silently becomes another chain's, and flags of anvil that are silently ignored.
#[tokio::test]
async fn what_cannot_be_is_refused_with_the_reason() {
    let launch = Launch::evm();
    let mut chain = launch.start().await;
    launch.clone().flag("--http-port", "0").run().says(75, &["in use by process", "--db-path"]);
    assert!(chain.stop().await.success());
    launch.clone().flag("--accounts", "3").run().says(78, &["another genesis", "--db-path"]);
    launch.clone().flag("--chain-id", "5").run().says(78, &["31337"]);
    launch.clone().flag("--state-interval", "5").run().says(2, &["--state-interval", "--dump-state"]);
    launch.clone().flag("--fork-url", "http://x").run().says(2, &["--fork-url"]);
    launch.clone().flag("--authrpc.port", "8551").run().says(2, &["--authrpc.jwtsecret"]);
    Launch::evm().flag("--genesis", "nowhere.json").run().says(65, &["nowhere.json"]);
}

/// Guards against a loop that does not come round in the shortest slots, and against blocks of one date.
#[tokio::test]
async fn blocks_come_every_200_ms_each_dated_after_the_one_before() {
    let chain = Launch::evm().flag("--block-time", "0.2").start().await;
    let began = Instant::now();
    let mut height = 0;
    while height < 15 {
        let told = chain.rpc("eth_blockNumber", json!([])).await.unwrap();
        height = u64::from_str_radix(told.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        assert!(began.elapsed() < Duration::from_secs(90), "{height} blocks\n{}", chain.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut before = 0;
    for number in 0..=height {
        let block = chain.rpc("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await.unwrap();
        let date = u64::from_str_radix(block["timestamp"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        assert!(date > before, "block {number}: {block}");
        before = date;
    }
}
