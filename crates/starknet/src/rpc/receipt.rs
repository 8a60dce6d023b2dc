//! Receipts and statuses of transactions (schemas `TXN_RECEIPT`, `TXN_STATUS_RESULT`, `EVENT`, `MSG_TO_L1`).

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use starknet_api::block::{BlockHash, BlockNumber};
use starknet_api::core::EthAddress;
use starknet_api::execution_resources::GasVector;
use starknet_api::transaction::fields::Fee;
use starknet_api::transaction::{Event, EventKey, L1HandlerTransaction, MessageToL1, Transaction};
use starknet_types_core::felt::Felt;

use super::hex::{Felts, Hex, list};
use super::transaction::type_name;
use crate::block::{ExecutedTransaction, Outcome};
use crate::pool::PoolStatus;

/// How final a transaction or block is (schema `TXN_STATUS`). L1 accepts nothing on a chain that runs alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Finality {
    Received,
    Candidate,
    PreConfirmed,
    AcceptedOnL2,
}

impl Finality {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Candidate => "CANDIDATE",
            Self::PreConfirmed => "PRE_CONFIRMED",
            Self::AcceptedOnL2 => "ACCEPTED_ON_L2",
        }
    }
}

impl From<PoolStatus> for Finality {
    fn from(status: PoolStatus) -> Self {
        match status {
            PoolStatus::Received => Self::Received,
            PoolStatus::Candidate => Self::Candidate,
        }
    }
}

impl Serialize for Finality {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The block that a receipt or an event names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InBlock {
    pub(crate) number: BlockNumber,
    /// `None` for the open block.
    pub(crate) hash: Option<BlockHash>,
}

impl InBlock {
    pub(crate) fn finality(&self) -> Finality {
        if self.hash.is_some() { Finality::AcceptedOnL2 } else { Finality::PreConfirmed }
    }
}

/// The receipt of an executed transaction.
pub(crate) struct ReceiptJson<'a> {
    pub(crate) executed: &'a ExecutedTransaction,
    pub(crate) finality: Finality,
    /// The block, where the receipt stands alone.
    pub(crate) block: Option<InBlock>,
}

impl Serialize for ReceiptJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ExecutedTransaction { hash, transaction, outcome, .. } = self.executed;
        let mut json = serializer.serialize_struct("receipt", 13)?;
        json.serialize_field("type", type_name(transaction))?;
        json.serialize_field("transaction_hash", &Hex(hash.0))?;
        json.serialize_field("actual_fee", &FeePayment::of(transaction, outcome.fee))?;
        json.serialize_field("finality_status", &self.finality)?;
        match &outcome.revert_reason {
            None => json.serialize_field("execution_status", "SUCCEEDED")?,
            Some(reason) => {
                json.serialize_field("execution_status", "REVERTED")?;
                json.serialize_field("revert_reason", reason)?;
            }
        }
        json.serialize_field("messages_sent", &MessagesJson(&outcome.messages))?;
        json.serialize_field("events", &EventsJson(&outcome.events))?;
        json.serialize_field("execution_resources", &ResourcesJson::from(&outcome.gas))?;
        if let Some(address) = outcome.deployed {
            json.serialize_field("contract_address", &Hex::from(address))?;
        }
        if let Transaction::L1Handler(handler) = transaction {
            json.serialize_field("message_hash", &message_hash(handler))?;
        }
        if let Some(block) = &self.block {
            if let Some(hash) = block.hash {
                json.serialize_field("block_hash", &Hex(hash.0))?;
            }
            json.serialize_field("block_number", &block.number.0)?;
        }
        json.end()
    }
}

/// Hash by which L1 knows the message that a handler consumed, 32 bytes in hex.
fn message_hash(handler: &L1HandlerTransaction) -> String {
    // Without a sender the calldata belongs to no message; the library's function would panic on it.
    if handler.calldata.0.is_empty() {
        return "0x0".to_owned();
    }
    format!("{}", handler.calc_msg_hash())
}

/// An amount of a fee token (schema `FEE_PAYMENT`).
#[derive(Serialize)]
pub(crate) struct FeePayment {
    amount: Hex,
    unit: &'static str,
}

impl FeePayment {
    pub(crate) fn of(transaction: &Transaction, fee: Fee) -> Self {
        let unit = if transaction.version().0 == Felt::THREE { "FRI" } else { "WEI" };
        Self { amount: fee.0.into(), unit }
    }
}

/// Gas by kind (schema `EXECUTION_RESOURCES`).
#[derive(Serialize)]
pub(crate) struct ResourcesJson {
    l1_gas: u64,
    l1_data_gas: u64,
    l2_gas: u64,
}

impl From<&GasVector> for ResourcesJson {
    fn from(gas: &GasVector) -> Self {
        Self { l1_gas: gas.l1_gas.0, l1_data_gas: gas.l1_data_gas.0, l2_gas: gas.l2_gas.0 }
    }
}

/// Events of one transaction.
struct EventsJson<'a>(&'a [Event]);

impl Serialize for EventsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(serializer, self.0.iter().map(EventJson::from))
    }
}

/// One event (schema `EVENT`).
#[derive(Serialize)]
pub(crate) struct EventJson<'a> {
    from_address: Hex,
    keys: Keys<'a>,
    data: Felts<'a>,
}

impl<'a> From<&'a Event> for EventJson<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            from_address: event.from_address.into(),
            keys: Keys(&event.content.keys),
            data: Felts(&event.content.data.0),
        }
    }
}

/// Keys of an event.
pub(crate) struct Keys<'a>(pub(crate) &'a [EventKey]);

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(serializer, self.0.iter().map(|key| Hex(key.0)))
    }
}

/// Messages to L1 of one transaction.
struct MessagesJson<'a>(&'a [MessageToL1]);

impl Serialize for MessagesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(
            serializer,
            self.0.iter().map(|message| MessageJson {
                from_address: message.from_address.into(),
                to_address: eth_address(message.to_address),
                payload: Felts(&message.payload.0),
            }),
        )
    }
}

/// One message to L1 (schema `MSG_TO_L1`).
#[derive(Serialize)]
pub(crate) struct MessageJson<'a> {
    pub(crate) from_address: Hex,
    pub(crate) to_address: Hex,
    pub(crate) payload: Felts<'a>,
}

fn eth_address(address: EthAddress) -> Hex {
    Hex(Felt::from_bytes_be_slice(address.0.as_bytes()))
}

/// Where a transaction stands (schema `TXN_STATUS_RESULT`).
#[derive(Serialize)]
pub(crate) struct StatusJson<'a> {
    pub(crate) finality_status: Finality,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'a str>,
}

impl<'a> StatusJson<'a> {
    /// Not executed yet.
    pub(crate) fn waiting(finality_status: Finality) -> Self {
        Self { finality_status, execution_status: None, failure_reason: None }
    }

    /// Executed.
    pub(crate) fn executed(finality_status: Finality, outcome: &'a Outcome) -> Self {
        let failure_reason = outcome.revert_reason.as_deref();
        let execution_status = Some(if failure_reason.is_some() { "REVERTED" } else { "SUCCEEDED" });
        Self { finality_status, execution_status, failure_reason }
    }
}
