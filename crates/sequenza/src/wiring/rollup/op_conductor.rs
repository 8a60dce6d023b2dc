//! op-conductor's JSON-RPC, as far as a sequencer calls it.
//!
//! Source: op-conductor `rpc/api.go`, `consensus/raft.go`, `consensus/raft_fsm.go`.

use std::fmt::Display;
use std::time::Duration;

use async_trait::async_trait;
use engine::{CallError, HttpTransport, Transport, decode_body, envelope_to_json};
use node::{CommitError, Conductor};
use serde_json::{Value, json};
use types::Payload;

/// What Raft says when a payload was not even appended to its log (hashicorp/raft `ErrNotLeader`). Every other error of a commit leaves
/// it open, also a leadership that was lost while the payload was on its way to the others.
const NOT_LEADER: &str = "node is not the leader";

/// op-conductor behind an address.
#[derive(Debug)]
pub(super) struct OpConductor {
    pub(super) transport: HttpTransport,
    /// For one call.
    pub(super) deadline: Duration,
}

impl OpConductor {
    async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let answer = tokio::time::timeout(self.deadline, self.transport.call(method, params)).await;
        answer.unwrap_or(Err(CallError::TimedOut(self.deadline)))
    }
}

#[async_trait]
impl Conductor for OpConductor {
    async fn leader(&self) -> Result<bool, String> {
        let answer = self.call("conductor_leader", json!([])).await.map_err(|error| reason(&error))?;
        answer.as_bool().ok_or_else(|| format!("op-conductor told neither true nor false, but {answer}"))
    }

    async fn commit(&self, payload: &Payload) -> Result<(), CommitError> {
        let unclear = |reason: &dyn Display| CommitError::Unclear(reason.to_string());
        // What the engine built is read again; a body that is not would be a fault of our own.
        let envelope = decode_body(&payload.body).map_err(|error| unclear(&error))?;
        match self.call("conductor_commitUnsafePayload", json!([envelope_to_json(&envelope)])).await {
            Ok(_) => Ok(()),
            Err(CallError::Rpc { message, .. }) if message.contains(NOT_LEADER) => Err(CommitError::Refused(message)),
            Err(error) => Err(unclear(&reason(&error))),
        }
    }
}

/// The words of an error of the transport, which is made for engines.
fn reason(error: &CallError) -> String {
    match error {
        CallError::Unreachable(reason) => format!("op-conductor cannot be reached: {reason}; check --conductor.rpc"),
        CallError::TimedOut(limit) => format!("op-conductor did not answer within {limit:?} (--conductor.rpc.timeout)"),
        CallError::Unauthorized { status, reason } | CallError::Http { status, reason } => {
            format!(
                "op-conductor's port answered HTTP {status}: {reason}; check --conductor.rpc, and how large a body it takes"
            )
        }
        CallError::TooLarge { limit } => format!("op-conductor's answer is larger than {limit} bytes"),
        CallError::Garbled(reason) => format!("what answers at --conductor.rpc speaks no JSON-RPC: {reason}"),
        CallError::Rpc { code, message } => format!("op-conductor answered {code}: {message}"),
    }
}
