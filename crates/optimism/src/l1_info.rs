//! The first transaction of every block: what the rollup knows of L1.
//!
//! Sources: <https://specs.optimism.io/protocol/deposits.html>, "L1 Attributes Deposited Transaction"; `ecotone/`,
//! `isthmus/` and `jovian/l1-attributes.md`; the contract `L1Block.sol`.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, Sealed, TxKind, U256, address, hex};
use op_alloy_consensus::{L1InfoDepositSource, TxDeposit};

use crate::abi::{self, Cursor};
use crate::blob_fee::BlobSchedule;
use crate::system_config::{FeeScalars, OperatorFee, ScalarFault, SystemConfig};
use crate::{Fork, RollupConfig};

/// Who sends it: an account without a key.
pub const L1_INFO_SENDER: Address = address!("0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001");
/// The contract that keeps it.
pub const L1_BLOCK: Address = address!("0x4200000000000000000000000000000000000015");
/// Gas that one byte of room on L1 stands for where L1 says nothing (spec `jovian/l1-attributes.md`).
pub const DA_FOOTPRINT_GAS_SCALAR: u16 = 400;

/// Gas of the transaction from Regolith on.
const GAS: u64 = 1_000_000;
/// Gas of the transaction before Regolith, when it counted as the system's and took none from the block.
const GAS_BEFORE_REGOLITH: u64 = 150_000_000;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum L1InfoFormat {
    /// Eight words.
    Bedrock,
    /// Packed, with scalars and fee for blobs.
    Ecotone,
    /// With the operator's fee.
    Isthmus,
    /// With the gas for room on L1.
    Jovian,
}

impl L1InfoFormat {
    /// All of them in their order.
    pub const ALL: [Self; 4] = [Self::Bedrock, Self::Ecotone, Self::Isthmus, Self::Jovian];

    /// The function of the contract that takes it.
    pub const fn selector(self) -> [u8; 4] {
        match self {
            Self::Bedrock => [0x01, 0x5d, 0x8e, 0xb9],
            Self::Ecotone => [0x44, 0x0a, 0x5e, 0x20],
            Self::Isthmus => [0x09, 0x89, 0x99, 0xbe],
            Self::Jovian => [0x3d, 0xb6, 0xbe, 0x2b],
        }
    }

    /// The bytes of the call, the function's name included.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bedrock => 4 + 8 * 32,
            Self::Ecotone => 4 + 5 * 32,
            Self::Isthmus => 4 + 5 * 32 + 12,
            Self::Jovian => 4 + 5 * 32 + 14,
        }
    }

    /// The format of a block at this time. The block that upgrades the contract still speaks to the old one.
    pub fn at(config: &RollupConfig, time: u64) -> Self {
        let formats = [(Fork::Jovian, Self::Jovian), (Fork::Isthmus, Self::Isthmus), (Fork::Ecotone, Self::Ecotone)];
        let holds = |fork: Fork| config.is_active(fork, time) && !config.is_activation_block(fork, time);
        formats.into_iter().find(|(fork, _)| holds(*fork)).map_or(Self::Bedrock, |(_, format)| format)
    }
}

/// What a block knows of L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct L1BlockInfo {
    /// The height of the L1 block.
    pub number: u64,
    /// Its time: seconds since the Unix epoch.
    pub timestamp: u64,
    /// Its base fee, in wei.
    pub base_fee: U256,
    /// Its hash.
    pub hash: B256,
    /// How many blocks of the rollup cited it before this one.
    pub sequence_number: u64,
    /// Whose L1 transactions are batches.
    pub batcher: Address,
    /// What room on L1 costs.
    pub fees: L1Fees,
}

/// What room on L1 costs, by the format that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum L1Fees {
    /// Before Ecotone.
    Bedrock {
        /// See [`SystemConfig::overhead`].
        overhead: B256,
        /// See [`SystemConfig::scalar`].
        scalar: B256,
    },
    /// From Ecotone on.
    Ecotone(BlobFees),
    /// From Isthmus on.
    Isthmus(BlobFees, OperatorFee),
    /// From Jovian on, with the gas that one byte of room on L1 stands for.
    Jovian(BlobFees, OperatorFee, u16),
}

/// What calldata and blobs cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BlobFees {
    /// The scalars that the chain's operators set.
    pub scalars: FeeScalars,
    /// The blob base fee of the L1 block, in wei.
    pub blob_base_fee: U256,
}

