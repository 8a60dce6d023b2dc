//! What a block of the rollup says of its place on L1 and of what held for it.
//!
//! Sources: op-node `rollup/derive/payload_util.go`; for the gas that Karst's bundle adds, the same and
//! <https://github.com/ethereum-optimism/optimism/pull/21441>.

use std::fmt;

use alloy_consensus::Header;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, Sealed};
use op_alloy_consensus::TxDeposit;
use op_alloy_rpc_types_engine::OpExecutionPayload;
use serde::{Deserialize, Serialize};
use types::{BlockHash, L1Block, L1Origin, Timestamp};

use crate::extra_data::{ExtraDataFault, FeesInHeader};
use crate::l1_info::{L1BlockInfo, L1Fees, L1InfoFault, L1InfoFormat};
use crate::system_config::{OperatorFee, SystemConfig};
use crate::upgrade::KARST_UPGRADE_GAS;
use crate::{Fork, RollupConfig};

/// A block by height and hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockId {
    /// The height.
    pub number: u64,
    /// The hash.
    pub hash: B256,
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.hash)
    }
}

/// The L1 block of a header, as something to cite.
pub fn l1_block(header: &Sealed<Header>) -> L1Block {
    let origin = L1Origin {
        number: header.number,
        hash: BlockHash::new(header.hash().0),
        timestamp: Timestamp::from_secs(header.timestamp),
    };
    L1Block { origin, parent: BlockHash::new(header.parent_hash.0) }
}

/// A block of the rollup with its place on both chains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct L2Block {
    /// The block.
    pub id: BlockId,
    /// The hash of the block below.
    pub parent: B256,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// The L1 block that it cites: its epoch.
    pub origin: BlockId,
    /// How many blocks of the same epoch came before it.
    pub sequence_number: u64,
}

/// The parts of a block that say where it stands and what held for it.
#[derive(Clone, Copy, Debug)]
pub struct BlockParts<'a> {
    /// The block.
    pub id: BlockId,
    /// The hash of the block below.
    pub parent: B256,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// The gas limit in its header.
    pub gas_limit: u64,
    /// The free bytes in its header.
    pub extra_data: &'a [u8],
    /// Its first transaction, encoded; `None` if it has none.
    pub first_transaction: Option<&'a [u8]>,
}

impl<'a> From<&'a OpExecutionPayload> for BlockParts<'a> {
    fn from(payload: &'a OpExecutionPayload) -> Self {
        let inner = payload.as_v1();
        Self {
            id: BlockId { number: inner.block_number, hash: inner.block_hash },
            parent: inner.parent_hash,
            timestamp: inner.timestamp,
            gas_limit: inner.gas_limit,
            extra_data: &inner.extra_data,
            first_transaction: inner.transactions.first().map(AsRef::as_ref),
        }
    }
}

