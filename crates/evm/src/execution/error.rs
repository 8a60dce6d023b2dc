//! Why a simulated transaction has no result, in geth's words: clients know them.

use std::time::Duration;

use alloy_evm::InvalidTxError;
use alloy_evm::overrides::StateOverrideError;
use alloy_evm::precompiles::MovePrecompileError;
use alloy_evm::rpc::{CallFeesError, EthTxEnvError};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{Panic, Revert, SolError};
use op_revm::OpHaltReason;
use revm::context::result::{EVMError, HaltReason, InvalidTransaction};
use revm_inspectors::tracing::DebugInspectorError;
use thiserror::Error;

use crate::ChainError;

/// JSON-RPC code of a reverted execution: its data is what the contract returned.
const REVERTED: i64 = 3;
/// JSON-RPC code of everything that geth has no code of its own for.
const SERVER_ERROR: i64 = -32_000;
/// JSON-RPC code of a request that makes no sense.
const INVALID_PARAMS: i64 = -32_602;

/// Codes of `eth_simulateV1` for what no block could hold, as geth's (`internal/ethapi/errors.go`).
const NONCE_TOO_LOW: i64 = -38_010;
const NONCE_TOO_HIGH: i64 = -38_011;
const BASE_FEE_TOO_LOW: i64 = -38_012;
const INTRINSIC_GAS: i64 = -38_013;
const INSUFFICIENT_FUNDS: i64 = -38_014;
pub(super) const BLOCK_GAS_LIMIT_REACHED: i64 = -38_015;
pub(super) const BLOCK_NUMBER_INVALID: i64 = -38_020;
pub(super) const BLOCK_TIMESTAMP_INVALID: i64 = -38_021;
const MAX_INIT_CODE_SIZE: i64 = -38_025;
pub(super) const CLIENT_LIMIT_EXCEEDED: i64 = -38_026;

/// Why there is no result.
#[derive(Clone, Debug, Error)]
pub enum ExecutionError {
    /// A contract gave up and said why, or did not.
    #[error("execution reverted{}", with_reason(.0))]
    Reverted(Bytes),
    /// Execution ended badly: all its gas is gone.
    #[error("{0}")]
    Halted(&'static str),
    /// It cannot be done, whatever the state.
    #[error("{0}")]
    Invalid(String),
    /// No block could hold such a transaction, or such a block, as the state stands.
    #[error("{text}")]
    Refused {
        /// The code under which `eth_simulateV1` reports it, which has more of them than other methods.
        code: i64,
        /// Why.
        text: String,
    },
    /// The request or its overrides contradict themselves.
    #[error("{0}")]
    Request(String),
    /// No amount of gas within the bounds is enough.
    #[error("gas required exceeds allowance ({0})")]
    Allowance(u64),
    /// The account cannot hand over what the request transfers.
    #[error("insufficient funds for transfer")]
    Transfer,
    /// The block, or the state at its end, is not there.
    #[error("header not found")]
    BlockUnknown,
    /// It took longer than allowed.
    #[error("execution aborted (timeout = {0:?})")]
    Timeout(Duration),
    /// Its trace is larger than allowed.
    #[error(
        "the trace is larger than {0} bytes: trace less of it (disableStack, disableStorage, onlyTopCall) or take another tracer"
    )]
    TooLarge(usize),
    /// The chain cannot be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The process is about to end.
    #[error("the node is stopping")]
    Stopping,
}

impl ExecutionError {
    /// The JSON-RPC code under which geth reports it.
    pub fn code(&self) -> i64 {
        match self {
            Self::Reverted(_) => REVERTED,
            Self::Request(_) => INVALID_PARAMS,
            _ => SERVER_ERROR,
        }
    }

    /// What the contract returned when it reverted: the `data` of the error.
    pub fn data(&self) -> Option<&Bytes> {
        match self {
            Self::Reverted(output) => Some(output),
            _ => None,
        }
    }

    /// The transaction costs more gas than it has before anything of it is executed.
    pub(super) fn is_short_of_intrinsic_gas(&self) -> bool {
        matches!(self, Self::Refused { code: INTRINSIC_GAS, .. })
    }

    /// Ended by lack of gas: more of it might help.
    pub(super) fn is_out_of_gas(&self) -> bool {
        matches!(self, Self::Halted(OUT_OF_GAS))
    }
}

pub(super) const OUT_OF_GAS: &str = "out of gas";

/// The words that Solidity's `require`, `revert` and its checks put into what is returned.
fn with_reason(output: &Bytes) -> String {
    if let Ok(revert) = Revert::abi_decode(output) {
        return format!(": {}", revert.reason);
    }
    match Panic::abi_decode(output) {
        Ok(panic) => format!(": {}", panic_reason(panic.code)),
        Err(_) => String::new(),
    }
}

/// Codes of Solidity's `Panic(uint256)`: <https://docs.soliditylang.org/en/latest/control-structures.html>, in geth's words
/// (`accounts/abi/abi.go`, `panicReasons`).
fn panic_reason(code: U256) -> String {
    match code.saturating_to::<u64>() {
        0x00 => "generic panic".into(),
        0x01 => "assert(false)".into(),
        0x11 => "arithmetic underflow or overflow".into(),
        0x12 => "division or modulo by zero".into(),
        0x21 => "enum overflow".into(),
        0x22 => "invalid encoded storage byte array accessed".into(),
        0x31 => "out-of-bounds array access; popping on an empty array".into(),
        0x32 => "out-of-bounds access of an array or bytesN".into(),
        0x41 => "out of memory".into(),
        0x51 => "uninitialized function".into(),
        _ => format!("unknown panic code: {code:#x}"),
    }
}

