//! How a call reaches the engine, and why it may not.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

/// Carries one JSON-RPC call to an engine and its answer back.
///
/// [`HttpTransport`](crate::HttpTransport) goes over the network; an engine in the same process is called directly.
/// Whoever implements this sets no deadline: [`EngineClient`](crate::EngineClient) does, and drops the future when it
/// passes. A dropped call may have taken effect.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Calls `method` with positional parameters, an array.
    ///
    /// # Errors
    /// With what kept the answer away, or with the error that the engine answered.
    async fn call(&self, method: &str, params: Value) -> Result<Value, CallError>;
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or it broke before the answer was complete.
    #[error("the engine cannot be reached: {0}; check that it runs and that its address is right")]
    Unreachable(String),
    /// No answer within the deadline. Whether the call took effect is unknown.
    #[error("the engine did not answer within {0:?}; it may be overloaded, or catching up")]
    TimedOut(Duration),
    /// The engine's port does not let the caller in (HTTP 401, 403).
    #[error(
        "the engine refused the token (HTTP {status}: {reason}): both sides need the same JWT secret, and clocks that \
         differ by less than a minute"
    )]
    Unauthorized {
        /// The HTTP status.
        status: u16,
        /// The beginning of what was said.
        reason: String,
    },
    /// Another HTTP status than success.
    #[error("the engine's port answered HTTP {status}: {reason}; check the address and what stands in front of it")]
    Http {
        /// The HTTP status.
        status: u16,
        /// The beginning of what was said.
        reason: String,
    },
    /// The answer is larger than is read.
    #[error("the engine's answer is larger than {limit} bytes, which is more than any block takes")]
    TooLarge {
        /// Most that is read, in bytes.
        limit: usize,
    },
    /// The answer is no JSON-RPC.
    #[error("the answer is no JSON-RPC: {0}; check that the address is the engine's authenticated port")]
    Garbled(String),
    /// The engine answered with an error.
    #[error("the engine answered {code}: {message}{}", remedy(*.code))]
    Rpc {
        /// The code, of JSON-RPC or of the Engine API.
        code: i64,
        /// What the engine says.
        message: String,
    },
}

/// What to do about errors that call for a person.
fn remedy(code: i64) -> &'static str {
    match code {
        codes::METHOD_NOT_FOUND => {
            "; the engine is too old for this chain's forks, or the address is not its authenticated port"
        }
        codes::UNSUPPORTED_FORK => "; the fork times of the engine's genesis differ from the rollup's configuration",
        codes::PARSE | codes::INVALID_REQUEST | codes::INVALID_PARAMS | codes::TOO_LARGE => {
            "; the engine speaks another version of the Engine API"
        }
        _ => "",
    }
}

/// Codes with a meaning, of JSON-RPC and of the Engine API
/// (<https://github.com/ethereum/execution-apis/blob/main/src/engine/common.md#errors>).
pub(crate) mod codes {
    pub(crate) const PARSE: i64 = -32700;
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    pub(crate) const INVALID_PARAMS: i64 = -32602;
    pub(crate) const UNKNOWN_PAYLOAD: i64 = -38001;
    pub(crate) const INVALID_FORKCHOICE: i64 = -38002;
    pub(crate) const INVALID_ATTRIBUTES: i64 = -38003;
    pub(crate) const TOO_LARGE: i64 = -38004;
    pub(crate) const UNSUPPORTED_FORK: i64 = -38005;
    /// How geth says that there is no safe or finalized block yet.
    pub(crate) const UNKNOWN_BLOCK: i64 = -39001;
}
