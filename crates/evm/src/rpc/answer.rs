//! Blocks, transactions, receipts and logs as they are answered.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{Sealed, Transaction as _};
use alloy_eips::Encodable2718;
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::simulate::{SimCallResult, SimulateError, SimulatedBlock};
use alloy_rpc_types_eth::{BlockTransactions, Header, Log, TransactionInfo, TransactionReceipt};
use op_alloy_consensus::OpReceiptEnvelope;
use op_alloy_consensus::transaction::{OpDepositInfo, OpTransactionInfo};
use op_alloy_rpc_types::L1BlockInfo as L1Fields;
use serde::Serialize;

use crate::block::{Block, ExecutedTransaction, SealedHeader};
use crate::execution::{Called, ExecutionError, Simulated};
use crate::publication::Publication;
use crate::{At, Chain, ChainError, Transaction};

/// A transaction with its place.
pub(crate) type TransactionAnswer = op_alloy_rpc_types::Transaction<Transaction>;

/// A receipt with its place, and on a chain of the OP Stack with what bringing the transaction to L1 cost.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptAnswer {
    #[serde(flatten)]
    inner: TransactionReceipt<OpReceiptEnvelope<Log>>,
    #[serde(flatten)]
    publication: L1Fields,
}

/// What bringing a block's transactions to L1 cost; `None` but on a chain of the OP Stack, and there where the state at the block's end is not kept
/// any more.
pub(crate) fn publication(chain: &Chain, block: &Block) -> Result<Option<Publication>, ChainError> {
    if !chain.spec().is_rollup() {
        return Ok(None);
    }
    match chain.state(At::Hash(block.header.seal())) {
        Ok(Some(state)) => Publication::read(chain.spec(), &state),
        Ok(None) | Err(ChainError::History { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A block.
pub(crate) type BlockAnswer = alloy_rpc_types_eth::Block<TransactionAnswer>;

/// A header as `newHeads` tells it.
pub(crate) fn header(header: &SealedHeader, size: Option<usize>) -> Header {
    let sealed = Sealed::new_unchecked(header.inner().clone(), header.seal());
    Header::from_consensus(sealed, Some(U256::ZERO), size.map(U256::from))
}

/// A block with its transactions, or with their hashes.
pub(crate) fn block(block: &Block, full: bool) -> BlockAnswer {
    let transactions = if full {
        BlockTransactions::Full((0..block.transactions.len()).filter_map(|index| transaction(block, index)).collect())
    } else {
        BlockTransactions::Hashes(block.transactions.iter().map(hash).collect())
    };
    BlockAnswer {
        header: header(&block.header, Some(block.size)),
        uncles: Vec::new(),
        transactions,
        withdrawals: block.header.withdrawals_root.map(|_| Default::default()),
    }
}

/// The transaction at `index` of a block.
pub(crate) fn transaction(block: &Block, index: usize) -> Option<TransactionAnswer> {
    let executed = block.transactions.get(index)?;
    let inner = TransactionInfo {
        hash: Some(hash(executed)),
        index: Some(index as u64),
        block_hash: Some(block.header.seal()),
        block_number: Some(block.header.number),
        base_fee: block.header.base_fee_per_gas,
        block_timestamp: Some(block.header.timestamp),
    };
    let deposit_meta = OpDepositInfo {
        deposit_nonce: executed.receipt.deposit_nonce(),
        deposit_receipt_version: executed.receipt.deposit_receipt_version(),
    };
    let place = OpTransactionInfo { inner, deposit_meta };
    let recovered = Recovered::new_unchecked(executed.transaction.clone(), executed.sender);
    Some(TransactionAnswer::from_transaction(recovered, place))
}

/// A transaction that is in no block yet.
pub(crate) fn waiting(transaction: &Recovered<Transaction>) -> TransactionAnswer {
    TransactionAnswer::from_transaction(transaction.clone(), OpTransactionInfo::default())
}

/// The receipt of the transaction at `index` of a block.
pub(crate) fn receipt(block: &Block, index: usize, publication: Option<&Publication>) -> Option<ReceiptAnswer> {
    let executed = block.transactions.get(index)?;
    // Deposits come from L1 and are not brought there.
    let publication = publication.filter(|_| !executed.transaction.is_deposit());
    let published = publication.map(|publication| (publication, executed.transaction.encoded_2718()));
    let room = published.as_ref().and_then(|(publication, encoded)| publication.room(encoded));
    let base_fee = block.header.base_fee_per_gas;
    let logs: Vec<Log> = logs(block, index).collect();
    let mut placed = logs.into_iter();
    let inner = executed.receipt.clone().map_logs(|log| match placed.next() {
        Some(log) => log,
        None => Log { inner: log, ..Log::default() },
    });
    let inner = TransactionReceipt {
        inner,
        transaction_hash: hash(executed),
        transaction_index: Some(index as u64),
        block_hash: Some(block.header.seal()),
        block_number: Some(block.header.number),
        gas_used: executed.gas_used,
        effective_gas_price: match executed.transaction.is_deposit() {
            true => 0,
            false => executed.transaction.effective_gas_price(base_fee),
        },
        blob_gas_used: room.map(|(size, gas)| size.saturating_mul(gas.into())),
        blob_gas_price: None,
        from: executed.sender,
        to: executed.transaction.to(),
        contract_address: executed.created,
    };
    let fields = published.map(|(publication, encoded)| publication.fields(&encoded));
    Some(ReceiptAnswer { inner, publication: fields.unwrap_or_default() })
}

/// The logs of the transaction at `index` of a block.
pub(crate) fn logs(block: &Block, index: usize) -> impl Iterator<Item = Log> + '_ {
    let logs = block.transactions.get(index).map_or(&[][..], |executed| executed.receipt.logs());
    placed(block, index, logs)
}

/// Logs of the transaction at `index` of a block, with their places.
fn placed<'a>(block: &'a Block, index: usize, logs: &'a [alloy_primitives::Log]) -> impl Iterator<Item = Log> + 'a {
    let executed = block.transactions.get(index).into_iter();
    executed.flat_map(move |executed| logs.iter().enumerate().map(move |(at, log)| (executed, at, log))).map(
        move |(executed, at, log)| Log {
            inner: log.clone(),
            block_hash: Some(block.header.seal()),
            block_number: Some(block.header.number),
            block_timestamp: Some(block.header.timestamp),
            transaction_hash: Some(hash(executed)),
            transaction_index: Some(index as u64),
            log_index: Some(executed.first_log + at as u64),
            removed: false,
        },
    )
}

/// A block of a simulation with what its calls came to.
pub(crate) fn simulated(simulated: &Simulated, full: bool) -> SimulatedBlock<BlockAnswer> {
    let calls = simulated.calls.iter().zip(simulated.block.transactions.iter()).enumerate();
    let call = |(index, (called, executed)): (usize, (&Called, &ExecutedTransaction))| SimCallResult {
        return_data: called.output.clone(),
        logs: placed(&simulated.block, index, &called.logs).collect(),
        gas_used: executed.gas_used,
        max_used_gas: Some(called.peak_gas),
        status: called.error.is_none(),
        error: called.error.as_ref().map(failure),
    };
    SimulatedBlock { inner: block(&simulated.block, full), calls: calls.map(call).collect() }
}

/// Why a call of a simulation failed.
fn failure(error: &ExecutionError) -> SimulateError {
    let reverted = error.data();
    let code = match reverted {
        Some(_) => SimulateError::EXECUTION_REVERTED_CODE,
        None => SimulateError::VM_EXECUTION_ERROR_CODE,
    };
    SimulateError { code, message: error.to_string(), data: reverted.cloned() }
}

/// A transaction's hash.
pub(crate) fn hash(executed: &ExecutedTransaction) -> B256 {
    executed.transaction.tx_hash()
}
