//! The chain as the driver sees it.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use async_trait::async_trait;
use node::{Backend, BackendError, PersistError, Persistence, Sealed};
use parking_lot::Mutex;
use sequencer::Record;
use types::{Announcement, Attributes, BlockNumber, BuildId, Heads, Payload, Slot, Timestamp, Verdict};

use crate::block::block_ref;
use crate::build::Making;
use crate::chain::{Chain, ChainError, Staged};
use crate::execute::BlockAttributes;
use crate::pool::Pool;
use crate::{At, Edit, Snapshot, StateView};

/// What the safe and the finalized block are remembered as.
const SAFE: &str = "safe";
const FINALIZED: &str = "finalized";
/// Blocks given out by one [`Persistence::fetch`] at most.
const FETCH_MAX: u64 = 64;

/// What every block of this sequencer says.
#[derive(Clone, Debug)]
pub struct BlockPolicy {
    /// Who earns the tips.
    pub beneficiary: Address,
    /// Gas of a block.
    pub gas_limit: u64,
    /// Free bytes of the header, at most 32. On a chain of the OP Stack they are not free: they keep the parent's fee parameters.
    pub extra_data: Bytes,
    /// Seal blocks without transactions?
    pub empty_blocks: bool,
}

/// An EVM chain with its pool, behind [`Backend`] and [`Persistence`].
#[derive(Clone, Debug)]
pub struct EvmBackend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    chain: Chain,
    pool: Pool,
    policy: BlockPolicy,
    builds: Mutex<Builds>,
    heads: Mutex<Heads>,
}

/// What is being built. One of both at a time: they take transactions from the same pool.
#[derive(Debug, Default)]
struct Builds {
    open: Option<Build>,
    /// Begun for an `open` that is expected with these attributes.
    expected: Option<(Attributes, Making)>,
}

/// The one build.
#[derive(Debug)]
struct Build {
    id: BuildId,
    attributes: Attributes,
    /// What works at it until it is sealed.
    making: Option<Making>,
    outcome: Option<Outcome>,
    /// Its block was imported, and stays known when the build is given up.
    imported: bool,
}

/// What sealing gave: repeated when asked again.
#[derive(Clone)]
enum Outcome {
    Block(Arc<Staged>),
    Nothing,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(staged) => write!(f, "Block({})", staged.header().number),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}

impl EvmBackend {
    /// Builds on `chain` from `pool`.
    pub fn new(chain: Chain, pool: Pool, policy: BlockPolicy) -> Self {
        let heads = Mutex::new(heads_of(&chain));
        Self { inner: Arc::new(Inner { chain, pool, policy, builds: Mutex::default(), heads }) }
    }

    /// Changes the state at the end of the newest block, as only a development chain allows. Durable when it returns.
    ///
    /// # Errors
    /// When log or tables cannot be written.
    pub async fn edit(&self, edits: Vec<Edit>) -> Result<(), ChainError> {
        self.beside(move |inner| inner.beside_builds(|| inner.chain.edit(&edits))).await
    }

    /// This moment, to go back to with [`EvmBackend::revert`].
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub async fn snapshot(&self) -> Result<Snapshot, ChainError> {
        self.beside(|inner| inner.chain.snapshot()).await
    }

    /// Goes back to an earlier moment of this chain: blocks and edits since then are gone, and their transactions with them. `false` when that
    /// moment is not part of the chain's past any more.
    ///
    /// # Errors
    /// When log or tables cannot be written.
    pub async fn revert(&self, to: Snapshot) -> Result<bool, ChainError> {
        self.beside(move |inner| {
            inner.beside_builds(|| {
                let went = inner.chain.revert(to)?;
                if went {
                    *inner.heads.lock() = heads_of(&inner.chain);
                    inner.pool.restore(Vec::new())?;
                }
                Ok(went)
            })
        })
        .await
    }