/// Why a call is not that of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum L1InfoFault {
    /// Another function, or none.
    #[error("the L1 info does not begin with {}, as {format:?} does", hex::encode_prefixed(.format.selector()))]
    Selector {
        /// The format.
        format: L1InfoFormat,
    },
    /// The function of no format.
    #[error("the L1 info begins with no function that is known")]
    Unknown,
    /// Too short or too long.
    #[error("the L1 info has {found} bytes; the format {format:?} has {}", .format.bytes())]
    Length {
        /// The format.
        format: L1InfoFormat,
        /// The bytes there are.
        found: usize,
    },
    /// A word that holds more than its field.
    #[error("the L1 info's {field} is {word}, which does not fit")]
    Field {
        /// The field.
        field: &'static str,
        /// What is there.
        word: B256,
    },
}

impl L1BlockInfo {
    /// What a block at `time` says, the `sequence_number`-th to cite this L1 block.
    ///
    /// # Errors
    /// With the fee scalars, if the L1 contract cannot have written them.
    pub fn new(
        config: &RollupConfig,
        schedule: &BlobSchedule,
        system: &SystemConfig,
        l1_block: &Sealed<Header>,
        sequence_number: u64,
        time: u64,
    ) -> Result<Self, ScalarFault> {
        let format = L1InfoFormat::at(config, time);
        let fees = match format {
            L1InfoFormat::Bedrock => L1Fees::Bedrock { overhead: system.overhead, scalar: system.scalar },
            L1InfoFormat::Ecotone | L1InfoFormat::Isthmus | L1InfoFormat::Jovian => {
                let blob_base_fee = U256::from(schedule.fee_for(config, l1_block));
                let blobs = BlobFees { scalars: system.fee_scalars()?, blob_base_fee };
                packed_fees(format, blobs, system)
            }
        };
        Ok(Self {
            number: l1_block.number,
            timestamp: l1_block.timestamp,
            base_fee: U256::from(l1_block.base_fee_per_gas.unwrap_or_default()),
            hash: l1_block.hash(),
            sequence_number,
            batcher: system.batcher,
            fees,
        })
    }

    /// How it is written.
    pub const fn format(&self) -> L1InfoFormat {
        match self.fees {
            L1Fees::Bedrock { .. } => L1InfoFormat::Bedrock,
            L1Fees::Ecotone(_) => L1InfoFormat::Ecotone,
            L1Fees::Isthmus(..) => L1InfoFormat::Isthmus,
            L1Fees::Jovian(..) => L1InfoFormat::Jovian,
        }
    }

    /// The call of the contract.
    pub fn encode(&self) -> Bytes {
        let format = self.format();
        let mut call = Vec::with_capacity(format.bytes());
        call.extend(format.selector());
        match &self.fees {
            L1Fees::Bedrock { overhead, scalar } => self.encode_words(&mut call, overhead, scalar),
            L1Fees::Ecotone(blobs) => self.encode_packed(&mut call, blobs, None, None),
            L1Fees::Isthmus(blobs, operator) => self.encode_packed(&mut call, blobs, Some(operator), None),
            L1Fees::Jovian(blobs, operator, gas) => self.encode_packed(&mut call, blobs, Some(operator), Some(*gas)),
        }
        call.into()
    }

    fn encode_words(&self, call: &mut Vec<u8>, overhead: &B256, scalar: &B256) {
        let number = |number: u64| B256::left_padding_from(&number.to_be_bytes());
        call.extend(number(self.number));
        call.extend(number(self.timestamp));
        call.extend(self.base_fee.to_be_bytes::<32>());
        call.extend(self.hash);
        call.extend(number(self.sequence_number));
        call.extend(self.batcher.into_word());
        call.extend(overhead);
        call.extend(scalar);
    }

    fn encode_packed(
        &self,
        call: &mut Vec<u8>,
        blobs: &BlobFees,
        operator: Option<&OperatorFee>,
        footprint_gas: Option<u16>,
    ) {
        call.extend(blobs.scalars.base_fee.to_be_bytes());
        call.extend(blobs.scalars.blob_base_fee.to_be_bytes());
        call.extend(self.sequence_number.to_be_bytes());
        call.extend(self.timestamp.to_be_bytes());
        call.extend(self.number.to_be_bytes());
        call.extend(self.base_fee.to_be_bytes::<32>());
        call.extend(blobs.blob_base_fee.to_be_bytes::<32>());
        call.extend(self.hash);
        call.extend(self.batcher.into_word());
        if let Some(operator) = operator {
            call.extend(operator.scalar.to_be_bytes());
            call.extend(operator.constant.to_be_bytes());
        }
        if let Some(gas) = footprint_gas {
            call.extend(gas.to_be_bytes());
        }
    }

