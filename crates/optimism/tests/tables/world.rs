//! A small rollup on a small L1.

use alloy_consensus::{Header, Receipt};
use alloy_primitives::{Address, B256, Log, LogData, Sealed, U256, address};
use optimism::{
    AltDa, AttributesError, BlobSchedule, BlockId, CONFIG_UPDATE_TOPIC, DEPOSIT_TOPIC, FeeParams, FeeScalars, Fork,
    Forks, Genesis, L2Block, Order, Plan, RollupConfig, SystemConfig,
};

pub(crate) const PORTAL: Address = address!("0x00000000000000000000000000000000000dea11");
pub(crate) const SYSTEM_CONFIG: Address = address!("0x00000000000000000000000000000000000c0f19");

/// A rollup with a block every two seconds from 1000 on.
pub(crate) fn chain(forks: Forks) -> RollupConfig {
    RollupConfig {
        l1_chain_id: 900,
        l2_chain_id: 901,
        genesis: Genesis {
            l1: BlockId { number: 10, hash: B256::repeat_byte(10) },
            l2: BlockId { number: 0, hash: B256::repeat_byte(0x20) },
            l2_time: 1000,
            system_config: system(),
        },
        block_time: 2,
        bedrock_sequencer_drift: 600,
        sequencing_window: 3600,
        bedrock_channel_timeout: 300,
        forks,
        pectra_blob_schedule_time: None,
        keep_karst_upgrade_gas: false,
        batch_inbox: address!("0xff00000000000000000000000000000000000901"),
        deposit_contract: PORTAL,
        l1_system_config: SYSTEM_CONFIG,
        fees: FeeParams::default(),
        alt_da: None::<AltDa>,
    }
}

pub(crate) fn system() -> SystemConfig {
    SystemConfig {
        batcher: address!("0x00000000000000000000000000000000000000b0"),
        scalar: FeeScalars { base_fee: 3, blob_base_fee: 4 }.pack(),
        gas_limit: 60_000_000,
        ..SystemConfig::default()
    }
}

/// An L1 block with the hash of its number, on the one below.
pub(crate) fn l1_block(number: u8, timestamp: u64) -> Sealed<Header> {
    let header = Header {
        number: number.into(),
        parent_hash: B256::repeat_byte(number - 1),
        timestamp,
        base_fee_per_gas: Some(7),
        mix_hash: B256::repeat_byte(0xaa),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::repeat_byte(0xbb)),
        ..Header::default()
    };
    Sealed::new_unchecked(header, B256::repeat_byte(number))
}

/// A block of the rollup at this time that cites L1 block 11, the fourth to do so.
pub(crate) fn parent(timestamp: u64) -> L2Block {
    L2Block {
        id: BlockId { number: 5, hash: B256::repeat_byte(0x55) },
        parent: B256::repeat_byte(0x44),
        timestamp,
        origin: BlockId { number: 11, hash: B256::repeat_byte(11) },
        sequence_number: 3,
    }
}

pub(crate) fn receipt(logs: Vec<Log>) -> Receipt {
    Receipt { status: true.into(), cumulative_gas_used: 0, logs }
}

fn word(number: u64) -> [u8; 32] {
    U256::from(number).to_be_bytes()
}

/// A user's deposit with this gas.
pub(crate) fn deposit(gas: u64) -> Log {
    let mut data = [word(32), word(73), word(0), word(1)].concat();
    data.extend(gas.to_be_bytes());
    data.resize(160, 0);
    let topics = vec![DEPOSIT_TOPIC, word(1).into(), word(2).into(), B256::ZERO];
    Log { address: PORTAL, data: LogData::new_unchecked(topics, data.into()) }
}

/// L1 sets the gas limit.
pub(crate) fn new_gas_limit(gas: u64) -> Log {
    let data = [word(32), word(32), word(gas)].concat();
    let topics = vec![CONFIG_UPDATE_TOPIC, B256::ZERO, word(2).into()];
    Log { address: SYSTEM_CONFIG, data: LogData::new_unchecked(topics, data.into()) }
}

pub(crate) fn schedule() -> BlobSchedule {
    BlobSchedule::of_l1(1).expect("public")
}

/// The order for one more block of L1 block 11, of 1000, at this time.
pub(crate) fn one_more(config: &RollupConfig, timestamp: u64) -> Result<Order, AttributesError> {
    let origin = l1_block(11, 1000);
    let plan: Plan<'_, Receipt> = Plan {
        parent: &parent(timestamp - 2),
        parent_system: &system(),
        origin: &origin,
        receipts: None,
        timestamp,
        use_pool: true,
    };
    Order::prepare(config, &schedule(), &plan)
}

/// Every fork before this one from the beginning, this one at `time`.
pub(crate) fn turning(fork: Fork, time: u64) -> Forks {
    let mut forks = Forks::default();
    for earlier in Fork::ALL.into_iter().filter(|earlier| *earlier < fork) {
        forks.set(earlier, Some(0));
    }
    forks.with(fork, time)
}
