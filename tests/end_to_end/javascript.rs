//! starknet.js 10.8.0 drives the chain. What is checked stands in the scripts, `tests/clients/javascript`.

use tests::{Chain, Launch, javascript};

async fn chain() -> Chain {
    Launch::new().start().await
}

/// Guards against a receipt, a balance, a nonce and a block that tell different stories about one transfer.
#[tokio::test]
async fn a_transfer_lands() {
    javascript(&chain().await, "transfer.mjs").await;
}

/// Guards against a class that comes back changed, and a second declaration that is not noticed.
#[tokio::test]
async fn a_class_is_declared_deployed_and_used() {
    javascript(&chain().await, "declare_and_deploy.mjs").await;
}

/// Guards against accounts that cannot bring themselves into being.
#[tokio::test]
async fn an_account_deploys_itself() {
    javascript(&chain().await, "deploy_account.mjs").await;
}

/// Guards against half of a transaction staying when the other half fails, and against a revert that costs nothing.
#[tokio::test]
async fn calls_of_one_transaction_share_their_fate() {
    javascript(&chain().await, "multicall.mjs").await;
}

/// Guards against events that are lost or told twice at the edge of a page.
#[tokio::test]
async fn events_are_found_once_each() {
    javascript(&chain().await, "events.mjs").await;
}

/// Guards against estimates that do not suffice, simulations that leave a mark, and a tip that is not paid.
#[tokio::test]
async fn fees_are_estimated_simulated_and_paid() {
    javascript(&chain().await, "fees.mjs").await;
}

/// Guards against traces that differ between the transaction and its block, or hide why it was reverted.
#[tokio::test]
async fn traces_tell_what_happened() {
    javascript(&chain().await, "traces.mjs").await;
}

/// Guards against heads with holes, statuses that go backwards, and subscriptions that cannot be ended.
#[tokio::test]
async fn subscriptions_tell_every_stage() {
    javascript(&chain().await, "subscriptions.mjs").await;
}

/// Guards against a chain that forgets: sealed blocks, state, or a transaction that still waited.
#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mut chain = chain().await;
    javascript(&chain, "before_restart.mjs").await;
    assert!(chain.stop().await.success());
    chain.start_again().await;
    javascript(&chain, "after_restart.mjs").await;
}

/// The same without a chance to put things in order.
#[tokio::test]
async fn everything_is_there_after_a_kill() {
    let mut chain = chain().await;
    javascript(&chain, "before_restart.mjs").await;
    chain.kill();
    chain.start_again().await;
    javascript(&chain, "after_restart.mjs").await;
}