    /// What a call in this format says.
    ///
    /// # Errors
    /// With what is not as the format has it.
    pub fn decode(format: L1InfoFormat, call: &[u8]) -> Result<Self, L1InfoFault> {
        let Some(fields) = call.strip_prefix(&format.selector()) else { return Err(L1InfoFault::Selector { format }) };
        let length = L1InfoFault::Length { format, found: call.len() };
        if call.len() != format.bytes() {
            return Err(length);
        }
        let mut fields = Fields { cursor: Cursor::new(fields), length };
        if format == L1InfoFormat::Bedrock { fields.words() } else { fields.packed(format) }
    }

    /// What a call in any format says.
    ///
    /// # Errors
    /// With what is not as the format of its function has it.
    pub fn decode_any(call: &[u8]) -> Result<Self, L1InfoFault> {
        let format = L1InfoFormat::ALL.into_iter().find(|format| call.starts_with(&format.selector()));
        Self::decode(format.ok_or(L1InfoFault::Unknown)?, call)
    }

    /// The transaction that brings it into a block, from Regolith on or before.
    pub fn deposit(&self, regolith: bool) -> TxDeposit {
        TxDeposit {
            source_hash: L1InfoDepositSource::new(self.hash, self.sequence_number).source_hash(),
            from: L1_INFO_SENDER,
            to: TxKind::Call(L1_BLOCK),
            mint: 0,
            value: U256::ZERO,
            gas_limit: if regolith { GAS } else { GAS_BEFORE_REGOLITH },
            is_system_transaction: !regolith,
            input: self.encode(),
        }
    }
}

fn packed_fees(format: L1InfoFormat, blobs: BlobFees, system: &SystemConfig) -> L1Fees {
    let footprint_gas = match system.da_footprint_gas_scalar {
        0 => DA_FOOTPRINT_GAS_SCALAR,
        set => set,
    };
    match format {
        L1InfoFormat::Bedrock | L1InfoFormat::Ecotone => L1Fees::Ecotone(blobs),
        L1InfoFormat::Isthmus => L1Fees::Isthmus(blobs, system.operator_fee),
        L1InfoFormat::Jovian => L1Fees::Jovian(blobs, system.operator_fee, footprint_gas),
    }
}

