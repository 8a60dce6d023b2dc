//! Members, their vows, and what a quorum of vows proves.
//!
//! A committee of `n = 3f + 1` agrees in two stages, both signed: a member first *endorses* a proposal that it found valid, and
//! *attests* to it once a quorum has endorsed it. A quorum of endorsements is a *lock*, a quorum of attestations a deciding
//! certificate. One stage would not do: with `3f + 1` members no protocol that decides on the first vote stays both safe and live
//! under an equivocating proposer (that takes `5f - 1`: Abraham, Nayak, Ren, Xiang, "Good-case Latency of Byzantine Broadcast", PODC 2021).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hexadecimal::{Hexadecimal, from_hexadecimal};
use crate::{BlockRef, Payload, Slot};

/// A member's place in the committee, counted from 0. Keys and addresses behind it are the carrier's affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(u32);

impl MemberId {
    /// The member at this place.
    pub const fn new(place: u32) -> Self {
        Self(place)
    }

    /// The plain place.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Signature bytes in whatever scheme the carrier uses. Made and checked outside; empty where not signed yet.
///
/// Written as `0x` and hexadecimal digits in human-readable formats, as bytes elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub Bytes);

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&Hexadecimal(&self.0))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let bytes = from_hexadecimal(&text);
            bytes.map(|bytes| Self(bytes.into())).ok_or_else(|| de::Error::custom("expected 0x and hexadecimal digits"))
        } else {
            Bytes::deserialize(deserializer).map(Self)
        }
    }
}

/// The two promises a member makes about a block, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// "Valid, and I know of nothing that forbids it." A quorum of these is a lock.
    Endorse,
    /// "A quorum endorsed it, and I keep to it." A quorum of these decides.
    Attest,
}

/// A promise about one slot: durable before it is sent, for at most one block a slot, never going back, across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vow {
    /// The slot in which the block was proposed; a block proposed again carries a later one than it was built for.
    pub slot: Slot,
    /// How far the promise goes.
    pub stage: Stage,
    /// The block promised to.
    pub block: BlockRef,
}

impl Vow {
    /// May someone who made the vow `earlier` make this one? Only forward: a later slot, or the same block in the same slot.
    pub fn may_follow(&self, earlier: &Vow) -> bool {
        self.slot > earlier.slot
            || (self.slot == earlier.slot && self.block == earlier.block && self.stage >= earlier.stage)
    }
}

/// A member's signed vow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attestation {
    /// Who vows.
    pub member: MemberId,
    /// What is vowed.
    pub vow: Vow,
    /// With an attestation of the second stage, the lock that it rests on, so that the lock spreads. Not covered by the signature.
    pub lock: Option<Certificate>,
    /// The member's signature over the vow; empty until the carrier has signed.
    pub signature: Signature,
}

/// A quorum's signatures under one vow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Certificate {
    /// What the quorum vowed.
    pub vow: Vow,
    /// Who signed, in rising order of members. Shared: certificates travel with proposals and attestations, and are copied often.
    pub signatures: Arc<[(MemberId, Signature)]>,
}

/// A member's block for a slot that is its own, with all that a listener who missed something needs to follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proposal {
    /// The slot in which it is proposed.
    pub slot: Slot,
    /// Who proposes.
    pub proposer: MemberId,
    /// The block proposed.
    pub payload: Payload,
    /// The certificate of the payload's parent; `None` if and only if the parent is where the committee began.
    pub parent: Option<Certificate>,
    /// A lock on this very payload from an earlier slot: frees those who are locked on another since a slot before that.
    pub lock: Option<Certificate>,
    /// The proposer's signature; empty until the carrier has signed.
    pub signature: Signature,
}

/// Who agrees, and who proposes when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Committee {
    members: u32,
}

impl Committee {
    /// Most members a committee may have: it bounds every tally.
    pub const MEMBERS_MAX: u32 = 128;

    /// A committee of this many members; `None` for none or more than [`Committee::MEMBERS_MAX`].
    pub fn of(members: u32) -> Option<Self> {
        (1..=Self::MEMBERS_MAX).contains(&members).then_some(Self { members })
    }

    /// How many members there are.
    pub const fn size(&self) -> u32 {
        self.members
    }

    /// How many may be faulty without harm: the `f` of `n = 3f + 1`, rounded down.
    pub const fn faulty_max(&self) -> u32 {
        self.members.saturating_sub(1) / 3
    }

    /// How many signatures prove something: `floor(2n / 3) + 1`, which is `2f + 1` for `n = 3f + 1`. Two quorums share an honest member.
    pub const fn quorum(&self) -> u32 {
        self.members * 2 / 3 + 1
    }

    /// Is this place taken?
    pub const fn contains(&self, member: MemberId) -> bool {
        member.0 < self.members
    }

    /// All members in order.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0..self.members).map(MemberId)
    }

    /// Who proposes in a slot: each in turn.
    pub fn proposer(&self, slot: Slot) -> MemberId {
        let place = slot.as_u64() % u64::from(self.members.max(1));
        MemberId(u32::try_from(place).unwrap_or(0))
    }

    /// Does the certificate carry this stage, signed by a quorum of distinct members? Signatures themselves are the carrier's to check.
    pub fn proves(&self, certificate: &Certificate, stage: Stage) -> bool {
        let rising = certificate.signatures.windows(2).all(|pair| pair[0].0 < pair[1].0);
        certificate.vow.stage == stage
            && rising
            && certificate.signatures.iter().all(|(member, _)| self.contains(*member))
            && certificate.signatures.len() >= self.quorum() as usize
    }
}
