//! The logs by which L1 changes the system configuration.
//!
//! Sources: `SystemConfig.sol`, event `ConfigUpdate(uint256 indexed version, uint8 indexed updateType, bytes data)`;
//! <https://specs.optimism.io/protocol/derivation.html>, "Building Individual Payload Attributes"; op-node
//! `rollup/derive/system_config.go`.

use alloy_consensus::TxReceipt;
use alloy_primitives::{Address, B64, B256, Log, b256};

use super::{OperatorFee, ScalarFault, SystemConfig, check_scalar};
use crate::abi::{self, Cursor};
use crate::receipts::logs_of;
use crate::{Fork, RollupConfig};

/// `keccak256("ConfigUpdate(uint256,uint8,bytes)")`.
pub const CONFIG_UPDATE_TOPIC: B256 = b256!("0x1d2b0bda21d56b8bd12d4f94ebacffdfb35f5e226f84b461103bb8beab6353be");

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Type 0: who sends batches.
    Batcher(Address),
    /// Type 1: the fee scalars, and the overhead that counts before Ecotone.
    FeeScalars {
        /// See [`SystemConfig::overhead`].
        overhead: B256,
        /// See [`SystemConfig::scalar`].
        scalar: B256,
    },
    /// Type 2: gas for each block.
    GasLimit(u64),
    /// Type 3: who signs unsafe blocks on the p2p network. Changes no rule of derivation.
    UnsafeSigner(Address),
    /// Type 4: denominator and elasticity.
    Eip1559Params(B64),
    /// Type 5: what the operator takes.
    OperatorFee(OperatorFee),
    /// Type 6: the lowest base fee.
    MinBaseFee(u64),
    /// Type 7: gas for a byte of room on L1.
    DaFootprintGasScalar(u16),
}

/// Why a log of the L1 contract changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateFault {
    /// The event has its name, a version and a type.
    #[error("{0} topics; an update of the system configuration has 3")]
    Topics(usize),
    /// Only version 0 is known.
    #[error("version {0} is not known; only 0 is")]
    Version(B256),
    /// The types are 0 to 7.
    #[error("type {0} is not known; 0 to 7 are")]
    Type(B256),
    /// The data is too short or too long for its type.
    #[error("{found} bytes of data; its type has {wanted}")]
    DataLength {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        wanted: usize,
    },
    /// The data is one run of bytes, which begins at byte 32.
    #[error("the data begins at {0}; it has to be 32")]
    Pointer(B256),
    /// The run of bytes has the length of its type.
    #[error("the data says that it has {0} bytes, which its type has not")]
    Length(B256),
    /// The value does not fit.
    #[error("{value} is not {wanted}")]
    Value {
        /// The word.
        value: B256,
        /// What it should be.
        wanted: &'static str,
    },
    /// One of the two is zero and the other is not.
    #[error("fee parameters {0}: denominator and elasticity are both 0, or neither")]
    FeeParams(B64),
    /// From Ecotone on, scalars have to be in an encoding that is known.
    #[error(transparent)]
    Scalar(#[from] ScalarFault),
}

/// A log of the L1 contract that changed nothing. Worth a warning: the chain goes on without what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log {log_index} of the system configuration is skipped: {fault}")]
pub struct SkippedUpdate {
    /// Its place among all logs of the L1 block.
    pub log_index: u64,
    /// What is wrong with it.
    pub fault: UpdateFault,
}

impl Update {
    /// The change that a log asks for.
    ///
    /// # Errors
    /// With what the contract of version 0 would not have written.
    pub fn decode(log: &Log) -> Result<Self, UpdateFault> {
        let [_, version, kind] = log.topics() else { return Err(UpdateFault::Topics(log.topics().len())) };
        if *version != B256::ZERO {
            return Err(UpdateFault::Version(*version));
        }
        let data = &log.data.data;
        match abi::number(kind) {
            Some(0) => address(data).map(Self::Batcher),
            Some(1) => {
                let [overhead, scalar] = words(data)?;
                Ok(Self::FeeScalars { overhead, scalar })
            }
            Some(2) => number(data, "a gas limit of up to 8 bytes").map(Self::GasLimit),
            Some(3) => address(data).map(Self::UnsafeSigner),
            Some(4) => eip1559_params(data).map(Self::Eip1559Params),
            Some(5) => {
                let [packed] = words(data)?;
                Ok(Self::OperatorFee(OperatorFee::unpack(&packed)))
            }
            Some(6) => number(data, "a base fee of up to 8 bytes").map(Self::MinBaseFee),
            Some(7) => number(data, "a scalar of up to 2 bytes").map(Self::DaFootprintGasScalar),
            _ => Err(UpdateFault::Type(*kind)),
        }
    }
}

