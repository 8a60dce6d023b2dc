//! What a method answers when it cannot do what was asked: the specification's errors and JSON-RPC's own.

use std::fmt::Display;

use serde_json::Value;

/// An error answer: `code`, `message` and, where the specification gives one, `data`.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// The specification's code (1 to 100) or JSON-RPC's (-32768 to -32000).
    pub code: i64,
    /// The specification's message, word for word; clients compare it.
    pub message: String,
    /// What is particular to this case.
    pub data: Option<Value>,
}

/// JSON-RPC: the method does not exist.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: a parameter is missing, unknown, or not what the method takes.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: the node failed; nothing is wrong with the request.
pub(crate) const INTERNAL_ERROR: i64 = -32603;

impl RpcError {
    /// The named method is not served.
    #[must_use]
    pub fn method_not_found(method: &str) -> Self {
        Self {
            code: METHOD_NOT_FOUND,
            message: "Method not found".to_owned(),
            data: Some(Value::from(format!("{} is not a method of this node", super::hex::shorten(method)))),
        }
    }

    /// A parameter is wrong; `why` names it, its value and what would be right.
    #[must_use]
    pub fn invalid_params(why: impl Display) -> Self {
        Self { code: INVALID_PARAMS, message: "Invalid params".to_owned(), data: Some(Value::from(why.to_string())) }
    }

    /// The node failed at something that is no fault of the request.
    #[must_use]
    pub fn internal(why: impl Display) -> Self {
        Self { code: INTERNAL_ERROR, message: "Internal error".to_owned(), data: Some(Value::from(why.to_string())) }
    }
}

impl Display for RpcError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.message, self.code)?;
        match &self.data {
            Some(data) => write!(formatter, ": {data}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RpcError {}

/// An error that the specification defines (`components.errors` of its documents).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) code: i64,
    pub(crate) message: &'static str,
}

impl Spec {
    /// This error with `data`.
    pub(crate) fn with(self, data: impl Into<Value>) -> RpcError {
        RpcError { data: Some(data.into()), ..self.into() }
    }
}

impl From<Spec> for RpcError {
    fn from(spec: Spec) -> Self {
        Self { code: spec.code, message: spec.message.to_owned(), data: None }
    }
}

macro_rules! spec_errors {
    ($($name:ident = $code:literal $message:literal;)*) => {
        $(pub(crate) const $name: Spec = Spec { code: $code, message: $message };)*
    };
}

// Those that a node on a chain of its own can give: it always has a block, and forwards nothing to anyone.
spec_errors! {
    NO_TRACE_AVAILABLE = 10 "No trace available for transaction";
    CONTRACT_NOT_FOUND = 20 "Contract not found";
    ENTRYPOINT_NOT_FOUND = 21 "Requested entry point does not exist in the contract";
    BLOCK_NOT_FOUND = 24 "Block not found";
    INVALID_TXN_INDEX = 27 "Invalid transaction index in a block";
    CLASS_HASH_NOT_FOUND = 28 "Class hash not found";
    TXN_HASH_NOT_FOUND = 29 "Transaction hash not found";
    PAGE_SIZE_TOO_BIG = 31 "Requested page size is too big";
    INVALID_CONTINUATION_TOKEN = 33 "The supplied continuation token is invalid or unknown";
    TOO_MANY_KEYS_IN_FILTER = 34 "Too many keys provided in a filter";
    CONTRACT_ERROR = 40 "Contract error";
    TRANSACTION_EXECUTION_ERROR = 41 "Transaction execution error";
    STORAGE_PROOF_NOT_SUPPORTED = 42 "the node doesn't support storage proofs for blocks that are too far in the past";
    CLASS_ALREADY_DECLARED = 51 "Class already declared";
    INVALID_TRANSACTION_NONCE = 52 "Invalid transaction nonce";
    INSUFFICIENT_RESOURCES_FOR_VALIDATE = 53 "The transaction's resources don't cover validation or the minimal transaction fee";
    INSUFFICIENT_ACCOUNT_BALANCE = 54 "Account balance is smaller than the transaction's maximal fee (calculated as the sum of each resource's limit x max price)";
    VALIDATION_FAILURE = 55 "Account validation failed";
    COMPILATION_FAILED = 56 "Compilation failed";
    CONTRACT_CLASS_SIZE_IS_TOO_LARGE = 57 "Contract class size is too large";
    NON_ACCOUNT = 58 "Sender address is not an account contract";
    DUPLICATE_TX = 59 "A transaction with the same hash already exists in the mempool";
    COMPILED_CLASS_HASH_MISMATCH = 60 "the compiled class hash did not match the one supplied in the transaction";
    UNSUPPORTED_TX_VERSION = 61 "the transaction version is not supported";
    UNSUPPORTED_CONTRACT_CLASS_VERSION = 62 "the contract class version is not supported";
    UNEXPECTED_ERROR = 63 "An unexpected error occurred";
    REPLACEMENT_TRANSACTION_UNDERPRICED = 64 "Replacement transaction is underpriced";
    FEE_BELOW_MINIMUM = 65 "Transaction fee below minimum";
    INVALID_SUBSCRIPTION_ID = 66 "Invalid subscription id";
    TOO_MANY_ADDRESSES_IN_FILTER = 67 "Too many addresses in filter sender_address filter";
    TOO_MANY_BLOCKS_BACK = 68 "Cannot go back more than 1024 blocks";
    INVALID_PROOF = 69 "The proof field in the invoke v3 transaction is invalid";
    COMPILATION_ERROR = 100 "Failed to compile the contract";
}
