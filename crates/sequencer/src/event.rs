//! All that the heart can hear.

use serde::{Deserialize, Serialize};
use types::{
    Announcement, Attestation, BlockHash, BlockNumber, BlockRef, BuildId, Failure, Heads, L1Block, L1Origin, Payload,
    Proposal, Timestamp, Verdict,
};

/// Something happened. Every variant that answers an effect names the build, block, range or question it answers; an answer to
/// what is no longer asked is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    /// Time has passed. Due at [`crate::Sequencer::deadline`] at the latest; one too many is harmless.
    Wake,

    /// The operator lets this sequencer lead. No effect if it already may.
    Start,
    /// The operator keeps this sequencer from leading. It goes on following, and finishes what is decided.
    Stop,
    /// A block is wanted now. Under [`crate::AgreementConfig::OnDemand`] each demand is answered by one block, in the order of demands, at
    /// most [`crate::DEMANDS_MAX`] waiting; whatever does not fit, and every demand elsewhere, has no effect.
    Demand {
        /// The date that the block is to have, in whole seconds. One that is not above the parent's becomes the parent's and a second.
        date: Timestamp,
    },

    /// Answers [`crate::Effect::Open`]: the build takes transactions.
    Opened {
        /// The build.
        build: BuildId,
    },
    /// Answers [`crate::Effect::Open`]: no build was opened, or it is not known whether one was.
    OpenFailed {
        /// The build.
        build: BuildId,
        /// What to do about it.
        failure: Failure,
    },
    /// Answers [`crate::Effect::Seal`]: the build is closed.
    Sealed {
        /// The build.
        build: BuildId,
        /// What came of it.
        payload: Payload,
    },
    /// Answers [`crate::Effect::Seal`]: the build is empty, and this chain seals no empty blocks. The build is over.
    NothingToSeal {
        /// The build.
        build: BuildId,
    },
    /// Answers [`crate::Effect::Seal`].
    SealFailed {
        /// The build.
        build: BuildId,
        /// What to do about it.
        failure: Failure,
    },

    /// Answers [`crate::Effect::Import`].
    Imported {
        /// The block that was judged.
        block: BlockHash,
        /// The judgement.
        verdict: Verdict,
    },
    /// Answers [`crate::Effect::Import`]: nothing was judged, or it is not known.
    ImportFailed {
        /// The block.
        block: BlockHash,
        /// What to do about it.
        failure: Failure,
    },
    /// Answers [`crate::Effect::SetHeads`].
    HeadsSet {
        /// The unsafe head that was set.
        block: BlockHash,
    },
    /// Answers [`crate::Effect::SetHeads`].
    SetHeadsFailed {
        /// The unsafe head that was to be set.
        block: BlockHash,
        /// What to do about it.
        failure: Failure,
    },

    /// Answers [`crate::Effect::AskHeads`]: where the backend's chain stands.
    HeadsTold {
        /// The question.
        query: QueryId,
        /// The backend's heads.
        heads: Heads,
    },
    /// Answers [`crate::Effect::AskConductor`]: the newest committed block.
    ConductorTold {
        /// The question.
        query: QueryId,
        /// The newest block committed; `None` before the first.
        head: Option<BlockRef>,
    },
    /// Answers [`crate::Effect::AskOrigin`].
    OriginTold {
        /// The question.
        query: QueryId,
        /// The L1 block that the block cites; `None` if it cites none, or the backend cannot tell: then it is asked again.
        origin: Option<L1Origin>,
    },
    /// Answers [`crate::Effect::LookUp`].
    L1Found {
        /// The question.
        query: QueryId,
        /// The block; `None` if L1 does not have it, or not as deep as it must lie.
        block: Option<L1Block>,
    },
    /// Answers [`crate::Effect::LookUp`]: L1 could not be asked.
    LookUpFailed {
        /// The question.
        query: QueryId,
        /// What to do about it.
        failure: Failure,
    },
    /// Answers [`crate::Effect::AskHeads`], [`crate::Effect::AskConductor`] or [`crate::Effect::AskOrigin`]: no answer was to be had.
    AskFailed {
        /// The question.
        query: QueryId,
        /// What to do about it.
        failure: Failure,
    },
    /// Answers [`crate::Effect::Fetch`]: as many decided payloads of the range as could be had, perhaps none.
    Fetched {
        /// Lowest height asked for.
        from: BlockNumber,
        /// Highest height asked for.
        to: BlockNumber,
        /// Decided payloads, in any order.
        found: Vec<Announcement>,
    },

    /// The conductor elected this sequencer or another.
    Leadership(Role),
    /// Answers [`crate::Effect::Commit`]: the conductor holds the payload for good.
    Committed {
        /// The block.
        block: BlockHash,
    },
    /// Answers [`crate::Effect::Commit`]: [`Failure::Retry`] when it is unclear whether the conductor holds it, [`Failure::Reset`] when
    /// it refused.
    CommitFailed {
        /// The block.
        block: BlockHash,
        /// What to do about it.
        failure: Failure,
    },

    /// A proposal was heard whose signatures are good.
    Proposed {
        /// Who brought it.
        peer: Peer,
        /// The proposal.
        proposal: Proposal,
    },
    /// An attestation was heard whose signature is good. The carrier brings back our own this way too, once signed.
    Attested {
        /// Who brought it.
        peer: Peer,
        /// The attestation.
        attestation: Attestation,
    },
    /// A decided payload was heard. Its certificate's signatures are good; where it has none, the sender is entitled to decide.
    Announced {
        /// Who brought it.
        peer: Peer,
        /// The payload.
        announcement: Announcement,
    },
    /// What is known of the chain on L1 changed.
    ///
    /// Heads never go back for it. Where the chain cites L1 ([`crate::Config::origins`]), a safe block that contradicts our chain (of
    /// the same height as a head of ours and another hash, or above our head) means that the chain was derived anew from L1: the
    /// backend is asked where it stands, and what it says holds. Elsewhere such news is dropped.
    Landed {
        /// The newest block that landed.
        safe: BlockRef,
        /// The newest block that is final.
        finalized: BlockRef,
    },
    /// L1 has a new head. To be told of every one, and of every reorganisation: what L1 did not have is looked up again at once.
    L1Moved {
        /// Height of the newest block.
        head: u64,
        /// Were blocks that have been seen taken back?
        reorganised: bool,
    },
    /// The operator switches recovery on or off: while it is on, blocks are exactly those that derivation would make by itself, empty
    /// and citing L1 as early as they may. No effect on a chain that cites none.
    Recover(bool),
}

/// A question asked outside, so that its answer can be told from an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueryId(pub(crate) u64);

/// The carrier's handle for whoever brought a message. [`Peer::OURSELVES`] is never penalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Peer(u64);

impl Peer {
    /// This sequencer's own carrier.
    pub const OURSELVES: Self = Self(0);

    /// The peer that the carrier knows under this handle; handles of others start at 1.
    pub const fn new(handle: u64) -> Self {
        Self(handle)
    }

    /// The plain handle.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// What the conductor elected this sequencer to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The one that builds.
    Leader,
    /// One that follows.
    Follower,
}
