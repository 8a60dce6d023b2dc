//! A member vows for at most one block a slot and never goes back, across restarts.
//!
//! Source: R17 of the reliability goals; the minimal conditions of EIP-3076 (slashing protection interchange), applied to slots.

use sequencer::Effect;
use types::{Stage, Vow};

use super::{Finding, Seen};

/// What each member has sent last. Restarts change nothing: what is sent is sent.
#[derive(Clone, Debug)]
pub struct NoSecondVow {
    sent: Vec<Option<Vow>>,
}

impl NoSecondVow {
    /// For so many members.
    pub fn of(nodes: usize) -> Self {
        Self { sent: vec![None; nodes] }
    }

    /// Looks at every vow that is sent.
    pub fn see(&mut self, seen: &Seen<'_>) -> Finding {
        let vow = match seen.effect {
            Effect::Attest(attestation) => attestation.vow,
            Effect::Propose(proposal) => {
                Vow { slot: proposal.slot, stage: Stage::Endorse, block: proposal.payload.block }
            }
            _ => return Ok(()),
        };
        let Some(sent) = &mut self.sent[seen.node] else {
            self.sent[seen.node] = Some(vow);
            return Ok(());
        };
        let repeated = vow.slot == sent.slot && vow.block == sent.block;
        if vow.may_follow(sent) {
            *sent = vow;
            Ok(())
        } else if repeated {
            Ok(())
        } else {
            Err(format!("vows {} in slot {} after {} in slot {}", vow.block.hash, vow.slot, sent.block.hash, sent.slot))
        }
    }
}
