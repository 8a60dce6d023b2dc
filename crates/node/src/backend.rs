//! Where blocks are made and checked, and where what must outlive the process goes.

use async_trait::async_trait;
use sequencer::Record;
use thiserror::Error;
use types::{Announcement, Attributes, BlockNumber, BlockRef, BuildId, Failure, Heads, L1Origin, Payload, Verdict};

/// Builds, seals, checks and stores blocks. A Starknet chain, an EVM chain and a remote engine look alike from here.
///
/// These are the verbs of the Engine API, because the least able implementer, a remote engine, can honour them. An embedded backend
/// holds its own mempool and takes transactions from it between [`Backend::open`] and [`Backend::seal`].
///
/// # How the driver calls it
/// One call at a time, in the order in which the heart asked, from one task. Every call has a deadline; when that passes, the future
/// is dropped and the heart hears [`Failure::Retry`]. So each method must leave the backend sound when it is dropped at any `await`,
/// must not block the thread (move long work elsewhere), and must give the same answer when it is called again: the heart repeats
/// what was not answered.
///
/// # What is durable when
/// The driver makes a sealed payload durable through [`Persistence`] *before* it announces, imports or publishes it. A backend need
/// not sync anything in [`Backend::import`] or [`Backend::set_heads`]: after a crash it brings itself up to the last persisted block
/// when it is opened, and [`Backend::heads`] then names that block.
///
/// `node::conformance` (feature `conformance`) tests all of this on any backend.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Starts a block on `attributes.parent`, which must be the unsafe head or a block that was imported on it.
    ///
    /// The same build and attributes again: no effect. Another build while one is open: the older one is cancelled first.
    ///
    /// # Errors
    /// [`BackendError::Reset`] when the parent is not known or the timestamp is not above the parent's.
    async fn open(&self, build: BuildId, attributes: Attributes) -> Result<(), BackendError>;

    /// Closes the build. The payload is not part of the chain yet, and may never be.
    ///
    /// Repeated for the same build, also after a failure or a dropped call, it yields the identical payload, until the build is
    /// cancelled or its block has become the unsafe head.
    ///
    /// # Errors
    /// [`BackendError::Reset`] when there is no such build.
    async fn seal(&self, build: BuildId) -> Result<Sealed, BackendError>;

    /// Gives up a build, sealed or not: its transactions go back to the pool. No effect when there is no such build, and none on a
    /// block that is part of the chain.
    async fn cancel(&self, build: BuildId);

    /// Executes the payload, checks every claim of its header and stores it. Whether it becomes part of the chain is said by
    /// [`Backend::set_heads`]. For a payload that this backend sealed itself nothing is executed again.
    ///
    /// # Errors
    /// Only when nothing could be judged. A bad block is [`Verdict::Invalid`], an unknown parent [`Verdict::ParentUnknown`].
    async fn import(&self, payload: &Payload) -> Result<Verdict, BackendError>;

    /// Makes these the heads of the chain: readers see the unsafe head as the newest block from now on, and what it includes leaves the
    /// pool. The same heads again: no effect.
    ///
    /// # Errors
    /// [`BackendError::Reset`] when the unsafe head was not imported.
    async fn set_heads(&self, heads: Heads) -> Result<(), BackendError>;

    /// Where the chain stands.
    ///
    /// # Errors
    /// When that cannot be told now.
    async fn heads(&self) -> Result<Heads, BackendError>;

    /// The L1 block that this block cites; `None` if it cites none. Asked only where the chain cites L1
    /// ([`sequencer::Config::origins`]), and only after a start or a reset: afterwards payloads say it. It is a question of its own, and
    /// no part of [`Backend::heads`], because a backend whose chain cites nothing should not have to know of it.
    ///
    /// # Errors
    /// [`BackendError::Reset`] when there is no such block.
    async fn origin_of(&self, block: BlockRef) -> Result<Option<L1Origin>, BackendError> {
        let _ = block;
        Ok(None)
    }
}

/// What came of [`Backend::seal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// A block.
    Payload(Payload),
    /// The build is empty and this chain seals no empty blocks. The build is over.
    Nothing,
}

/// Why a backend did not do what it was asked, named by what the driver must do. The reason is for people: it names the thing, the
/// value and, where there is one, the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BackendError {
    /// Passing: busy, unreachable, timed out. Whether the call took effect may be unknown. Call again.
    #[error("{0} (will be tried again)")]
    Retry(String),
    /// The caller's picture is out of date. Ask for the heads, then decide anew.
    #[error("{0} (the heads will be asked for again)")]
    Reset(String),
    /// Nothing helps but stopping: the disk failed, or what it holds does not fit together.
    #[error("{0}")]
    Fatal(String),
}

impl BackendError {
    /// The same as the heart hears it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Retry(_) => Failure::Retry,
            Self::Reset(_) => Failure::Reset,
            Self::Fatal(_) => Failure::Fatal,
        }
    }
}

/// Where records go that must outlive the process. The chain's own block log, usually on [`store::Log`].
///
/// The driver awaits it before it performs the next effect, so nothing is announced, imported or vowed that a crash could undo. The
/// records given here, in order, are what [`sequencer::Memory`] is made from at the next start.
///
/// A [`Record::Payload`] carries the body in memory only: an implementer that stores payloads encodes `payload.body` itself, since the
/// serialised form of a payload leaves it out.
#[async_trait]
pub trait Persistence: Send + Sync + 'static {
    /// Returns when the record is durable. Called one at a time, in order. The same record may come again after a restart.
    ///
    /// # Errors
    /// When it is not, or not certain to be. The driver then stops the process with the reason.
    async fn persist(&self, record: &Record) -> Result<(), PersistError>;

    /// Decided payloads of this range, as many as are held. Nothing by default.
    async fn fetch(&self, from: BlockNumber, to: BlockNumber) -> Vec<Announcement> {
        let _ = (from, to);
        Vec::new()
    }
}

/// A record could not be made durable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot make a record durable: {reason}")]
pub struct PersistError {
    /// Why, for people.
    pub reason: String,
}

impl From<store::AppendError> for PersistError {
    fn from(error: store::AppendError) -> Self {
        Self { reason: error.to_string() }
    }
}