/// The words of a run of bytes that is alone in the data.
fn words<const N: usize>(data: &[u8]) -> Result<[B256; N], UpdateFault> {
    let wanted = 64 + 32 * N;
    let length = UpdateFault::DataLength { found: data.len(), wanted };
    if data.len() != wanted {
        return Err(length);
    }
    let mut cursor = Cursor::new(data);
    let mut next = || cursor.word().ok_or(length);
    let (pointer, bytes) = (next()?, next()?);
    if abi::number(&pointer) != Some(32) {
        return Err(UpdateFault::Pointer(pointer));
    }
    if abi::number(&bytes) != u64::try_from(32 * N).ok() {
        return Err(UpdateFault::Length(bytes));
    }
    let mut words = [B256::ZERO; N];
    for word in &mut words {
        *word = next()?;
    }
    Ok(words)
}

fn address(data: &[u8]) -> Result<Address, UpdateFault> {
    let [value] = words(data)?;
    abi::address(&value).ok_or(UpdateFault::Value { value, wanted: "an address" })
}

fn number<T: TryFrom<u64>>(data: &[u8], wanted: &'static str) -> Result<T, UpdateFault> {
    let [value] = words(data)?;
    abi::number(&value).and_then(|number| number.try_into().ok()).ok_or(UpdateFault::Value { value, wanted })
}

/// op-node looks at the last 8 bytes alone and kona at the whole word; the contract leaves the rest zero.
fn eip1559_params(data: &[u8]) -> Result<B64, UpdateFault> {
    let packed: u64 = number(data, "a denominator and an elasticity of 4 bytes each")?;
    let params = B64::from(packed.to_be_bytes());
    let (denominator, elasticity) = crate::extra_data::unpack_eip1559_params(params);
    if (denominator == 0) != (elasticity == 0) {
        return Err(UpdateFault::FeeParams(params));
    }
    Ok(params)
}

impl SystemConfig {
    /// Makes a change. From Ecotone on (`ecotone`) scalars of no known encoding are refused, and the overhead is no
    /// more.
    ///
    /// # Errors
    /// With what is wrong with the scalars; nothing is changed then.
    pub fn apply(&mut self, update: Update, ecotone: bool) -> Result<(), UpdateFault> {
        match update {
            Update::Batcher(batcher) => self.batcher = batcher,
            Update::FeeScalars { overhead, scalar } => {
                if ecotone {
                    check_scalar(&scalar)?;
                }
                self.overhead = if ecotone { B256::ZERO } else { overhead };
                self.scalar = scalar;
            }
            Update::GasLimit(gas_limit) => self.gas_limit = gas_limit,
            Update::UnsafeSigner(_) => {}
            Update::Eip1559Params(params) => self.eip1559_params = params,
            Update::OperatorFee(fee) => self.operator_fee = fee,
            Update::MinBaseFee(fee) => self.min_base_fee = fee,
            Update::DaFootprintGasScalar(scalar) => self.da_footprint_gas_scalar = scalar,
        }
        Ok(())
    }

    /// Makes every change that the receipts of one L1 block of this time ask for, in their order. What cannot be made
    /// is skipped and told; later changes are made all the same.
    pub fn apply_receipts<R>(&mut self, config: &RollupConfig, l1_time: u64, receipts: &[R]) -> Vec<SkippedUpdate>
    where
        R: TxReceipt<Log = Log>,
    {
        let ecotone = config.is_active(Fork::Ecotone, l1_time);
        let mut skipped = Vec::new();
        for (log_index, log) in logs_of(receipts, config.l1_system_config, CONFIG_UPDATE_TOPIC) {
            if let Err(fault) = Update::decode(log).and_then(|update| self.apply(update, ecotone)) {
                skipped.push(SkippedUpdate { log_index, fault });
            }
        }
        skipped
    }
}

/// Who signs unsafe blocks after one L1 block, if its receipts change that.
pub fn unsafe_signer_set<R>(config: &RollupConfig, receipts: &[R]) -> Option<Address>
where
    R: TxReceipt<Log = Log>,
{
    let logs = logs_of(receipts, config.l1_system_config, CONFIG_UPDATE_TOPIC);
    let signers = logs.filter_map(|(_, log)| match Update::decode(log) {
        Ok(Update::UnsafeSigner(signer)) => Some(signer),
        _ => None,
    });
    signers.last()
}

#[cfg(test)]
mod tests {
    use alloy_consensus::Receipt;
    use alloy_primitives::{Bytes, LogData, address};

    use super::*;
    use crate::Forks;
    use crate::config::tests::chain;

    fn word(number: u64) -> [u8; 32] {
        let mut word = [0; 32];
        word[24..].copy_from_slice(&number.to_be_bytes());
        word
    }

    fn log(config: &RollupConfig, kind: u64, values: &[[u8; 32]]) -> Log {
        let mut data = vec![word(32), word(32 * values.len() as u64)];
        data.extend(values);
        let topics = vec![CONFIG_UPDATE_TOPIC, B256::ZERO, B256::new(word(kind))];
        Log { address: config.l1_system_config, data: LogData::new_unchecked(topics, Bytes::from(data.concat())) }
    }

