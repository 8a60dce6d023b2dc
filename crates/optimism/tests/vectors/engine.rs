//! What goes to the execution engine and comes back.

use alloy_consensus::Header;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{B64, Bytes, U64};
use op_alloy_consensus::TxDeposit;
use op_alloy_rpc_types_engine::{
    OpExecutionPayload, OpExecutionPayloadEnvelopeV3, OpExecutionPayloadEnvelopeV4, OpPayloadAttributes,
};
use optimism::{
    BlobSchedule, BlockId, BlockParts, ExtraDataFault, FeeParams, FeesInHeader, Fork, Forks, L1BlockInfo, L1InfoFormat,
    L2Block, RollupConfig, SystemConfig, ordered_extra_data, pack_eip1559_params, payload_id,
};
use serde_json::Value;

use crate::{json, list, number, parsed, text};

/// OP Mainnet with every fork up to `last` from the beginning.
fn chain(last: Fork) -> Option<RollupConfig> {
    let mut config = RollupConfig::from_registry(&text("registry/configs.json")?, "10").expect("reads").config;
    config.forks = Forks::from_genesis(last);
    Some(config)
}

#[test]
fn builds_have_the_names_that_an_engine_gives_them() {
    let Some(known) = json("engine/payload_id.json") else { return };
    for case in list(&known["vectors"]) {
        let input = &case["input"];
        let mut attributes = input["attributes"].clone();
        // The list has it in hexadecimal; on the wire it is a plain number.
        if let Some(fee) = attributes["minBaseFee"].as_str().and_then(|fee| fee.strip_prefix("0x")) {
            attributes["minBaseFee"] = u64::from_str_radix(fee, 16).expect("hexadecimal").into();
        }
        let attributes: OpPayloadAttributes = serde_json::from_value(attributes).expect("attributes");
        let version = number(&input["version"]).try_into().expect("a version");
        let id = payload_id(parsed(&input["parent"]), &attributes, version);
        assert_eq!(id.to_string(), case["expected"].as_str().expect("a name"), "{}", case["name"]);
    }
}

#[test]
fn attributes_of_a_rollup_node_are_read_as_it_meant_them() {
    let Some((sample, config)) = json("engine/payload_attributes_sample.json").zip(chain(Fork::Holocene)) else {
        return;
    };
    let attributes: OpPayloadAttributes = serde_json::from_value(sample.clone()).expect("attributes");
    assert_eq!(serde_json::to_value(&attributes).expect("writes"), sample);
    assert_eq!(attributes.eip_1559_params, Some(pack_eip1559_params(250, 6)));
    assert_eq!(attributes.payload_attributes.suggested_fee_recipient, optimism::SEQUENCER_FEE_VAULT);
    // Its one transaction is the L1 info of its time, written as we would write it.
    let time = attributes.payload_attributes.timestamp;
    let [first] = attributes.transactions.as_deref().unwrap_or_default() else { panic!("one transaction") };
    let block = BlockParts {
        id: Default::default(),
        parent: Default::default(),
        timestamp: time,
        gas_limit: 1,
        extra_data: &[0, 0, 0, 0, 250, 0, 0, 0, 6],
        first_transaction: Some(first),
    };
    let place = L2Block::of(&config, &block).expect("reads");
    assert_eq!((place.origin.number, place.sequence_number), (13, 1));
    let call = &first[first.len() - L1InfoFormat::Ecotone.bytes()..];
    let info = L1BlockInfo::decode(L1InfoFormat::Ecotone, call).expect("reads");
    assert_eq!(Bytes::from(info.deposit(true).encoded_2718()), *first);
}

/// The chain whose constants a case names.
fn with_constants(mut config: RollupConfig, input: &Value) -> RollupConfig {
    let constant = |key: &str| input[key].as_u64().unwrap_or(1).try_into().expect("of 4 bytes");
    let denominator = constant("chain_denominator");
    config.fees = FeeParams { elasticity: constant("chain_elasticity"), denominator, denominator_canyon: denominator };
    config
}

#[test]
fn extra_data_is_written_as_known() {
    let Some(known) = json("engine/extra_data.json") else { return };
    let order = |input: &Value, jovian: bool| {
        let config = chain(if jovian { Fork::Jovian } else { Fork::Holocene }).expect("with the vectors");
        let attributes = OpPayloadAttributes {
            eip_1559_params: Some(parsed::<B64>(&input["eip1559Params"])),
            min_base_fee: input["minBaseFee"].as_u64(),
            ..OpPayloadAttributes::default()
        };
        ordered_extra_data(&with_constants(config, input), &attributes)
    };
    for case in list(&known["encode"]) {
        let jovian = case["name"].as_str().is_some_and(|name| name.starts_with("jovian"));
        let written = order(&case["input"], jovian).expect("writes");
        assert_eq!(written, Some(parsed::<Bytes>(&case["expected"])), "{}", case["name"]);
    }
    let judged = |name: &str| list(&known["other"]).iter().find(|case| case["name"] == name).expect("known");
    order(&judged("jovian_without_min_base_fee")["input"], true).expect_err("refused");
    order(&judged("min_base_fee_before_jovian")["input"], false).expect_err("refused");
}

