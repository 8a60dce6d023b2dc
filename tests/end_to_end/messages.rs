//! Messages from L1 on a development network, where there is none; and an end that leaves no thread behind.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Chain, Launch, STRK};

const LANDS_WITHIN: Duration = Duration::from_secs(20);

fn message(to: &str, nonce: u64) -> Value {
    json!({
        "l2_contract_address": to,
        "entry_point_selector": "0x1",
        "l1_contract_address": "0x00000000000000000000000000000000000000aa",
        "payload": ["0x1", "0x2"],
        "paid_fee_on_l1": "0x123456abcdef",
        "nonce": format!("{nonce:#x}"),
    })
}

async fn receipt(chain: &Chain, hash: &Value) -> Value {
    let all = async {
        loop {
            if let Ok(receipt) = chain.rpc("starknet_getTransactionReceipt", json!([hash])).await
                && receipt["finality_status"] == "ACCEPTED_ON_L2"
            {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LANDS_WITHIN, all).await.expect("it lands in a block")
}

/// Guards against a queue of messages that nothing feeds, and one that forgets them over a restart.
#[tokio::test]
async fn a_message_is_executed_and_told_and_is_there_after_a_restart() {
    let mut chain = Launch::new().start().await;
    let sent = chain.rpc("devnet_postmanSendMessageToL2", message(STRK, 7)).await.unwrap();
    let hash = sent["transaction_hash"].clone();
    let told = receipt(&chain, &hash).await;
    assert_eq!(told["type"], "L1_HANDLER");
    // The token has no such handler: the message is used up all the same.
    assert_eq!(told["execution_status"], "REVERTED", "{told}");
    let transaction = chain.rpc("starknet_getTransactionByHash", json!([hash])).await.unwrap();
    assert_eq!(transaction["calldata"], json!(["0xaa", "0x1", "0x2"]));
    let absent = chain.rpc("devnet_postmanSendMessageToL2", message("0x123", 8)).await.unwrap_err();
    assert_eq!(absent.code(), Some(20));

    let last = chain.rpc("devnet_postmanSendMessageToL2", message(STRK, 9)).await.unwrap();
    chain.kill();
    chain.start_again().await;
    assert_eq!(receipt(&chain, &hash).await, told);
    receipt(&chain, &last["transaction_hash"]).await;
}

/// Guards against workers that take the end of the process for a fault.
#[tokio::test]
async fn the_end_is_quiet_after_work() {
    let mut chain = Launch::new().start().await;
    for nonce in 0..5 {
        chain.rpc("devnet_postmanSendMessageToL2", message(STRK, nonce)).await.unwrap();
    }
    let ended = chain.stop().await;
    assert!(ended.success(), "{ended}");
    let log = chain.log();
    assert!(!log.contains("panicked"), "{log}");
}
