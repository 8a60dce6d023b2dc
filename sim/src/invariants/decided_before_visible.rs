//! Nothing is announced, published or made canonical before it is decided.
//!
//! Source: design of the heart ("nothing undecided is ever announced"). The public failure: a leader gossiped a block that it had not
//! imported, and the next one refused it (Base Sepolia, 2024-10-14, optimism#12448).

use sequencer::Effect;
use types::{Announcement, BlockRef, Stage};

use super::{Finding, Seen};
use crate::world::Mode;

/// Looks at everything that makes a block visible.
pub fn see(seen: &Seen<'_>) -> Finding {
    match seen.effect {
        Effect::Announce(announcement) => decided(seen, "announces", announcement),
        Effect::Publish(announcement) => decided(seen, "publishes", announcement),
        Effect::SetHeads(heads) => known(seen, "makes canonical", heads.unsafe_head()),
        Effect::Import(payload) if seen.mode != Mode::Committee => known(seen, "imports", payload.block),
        _ => Ok(()),
    }
}

fn decided(seen: &Seen<'_>, verb: &str, announcement: &Announcement) -> Finding {
    known(seen, verb, announcement.payload.block)?;
    match (seen.mode, &announcement.certificate) {
        (Mode::Solo | Mode::OnDemand | Mode::L1 | Mode::Conductor | Mode::Rollup, _) => Ok(()),
        (Mode::Committee, Some(certificate))
            if seen.committee.proves(certificate, Stage::Attest)
                && certificate.vow.block == announcement.payload.block
                && seen.truth.is_signed(certificate) =>
        {
            Ok(())
        }
        (Mode::Committee, _) => Err(format!("{verb} {} without a certificate", announcement.payload.block.number)),
    }
}

fn known(seen: &Seen<'_>, verb: &str, block: BlockRef) -> Finding {
    // Who has not heard yet that L1 left it goes on with what was decided.
    let once = seen.mode == Mode::Rollup && seen.truth.was_decided(block);
    if block.number.as_u64() == 0 || seen.truth.is_decided(block) || once {
        Ok(())
    } else {
        Err(format!("{verb} block {} ({}), which is not decided", block.number, block.hash))
    }
}
