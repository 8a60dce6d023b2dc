//! All that the heart can ask for.

use serde::{Deserialize, Serialize};
use types::{
    Announcement, Attestation, Attributes, BlockNumber, BlockRef, BuildId, Certificate, Heads, Payload, Proposal, Vow,
};

use crate::origin::Lookup;
use crate::{Peer, QueryId};

/// An order to the driver. Performed in the order given; where an event answers it, the driver answers every single one, with a
/// failure if its own deadline for the call passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Start a block. Answered by `Opened` or `OpenFailed`. The same build may be ordered again after a failure.
    Open {
        /// The build's name from now on.
        build: BuildId,
        /// What to build.
        attributes: Attributes,
    },
    /// Close a build. Answered by `Sealed`, `NothingToSeal` or `SealFailed`. Ordered again after a failure: the same build must
    /// yield the same payload.
    Seal {
        /// The build.
        build: BuildId,
    },
    /// The build, sealed or not, will not become part of the chain: its transactions go back to the pool. Not answered.
    Cancel {
        /// The build.
        build: BuildId,
    },

    /// Make this durable before the next effect starts. Not answered: a driver that cannot persist must stop.
    Persist(Record),

    /// Give the payload to the conductor. Answered by `Committed` or `CommitFailed`.
    Commit(Payload),
    /// Sign and send our proposal. Not answered. Repeated until the slot is over or decided.
    Propose(Proposal),
    /// Sign and send our vow, and bring it back as `Attested`. Repeated like proposals.
    Attest(Attestation),
    /// Send a decided payload to whoever follows. Not answered.
    Announce(Announcement),

    /// Execute and store a payload, ours or another's. Answered by `Imported` or `ImportFailed`.
    Import(Payload),
    /// Make these the heads of the chain. Answered by `HeadsSet` or `SetHeadsFailed`.
    SetHeads(Heads),
    /// A block that we led is part of the chain: hand it to whoever lands it on L1 and tells subscribers. Not answered.
    Publish(Announcement),

    /// Get decided payloads from the own log, the conductor or peers. Answered by `Fetched`.
    Fetch {
        /// Lowest height wanted.
        from: BlockNumber,
        /// Highest height wanted; at most [`crate::PARKED_MAX`] heights in all.
        to: BlockNumber,
    },
    /// Ask the backend where its chain stands. Answered by `HeadsTold` or `AskFailed`.
    AskHeads {
        /// To be repeated in the answer.
        query: QueryId,
    },
    /// Ask the conductor for its newest block. Answered by `ConductorTold` or `AskFailed`.
    AskConductor {
        /// To be repeated in the answer.
        query: QueryId,
    },

    /// Ask the backend which L1 block this block cites. Answered by `OriginTold` or `AskFailed`. Asked where no payload said it:
    /// after a start and after a reset.
    AskOrigin {
        /// To be repeated in the answer.
        query: QueryId,
        /// The block, the backend's unsafe head.
        block: BlockRef,
    },
    /// Look a block up on L1. Answered by `L1Found` or `LookUpFailed`. Whoever answers says how deep a height must lie below L1's
    /// head to be found; a hash is found wherever it is.
    LookUp {
        /// To be repeated in the answer.
        query: QueryId,
        /// Which block.
        lookup: Lookup,
    },

    /// A peer sent what no correct one sends. Not answered.
    Penalize {
        /// Who brought it.
        peer: Peer,
        /// What is wrong with it.
        offence: Offence,
    },
    /// Nothing that can be decided here helps. The heart asks for nothing more; the driver stops and shows the reason.
    Halt(HaltReason),
}

/// What must outlive the process. [`crate::Memory`] folds records into what [`crate::Sequencer::recover`] needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a few a slot, each on its way to the disk")]
pub enum Record {
    /// A decided payload of our own, before anyone hears of it.
    Payload(Payload),
    /// A promise, before it is made.
    Vow {
        /// The promise.
        vow: Vow,
        /// The block promised to, unless an earlier record carries it.
        payload: Option<Payload>,
        /// The endorsements that an attestation rests on; `None` with an endorsement.
        lock: Option<Certificate>,
    },
    /// The proof that a block is decided, before the chain moves to it.
    Certificate(Certificate),
}

/// What is wrong with a message, with the evidence where the message alone is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Offence {
    /// Two different blocks proposed for one slot by its proposer. Proves that the proposer is faulty, not the peer.
    TwoProposals {
        /// The one heard first.
        first: Box<Proposal>,
        /// The other.
        second: Box<Proposal>,
    },
    /// Two vows of one member for different blocks in one slot. Proves that the member is faulty, not the peer.
    TwoVows {
        /// The one heard first.
        first: Box<Attestation>,
        /// The other.
        second: Box<Attestation>,
    },
    /// Proposed by someone whose slot it is not.
    NotTheProposer,
    /// Signed by someone who is no member.
    NotAMember,
    /// A certificate without a quorum, of the wrong stage, or about another block.
    BadCertificate,
    /// A proposal that does not hold together: wrong height, wrong parent, a time that is not its slot's.
    Malformed,
    /// A slot that lies further ahead than clocks may differ.
    TooEarly,
    /// The backend found the block invalid.
    InvalidBlock,
    /// A message that this agreement has no use for.
    OutOfPlace,
}

/// Why the heart stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HaltReason {
    /// An outside call failed for good.
    Failed(Call),
    /// The backend refuses a block that is decided: what was built or agreed is not what it accepts.
    DecidedButInvalid(BlockRef),
    /// Two different blocks at one height are both decided, so more members are faulty than the committee bears, or a conductor forgot.
    Fork {
        /// The block that our chain has at this height.
        ours: BlockRef,
        /// The other.
        theirs: BlockRef,
    },
}

/// An outside call, for reasons and displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Call {
    /// Opening a build.
    Open,
    /// Sealing a build.
    Seal,
    /// Importing a payload.
    Import,
    /// Setting heads.
    SetHeads,
    /// Committing to the conductor.
    Commit,
    /// Asking for heads, or for what the head cites.
    Ask,
    /// Looking up a block on L1.
    LookUp,
}

/// The effects of one step, in the order in which they are to be performed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// No effects yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one at the end.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// All in order.
    pub fn as_slice(&self) -> &[Effect] {
        &self.0
    }

    /// Takes all out in order and keeps the room for the next step.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.0.drain(..)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