    /// Begins the next block ahead of the order to open it, as it will be if it is dated so: what piles up in the pool until then is executed
    /// already. Where the order says otherwise, or the state is edited before, nothing comes of it. No effect while a build is open.
    ///
    /// # Errors
    /// When the tables cannot be read, or there is no thread to build on.
    pub async fn expect(&self, date: Timestamp) -> Result<(), BackendError> {
        self.blocking(move |inner| inner.expect(date)).await
    }

    /// No block is expected any more: what was executed for it is the pool's again.
    pub async fn expect_nothing(&self) {
        let done = self.blocking(|inner| {
            inner.builds.lock().expected = None;
            Ok(())
        });
        // Only the runtime's end can fail it, and then nothing is expected any more.
        let _ = done.await;
    }

    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, ChainError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(ChainError::Execution(format!("a task of the EVM chain ended badly: {error}"))))
    }

    /// Runs work that blocks off the async threads. Dropping the future does not stop it; all of it can be repeated.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(BackendError::Fatal(format!("a task of the EVM chain ended badly: {error}"))),
        }
    }
}

#[async_trait]
impl Backend for EvmBackend {
    async fn open(&self, build: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        self.blocking(move |inner| inner.open(build, attributes)).await
    }

    async fn seal(&self, build: BuildId) -> Result<Sealed, BackendError> {
        self.blocking(move |inner| inner.seal(build)).await
    }

