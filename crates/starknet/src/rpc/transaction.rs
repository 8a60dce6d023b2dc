//! Transactions as clients read them (schema `TXN`) and as they submit them (`BROADCASTED_TXN`).

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use starknet_api::core::{CompiledClassHash, ContractAddress, Nonce};
use starknet_api::data_availability::DataAvailabilityMode;
use starknet_api::rpc_transaction::{
    EntryPointByType, RpcDeclareTransaction, RpcDeclareTransactionV3, RpcDeployAccountTransaction,
    RpcInvokeTransaction, RpcTransaction,
};
use starknet_api::state::SierraContractClass;
use starknet_api::transaction::fields::{
    AccountDeploymentData, AllResourceBounds, PaymasterData, ResourceBounds, Tip, TransactionSignature,
    ValidResourceBounds,
};
use starknet_api::transaction::{
    DeclareTransaction, DeployAccountTransaction, DeployTransaction, InvokeTransaction, L1HandlerTransaction,
    Transaction, TransactionHash,
};
use starknet_types_core::felt::Felt;

use super::error::{RpcError, UNSUPPORTED_TX_VERSION};
use super::hex::{Felts, Hex, shorten};
use super::params::read;

/// A transaction with, where wanted, its hash and the facts of its proof.
pub(crate) struct TransactionJson<'a> {
    pub(crate) transaction: &'a Transaction,
    /// `None` inside of receipts, which carry the hash themselves.
    pub(crate) hash: Option<TransactionHash>,
    /// Response flag `INCLUDE_PROOF_FACTS`.
    pub(crate) proof_facts: bool,
}

impl Serialize for TransactionJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hash = self.hash.map(|hash| Hex(hash.0));
        match self.transaction {
            Transaction::Invoke(transaction) => invoke(transaction, hash, self.proof_facts).serialize(serializer),
            Transaction::Declare(transaction) => declare(transaction, hash).serialize(serializer),
            Transaction::DeployAccount(transaction) => deploy_account(transaction, hash).serialize(serializer),
            Transaction::L1Handler(transaction) => l1_handler(transaction, hash).serialize(serializer),
            Transaction::Deploy(transaction) => deploy(transaction, hash).serialize(serializer),
        }
    }
}

/// The name that `type` has in transactions, receipts and traces (schema `TXN_TYPE`).
pub(crate) fn type_name(transaction: &Transaction) -> &'static str {
    match transaction {
        Transaction::Declare(_) => "DECLARE",
        Transaction::Deploy(_) => "DEPLOY",
        Transaction::DeployAccount(_) => "DEPLOY_ACCOUNT",
        Transaction::Invoke(_) => "INVOKE",
        Transaction::L1Handler(_) => "L1_HANDLER",
    }
}

/// The union of all transaction schemas: a kind writes what it has.
#[derive(Serialize, Default)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_hash: Option<Hex>,
    r#type: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_fee: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_address: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract_address: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_point_selector: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calldata: Option<Felts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Felts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_hash: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compiled_class_hash: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contract_address_salt: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constructor_calldata: Option<Felts<'a>>,
    #[serde(flatten)]
    v3: Option<V3Fields<'a>>,
}

/// What version 3 added to every kind.
#[derive(Serialize)]
struct V3Fields<'a> {
    resource_bounds: Bounds,
    tip: Hex,
    paymaster_data: Felts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_deployment_data: Option<Felts<'a>>,
    nonce_data_availability_mode: &'static str,
    fee_data_availability_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof_facts: Option<Felts<'a>>,
}

#[derive(Serialize)]
struct Bounds {
    l1_gas: Bound,
    l1_data_gas: Bound,
    l2_gas: Bound,
}

#[derive(Serialize)]
struct Bound {
    max_amount: Hex,
    max_price_per_unit: Hex,
}

