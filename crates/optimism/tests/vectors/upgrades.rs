//! The transactions of every upgrade, byte by byte.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, TxKind, hex, keccak256};
use op_alloy_consensus::TxDeposit;
use optimism::{BundleError, Fork, KARST_UPGRADE_GAS, parse_bundle, upgrade_transactions};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{json, list, number, parsed, text};

const WITH_UPGRADES: [Fork; 5] = [Fork::Ecotone, Fork::Fjord, Fork::Isthmus, Fork::Jovian, Fork::Karst];

fn known() -> Option<Value> {
    json("upgrades/upgrades.json")
}

#[test]
fn each_transaction_is_what_is_known_of_it() {
    let Some(known) = known() else { return };
    for fork in WITH_UPGRADES {
        let facts = &known["forks"][fork.name().to_lowercase()];
        let transactions = upgrade_transactions(fork);
        assert_eq!(transactions.len(), list(&facts["transactions"]).len(), "{fork}");
        assert_eq!(transactions.len() as u64, number(&facts["count"]), "{fork}");
        let gas: u64 = transactions.iter().map(|transaction| transaction.gas_limit).sum();
        assert_eq!(gas, facts["gas_sum"].as_u64().unwrap_or(gas), "{fork}");
        for (transaction, facts) in transactions.iter().zip(list(&facts["transactions"])) {
            check(transaction, facts);
        }
    }
}

fn check(transaction: &TxDeposit, facts: &Value) {
    let intent = &facts["intent"];
    assert_eq!(transaction.source_hash, parsed::<B256>(&facts["source_hash"]), "{intent}");
    assert_eq!(transaction.from, parsed::<Address>(&facts["from"]), "{intent}");
    let to = if facts["to"].is_null() { TxKind::Create } else { TxKind::Call(parsed(&facts["to"])) };
    assert_eq!(transaction.to, to, "{intent}");
    assert_eq!(transaction.gas_limit, number(&facts["gas_limit"]), "{intent}");
    assert!(transaction.mint == 0 && transaction.value.is_zero() && !transaction.is_system_transaction, "{intent}");
    let encoded = transaction.encoded_2718();
    let mut judges = 0;
    if let Some(input) = facts["input_keccak"].as_str() {
        assert_eq!(keccak256(&transaction.input).to_string(), input, "{intent}");
        judges += 1;
    }
    if let Some(whole) = facts["encoded_keccak"].as_str() {
        assert_eq!(keccak256(&encoded).to_string(), whole, "{intent}");
        judges += 1;
    }
    if let Some(file) = facts["file"].as_str() {
        let file = text(&format!("upgrades/{file}")).expect("the vectors hold it");
        assert_eq!(hex::encode(&encoded), file.trim().trim_start_matches("0x"), "{intent}");
        judges += 1;
    }
    assert!(judges > 0, "{intent}: the bytes are judged");
    if let Some(deployed) = facts["deployed_address"].as_str() {
        assert_eq!(transaction.from.create(0).to_string().to_lowercase(), deployed, "{intent}");
    }
}

#[test]
fn the_bundle_is_the_one_that_is_locked() {
    let Some(lock) = text("upgrades/fork_lock.toml") else { return };
    let lock: toml::Table = lock.parse().expect("TOML");
    let locked = lock["karst"]["hash"].as_str().expect("a hash").to_owned();
    let bundle = include_str!("../../data/karst-bundle.json");
    assert_eq!(format!("sha256:{}", hex::encode(Sha256::digest(bundle))), locked);
    assert_eq!(parse_bundle("Karst", bundle).expect("reads").total_gas(), KARST_UPGRADE_GAS);
}

#[test]
fn other_bundles_are_read_the_same_way() {
    let Some((bundle, known)) = text("upgrades/test_nut_bundle.json").zip(known()) else { return };
    let bundle = parse_bundle("Test", &bundle).expect("reads");
    let encoded = bundle.to_encoded_transactions().expect("encodes");
    // The file and the table differ in the second transaction, so the table is judged by transactions made of it.
    let [first, second] = list(&known["bundle_encoding"]) else { panic!("two transactions") };
    assert_eq!(encoded[0].to_string(), first["expected"].as_str().expect("bytes"));
    let of_table = serde_json::json!({ "metadata": { "version": "1.0.0" }, "transactions": [
        { "intent": "First Transaction", "from": first["from"], "to": first["to"], "data": first["data"],
          "gasLimit": first["gas_limit"] },
        { "intent": "Second Transaction", "from": second["from"], "to": second["to"], "data": second["data"],
          "gasLimit": second["gas_limit"] },
    ] });
    let of_table = parse_bundle("Test", &of_table.to_string()).expect("reads").to_encoded_transactions();
    let of_table = of_table.expect("encodes");
    assert_eq!(of_table[1].to_string(), second["expected"].as_str().expect("bytes"));
    let Some(lagoon) = text("upgrades/lagoon_nut_bundle.json") else { return };
    assert!(!parse_bundle("Interop", &lagoon).expect("reads, though nothing is made of it").transactions.is_empty());
}

#[test]
fn what_is_no_bundle_is_refused() {
    let Some(known) = known() else { return };
    let bundle = |version: &str, intent: Option<&str>, to: Value| {
        let mut transaction = serde_json::json!({ "from": Address::ZERO, "to": to, "data": "0x", "gasLimit": 1 });
        if let Some(intent) = intent {
            transaction["intent"] = intent.into();
        }
        let file = serde_json::json!({ "metadata": { "version": version }, "transactions": [transaction] });
        parse_bundle("Test", &file.to_string())
    };
    let to = serde_json::json!(Address::ZERO);
    for case in list(&known["bundle_errors"]) {
        match case["input"].as_str().expect("a text") {
            "metadata.version \"2.0.0\"" => {
                assert!(matches!(bundle("2.0.0", Some("x"), to.clone()), Err(BundleError::Version(_))));
            }
            "transaction without intent" => {
                let told = bundle("1.0.0", None, to.clone()).expect_err("refused").to_string();
                assert_eq!(told, case["expected_error"].as_str().expect("a text"));
            }
            "invalid JSON" => assert!(matches!(parse_bundle("Test", "{"), Err(BundleError::Form(_)))),
            "\"to\": null" => {
                let deposits = bundle("1.0.0", Some("x"), Value::Null).expect("reads").to_deposit_transactions();
                assert_eq!(deposits.expect("converts")[0].to, TxKind::Create);
            }
            other => panic!("{other}: a case that is not judged"),
        }
    }
}
