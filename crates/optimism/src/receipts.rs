//! Finds the logs of one contract among the receipts of an L1 block.

use alloy_consensus::TxReceipt;
use alloy_primitives::{Address, B256, Log};

/// The logs of successful transactions from this contract whose first topic is `event`, each with its place among all
/// logs of the block.
pub(crate) fn logs_of<R>(receipts: &[R], contract: Address, event: B256) -> impl Iterator<Item = (u64, &Log)>
where
    R: TxReceipt<Log = Log>,
{
    let logs = receipts.iter().flat_map(|receipt| {
        let success = receipt.status();
        receipt.logs().iter().map(move |log| (success, log))
    });
    (0_u64..).zip(logs).filter_map(move |(log_index, (success, log))| {
        let ours = success && log.address == contract && log.topics().first() == Some(&event);
        ours.then_some((log_index, log))
    })
}
