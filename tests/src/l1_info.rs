//! What a rollup's block says of L1, read from its first transaction.

use serde_json::Value;

/// `setL1BlockValuesEcotone()`, `setL1BlockValuesIsthmus()` and `setL1BlockValuesJovian()` with their packed values.
///
/// Source: <https://specs.optimism.io/protocol/jovian/l1-attributes.html> and its forerunners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L1Info {
    /// Weight of L1's base fee.
    pub base_fee_scalar: u32,
    /// Weight of L1's blob base fee.
    pub blob_base_fee_scalar: u32,
    /// How many blocks cited the L1 block before this one.
    pub sequence_number: u64,
    /// The L1 block's time, in seconds.
    pub timestamp: u64,
    /// Its height.
    pub number: u64,
    /// Its base fee as a quantity.
    pub base_fee: String,
    /// Its hash.
    pub hash: String,
    /// Who sends batches: an address in lower case.
    pub batcher: String,
    /// Scalar and constant of the operator's fee; zero before Isthmus.
    pub operator_fee: (u32, u64),
}

impl L1Info {
    /// Reads a transaction as `eth_getBlockByNumber` shows it.
    ///
    /// # Panics
    /// If it is no such call.
    pub fn read(transaction: &Value) -> L1Info {
        assert_eq!(transaction["type"], "0x7e", "a deposit comes first: {transaction}");
        let input = transaction["input"].as_str().unwrap_or_default();
        let length = match &input[..10] {
            "0x440a5e20" => 164,
            "0x098999be" => 176,
            "0x3db6be2b" => 178,
            other => panic!("{other} is no call that tells of L1: {transaction}"),
        };
        assert_eq!(input.len(), 2 + 2 * length, "{transaction}");
        let bytes = |from: usize, count: usize| &input[2 + 2 * from..2 + 2 * (from + count)];
        let number =
            |from, count| u64::from_str_radix(bytes(from, count), 16).expect("the node answers in hexadecimal");
        let small = |from| u32::try_from(number(from, 4)).expect("four bytes");
        L1Info {
            base_fee_scalar: small(4),
            blob_base_fee_scalar: small(8),
            sequence_number: number(12, 8),
            timestamp: number(20, 8),
            number: number(28, 8),
            base_fee: format!("0x{}", bytes(36, 32).trim_start_matches('0')),
            hash: format!("0x{}", bytes(100, 32)),
            batcher: format!("0x{}", &bytes(132, 32)[24..]),
            operator_fee: if length > 164 { (small(164), number(168, 8)) } else { (0, 0) },
        }
    }
}
