//! What is typed has an effect, or is refused with a reason.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Account, Chain, Felt, Launch, RpcError, STRK, SignedTransfer, hex};

async fn latest(chain: &Chain) -> Value {
    chain.rpc("starknet_getBlockWithTxHashes", json!(["latest"])).await.unwrap()
}

async fn balance(chain: &Chain, owner: &Account) -> Felt {
    // sn_keccak("balance_of")
    let selector = "0x35a73cd311a05d46deda634c5ee045db92f811b4e74bca4437fcb5302b7af33";
    let call = json!({ "contract_address": STRK, "entry_point_selector": selector, "calldata": [hex(&owner.address)] });
    let answer = chain.rpc("starknet_call", json!([call, "latest"])).await.unwrap();
    Felt::from_hex(answer[0].as_str().unwrap()).unwrap()
}

async fn transfer(chain: &Chain, nonce: u64) -> SignedTransfer {
    let chain_id = chain.rpc("starknet_chainId", json!([])).await.unwrap();
    let chain_id = Felt::from_hex(chain_id.as_str().unwrap()).unwrap();
    let accounts = chain.accounts();
    accounts[0].transfer(chain_id, nonce, accounts[1].address, 7)
}

async fn send(chain: &Chain, transfer: &SignedTransfer) -> Result<Value, RpcError> {
    chain.rpc("starknet_addInvokeTransaction", json!([transfer.transaction])).await
}

