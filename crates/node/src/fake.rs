//! A backend in memory that fails when told to: for tests of what drives a backend, and itself held to [`crate::conformance`].

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sequencer::{Memory, Record};
use types::{Attributes, BlockHash, BlockNumber, BlockRef, BuildId, Heads, L1Origin, Payload, Timestamp, Verdict};

use crate::{Backend, BackendError, PersistError, Persistence, Sealed};

/// The calls that can be made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// [`Backend::open`].
    Open,
    /// [`Backend::seal`].
    Seal,
    /// [`Backend::import`].
    Import,
    /// [`Backend::set_heads`].
    SetHeads,
    /// [`Backend::heads`].
    Heads,
    /// [`Backend::origin_of`].
    OriginOf,
    /// [`Persistence::persist`].
    Persist,
}

/// How one call goes.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// It takes effect and is answered after this long.
    Slow(Duration),
    /// It takes effect, and the answer is an error.
    Lost(BackendError),
    /// It does not take effect.
    Refused(BackendError),
}

/// A chain of blocks that hold numbers. Clones are the same chain.
#[derive(Clone, Debug, Default)]
pub struct FakeBackend(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    blocks: BTreeMap<BlockHash, BlockRef>,
    /// What blocks cite.
    origins: BTreeMap<BlockHash, L1Origin>,
    heads: Option<Heads>,
    pool: Vec<u64>,
    build: Option<Build>,
    seal_empty: bool,
    mishaps: BTreeMap<Verb, VecDeque<Mishap>>,
    /// What happened, in order: for tests of order.
    trace: Vec<String>,
    records: Vec<Record>,
}

#[derive(Debug)]
struct Build {
    id: BuildId,
    attributes: Attributes,
    taken: Vec<u64>,
    sealed: Option<Sealed>,
}

/// The block that every fake chain starts from.
#[must_use]
pub fn genesis() -> BlockRef {
    let timestamp = Timestamp::from_secs(1_700_000_000);
    BlockRef { number: BlockNumber::GENESIS, hash: hash(&"genesis"), parent: BlockHash::ZERO, timestamp }
}

fn hash(of: &impl Hash) -> BlockHash {
    let mut bytes = [0; 32];
    for (seed, chunk) in (0u64..).zip(bytes.chunks_exact_mut(8)) {
        let mut hasher = DefaultHasher::new();
        (seed, of).hash(&mut hasher);
        chunk.copy_from_slice(&hasher.finish().to_be_bytes());
    }
    BlockHash::new(bytes)
}