/// Why a block says nothing of its place: it is not one of this chain, or not one under these rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block}: {fault}")]
pub struct BadBlock {
    /// The block.
    pub block: BlockId,
    /// What is wrong with it.
    pub fault: BlockFault,
}

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// At the height of genesis stands another block.
    #[error("the rollup begins with block {0}; check genesis.l2 of the configuration and the execution engine's data")]
    Genesis(B256),
    /// The first transaction tells of L1; there is none.
    #[error("it has no transaction, and the first has to be a deposit that tells of L1")]
    Empty,
    /// The first transaction is something else.
    #[error("its first transaction is no deposit: {0}")]
    FirstTransaction(String),
    /// The deposit does not tell what it should.
    #[error(transparent)]
    L1Info(#[from] L1InfoFault),
    /// The header's free bytes are not those of its time.
    #[error(transparent)]
    ExtraData(#[from] ExtraDataFault),
    /// The gas that the bundle of Karst took is not there.
    #[error("its gas limit is {0}, less than the {KARST_UPGRADE_GAS} that the bundle of Karst adds in this block")]
    UpgradeGas(u64),
}

impl L2Block {
    /// Where a block stands.
    ///
    /// # Errors
    /// With what is wrong with the block.
    pub fn of(config: &RollupConfig, block: &BlockParts<'_>) -> Result<Self, BadBlock> {
        let (origin, sequence_number) = if is_genesis(config, block)? {
            (config.genesis.l1, 0)
        } else {
            let info = l1_info(config, block)?;
            (BlockId { number: info.number, hash: info.hash }, info.sequence_number)
        };
        Ok(Self { id: block.id, parent: block.parent, timestamp: block.timestamp, origin, sequence_number })
    }
}

impl SystemConfig {
    /// What held for a block, and holds for the next unless its L1 origin changes it.
    ///
    /// # Errors
    /// With what is wrong with the block.
    pub fn of(config: &RollupConfig, block: &BlockParts<'_>) -> Result<Self, BadBlock> {
        if is_genesis(config, block)? {
            return Ok(config.genesis.system_config);
        }
        let info = l1_info(config, block)?;
        let bad = |fault: BlockFault| BadBlock { block: block.id, fault };
        let fees = FeesInHeader::of(config, block.timestamp, block.extra_data).map_err(|fault| bad(fault.into()))?;
        let mut system = Self {
            batcher: info.batcher,
            gas_limit: lasting_gas_limit(config, block).map_err(bad)?,
            eip1559_params: fees.params,
            min_base_fee: fees.min_base_fee,
            ..Self::default()
        };
        match info.fees {
            L1Fees::Bedrock { overhead, scalar } => (system.overhead, system.scalar) = (overhead, scalar),
            // Which version the L1 contract used is lost; with version 1 the numbers are the same.
            L1Fees::Ecotone(blobs) => system.scalar = blobs.scalars.pack(),
            L1Fees::Isthmus(blobs, operator) => system.set_packed(blobs.scalars.pack(), operator, 0),
            L1Fees::Jovian(blobs, operator, gas) => system.set_packed(blobs.scalars.pack(), operator, gas),
        }
        Ok(system)
    }

    const fn set_packed(&mut self, scalar: B256, operator_fee: OperatorFee, da_footprint_gas_scalar: u16) {
        self.scalar = scalar;
        self.operator_fee = operator_fee;
        self.da_footprint_gas_scalar = da_footprint_gas_scalar;
    }
}

/// The gas limit that L1 set: what Karst's bundle added to its own block is no part of it, except on chains that kept
/// it.
fn lasting_gas_limit(config: &RollupConfig, block: &BlockParts<'_>) -> Result<u64, BlockFault> {
    if config.keep_karst_upgrade_gas || !config.is_activation_block(Fork::Karst, block.timestamp) {
        return Ok(block.gas_limit);
    }
    block.gas_limit.checked_sub(KARST_UPGRADE_GAS).ok_or(BlockFault::UpgradeGas(block.gas_limit))
}

fn is_genesis(config: &RollupConfig, block: &BlockParts<'_>) -> Result<bool, BadBlock> {
    let genesis = config.genesis.l2;
    if block.id.number == genesis.number && block.id.hash != genesis.hash {
        return Err(BadBlock { block: block.id, fault: BlockFault::Genesis(genesis.hash) });
    }
    Ok(block.id == genesis)
}

/// What the block's first transaction tells of L1.
fn l1_info(config: &RollupConfig, block: &BlockParts<'_>) -> Result<L1BlockInfo, BadBlock> {
    let read = || {
        let encoded = block.first_transaction.ok_or(BlockFault::Empty)?;
        let deposit = TxDeposit::decode_2718_exact(encoded);
        let deposit = deposit.map_err(|error| BlockFault::FirstTransaction(error.to_string()))?;
        Ok(L1BlockInfo::decode(L1InfoFormat::at(config, block.timestamp), &deposit.input)?)
    };
    read().map_err(|fault| BadBlock { block: block.id, fault })
}

#[cfg(test)]
mod tests {
    use alloy_eips::eip2718::Encodable2718;
    use alloy_primitives::{address, hex};

    use super::*;
    use crate::Forks;
    use crate::blob_fee::BlobSchedule;
    use crate::config::tests::chain;
    use crate::extra_data::pack_eip1559_params;
    use crate::system_config::FeeScalars;

    fn system() -> SystemConfig {
        SystemConfig {
            batcher: address!("0x00000000000000000000000000000000000000b0"),
            overhead: B256::ZERO,
            scalar: FeeScalars { base_fee: 3, blob_base_fee: 4 }.pack(),
            gas_limit: 60_000_000,
            eip1559_params: pack_eip1559_params(250, 6),
            operator_fee: OperatorFee { scalar: 5, constant: 6 },
            min_base_fee: 7,
            da_footprint_gas_scalar: 8,
        }
    }

    fn first_transaction(config: &RollupConfig, system: &SystemConfig, time: u64) -> Vec<u8> {
        let header = Header { number: 11, timestamp: time - 2, excess_blob_gas: Some(0), ..Header::default() };
        let l1_block = Sealed::new_unchecked(header, B256::repeat_byte(0x11));
        let schedule = BlobSchedule::of_l1(1).expect("public");
        let info = L1BlockInfo::new(config, &schedule, system, &l1_block, 2, time).expect("made");
        info.deposit(true).encoded_2718()
    }

    fn parts<'a>(time: u64, gas_limit: u64, extra_data: &'a [u8], first: &'a [u8]) -> BlockParts<'a> {
        BlockParts {
            id: BlockId { number: 5, hash: B256::repeat_byte(0x55) },
            parent: B256::repeat_byte(0x44),
            timestamp: time,
            gas_limit,
            extra_data,
            first_transaction: Some(first),
        }
    }

    const JOVIAN_EXTRA: [u8; 17] = hex!("01000000fa000000060000000000000007");

    #[test]
    fn what_went_into_a_block_comes_out() {
        let config = chain(Forks::from_genesis(Fork::Jovian));
        let first = first_transaction(&config, &system(), 1010);
        let block = parts(1010, 60_000_000, &JOVIAN_EXTRA, &first);
        assert_eq!(SystemConfig::of(&config, &block), Ok(system()));
        let wanted = L2Block {
            id: block.id,
            parent: block.parent,
            timestamp: 1010,
            origin: BlockId { number: 11, hash: B256::repeat_byte(0x11) },
            sequence_number: 2,
        };
        assert_eq!(L2Block::of(&config, &block), Ok(wanted));
    }

    #[test]
    fn each_time_says_as_much_as_it_can() {
        let bedrock = SystemConfig {
            batcher: system().batcher,
            overhead: B256::repeat_byte(1),
            scalar: B256::repeat_byte(2),
            gas_limit: 60_000_000,
            ..SystemConfig::default()
        };
        let ecotone = SystemConfig { overhead: B256::ZERO, scalar: system().scalar, ..bedrock };
        let holocene = SystemConfig { eip1559_params: system().eip1559_params, ..ecotone };
        let isthmus = SystemConfig { operator_fee: system().operator_fee, ..holocene };
        let table: [(Fork, SystemConfig, &[u8]); 5] = [
            (Fork::Delta, bedrock, b"BEDROCK"),
            (Fork::Granite, ecotone, b""),
            (Fork::Holocene, holocene, &hex!("00000000fa00000006")),
            (Fork::Isthmus, isthmus, &hex!("00000000fa00000006")),
            (Fork::Jovian, system(), &JOVIAN_EXTRA),
        ];
        for (fork, system, extra_data) in table {
            let config = chain(Forks::from_genesis(fork));
            let first = first_transaction(&config, &system, 1010);
            assert_eq!(SystemConfig::of(&config, &parts(1010, 60_000_000, extra_data, &first)), Ok(system), "{fork}");
        }
    }

    #[test]
    fn karst_lends_its_gas_for_one_block_or_for_good() {
        let mut config = chain(Forks::from_genesis(Fork::Jovian).with(Fork::Karst, 1010));
        let raised = 60_000_000 + KARST_UPGRADE_GAS;
        let read = |config: &RollupConfig, time, gas_limit| {
            let first = first_transaction(config, &system(), time);
            SystemConfig::of(config, &parts(time, gas_limit, &JOVIAN_EXTRA, &first)).map(|system| system.gas_limit)
        };
        assert_eq!(read(&config, 1008, 60_000_000), Ok(60_000_000));
        assert_eq!(read(&config, 1010, raised), Ok(60_000_000));
        assert_eq!(read(&config, 1012, 60_000_000), Ok(60_000_000));
        let told = read(&config, 1010, KARST_UPGRADE_GAS - 1).expect_err("impossible").fault;
        assert_eq!(told, BlockFault::UpgradeGas(KARST_UPGRADE_GAS - 1));
        config.keep_karst_upgrade_gas = true;
        assert_eq!(read(&config, 1010, raised), Ok(raised));
        assert_eq!(read(&config, 1012, raised), Ok(raised));
    }

    #[test]
    fn genesis_says_what_the_configuration_says() {
        let config = chain(Forks::from_genesis(Fork::Karst));
        let genesis = BlockParts { id: config.genesis.l2, first_transaction: None, ..parts(1000, 1, &[], &[]) };
        assert_eq!(SystemConfig::of(&config, &genesis), Ok(config.genesis.system_config));
        let block = L2Block::of(&config, &genesis).expect("genesis");
        assert_eq!((block.origin, block.sequence_number), (config.genesis.l1, 0));
        let mut other = genesis;
        other.id.hash = B256::ZERO;
        let told = L2Block::of(&config, &other).expect_err("another chain").fault;
        assert_eq!(told, BlockFault::Genesis(config.genesis.l2.hash));
    }

    #[test]
    fn a_block_without_its_first_transaction_is_none_of_ours() {
        let config = chain(Forks::from_genesis(Fork::Jovian));
        let told = |block: &BlockParts<'_>| SystemConfig::of(&config, block).expect_err("refused").fault;
        let mut empty = parts(1010, 1, &JOVIAN_EXTRA, &[]);
        empty.first_transaction = None;
        assert_eq!(told(&empty), BlockFault::Empty);
        for junk in [&[][..], &[0x7e], &[0x02, 0xc0], &[0xff; 40]] {
            assert!(matches!(told(&parts(1010, 1, &JOVIAN_EXTRA, junk)), BlockFault::FirstTransaction(_)), "{junk:?}");
        }
        let first = first_transaction(&config, &system(), 1010);
        let mut longer = first.clone();
        longer.push(0);
        assert!(matches!(told(&parts(1010, 1, &JOVIAN_EXTRA, &longer)), BlockFault::FirstTransaction(_)));
        assert!(matches!(told(&parts(1010, 1, &[0; 9], &first)), BlockFault::ExtraData(_)));
        let isthmus = chain(Forks::from_genesis(Fork::Isthmus));
        let old = first_transaction(&isthmus, &system(), 1010);
        assert!(matches!(told(&parts(1010, 1, &JOVIAN_EXTRA, &old)), BlockFault::L1Info(_)));
    }
}
