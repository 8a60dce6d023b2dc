//! Why a transaction does not get into the pool.

use blockifier::blockifier::stateful_validator::StatefulValidatorError;
use blockifier::blockifier::transaction_executor::TransactionExecutorError;
use blockifier::execution::errors::{
    AnnotatedEntryPointExecutionError, ConstructorEntryPointExecutionError, EntryPointExecutionError, PreExecutionError,
};
use blockifier::execution::syscalls::hint_processor::ENTRYPOINT_NOT_FOUND_ERROR_FELT;
use blockifier::transaction::errors::{TransactionExecutionError, TransactionFeeError, TransactionPreValidationError};
use starknet_api::core::CompiledClassHash;

/// What is wrong with a submitted transaction. The variants are the errors of the specification's write interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The class exists.
    #[error("the class is declared already")]
    ClassAlreadyDeclared,
    /// The nonce is used, or too far ahead.
    #[error("invalid nonce: {0}")]
    InvalidNonce(String),
    /// The gas offered does not cover what the transaction needs at the least.
    #[error("insufficient resources: {0}")]
    InsufficientResources(String),
    /// The sender does not have what it offers.
    #[error("insufficient balance: {0}")]
    InsufficientBalance(String),
    /// The account refuses the transaction, or it has a form that none accepts.
    #[error("validation failed: {0}")]
    ValidationFailure(String),
    /// The Sierra program does not compile.
    #[error("compilation failed: {0}")]
    CompilationFailed(String),
    /// The class is larger than classes may be.
    #[error("the class has {bytes} bytes, at most {limit} are taken")]
    ClassTooLarge {
        /// Its size.
        bytes: usize,
        /// What it may be.
        limit: usize,
    },
    /// Nothing that could validate the transaction lives at the sender's address.
    #[error("there is no account at the sender's address")]
    NonAccount,
    /// It is in the pool or in the chain already.
    #[error("the transaction is known already")]
    Duplicate,
    /// The class compiles to something else than the sender says.
    #[error("the class compiles to {:#x}, the transaction says {:#x}", computed.0, given.0)]
    CompiledClassHashMismatch {
        /// What it compiles to.
        computed: CompiledClassHash,
        /// What the transaction says.
        given: CompiledClassHash,
    },
    /// The class has a version that this node does not know.
    #[error("unsupported class version: {0}")]
    UnsupportedClassVersion(String),
    /// Another transaction has the nonce, and this one does not offer enough more.
    #[error("underpriced: {0}")]
    Underpriced(String),
    /// A price offered is below the block's.
    #[error("fee below the minimum: {0}")]
    FeeBelowMinimum(String),
    /// The proof is not valid.
    #[error("invalid proof: {0}")]
    InvalidProof(String),
    /// The class of an account to be deployed does not exist.
    #[error("the class is not declared")]
    ClassNotFound,
    /// Anything else: the pool is full, the disk failed.
    #[error("{0}")]
    Unexpected(String),
}

impl From<StatefulValidatorError> for Refused {
    fn from(error: StatefulValidatorError) -> Self {
        match error {
            StatefulValidatorError::TransactionPreValidationError(error) => before(error),
            StatefulValidatorError::TransactionExecutionError(error) => executing(error),
            StatefulValidatorError::TransactionExecutorError(TransactionExecutorError::TransactionExecutionError(
                error,
            )) => executing(error),
            error => Self::Unexpected(error.to_string()),
        }
    }
}

fn before(error: TransactionPreValidationError) -> Refused {
    match error {
        TransactionPreValidationError::InvalidNonce { .. } => Refused::InvalidNonce(error.to_string()),
        TransactionPreValidationError::TransactionFeeError(error) => fee(&error),
        TransactionPreValidationError::InvalidProofFacts(reason) => Refused::InvalidProof(reason),
        TransactionPreValidationError::StateError(error) => Refused::Unexpected(error.to_string()),
    }
}

fn fee(error: &TransactionFeeError) -> Refused {
    match error {
        TransactionFeeError::InsufficientResourceBounds { .. } | TransactionFeeError::MaxFeeTooLow { .. } => {
            Refused::InsufficientResources(error.to_string())
        }
        // The balance was compared before; between then and now somebody spent it.
        TransactionFeeError::ResourcesBoundsExceedBalance { .. }
        | TransactionFeeError::GasBoundsExceedBalance { .. }
        | TransactionFeeError::MaxFeeExceedsBalance { .. } => Refused::InsufficientBalance(error.to_string()),
        _ => Refused::Unexpected(error.to_string()),
    }
}

fn executing(error: TransactionExecutionError) -> Refused {
    match error {
        TransactionExecutionError::TransactionPreValidationError(error) => before(*error),
        TransactionExecutionError::TransactionFeeError(error) => fee(&error),
        TransactionExecutionError::DeclareTransactionError { .. } => Refused::ClassAlreadyDeclared,
        // Gas ran out while validating.
        TransactionExecutionError::FeeCheckError(error) => Refused::InsufficientResources(error.to_string()),
        TransactionExecutionError::ValidateTransactionError { error: ref inner, .. } if is_no_account(inner) => {
            Refused::NonAccount
        }
        TransactionExecutionError::ContractConstructorExecutionFailed(
            ConstructorEntryPointExecutionError::ExecutionError { ref error, .. },
        ) if is_no_account(error) => Refused::NonAccount,
        // A class of Cairo 1 that has no entry point of the name gives up by itself.
        TransactionExecutionError::PanicInValidate { ref panic_reason }
            if panic_reason.last_retdata.0 == [ENTRYPOINT_NOT_FOUND_ERROR_FELT] && panic_reason.stack.len() <= 1 =>
        {
            Refused::NonAccount
        }
        TransactionExecutionError::StateError(error) => Refused::Unexpected(error.to_string()),
        error => Refused::ValidationFailure(error.to_string()),
    }
}

/// The class has no entry point that validates.
fn is_no_account(error: &AnnotatedEntryPointExecutionError) -> bool {
    matches!(
        error.unannotated(),
        EntryPointExecutionError::PreExecutionError(
            PreExecutionError::EntryPointNotFound(_) | PreExecutionError::NoEntryPointOfTypeFound(_)
        )
    )
}