impl From<&ValidResourceBounds> for Bounds {
    fn from(bounds: &ValidResourceBounds) -> Self {
        let bound = |bounds: ResourceBounds| Bound {
            max_amount: bounds.max_amount.0.into(),
            max_price_per_unit: bounds.max_price_per_unit.0.into(),
        };
        match bounds {
            ValidResourceBounds::AllResources(all) => {
                Self { l1_gas: bound(all.l1_gas), l1_data_gas: bound(all.l1_data_gas), l2_gas: bound(all.l2_gas) }
            }
            // Two-bound transactions of before 0.13.3; not accepted here, only readable.
            ValidResourceBounds::L1Gas(l1) => Self {
                l1_gas: bound(*l1),
                l1_data_gas: bound(ResourceBounds::default()),
                l2_gas: bound(ResourceBounds::default()),
            },
        }
    }
}

fn da_mode(mode: DataAvailabilityMode) -> &'static str {
    match mode {
        DataAvailabilityMode::L1 => "L1",
        DataAvailabilityMode::L2 => "L2",
    }
}

fn invoke(transaction: &InvokeTransaction, transaction_hash: Option<Hex>, proof_facts: bool) -> Fields<'_> {
    let common = Fields { transaction_hash, r#type: "INVOKE", ..Fields::default() };
    match transaction {
        InvokeTransaction::V0(tx) => Fields {
            version: "0x0",
            max_fee: Some(tx.max_fee.0.into()),
            signature: Some(Felts(&tx.signature.0)),
            contract_address: Some(tx.contract_address.into()),
            entry_point_selector: Some(tx.entry_point_selector.0.into()),
            calldata: Some(Felts(&tx.calldata.0)),
            ..common
        },
        InvokeTransaction::V1(tx) => Fields {
            version: "0x1",
            max_fee: Some(tx.max_fee.0.into()),
            signature: Some(Felts(&tx.signature.0)),
            nonce: Some(tx.nonce.0.into()),
            sender_address: Some(tx.sender_address.into()),
            calldata: Some(Felts(&tx.calldata.0)),
            ..common
        },
        InvokeTransaction::V3(tx) => Fields {
            version: "0x3",
            signature: Some(Felts(&tx.signature.0)),
            nonce: Some(tx.nonce.0.into()),
            sender_address: Some(tx.sender_address.into()),
            calldata: Some(Felts(&tx.calldata.0)),
            v3: Some(V3Fields {
                resource_bounds: (&tx.resource_bounds).into(),
                tip: tx.tip.0.into(),
                paymaster_data: Felts(&tx.paymaster_data.0),
                account_deployment_data: Some(Felts(&tx.account_deployment_data.0)),
                nonce_data_availability_mode: da_mode(tx.nonce_data_availability_mode),
                fee_data_availability_mode: da_mode(tx.fee_data_availability_mode),
                proof_facts: (proof_facts && !tx.proof_facts.0.is_empty()).then(|| Felts(&tx.proof_facts.0)),
            }),
            ..common
        },
    }
}

fn declare(transaction: &DeclareTransaction, transaction_hash: Option<Hex>) -> Fields<'_> {
    let common = Fields { transaction_hash, r#type: "DECLARE", ..Fields::default() };
    match transaction {
        DeclareTransaction::V0(tx) | DeclareTransaction::V1(tx) => {
            let first = matches!(transaction, DeclareTransaction::V0(_));
            Fields {
                version: if first { "0x0" } else { "0x1" },
                max_fee: Some(tx.max_fee.0.into()),
                signature: Some(Felts(&tx.signature.0)),
                nonce: (!first).then(|| tx.nonce.0.into()),
                sender_address: Some(tx.sender_address.into()),
                class_hash: Some(tx.class_hash.0.into()),
                ..common
            }
        }
        DeclareTransaction::V2(tx) => Fields {
            version: "0x2",
            max_fee: Some(tx.max_fee.0.into()),
            signature: Some(Felts(&tx.signature.0)),
            nonce: Some(tx.nonce.0.into()),
            sender_address: Some(tx.sender_address.into()),
            class_hash: Some(tx.class_hash.0.into()),
            compiled_class_hash: Some(tx.compiled_class_hash.0.into()),
            ..common
        },
        DeclareTransaction::V3(tx) => Fields {
            version: "0x3",
            signature: Some(Felts(&tx.signature.0)),
            nonce: Some(tx.nonce.0.into()),
            sender_address: Some(tx.sender_address.into()),
            class_hash: Some(tx.class_hash.0.into()),
            compiled_class_hash: Some(tx.compiled_class_hash.0.into()),
            v3: Some(V3Fields {
                resource_bounds: (&tx.resource_bounds).into(),
                tip: tx.tip.0.into(),
                paymaster_data: Felts(&tx.paymaster_data.0),
                account_deployment_data: Some(Felts(&tx.account_deployment_data.0)),
                nonce_data_availability_mode: da_mode(tx.nonce_data_availability_mode),
                fee_data_availability_mode: da_mode(tx.fee_data_availability_mode),
                proof_facts: None,
            }),
            ..common
        },
    }
}

