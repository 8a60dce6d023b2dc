//! Blocks, transactions, receipts and logs as they are answered.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{Sealed, Transaction as _};
use alloy_eips::Encodable2718;
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{BlockTransactions, Header, Log, TransactionInfo, TransactionReceipt};
use op_alloy_consensus::OpReceiptEnvelope;
use op_alloy_consensus::transaction::{OpDepositInfo, OpTransactionInfo};
use op_alloy_rpc_types::L1BlockInfo as L1Fields;
use op_revm::{L1BlockInfo, OpSpecId};
use revm::database::WrapDatabaseRef;
use serde::Serialize;

use crate::block::{Block, ExecutedTransaction, SealedHeader};
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

/// What a block's transactions paid for their room on L1: none but on a chain of the OP Stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prices(Option<(L1BlockInfo, OpSpecId)>);

impl Prices {
    /// Those of a block. Unknown where the state at its end is not kept any more.
    pub(crate) fn of(chain: &Chain, block: &Block) -> Result<Self, ChainError> {
        let Some(fork) = chain.spec().rollup_fork(block.header.timestamp) else { return Ok(Self(None)) };
        let state = match chain.state(At::Hash(block.header.seal())) {
            Ok(Some(state)) => state,
            Ok(None) | Err(ChainError::History { .. }) => return Ok(Self(None)),
            Err(error) => return Err(error),
        };
        // The block's first transaction wrote them down, and no other may.
        let number = U256::from(block.header.number);
        Ok(Self(Some((L1BlockInfo::try_fetch(&mut WrapDatabaseRef(state), number, fork)?, fork))))
    }

    /// The fields of a transaction's receipt (op-geth `core/types/rollup_cost.go`): those of a fork that is not reached stay away.
    fn fields(&self, transaction: &Transaction) -> L1Fields {
        let Some((prices, fork)) = self.0.as_ref().filter(|_| !transaction.is_deposit()) else {
            return L1Fields::default();
        };
        let encoded = transaction.encoded_2718();
        let ecotone = fork.is_enabled_in(OpSpecId::ECOTONE) && !prices.empty_ecotone_scalars;
        let small = |value: U256| value.saturating_to::<u128>();
        // Its result is remembered for the next look, which is not this transaction's.
        let fee = prices.clone().calculate_tx_l1_cost(&encoded, *fork);
        let overhead = prices.l1_fee_overhead.filter(|_| !ecotone).unwrap_or_default();
        let scalar = small(prices.l1_base_fee_scalar);
        L1Fields {
            l1_gas_price: Some(small(prices.l1_base_fee)),
            l1_gas_used: Some(small(prices.data_gas(&encoded, *fork).saturating_add(overhead))),
            l1_fee: Some(small(fee)),
            l1_fee_scalar: (!ecotone).then(|| scalar as f64 / 1e6),
            l1_base_fee_scalar: ecotone.then_some(scalar),
            l1_blob_base_fee: prices.l1_blob_base_fee.filter(|_| ecotone).map(small),
            l1_blob_base_fee_scalar: prices.l1_blob_base_fee_scalar.filter(|_| ecotone).map(small),
            operator_fee_scalar: prices.operator_fee_scalar.map(small),
            operator_fee_constant: prices.operator_fee_constant.map(small),
            da_footprint_gas_scalar: prices.da_footprint_gas_scalar,
        }
    }

    /// What a transaction's room on L1 counts for against the block's gas (Jovian).
    fn footprint(&self, transaction: &Transaction) -> Option<u64> {
        let scalar = self.0.as_ref()?.0.da_footprint_gas_scalar.filter(|_| !transaction.is_deposit())?;
        let size = op_revm::estimate_tx_compressed_size(&transaction.encoded_2718()) / 1_000_000;
        Some(size.saturating_mul(scalar.into()))
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
pub(crate) fn receipt(block: &Block, index: usize, prices: &Prices) -> Option<ReceiptAnswer> {
    let executed = block.transactions.get(index)?;
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
        blob_gas_used: prices.footprint(&executed.transaction),
        blob_gas_price: None,
        from: executed.sender,
        to: executed.transaction.to(),
        contract_address: executed.created,
    };
    Some(ReceiptAnswer { inner, publication: prices.fields(&executed.transaction) })
}

/// The logs of the transaction at `index` of a block.
pub(crate) fn logs(block: &Block, index: usize) -> impl Iterator<Item = Log> + '_ {
    let executed = block.transactions.get(index);
    let placed = move |executed: &ExecutedTransaction, at: usize, log: &alloy_primitives::Log| Log {
        inner: log.clone(),
        block_hash: Some(block.header.seal()),
        block_number: Some(block.header.number),
        block_timestamp: Some(block.header.timestamp),
        transaction_hash: Some(hash(executed)),
        transaction_index: Some(index as u64),
        log_index: Some(executed.first_log + at as u64),
        removed: false,
    };
    executed.into_iter().flat_map(move |executed| {
        executed.receipt.logs().iter().enumerate().map(move |(at, log)| placed(executed, at, log))
    })
}

/// A transaction's hash.
pub(crate) fn hash(executed: &ExecutedTransaction) -> B256 {
    executed.transaction.tx_hash()
}
