//! Where the chain stands, as far as L1 bears it. Nothing is derived from L1 yet, and an engine knows nothing of it, so what the heart
//! must know after a start or a reset is found here:
//!
//! ```text
//!   what the engine has ──► with the decided blocks that it lost ──► back to the highest that cites L1's chain
//! ```
//!
//! The chain is left down to there and no further: above it every block cites, directly or through its parents, an L1 block that is no
//! more. What lies above is made anew, slot by slot; its transactions are those that the engine still has in its pool.
//!
//! Source: <https://specs.optimism.io/protocol/derivation.html>, "Resetting the Pipeline".

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use async_trait::async_trait;
use engine::{BlockAt, EngineBackend, EngineClient, Handed};
use l1::Epochs;
use node::{Backend, BackendError, Bearing, Persistence, Sealed};
use optimism::{BlockId, RollupConfig};
use types::{Attributes, BlockHash, BlockNumber, BlockRef, BuildId, Heads, L1Origin, Payload, Verdict};

use super::origins::has_left;

/// How long decided blocks are given to the engine again in one go: less than the driver waits for an answer
/// (`node::Deadlines::ask`), so that it hears what became of it.
const AT_ONCE: Duration = Duration::from_secs(4);

/// How far down is looked for a block that L1 bears: a day of blocks each second, and more than L1 ever took back.
const BORNE_STEPS_MAX: u64 = 86_400;
/// How it is told that L1 has left what a final block cites.
pub(super) const LEFT_FINAL: &str = "L1 has left the block that is cited by the final block";

/// An engine whose chain stands where L1 bears it.
#[derive(Debug)]
pub(super) struct OnL1 {
    pub(super) inner: EngineBackend,
    pub(super) client: EngineClient,
    pub(super) config: Arc<RollupConfig>,
    pub(super) handed: Handed,
    pub(super) epochs: Epochs,
}

#[async_trait]
impl Backend for OnL1 {
    async fn open(&self, build: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        self.inner.open(build, attributes).await
    }

    async fn seal(&self, build: BuildId) -> Result<Sealed, BackendError> {
        self.inner.seal(build).await
    }

    async fn cancel(&self, build: BuildId) {
        self.inner.cancel(build).await;
    }

    async fn import(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        self.inner.import(payload).await
    }

    async fn set_heads(&self, heads: Heads) -> Result<(), BackendError> {
        self.inner.set_heads(heads).await
    }

    async fn heads(&self) -> Result<Heads, BackendError> {
        let heads = self.inner.heads().await?;
        let heads = self.with_decided(heads).await?;
        self.heads_borne(heads).await
    }

    async fn origin_of(&self, block: BlockRef) -> Result<Option<L1Origin>, BackendError> {
        let genesis = &self.config.genesis;
        if block.hash.as_bytes() != &genesis.l2.hash.0 {
            return self.inner.origin_of(block).await;
        }
        // The first block tells of no L1 block: the configuration names it.
        let header = self.epochs.header(genesis.l1.hash).await.map_err(retry)?;
        let unknown = || retry(format!("L1 does not know block {}, genesis.l1 of the configuration", genesis.l1));
        Ok(Some(optimism::l1_block(header.ok_or_else(unknown)?.as_ref()).origin))
    }
}

#[async_trait]
impl Bearing for OnL1 {
    async fn borne(&self, block: BlockRef) -> Result<BlockRef, String> {
        let (mut at, mut found) = (block, block);
        for _ in 0..BORNE_STEPS_MAX {
            let place = self.place(at.number, at.hash).await?;
            let Some((known, origin)) = place else { return Ok(found) };
            found = known;
            if !has_left(&self.epochs.view(), origin.number, origin.hash) {
                return Ok(found);
            }
            let Some(below) = known.number.previous() else { return Ok(found) };
            at = BlockRef { number: below, hash: known.parent, ..BlockRef::default() };
        }
        Err(format!("L1 has left more than {BORNE_STEPS_MAX} blocks down from block {}", block.number))
    }
}

impl OnL1 {
    /// A block and what it cites, as the engine has it, or as it is kept here.
    async fn place(&self, number: BlockNumber, hash: BlockHash) -> Result<Option<(BlockRef, L1Origin)>, String> {
        let known = self.client.block_ref(BlockAt::Hash(B256::new(*hash.as_bytes()))).await;
        if let Some(known) = known.map_err(|error| error.to_string())? {
            let origin = self.origin_of(known).await.map_err(|error| error.to_string())?;
            return Ok(origin.map(|origin| (known, origin)));
        }
        let kept = self.handed.fetch(number, number).await.into_iter().map(|kept| kept.payload);
        let kept = kept
            .filter(|payload| payload.block.hash == hash)
            .find_map(|payload| payload.origin.map(|origin| (payload.block, origin)));
        Ok(kept)
    }

