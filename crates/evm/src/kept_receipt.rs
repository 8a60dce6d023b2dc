//! Receipts as the tables keep them: without what follows from the rest. The bloom of its logs is 256 bytes of each receipt, most of them zero.
//!
//! ```text
//! receipt    list: type ‖ succeeded ‖ cumulative gas ‖ logs [‖ nonce of the deposit [‖ version of the deposit's receipt]]
//! receipts   one after the other
//! ```

use alloy_consensus::Typed2718;
use alloy_primitives::Log;
use alloy_rlp::{Decodable, Encodable, Header};
use op_alloy_consensus::OpTxType;

use crate::block::Receipt;

/// Adds a receipt to those before it.
pub(crate) fn encode(receipt: &Receipt, out: &mut Vec<u8>) {
    let mut fields = Vec::new();
    receipt.ty().encode(&mut fields);
    receipt.status().encode(&mut fields);
    receipt.cumulative_gas_used().encode(&mut fields);
    alloy_rlp::encode_list(receipt.logs(), &mut fields);
    for field in [receipt.deposit_nonce(), receipt.deposit_receipt_version()].into_iter().map_while(|field| field) {
        field.encode(&mut fields);
    }
    Header { list: true, payload_length: fields.len() }.encode(out);
    out.extend_from_slice(&fields);
}

/// All receipts of a row.
pub(crate) fn decode(mut row: &[u8]) -> alloy_rlp::Result<Vec<Receipt>> {
    let mut receipts = Vec::new();
    while !row.is_empty() {
        let fields = &mut Header::decode_bytes(&mut row, true)?;
        let kind = u8::decode(fields)?;
        let kind = OpTxType::try_from(kind).map_err(|_| alloy_rlp::Error::Custom("no type of a transaction"))?;
        let (succeeded, gas, logs) = (bool::decode(fields)?, u64::decode(fields)?, Vec::<Log>::decode(fields)?);
        let mut more = || if fields.is_empty() { Ok(None) } else { u64::decode(fields).map(Some) };
        let (nonce, version) = (more()?, more()?);
        if !fields.is_empty() {
            return Err(alloy_rlp::Error::Custom("more fields than a receipt has"));
        }
        receipts.push(Receipt::from_parts(succeeded, gas, &logs, kind, nonce, version));
    }
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Bytes};

    use super::*;

    #[test]
    fn receipts_come_back_as_they_were() {
        let log = |byte| {
            let topics = vec![B256::repeat_byte(byte), B256::ZERO];
            Log::new_unchecked(Address::repeat_byte(byte), topics, Bytes::from(vec![byte; 70]))
        };
        let receipts = [
            Receipt::from_parts(true, 21_000, [], OpTxType::Legacy, None, None),
            Receipt::from_parts(false, 0, [], OpTxType::Eip2930, None, None),
            Receipt::from_parts(true, u64::MAX, &[log(1), log(2)], OpTxType::Eip1559, None, None),
            Receipt::from_parts(true, 5, &[log(0)], OpTxType::Eip7702, None, None),
            Receipt::from_parts(true, 6, [], OpTxType::Deposit, None, None),
            Receipt::from_parts(false, 7, &[log(9)], OpTxType::Deposit, Some(0), None),
            Receipt::from_parts(true, 8, [], OpTxType::Deposit, Some(7), Some(1)),
        ];
        let mut row = Vec::new();
        receipts.iter().for_each(|receipt| encode(receipt, &mut row));
        assert_eq!(decode(&row), Ok(receipts.to_vec()));
        assert_eq!(decode(&[]), Ok(Vec::new()));
        for end in 1..row.len() {
            // Cut anywhere it is fewer receipts, or none that can be read.
            assert!(decode(&row[..end]).is_ok_and(|some| some.len() < receipts.len()) || decode(&row[..end]).is_err());
        }
        for damaged in [&[0xc0][..], &[0xc4, 0x60, 0x01, 0x01, 0xc0], &[0xc7, 0x02, 0x01, 0x01, 0xc0, 1, 1, 1]] {
            assert!(decode(damaged).is_err(), "{damaged:?}");
        }
    }
}
