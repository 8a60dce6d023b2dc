//! Juno's documented command lines, unchanged.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use tests::{Chain, Launch, STRK, hex, program, skipped};
use tokio::sync::{Mutex, MutexGuard};

/// `SN_JUNO_SEQUENCER` as a field element.
const CHAIN_ID: &str = "0x534e5f4a554e4f5f53455155454e434552";

/// Where the universal deployer stands.
const UDC: &str = "0x2ceed65a4bd731034c01113685c831b01c15d7d432f71afb1cf1634b53a2125";

const PORT: u16 = 6060;

/// The documented port is fixed, so these tests take turns.
async fn port(test: &str) -> Option<MutexGuard<'static, ()>> {
    static PORT_6060: Mutex<()> = Mutex::const_new(());
    let turn = PORT_6060.lock().await;
    if std::net::TcpListener::bind(("0.0.0.0", PORT)).is_err() {
        skipped(test, "something else listens on port 6060");
        return None;
    }
    Some(turn)
}

/// The flags of "run the sequencer" in Juno's documentation.
fn documented() -> Launch {
    let flags = [
        "--http",
        "--http-port=6060",
        "--http-host=0.0.0.0",
        "--db-path=./seq-db-tmp",
        "--log-level=debug",
        "--seq-enable",
        "--seq-block-time=1",
        "--network",
        "sequencer",
        "--disable-l1-verification",
        "--rpc-call-max-steps=4123000",
    ];
    flags.into_iter().fold(Launch::bare(), Launch::switch).reached_at(PORT)
}

async fn is_a_running_chain(chain: &Chain) {
    assert_eq!(chain.rpc("starknet_chainId", json!([])).await, Ok(CHAIN_ID.into()));
    assert!(chain.launch().folder().join("seq-db-tmp").is_dir());
    assert!(chain.stderr().contains("DEBUG"));
    let before = std::time::Instant::now();
    chain.blocks(2).await;
    assert!(before.elapsed().as_millis() > 900, "a block each second");
}

/// Guards against a flag of Juno's that we renamed, and against keys in the open without a word.
#[tokio::test]
async fn the_documented_command_runs() {
    let Some(_turn) = port("the_documented_command_runs").await else { return };
    let chain = documented().start().await;
    is_a_running_chain(&chain).await;
    assert!(chain.stdout().contains("WARNING"), "dev keys on 0.0.0.0: {}", chain.stdout());
}

/// Guards against a link that is only a name.
#[tokio::test]
async fn a_link_named_juno_takes_the_same_command() {
    let Some(_turn) = port("a_link_named_juno_takes_the_same_command").await else { return };
    let launch = documented();
    let link = launch.folder().join("juno");
    symlink(program(), &link).unwrap();
    is_a_running_chain(&launch.as_program(link).start().await).await;
}

/// Guards against a genesis file that is only parsed: its accounts hold what it says, and can pay.
#[tokio::test]
async fn the_documented_command_with_accounts_runs() {
    let Some(_turn) = port("the_documented_command_with_accounts_runs").await else { return };
    let launch = documented().switch("--seq-genesis-file").switch("./genesis/genesis_prefund_accounts.json");
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("../genesis"), launch.folder().join("genesis")).unwrap();
    is_a_running_chain(&launch.start().await).await;
}

/// Guards against an example in the documentation that nobody has run.
#[tokio::test]
async fn the_example_genesis_of_the_documentation_runs() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/starknet/genesis.md");
    let page = std::fs::read_to_string(page).unwrap();
    let example = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let launch = Launch::new();
    let file = launch.folder().join("genesis.json");
    std::fs::write(&file, example).unwrap();
    let chain = launch.flag("--seq-genesis-file", file).start().await;
    let accounts = chain.accounts();
    assert_eq!(accounts.len(), 2, "{}", chain.stdout());
    let nonce = chain.rpc("starknet_getNonce", json!(["latest", hex(&accounts[1].address)])).await;
    assert_eq!(nonce, Ok("0x3".into()));
    let stored = chain.rpc("starknet_getStorageAt", json!([UDC, "0x1", "latest"])).await;
    assert_eq!(stored, Ok("0x2a".into()));
    let balance = json!({
        "contract_address": STRK,
        // sn_keccak("balance_of")
        "entry_point_selector": "0x35a73cd311a05d46deda634c5ee045db92f811b4e74bca4437fcb5302b7af33",
        "calldata": ["0x1234"],
    });
    let balance = chain.rpc("starknet_call", json!([balance, "latest"])).await;
    assert_eq!(balance, Ok(json!(["0x4563918244f40000", "0x0"])));
}

/// Guards against "No such file or directory" and nothing more.
#[test]
fn a_fault_in_a_genesis_file_is_named() {
    for (text, parts) in [
        (r#"{ "classes": ["./gone.json"] }"#, ["genesis.json", "classes[0]", "gone.json"]),
        (r#"{ "clases": [] }"#, ["genesis.json", "clases", "unknown"]),
        (r#"{ "accounts": [ { "balance": "lots" } ] }"#, ["genesis.json", "accounts[0]", "lots"]),
    ] {
        let launch = Launch::new();
        let file = launch.folder().join("genesis.json");
        std::fs::write(&file, text).unwrap();
        launch.clone().flag("--seq-genesis-file", file).run().says(65, &parts);
    }
}
