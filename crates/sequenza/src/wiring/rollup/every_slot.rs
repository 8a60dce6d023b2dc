//! A rollup has a block in every slot: each is dated one block time after its parent, and derivation takes no other. The heart does
//! not make up for slots that it missed, which is right on the other chains. So between the heart and the engine stands this: when a
//! block is ordered that leaves slots out, it makes their blocks first, one after the other, and has the heart look again.
//!
//! It does what the heart does for one that runs alone, in the same order: sealed, durable, imported, made the head.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::Handed;
use node::{Backend, BackendError, Persistence, Sealed};
use sequencer::{Record, Timetable};
use types::{Attributes, BlockRef, BuildId, Heads, Millis, Payload, Verdict};

/// How long blocks are made in one go: less than the driver waits for the order that set it off (`node::Deadlines::open`).
const AT_ONCE: Duration = Duration::from_secs(4);

/// A backend whose chain has no gaps.
#[derive(Debug)]
pub(super) struct EverySlot<B> {
    pub(super) inner: B,
    pub(super) handed: Handed,
    pub(super) timetable: Timetable,
}

#[async_trait]
impl<B: Backend> Backend for EverySlot<B> {
    async fn open(&self, build: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        if attributes.timestamp <= self.due_after(attributes.parent) {
            return self.inner.open(build, attributes).await;
        }
        let mut made = 0_u64;
        match self.make_up(build, &attributes, &mut made).await {
            // The head is where the heart thinks it is, so that the failure is for it to judge.
            Err(error) if made == 0 => Err(error),
            Err(error) => {
                Err(BackendError::Reset(format!("{made} missed blocks were made, the next was not: {error}")))
            }
            Ok(()) => Err(BackendError::Reset(format!("{made} missed blocks were made"))),
        }
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
        self.inner.heads().await
    }
}

impl<B: Backend> EverySlot<B> {
    fn due_after(&self, parent: BlockRef) -> types::Timestamp {
        let block_time: Millis = self.timetable.config().slot;
        parent.timestamp.after(block_time)
    }

    /// Makes the blocks between the parent and what is ordered, as many as the time allows.
    async fn make_up(&self, build: BuildId, last: &Attributes, made: &mut u64) -> Result<(), BackendError> {
        let began = Instant::now();
        let heads = self.inner.heads().await?;
        let mut parent = last.parent;
        if heads.unsafe_head() != parent {
            return Err(BackendError::Reset("the engine's head is not the block to build on".to_owned()));
        }
        while self.due_after(parent) < last.timestamp && began.elapsed() < AT_ONCE {
            let slot = self.timetable.slot_after(parent.timestamp);
            let order = Attributes { slot, parent, timestamp: self.due_after(parent), origin: None, ..*last };
            parent = self.make(build, order, heads).await?;
            *made += 1;
        }
        tracing::info!(blocks = *made, head = %parent.number, "missed blocks were made");
        Ok(())
    }

    /// One block, from the order to the head.
    async fn make(&self, build: BuildId, order: Attributes, heads: Heads) -> Result<BlockRef, BackendError> {
        self.inner.open(build, order).await?;
        let Sealed::Payload(payload) = self.inner.seal(build).await? else {
            return Err(BackendError::Fatal("the engine sealed nothing".to_owned()));
        };
        let persisted = self.handed.persist(&Record::Payload(payload.clone())).await;
        persisted.map_err(|error| BackendError::Fatal(error.to_string()))?;
        match self.inner.import(&payload).await? {
            Verdict::Valid => {}
            verdict => {
                let hash = payload.block.hash;
                return Err(BackendError::Reset(format!(
                    "the engine does not take block {hash} of its own: {verdict:?}"
                )));
            }
        }
        let heads = Heads::new(payload.block, heads.safe_head(), heads.finalized_head());
        self.inner.set_heads(heads.map_err(|error| BackendError::Reset(error.to_string()))?).await?;
        Ok(payload.block)
    }
}
