//! One slot has at most one certificate of each stage.
//!
//! Source: quorum intersection. Two quorums of `floor(2n / 3) + 1` share more than `f` members, so an honest one, which vows once a
//! slot (`types::Committee::quorum`; Castro, Liskov, "Practical Byzantine Fault Tolerance", OSDI 1999, section 4.5.1).

use std::collections::BTreeMap;

use sequencer::{Effect, Record};
use types::{BlockRef, Certificate, Slot, Stage};

use super::{Finding, KEPT, Seen};

/// Which block each slot's certificates name.
#[derive(Clone, Debug, Default)]
pub struct CertificatePerSlot {
    certified: BTreeMap<(Slot, Stage), BlockRef>,
}

impl CertificatePerSlot {
    /// Looks at every certificate that an honest node relies on.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        match seen.effect {
            Effect::Persist(Record::Certificate(certificate)) => self.certified(certificate),
            Effect::Persist(Record::Vow { lock: Some(lock), .. }) => self.certified(lock),
            _ => Ok(()),
        }
    }

    fn certified(&mut self, certificate: &Certificate) -> Finding {
        let vow = certificate.vow;
        let first = *self.certified.entry((vow.slot, vow.stage)).or_insert(vow.block);
        if self.certified.len() > KEPT {
            self.certified.pop_first();
        }
        if first == vow.block {
            Ok(())
        } else {
            Err(format!("slot {}: {:?} quorums for {} and {}", vow.slot, vow.stage, first.hash, vow.block.hash))
        }
    }
}