async fn receipt(chain: &Chain, transfer: &SignedTransfer) -> Value {
    for _ in 0..400 {
        match chain.rpc("starknet_getTransactionReceipt", json!([hex(&transfer.hash)])).await {
            Ok(receipt) if receipt["finality_status"] == "ACCEPTED_ON_L2" => return receipt,
            _ => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
    panic!("{:#x} did not land\n{}", transfer.hash, chain.log());
}

/// Guards against flags of the chain that are parsed and forgotten.
#[tokio::test]
async fn what_makes_the_chain_is_in_its_blocks() {
    let launch = Launch::new()
        .flag("--chain-id", "SN_FLAGS")
        .flag("--protocol-version", "0.14.2")
        .flag("--sequencer-address", "0xabc")
        .flag("--da-mode", "blob")
        .flag("--gas-price-wei", "1000000001")
        .flag("--gas-price-fri", "1000000002")
        .flag("--data-gas-price-wei", "1000000003")
        .flag("--data-gas-price-fri", "1000000004")
        .flag("--l2-gas-price-wei", "1000000005")
        .flag("--l2-gas-price-fri", "1000000006");
    let chain = launch.start().await;
    chain.blocks(1).await;
    let block = latest(&chain).await;
    assert_eq!(chain.rpc("starknet_chainId", json!([])).await, Ok(hex(&Felt::from_bytes_be_slice(b"SN_FLAGS")).into()));
    assert_eq!(block["starknet_version"], "0.14.2");
    assert_eq!(block["sequencer_address"], "0xabc");
    assert_eq!(block["l1_da_mode"], "BLOB");
    let price =
        |wei: u64, fri: u64| json!({ "price_in_wei": format!("{wei:#x}"), "price_in_fri": format!("{fri:#x}") });
    assert_eq!(block["l1_gas_price"], price(1_000_000_001, 1_000_000_002));
    assert_eq!(block["l1_data_gas_price"], price(1_000_000_003, 1_000_000_004));
    assert_eq!(block["l2_gas_price"], price(1_000_000_005, 1_000_000_006));
}

/// Guards against accounts that do not follow from the seed, and balances that are not what was asked for.
#[tokio::test]
async fn development_accounts_follow_their_flags() {
    let launch = |seed: &str| {
        Launch::new().flag("--accounts", "3").flag("--seed", seed).flag("--initial-balance", "5000000000000000000000")
    };
    let chain = launch("7").start().await;
    let accounts = chain.accounts();
    assert_eq!(accounts.len(), 3);
    assert_eq!(balance(&chain, &accounts[2]).await, Felt::from(5_000_000_000_000_000_000_000_u128));
    assert_eq!(launch("7").start().await.accounts(), accounts);
    assert_ne!(launch("8").start().await.accounts(), accounts);
}

/// Guards against blocks at a pace of their own.
#[tokio::test]
async fn blocks_come_at_the_time_that_was_asked_for() {
    for (time, least, most) in [("250ms", 7, 14), ("1", 2, 4)] {
        let chain = Launch::new().flag("--seq-block-time", time).start().await;
        chain.blocks(1).await;
        let before = chain.height().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let made = chain.height().await - before;
        assert!((least..=most).contains(&made), "{made} blocks in 3 s with --seq-block-time {time}");
    }
}

/// Guards against empty blocks that nobody wanted, and against a chain that then never makes one.
#[tokio::test]
async fn no_empty_blocks_means_none() {
    let chain = Launch::new().switch("--no-empty-blocks").start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(chain.height().await, 0);
    let transfer = transfer(&chain, 0).await;
    send(&chain, &transfer).await.unwrap();
    receipt(&chain, &transfer).await;
    assert_eq!(chain.height().await, 1);
}

/// Guards against fees that are charged although they are off, and not charged although they are on.
#[tokio::test]
async fn fees_are_on_unless_switched_off() {
    for disabled in [false, true] {
        let launch = Launch::new();
        let launch = if disabled { launch.switch("--seq-disable-fees") } else { launch };
        let chain = launch.start().await;
        let transfer = transfer(&chain, 0).await;
        send(&chain, &transfer).await.unwrap();
        let receipt = receipt(&chain, &transfer).await;
        assert_eq!(receipt["actual_fee"]["amount"] == "0x0", disabled, "{receipt}");
    }
}

/// Guards against calls without bounds. The bundled account is metered in VM steps, the STRK token in gas.
#[tokio::test]
async fn calls_are_bounded_in_steps_and_gas() {
    // Genesis is made of calls too, and is built without the bound first.
    let mut chain = Launch::new().start().await;
    let owner = hex(&chain.accounts()[0].address);
    assert!(chain.stop().await.success());
    let public_key = json!({
        "contract_address": owner,
        // sn_keccak("get_public_key")
        "entry_point_selector": "0x1a35984e05126dbecb7c3bb9929e7dd9106d460c59b1633739a5c733a5fb13b",
        "calldata": [],
    });
    let balance = json!({
        "contract_address": STRK,
        // sn_keccak("balance_of")
        "entry_point_selector": "0x35a73cd311a05d46deda634c5ee045db92f811b4e74bca4437fcb5302b7af33",
        "calldata": [owner],
    });
    for (flag, value, call) in [("--rpc-call-max-steps", "50", public_key), ("--rpc-call-max-gas", "1000", balance)] {
        let unbound = chain.launch().start().await;
        assert!(unbound.rpc("starknet_call", json!([call, "latest"])).await.is_ok());
        drop(unbound);
        let bound = chain.launch().clone().flag(flag, value).start().await;
        let answer = bound.rpc("starknet_call", json!([call, "latest"])).await;
        assert_eq!(answer.clone().map_err(|error| error.code()), Err(Some(40)), "{flag}: {answer:?}");
    }
}

/// Guards against a pool without bounds: per account, in the distance of nonces, in number and in time.
#[tokio::test]
async fn the_pool_keeps_to_its_bounds() {
    let launch = Launch::new().flag("--pool-per-account", "2").flag("--pool-nonce-gap", "5").flag("--pool-ttl", "2s");
    let chain = launch.start().await;
    // Nonce 0 is never sent, so that these wait.
    let waiting = transfer(&chain, 1).await;
    send(&chain, &waiting).await.unwrap();
    send(&chain, &transfer(&chain, 2).await).await.unwrap();
    assert!(send(&chain, &transfer(&chain, 3).await).await.is_err(), "a third of one account");
    let far = send(&chain, &transfer(&chain, 9).await).await;
    assert_eq!(far.map_err(|error| error.code()), Err(Some(52)), "a nonce far ahead");
    let status = chain.rpc("starknet_getTransactionStatus", json!([hex(&waiting.hash)])).await.unwrap();
    assert_eq!(status["finality_status"], "RECEIVED");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let status = chain.rpc("starknet_getTransactionStatus", json!([hex(&waiting.hash)])).await;
    assert_eq!(status.map_err(|error| error.code()), Err(Some(29)), "it waited longer than it may");

    let small = Launch::new().flag("--pool-transactions", "8").start().await;
    let mut taken = 0;
    for nonce in 1..=9 {
        taken += u32::from(send(&small, &transfer(&small, nonce).await).await.is_ok());
    }
    assert!((1..=8).contains(&taken), "{taken} of 9 were taken into a pool for 8");
}

/// Guards against limits of JSON-RPC that are only written down.
#[tokio::test]
async fn json_rpc_keeps_to_its_limits() {
    let launch = Launch::new()
        .flag("--rpc-batch-max", "2")
        .flag("--rpc-body-max", "2000")
        .flag("--rpc-response-max", "4000")
        .flag("--rpc-event-page-max", "3");
    let chain = launch.start().await;
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "starknet_blockNumber" });
    let answer = async |calls: usize| {
        let (_, body) = chain.post(Value::from(vec![call.clone(); calls]).to_string()).await.unwrap();
        serde_json::from_str::<Value>(&body).unwrap()
    };
    assert_eq!(answer(2).await.as_array().map(Vec::len), Some(2));
    assert!(answer(3).await["error"].is_object());
    assert_eq!(chain.post(" ".repeat(2_001)).await.map(|(status, _)| status), Some(413));
    let class = chain.rpc("starknet_getClassAt", json!(["latest", STRK])).await;
    assert!(class.is_err(), "a class is larger than 4000 bytes: {class:?}");
    let events = |chunk: u64| json!([{ "chunk_size": chunk, "from_block": { "block_number": 0 } }]);
    assert!(chain.rpc("starknet_getEvents", events(3)).await.is_ok());
    let refused = chain.rpc("starknet_getEvents", events(4)).await;
    assert_eq!(refused.map_err(|error| error.code()), Err(Some(31)));

    let strict = Launch::new().switch("--disable-rpc-batch-requests").start().await;
    let (_, body) = strict.post(json!([call]).to_string()).await.unwrap();
    assert!(serde_json::from_str::<Value>(&body).unwrap()["error"].is_object(), "{body}");
}

