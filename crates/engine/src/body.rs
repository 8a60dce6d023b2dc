//! A payload's body as this backend writes it.
//!
//! One byte that says which form, 1 to 4 as the Engine API counts them, then the SSZ of the payload; from form 3 on the
//! parent's beacon block root stands before it. That is what gossip signs and carries, less the first byte, so that
//! nothing is encoded twice on the way out; SSZ has half the size of JSON, and one value has one encoding. The first
//! byte is there because SSZ does not say of what it is.
//!
//! Source: <https://specs.optimism.io/protocol/rollup-node-p2p.html#block-encoding>.

use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::B256;
use alloy_rpc_types_engine::{ExecutionPayloadV1, ExecutionPayloadV2, ExecutionPayloadV3};
use bytes::Bytes;
use op_alloy_consensus::{DEPOSIT_TX_TYPE_ID, TxDeposit};
use op_alloy_rpc_types_engine::{OpExecutionPayload, OpExecutionPayloadEnvelope, OpExecutionPayloadV4};
use optimism::L1BlockInfo;
use ssz::{Decode, DecodeError, Encode};
use types::{BlockHash, BlockNumber, BlockRef, L1Origin, Payload, Slot, Timestamp};

/// Largest body that is read, in bytes: three times what gossip carries at most.
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// Why bytes are no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// There is nothing.
    #[error("a payload's body is empty")]
    Empty,
    /// More than is read.
    #[error("a payload's body has {0} bytes; at most {BODY_BYTES_MAX} are read")]
    TooLarge(usize),
    /// The first byte.
    #[error("a payload's body has form {0}; 1 to 4 are known")]
    Form(u8),
    /// What follows is no payload of this form.
    #[error("a payload's body of form {form} is not understood: {reason}")]
    Malformed {
        /// The first byte.
        form: u8,
        /// What is wrong.
        reason: String,
    },
}

/// The form of a payload, as the Engine API counts them.
pub(crate) fn form(payload: &OpExecutionPayload) -> u8 {
    match payload {
        OpExecutionPayload::V1(_) => 1,
        OpExecutionPayload::V2(_) => 2,
        OpExecutionPayload::V3(_) => 3,
        OpExecutionPayload::V4(_) => 4,
    }
}

/// Writes a body. From form 3 on a beacon block root that is missing counts as zero.
#[must_use]
pub fn encode_body(envelope: &OpExecutionPayloadEnvelope) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + envelope.ssz_bytes_len());
    bytes.push(form(&envelope.execution_payload));
    envelope.ssz_append(&mut bytes);
    bytes.into()
}

/// Reads a body.
///
/// # Errors
/// With what is wrong with it. Nothing is checked beyond its form: whether the block's hash is that of its content,
/// say.
pub fn decode_body(bytes: &[u8]) -> Result<OpExecutionPayloadEnvelope, BadBody> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(BadBody::TooLarge(bytes.len()));
    }
    let (&form, rest) = bytes.split_first().ok_or(BadBody::Empty)?;
    let wrong = |error: DecodeError| BadBody::Malformed { form, reason: format!("{error:?}") };
    let (root, rest) = match form {
        1 | 2 => (None, rest),
        3 | 4 => {
            let reason = "the beacon block root is cut short".to_owned();
            let split = rest.split_first_chunk::<32>().ok_or(BadBody::Malformed { form, reason })?;
            (Some(B256::from(*split.0)), split.1)
        }
        other => return Err(BadBody::Form(other)),
    };
    let payload = match form {
        1 => ExecutionPayloadV1::from_ssz_bytes(rest).map(OpExecutionPayload::V1),
        2 => ExecutionPayloadV2::from_ssz_bytes(rest).map(OpExecutionPayload::V2),
        3 => ExecutionPayloadV3::from_ssz_bytes(rest).map(OpExecutionPayload::V3),
        _ => OpExecutionPayloadV4::from_ssz_bytes(rest).map(OpExecutionPayload::V4),
    };
    Ok(OpExecutionPayloadEnvelope { parent_beacon_block_root: root, execution_payload: payload.map_err(wrong)? })
}

/// The name and place that an execution payload claims.
#[must_use]
pub fn block_ref(payload: &OpExecutionPayload) -> BlockRef {
    let claims = payload.as_v1();
    BlockRef {
        number: BlockNumber::new(claims.block_number),
        hash: BlockHash::new(claims.block_hash.0),
        parent: BlockHash::new(claims.parent_hash.0),
        timestamp: Timestamp::from_secs(claims.timestamp),
    }
}

