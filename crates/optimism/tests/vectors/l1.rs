//! Logs and calldata of L1, and outputs for it.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256, keccak256};
use optimism::{
    CONFIG_UPDATE_TOPIC, DEPOSIT_TOPIC, DepositFault, L1BlockInfo, L1Fees, L1InfoFault, L1InfoFormat, OutputV0,
    SystemConfig, Update, UpdateFault, unpack_eip1559_params, user_deposit,
};
use serde_json::Value;

use crate::{json, list, number, parsed};

fn log(topics: &[B256], data: &Value) -> Log {
    let data: Bytes = parsed(data);
    Log { address: Address::ZERO, data: LogData::new_unchecked(topics.to_vec(), data) }
}

fn topics(case: &Value) -> Vec<B256> {
    list(&case["topics"]).iter().map(parsed).collect()
}

#[test]
fn deposits_become_the_transactions_that_are_known() {
    let Some(known) = json("l1/deposits.json") else { return };
    for case in list(&known["vectors"]) {
        let log = log(&topics(case), &case["data"]);
        let deposit = user_deposit(parsed(&case["l1_block_hash"]), number(&case["log_index"]), &log);
        let encoded = Bytes::from(deposit.expect("a deposit").encoded_2718());
        assert_eq!(encoded, parsed::<Bytes>(&case["expected"]), "{}", case["name"]);
    }
    for case in list(&known["errors"]) {
        let told = user_deposit(B256::ZERO, 0, &log(&topics(case), &case["data"])).expect_err("refused");
        let right = match case["name"].as_str() {
            Some("version_not_zero") => matches!(told, DepositFault::Version(_)),
            Some("offset_too_large" | "length_too_large") => matches!(told, DepositFault::Data { .. }),
            other => panic!("{other:?}: a case that is not judged"),
        };
        assert!(right, "{}: {told}", case["name"]);
    }
    assert_eq!(keccak256("TransactionDeposited(address,address,uint256,bytes)"), DEPOSIT_TOPIC);
}

#[test]
fn l1_infos_are_read_and_written_as_they_are_known() {
    let Some(known) = json("l1/l1_info_calldata.json") else { return };
    for case in list(&known["vectors"]) {
        let call: Bytes = parsed(&case["input"]);
        let info = L1BlockInfo::decode_any(&call).expect("reads");
        let wanted = &case["expected"];
        assert_eq!(info.number, number(&wanted["number"]));
        assert_eq!(info.timestamp, number(&wanted["time"]));
        assert_eq!(info.base_fee, U256::from(number(&wanted["base_fee"])));
        assert_eq!(info.hash, parsed::<B256>(&wanted["block_hash"]));
        assert_eq!(info.sequence_number, number(&wanted["sequence_number"]));
        assert_eq!(info.batcher, parsed::<Address>(&wanted["batcher_address"]));
        check_fees(&info, case["name"].as_str().expect("a name"), wanted);
        assert_eq!(info.encode(), call, "{}", case["name"]);
    }
    for format in L1InfoFormat::ALL {
        let name = format!("{format:?}").to_lowercase();
        assert_eq!(Bytes::from(format.selector()), parsed::<Bytes>(&known["selectors"][&name]));
        assert_eq!(format.bytes() as u64, number(&known["lengths"][&name]));
    }
}

fn check_fees(info: &L1BlockInfo, name: &str, wanted: &Value) {
    let word = |key: &str| B256::from(U256::from(number(&wanted[key])));
    match (name, info.fees) {
        ("bedrock", L1Fees::Bedrock { overhead, scalar }) => {
            assert_eq!((overhead, scalar), (word("l1_fee_overhead"), word("l1_fee_scalar")));
        }
        ("ecotone", L1Fees::Ecotone(blobs)) | ("isthmus", L1Fees::Isthmus(blobs, _)) => {
            assert_eq!(blobs.blob_base_fee, U256::from(number(&wanted["blob_base_fee"])));
            assert_eq!(u64::from(blobs.scalars.base_fee), number(&wanted["base_fee_scalar"]));
            assert_eq!(u64::from(blobs.scalars.blob_base_fee), number(&wanted["blob_base_fee_scalar"]));
        }
        (name, fees) => panic!("{name}: {fees:?}"),
    }
    if let L1Fees::Isthmus(_, operator) = info.fees {
        assert_eq!(u64::from(operator.scalar), number(&wanted["operator_fee_scalar"]));
        assert_eq!(operator.constant, number(&wanted["operator_fee_constant"]));
    }
}

