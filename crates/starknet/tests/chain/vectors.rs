//! What others computed: block hashes, commitments, transaction hashes, signatures, classes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use starknet::block::{ExecutedTransaction, Header, Outcome, StateDiff};
use starknet::classes::{BYTECODE_FELTS_MAX, DeclaredClass, SierraClass, sierra_from_json};
use starknet::commitment::{block_hash, commit_contents, event_leaves, receipt_leaf, transaction_leaf};
use starknet::genesis::bundled;
use starknet_api::block::{
    BlockHash, BlockNumber, BlockTimestamp, GasPrice, GasPriceVector, GasPrices, NonzeroGasPrice, StarknetVersion,
};
use starknet_api::contract_class::compiled_class_hash::{HashVersion, HashableCompiledClass};
use starknet_api::core::{
    ChainId, ClassHash, CompiledClassHash, ContractAddress, EthAddress, EventCommitment, GlobalRoot, Nonce,
    ReceiptCommitment, StateDiffCommitment, TransactionCommitment,
};
use starknet_api::execution_resources::{GasAmount, GasVector};
use starknet_api::hash::PoseidonHash;
use starknet_api::state::{StorageKey, ThinStateDiff};
use starknet_api::transaction::fields::{Calldata, Fee, TransactionSignature};
use starknet_api::transaction::{
    DeclareTransaction, DeclareTransactionV2, Event, EventContent, EventData, EventKey, InvokeTransaction,
    InvokeTransactionV1, L2ToL1Payload, MessageToL1, Transaction, TransactionHash, TransactionOptions,
};
use starknet_types_core::felt::Felt;

use crate::kit::address;

/// A file of the vectors, or `None` with a word on stderr where they are not there.
fn vector(path: &str) -> Option<String> {
    let root = std::env::var_os("SEQUENZA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"), PathBuf::from);
    let path = root.join("starknet").join(path);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            eprintln!("skipped: vector {} is not there ({error}); set SEQUENZA_VECTORS", path.display());
            None
        }
    }
}

fn json(path: &str) -> Option<Value> {
    vector(path).map(|text| serde_json::from_str(&text).unwrap())
}

fn felt(value: &Value) -> Felt {
    match value {
        Value::String(text) => Felt::from_hex(text).unwrap(),
        number => Felt::from_dec_str(&number.to_string()).unwrap(),
    }
}

fn number(value: &Value) -> u64 {
    u64::try_from(felt(value)).unwrap()
}

fn felts(value: &Value) -> Vec<Felt> {
    value.as_array().unwrap().iter().map(felt).collect()
}

fn at(value: &Value) -> ContractAddress {
    address(felt(value))
}

fn gas(value: &Value) -> GasVector {
    let of = |key: &str| GasAmount(value.get(key).map_or(0, number));
    GasVector { l1_gas: of("l1_gas"), l1_data_gas: of("l1_data_gas"), l2_gas: of("l2_gas") }
}

fn price(value: &Value) -> NonzeroGasPrice {
    NonzeroGasPrice::new(GasPrice(u128::try_from(felt(value)).unwrap())).unwrap()
}

/// Prices of a header in the vectors' form; those that old headers lack are 1.
fn prices(block: &Value) -> GasPrices {
    let of = |gas: &str, token: &str| match block.get(gas).and_then(|prices| prices.get(token)) {
        Some(value) => price(value),
        None => price(&Value::from("0x1")),
    };
    let vector = |token| GasPriceVector {
        l1_gas_price: of("l1_gas_price", token),
        l1_data_gas_price: of("l1_data_gas_price", token),
        l2_gas_price: of("l2_gas_price", token),
    };
    GasPrices { eth_gas_prices: vector("price_in_wei"), strk_gas_prices: vector("price_in_fri") }
}