/// The fields of a call whose length is right.
struct Fields<'a> {
    cursor: Cursor<'a>,
    /// What to say if there are too few bytes all the same.
    length: L1InfoFault,
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], L1InfoFault> {
        self.cursor.take().ok_or(self.length)
    }

    fn word(&mut self) -> Result<B256, L1InfoFault> {
        self.take().map(B256::new)
    }

    fn number(&mut self, field: &'static str) -> Result<u64, L1InfoFault> {
        let word = self.word()?;
        abi::number(&word).ok_or(L1InfoFault::Field { field, word })
    }

    fn batcher(&mut self) -> Result<Address, L1InfoFault> {
        let word = self.word()?;
        abi::address(&word).ok_or(L1InfoFault::Field { field: "batcher", word })
    }

    fn words(&mut self) -> Result<L1BlockInfo, L1InfoFault> {
        Ok(L1BlockInfo {
            number: self.number("number")?,
            timestamp: self.number("timestamp")?,
            base_fee: self.word()?.into(),
            hash: self.word()?,
            sequence_number: self.number("sequence number")?,
            batcher: self.batcher()?,
            fees: L1Fees::Bedrock { overhead: self.word()?, scalar: self.word()? },
        })
    }

    fn packed(&mut self, format: L1InfoFormat) -> Result<L1BlockInfo, L1InfoFault> {
        let base_fee_scalar = u32::from_be_bytes(self.take()?);
        let blob_base_fee_scalar = u32::from_be_bytes(self.take()?);
        let sequence_number = u64::from_be_bytes(self.take()?);
        let timestamp = u64::from_be_bytes(self.take()?);
        let number = u64::from_be_bytes(self.take()?);
        let base_fee = self.word()?.into();
        let blobs = BlobFees {
            scalars: FeeScalars { base_fee: base_fee_scalar, blob_base_fee: blob_base_fee_scalar },
            blob_base_fee: self.word()?.into(),
        };
        let hash = self.word()?;
        let batcher = self.batcher()?;
        let fees = match format {
            L1InfoFormat::Bedrock | L1InfoFormat::Ecotone => L1Fees::Ecotone(blobs),
            L1InfoFormat::Isthmus => L1Fees::Isthmus(blobs, self.operator_fee()?),
            L1InfoFormat::Jovian => L1Fees::Jovian(blobs, self.operator_fee()?, u16::from_be_bytes(self.take()?)),
        };
        Ok(L1BlockInfo { number, timestamp, base_fee, hash, sequence_number, batcher, fees })
    }

    fn operator_fee(&mut self) -> Result<OperatorFee, L1InfoFault> {
        let scalar = u32::from_be_bytes(self.take()?);
        Ok(OperatorFee { scalar, constant: u64::from_be_bytes(self.take()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Forks;
    use crate::config::tests::chain;

    fn l1_block() -> Sealed<Header> {
        let header = Header {
            number: 7,
            timestamp: 990,
            base_fee_per_gas: Some(13),
            excess_blob_gas: Some(0),
            ..Header::default()
        };
        Sealed::new_unchecked(header, B256::repeat_byte(5))
    }

    #[test]
    fn the_block_that_upgrades_still_writes_the_old_format() {
        use L1InfoFormat::{Bedrock, Ecotone, Isthmus, Jovian};
        let forks = Forks::from_genesis(Fork::Delta)
            .with(Fork::Ecotone, 1010)
            .with(Fork::Fjord, 1020)
            .with(Fork::Granite, 1020)
            .with(Fork::Holocene, 1020)
            .with(Fork::Isthmus, 1021)
            .with(Fork::Jovian, 1030);
        let config = chain(forks);
        let table = [
            (1008, Bedrock),
            (1010, Bedrock),
            (1012, Ecotone),
            (1020, Ecotone),
            (1022, Ecotone),
            (1024, Isthmus),
            (1030, Isthmus),
            (1032, Jovian),
        ];
        for (time, wanted) in table {
            assert_eq!(L1InfoFormat::at(&config, time), wanted, "at {time}");
        }
        let together = chain(Forks::from_genesis(Fork::Delta).with(Fork::Ecotone, 1010));
        assert_eq!(L1InfoFormat::at(&together, 1012), Ecotone);
        let from_the_start = chain(Forks::from_genesis(Fork::Karst));
        assert_eq!([1000, 1002].map(|time| L1InfoFormat::at(&from_the_start, time)), [Jovian, Jovian]);
    }

    #[test]
    fn several_forks_at_once_write_the_newest_format_that_held_before() {
        let config = chain(Forks::from_genesis(Fork::Delta).with(Fork::Ecotone, 1010).with(Fork::Fjord, 1010));
        let mut forks = config.forks;
        for fork in [Fork::Granite, Fork::Holocene, Fork::Isthmus, Fork::Jovian] {
            forks.set(fork, Some(1010));
        }
        let config = chain(forks);
        assert_eq!(L1InfoFormat::at(&config, 1010), L1InfoFormat::Bedrock);
        assert_eq!(L1InfoFormat::at(&config, 1012), L1InfoFormat::Jovian);
    }

    #[test]
    fn the_deposit_costs_gas_from_regolith_on() {
        let info = L1BlockInfo::new(
            &chain(Forks::default()),
            &BlobSchedule::of_l1(1).expect("public"),
            &SystemConfig::default(),
            &l1_block(),
            3,
            1002,
        );
        let info = info.expect("made");
        let (before, after) = (info.deposit(false), info.deposit(true));
        assert_eq!((before.gas_limit, before.is_system_transaction), (150_000_000, true));
        assert_eq!((after.gas_limit, after.is_system_transaction), (1_000_000, false));
        assert_eq!(after.source_hash, L1InfoDepositSource::new(B256::repeat_byte(5), 3).source_hash());
        assert_eq!((after.from, after.to), (L1_INFO_SENDER, TxKind::Call(L1_BLOCK)));
        assert_eq!((info.number, info.timestamp, info.base_fee), (7, 990, U256::from(13)));
    }

    #[test]
    fn what_l1_does_not_set_has_its_default() {
        let config = chain(Forks::from_genesis(Fork::Jovian));
        let schedule = BlobSchedule::of_l1(1).expect("public");
        let made = |system: &SystemConfig| L1BlockInfo::new(&config, &schedule, system, &l1_block(), 0, 1002);
        let gas = |set: u16| {
            let system = SystemConfig { da_footprint_gas_scalar: set, ..SystemConfig::default() };
            match made(&system).expect("made").fees {
                L1Fees::Jovian(blobs, _, gas) => (gas, blobs.blob_base_fee),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(gas(0), (400, U256::ONE));
        assert_eq!(gas(7), (7, U256::ONE));
        let unknown = SystemConfig { scalar: B256::repeat_byte(2), ..SystemConfig::default() };
        assert!(matches!(made(&unknown), Err(ScalarFault::Version(_))));
    }
}
