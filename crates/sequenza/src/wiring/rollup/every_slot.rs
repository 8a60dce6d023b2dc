//! A rollup has a block in every slot: each is dated one block time after its parent, and derivation takes no other. The heart does
//! not make up for slots that it missed, which is right on the other chains. So between the heart and the engine stands this: when a
//! block is ordered that leaves slots out, it makes their blocks first, one after the other, and has the heart look again.
//!
//! It does what the heart does for one that runs alone, in the same order: sealed, durable, imported, made the head.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use node::{Backend, BackendError, Persistence, Sealed};
use sequencer::{Record, Timetable};
use tokio::sync::Mutex;
use types::{Attributes, BlockRef, BuildId, Heads, Millis, Payload, Timestamp, Verdict};

/// How long blocks are begun in one go. With [`ONE_MAX`] it is less than the driver waits for the order that set it off
/// (`node::Deadlines::open`), so that the driver hears what became of it.
const AT_ONCE: Duration = Duration::from_secs(4);
/// How long one of them may take. L1 or the engine may hang.
pub(super) const ONE_MAX: Duration = Duration::from_secs(5);

/// A backend whose chain has no gaps.
pub(super) struct EverySlot<B> {
    pub(super) inner: B,
    /// Where decided blocks go.
    pub(super) kept: Arc<dyn Persistence>,
    pub(super) timetable: Timetable,
    pub(super) permit: Arc<Permit>,
    /// How long one missed block may take: [`ONE_MAX`].
    pub(super) one_max: Duration,
}

/// Whether missed blocks may be made: not while the operator lets the sequencer rest.
#[derive(Debug, Default)]
pub(super) struct Permit {
    withdrawn: AtomicBool,
    /// Held while blocks are made.
    making: Mutex<()>,
}