fn header(block: &Value, version: StarknetVersion) -> Header {
    let key = |names: &[&str]| names.iter().find_map(|name| block.get(*name)).unwrap_or_else(|| panic!("{names:?}"));
    Header {
        number: BlockNumber(number(key(&["block_number"]))),
        hash: BlockHash::default(),
        parent_hash: BlockHash(felt(key(&["parent_hash", "parent_block_hash"]))),
        state_root: GlobalRoot(felt(key(&["state_root"]))),
        timestamp: BlockTimestamp(number(key(&["timestamp"]))),
        sequencer: at(key(&["sequencer_address"])),
        gas_prices: prices(block),
        blob_data: block["l1_da_mode"] == "BLOB",
        version,
        transaction_commitment: TransactionCommitment(felt(&block["transaction_commitment"])),
        event_commitment: EventCommitment(felt(&block["event_commitment"])),
        receipt_commitment: ReceiptCommitment(felt(&block["receipt_commitment"])),
        state_diff_commitment: StateDiffCommitment(PoseidonHash(felt(&block["state_diff_commitment"]))),
        state_diff_length: number(&block["state_diff_length"]),
        transaction_count: block.get("transaction_count").map_or(0, number),
        event_count: block.get("event_count").map_or(0, number),
        contracts_root: Felt::ZERO,
        classes_root: Felt::ZERO,
        signature: (Felt::ZERO, Felt::ZERO),
    }
}

fn event(value: &Value) -> Event {
    Event {
        from_address: at(&value["from_address"]),
        content: EventContent {
            keys: felts(&value["keys"]).into_iter().map(EventKey).collect(),
            data: EventData(felts(&value["data"])),
        },
    }
}

fn message(value: &Value) -> MessageToL1 {
    MessageToL1 {
        from_address: at(&value["from_address"]),
        to_address: EthAddress::try_from(felt(&value["to_address"])).unwrap(),
        payload: L2ToL1Payload(felts(&value["payload"])),
    }
}

fn no_outcome() -> Outcome {
    Outcome {
        fee: Fee(0),
        gas: GasVector::default(),
        data_gas: GasVector::default(),
        events: Vec::new(),
        messages: Vec::new(),
        revert_reason: None,
        deployed: None,
    }
}

/// A transaction of which only hash, signature and outcome matter.
fn plain(hash: Felt, signature: Vec<Felt>, outcome: Outcome) -> ExecutedTransaction {
    let transaction = Transaction::Invoke(InvokeTransaction::V1(InvokeTransactionV1 {
        signature: TransactionSignature(Arc::new(signature)),
        calldata: Calldata::default(),
        ..InvokeTransactionV1::default()
    }));
    ExecutedTransaction { hash: TransactionHash(hash), transaction, paid_fee_on_l1: Fee(0), outcome }
}

fn with_signature(value: &Value) -> ExecutedTransaction {
    plain(felt(&value["transaction_hash"]), felts(&value["signature"]), no_outcome())
}

fn with_event(value: &Value) -> ExecutedTransaction {
    let outcome = Outcome { events: vec![event(value)], ..no_outcome() };
    plain(felt(&value["transaction_hash"]), Vec::new(), outcome)
}

fn with_receipt(value: &Value) -> ExecutedTransaction {
    let outcome = Outcome {
        fee: Fee(u128::try_from(felt(&value["actual_fee"])).unwrap()),
        gas: gas(&value["gas_consumed"]),
        messages: value["messages_sent"].as_array().unwrap().iter().map(message).collect(),
        revert_reason: value["revert_reason"].as_str().map(str::to_owned),
        ..no_outcome()
    };
    plain(felt(&value["transaction_hash"]), Vec::new(), outcome)
}

fn all(values: &Value, of: fn(&Value) -> ExecutedTransaction) -> Vec<Arc<ExecutedTransaction>> {
    values.as_array().unwrap().iter().map(|value| Arc::new(of(value))).collect()
}

fn map<V>(value: &Value, of: impl Fn(&Value) -> V) -> BTreeMap<Felt, V> {
    let entries = value.as_object().unwrap().iter();
    entries.map(|(key, value)| (Felt::from_hex(key).unwrap(), of(value))).collect()
}