/// geth's words for the end of an execution (`core/vm/errors.go`).
pub(super) fn halt(reason: &OpHaltReason) -> ExecutionError {
    let OpHaltReason::Base(reason) = reason else { return ExecutionError::Halted("failed deposit") };
    ExecutionError::Halted(match reason {
        HaltReason::OutOfGas(_) => OUT_OF_GAS,
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode | HaltReason::NotActivated => "invalid opcode",
        HaltReason::InvalidJump => "invalid jump destination",
        HaltReason::StackUnderflow => "stack underflow",
        HaltReason::StackOverflow => "stack limit reached 1024",
        HaltReason::OutOfOffset => "return data out of bounds",
        HaltReason::CreateCollision => "contract address collision",
        HaltReason::PrecompileError | HaltReason::PrecompileErrorWithContext(_) => "precompiled contract failed",
        HaltReason::NonceOverflow => "nonce uint64 overflow",
        HaltReason::CreateContractSizeLimit => "max code size exceeded",
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef",
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded",
        HaltReason::OverflowPayment | HaltReason::OutOfFunds => "insufficient balance for transfer",
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => "write protection",
        HaltReason::CallTooDeep => "max call depth exceeded",
    })
}

/// What the machine, of either kind of chain, says of a transaction of `sender`.
pub(super) fn machine<E: InvalidTxError>(error: EVMError<ChainError, E>, sender: Address) -> ExecutionError {
    match error {
        EVMError::Transaction(fault) => match fault.as_invalid_tx_err() {
            Some(fault) => invalid(fault, sender),
            None => ExecutionError::Invalid(fault.to_string()),
        },
        EVMError::Database(error) => error.into(),
        EVMError::Header(fault) => ExecutionError::Invalid(fault.to_string()),
        EVMError::Custom(text) => ChainError::Execution(text).into(),
        other => ChainError::Execution(other.to_string()).into(),
    }
}

/// geth's words for a transaction that cannot be executed (`core/error.go`).
fn invalid(fault: &InvalidTransaction, sender: Address) -> ExecutionError {
    let code = match fault {
        InvalidTransaction::NonceTooLow { .. } => NONCE_TOO_LOW,
        InvalidTransaction::NonceTooHigh { .. } => NONCE_TOO_HIGH,
        InvalidTransaction::GasPriceLessThanBasefee => BASE_FEE_TOO_LOW,
        InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
        | InvalidTransaction::GasFloorMoreThanGasLimit { .. } => INTRINSIC_GAS,
        InvalidTransaction::LackOfFundForMaxFee { .. } => INSUFFICIENT_FUNDS,
        InvalidTransaction::CallerGasLimitMoreThanBlock => BLOCK_GAS_LIMIT_REACHED,
        InvalidTransaction::CreateInitCodeSizeLimit => MAX_INIT_CODE_SIZE,
        _ => SERVER_ERROR,
    };
    let text = match fault {
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            format!("intrinsic gas too low: have {gas_limit}, want {initial_gas}")
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            format!("insufficient gas for floor data gas cost: have {gas_limit}, want {gas_floor}")
        }
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: address {sender} have {balance} want {fee}")
        }
        InvalidTransaction::GasPriceLessThanBasefee => CallFeesError::FeeCapTooLow.to_string(),
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => CallFeesError::TipAboveFeeCap.to_string(),
        InvalidTransaction::InvalidChainId => "chainId does not match node's".into(),
        InvalidTransaction::CreateInitCodeSizeLimit => "max initcode size exceeded".into(),
        InvalidTransaction::EmptyAuthorizationList => "EIP-7702 transaction with empty auth list".into(),
        other => other.to_string(),
    };
    ExecutionError::Refused { code, text }
}

impl From<EthTxEnvError> for ExecutionError {
    fn from(error: EthTxEnvError) -> Self {
        match error {
            EthTxEnvError::CallFees(fees @ CallFeesError::FeeCapTooLow) => {
                Self::Refused { code: BASE_FEE_TOO_LOW, text: fees.to_string() }
            }
            EthTxEnvError::CallFees(fees @ CallFeesError::TipAboveFeeCap) => Self::Invalid(fees.to_string()),
            other => Self::Request(other.to_string()),
        }
    }
}

impl From<StateOverrideError<ChainError>> for ExecutionError {
    fn from(error: StateOverrideError<ChainError>) -> Self {
        match error {
            StateOverrideError::Database(error) => error.into(),
            other => Self::Request(other.to_string()),
        }
    }
}

impl From<MovePrecompileError> for ExecutionError {
    fn from(error: MovePrecompileError) -> Self {
        Self::Request(error.to_string())
    }
}

impl From<DebugInspectorError<ChainError>> for ExecutionError {
    fn from(error: DebugInspectorError<ChainError>) -> Self {
        match error {
            DebugInspectorError::Database(error) => error.into(),
            other => Self::Request(other.to_string()),
        }
    }
}

impl From<DebugInspectorError> for ExecutionError {
    fn from(error: DebugInspectorError) -> Self {
        Self::Request(error.to_string())
    }
}
