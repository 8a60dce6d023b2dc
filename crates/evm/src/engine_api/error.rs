//! Errors of the Engine API, with the codes of its specification.

use std::fmt;

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError {
    /// The code.
    pub code: i64,
    /// One short sentence.
    pub message: &'static str,
    /// What was wrong, for people.
    pub data: Option<String>,
}

impl EngineError {
    fn new(code: i64, message: &'static str, data: impl ToString) -> Self {
        Self { code, message, data: Some(data.to_string()) }
    }

    /// −32601: there is no such method.
    pub fn method_not_found(method: &str) -> Self {
        Self::new(-32601, "Method not found", format!("{method} is not a method of the Engine API"))
    }

    /// −32602: the parameters are wrong.
    pub fn invalid_params(reason: impl ToString) -> Self {
        Self::new(-32602, "Invalid params", reason)
    }

    /// −32603: the chain could not do it.
    pub fn internal(reason: impl ToString) -> Self {
        Self::new(-32603, "Internal error", reason)
    }

    /// −38001: no build has this id.
    pub fn unknown_payload(id: impl fmt::Display) -> Self {
        Self::new(
            -38001,
            "Unknown payload",
            format!("no payload {id} is being built: it was never asked for, or is too old"),
        )
    }

    /// −38002: the heads do not go together.
    pub fn invalid_forkchoice(reason: impl ToString) -> Self {
        Self::new(-38002, "Invalid forkchoice state", reason)
    }

    /// −38003: no block can be built so.
    pub fn invalid_attributes(reason: impl ToString) -> Self {
        Self::new(-38003, "Invalid payload attributes", reason)
    }

    /// −38004: too much at once.
    pub fn too_large(asked: u64, most: u64) -> Self {
        Self::new(-38004, "Too large request", format!("{asked} asked for, {most} are answered at once"))
    }

    /// −38005: the method is of another fork.
    pub fn unsupported_fork(reason: impl ToString) -> Self {
        Self::new(-38005, "Unsupported fork", reason)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)?;
        self.data.as_ref().map_or(Ok(()), |data| write!(f, ": {data}"))
    }
}

impl std::error::Error for EngineError {}
