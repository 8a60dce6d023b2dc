//! What a method answers when it cannot do what was asked: codes and texts as geth gives them, because clients compare them.

use std::fmt::{self, Display};

use alloy_primitives::{B256, Bytes};
use serde_json::Value;

use crate::ChainError;
use crate::execution::ExecutionError;
use crate::pool::Refusal;

/// An error answer: `code`, `message` and, where clients expect one, `data`.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    /// 3 for a revert, 4 and 5 of EIP-7966, or −32768 to −32000.
    pub code: i64,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The revert's bytes, or the hash that the error is about.
    pub data: Option<Value>,
}

/// A call was reverted.
const REVERTED: i64 = 3;
/// EIP-7966: accepted, but not in a block within the time allowed.
const SYNC_TIMEOUT: i64 = 4;
/// EIP-7966: accepted, but it cannot be executed yet.
const SYNC_NOT_READY: i64 = 5;
/// JSON-RPC: the method does not exist.
const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: a parameter is missing, unknown, or not what the method takes.
const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: the node failed; nothing is wrong with the request.
const INTERNAL_ERROR: i64 = -32603;
/// Anything that has no code of its own.
const SERVER: i64 = -32000;
/// EIP-1474: a limit of this node is exceeded.
const LIMIT_EXCEEDED: i64 = -32005;

impl RpcError {
    fn new(code: i64, message: impl Display) -> Self {
        Self { code, message: message.to_string(), data: None }
    }

    fn with(mut self, data: impl Into<Value>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// The named method is not served.
    #[must_use]
    pub fn method_not_found(method: &str) -> Self {
        Self::new(METHOD_NOT_FOUND, format!("the method {} does not exist/is not available", shorten(method)))
    }

    /// The method is there on development chains alone.
    pub(crate) fn development_only(method: &str) -> Self {
        Self::new(
            METHOD_NOT_FOUND,
            format!(
                "the method {method} does not exist/is not available: it serves development chains, which begin without --genesis"
            ),
        )
    }

    /// A parameter is wrong; `why` names it, its value and what would be right.
    pub(crate) fn invalid_params(why: impl Display) -> Self {
        Self::new(INVALID_PARAMS, why)
    }

    /// The node failed at something that is no fault of the request.
    pub(crate) fn internal(why: impl Display) -> Self {
        Self::new(INTERNAL_ERROR, why)
    }

    /// The request is well formed and cannot be met.
    pub(crate) fn server(why: impl Display) -> Self {
        Self::new(SERVER, why)
    }

    /// More was asked for than one request may have.
    pub(crate) fn limit_exceeded(why: impl Display) -> Self {
        Self::new(LIMIT_EXCEEDED, why)
    }

    /// A simulation was stopped: it has codes of its own.
    pub(crate) fn simulation(error: ExecutionError) -> Self {
        match error {
            ExecutionError::Refused { code, text } => Self::new(code, text),
            other => other.into(),
        }
    }

    /// A call ended in a revert with these bytes.
    pub(crate) fn reverted(output: &Bytes) -> Self {
        let reason = revert_reason(output);
        let message = match reason {
            Some(reason) => format!("execution reverted: {reason}"),
            None => "execution reverted".to_owned(),
        };
        Self::new(REVERTED, message).with(output.to_string())
    }

    /// EIP-7966: the transaction waits, but was not in a block in time.
    pub(crate) fn sync_timeout(hash: B256, waited: std::time::Duration) -> Self {
        Self::new(SYNC_TIMEOUT, format!("The transaction was added to the pool but was in no block within {waited:?}."))
            .with(hash.to_string())
    }

    /// EIP-7966: the transaction waits for one before it.
    pub(crate) fn sync_not_ready(hash: B256, missing: u64) -> Self {
        Self::new(
            SYNC_NOT_READY,
            format!(
                "The transaction was added to the pool but waits for the one with nonce {missing}, which is missing."
            ),
        )
        .with(hash.to_string())
    }
}

impl Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}

impl From<ChainError> for RpcError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::History { .. } => Self::server(error),
            other => Self::internal(other),
        }
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(_) => Self::invalid_params(refusal),
            Refusal::Disk(_) | Refusal::Chain(_) | Refusal::Stopping => Self::internal(refusal),
            _ => Self::server(refusal),
        }
    }
}

/// The text in the bytes of a revert: of `Error(string)`, or what `Panic(uint256)` means.
fn revert_reason(output: &[u8]) -> Option<String> {
    let reason = alloy_sol_types::decode_revert_reason(output)?;
    let reason = reason.strip_prefix("revert: ").map_or(reason.clone(), str::to_owned);
    (!reason.is_empty()).then_some(reason)
}

/// The beginning of a text that came from outside.
pub(crate) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    #[test]
    fn reasons_of_reverts_are_read() {
        let text = hex!(
            "08c379a0000000000000000000000000000000000000000000000000000000000000002000000000000000000000000000000000000000000000000000000000000000026e6f000000000000000000000000000000000000000000000000000000000000"
        );
        let error = RpcError::reverted(&text.to_vec().into());
        assert_eq!((error.code, error.message.as_str()), (3, "execution reverted: no"));
        assert_eq!(error.data, Some(Value::from(hex::encode_prefixed(text))));
        let error = RpcError::reverted(&Bytes::new());
        assert_eq!((error.message.as_str(), error.data), ("execution reverted", Some(Value::from("0x"))));
    }

    #[test]
    fn long_texts_from_outside_are_cut() {
        assert_eq!(shorten("abc"), "abc");
        assert_eq!(shorten(&"é".repeat(200)).chars().count(), 81);
    }
}