#[test]
fn block_hash_regression() {
    let Some(groups) = json("blocks/block_hash_regression.json") else { return };
    let group = |name: &str| groups[name].as_array().unwrap_or_else(|| panic!("no group {name}")).clone();
    let now = StarknetVersion::V0_14_3;
    let nothing = StateDiff::default();
    for case in group("block_hash") {
        let input = &case["input"];
        // "10" is a string that no version of the protocol has; our headers cannot say it.
        let Ok(version) = StarknetVersion::try_from(input["starknet_version"].as_str().unwrap().to_owned()) else {
            assert_eq!(case["name"], "block_hash_version_string_10");
            continue;
        };
        let header = header(input, version);
        assert_eq!(block_hash(&header).unwrap().0, felt(&case["expected"]), "{}", case["name"]);
    }
    for case in group("transaction_leaf") {
        let name = case["name"].as_str().unwrap();
        let version = if name.ends_with("before_0_13_4") { StarknetVersion::V0_13_2 } else { now };
        assert_eq!(transaction_leaf(&with_signature(&case["input"]), version), felt(&case["expected"]), "{name}");
    }
    for case in group("transaction_commitment") {
        let version = case["starknet_version"].as_str().map_or(now, |version| version.to_owned().try_into().unwrap());
        let contents = commit_contents(&all(&case["input"], with_signature), &nothing, version);
        assert_eq!(contents.transactions.0, felt(&case["expected"]));
    }
    for case in group("event_hash") {
        let leaves: Vec<Felt> = event_leaves(&with_event(&case["input"])).collect();
        assert_eq!(leaves, [felt(&case["expected"])]);
    }
    for case in group("event_commitment") {
        let contents = commit_contents(&all(&case["input"], with_event), &nothing, now);
        assert_eq!(contents.events.0, felt(&case["expected"]));
    }
    for case in group("receipt_hash") {
        assert_eq!(receipt_leaf(&with_receipt(&case["input"])), felt(&case["expected"]));
    }
    for case in group("receipt_commitment") {
        let contents = commit_contents(&all(&case["input"], with_receipt), &nothing, now);
        assert_eq!(contents.receipts.0, felt(&case["expected"]));
    }
    for case in group("state_diff_commitment") {
        let input = &case["input"];
        let mut diff = StateDiff {
            deployed: map(&input["deployed_or_replaced"], felt)
                .into_iter()
                .map(|(a, c)| (address(a), ClassHash(c)))
                .collect(),
            nonces: map(&input["nonces"], felt).into_iter().map(|(a, n)| (address(a), Nonce(n))).collect(),
            deprecated_declared: felts(&input["deprecated_declared_classes"]).into_iter().map(ClassHash).collect(),
            ..StateDiff::default()
        };
        for (contract, slots) in map(&input["storage_diffs"], |slots| map(slots, felt)) {
            let slots = slots.into_iter().map(|(key, value)| (StorageKey::try_from(key).unwrap(), value)).collect();
            diff.storage.insert(address(contract), slots);
        }
        let declared = map(&input["declared_classes"], felt);
        diff.declared = declared.into_iter().map(|(c, h)| (ClassHash(c), CompiledClassHash(h))).collect();
        let none: [Arc<ExecutedTransaction>; 0] = [];
        assert_eq!(commit_contents(&none, &diff, now).state_diff.0.0, felt(&case["expected"]));
        // Migrated classes stand where declared ones do.
        diff.migrated = std::mem::take(&mut diff.declared);
        assert_eq!(commit_contents(&none, &diff, now).state_diff.0.0, felt(&case["expected"]), "migrated");
    }
}

