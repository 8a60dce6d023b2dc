//! Traces: what `blockifier` records of an execution, as clients read it (schemas `TRANSACTION_TRACE`,
//! `FUNCTION_INVOCATION`, `INITIAL_READS`).

use blockifier::blockifier_versioned_constants::VersionedConstants;
use blockifier::execution::call_info::{CallInfo, EventSummary, OrderedEvent, OrderedL2ToL1Message};
use blockifier::execution::entry_point::CallType;
use blockifier::fee::resources::{ComputationResources, MessageResources};
use blockifier::state::cached_state::StateMaps;
use blockifier::transaction::objects::TransactionExecutionInfo;
use cairo_vm::vm::runners::cairo_runner::ExecutionResources;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use starknet_api::contract_class::EntryPointType;
use starknet_api::core::ContractAddress;
use starknet_api::execution_resources::{GasAmount, GasVector};
use starknet_api::rpc_transaction::RpcTransaction;
use starknet_api::transaction::Transaction;
use starknet_api::transaction::fields::GasVectorComputationMode;

use super::hex::{Felts, Hex, StorageKeyHex, list};
use super::receipt::{Keys, MessageJson, ResourcesJson};
use super::state_update::StateDiffJson;
use crate::block::StateDiff;

/// The kinds of trace; they name the outermost call differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceKind {
    Invoke,
    Declare,
    DeployAccount,
    L1Handler,
}

impl From<&Transaction> for TraceKind {
    fn from(transaction: &Transaction) -> Self {
        match transaction {
            Transaction::Invoke(_) => Self::Invoke,
            Transaction::Declare(_) => Self::Declare,
            Transaction::DeployAccount(_) | Transaction::Deploy(_) => Self::DeployAccount,
            Transaction::L1Handler(_) => Self::L1Handler,
        }
    }
}

impl From<&RpcTransaction> for TraceKind {
    fn from(transaction: &RpcTransaction) -> Self {
        match transaction {
            RpcTransaction::Invoke(_) => Self::Invoke,
            RpcTransaction::Declare(_) => Self::Declare,
            RpcTransaction::DeployAccount(_) => Self::DeployAccount,
        }
    }
}

/// The trace of one transaction.
pub(crate) struct TraceJson<'a> {
    pub(crate) kind: TraceKind,
    pub(crate) execution: &'a TransactionExecutionInfo,
    pub(crate) state_diff: &'a StateDiff,
    /// Constants that the transaction was executed with; they turn VM steps into gas.
    pub(crate) constants: &'a VersionedConstants,
}

impl Serialize for TraceJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { execution, constants, .. } = *self;
        fn call<'a>(info: &'a CallInfo, constants: &'a VersionedConstants) -> InvocationJson<'a> {
            InvocationJson { info, constants }
        }
        let mut json = serializer.serialize_struct("trace", 6)?;
        let (kind, outermost) = match self.kind {
            TraceKind::Invoke => ("INVOKE", Some("execute_invocation")),
            TraceKind::Declare => ("DECLARE", None),
            TraceKind::DeployAccount => ("DEPLOY_ACCOUNT", Some("constructor_invocation")),
            TraceKind::L1Handler => ("L1_HANDLER", Some("function_invocation")),
        };
        json.serialize_field("type", kind)?;
        if let Some(info) = &execution.validate_call_info {
            json.serialize_field("validate_invocation", &call(info, constants))?;
        }
        if let Some(name) = outermost {
            match (&execution.revert_error, &execution.execute_call_info) {
                (Some(reason), _) => json.serialize_field(name, &Reverted { revert_reason: reason.to_string() })?,
                (None, Some(info)) => json.serialize_field(name, &call(info, constants))?,
                (None, None) => {}
            }
        }
        if let Some(info) = &execution.fee_transfer_call_info {
            json.serialize_field("fee_transfer_invocation", &call(info, constants))?;
        }
        json.serialize_field("state_diff", &StateDiffJson::whole(self.state_diff))?;
        json.serialize_field("execution_resources", &ResourcesJson::from(&execution.receipt.gas))?;
        json.end()
    }
}

#[derive(Serialize)]
struct Reverted {
    revert_reason: String,
}

/// One call with all calls it made (schema `FUNCTION_INVOCATION`).
#[derive(Clone, Copy)]
pub(crate) struct InvocationJson<'a> {
    pub(crate) info: &'a CallInfo,
    pub(crate) constants: &'a VersionedConstants,
}

impl Serialize for InvocationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { info, constants } = *self;
        let call = &info.call;
        let mut json = serializer.serialize_struct("invocation", 13)?;
        json.serialize_field("contract_address", &Hex::from(call.storage_address))?;
        json.serialize_field("entry_point_selector", &Hex(call.entry_point_selector.0))?;
        json.serialize_field("calldata", &Felts(&call.calldata.0))?;
        json.serialize_field("caller_address", &Hex::from(call.caller_address))?;
        json.serialize_field("class_hash", &Hex(call.class_hash.unwrap_or_default().0))?;
        json.serialize_field("entry_point_type", entry_point_type(call.entry_point_type))?;
        json.serialize_field("call_type", call_type(call.call_type, call.code_address))?;
        json.serialize_field("result", &Felts(&info.execution.retdata.0))?;
        json.serialize_field("calls", &Calls { calls: &info.inner_calls, constants })?;
        json.serialize_field("events", &Events(&info.execution.events))?;
        json.serialize_field(
            "messages",
            &Messages { messages: &info.execution.l2_to_l1_messages, from: call.storage_address },
        )?;
        json.serialize_field("execution_resources", &InnerResources::of(info, constants))?;
        json.serialize_field("is_reverted", &info.execution.failed)?;
        json.end()
    }
}