    /// Gives the engine what was decided right above its head and lost in a crash.
    async fn with_decided(&self, heads: Heads) -> Result<Heads, BackendError> {
        let head = heads.unsafe_head();
        let Some(newest) = self.handed.newest() else { return Ok(heads) };
        let (began, mut top) = (Instant::now(), head);
        let decided = self.handed.fetch(head.number.next(), newest.block.number).await;
        for payload in decided.into_iter().map(|announcement| announcement.payload) {
            let left = payload.origin.is_some_and(|origin| has_left(&self.epochs.view(), origin.number, origin.hash));
            if left || !payload.block.extends(&top) || self.inner.import(&payload).await? != Verdict::Valid {
                break;
            }
            top = payload.block;
            if began.elapsed() > AT_ONCE {
                self.lead_to(top, heads).await?;
                return Err(retry(format!("the engine is given decided blocks again, and has block {}", top.number)));
            }
        }
        if top == head { Ok(heads) } else { self.lead_to(top, heads).await }
    }

    async fn lead_to(&self, top: BlockRef, heads: Heads) -> Result<Heads, BackendError> {
        let led = Heads::new(top, heads.safe_head(), heads.finalized_head());
        let led = led.map_err(|error| BackendError::Reset(error.to_string()))?;
        self.inner.set_heads(led).await?;
        tracing::info!(from = %heads.unsafe_head().number, to = %top.number, "the engine was given decided blocks again");
        Ok(led)
    }

    /// The heads, but on the highest block that cites L1's chain. Final blocks are not left.
    async fn heads_borne(&self, heads: Heads) -> Result<Heads, BackendError> {
        let (head, safe, finalized) = (heads.unsafe_head(), heads.safe_head(), heads.finalized_head());
        if !self.is_left(BlockAt::Hash(hash_of(head))).await? {
            return Ok(heads);
        }
        if head == finalized || self.is_left(BlockAt::Hash(hash_of(finalized))).await? {
            let BlockRef { number, hash, .. } = finalized;
            return Err(retry(format!(
                "{LEFT_FINAL} {number} {hash}: no block can be built until L1 returns to it; check the endpoints of L1"
            )));
        }
        let mut search = Search { stays: finalized.number.as_u64(), left: head.number.as_u64() };
        while let Some(number) = search.next() {
            search.told(number, self.is_left(BlockAt::Number(number)).await?);
        }
        let block = self.client.block_ref(BlockAt::Number(search.stays)).await?;
        let block = block.ok_or_else(|| retry(format!("the engine does not tell its block {}", search.stays)))?;
        tracing::warn!(from = %head.number, to = %block.number, "L1 has reorganised: the chain goes on from a block below");
        let safe = if safe.number <= block.number { safe } else { finalized };
        Heads::new(block, safe, finalized).map_err(retry)
    }

    /// Does this block cite an L1 block that is on the chain no more?
    async fn is_left(&self, at: BlockAt) -> Result<bool, BackendError> {
        let block = self.client.block(at).await?;
        let block = block.ok_or_else(|| retry(format!("the engine does not have block {at:?}")))?;
        let (place, _) = block.place(&self.config).map_err(|error| BackendError::Fatal(error.to_string()))?;
        let BlockId { number, hash } = place.origin;
        Ok(has_left(&self.epochs.view(), number, BlockHash::new(hash.0)))
    }
}

/// Looks for the highest block that stays, with few questions: below one that stays all stay, above one that is left all are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Search {
    /// The highest that is known to stay.
    stays: u64,
    /// The lowest that is known to be left.
    left: u64,
}

impl Search {
    /// Which height to ask about, if that is not clear already.
    fn next(&self) -> Option<u64> {
        let between = self.left.saturating_sub(self.stays);
        (between > 1).then(|| self.stays + between / 2)
    }

    fn told(&mut self, number: u64, left: bool) {
        *(if left { &mut self.left } else { &mut self.stays }) = number;
    }
}

fn hash_of(block: BlockRef) -> B256 {
    B256::new(*block.hash.as_bytes())
}

fn retry(error: impl Display) -> BackendError {
    BackendError::Retry(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_block_that_stays_is_found_with_few_questions() {
        for top in [1, 2, 3, 10, 1_000, u64::MAX] {
            for lowest_left in [1, 2, 3, 9, 10, 999, 1_000, u64::MAX - 1, u64::MAX] {
                let mut search = Search { stays: 0, left: top };
                if lowest_left > top {
                    continue;
                }
                let mut asked = 0;
                while let Some(number) = search.next() {
                    search.told(number, number >= lowest_left);
                    asked += 1;
                }
                assert_eq!(search.stays, lowest_left - 1, "of {top}");
                assert!(asked <= 64, "{asked} questions");
            }
        }
    }
}