#[test]
fn extra_data_is_read_as_known() {
    let Some(known) = json("engine/extra_data.json") else { return };
    let mut judged = 0;
    for case in list(&known["other"]).iter().filter(|case| case["extra_data"].is_string()) {
        let jovian = case["name"].as_str().is_some_and(|name| name.starts_with("decode_jovian"));
        let config = chain(if jovian { Fork::Jovian } else { Fork::Holocene }).expect("with the vectors");
        let read = FeesInHeader::of(&config, 0, &parsed::<Bytes>(&case["extra_data"]));
        match case["expected_error"].as_str() {
            None => assert_eq!(read.expect("reads").params, pack_eip1559_params(8, 8)),
            Some("zero denominator") => assert_eq!(read, Err(ExtraDataFault::ZeroDenominator)),
            Some("zero elasticity") => assert_eq!(read, Err(ExtraDataFault::ZeroElasticity)),
            Some("invalid length") => assert!(matches!(read, Err(ExtraDataFault::Length { .. })), "{read:?}"),
            Some(other) => panic!("{other}: an error that is not judged"),
        }
        judged += 1;
    }
    assert_eq!(judged, 8);
}

#[test]
fn payloads_are_read_and_written_as_known() {
    let Some(known) = json("engine/payload_json.json") else { return };
    for (name, case) in known.as_object().expect("cases") {
        let text = case["json"].as_str().expect("a text");
        let again = if name.contains("envelope_v4") {
            serde_json::from_str::<OpExecutionPayloadEnvelopeV4>(text).map(serde_json::to_value)
        } else if name.contains("envelope_v3") {
            serde_json::from_str::<OpExecutionPayloadEnvelopeV3>(text).map(serde_json::to_value)
        } else {
            serde_json::from_str::<OpExecutionPayload>(text).map(serde_json::to_value)
        };
        if case["valid"] == true {
            let written = again.unwrap_or_else(|error| panic!("{name}: {error}")).expect("writes");
            let wanted: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(written, wanted, "{name}");
        } else {
            again.expect_err(name).to_string();
        }
    }
}

#[test]
fn blobs_cost_what_is_known() {
    let Some(known) = json("engine/blob_codec.json") else { return };
    for case in list(&known["blob_base_fee"]) {
        let fraction = number(&case["update_fraction"]);
        let l1 = serde_json::json!({ "cancunTime": 0,
            "blobSchedule": { "cancun": { "baseFeeUpdateFraction": fraction } } });
        let schedule = BlobSchedule::from_l1_config(&l1.to_string()).expect("reads");
        let block = Header { timestamp: 7, excess_blob_gas: case["excess_blob_gas"].as_u64(), ..Header::default() };
        assert_eq!(schedule.fee(&block), u128::from(number(&case["expected"])), "{case}");
    }
}

#[test]
fn real_blocks_say_where_they_stand() {
    let Some((known, registry)) = json("engine/flashblocks.json").zip(text("registry/configs.json")) else { return };
    // The second block is of a chain that is no more in the registry; its forks were those of the first.
    let unichain = RollupConfig::from_registry(&registry, "1301").expect("reads").config;
    for case in list(&known["vectors"]) {
        let (base, expected) = (&case["flashblocks"][0]["base"], &case["expected"]);
        let quantity = |value: &Value| parsed::<U64>(value).to::<u64>();
        let (extra_data, first): (Bytes, Bytes) =
            (parsed(&base["extra_data"]), parsed(&case["flashblocks"][0]["diff"]["transactions"][0]));
        let block = BlockParts {
            id: BlockId { number: quantity(&base["block_number"]), hash: parsed(&expected["block_hash"]) },
            parent: parsed(&base["parent_hash"]),
            timestamp: quantity(&base["timestamp"]),
            gas_limit: quantity(&base["gas_limit"]),
            extra_data: &extra_data,
            first_transaction: Some(&first),
        };
        assert_eq!(unichain.forks.newest(block.timestamp), Fork::Isthmus);
        let place = L2Block::of(&unichain, &block).expect("reads");
        let system = SystemConfig::of(&unichain, &block).expect("reads");
        assert_eq!(system.gas_limit, 60_000_000);
        assert_eq!(Bytes::from(system.eip1559_params), extra_data.slice(1..));
        assert!(system.fee_scalars().expect("known").base_fee > 0 && !system.batcher.is_zero());
        // The transaction is made again of what it says, byte by byte: its source too.
        let deposit = TxDeposit::decode_2718_exact(&first).expect("a deposit");
        let info = L1BlockInfo::decode(L1InfoFormat::Isthmus, &deposit.input).expect("reads");
        assert_eq!(Bytes::from(info.deposit(true).encoded_2718()), first, "{}", case["name"]);
        assert_eq!((place.origin.hash, place.origin.number), (info.hash, info.number));
        assert!(info.timestamp <= block.timestamp && block.timestamp - info.timestamp <= 1800);
    }
}
