//! Is an existing block what would be ordered now? Derivation asks it of every unsafe block.
//!
//! Sources: <https://specs.optimism.io/protocol/derivation.html>, "L1-Consolidation: Payload Attributes Matching";
//! op-node `rollup/attributes/engine_consolidate.go`.

use alloy_primitives::{B256, keccak256};
use op_alloy_rpc_types_engine::{OpExecutionPayload, OpPayloadAttributes};

use crate::extra_data::ordered_extra_data;
use crate::{Fork, RollupConfig};

/// The first field in which a block is not what was ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, and {ordered} is ordered")]
pub struct Mismatch {
    /// The field.
    pub field: &'static str,
    /// What is ordered.
    pub ordered: String,
    /// What the block has.
    pub found: String,
}

/// Compares a block with the order for a block on `parent`. `beacon_root` is what came with the block for its header's
/// parent beacon root.
///
/// # Errors
/// With the first field that differs.
pub fn check_match(
    config: &RollupConfig,
    attributes: &OpPayloadAttributes,
    parent: B256,
    payload: &OpExecutionPayload,
    beacon_root: Option<B256>,
) -> Result<(), Mismatch> {
    let (ordered, block) = (&attributes.payload_attributes, payload.as_v1());
    same("the parent", &parent, &block.parent_hash)?;
    same("the timestamp", &ordered.timestamp, &block.timestamp)?;
    same("prevRandao", &ordered.prev_randao, &block.prev_randao)?;
    same("the fee recipient", &ordered.suggested_fee_recipient, &block.fee_recipient)?;
    check_transactions(attributes, payload)?;
    same("the gas limit", &attributes.gas_limit, &Some(block.gas_limit))?;
    check_withdrawals(config, attributes, payload)?;
    same("the parent beacon root", &ordered.parent_beacon_block_root, &beacon_root)?;
    check_extra_data(config, attributes, payload)
}

fn same<T: PartialEq + std::fmt::Debug>(field: &'static str, ordered: &T, found: &T) -> Result<(), Mismatch> {
    if ordered == found {
        return Ok(());
    }
    Err(Mismatch { field, ordered: format!("{ordered:?}"), found: format!("{found:?}") })
}

fn check_transactions(attributes: &OpPayloadAttributes, payload: &OpExecutionPayload) -> Result<(), Mismatch> {
    let ordered = attributes.transactions.as_deref().unwrap_or_default();
    let found = payload.transactions();
    same("the number of transactions", &ordered.len(), &found.len())?;
    let differing = ordered.iter().zip(found).find(|(ordered, found)| ordered != found);
    // Hashes, because a transaction may be long.
    differing.map_or(Ok(()), |(ordered, found)| same("a transaction", &keccak256(ordered), &keccak256(found)))
}

/// From Canyon on there is a list, and it is empty; from Isthmus on the header has a root besides.
fn check_withdrawals(
    config: &RollupConfig,
    attributes: &OpPayloadAttributes,
    payload: &OpExecutionPayload,
) -> Result<(), Mismatch> {
    let time = payload.timestamp();
    let canyon = config.is_active(Fork::Canyon, time);
    let count = canyon.then_some(0);
    let ordered = attributes.payload_attributes.withdrawals.as_ref().map(Vec::len);
    let found = payload.as_v2().map(|payload| payload.withdrawals.len());
    same("the number of withdrawals by the order", &count, &ordered)?;
    same("the number of withdrawals", &count, &found)?;
    let isthmus = config.is_active(Fork::Isthmus, time);
    same("the presence of a withdrawals root", &isthmus, &payload.as_v4().is_some())
}

fn check_extra_data(
    config: &RollupConfig,
    attributes: &OpPayloadAttributes,
    payload: &OpExecutionPayload,
) -> Result<(), Mismatch> {
    let found = &payload.as_v1().extra_data;
    match ordered_extra_data(config, attributes) {
        Ok(None) => Ok(()),
        Ok(Some(ordered)) => same("the extra data", &ordered, found),
        Err(error) => Err(Mismatch { field: "the extra data", ordered: error.to_string(), found: found.to_string() }),
    }
}
