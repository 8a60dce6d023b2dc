//! What the caller of an engine can do about a failure. Pure.

use node::BackendError;
use types::Failure;

use crate::transport::{CallError, codes};

/// Why the engine did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A call without a result.
    #[error("{method}: {cause}")]
    Call {
        /// What was called.
        method: String,
        /// Why it has no result.
        cause: CallError,
    },
    /// A result that is not what the method yields.
    #[error("{method}: the engine's answer is not understood: {reason}")]
    Answer {
        /// What was called.
        method: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The engine lacks methods that the chain needs, now or at a fork to come.
    #[error(
        "the engine does not offer {}: run a release that knows this chain's forks",
        .0.join(", ")
    )]
    MissingMethods(Vec<String>),
    /// The engine runs another chain.
    #[error("the engine runs another chain: its {what} is {found}, the rollup's configuration says {wanted}")]
    WrongChain {
        /// What differs.
        what: &'static str,
        /// At the engine.
        found: String,
        /// In the configuration.
        wanted: String,
    },
}

impl EngineError {
    /// What to do: call again, ask where the chain stands, or stop.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Call { cause, .. } => of_call(cause),
            Self::Answer { .. } | Self::MissingMethods(_) | Self::WrongChain { .. } => Failure::Fatal,
        }
    }

    /// The code that the engine answered, if it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Call { cause: CallError::Rpc { code, .. }, .. } => Some(*code),
            _ => None,
        }
    }
}

fn of_call(cause: &CallError) -> Failure {
    match cause {
        CallError::Unreachable(_) | CallError::TimedOut(_) | CallError::Garbled(_) => Failure::Retry,
        // A proxy that is overloaded, or waits for an engine that restarts.
        CallError::Http { status: 408 | 425 | 429 | 500..=599, .. } => Failure::Retry,
        CallError::Http { .. } | CallError::Unauthorized { .. } | CallError::TooLarge { .. } => Failure::Fatal,
        CallError::Rpc { code, .. } => of_code(*code),
    }
}

fn of_code(code: i64) -> Failure {
    match code {
        codes::UNKNOWN_PAYLOAD | codes::INVALID_FORKCHOICE | codes::INVALID_ATTRIBUTES => Failure::Reset,
        codes::PARSE
        | codes::INVALID_REQUEST
        | codes::METHOD_NOT_FOUND
        | codes::INVALID_PARAMS
        | codes::TOO_LARGE
        | codes::UNSUPPORTED_FORK => Failure::Fatal,
        // Internal errors and whatever an engine has of its own.
        _ => Failure::Retry,
    }
}

impl From<EngineError> for BackendError {
    fn from(error: EngineError) -> Self {
        match error.failure() {
            Failure::Retry => Self::Retry(error.to_string()),
            Failure::Reset => Self::Reset(error.to_string()),
            Failure::Fatal => Self::Fatal(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_failure_says_what_to_do() {
        let rpc = |code| CallError::Rpc { code, message: "no".into() };
        let http = |status| CallError::Http { status, reason: String::new() };
        let table = [
            (CallError::Unreachable("refused".into()), Failure::Retry),
            (CallError::TimedOut(Duration::from_secs(1)), Failure::Retry),
            (CallError::Garbled("<html>".into()), Failure::Retry),
            (CallError::Unauthorized { status: 401, reason: String::new() }, Failure::Fatal),
            (CallError::TooLarge { limit: 1 }, Failure::Fatal),
            (http(404), Failure::Fatal),
            (http(429), Failure::Retry),
            (http(503), Failure::Retry),
            (rpc(-38001), Failure::Reset),
            (rpc(-38002), Failure::Reset),
            (rpc(-38003), Failure::Reset),
            (rpc(-38004), Failure::Fatal),
            (rpc(-38005), Failure::Fatal),
            (rpc(-32700), Failure::Fatal),
            (rpc(-32600), Failure::Fatal),
            (rpc(-32601), Failure::Fatal),
            (rpc(-32602), Failure::Fatal),
            (rpc(-32603), Failure::Retry),
            (rpc(-32000), Failure::Retry),
            (rpc(4444), Failure::Retry),
        ];
        for (cause, expected) in table {
            let error = EngineError::Call { method: "engine_x".into(), cause };
            assert_eq!(error.failure(), expected, "{error}");
            assert_eq!(BackendError::from(error).failure(), expected);
        }
    }

    #[test]
    fn what_needs_a_person_names_the_remedy() {
        let text = |code| EngineError::Call {
            method: "engine_getPayloadV5".into(),
            cause: CallError::Rpc { code, message: "no such method".into() },
        };
        let told = text(-32601).to_string();
        assert!(told.contains("engine_getPayloadV5") && told.contains("too old"), "{told}");
        assert!(text(-38005).to_string().contains("genesis"));
    }
}
