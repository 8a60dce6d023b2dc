//! The order to build one block: what must be in it, and when.
//!
//! Sources: <https://specs.optimism.io/protocol/derivation.html>, "Deriving Payload Attributes"; op-node
//! `rollup/derive/attributes.go`.

use alloy_consensus::{Header, TxReceipt};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, Log, Sealed, address};
use alloy_rpc_types_engine::PayloadAttributes;
use op_alloy_consensus::{DEPOSIT_TX_TYPE_ID, TxDeposit};
use op_alloy_rpc_types_engine::OpPayloadAttributes;
use types::Failure;

use crate::blob_fee::BlobSchedule;
use crate::deposit::{BadDeposit, user_deposits};
use crate::l1_info::L1BlockInfo;
use crate::system_config::{ScalarFault, SkippedUpdate, SystemConfig};
use crate::upgrade::{upgrade_gas, upgrade_transactions};
use crate::{BlockId, Fork, L2Block, RollupConfig};

/// Earns the tips of every block.
pub const SEQUENCER_FEE_VAULT: Address = address!("0x4200000000000000000000000000000000000011");

/// What a block is to be built from.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a, R> {
    /// The block to build on.
    pub parent: &'a L2Block,
    /// What held for the parent: [`SystemConfig::of`] the block with this very hash.
    pub parent_system: &'a SystemConfig,
    /// The L1 block to cite: the parent's, or the one after it.
    pub origin: &'a Sealed<Header>,
    /// The receipts of that L1 block, checked against its header. Needed if the parent does not cite it.
    pub receipts: Option<&'a [R]>,
    /// The time to give the block: seconds since the Unix epoch.
    pub timestamp: u64,
    /// May transactions come from the pool? Where the rules forbid it, none do.
    pub use_pool: bool,
}

/// The order, and what it means for the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What the execution engine is told.
    pub attributes: OpPayloadAttributes,
    /// The L1 block that the block cites.
    pub origin: BlockId,
    /// How many blocks of the same epoch come before it.
    pub sequence_number: u64,
    /// What holds for the block.
    pub system: SystemConfig,
    /// What L1 asked for and was not understood. Worth a warning.
    pub skipped: Vec<SkippedUpdate>,
}

