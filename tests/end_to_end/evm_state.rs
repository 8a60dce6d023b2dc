//! A state goes from anvil to this chain and back in the file that anvil's users know.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Anvil, Caller, Launch, RpcError};

/// Takes no argument and gives back what slot 1 holds, after it wrote the block's number there: deployed by the code before it.
/// `codecopy(0, 12, 9) return(0, 9)`, then `sstore(1, number) return nothing`.
const CONTRACT: &str = "0x600580600b6000396000f34360015500";
const RICH: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const POOR: &str = "0x00000000000000000000000000000000000000aa";

/// Guards against a state that gets lost between two programs, and against a file that silently takes a chain's place.
#[tokio::test]
async fn a_state_goes_from_anvil_to_this_chain_and_back() {
    let test = "a_state_goes_from_anvil_to_this_chain_and_back";
    let launch = Launch::evm();
    let file = launch.folder().join("state.json");
    let named = file.to_str().unwrap();

    let Some(anvil) = Anvil::start(test, &["--state", named]) else { return };
    let ask = async |method: &str, params| anvil.rpc(method, params).await;
    let contract = prepare(&ask).await;
    let before = seen(&ask, &contract).await;
    anvil.stop();
    assert!(file.is_file(), "anvil wrote its state");

    let launch = launch.flag("--state", named);
    let mut chain = launch.start().await;
    let caller = chain.caller();
    assert_eq!(seen(&calls(&caller), &contract).await, before);
    let earliest = caller.rpc("eth_getBlockByNumber", json!(["earliest", false])).await.unwrap();
    assert_eq!(earliest["number"], before["number"], "the chain begins at the file's block");
    use_contract(&calls(&caller), &contract).await;
    let after = seen(&calls(&caller), &contract).await;
    assert_ne!(after["slot"], before["slot"]);
    assert!(chain.stop().await.success(), "{}", chain.log());

    // The same folder and file again: the chain goes on where it was.
    chain.start_again().await;
    assert_eq!(seen(&calls(&caller), &contract).await, after);
    assert!(chain.stop().await.success(), "{}", chain.log());

    // A new folder begins with what the file holds, and so does anvil.
    let mut other = launch.clone().flag("--db-path", launch.folder().join("other")).start().await;
    assert_eq!(seen(&calls(&other.caller()), &contract).await, after);
    assert!(other.stop().await.success(), "{}", other.log());
    let anvil = Anvil::start(test, &["--load-state", named]).unwrap();
    let ask = async |method: &str, params| anvil.rpc(method, params).await;
    assert_eq!(seen(&ask, &contract).await, after);
    use_contract(&ask, &contract).await;
    assert_ne!(seen(&ask, &contract).await["slot"], after["slot"]);
    anvil.stop();
    refusals(&launch, &file).await;
}

async fn refusals(launch: &Launch, file: &Path) {
    let own = launch.clone().without("--state");
    let strange = launch.folder().join("strange.json");
    let mut text: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    text["accounts"][POOR]["balance"] = json!("0x5");
    text["sequenza"] = Value::Null;
    std::fs::write(&strange, text.to_string()).unwrap();
    own.clone().flag("--load-state", &strange).run().says(78, &["--load-state", "strange.json", "--db-path"]);
    own.clone().flag("--load-state", "nowhere.json").run().says(65, &["nowhere.json"]);
    text["accounts"][POOR]["balance"] = json!("five");
    std::fs::write(&strange, text.to_string()).unwrap();
    let fresh = own.flag("--db-path", launch.folder().join("fresh"));
    fresh.flag("--load-state", &strange).run().says(65, &["accounts", "balance", "anvil"]);
}

/// Deploys the contract, uses it, pays somebody; gives the contract's address.
async fn prepare(ask: &impl AsyncFn(&str, Value) -> Result<Value, RpcError>) -> Value {
    let deployed =
        ask("eth_sendTransaction", json!([{ "from": RICH, "data": CONTRACT, "gas": "0x30000" }])).await.unwrap();
    let contract = receipt(ask, deployed).await["contractAddress"].clone();
    use_contract(ask, &contract).await;
    let paid = ask("eth_sendTransaction", json!([{ "from": RICH, "to": POOR, "value": "0x7" }])).await.unwrap();
    receipt(ask, paid).await;
    contract
}

async fn use_contract(ask: &impl AsyncFn(&str, Value) -> Result<Value, RpcError>, contract: &Value) {
    let sent = ask("eth_sendTransaction", json!([{ "from": RICH, "to": contract, "gas": "0x30000" }])).await.unwrap();
    receipt(ask, sent).await;
}

/// Of a transaction that did what it was sent for; waits until there is one.
async fn receipt(ask: &impl AsyncFn(&str, Value) -> Result<Value, RpcError>, hash: Value) -> Value {
    for _ in 0..1_000 {
        let receipt = ask("eth_getTransactionReceipt", json!([hash])).await.unwrap();
        if !receipt.is_null() {
            assert_eq!(receipt["status"], "0x1", "{receipt}");
            return receipt;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{hash} has no receipt");
}

/// All that the file is to carry.
async fn seen(ask: &impl AsyncFn(&str, Value) -> Result<Value, RpcError>, contract: &Value) -> Value {
    let read = async |method, params| ask(method, params).await.unwrap();
    json!({
        "number": read("eth_blockNumber", json!([])).await,
        "rich": read("eth_getBalance", json!([RICH, "latest"])).await,
        "nonce": read("eth_getTransactionCount", json!([RICH, "latest"])).await,
        "poor": read("eth_getBalance", json!([POOR, "latest"])).await,
        "code": read("eth_getCode", json!([contract, "latest"])).await,
        "slot": read("eth_getStorageAt", json!([contract, "0x1", "latest"])).await,
    })
}

fn calls(caller: &Caller) -> impl AsyncFn(&str, Value) -> Result<Value, RpcError> {
    let caller = caller.clone();
    async move |method: &str, params| caller.rpc(method, params).await
}