fn entry_point_type(entry_point_type: EntryPointType) -> &'static str {
    match entry_point_type {
        EntryPointType::Constructor => "CONSTRUCTOR",
        EntryPointType::External => "EXTERNAL",
        EntryPointType::L1Handler => "L1_HANDLER",
    }
}

/// `blockifier` calls both a library call and the `delegate_call` of old Cairo `Delegate`; only the latter names the
/// address that the code comes from.
fn call_type(call_type: CallType, code_address: Option<ContractAddress>) -> &'static str {
    match (call_type, code_address) {
        (CallType::Call, _) => "CALL",
        (CallType::Delegate, None) => "LIBRARY_CALL",
        (CallType::Delegate, Some(_)) => "DELEGATE",
    }
}

struct Calls<'a> {
    calls: &'a [CallInfo],
    constants: &'a VersionedConstants,
}

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(serializer, self.calls.iter().map(|info| InvocationJson { info, constants: self.constants }))
    }
}

struct Events<'a>(&'a [OrderedEvent]);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(
            serializer,
            self.0.iter().map(|ordered| EventOrdered {
                order: ordered.order,
                keys: Keys(&ordered.event.keys),
                data: Felts(&ordered.event.data.0),
            }),
        )
    }
}

#[derive(Serialize)]
struct EventOrdered<'a> {
    order: usize,
    keys: Keys<'a>,
    data: Felts<'a>,
}

struct Messages<'a> {
    messages: &'a [OrderedL2ToL1Message],
    from: ContractAddress,
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(
            serializer,
            self.messages.iter().map(|ordered| MessageOrdered {
                order: ordered.order,
                message: MessageJson {
                    from_address: self.from.into(),
                    to_address: Hex(ordered.message.to_address.0),
                    payload: Felts(&ordered.message.payload.0),
                },
            }),
        )
    }
}

#[derive(Serialize)]
struct MessageOrdered<'a> {
    order: usize,
    #[serde(flatten)]
    message: MessageJson<'a>,
}

/// Gas of one call with its inner calls (schema `INNER_CALL_EXECUTION_RESOURCES`): what it computed, emitted and sent,
/// without the share of the transaction's overhead, calldata and state changes.
#[derive(Serialize)]
struct InnerResources {
    l1_gas: u64,
    l2_gas: u64,
}

impl InnerResources {
    fn of(info: &CallInfo, constants: &VersionedConstants) -> Self {
        const MODE: GasVectorComputationMode = GasVectorComputationMode::All;
        // Resources and gas of a call contain those of its inner calls, events and messages do not.
        let computation = ComputationResources {
            tx_extended_vm_resources: info.resources.clone(),
            os_vm_resources: ExecutionResources::default(),
            n_reverted_steps: 0,
            sierra_gas: GasAmount(info.execution.gas_consumed),
            reverted_sierra_gas: GasAmount(0),
        };
        let mut events = EventSummary::default();
        let mut payloads = Vec::new();
        for call in info.iter() {
            for OrderedEvent { event, .. } in &call.execution.events {
                events.n_events += 1;
                events.total_event_keys += event.keys.len() as u64;
                events.total_event_data_size += event.data.0.len() as u64;
            }
            payloads.extend(call.execution.l2_to_l1_messages.iter().map(|sent| sent.message.payload.0.len()));
        }
        let messages =
            if payloads.is_empty() { GasVector::ZERO } else { MessageResources::new(payloads, None).to_gas_vector() };
        let parts = [computation.to_gas_vector(constants, &MODE), events.to_gas_vector(constants, &MODE), messages];
        Self {
            l1_gas: parts.iter().fold(0, |sum, part| sum.saturating_add(part.l1_gas.0)),
            l2_gas: parts.iter().fold(0, |sum, part| sum.saturating_add(part.l2_gas.0)),
        }
    }
}

/// What executions read from the state they started on (schema `INITIAL_READS`), in a fixed order.
pub(crate) struct InitialReadsJson<'a>(pub(crate) &'a StateMaps);

impl Serialize for InitialReadsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reads = self.0;
        let mut json = serializer.serialize_struct("initial_reads", 4)?;
        json.serialize_field(
            "storage",
            &sorted(reads.storage.iter().map(|((address, key), value)| StorageRead {
                contract_address: (*address).into(),
                key: StorageKeyHex((*key).into()),
                value: Hex(*value),
            })),
        )?;
        json.serialize_field(
            "nonces",
            &sorted(
                reads
                    .nonces
                    .iter()
                    .map(|(address, nonce)| NonceRead { contract_address: (*address).into(), nonce: Hex(nonce.0) }),
            ),
        )?;
        json.serialize_field(
            "class_hashes",
            &sorted(reads.class_hashes.iter().map(|(address, class)| ClassHashRead {
                contract_address: (*address).into(),
                class_hash: Hex(class.0),
            })),
        )?;
        json.serialize_field(
            "declared_contracts",
            &sorted(
                reads
                    .declared_contracts
                    .iter()
                    .map(|(class, is_declared)| DeclaredRead { class_hash: Hex(class.0), is_declared: *is_declared }),
            ),
        )?;
        json.end()
    }
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct StorageRead {
    contract_address: Hex,
    key: StorageKeyHex,
    value: Hex,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct NonceRead {
    contract_address: Hex,
    nonce: Hex,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct ClassHashRead {
    contract_address: Hex,
    class_hash: Hex,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct DeclaredRead {
    class_hash: Hex,
    is_declared: bool,
}