impl Permit {
    /// From now on no missed block is begun; returns when the last one is made.
    pub(super) async fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::SeqCst);
        let _made = self.making.lock().await;
    }

    /// They may be made again.
    pub(super) fn give(&self) {
        self.withdrawn.store(false, Ordering::SeqCst);
    }

    fn is_given(&self) -> bool {
        !self.withdrawn.load(Ordering::SeqCst)
    }
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
    fn due_after(&self, parent: BlockRef) -> Timestamp {
        let block_time: Millis = self.timetable.config().slot;
        parent.timestamp.after(block_time)
    }

    /// Makes the blocks between the parent and what is ordered, as many as the time allows.
    async fn make_up(&self, build: BuildId, last: &Attributes, made: &mut u64) -> Result<(), BackendError> {
        let _making = self.permit.making.lock().await;
        let began = Instant::now();
        let heads = self.inner.heads().await?;
        let mut parent = last.parent;
        if heads.unsafe_head() != parent {
            return Err(BackendError::Reset("the engine's head is not the block to build on".to_owned()));
        }
        while self.due_after(parent) < last.timestamp && began.elapsed() < AT_ONCE && self.permit.is_given() {
            let slot = self.timetable.slot_after(parent.timestamp);
            let order = Attributes { slot, parent, timestamp: self.due_after(parent), origin: None, ..*last };
            let late =
                |_| BackendError::Retry(format!("block {} was not made in {:?}", parent.number.next(), self.one_max));
            parent = tokio::time::timeout(self.one_max, self.make(build, order, heads)).await.map_err(late)??;
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
        let persisted = self.kept.persist(&Record::Payload(payload.clone())).await;
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

#[cfg(test)]
mod tests {
    use node::fake::{FakeBackend, Mishap, Verb, genesis};
    use sequencer::{Stamp, TimetableConfig};
    use types::Slot;

    use super::*;

    /// Blocks as they were made durable.
    #[derive(Default)]
    struct Kept(Mutex<Vec<BlockRef>>);

    #[async_trait]
    impl Persistence for Kept {
        async fn persist(&self, record: &Record) -> Result<(), node::PersistError> {
            let Record::Payload(payload) = record else { panic!("{record:?}") };
            self.0.lock().await.push(payload.block);
            Ok(())
        }
    }

    /// A chain with a block each two seconds, how it is called, and what is kept of it.
    fn chain() -> (FakeBackend, EverySlot<FakeBackend>, Arc<Kept>) {
        let (fake, kept) = (FakeBackend::new(), Arc::new(Kept::default()));
        let config = TimetableConfig {
            genesis: genesis().timestamp,
            slot: Millis::new(2_000),
            build_ahead: Millis::new(2_000),
            seal_lead: Millis::ZERO,
            stamp: Stamp::Closing,
        };
        let timetable = Timetable::new(config).unwrap();
        let every = EverySlot {
            inner: fake.clone(),
            kept: kept.clone(),
            timetable,
            permit: Arc::default(),
            one_max: Duration::from_secs(1),
        };
        (fake, every, kept)
    }

    fn order(every: &EverySlot<FakeBackend>, parent: BlockRef, slot: u64) -> Attributes {
        let slot = Slot::new(slot);
        Attributes { slot, parent, timestamp: every.timetable.stamp(slot), origin: None, use_pool: true }
    }

    #[tokio::test]
    async fn blocks_of_missed_slots_are_made_and_kept_before_the_one_that_was_ordered() {
        let (_, every, kept) = chain();
        let refused = every.open(BuildId::new(1), order(&every, genesis(), 5)).await.unwrap_err();
        assert!(matches!(&refused, BackendError::Reset(reason) if reason.starts_with("5 missed")), "{refused}");
        let head = every.heads().await.unwrap().unsafe_head();
        assert_eq!((head.number.as_u64(), head.timestamp), (5, every.timetable.stamp(Slot::new(4))));
        let kept = kept.0.lock().await.clone();
        assert_eq!(kept.len(), 5);
        for pair in kept.windows(2) {
            assert!(pair[1].extends(&pair[0]));
            assert_eq!(pair[1].timestamp, pair[0].timestamp.after(Millis::new(2_000)));
        }
        every.open(BuildId::new(2), order(&every, head, 5)).await.unwrap();
        let Sealed::Payload(payload) = every.seal(BuildId::new(2)).await.unwrap() else { panic!("nothing was sealed") };
        assert_eq!(payload.block.timestamp, every.timetable.stamp(Slot::new(5)));
    }

    #[tokio::test]
    async fn a_failure_is_the_hearts_to_judge_unless_the_head_has_moved() {
        let (fake, every, _) = chain();
        let down = || Mishap::Refused(BackendError::Retry("down".to_owned()));
        fake.mishaps(Verb::Open, [down()]);
        let failed = every.open(BuildId::new(1), order(&every, genesis(), 3)).await.unwrap_err();
        assert_eq!(failed, BackendError::Retry("down".to_owned()));
        fake.mishaps(Verb::Import, [Mishap::Slow(Duration::ZERO), down()]);
        let failed = every.open(BuildId::new(2), order(&every, genesis(), 3)).await.unwrap_err();
        assert!(matches!(&failed, BackendError::Reset(reason) if reason.starts_with("1 missed")), "{failed}");
        // Another head than the one to build on is not touched.
        let failed = every.open(BuildId::new(3), order(&every, genesis(), 3)).await.unwrap_err();
        assert!(matches!(&failed, BackendError::Reset(reason) if reason.contains("not the block")), "{failed}");
    }

    /// Guards against a hung L1 or engine that takes the driver's whole patience, and hides how far it came.
    #[tokio::test]
    async fn a_block_that_takes_for_ever_ends_the_going() {
        let (fake, every, _) = chain();
        fake.mishaps(Verb::Seal, [Mishap::Slow(Duration::ZERO), Mishap::Slow(Duration::from_secs(3_600))]);
        let failed = every.open(BuildId::new(1), order(&every, genesis(), 3)).await.unwrap_err();
        assert!(matches!(&failed, BackendError::Reset(reason) if reason.starts_with("1 missed")), "{failed}");
        assert_eq!(every.heads().await.unwrap().unsafe_head().number.as_u64(), 1);
    }

    #[tokio::test]
    async fn nothing_is_made_up_while_the_sequencer_rests() {
        let (_, every, _) = chain();
        every.permit.withdraw().await;
        every.open(BuildId::new(1), order(&every, genesis(), 5)).await.unwrap_err();
        assert_eq!(every.heads().await.unwrap().unsafe_head(), genesis());
        every.permit.give();
        every.open(BuildId::new(2), order(&every, genesis(), 5)).await.unwrap_err();
        assert_eq!(every.heads().await.unwrap().unsafe_head().number.as_u64(), 5);
    }
}
