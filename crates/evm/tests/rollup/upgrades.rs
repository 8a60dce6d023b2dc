//! The transactions that a fork puts into its first block.

use std::path::Path;

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use op_alloy_consensus::{OpTxEnvelope, TxDeposit};
use serde_json::Value;

/// One of them, and what it is known to leave behind.
pub(crate) struct Upgrade {
    pub(crate) intent: String,
    pub(crate) encoded: Bytes,
    pub(crate) deployed: Option<(Address, B256)>,
}

/// Those of a fork, in order; none for a fork that has none.
pub(crate) fn of(fork: &str, folder: &Path) -> Vec<Upgrade> {
    let folder = folder.join("upgrades");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("the vectors hold it");
    let all: Value = serde_json::from_str(&read("upgrades.json")).expect("JSON");
    let bundle = match fork {
        "karst" => serde_json::from_str(&read("karst_nut_bundle.json")).expect("JSON"),
        _ => Value::Null,
    };
    let listed = all["forks"][fork]["transactions"].as_array().cloned().unwrap_or_default();
    let upgrade = |(index, facts): (usize, &Value)| {
        let encoded = match facts["file"].as_str() {
            Some(file) => hex::decode(read(file).trim()).expect("hex").into(),
            None => encode(facts, &bundle["transactions"][index], &read),
        };
        if let Some(known) = facts["encoded_keccak"].as_str() {
            assert_eq!(keccak256(&encoded).to_string(), known, "{}", facts["intent"]);
        }
        let deployed = facts["deployed_address"].as_str().zip(facts["deployed_code_hash"].as_str());
        Upgrade {
            intent: facts["intent"].to_string(),
            encoded,
            deployed: deployed
                .map(|(address, code)| (address.parse().expect("an address"), code.parse().expect("a hash"))),
        }
    };
    listed.iter().enumerate().map(upgrade).collect()
}

/// Made of its facts, and of its line in a bundle where there is one.
fn encode(facts: &Value, bundled: &Value, read: &impl Fn(&str) -> String) -> Bytes {
    let input = match (bundled["data"].as_str(), facts["input"].as_str(), facts["input_file"].as_str()) {
        (Some(data), _, _) | (None, Some(data), _) => data.to_owned(),
        (None, None, Some(file)) => read(file),
        _ => panic!("{facts}: no input"),
    };
    let address = |key: &str| facts[key].as_str().map(|address| address.parse::<Address>().expect("an address"));
    let deposit = TxDeposit {
        source_hash: facts["source_hash"].as_str().and_then(|hash| hash.parse().ok()).expect("a hash"),
        from: address("from").expect("a sender"),
        to: address("to").map_or(TxKind::Create, TxKind::Call),
        mint: 0,
        value: U256::ZERO,
        gas_limit: facts["gas_limit"].as_u64().expect("gas"),
        is_system_transaction: false,
        input: hex::decode(input.trim()).expect("hex").into(),
    };
    OpTxEnvelope::from(deposit).encoded_2718().into()
}