    fn receipt(success: bool, logs: Vec<Log>) -> Receipt {
        Receipt { status: success.into(), cumulative_gas_used: 0, logs }
    }

    #[test]
    fn each_type_changes_its_own_field() {
        let config = chain(Forks::from_genesis(Fork::Karst));
        let mut scalars = word(7);
        scalars[0] = 1;
        let logs = vec![
            log(&config, 0, &[word(0xb0)]),
            log(&config, 1, &[word(5), scalars]),
            log(&config, 2, &[word(60_000_000)]),
            log(&config, 3, &[word(0x51)]),
            log(&config, 4, &[word(250 << 32 | 6)]),
            log(&config, 5, &[OperatorFee { scalar: 3, constant: 4 }.pack().0]),
            log(&config, 6, &[word(9)]),
            log(&config, 7, &[word(65_535)]),
        ];
        let receipts = [receipt(true, logs)];
        let mut system = SystemConfig { overhead: B256::repeat_byte(1), ..SystemConfig::default() };
        assert_eq!(system.apply_receipts(&config, 0, &receipts), []);
        let wanted = SystemConfig {
            batcher: address!("0x00000000000000000000000000000000000000b0"),
            overhead: B256::ZERO,
            scalar: scalars.into(),
            gas_limit: 60_000_000,
            eip1559_params: "0x000000fa00000006".parse().expect("params"),
            operator_fee: OperatorFee { scalar: 3, constant: 4 },
            min_base_fee: 9,
            da_footprint_gas_scalar: 65_535,
        };
        assert_eq!(system, wanted);
        let signer = unsafe_signer_set(&config, &receipts);
        assert_eq!(signer, Some(address!("0x0000000000000000000000000000000000000051")));
    }

    #[test]
    fn a_malformed_log_is_skipped_and_later_ones_count() {
        let config = chain(Forks::from_genesis(Fork::Karst));
        let mut short = log(&config, 2, &[word(1)]);
        short.data.data = short.data.data.slice(..95);
        let mut versioned = log(&config, 2, &[word(2)]);
        versioned.data = LogData::new_unchecked(
            vec![CONFIG_UPDATE_TOPIC, B256::new(word(1)), B256::new(word(2))],
            versioned.data.data,
        );
        let mut elsewhere = log(&config, 2, &[word(3)]);
        elsewhere.address = config.deposit_contract;
        let mut untyped = log(&config, 2, &[word(3)]);
        untyped.data = LogData::new_unchecked(vec![CONFIG_UPDATE_TOPIC], untyped.data.data);
        let receipts = [
            receipt(true, vec![elsewhere.clone(), short]),
            receipt(false, vec![log(&config, 2, &[word(4)])]),
            receipt(true, vec![versioned, untyped, log(&config, 8, &[word(5)])]),
            receipt(true, vec![log(&config, 4, &[word(6)]), log(&config, 4, &[word(6 << 32)])]),
            receipt(true, vec![log(&config, 2, &[word(7)]), elsewhere]),
        ];
        let mut system = SystemConfig::default();
        let skipped = system.apply_receipts(&config, 0, &receipts);
        assert_eq!(system.gas_limit, 7);
        let wanted = [
            (1, UpdateFault::DataLength { found: 95, wanted: 96 }),
            (3, UpdateFault::Version(B256::new(word(1)))),
            (4, UpdateFault::Topics(1)),
            (5, UpdateFault::Type(B256::new(word(8)))),
            (6, UpdateFault::FeeParams(B64::from(6_u64.to_be_bytes()))),
            (7, UpdateFault::FeeParams(B64::from((6_u64 << 32).to_be_bytes()))),
        ];
        assert_eq!(skipped, wanted.map(|(log_index, fault)| SkippedUpdate { log_index, fault }));
    }

    #[test]
    fn scalars_are_judged_by_the_time_of_l1_from_ecotone_on() {
        let config = chain(Forks::from_genesis(Fork::Delta).with(Fork::Ecotone, 2000));
        let mut unknown = word(7);
        unknown[0] = 2;
        let receipts = [receipt(true, vec![log(&config, 1, &[word(5), unknown])])];
        let before = SystemConfig { overhead: B256::new(word(1)), scalar: word(2).into(), ..SystemConfig::default() };
        let mut system = before;
        assert_eq!(system.apply_receipts(&config, 1999, &receipts), []);
        assert_eq!((system.overhead, system.scalar), (word(5).into(), unknown.into()));
        let mut system = before;
        let skipped = system.apply_receipts(&config, 2000, &receipts);
        assert!(matches!(skipped.as_slice(), [SkippedUpdate { fault: UpdateFault::Scalar(_), .. }]), "{skipped:?}");
        assert_eq!(system, before);
    }
}
