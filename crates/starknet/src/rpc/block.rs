//! Blocks as clients read them: three ways to show the transactions, sealed or open (schemas `BLOCK_WITH_...` and
//! `PRE_CONFIRMED_BLOCK_WITH_...`), and the header that subscribers get (`BLOCK_HEADER`).

use std::sync::Arc;

use serde::{Serialize, Serializer};
use starknet_api::block::{BlockInfo, GasPrices, NonzeroGasPrice};

use super::hex::{Hex, list};
use super::receipt::{Finality, ReceiptJson};
use super::transaction::TransactionJson;
use crate::block::{Block, ExecutedTransaction, Header};
use crate::pending::PreConfirmed;

/// How a block shows its transactions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    Hashes,
    Transactions { proof_facts: bool },
    Receipts { proof_facts: bool },
}

/// A sealed block.
#[derive(Serialize)]
pub(crate) struct BlockJson<'a> {
    status: Finality,
    #[serde(flatten)]
    header: HeaderJson,
    transactions: BodyJson<'a>,
}

impl<'a> BlockJson<'a> {
    pub(crate) fn new(block: &'a Block, body: Body) -> Self {
        Self {
            status: Finality::AcceptedOnL2,
            header: HeaderJson::from(&*block.header),
            transactions: BodyJson { transactions: &block.transactions, body, finality: Finality::AcceptedOnL2 },
        }
    }
}

/// The open block. It has neither hash nor parent hash: clients tell it from a sealed one by their absence.
#[derive(Serialize)]
pub(crate) struct PreConfirmedJson<'a> {
    #[serde(flatten)]
    header: OpenHeaderJson,
    transactions: BodyJson<'a>,
}

impl<'a> PreConfirmedJson<'a> {
    /// `transactions` are those of `open`.
    pub(crate) fn new(open: &PreConfirmed, transactions: &'a [Arc<ExecutedTransaction>], body: Body) -> Self {
        Self {
            header: OpenHeaderJson::from(open.block_info()),
            transactions: BodyJson { transactions, body, finality: Finality::PreConfirmed },
        }
    }
}

/// What blocks have in common, open or sealed (schema `PRE_CONFIRMED_BLOCK_HEADER`).
#[derive(Serialize)]
struct OpenHeaderJson {
    block_number: u64,
    timestamp: u64,
    sequencer_address: Hex,
    l1_gas_price: PriceJson,
    l2_gas_price: PriceJson,
    l1_data_gas_price: PriceJson,
    l1_da_mode: &'static str,
    starknet_version: String,
}

impl From<&BlockInfo> for OpenHeaderJson {
    fn from(info: &BlockInfo) -> Self {
        let GasPrices { eth_gas_prices: eth, strk_gas_prices: strk } = &info.gas_prices;
        Self {
            block_number: info.block_number.0,
            timestamp: info.block_timestamp.0,
            sequencer_address: info.sequencer_address.into(),
            l1_gas_price: PriceJson::new(eth.l1_gas_price, strk.l1_gas_price),
            l2_gas_price: PriceJson::new(eth.l2_gas_price, strk.l2_gas_price),
            l1_data_gas_price: PriceJson::new(eth.l1_data_gas_price, strk.l1_data_gas_price),
            l1_da_mode: if info.use_kzg_da { "BLOB" } else { "CALLDATA" },
            starknet_version: info.starknet_version.to_string(),
        }
    }
}

/// The header of a sealed block (schema `BLOCK_HEADER`).
#[derive(Serialize)]
pub(crate) struct HeaderJson {
    block_hash: Hex,
    parent_hash: Hex,
    new_root: Hex,
    #[serde(flatten)]
    common: OpenHeaderJson,
    transaction_commitment: Hex,
    event_commitment: Hex,
    receipt_commitment: Hex,
    state_diff_commitment: Hex,
    transaction_count: u64,
    event_count: u64,
    state_diff_length: u64,
}

impl From<&Header> for HeaderJson {
    fn from(header: &Header) -> Self {
        Self {
            block_hash: Hex(header.hash.0),
            parent_hash: Hex(header.parent_hash.0),
            new_root: Hex(header.state_root.0),
            common: OpenHeaderJson::from(&header.block_info()),
            transaction_commitment: Hex(header.transaction_commitment.0),
            event_commitment: Hex(header.event_commitment.0),
            receipt_commitment: Hex(header.receipt_commitment.0),
            state_diff_commitment: Hex(header.state_diff_commitment.0.0),
            transaction_count: header.transaction_count,
            event_count: header.event_count,
            state_diff_length: header.state_diff_length,
        }
    }
}

/// A gas price in both tokens (schema `RESOURCE_PRICE`).
#[derive(Serialize)]
struct PriceJson {
    price_in_wei: Hex,
    price_in_fri: Hex,
}

impl PriceJson {
    fn new(wei: NonzeroGasPrice, fri: NonzeroGasPrice) -> Self {
        Self { price_in_wei: wei.get().0.into(), price_in_fri: fri.get().0.into() }
    }
}

struct BodyJson<'a> {
    transactions: &'a [Arc<ExecutedTransaction>],
    body: Body,
    finality: Finality,
}

impl Serialize for BodyJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let transactions = self.transactions.iter();
        match self.body {
            Body::Hashes => list(serializer, transactions.map(|executed| Hex(executed.hash.0))),
            Body::Transactions { proof_facts } => list(
                serializer,
                transactions.map(|executed| TransactionJson {
                    transaction: &executed.transaction,
                    hash: Some(executed.hash),
                    proof_facts,
                }),
            ),
            Body::Receipts { proof_facts } => list(
                serializer,
                transactions.map(|executed| WithReceipt {
                    transaction: TransactionJson { transaction: &executed.transaction, hash: None, proof_facts },
                    receipt: ReceiptJson { executed, finality: self.finality, block: None },
                }),
            ),
        }
    }
}

#[derive(Serialize)]
struct WithReceipt<'a> {
    transaction: TransactionJson<'a>,
    receipt: ReceiptJson<'a>,
}
