//! Who vowed what in the last few slots.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{Attestation, Certificate, MemberId, Signature, Slot, Stage, Vow};

/// Votes of the last few slots, the newest certificate of each stage that they make, and nothing else: at most one vow per member,
/// stage and slot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    #[serde(with = "in_pairs")]
    votes: BTreeMap<(Slot, Stage), BTreeMap<MemberId, (Vow, Signature)>>,
}

/// What one more vow changes.
#[derive(Clone, Debug)]
pub(crate) enum Counted {
    /// Too few so far, or more than needed.
    NotEnough,
    /// Nothing: heard before.
    Repeated,
    /// With this one there is a quorum.
    Quorum(Certificate),
    /// This member has vowed to another block in this slot.
    Conflict(Box<Attestation>),
}

impl Tally {
    /// Counts a member's vow. Members are as many as the committee has: the caller turns others away.
    pub(crate) fn count(&mut self, quorum: u32, attestation: &Attestation) -> Counted {
        let Attestation { member, vow, signature, lock: _ } = attestation;
        if let Some(conflict) = self.conflict(*member, vow) {
            return Counted::Conflict(Box::new(conflict));
        }
        let votes = self.votes.entry((vow.slot, vow.stage)).or_default();
        if votes.insert(*member, (*vow, signature.clone())).is_some() {
            return Counted::Repeated;
        }
        let agreeing = votes.values().filter(|(other, _)| other == vow).count();
        if agreeing != quorum as usize {
            return Counted::NotEnough;
        }
        let signatures = votes
            .iter()
            .filter(|(_, (other, _))| other == vow)
            .map(|(member, (_, signature))| (*member, signature.clone()))
            .collect();
        Counted::Quorum(Certificate { vow: *vow, signatures })
    }

    /// Forgets slots before this one.
    pub(crate) fn forget_before(&mut self, slot: Slot) {
        while let Some(entry) = self.votes.first_entry()
            && entry.key().0 < slot
        {
            entry.remove();
        }
    }

    /// An earlier vow of this member, in the same slot, to another block.
    fn conflict(&self, member: MemberId, vow: &Vow) -> Option<Attestation> {
        [Stage::Endorse, Stage::Attest].into_iter().find_map(|stage| {
            let (earlier, signature) = self.votes.get(&(vow.slot, stage))?.get(&member)?;
            let conflicts = earlier.block != vow.block;
            conflicts.then(|| Attestation { member, vow: *earlier, lock: None, signature: signature.clone() })
        })
    }
}

/// A map as a list of pairs: its keys are no text, as those of a JSON object must be.
mod in_pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S, K, V>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        K: Serialize,
        V: Serialize,
    {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
    {
        Vec::deserialize(deserializer).map(|pairs: Vec<(K, V)>| pairs.into_iter().collect())
    }
}
