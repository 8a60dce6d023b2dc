//! What the chain's operators set on L1 and every block follows: batcher, fees, gas limit.
//!
//! Sources: <https://specs.optimism.io/protocol/system-config.html>; `ecotone/l1-attributes.md` for the scalars; the
//! contract `SystemConfig.sol`.

mod update;

use alloy_primitives::{Address, B64, B256};

pub use update::{CONFIG_UPDATE_TOPIC, SkippedUpdate, Update, UpdateFault, unsafe_signer_set};

use crate::abi::Cursor;

/// The storage slot of the L1 contract that holds the signer of unsafe blocks:
/// `keccak256("systemconfig.unsafeblocksigner")` (`SystemConfig.sol`).
pub const UNSAFE_SIGNER_SLOT: B256 =
    alloy_primitives::b256!("0x65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08");

/// What holds for a block until L1 changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SystemConfig {
    /// Whose L1 transactions are batches.
    pub batcher: Address,
    /// Before Ecotone: gas added to what a transaction pays for on L1.
    pub overhead: B256,
    /// The fee scalars in the encoding of the L1 contract. See [`SystemConfig::fee_scalars`].
    pub scalar: B256,
    /// Gas for each block.
    pub gas_limit: u64,
    /// From Holocene on: denominator and elasticity, 4 bytes each, both zero for the chain's constants.
    pub eip1559_params: B64,
    /// From Isthmus on: what the operator takes.
    pub operator_fee: OperatorFee,
    /// From Jovian on: the lowest base fee, in wei for each gas.
    pub min_base_fee: u64,
    /// From Jovian on: gas that one byte of room on L1 stands for; 0 for
    /// [`DA_FOOTPRINT_GAS_SCALAR`](crate::DA_FOOTPRINT_GAS_SCALAR).
    pub da_footprint_gas_scalar: u16,
}

/// What the operator takes for each transaction (spec `isthmus/exec-engine.md`, "Operator Fee").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OperatorFee {
    /// For each gas: in millionths of a wei, from Jovian on in hundreds of wei.
    pub scalar: u32,
    /// For each transaction, in wei.
    pub constant: u64,
}

impl OperatorFee {
    /// The word of the L1 contract: 20 bytes of zero, the scalar, the constant. The first 20 bytes are not looked at.
    pub fn unpack(word: &B256) -> Self {
        let mut cursor = Cursor::new(&word[20..]);
        Self {
            scalar: cursor.take().map(u32::from_be_bytes).unwrap_or_default(),
            constant: cursor.take().map(u64::from_be_bytes).unwrap_or_default(),
        }
    }

    /// The same as the L1 contract's word.
    pub fn pack(self) -> B256 {
        let mut word = B256::ZERO;
        word[20..24].copy_from_slice(&self.scalar.to_be_bytes());
        word[24..].copy_from_slice(&self.constant.to_be_bytes());
        word
    }
}

/// What a transaction pays for room on L1, from Ecotone on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FeeScalars {
    /// Times L1's base fee, in millionths.
    pub base_fee: u32,
    /// Times L1's blob base fee, in millionths.
    pub blob_base_fee: u32,
}

/// Scalars in an encoding that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScalarFault {
    /// The first byte names no encoding.
    #[error("fee scalars {0}: version {version} is not known; it is 0 or 1", version = .0[0])]
    Version(B256),
    /// Bytes that must be zero are not.
    #[error("fee scalars {0}: the bytes between version and numbers have to be zero")]
    Padding(B256),
}

const SCALAR_VERSION_BEDROCK: u8 = 0;
const SCALAR_VERSION_ECOTONE: u8 = 1;

impl FeeScalars {
    /// The contract's word with version 1: version, zeros, blob base fee scalar, base fee scalar.
    pub fn pack(self) -> B256 {
        let mut word = B256::ZERO;
        word[0] = SCALAR_VERSION_ECOTONE;
        word[24..28].copy_from_slice(&self.blob_base_fee.to_be_bytes());
        word[28..].copy_from_slice(&self.base_fee.to_be_bytes());
        word
    }
}

/// Whether the L1 contract's word may take effect from Ecotone on.
fn check_scalar(word: &B256) -> Result<(), ScalarFault> {
    let zero_up_to = match word[0] {
        SCALAR_VERSION_BEDROCK => 28,
        SCALAR_VERSION_ECOTONE => 24,
        _ => return Err(ScalarFault::Version(*word)),
    };
    let clean = word[1..zero_up_to].iter().all(|byte| *byte == 0);
    if clean { Ok(()) } else { Err(ScalarFault::Padding(*word)) }
}

impl SystemConfig {
    /// The scalars that hold from Ecotone on. A Bedrock scalar too large for the new form counts as the largest.
    ///
    /// # Errors
    /// With the word, if its encoding is not known: the L1 contract cannot have written it.
    pub fn fee_scalars(&self) -> Result<FeeScalars, ScalarFault> {
        let word = &self.scalar;
        match (check_scalar(word), word[0]) {
            (Err(ScalarFault::Padding(_)), SCALAR_VERSION_BEDROCK) => {
                Ok(FeeScalars { base_fee: u32::MAX, blob_base_fee: 0 })
            }
            (Err(fault), _) => Err(fault),
            // Under version 0 the bytes of the second number are zero, as it should be.
            (Ok(()), _) => {
                let mut cursor = Cursor::new(&word[24..]);
                let blob_base_fee = cursor.take().map(u32::from_be_bytes).unwrap_or_default();
                let base_fee = cursor.take().map(u32::from_be_bytes).unwrap_or_default();
                Ok(FeeScalars { base_fee, blob_base_fee })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[(usize, u8)]) -> B256 {
        let mut word = B256::ZERO;
        for (place, byte) in bytes {
            word[*place] = *byte;
        }
        word
    }

    #[test]
    fn scalars_are_read_by_their_version() {
        let table = [
            (word(&[(31, 7)]), Ok((7, 0))),
            (word(&[(0, 1), (27, 9), (31, 7)]), Ok((7, 9))),
            // Under version 0 whatever does not fit is the largest.
            (word(&[(27, 9), (31, 7)]), Ok((u32::MAX, 0))),
            (word(&[(1, 1)]), Ok((u32::MAX, 0))),
            (word(&[(0, 1), (1, 1)]), Err(ScalarFault::Padding(word(&[(0, 1), (1, 1)])))),
            (word(&[(0, 1), (23, 1)]), Err(ScalarFault::Padding(word(&[(0, 1), (23, 1)])))),
            (word(&[(0, 2), (31, 7)]), Err(ScalarFault::Version(word(&[(0, 2), (31, 7)])))),
        ];
        for (scalar, wanted) in table {
            let config = SystemConfig { scalar, ..SystemConfig::default() };
            let wanted = wanted.map(|(base_fee, blob_base_fee)| FeeScalars { base_fee, blob_base_fee });
            assert_eq!(config.fee_scalars(), wanted, "{scalar}");
        }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let fee = OperatorFee { scalar: 0xaabb_ccdd, constant: 0x1122_3344_5566_7788 };
        assert_eq!(OperatorFee::unpack(&fee.pack()), fee);
        assert_eq!(fee.pack().to_string(), format!("0x{}aabbccdd1122334455667788", "00".repeat(20)));
        let scalars = FeeScalars { base_fee: 1368, blob_base_fee: 810_949 };
        let config = SystemConfig { scalar: scalars.pack(), ..SystemConfig::default() };
        assert_eq!(config.fee_scalars(), Ok(scalars));
    }
}