/// The L1 block that a block cites, out of its first transaction, encoded. `None` where it tells of none: the block of
/// genesis, or no block of a rollup.
#[must_use]
pub fn cited_origin(first_transaction: &[u8]) -> Option<L1Origin> {
    // The library also takes a deposit without the byte that says so.
    let deposit = first_transaction.starts_with(&[DEPOSIT_TX_TYPE_ID]);
    let deposit = deposit.then(|| TxDeposit::decode_2718_exact(first_transaction))?.ok()?;
    let info = L1BlockInfo::decode_any(&deposit.input).ok()?;
    let (number, hash) = (info.number, BlockHash::new(info.hash.0));
    Some(L1Origin { number, hash, timestamp: Timestamp::from_secs(info.timestamp) })
}

/// An execution payload as the heart carries it. `origin` is the L1 block that it cites: the one it was ordered for, or
/// what its first transaction says, see [`cited_origin`].
#[must_use]
pub fn to_payload(slot: Slot, origin: Option<L1Origin>, envelope: &OpExecutionPayloadEnvelope) -> Payload {
    Payload { slot, block: block_ref(&envelope.execution_payload), origin, body: encode_body(envelope) }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bloom, U256};
    use proptest::prelude::*;

    use super::*;

    fn first() -> ExecutionPayloadV1 {
        ExecutionPayloadV1 {
            parent_hash: B256::repeat_byte(1),
            fee_recipient: Address::repeat_byte(2),
            state_root: B256::repeat_byte(3),
            receipts_root: B256::repeat_byte(4),
            logs_bloom: Bloom::ZERO,
            prev_randao: B256::repeat_byte(5),
            block_number: 7,
            gas_limit: 30_000_000,
            gas_used: 21_000,
            timestamp: 1_000,
            extra_data: vec![0; 9].into(),
            base_fee_per_gas: U256::from(7),
            block_hash: B256::repeat_byte(6),
            transactions: vec![vec![0x7e, 1, 2].into(), vec![2, 3].into()],
        }
    }

    fn forms() -> [OpExecutionPayloadEnvelope; 4] {
        let second = ExecutionPayloadV2 { payload_inner: first(), withdrawals: Vec::new() };
        let third = ExecutionPayloadV3 { payload_inner: second.clone(), blob_gas_used: 5, excess_blob_gas: 0 };
        let fourth = OpExecutionPayloadV4 { payload_inner: third.clone(), withdrawals_root: B256::repeat_byte(8) };
        let root = Some(B256::repeat_byte(9));
        [
            (None, OpExecutionPayload::V1(first())),
            (None, OpExecutionPayload::V2(second)),
            (root, OpExecutionPayload::V3(third)),
            (root, OpExecutionPayload::V4(fourth)),
        ]
        .map(|(parent_beacon_block_root, execution_payload)| OpExecutionPayloadEnvelope {
            parent_beacon_block_root,
            execution_payload,
        })
    }

    #[test]
    fn every_form_is_read_as_it_was_written() {
        for (envelope, form) in forms().iter().zip(1..) {
            let body = encode_body(envelope);
            assert_eq!(body[0], form);
            assert_eq!(decode_body(&body).as_ref(), Ok(envelope));
        }
    }

    #[test]
    fn what_is_cut_short_or_of_another_form_is_refused() {
        assert_eq!(decode_body(&[]), Err(BadBody::Empty));
        assert_eq!(decode_body(&[0, 1]), Err(BadBody::Form(0)));
        assert_eq!(decode_body(&[5, 1]), Err(BadBody::Form(5)));
        assert_eq!(decode_body(&vec![4; BODY_BYTES_MAX + 1]), Err(BadBody::TooLarge(BODY_BYTES_MAX + 1)));
        for envelope in &forms() {
            let body = encode_body(envelope);
            // Whatever is cut off, it is an error or another payload, and never a panic.
            for len in 1..body.len() {
                assert_ne!(decode_body(&body[..len]).as_ref(), Ok(envelope), "{len} bytes");
            }
        }
        let body = encode_body(&forms()[3]);
        assert!(matches!(decode_body(&body[..20]), Err(BadBody::Malformed { form: 4, .. })));
    }

    proptest! {
        /// Bytes from anywhere: no panic, and what is read is written so that it reads the same.
        #[test]
        fn whatever_is_read_is_one_payload(
            at in 0_usize..800,
            byte: u8,
            tail in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for envelope in &forms() {
                let mut body = encode_body(envelope).to_vec();
                let at = at % body.len();
                body[at] = byte;
                body.extend(&tail);
                if let Ok(read) = decode_body(&body) {
                    prop_assert_eq!(decode_body(&encode_body(&read)), Ok(read));
                }
            }
        }
    }
}