impl FakeBackend {
    /// A chain at genesis that seals empty blocks too.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State { seal_empty: true, ..State::default() })))
    }

    /// The same, but an empty build yields no block.
    #[must_use]
    pub fn without_empty_blocks() -> Self {
        Self::default()
    }

    /// Puts numbers into the pool.
    pub fn submit(&self, numbers: impl IntoIterator<Item = u64>) {
        self.0.lock().pool.extend(numbers);
    }

    /// Lets genesis cite this L1 block.
    pub fn begins_at(&self, origin: L1Origin) {
        self.0.lock().origins.insert(genesis().hash, origin);
    }

    /// What the blocks of the chain cite, genesis first.
    #[must_use]
    pub fn cited(&self) -> Vec<Option<L1Origin>> {
        let state = self.0.lock();
        let (mut cited, mut block) = (Vec::new(), Some(state.heads().unsafe_head()));
        while let Some(below) = block {
            cited.push(state.origins.get(&below.hash).copied());
            block = state.block(below.parent);
        }
        cited.reverse();
        cited
    }

    /// What waits in the pool.
    #[must_use]
    pub fn pool(&self) -> Vec<u64> {
        self.0.lock().pool.clone()
    }

    /// Lets the next calls of this kind go as said, one each.
    pub fn mishaps(&self, verb: Verb, mishaps: impl IntoIterator<Item = Mishap>) {
        self.0.lock().mishaps.entry(verb).or_default().extend(mishaps);
    }

    /// What happened so far, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.0.lock().trace.clone()
    }

    /// The newest block.
    #[must_use]
    pub fn head(&self) -> BlockRef {
        self.0.lock().heads().unsafe_head()
    }

    /// The backend as a new process finds it after this one was killed: decided and durable blocks are the chain, the open build's
    /// numbers are in the pool.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let state = self.0.lock();
        let mut pool: Vec<u64> = state.build.iter().flat_map(|build| build.taken.clone()).collect();
        pool.extend(&state.pool);
        let mut blocks = BTreeMap::new();
        let mut head = genesis();
        for record in &state.records {
            if let Record::Payload(payload) = record
                && payload.block.extends(&head)
            {
                head = payload.block;
                blocks.insert(head.hash, head);
                pool.retain(|number| !numbers(&payload.body).contains(number));
            }
        }
        let before = state.heads();
        let kept = Heads::new(head, before.safe_head(), before.finalized_head());
        let heads = Some(kept.unwrap_or_else(|_| Heads::at(head)));
        let records = state.records.clone();
        Self(Arc::new(Mutex::new(State {
            blocks,
            heads,
            pool,
            records,
            seal_empty: state.seal_empty,
            ..State::default()
        })))
    }

    /// Numbers that durable blocks hold, in order.
    #[must_use]
    pub fn included(&self) -> Vec<u64> {
        let state = self.0.lock();
        let mut head = genesis();
        let mut included = Vec::new();
        for record in &state.records {
            if let Record::Payload(payload) = record
                && payload.block.extends(&head)
            {
                head = payload.block;
                included.extend(numbers(&payload.body));
            }
        }
        included
    }

    /// What the records say.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for record in &self.0.lock().records {
            memory.remember(record.clone());
        }
        memory
    }

    /// Goes through a call as its next mishap says.
    async fn go<T>(
        &self,
        verb: Verb,
        call: impl FnOnce(&mut State) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mishap = self.0.lock().mishaps.get_mut(&verb).and_then(VecDeque::pop_front);
        match mishap {
            None => call(&mut self.0.lock()),
            Some(Mishap::Slow(delay)) => {
                let result = call(&mut self.0.lock());
                tokio::time::sleep(delay).await;
                result
            }
            Some(Mishap::Lost(error)) => call(&mut self.0.lock()).and(Err(error)),
            Some(Mishap::Refused(error)) => Err(error),
        }
    }
}

impl State {
    fn heads(&self) -> Heads {
        self.heads.unwrap_or_else(|| Heads::at(genesis()))
    }

    fn knows(&self, block: BlockHash) -> bool {
        block == genesis().hash || self.blocks.contains_key(&block)
    }

    fn release(&mut self) {
        if let Some(build) = self.build.take() {
            self.pool.splice(0..0, build.taken);
        }
    }

    fn open(&mut self, id: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        if !self.knows(attributes.parent.hash) {
            return Err(BackendError::Reset(format!("block {} is not known", attributes.parent.number)));
        }
        if attributes.timestamp <= attributes.parent.timestamp {
            return Err(BackendError::Reset("the time is not above the parent's".to_owned()));
        }
        if self.build.as_ref().is_some_and(|build| build.id == id) {
            return Ok(());
        }
        self.release();
        let taken = if attributes.use_pool { std::mem::take(&mut self.pool) } else { Vec::new() };
        self.trace.push(format!("open {}", attributes.parent.number.next()));
        self.build = Some(Build { id, attributes, taken, sealed: None });
        Ok(())
    }

    fn seal(&mut self, id: BuildId) -> Result<Sealed, BackendError> {
        let seal_empty = self.seal_empty;
        let Some(build) = self.build.as_mut().filter(|build| build.id == id) else {
            return Err(BackendError::Reset(format!("there is no build {id}")));
        };
        if build.sealed.is_none() {
            // What came since the block was opened goes in too.
            build.taken.append(&mut self.pool);
        }
        let (taken, attributes) = (&build.taken, build.attributes);
        let sealed = build.sealed.get_or_insert_with(|| {
            if taken.is_empty() && !seal_empty {
                return Sealed::Nothing;
            }
            let body: Bytes = taken.iter().flat_map(|number| number.to_be_bytes()).collect();
            Sealed::Payload(Payload {
                slot: attributes.slot,
                block: block_of(&attributes.parent, attributes.timestamp, &body),
                origin: attributes.origin,
                body,
            })
        });
        let sealed = sealed.clone();
        if let Sealed::Payload(payload) = &sealed {
            self.trace.push(format!("seal {}", payload.block.number));
        }
        Ok(sealed)
    }