/// Guards against ports that are not opened, or stay open.
#[tokio::test]
async fn endpoints_are_where_they_were_asked_for() {
    let free = || TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let (ws, metrics) = (free(), free());
    let launch = Launch::new().flag("--ws-port", ws.to_string()).flag("--metrics-port", metrics.to_string());
    let chain = launch.start().await;
    tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{ws}")).await.unwrap();
    let scraped = reqwest::get(format!("http://127.0.0.1:{metrics}/metrics")).await.unwrap();
    assert!(scraped.text().await.unwrap().contains("sequenza_"));
    assert!(chain.stdout().contains(&chain.http()), "the banner names the address: {}", chain.stdout());
    drop(chain);

    let (http, metrics) = (free(), free());
    let silent = Launch::new().flag("--http", "false").flag("--http-port", http.to_string());
    let _chain = silent
        .flag("--ws-port", free().to_string())
        .flag("--metrics-port", metrics.to_string())
        .reached_at(metrics)
        .start()
        .await;
    assert!(std::net::TcpStream::connect(("127.0.0.1", http)).is_err(), "HTTP is off");
}

/// Guards against web pages that can, or cannot, call against the operator's wish.
#[tokio::test]
async fn pages_may_call_only_when_allowed() {
    for allowed in [false, true] {
        let launch = Launch::new();
        let launch = if allowed { launch.switch("--rpc-cors-enable") } else { launch };
        let chain = launch.start().await;
        let request = reqwest::Client::new().get(chain.http()).header("origin", "http://app.example");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers().contains_key("access-control-allow-origin"), allowed);
    }
}

