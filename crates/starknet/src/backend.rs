//! The chain as the driver sees it.

use std::sync::Arc;

use async_trait::async_trait;
use node::{Backend, BackendError, PersistError, Persistence, Sealed};
use parking_lot::Mutex;
use sequencer::Record;
use starknet_api::block::{BlockNumber, BlockTimestamp};
use types::{Announcement, Attributes, BlockNumber as Height, BuildId, Heads, Payload, Verdict};

use crate::block::Block;
use crate::builder::{Builder, Opening, SealError};
use crate::chain::{Chain, ChainError, Staged, block_ref, felt_hash};
use crate::source::TransactionSource;
use crate::view::At;

/// A Starknet chain with its builder, behind [`Backend`] and [`Persistence`].
#[derive(Clone)]
pub struct StarknetBackend {
    inner: Arc<Inner>,
}

struct Inner {
    chain: Chain,
    builder: Builder,
    source: Arc<dyn TransactionSource>,
    seal_empty: bool,
    sealed: Mutex<Option<(BuildId, Outcome)>>,
    heads: Mutex<Heads>,
}

/// What sealing the last build gave: repeated when asked again.
#[derive(Clone)]
enum Outcome {
    Block(Arc<Staged>),
    Nothing,
}

impl std::fmt::Debug for StarknetBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StarknetBackend").field("chain", &self.inner.chain).finish_non_exhaustive()
    }
}

impl StarknetBackend {
    /// Starts building on `chain` from `source`. With `seal_empty` off, a build without transactions yields no block.
    ///
    /// # Errors
    /// When the builder's threads cannot be started.
    pub fn start(chain: Chain, source: Arc<dyn TransactionSource>, seal_empty: bool) -> Result<Self, ChainError> {
        let builder = Builder::start(chain.clone(), Arc::clone(&source))?;
        let heads = Mutex::new(Heads::at(block_ref(&chain.head())));
        let inner = Inner { chain, builder, source, seal_empty, sealed: Mutex::new(None), heads };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The chain behind it.
    pub fn chain(&self) -> &Chain {
        &self.inner.chain
    }

    /// Runs work that blocks off the async threads. Dropping the future does not stop it; all of it can be repeated.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(BackendError::Fatal(format!("a task of the Starknet chain ended badly: {error}"))),
        }
    }
}

#[async_trait]
impl Backend for StarknetBackend {
    async fn open(&self, build: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        self.blocking(move |inner| inner.open(build, &attributes)).await
    }

    async fn seal(&self, build: BuildId) -> Result<Sealed, BackendError> {
        self.blocking(move |inner| inner.seal(build)).await
    }

    async fn cancel(&self, build: BuildId) {
        let done = self.blocking(move |inner| {
            inner.cancel(build);
            Ok(())
        });
        // Only the runtime's end can fail it, and then nothing is open any more.
        let _ = done.await;
    }

    async fn import(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        let payload = payload.clone();
        self.blocking(move |inner| inner.import(&payload)).await
    }

    async fn set_heads(&self, heads: Heads) -> Result<(), BackendError> {
        self.blocking(move |inner| inner.set_heads(heads)).await
    }

    async fn heads(&self) -> Result<Heads, BackendError> {
        Ok(*self.inner.heads.lock())
    }
}

#[async_trait]
impl Persistence for StarknetBackend {
    async fn persist(&self, record: &Record) -> Result<(), PersistError> {
        let record = record.clone();
        let persisted = self.blocking(move |inner| inner.chain.persist(&record).map_err(fatal)).await;
        persisted.map_err(|error| PersistError { reason: error.to_string() })
    }

    async fn fetch(&self, from: Height, to: Height) -> Vec<Announcement> {
        let fetched = self.blocking(move |inner| Ok(inner.fetch(from, to))).await;
        fetched.unwrap_or_default()
    }
}

/// Blocks given out by one [`Persistence::fetch`] at most.
const FETCH_MAX: u64 = 64;

impl Inner {
    fn open(&self, build: BuildId, attributes: &Attributes) -> Result<(), BackendError> {
        let head = self.chain.head();
        let parent = felt_hash(attributes.parent.hash);
        if parent != head.hash {
            return if self.chain.staged(parent).is_some() {
                Err(BackendError::Retry(format!("block {} is imported but not the head yet", attributes.parent.number)))
            } else {
                Err(BackendError::Reset(format!(
                    "asked to build on block {} {}, the head is block {} {:#x}",
                    attributes.parent.number, attributes.parent.hash, head.number, head.hash.0
                )))
            };
        }
        if attributes.timestamp <= attributes.parent.timestamp {
            return Err(BackendError::Reset("the time asked for is not above the parent's".into()));
        }
        let sealed = self.sealed.lock().as_ref().map(|(sealed, _)| *sealed);
        if sealed == Some(build) {
            return Ok(());
        }
        self.release(None);
        let opening = Opening {
            build,
            slot: attributes.slot,
            timestamp: BlockTimestamp(attributes.timestamp.as_secs()),
            use_pool: attributes.use_pool,
        };
        self.builder.open(opening).map_err(fatal)
    }

