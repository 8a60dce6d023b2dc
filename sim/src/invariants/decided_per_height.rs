//! At one height at most one block is decided: the chain never forks.
//!
//! Source: agreement, the safety property of any consensus; R4 and R5 of the reliability goals ("halt, never fork"). Decisions are
//! recorded by the world itself where they fall (`Truth::decide`); here it is checked that those who rely on a certificate rely
//! on a real one.

use sequencer::{Effect, Record};
use types::{Certificate, Stage};

use super::{Finding, Seen};

/// Looks at every certificate that a node writes down.
pub fn see(seen: &Seen<'_>) -> Finding {
    match seen.effect {
        Effect::Persist(Record::Certificate(certificate)) => real(seen, certificate, Stage::Attest),
        Effect::Persist(Record::Vow { lock: Some(lock), .. }) => real(seen, lock, Stage::Endorse),
        _ => Ok(()),
    }
}

fn real(seen: &Seen<'_>, certificate: &Certificate, stage: Stage) -> Finding {
    if seen.committee.proves(certificate, stage) && seen.truth.is_signed(certificate) {
        Ok(())
    } else {
        let (signatures, quorum) = (certificate.signatures.len(), seen.committee.quorum());
        Err(format!("relies on {signatures} signatures for slot {}, a quorum is {quorum}", certificate.vow.slot))
    }
}