fn deploy_account(transaction: &DeployAccountTransaction, transaction_hash: Option<Hex>) -> Fields<'_> {
    let common = Fields { transaction_hash, r#type: "DEPLOY_ACCOUNT", ..Fields::default() };
    match transaction {
        DeployAccountTransaction::V1(tx) => Fields {
            version: "0x1",
            max_fee: Some(tx.max_fee.0.into()),
            signature: Some(Felts(&tx.signature.0)),
            nonce: Some(tx.nonce.0.into()),
            class_hash: Some(tx.class_hash.0.into()),
            contract_address_salt: Some(tx.contract_address_salt.0.into()),
            constructor_calldata: Some(Felts(&tx.constructor_calldata.0)),
            ..common
        },
        DeployAccountTransaction::V3(tx) => Fields {
            version: "0x3",
            signature: Some(Felts(&tx.signature.0)),
            nonce: Some(tx.nonce.0.into()),
            class_hash: Some(tx.class_hash.0.into()),
            contract_address_salt: Some(tx.contract_address_salt.0.into()),
            constructor_calldata: Some(Felts(&tx.constructor_calldata.0)),
            v3: Some(V3Fields {
                resource_bounds: (&tx.resource_bounds).into(),
                tip: tx.tip.0.into(),
                paymaster_data: Felts(&tx.paymaster_data.0),
                account_deployment_data: None,
                nonce_data_availability_mode: da_mode(tx.nonce_data_availability_mode),
                fee_data_availability_mode: da_mode(tx.fee_data_availability_mode),
                proof_facts: None,
            }),
            ..common
        },
    }
}

fn l1_handler(tx: &L1HandlerTransaction, transaction_hash: Option<Hex>) -> Fields<'_> {
    Fields {
        transaction_hash,
        r#type: "L1_HANDLER",
        version: "0x0",
        nonce: Some(tx.nonce.0.into()),
        contract_address: Some(tx.contract_address.into()),
        entry_point_selector: Some(tx.entry_point_selector.0.into()),
        calldata: Some(Felts(&tx.calldata.0)),
        ..Fields::default()
    }
}

fn deploy(tx: &DeployTransaction, transaction_hash: Option<Hex>) -> Fields<'_> {
    Fields {
        transaction_hash,
        r#type: "DEPLOY",
        version: if tx.version.0 == Felt::ZERO { "0x0" } else { "0x1" },
        class_hash: Some(tx.class_hash.0.into()),
        contract_address_salt: Some(tx.contract_address_salt.0.into()),
        constructor_calldata: Some(Felts(&tx.constructor_calldata.0)),
        ..Fields::default()
    }
}

/// Set in the version of a transaction that is only to be simulated.
const QUERY_BIT: u32 = 128;

/// A submitted transaction, read.
pub(crate) struct Submitted {
    pub(crate) transaction: RpcTransaction,
    /// The version has the query bit: fit for estimating and simulating, never for inclusion.
    pub(crate) only_query: bool,
}

/// The kinds of transaction that can be submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Invoke,
    Declare,
    DeployAccount,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Invoke => "INVOKE",
            Self::Declare => "DECLARE",
            Self::DeployAccount => "DEPLOY_ACCOUNT",
        }
    }
}

/// The two fields that decide how the others are read.
#[derive(Deserialize)]
struct Head {
    r#type: Option<String>,
    version: Hex,
}

