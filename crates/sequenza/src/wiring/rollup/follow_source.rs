//! Another node's word on what is safe and final (`--l2-follow-source`): nothing is derived from L1 here yet, and that node does.
//!
//! It is believed only as far as it fits: on our L1, and on our chain. What it says is told to the heart, which never lets heads go
//! back for it.
//!
//! Source: kona-node's `DelegateDerivation` and op-node's `--l2.follow.source`.

use std::fmt::Display;
use std::time::Duration;

use alloy_primitives::B256;
use engine::{BlockAt, EngineClient, HttpTransport, Transport};
use l1::Epochs;
use sequencer::Event;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use types::BlockRef;

/// Between two looks, as kona-node's.
const EVERY: Duration = Duration::from_secs(4);
/// How long that node may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Another node, and what its word is compared with.
pub(super) struct FollowSource {
    pub(super) other: HttpTransport,
    pub(super) engine: EngineClient,
    pub(super) epochs: Epochs,
}

/// What that node's `optimism_syncStatus` says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Status {
    current_l1: L1Ref,
    safe_l2: L2Ref,
    finalized_l2: L2Ref,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct L1Ref {
    number: u64,
    hash: B256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct L2Ref {
    number: u64,
    hash: B256,
    l1origin: L1Ref,
}

/// What may be told to the heart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Landed {
    safe: BlockRef,
    finalized: BlockRef,
}

/// Why nothing may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NotYet {
    /// It is ahead of us, or does not answer: look again.
    Waiting(String),
    /// The two nodes do not see one chain: somebody has to look into it.
    Apart(String),
}

impl FollowSource {
    /// Looks again and again, and tells the heart what is new, until it is told to stop.
    pub(super) async fn follow(self, heart: mpsc::Sender<Event>, stop: CancellationToken) {
        let (mut told, mut trouble) = (None, None);
        loop {
            let looked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            match looked {
                Ok(landed) if told == Some(landed) => trouble = None,
                Ok(landed) => {
                    let Landed { safe, finalized } = landed;
                    if heart.send(Event::Landed { safe, finalized }).await.is_err() {
                        return;
                    }
                    (told, trouble) = (Some(landed), None);
                }
                Err(reason) if trouble.as_ref() == Some(&reason) => {}
                Err(reason) => {
                    match &reason {
                        NotYet::Waiting(why) => tracing::info!(%why, "what is safe and final is not taken over yet"),
                        NotYet::Apart(why) => tracing::error!(%why, "what is safe and final cannot be taken over"),
                    }
                    trouble = Some(reason);
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn look(&self) -> Result<Landed, NotYet> {
        let status = self.status().await?;
        for cited in [status.safe_l2.l1origin, status.finalized_l2.l1origin, status.current_l1] {
            // A node that has derived nothing yet says that it stands at zero.
            if cited.hash != B256::ZERO {
                let ours = self.epochs.by_number(cited.number, 0).await.map_err(waiting)?;
                fits("L1 block", cited.number, cited.hash, ours.map(|header| ((), header.hash())))?;
            }
        }
        Ok(Landed { safe: self.ours(status.safe_l2).await?, finalized: self.ours(status.finalized_l2).await? })
    }

    async fn status(&self) -> Result<Status, NotYet> {
        let call = self.other.call("optimism_syncStatus", json!([]));
        let answer = tokio::time::timeout(DEADLINE, call).await;
        let answer = answer.map_err(|_| waiting(format!("it did not answer within {DEADLINE:?}")))?;
        read(answer.map_err(waiting)?)
    }

    /// The block as our engine has it.
    async fn ours(&self, said: L2Ref) -> Result<BlockRef, NotYet> {
        let block = self.engine.block_ref(BlockAt::Number(said.number)).await.map_err(waiting)?;
        fits("block", said.number, said.hash, block.map(|block| (block, B256::new(*block.hash.as_bytes()))))
    }
}

fn read(answer: Value) -> Result<Status, NotYet> {
    Status::deserialize(answer)
        .map_err(|error| NotYet::Apart(format!("its optimism_syncStatus is not understood: {error}")))
}

/// What we have at this height, with its hash, if it is what the other node has there.
fn fits<T>(what: &str, number: u64, theirs: B256, ours: Option<(T, B256)>) -> Result<T, NotYet> {
    match ours {
        Some((ours, hash)) if hash == theirs => Ok(ours),
        Some((_, ours)) => Err(NotYet::Apart(format!("{what} {number} is {theirs} there and {ours} here"))),
        None => Err(NotYet::Waiting(format!("{what} {number} is not here yet"))),
    }
}

fn waiting(reason: impl Display) -> NotYet {
    NotYet::Waiting(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_op_node_is_read_and_another_answer_is_told() {
        let hash = |byte| B256::repeat_byte(byte);
        let l2 = |number: u64, byte: u8| {
            json!({ "hash": hash(byte), "number": number, "parentHash": hash(0), "timestamp": 1,
                "l1origin": { "hash": hash(9), "number": 90 }, "sequenceNumber": 0 })
        };
        let l1 = json!({ "hash": hash(8), "number": 91, "parentHash": hash(0), "timestamp": 1 });
        let status = json!({ "current_l1": l1, "head_l1": l1, "unsafe_l2": l2(7, 1), "safe_l2": l2(6, 2),
            "finalized_l2": l2(5, 3), "pending_safe_l2": l2(6, 2) });
        let read_status = read(status).unwrap();
        let origin = L1Ref { number: 90, hash: hash(9) };
        assert_eq!(read_status.safe_l2, L2Ref { number: 6, hash: hash(2), l1origin: origin });
        assert_eq!(read_status.finalized_l2.number, 5);
        assert!(matches!(read(json!({ "safe_l2": null })), Err(NotYet::Apart(why)) if why.contains("syncStatus")));
    }

    #[test]
    fn only_what_fits_is_taken_over() {
        let [one, two] = [1, 2].map(B256::repeat_byte);
        assert_eq!(fits("block", 5, one, Some((5, one))), Ok(5));
        let rows = [(Some(((), two)), "there and"), (None, "not here yet")];
        for (ours, word) in rows {
            let (NotYet::Apart(why) | NotYet::Waiting(why)) = fits("block", 5, one, ours).unwrap_err();
            assert!(why.starts_with("block 5 ") && why.contains(word), "{why}");
        }
        assert!(matches!(fits("block", 5, one, Some(((), two))), Err(NotYet::Apart(_))));
    }
}
