//! Orders to build, and what comes of them.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{BlockRef, Certificate, L1Origin, Slot, Timestamp};

/// Names one build from its opening to its end. Chosen by the heart, never used twice in one run of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildId(u64);

impl BuildId {
    /// The build with this count.
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// The plain count.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The order to build one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// The slot that the block is for.
    pub slot: Slot,
    /// The block to build on.
    pub parent: BlockRef,
    /// The time to give the block. Above the parent's.
    pub timestamp: Timestamp,
    /// The L1 block to cite; `None` on a chain that cites none.
    pub origin: Option<L1Origin>,
    /// May transactions be taken from the pool? `false` builds from forced contents alone.
    pub use_pool: bool,
}

/// A sealed block: a reference plus the body in the chain's own encoding.
///
/// The serialised form leaves the body out: it is the journal's form, and decisions never look at a body. Whoever stores
/// or sends a whole payload encodes the body itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payload {
    /// The slot that the block was built for.
    pub slot: Slot,
    /// The block's name and place. The hash stands for the body too: equal references mean equal payloads.
    pub block: BlockRef,
    /// The L1 block that it cites.
    pub origin: Option<L1Origin>,
    /// The block in its chain's own encoding; opaque here.
    #[serde(skip)]
    pub body: Bytes,
}

/// A decided payload on its way to others, with the proof that it was decided where the agreement yields one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Announcement {
    /// The decided payload.
    pub payload: Payload,
    /// The quorum behind it; `None` where one sequencer or a conductor decides, and the carrier vouches for the sender.
    pub certificate: Option<Certificate>,
}

/// What a backend found when it executed a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Executed, as claimed, and stored.
    Valid,
    /// Against the chain's rules, or not what its header claims. Says that its maker is faulty.
    Invalid,
    /// The parent is not known to the backend, so nothing could be said.
    ParentUnknown,
}

/// Why an order could not be carried out, named by what its giver must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// Passing: a time-out, a busy or unreachable service. Whether the order took effect may be unknown. Give it again.
    Retry,
    /// The giver's picture is out of date: ask for the heads, then decide anew.
    Reset,
    /// Nothing that can be decided here will help. Stop.
    Fatal,
}