/// Why no order can be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// A block that is the first to cite an L1 block carries its deposits.
    #[error("the receipts of L1 block {0} are needed: the block to build is the first to cite it")]
    ReceiptsMissing(BlockId),
    /// The parent cites another L1 block at the same height.
    #[error("L1 block {origin} is to be cited, and the parent cites {parent} at the same height: L1 has reorganised")]
    OriginConflict {
        /// What is to be cited.
        origin: BlockId,
        /// What the parent cites.
        parent: BlockId,
    },
    /// Neither the parent's L1 block nor the one above it.
    #[error(
        "L1 block {origin} does not follow {parent}, which the parent cites: L1 has reorganised, or the choice is stale"
    )]
    OriginDoesNotFollow {
        /// What is to be cited.
        origin: BlockId,
        /// What the parent cites.
        parent: BlockId,
    },
    /// No block is older than what it cites.
    #[error("a block at {timestamp} cannot cite L1 block {origin} of {origin_timestamp}, which is later")]
    OriginAhead {
        /// The block's time.
        timestamp: u64,
        /// What is to be cited.
        origin: BlockId,
        /// Its time.
        origin_timestamp: u64,
    },
    /// Blocks come at a fixed distance.
    #[error(
        "a block at {timestamp} on a parent at {parent} is not {block_time} seconds after it; set the slots by \
         genesis.l2_time and block_time of the rollup's configuration"
    )]
    OffTimetable {
        /// The block's time.
        timestamp: u64,
        /// The parent's time.
        parent: u64,
        /// Seconds between blocks.
        block_time: u64,
    },
    /// A log of the portal that is no deposit.
    #[error(transparent)]
    Deposit(#[from] BadDeposit),
    /// Fee scalars that the L1 contract cannot have written.
    #[error("the fee scalars of the system configuration: {0}")]
    Scalars(#[from] ScalarFault),
    /// A gas limit beyond what a header can say.
    #[error("the gas limit {0} of the system configuration leaves no room for the upgrade's own gas")]
    GasLimit(u64),
}

impl AttributesError {
    /// What to do: ask again, find out where the chains stand, or stop.
    pub const fn failure(&self) -> Failure {
        match self {
            Self::ReceiptsMissing(_) => Failure::Retry,
            Self::OriginConflict { .. } | Self::OriginDoesNotFollow { .. } | Self::OriginAhead { .. } => Failure::Reset,
            Self::OffTimetable { .. } | Self::Deposit(_) | Self::Scalars(_) | Self::GasLimit(_) => Failure::Fatal,
        }
    }
}

impl Order {
    /// The order for the block after `plan.parent`.
    ///
    /// # Errors
    /// With why there is none; [`AttributesError::failure`] says what to do.
    pub fn prepare<R>(
        config: &RollupConfig,
        schedule: &BlobSchedule,
        plan: &Plan<'_, R>,
    ) -> Result<Self, AttributesError>
    where
        R: TxReceipt<Log = Log>,
    {
        check_time(config, plan)?;
        let epoch = Epoch::of(config, plan)?;
        let forks = activated(config, plan);
        let first =
            L1BlockInfo::new(config, schedule, &epoch.system, plan.origin, epoch.sequence_number, plan.timestamp)?;
        let first = first.deposit(config.is_active(Fork::Regolith, plan.timestamp));
        let upgrades = forks.iter().flat_map(|fork| upgrade_transactions(*fork));
        let transactions = [first].into_iter().chain(epoch.deposits).chain(upgrades).map(encode).collect();
        let gas = forks.iter().try_fold(epoch.system.gas_limit, |gas, fork| gas.checked_add(upgrade_gas(*fork)));
        let gas_limit = gas.ok_or(AttributesError::GasLimit(epoch.system.gas_limit))?;
        let attributes = OpPayloadAttributes {
            payload_attributes: engine_attributes(config, plan),
            transactions: Some(transactions),
            no_tx_pool: Some(!(plan.use_pool && pool_allowed(config, plan))),
            gas_limit: Some(gas_limit),
            eip_1559_params: config.is_active(Fork::Holocene, plan.timestamp).then_some(epoch.system.eip1559_params),
            min_base_fee: config.is_active(Fork::Jovian, plan.timestamp).then_some(epoch.system.min_base_fee),
        };
        let (sequence_number, system, skipped) = (epoch.sequence_number, epoch.system, epoch.skipped);
        Ok(Self { attributes, origin: origin_of(plan), sequence_number, system, skipped })
    }
}

/// The same order without any transaction but deposits: what takes the place of a block from L1 that the engine finds
/// invalid, from Holocene on (spec `holocene/derivation.md`, "Engine Queue").
pub fn deposits_only(mut attributes: OpPayloadAttributes) -> OpPayloadAttributes {
    if let Some(transactions) = &mut attributes.transactions {
        transactions.retain(|transaction| transaction.first() == Some(&DEPOSIT_TX_TYPE_ID));
    }
    attributes.no_tx_pool = Some(true);
    attributes
}

fn check_time<R>(config: &RollupConfig, plan: &Plan<'_, R>) -> Result<(), AttributesError> {
    let (timestamp, parent) = (plan.timestamp, plan.parent.timestamp);
    if parent.checked_add(config.block_time) != Some(timestamp) {
        return Err(AttributesError::OffTimetable { timestamp, parent, block_time: config.block_time });
    }
    if timestamp < plan.origin.timestamp {
        let origin_timestamp = plan.origin.timestamp;
        return Err(AttributesError::OriginAhead { timestamp, origin: origin_of(plan), origin_timestamp });
    }
    Ok(())
}

fn origin_of<R>(plan: &Plan<'_, R>) -> BlockId {
    BlockId { number: plan.origin.number, hash: plan.origin.hash() }
}

/// What follows from the L1 block that is cited.
struct Epoch {
    sequence_number: u64,
    deposits: Vec<TxDeposit>,
    system: SystemConfig,
    skipped: Vec<SkippedUpdate>,
}

impl Epoch {
    fn of<R>(config: &RollupConfig, plan: &Plan<'_, R>) -> Result<Self, AttributesError>
    where
        R: TxReceipt<Log = Log>,
    {
        let (origin, parent) = (origin_of(plan), plan.parent.origin);
        if origin == parent {
            return Ok(Self::continued(plan));
        }
        if origin.number == parent.number {
            return Err(AttributesError::OriginConflict { origin, parent });
        }
        let follows = parent.number.checked_add(1) == Some(origin.number) && plan.origin.parent_hash == parent.hash;
        if !follows {
            return Err(AttributesError::OriginDoesNotFollow { origin, parent });
        }
        let receipts = plan.receipts.ok_or(AttributesError::ReceiptsMissing(origin))?;
        let mut system = *plan.parent_system;
        let deposits = user_deposits(config, origin.hash, receipts)?;
        let skipped = system.apply_receipts(config, plan.origin.timestamp, receipts);
        Ok(Self { sequence_number: 0, deposits, system, skipped })
    }

    /// One more block of the parent's epoch.
    fn continued<R>(plan: &Plan<'_, R>) -> Self {
        Self {
            sequence_number: plan.parent.sequence_number.saturating_add(1),
            deposits: Vec::new(),
            system: *plan.parent_system,
            skipped: Vec::new(),
        }
    }
}

/// The forks whose first block this is, in order.
fn activated<R>(config: &RollupConfig, plan: &Plan<'_, R>) -> Vec<Fork> {
    let first = |fork: &Fork| config.activates(*fork, plan.parent.timestamp, plan.timestamp);
    Fork::ALL.into_iter().filter(first).collect()
}

/// The block of an upgrade holds nothing else, nor does one that has run too far ahead of L1.
fn pool_allowed<R>(config: &RollupConfig, plan: &Plan<'_, R>) -> bool {
    let upgrades = [Fork::Ecotone, Fork::Fjord, Fork::Isthmus, Fork::Jovian, Fork::Karst];
    let upgrade = upgrades.into_iter().any(|fork| config.activates(fork, plan.parent.timestamp, plan.timestamp));
    let l1_time = plan.origin.timestamp;
    let ahead = plan.timestamp.saturating_sub(l1_time);
    !upgrade && ahead <= config.max_sequencer_drift(l1_time)
}

fn engine_attributes<R>(config: &RollupConfig, plan: &Plan<'_, R>) -> PayloadAttributes {
    let ecotone = config.is_active(Fork::Ecotone, plan.timestamp);
    PayloadAttributes {
        timestamp: plan.timestamp,
        prev_randao: plan.origin.mix_hash,
        suggested_fee_recipient: SEQUENCER_FEE_VAULT,
        withdrawals: config.is_active(Fork::Canyon, plan.timestamp).then(Vec::new),
        // Before L1 has one it is zero.
        parent_beacon_block_root: ecotone.then(|| plan.origin.parent_beacon_block_root.unwrap_or_default()),
        ..PayloadAttributes::default()
    }
}

fn encode(deposit: TxDeposit) -> Bytes {
    deposit.encoded_2718().into()
}
