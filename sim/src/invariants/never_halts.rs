//! An honest node among few enough faulty ones never gives up.
//!
//! Source: R4 and R5 of the reliability goals. No fault that the world makes is fatal, so a halt means that a node was led astray.

use sequencer::Effect;

use super::{Finding, Seen};

/// Looks for the one effect.
pub fn see(seen: &Seen<'_>) -> Finding {
    match seen.effect {
        Effect::Halt(reason) => Err(format!("halts: {reason:?}")),
        _ => Ok(()),
    }
}
