//! A proposal carries its parent's certificate.
//!
//! Source: design of the heart: without it, 10 % message loss halted a committee for good.

use sequencer::Effect;
use types::Stage;

use super::{Finding, Seen};

/// Looks at every proposal.
pub fn see(seen: &Seen<'_>) -> Finding {
    let Effect::Propose(proposal) = seen.effect else { return Ok(()) };
    let block = proposal.payload.block;
    let carried = match &proposal.parent {
        Some(parent) => seen.committee.proves(parent, Stage::Attest) && block.extends(&parent.vow.block),
        None => block.number.as_u64() == 1,
    };
    if carried { Ok(()) } else { Err(format!("proposes block {} without its parent's certificate", block.number)) }
}