    fn import(&mut self, payload: &Payload) -> Verdict {
        let Some(parent) = self.block(payload.block.parent) else { return Verdict::ParentUnknown };
        if block_of(&parent, payload.block.timestamp, &payload.body) != payload.block {
            return Verdict::Invalid;
        }
        self.trace.push(format!("import {}", payload.block.number));
        self.blocks.insert(payload.block.hash, payload.block);
        self.origins.extend(payload.origin.map(|origin| (payload.block.hash, origin)));
        let included = numbers(&payload.body);
        self.pool.retain(|number| !included.contains(number));
        Verdict::Valid
    }

    fn block(&self, hash: BlockHash) -> Option<BlockRef> {
        if hash == genesis().hash { Some(genesis()) } else { self.blocks.get(&hash).copied() }
    }

    fn set_heads(&mut self, heads: Heads) -> Result<(), BackendError> {
        let head = heads.unsafe_head();
        if !self.knows(head.hash) {
            return Err(BackendError::Reset(format!("block {} was not imported", head.number)));
        }
        self.trace.push(format!("heads {}", head.number));
        self.heads = Some(heads);
        let ours = self
            .build
            .as_ref()
            .is_some_and(|build| matches!(&build.sealed, Some(Sealed::Payload(payload)) if payload.block == head));
        if ours {
            self.build = None;
        }
        Ok(())
    }
}

/// Numbers that a body holds.
#[must_use]
pub fn numbers(body: &[u8]) -> Vec<u64> {
    body.chunks_exact(8).map(|chunk| chunk.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))).collect()
}

fn block_of(parent: &BlockRef, timestamp: Timestamp, body: &[u8]) -> BlockRef {
    let number = parent.number.next();
    BlockRef { number, hash: hash(&(parent.hash, timestamp, body)), parent: parent.hash, timestamp }
}

#[async_trait]
impl Backend for FakeBackend {
    async fn open(&self, build: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        self.go(Verb::Open, |state| state.open(build, attributes)).await
    }

    async fn seal(&self, build: BuildId) -> Result<Sealed, BackendError> {
        self.go(Verb::Seal, |state| state.seal(build)).await
    }

    async fn cancel(&self, build: BuildId) {
        let mut state = self.0.lock();
        if state.build.as_ref().is_some_and(|open| open.id == build) {
            state.trace.push(format!("cancel {build}"));
            state.release();
        }
    }

    async fn import(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        self.go(Verb::Import, |state| Ok(state.import(payload))).await
    }

    async fn set_heads(&self, heads: Heads) -> Result<(), BackendError> {
        self.go(Verb::SetHeads, |state| state.set_heads(heads)).await
    }

    async fn heads(&self) -> Result<Heads, BackendError> {
        self.go(Verb::Heads, |state| Ok(state.heads())).await
    }

    async fn origin_of(&self, block: BlockRef) -> Result<Option<L1Origin>, BackendError> {
        self.go(Verb::OriginOf, |state| {
            if state.knows(block.hash) {
                return Ok(state.origins.get(&block.hash).copied());
            }
            Err(BackendError::Reset(format!("block {} is not known", block.number)))
        })
        .await
    }
}

#[async_trait]
impl Persistence for FakeBackend {
    async fn persist(&self, record: &Record) -> Result<(), PersistError> {
        let persisted = self.go(Verb::Persist, |state| {
            if let Record::Payload(payload) = record {
                state.trace.push(format!("persist {}", payload.block.number));
            }
            state.records.push(record.clone());
            Ok(())
        });
        persisted.await.map_err(|error| PersistError { reason: error.to_string() })
    }
}