#[test]
fn block_35748_of_sepolia_integration() {
    let Some(block) = json("blocks/sepolia_integration_35748.block.json") else { return };
    let update = json("blocks/sepolia_integration_35748.state_update.json").unwrap();
    let chain = ChainId::Other("SN_INTEGRATION_SEPOLIA".into());
    let receipts = block["transaction_receipts"].as_array().unwrap();
    let mut transactions = Vec::new();
    for (tx, receipt) in block["transactions"].as_array().unwrap().iter().zip(receipts) {
        assert_eq!((&tx["type"], &tx["version"]), (&Value::from("DECLARE"), &Value::from("0x2")));
        let transaction = Transaction::Declare(DeclareTransaction::V2(DeclareTransactionV2 {
            max_fee: Fee(u128::try_from(felt(&tx["max_fee"])).unwrap()),
            signature: TransactionSignature(Arc::new(felts(&tx["signature"]))),
            nonce: Nonce(felt(&tx["nonce"])),
            class_hash: ClassHash(felt(&tx["class_hash"])),
            compiled_class_hash: CompiledClassHash(felt(&tx["compiled_class_hash"])),
            sender_address: at(&tx["sender_address"]),
        }));
        let hash = transaction.calculate_transaction_hash(&chain).unwrap();
        assert_eq!(hash.0, felt(&tx["transaction_hash"]));
        let outcome = Outcome {
            fee: Fee(u128::try_from(felt(&receipt["actual_fee"])).unwrap()),
            gas: gas(&receipt["execution_resources"]["total_gas_consumed"]),
            events: receipt["events"].as_array().unwrap().iter().map(event).collect(),
            messages: receipt["l2_to_l1_messages"].as_array().unwrap().iter().map(message).collect(),
            ..no_outcome()
        };
        transactions.push(Arc::new(ExecutedTransaction { hash, transaction, paid_fee_on_l1: Fee(0), outcome }));
    }
    let diff = &update["state_diff"];
    let mut state_diff = StateDiff::default();
    for (contract, slots) in diff["storage_diffs"].as_object().unwrap() {
        let slots = slots.as_array().unwrap().iter();
        let slots = slots.map(|slot| (StorageKey::try_from(felt(&slot["key"])).unwrap(), felt(&slot["value"])));
        state_diff.storage.insert(address(Felt::from_hex(contract).unwrap()), slots.collect());
    }
    state_diff.nonces = map(&diff["nonces"], felt).into_iter().map(|(a, n)| (address(a), Nonce(n))).collect();
    for class in diff["declared_classes"].as_array().unwrap() {
        let compiled = CompiledClassHash(felt(&class["compiled_class_hash"]));
        state_diff.declared.insert(ClassHash(felt(&class["class_hash"])), compiled);
    }
    let contents = commit_contents(&transactions, &state_diff, StarknetVersion::V0_13_2);
    let mut header = header(&block, StarknetVersion::V0_13_2);
    assert_eq!(contents.transactions, header.transaction_commitment);
    assert_eq!(contents.events, header.event_commitment);
    assert_eq!(contents.receipts, header.receipt_commitment);
    assert_eq!(contents.state_diff, header.state_diff_commitment);
    assert_eq!(contents.state_diff_length, header.state_diff_length);
    header.transaction_count = transactions.len() as u64;
    header.event_count = contents.event_count;
    assert_eq!(block_hash(&header).unwrap().0, felt(&block["block_hash"]));

    let signature = felts(&json("blocks/sepolia_integration_35748.signature.json").unwrap()["signature"]);
    let signatures = json("blocks/block_signature.json").unwrap();
    let key = felt(&signatures["public_key"]);
    assert!(starknet_crypto::verify(&key, &felt(&block["block_hash"]), &signature[0], &signature[1]).unwrap());
    for vector in signatures["vectors"].as_array().unwrap() {
        let valid =
            starknet_crypto::verify(&key, &felt(&vector["block_hash"]), &felt(&vector["r"]), &felt(&vector["s"]))
                .unwrap();
        assert_eq!(Value::from(valid), vector["valid"]);
    }
}

#[test]
fn transaction_hashes() {
    let Some(cases) = json("blocks/transaction_hash.json") else { return };
    for case in cases.as_array().unwrap() {
        let transaction: Transaction = serde_json::from_value(case["transaction"].clone()).unwrap();
        let chain = ChainId::from(case["chain_id"].as_str().unwrap().to_owned());
        let hash = transaction.calculate_transaction_hash(&chain).unwrap();
        assert_eq!(hash.0, felt(&case["transaction_hash"]));
        let query = TransactionOptions { only_query: true };
        let hash = starknet_api::transaction_hash::get_transaction_hash(&transaction, &chain, &query).unwrap();
        assert_eq!(hash.0, felt(&case["only_query_transaction_hash"]));
    }
    let deprecated = json("blocks/deprecated_transaction_hash.json").unwrap();
    for case in deprecated.as_array().unwrap() {
        let transaction: Transaction = serde_json::from_value(case["transaction"].clone()).unwrap();
        let chain = ChainId::from(case["chain_id"].as_str().unwrap().to_owned());
        let valid = starknet_api::transaction_hash::validate_transaction_hash(
            &transaction,
            &BlockNumber(number(&case["block_number"])),
            &chain,
            TransactionHash(felt(&case["transaction_hash"])),
            &TransactionOptions::default(),
        );
        assert!(valid.unwrap(), "{case}");
    }
}