#[test]
fn what_is_no_l1_info_is_refused() {
    let Some(known) = json("l1/l1_info_calldata.json") else { return };
    let told = |call: &[u8]| L1BlockInfo::decode_any(call).expect_err("refused");
    for case in list(&known["errors"]) {
        match case["input"].as_str().expect("a text") {
            "0xdeadbeef" => assert_eq!(told(&[0xde, 0xad, 0xbe, 0xef]), L1InfoFault::Unknown),
            "isthmus selector 0x098999be followed by dead" => {
                let told = told(&[0x09, 0x89, 0x99, 0xbe, 0xde, 0xad]);
                assert_eq!(told, L1InfoFault::Length { format: L1InfoFormat::Isthmus, found: 6 });
                assert_eq!(told.to_string(), "the L1 info has 6 bytes; the format Isthmus has 176");
            }
            other => panic!("{other}: a case that is not judged"),
        }
    }
}

#[test]
fn updates_of_the_system_configuration_are_taken_or_refused_as_known() {
    let Some(known) = json("l1/system_config_updates.json") else { return };
    assert_eq!(CONFIG_UPDATE_TOPIC, parsed::<B256>(&known["topic0"]));
    assert_eq!(keccak256("ConfigUpdate(uint256,uint8,bytes)"), CONFIG_UPDATE_TOPIC);
    let version: B256 = parsed(&known["event_version_topic"]);
    let (mut taken, mut refused) = (0, 0);
    for case in list(&known["vectors"]) {
        let kind = number(&known["update_types"][case["update"].as_str().expect("a name")]);
        let kind = B256::left_padding_from(&kind.to_be_bytes());
        let update = Update::decode(&log(&[CONFIG_UPDATE_TOPIC, version, kind], &case["data"]));
        if let Some(error) = case["expected_error"].as_str() {
            check_refusal(error, &update.expect_err("refused"), &case["name"]);
            refused += 1;
        } else {
            let update = update.unwrap_or_else(|fault| panic!("{}: {fault}", case["name"]));
            let mut system = SystemConfig::default();
            let ecotone = case["ecotone_active"].as_bool().expect("true or false");
            system.apply(update, ecotone).expect("taken");
            check_update(update, &system, &case["expected"]);
            taken += 1;
        }
    }
    assert_eq!((taken, refused), (10, 46));
}

fn check_refusal(error: &str, fault: &UpdateFault, name: &Value) {
    let right = match error {
        "InvalidDataLen" => matches!(fault, UpdateFault::DataLength { .. }),
        "PointerDecodingError" | "InvalidDataPointer" => matches!(fault, UpdateFault::Pointer(_)),
        "LengthDecodingError" | "InvalidDataLength" => matches!(fault, UpdateFault::Length(_)),
        value => value.ends_with("DecodingError") && matches!(fault, UpdateFault::Value { .. }),
    };
    assert!(right, "{name}: {error}, and not {fault:?}");
}

/// Each field that is known has been changed to what is known.
fn check_update(update: Update, system: &SystemConfig, wanted: &Value) {
    let word = |value: &Value| B256::from(U256::from(number(value)));
    let (denominator, elasticity) = unpack_eip1559_params(system.eip1559_params);
    for (field, value) in wanted.as_object().expect("fields") {
        let right = match field.as_str() {
            "batcher_address" => system.batcher == parsed::<Address>(value),
            "overhead" => system.overhead == word(value),
            "scalar" => system.scalar == word(value),
            "gas_limit" => system.gas_limit == number(value),
            "eip1559_denominator" => u64::from(denominator) == number(value),
            "eip1559_elasticity" => u64::from(elasticity) == number(value),
            "operator_fee_scalar" => u64::from(system.operator_fee.scalar) == number(value),
            "operator_fee_constant" => system.operator_fee.constant == number(value),
            "min_base_fee" => system.min_base_fee == number(value),
            "da_footprint_gas_scalar" => u64::from(system.da_footprint_gas_scalar) == number(value),
            "unsafe_block_signer" => update == Update::UnsafeSigner(parsed(value)),
            other => panic!("{other}: a field that is not judged"),
        };
        assert!(right, "{field}: {value}, and not {system:?}");
    }
}

#[test]
fn output_roots_are_what_is_known() {
    let Some(known) = json("l1/output_root.json") else { return };
    for case in list(&known["vectors"]) {
        let output = OutputV0 {
            state_root: parsed(&case["state_root"]),
            message_passer_storage_root: parsed(&case["bridge_storage_root"]),
            block_hash: parsed(&case["block_hash"]),
        };
        assert_eq!(Bytes::from(output.encode()), parsed::<Bytes>(&case["encoding"]));
        assert_eq!(output.root(), parsed::<B256>(&case["expected"]));
    }
    let Some(served) = json("l1/output_v0.json") else { return };
    let output: OutputV0 = serde_json::from_value(served.clone()).expect("reads");
    assert_eq!(serde_json::to_value(output).expect("writes"), served);
    assert_eq!(output.state_root, parsed::<B256>(&served["stateRoot"]));
    assert_eq!(output.message_passer_storage_root, parsed::<B256>(&served["messagePasserStorageRoot"]));
}
