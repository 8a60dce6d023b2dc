//! A chain in a page, for the tests of the load generator: takes transactions, and seals what it has with each tenth question
//! about its head.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use starknet_types_core::felt::Felt;
use tokio::net::TcpListener;

use crate::account::{Account, hex, invoke_hash};
use crate::answering;
use crate::endpoint::Endpoint;

/// Questions about the head for each block.
const QUESTIONS_PER_BLOCK: usize = 10;

#[derive(Default)]
struct Chain {
    /// Each block's transaction hashes; the first block is empty.
    blocks: Vec<Vec<Value>>,
    open: Vec<Value>,
    questions: usize,
    /// Every so many transactions are refused; 0 refuses none.
    refuse_each: usize,
    taken: usize,
}

/// Starts the chain on a free port. It refuses every `refuse_each`-th transaction.
pub(crate) async fn start(refuse_each: usize) -> anyhow::Result<Endpoint> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let chain = Arc::new(Mutex::new(Chain { blocks: vec![Vec::new()], refuse_each, ..Chain::default() }));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let chain = Arc::clone(&chain);
            tokio::spawn(answering::serve(stream, move |body| {
                let request = serde_json::from_slice(body)?;
                Ok(chain.lock().expect("no test panics with the chain in its hands").answer(&request).to_string())
            }));
        }
    });
    Endpoint::new(&format!("http://127.0.0.1:{port}/"), None)
}

impl Chain {
    fn answer(&mut self, request: &Value) -> Value {
        let params = &request["params"];
        let result = match request["method"].as_str().unwrap_or_default() {
            "starknet_chainId" => json!("0x534e5f5345504f4c4941"),
            "starknet_getNonce" => json!("0x0"),
            "starknet_blockNumber" => json!(self.blocks.len() - 1),
            "starknet_getBlockWithTxHashes" => match &params["block_id"] {
                Value::String(tag) if tag == "pre_confirmed" => json!({"transactions": self.open}),
                Value::String(_) => {
                    self.questions += 1;
                    if self.questions.is_multiple_of(QUESTIONS_PER_BLOCK) {
                        self.blocks.push(std::mem::take(&mut self.open));
                    }
                    let number = self.blocks.len() - 1;
                    json!({"block_number": number, "transactions": self.blocks[number]})
                }
                id => {
                    let number = id["block_number"].as_u64().unwrap_or(0) as usize;
                    json!({"block_number": number, "transactions": self.blocks[number]})
                }
            },
            "starknet_addInvokeTransaction" => {
                self.taken += 1;
                if self.refuse_each > 0 && self.taken.is_multiple_of(self.refuse_each) {
                    return json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 55, "message": "Account validation failed"}});
                }
                let hash = self.hash(&params["invoke_transaction"]);
                self.open.push(hash.clone());
                json!({"transaction_hash": hash})
            }
            other => {
                return json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": other}});
            }
        };
        json!({"jsonrpc": "2.0", "id": 1, "result": result})
    }

    /// The hash of a transaction.
    fn hash(&self, transaction: &Value) -> Value {
        let felts = |value: &Value| serde_json::from_value(value.clone()).expect("the load generator sends felts");
        let felt = |value: &Value| serde_json::from_value(value.clone()).expect("the load generator sends felts");
        let nonce = u64::try_from(felt(&transaction["nonce"])).expect("a small number");
        let calldata: Vec<Felt> = felts(&transaction["calldata"]);
        let chain_id = Felt::from_bytes_be_slice(b"SN_SEPOLIA");
        json!(hex(&invoke_hash(felt(&transaction["sender_address"]), chain_id, nonce, &calldata)))
    }
}

/// Accounts whose keys the mock knows.
pub(crate) fn accounts() -> Vec<Account> {
    (1..=8u64).map(|n| Account { address: (0x100 + n).into(), private_key: n.into() }).collect()
}