/// Reads one submitted transaction, the parameter called `name`. `expected` is the kind that the method takes, if it
/// takes but one.
///
/// # Errors
/// `UNSUPPORTED_TX_VERSION` for another version than 3; `INVALID_PARAMS` that names the field otherwise.
pub(crate) fn submitted(raw: &RawValue, name: &str, expected: Option<Kind>) -> Result<Submitted, RpcError> {
    let head: Head = read(raw.get(), name)?;
    let kind = kind(head.r#type.as_deref(), name, expected)?;
    let query_bit = Felt::TWO.pow(QUERY_BIT);
    let only_query = head.version.0 >= query_bit;
    let version = if only_query { head.version.0 - query_bit } else { head.version.0 };
    if version != Felt::THREE {
        return Err(UNSUPPORTED_TX_VERSION.with(format!(
            "{name}.version is {:#x}: only version 0x3 is accepted since Starknet 0.14.0",
            head.version.0
        )));
    }
    // Read as the kind's own struct, not through the tagged enum: serde buffers what it reads for a tagged enum, and
    // a buffered number is no number to it when serde_json keeps arbitrary precision, as blockifier makes it do.
    let transaction = match kind {
        Kind::Invoke => RpcTransaction::Invoke(RpcInvokeTransaction::V3(fields(raw, name)?)),
        Kind::Declare => {
            let fields: DeclareFields = fields(raw, name)?;
            RpcTransaction::Declare(RpcDeclareTransaction::V3(fields.into()))
        }
        Kind::DeployAccount => RpcTransaction::DeployAccount(RpcDeployAccountTransaction::V3(fields(raw, name)?)),
    };
    Ok(Submitted { transaction, only_query })
}

fn kind(given: Option<&str>, name: &str, expected: Option<Kind>) -> Result<Kind, RpcError> {
    let given = match (given, expected) {
        (Some("INVOKE"), _) => Kind::Invoke,
        (Some("DECLARE"), _) => Kind::Declare,
        (Some("DEPLOY_ACCOUNT"), _) => Kind::DeployAccount,
        // Some clients leave out what the method already says.
        (None, Some(expected)) => expected,
        (None, None) => return Err(RpcError::invalid_params(format!("{name}.type is missing"))),
        (Some(other), _) => {
            return Err(RpcError::invalid_params(format!(
                "{name}.type is {:?}, not INVOKE, DECLARE or DEPLOY_ACCOUNT",
                shorten(other)
            )));
        }
    };
    match expected {
        Some(expected) if expected != given => Err(RpcError::invalid_params(format!(
            "{name}.type is {:?}, this method takes {}",
            given.name(),
            expected.name()
        ))),
        _ => Ok(given),
    }
}

/// A declaration as it may come: the specification lets the class be without an ABI.
#[derive(Deserialize)]
struct DeclareFields {
    sender_address: ContractAddress,
    compiled_class_hash: CompiledClassHash,
    signature: TransactionSignature,
    nonce: Nonce,
    contract_class: ClassFields,
    resource_bounds: AllResourceBounds,
    tip: Tip,
    paymaster_data: PaymasterData,
    account_deployment_data: AccountDeploymentData,
    nonce_data_availability_mode: DataAvailabilityMode,
    fee_data_availability_mode: DataAvailabilityMode,
}

#[derive(Deserialize)]
struct ClassFields {
    sierra_program: Vec<Felt>,
    contract_class_version: String,
    entry_points_by_type: EntryPointByType,
    #[serde(default)]
    abi: String,
}

impl From<DeclareFields> for RpcDeclareTransactionV3 {
    fn from(fields: DeclareFields) -> Self {
        Self {
            sender_address: fields.sender_address,
            compiled_class_hash: fields.compiled_class_hash,
            signature: fields.signature,
            nonce: fields.nonce,
            contract_class: SierraContractClass {
                sierra_program: fields.contract_class.sierra_program,
                contract_class_version: fields.contract_class.contract_class_version,
                entry_points_by_type: fields.contract_class.entry_points_by_type,
                abi: fields.contract_class.abi,
            },
            resource_bounds: fields.resource_bounds,
            tip: fields.tip,
            paymaster_data: fields.paymaster_data,
            account_deployment_data: fields.account_deployment_data,
            nonce_data_availability_mode: fields.nonce_data_availability_mode,
            fee_data_availability_mode: fields.fee_data_availability_mode,
        }
    }
}

fn fields<T: DeserializeOwned>(raw: &RawValue, name: &str) -> Result<T, RpcError> {
    read(raw.get(), name)
}
