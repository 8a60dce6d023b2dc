//! An existing block against an order.

use alloy_primitives::{B256, Bytes, U256};
use alloy_rpc_types_engine::{ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3};
use op_alloy_rpc_types_engine::{OpExecutionPayload, OpExecutionPayloadV4, OpPayloadAttributes};
use optimism::{Fork, Forks, RollupConfig, check_match, ordered_extra_data, pack_eip1559_params};

use crate::world::{chain, one_more};

const PARENT: B256 = B256::repeat_byte(0x55);

/// The block that an engine without transactions of its own makes of the order.
fn built(config: &RollupConfig, attributes: &OpPayloadAttributes) -> (OpExecutionPayload, Option<B256>) {
    let ordered = &attributes.payload_attributes;
    let first = ExecutionPayloadV1 {
        parent_hash: PARENT,
        fee_recipient: ordered.suggested_fee_recipient,
        state_root: B256::ZERO,
        receipts_root: B256::ZERO,
        logs_bloom: Default::default(),
        prev_randao: ordered.prev_randao,
        block_number: 6,
        gas_limit: attributes.gas_limit.expect("ordered"),
        gas_used: 0,
        timestamp: ordered.timestamp,
        extra_data: ordered_extra_data(config, attributes).expect("ordered").unwrap_or_default(),
        base_fee_per_gas: U256::ONE,
        block_hash: B256::ZERO,
        transactions: attributes.transactions.clone().unwrap_or_default(),
    };
    let Some(withdrawals) = ordered.withdrawals.clone() else { return (OpExecutionPayload::V1(first), None) };
    let second = ExecutionPayloadV2 { payload_inner: first, withdrawals };
    if !config.is_active(Fork::Ecotone, ordered.timestamp) {
        return (OpExecutionPayload::V2(second), None);
    }
    let third = ExecutionPayloadV3 { payload_inner: second, blob_gas_used: 0, excess_blob_gas: 0 };
    if !config.is_active(Fork::Isthmus, ordered.timestamp) {
        return (OpExecutionPayload::V3(third), ordered.parent_beacon_block_root);
    }
    let fourth = OpExecutionPayloadV4 { payload_inner: third, withdrawals_root: B256::repeat_byte(1) };
    (OpExecutionPayload::V4(fourth), ordered.parent_beacon_block_root)
}

#[test]
fn what_is_built_as_ordered_matches_under_every_fork() {
    for fork in Fork::ALL {
        let config = chain(Forks::from_genesis(fork));
        let attributes = one_more(&config, 1010).expect("an order").attributes;
        let (payload, beacon_root) = built(&config, &attributes);
        check_match(&config, &attributes, PARENT, &payload, beacon_root)
            .unwrap_or_else(|told| panic!("{fork}: {told}"));
    }
}

#[test]
fn each_difference_is_named() {
    let config = chain(Forks::from_genesis(Fork::Jovian));
    let attributes = one_more(&config, 1010).expect("an order").attributes;
    type Change = fn(&mut OpExecutionPayload);
    let table: [(Change, &str); 11] = [
        (|payload| payload.as_v1_mut().parent_hash.0[0] ^= 1, "the parent"),
        (|payload| payload.as_v1_mut().timestamp += 1, "the timestamp"),
        (|payload| payload.as_v1_mut().prev_randao.0[0] ^= 1, "prevRandao"),
        (|payload| payload.as_v1_mut().fee_recipient.0[0] ^= 1, "the fee recipient"),
        (|payload| payload.transactions_mut().push(Bytes::from_static(b"x")), "the number of transactions"),
        (|payload| payload.transactions_mut().clear(), "the number of transactions"),
        (|payload| payload.transactions_mut()[0] = Bytes::from_static(b"x"), "a transaction"),
        (|payload| payload.as_v1_mut().gas_limit -= 1, "the gas limit"),
        (
            |payload| payload.as_v2_mut().expect("has them").withdrawals.push(Default::default()),
            "the number of withdrawals",
        ),
        (|payload| payload.as_v1_mut().extra_data = Bytes::new(), "the extra data"),
        (
            |payload| {
                let third = payload.as_v3().expect("newer").clone();
                *payload = OpExecutionPayload::V3(third);
            },
            "the presence of a withdrawals root",
        ),
    ];
    for (change, field) in table {
        let (mut payload, beacon_root) = built(&config, &attributes);
        change(&mut payload);
        let told = check_match(&config, &attributes, PARENT, &payload, beacon_root).expect_err(field);
        assert_eq!(told.field, field, "{told}");
    }
    let (payload, _) = built(&config, &attributes);
    for root in [None, Some(B256::ZERO)] {
        let told = check_match(&config, &attributes, PARENT, &payload, root).expect_err("another root");
        assert_eq!(told.field, "the parent beacon root");
    }
}

#[test]
fn fee_parameters_of_zero_stand_for_the_constants_of_the_chain() {
    let config = chain(Forks::from_genesis(Fork::Jovian));
    let mut attributes = one_more(&config, 1010).expect("an order").attributes;
    let (payload, beacon_root) = built(&config, &attributes);
    assert_eq!(payload.as_v1().extra_data.to_string(), "0x01000000fa000000060000000000000000");
    attributes.eip_1559_params = Some(pack_eip1559_params(250, 6));
    check_match(&config, &attributes, PARENT, &payload, beacon_root).expect("the same, said in full");
    attributes.eip_1559_params = Some(pack_eip1559_params(250, 7));
    check_match(&config, &attributes, PARENT, &payload, beacon_root).expect_err("others");
    attributes.eip_1559_params = Some(pack_eip1559_params(250, 6));
    attributes.min_base_fee = Some(1);
    check_match(&config, &attributes, PARENT, &payload, beacon_root).expect_err("another minimum");
    attributes.min_base_fee = None;
    let told = check_match(&config, &attributes, PARENT, &payload, beacon_root).expect_err("no minimum");
    assert_eq!(told.field, "the extra data");
}

#[test]
fn before_holocene_the_free_bytes_are_free() {
    let config = chain(Forks::from_genesis(Fork::Granite));
    let attributes = one_more(&config, 1010).expect("an order").attributes;
    let (mut payload, beacon_root) = built(&config, &attributes);
    payload.as_v1_mut().extra_data = Bytes::from_static(b"anything");
    check_match(&config, &attributes, PARENT, &payload, beacon_root).expect("matches");
}