/// Guards against a log that is not what was asked for.
#[tokio::test]
async fn the_log_follows_its_flags() {
    let mut loud = Launch::new().flag("--log-level", "debug").switch("--log-json").start().await;
    let mut quiet = Launch::new().flag("--log-level", "error").start().await;
    loud.blocks(2).await;
    quiet.blocks(2).await;
    assert!(loud.stop().await.success() && quiet.stop().await.success());
    assert_eq!(quiet.stderr(), "");
    assert!(!loud.stderr().is_empty());
    for line in loud.stderr().lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|line| line["level"].is_string()), "not a JSON line: {line}");
    }
    assert!(loud.stderr().contains("\"DEBUG\""), "{}", loud.stderr());
}

/// Guards against faults that come one at a time, without value or remedy.
#[test]
fn all_faults_are_told_at_once() {
    let launch =
        Launch::new().flag("--seq-block-time", "soon").flag("--http-port", "99999").flag("--da-mode", "pigeon");
    launch.run().says(
        2,
        &["--seq-block-time=soon", "500ms", "--http-port=99999", "65535", "--da-mode=pigeon", "calldata or blob"],
    );
    Launch::new().switch("--frobnicate").run().says(2, &["--frobnicate"]);
    Launch::new().variable("SEQUENZA_WORKERS", "none").run().says(2, &["SEQUENZA_WORKERS=none", "environment"]);
    Launch::new().switch("--seq-enable=false").run().says(2, &["--seq-enable=false"]);
    Launch::new().flag("--network", "betanet").run().says(2, &["--network=betanet", "sepolia"]);
}

/// Guards against an endless hunt for the program that holds a port.
#[test]
fn a_port_in_use_is_named() {
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    Launch::new().flag("--http-port", &port).run().says(69, &[&port, "--http-port"]);
}

/// Guards against variables and files that are read in another order than is told.
#[tokio::test]
async fn a_flag_goes_before_the_environment_before_the_file() {
    let launch = Launch::new();
    let file = launch.folder().join("settings.toml");
    std::fs::write(&file, "chain-id = \"SN_FILE\"\nsequencer-address = \"0xf\"\nda-mode = \"blob\"\n").unwrap();
    let launch = launch
        .flag("--config", &file)
        .variable("SEQUENZA_SEQUENCER_ADDRESS", "0xe")
        .variable("SEQUENZA_DA_MODE", "blob")
        .flag("--da-mode", "calldata");
    let chain = launch.start().await;
    chain.blocks(1).await;
    let block = latest(&chain).await;
    assert_eq!(chain.rpc("starknet_chainId", json!([])).await, Ok(hex(&Felt::from_bytes_be_slice(b"SN_FILE")).into()));
    assert_eq!(block["sequencer_address"], "0xe");
    assert_eq!(block["l1_da_mode"], "CALLDATA");

    let shown = Launch::bare().subcommand("config").switch("show").switch("--da-mode=blob").run();
    assert!(shown.status.success(), "{shown:?}");
    assert!(shown.stdout.lines().any(|line| line.contains("da-mode") && line.contains("flag")), "{shown:?}");
}

/// Guards against a page of flags that tells of another release.
#[test]
fn the_page_of_flags_is_what_the_program_says() {
    for (chain, page) in
        [("starknet", "starknet/flags.md"), ("evm", "evm/flags.md"), ("node", "operators/node-flags.md")]
    {
        let help = Launch::bare().subcommand(chain).switch("--help").run();
        let file = format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(help.stdout.trim_end()), "docs/{page} is old: run cargo xtask docs");
    }
}

/// Guards against commands that pretend.
#[test]
fn commands_of_later_releases_are_refused() {
    for command in ["committee", "operator"] {
        Launch::bare().subcommand(command).run().says(69, &[command]);
    }
}