    async fn cancel(&self, build: BuildId) {
        let done = self.blocking(move |inner| {
            inner.give_up(&mut inner.builds.lock(), Some(build));
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
impl Persistence for EvmBackend {
    async fn persist(&self, record: &Record) -> Result<(), PersistError> {
        let Record::Payload(payload) = record else {
            return Err(PersistError {
                reason: "an EVM chain keeps blocks alone, and no vows of a committee yet".into(),
            });
        };
        let payload = payload.clone();
        let persisted = self.blocking(move |inner| inner.chain.persist(&payload).map(drop).map_err(fatal)).await;
        persisted.map_err(|error| PersistError { reason: error.to_string() })
    }

    async fn fetch(&self, from: BlockNumber, to: BlockNumber) -> Vec<Announcement> {
        self.blocking(move |inner| Ok(inner.fetch(from, to))).await.unwrap_or_default()
    }
}

impl Inner {
    fn open(&self, id: BuildId, attributes: Attributes) -> Result<(), BackendError> {
        let mut builds = self.builds.lock();
        if builds.open.as_ref().is_some_and(|build| build.id == id && build.attributes == attributes) {
            return Ok(());
        }
        let parent = self.parent(&attributes)?;
        if attributes.timestamp.as_secs() <= parent.header().timestamp {
            return Err(BackendError::Reset("the time asked for is not above the parent's".into()));
        }
        self.give_up(&mut builds, None);
        // Which slot it is for is decided when it is sealed.
        let expected = builds
            .expected
            .take()
            .filter(|(expected, _)| Attributes { slot: attributes.slot, ..*expected } == attributes);
        let making = Some(match expected {
            Some((_, making)) => making,
            None => self.begin(attributes, parent)?,
        });
        builds.open = Some(Build { id, attributes, making, outcome: None, imported: false });
        Ok(())
    }

    fn seal(&self, id: BuildId) -> Result<Sealed, BackendError> {
        let mut builds = self.builds.lock();
        let Some(build) = builds.open.as_mut().filter(|build| build.id == id) else {
            return Err(BackendError::Reset(format!("there is no open build {id}")));
        };
        if build.outcome.is_none() {
            // The chain may have gone back since it was begun.
            let parent = self.parent(&build.attributes)?;
            let making = match build.making.take() {
                Some(making) => making,
                // An earlier attempt to seal it failed.
                None => self.begin(build.attributes, parent)?,
            };
            build.outcome = Some(self.finish(making, build.attributes.slot)?);
        }
        Ok(match &build.outcome {
            Some(Outcome::Block(staged)) => Sealed::Payload(staged.payload.clone()),
            Some(Outcome::Nothing) | None => Sealed::Nothing,
        })
    }

    fn expect(&self, date: Timestamp) -> Result<(), BackendError> {
        let mut builds = self.builds.lock();
        if builds.open.is_some() {
            return Ok(());
        }
        builds.expected = None;
        let head = self.chain.head();
        let timestamp = Timestamp::from_secs(date.as_secs().max(head.timestamp.saturating_add(1)));
        let (slot, parent) = (Slot::new(head.number.saturating_add(1)), block_ref(&head));
        let attributes = Attributes { slot, parent, timestamp, origin: None, use_pool: true };
        let making = self.begin(attributes, self.parent(&attributes)?)?;
        builds.expected = Some((attributes, making));
        Ok(())
    }

    /// Begins a block: what piles up in the pool until it is sealed is executed ahead.
    fn begin(&self, attributes: Attributes, parent: StateView) -> Result<Making, BackendError> {
        let hash = parent.header().seal();
        let timestamp = attributes.timestamp.as_secs();
        let block = BlockAttributes {
            timestamp,
            beneficiary: self.policy.beneficiary,
            // Nobody can foresee it longer than the block before is known, and whoever executes the block again finds it in its header.
            prev_randao: keccak256([hash.as_slice(), &timestamp.to_be_bytes()].concat()),
            gas_limit: self.policy.gas_limit,
            base_fee: None,
            extra_data: match self.chain.spec().rollup() {
                Some(rollup) => rollup.kept_extra_data(parent.header(), timestamp),
                None => self.policy.extra_data.clone(),
            },
            parent_beacon_block_root: B256::ZERO,
        };
        Making::begin(&self.chain, &self.pool, parent, block, attributes.use_pool).map_err(fatal)
    }

    /// Completes the block.
    fn finish(&self, making: Making, slot: Slot) -> Result<Outcome, BackendError> {
        let staged = making.finish(slot).map_err(fatal)?;
        if staged.transactions().is_empty() && !self.policy.empty_blocks {
            return Ok(Outcome::Nothing);
        }
        self.chain.stage(Arc::clone(&staged));
        Ok(Outcome::Block(staged))
    }

    /// The state that a block with these attributes stands on.
    fn parent(&self, attributes: &Attributes) -> Result<StateView, BackendError> {
        let parent = self.chain.state_of(B256::from(*attributes.parent.hash.as_bytes())).map_err(fatal)?;
        parent.ok_or_else(|| {
            let (parent, head) = (attributes.parent, self.chain.head());
            let text = format!("asked to build on block {} {}, which is not known", parent.number, parent.hash);
            BackendError::Reset(format!("{text}; the head is block {} {}", head.number, head.seal()))
        })
    }

    /// Ends the build (`id`, or any): if its block is not part of the chain, its transactions go back to the pool.
    fn give_up(&self, builds: &mut Builds, id: Option<BuildId>) {
        let Some(given_up) = builds.open.take_if(|build| id.is_none_or(|id| id == build.id)) else { return };
        let Some(Outcome::Block(staged)) = given_up.outcome else { return };
        if staged.header().number <= self.chain.head().number {
            return;
        }
        if !given_up.imported {
            self.chain.unstage(staged.header().seal());
        }
        self.pool.returned(&staged.hashes());
    }

    fn import(&self, payload: &Payload) -> Result<Verdict, BackendError> {
        let hash = B256::from(*payload.block.hash.as_bytes());
        if self.chain.staged(hash).is_some_and(|staged| staged.payload.body == payload.body) {
            if let Some(build) = &mut self.builds.lock().open {
                build.imported |=
                    matches!(&build.outcome, Some(Outcome::Block(sealed)) if sealed.header().seal() == hash);
            }
            return Ok(Verdict::Valid);
        }
        if self.chain.header(At::Hash(hash)).map_err(fatal)?.is_some() {
            return Ok(Verdict::Valid);
        }
        let parent = self.chain.state_of(B256::from(*payload.block.parent.as_bytes())).map_err(fatal)?;
        let Some(parent) = parent else { return Ok(Verdict::ParentUnknown) };
        match self.chain.execute(parent, payload).map_err(fatal)? {
            Some(staged) if staged.payload.block == payload.block => {
                self.chain.stage(staged);
                Ok(Verdict::Valid)
            }
            _ => Ok(Verdict::Invalid),
        }
    }

    fn set_heads(&self, heads: Heads) -> Result<(), BackendError> {
        let wanted = B256::from(*heads.unsafe_head().hash.as_bytes());
        if wanted != self.chain.head().seal() {
            self.lead_to(wanted)?;
            let ours = |build: &mut Build| matches!(&build.outcome, Some(Outcome::Block(sealed)) if sealed.header().seal() == wanted);
            self.builds.lock().open.take_if(ours);
        }
        let mut known = self.heads.lock();
        let labels =
            [(SAFE, known.safe_head(), heads.safe_head()), (FINALIZED, known.finalized_head(), heads.finalized_head())];
        for (name, _, now) in labels.into_iter().filter(|(_, before, now)| before != now) {
            self.chain.put_label(name, B256::from(*now.hash.as_bytes())).map_err(fatal)?;
        }
        *known = heads;
        Ok(())
    }

    /// Makes this block the head, with all that lie between it and the chain.
    fn lead_to(&self, wanted: B256) -> Result<(), BackendError> {
        if let Some(header) = self.chain.header(At::Hash(wanted)).map_err(fatal)? {
            let gone = self.chain.retreat(&header).map_err(fatal)?;
            return self.pool.restore(gone).map_err(fatal);
        }
        let mut path = Vec::new();
        let mut next = wanted;
        while self.chain.header(At::Hash(next)).map_err(fatal)?.is_none() {
            let staged = self.chain.staged(next);
            let staged = staged.ok_or_else(|| BackendError::Reset(format!("block {next} was not imported")))?;
            next = staged.header().parent_hash;
            path.push(staged);
        }
        for staged in path.into_iter().rev() {
            let (block, gone) = self.chain.advance(&staged).map_err(fatal)?;
            if !gone.is_empty() {
                self.pool.restore(gone).map_err(fatal)?;
            }
            self.pool.included(&staged.hashes(), self.chain.next_base_fee(&block.header));
        }
        Ok(())
    }

    /// Does something to the chain while no build is open or expected: one that is, is given up.
    fn beside_builds<T>(&self, work: impl FnOnce() -> Result<T, ChainError>) -> Result<T, ChainError> {
        let mut builds = self.builds.lock();
        self.give_up(&mut builds, None);
        builds.expected = None;
        work()
    }

    fn fetch(&self, from: BlockNumber, to: BlockNumber) -> Vec<Announcement> {
        let from = from.as_u64().max(self.chain.first() + 1);
        let last = to.as_u64().min(self.chain.head().number).min(from.saturating_add(FETCH_MAX));
        (from..=last)
            .map_while(|number| self.chain.payload(number).ok().flatten())
            .map(|payload| Announcement { payload, certificate: None })
            .collect()
    }
}

/// Where the chain stands, as far as it was told before.
fn heads_of(chain: &Chain) -> Heads {
    let head = block_ref(&chain.head());
    // Of a chain that was told nothing, genesis is safe and final.
    let genesis = || chain.header(At::Number(chain.first())).ok().flatten();
    let label = |name| chain.label(name).ok().flatten().or_else(genesis).map(|header| block_ref(&header));
    let (safe, finalized) = (label(SAFE).unwrap_or(head), label(FINALIZED).unwrap_or(head));
    Heads::new(head, safe, finalized).unwrap_or(Heads::at(head))
}

fn fatal(error: ChainError) -> BackendError {
    BackendError::Fatal(error.to_string())
}