#[test]
fn classes_compile_and_hash_as_the_compiler_says() {
    let Some(hashes) = json("classes/compiler/class_hashes.json") else { return };
    for expected in hashes["classes"].as_array().unwrap() {
        let name = expected["name"].as_str().unwrap();
        let text = vector(&format!("classes/compiler/{name}.contract_class.json")).unwrap();
        let sierra = sierra_from_json(&text).unwrap();
        assert_eq!(sierra.calculate_class_hash().0, felt(&expected["class_hash"]), "{name}");
        let class = SierraClass::compile(sierra, usize::MAX).unwrap();
        assert_eq!(Value::from(class.sierra_version.to_string()), expected["sierra_version"], "{name}");
        let casm = vector(&format!("classes/compiler/{name}.compiled_contract_class.json")).unwrap();
        let casm: cairo_lang_starknet_classes::casm_contract_class::CasmContractClass =
            serde_json::from_str(&casm).unwrap();
        let poseidon = felt(&expected["compiled_class_hash_poseidon"]);
        let blake = felt(&expected["compiled_class_hash_blake"]);
        assert_eq!((casm.hash(&HashVersion::V1).0, casm.hash(&HashVersion::V2).0), (poseidon, blake), "{name}");
        if expected["compiler_version"] == "2.21.0" {
            assert_eq!(*class.casm, casm, "{name}");
            assert_eq!((class.compiled_hash_v1.0, class.compiled_hash_v2.0), (poseidon, blake), "{name}");
        } else {
            assert_eq!(class.casm.entry_points_by_type.external.len(), casm.entry_points_by_type.external.len());
        }
    }
}

#[test]
fn bundled_classes_have_the_hashes_that_their_origin_states() {
    let Some(hashes) = json("classes/devnet/class_hashes.json") else { return };
    let stated: Vec<Felt> =
        hashes["classes"].as_array().unwrap().iter().map(|class| felt(&class["class_hash"])).collect();
    for name in bundled::names() {
        let class = bundled::class(name).unwrap().unwrap();
        assert!(stated.contains(&class.hash().0), "{name}: {}", class.hash());
        class.runnable().unwrap();
        if let DeclaredClass::Sierra(class) = class {
            let again = SierraClass::compile(class.sierra.as_ref().clone(), BYTECODE_FELTS_MAX).unwrap();
            assert_eq!(again.casm, class.casm, "{name}");
        }
    }
}

#[test]
fn our_commitments_agree_with_the_protocol_library() {
    let transactions: Vec<Arc<ExecutedTransaction>> = (1..=7u32)
        .map(|i| {
            let event = |j: u32| Event {
                from_address: address(Felt::from(100 + j)),
                content: EventContent {
                    keys: vec![EventKey(Felt::from(j)); j as usize],
                    data: EventData(vec![Felt::from(i); 3]),
                },
            };
            let outcome = Outcome {
                fee: Fee(u128::from(i)),
                events: (0..i).map(event).collect(),
                revert_reason: (i % 2 == 0).then(|| format!("reason {i}")),
                gas: GasVector { l1_gas: GasAmount(1), l1_data_gas: GasAmount(2), l2_gas: GasAmount(u64::from(i)) },
                ..no_outcome()
            };
            Arc::new(plain(Felt::from(i), vec![Felt::from(i); (i % 3) as usize], outcome))
        })
        .collect();
    let mut diff = StateDiff::default();
    diff.nonces.insert(address(Felt::from(5)), Nonce(Felt::from(6)));
    let ours = commit_contents(&transactions, &diff, StarknetVersion::V0_14_3);

    use starknet_api::block_hash::block_hash_calculator::{
        TransactionHashingData, TransactionOutputForHash, calculate_block_commitments,
    };
    use starknet_api::transaction::{RevertedTransactionExecutionStatus, TransactionExecutionStatus};
    let data: Vec<TransactionHashingData> = (transactions.iter())
        .map(|tx| TransactionHashingData {
            transaction_signature: starknet::commitment::signature(&tx.transaction),
            transaction_hash: tx.hash,
            transaction_output: TransactionOutputForHash {
                actual_fee: tx.outcome.fee,
                events: tx.outcome.events.clone(),
                execution_status: match tx.outcome.revert_reason.clone() {
                    Some(revert_reason) => {
                        TransactionExecutionStatus::Reverted(RevertedTransactionExecutionStatus { revert_reason })
                    }
                    None => TransactionExecutionStatus::Succeeded,
                },
                gas_consumed: tx.outcome.gas,
                messages_sent: tx.outcome.messages.clone(),
            },
        })
        .collect();
    let (theirs, _) = crate::kit::block_on(calculate_block_commitments(
        &data,
        ThinStateDiff::from(&diff),
        starknet_api::data_availability::L1DataAvailabilityMode::Blob,
        &StarknetVersion::V0_14_3,
    ));
    assert_eq!(ours.transactions, theirs.transaction_commitment);
    assert_eq!(ours.events, theirs.event_commitment);
    assert_eq!(ours.receipts, theirs.receipt_commitment);
    assert_eq!(ours.state_diff, theirs.state_diff_commitment);
}