    fn seal(&self, build: BuildId) -> Result<Sealed, BackendError> {
        let mut sealed = self.sealed.lock();
        if let Some((known, outcome)) = sealed.as_ref()
            && *known == build
        {
            return Ok(answer(outcome));
        }
        let outcome = match self.builder.seal(build, self.seal_empty) {
            Ok(Some(staged)) => {
                self.chain.stage(Arc::clone(&staged));
                Outcome::Block(staged)
            }
            Ok(None) => Outcome::Nothing,
            Err(SealError::Unknown) => return Err(BackendError::Reset(format!("there is no open build {build}"))),
            Err(SealError::Failed(error)) => return Err(fatal(error)),
        };
        let given = answer(&outcome);
        *sealed = Some((build, outcome));
        Ok(given)
    }

    fn cancel(&self, build: BuildId) {
        self.builder.cancel(build);
        self.release(Some(build));
    }

    /// Gives up the sealed block that was not decided (of `build`, or any): its transactions go back to the source.
    fn release(&self, build: Option<BuildId>) {
        let mut sealed = self.sealed.lock();
        let given_up = sealed.take_if(|(sealed, _)| build.is_none_or(|build| build == *sealed));
        drop(sealed);
        let Some((_, Outcome::Block(staged))) = given_up else { return };
        if staged.body.header.number <= self.chain.head().number {
            return;
        }
        self.chain.unstage(staged.body.header.hash);
        self.source.returned(staged.ready.clone());
    }

    fn import(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        let hash = felt_hash(payload.block.hash);
        if self.chain.staged(hash).is_some_and(|staged| staged.payload.body == payload.body) {
            return Ok(Verdict::Valid);
        }
        let head = self.chain.head();
        if self.chain.header(At::Hash(hash)).map_err(fatal)?.is_some() {
            return Ok(Verdict::Valid);
        }
        if felt_hash(payload.block.parent) != head.hash {
            return Ok(Verdict::ParentUnknown);
        }
        match self.chain.execute(payload).map_err(fatal)? {
            Some(staged) => {
                self.chain.stage(staged);
                Ok(Verdict::Valid)
            }
            None => Ok(Verdict::Invalid),
        }
    }

    fn set_heads(&self, heads: Heads) -> Result<(), BackendError> {
        let wanted = felt_hash(heads.unsafe_head().hash);
        if wanted != self.chain.head().hash {
            let staged = self
                .chain
                .staged(wanted)
                .ok_or_else(|| BackendError::Reset(format!("block {} was not imported", heads.unsafe_head().number)))?;
            let block = self.chain.advance(&staged).map_err(fatal)?;
            self.forget(&staged, &block);
        }
        *self.heads.lock() = heads;
        Ok(())
    }

    /// The block is part of the chain: the pool may forget what it includes.
    fn forget(&self, staged: &Staged, block: &Block) {
        let hashes: Vec<_> = block.transactions.iter().map(|transaction| transaction.hash).collect();
        self.source.included(block.header.number, &hashes);
        let ours = |(_, outcome): &mut (BuildId, Outcome)| matches!(outcome, Outcome::Block(sealed) if sealed.body.header.hash == staged.body.header.hash);
        self.sealed.lock().take_if(ours);
    }

    fn fetch(&self, from: Height, to: Height) -> Vec<Announcement> {
        let last = to.as_u64().min(self.chain.head().number.0).min(from.as_u64().saturating_add(FETCH_MAX));
        (from.as_u64()..=last)
            .map_while(|number| self.chain.payload(BlockNumber(number)).ok().flatten())
            .map(|payload| Announcement { payload, certificate: None })
            .collect()
    }
}

fn answer(outcome: &Outcome) -> Sealed {
    match outcome {
        Outcome::Block(staged) => Sealed::Payload(staged.payload.clone()),
        Outcome::Nothing => Sealed::Nothing,
    }
}

fn fatal(error: ChainError) -> BackendError {
    BackendError::Fatal(error.to_string())
}
