//! Whether blocks are being built, and if not, why.

use sequencer::Standing;
use types::{BlockRef, Millis, Timestamp};

/// Slots without a block after which a chain does not count as ready.
const SLOTS_SILENT_MAX: u64 = 2;

/// The driver's state as others may see it. Always the newest is kept, see [`crate::DriverHandle::pulse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Length of a slot.
    pub slot: Millis,
    /// The newest block.
    pub head: BlockRef,
    /// When the driver last set a head, or sealed nothing where nothing was due; when it started, before the first time.
    pub beat: Timestamp,
    /// What the sequencer is doing.
    pub standing: Standing,
    /// Whether the operator lets it lead.
    pub active: bool,
    /// Whether nothing is on its way that may still become the head ([`sequencer::Sequencer::is_settled`]).
    pub settled: bool,
    /// What failed last, since the last beat.
    pub trouble: Option<Trouble>,
    /// The height on L1 without which no block can be built, while L1 does not have it ([`sequencer::Sequencer::awaits_l1`]).
    pub awaits_l1: Option<u64>,
    /// Whether blocks are built on demand, and not by the clock.
    pub on_demand: bool,
    /// How many demands were answered, where blocks are built on demand.
    pub served: u64,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When.
    pub at: Timestamp,
    /// What and why, for people.
    pub what: String,
}

/// Whether requests should be sent to this process, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Blocks come as they should.
    Ready(String),
    /// They do not; says why.
    NotReady(String),
}

impl Pulse {
    /// Not ready when there was no block for two block times, with the reason as far as it is known.
    #[must_use]
    pub fn readiness(&self, now: Timestamp) -> Readiness {
        let head = self.head.number;
        let age = now.since(self.beat);
        if let Standing::Halted(reason) = &self.standing {
            return Readiness::NotReady(format!("the sequencer halted at block {head}: {reason:?}"));
        }
        if self.on_demand && self.trouble.is_none() && self.active {
            return Readiness::Ready(format!("block {head}, {age} ago; the next one comes when it is asked for"));
        }
        if age <= self.slot.times(SLOTS_SILENT_MAX) {
            return Readiness::Ready(format!("block {head}, {age} ago, one due every {}", self.slot));
        }
        if let Some(number) = self.awaits_l1 {
            let why = "it has run too far ahead of the L1 block that it cites, and L1 does not have block";
            let due = format!("no block for {age} after block {head}, one is due every {}", self.slot);
            return Readiness::NotReady(format!("{due}: {why} {number}, or not as deep as it has to be"));
        }
        let why = match (&self.standing, &self.trouble) {
            (_, Some(trouble)) => trouble.what.clone(),
            (Standing::CatchingUp { to }, None) => format!("it is catching up to block {}", to.number),
            (_, None) if !self.active => "it was told not to lead".to_owned(),
            (Standing::Following, None) => "it follows, and nothing came".to_owned(),
            (Standing::Leading | Standing::Halted(_), None) => "what it waits for has not been answered".to_owned(),
        };
        Readiness::NotReady(format!("no block for {age} after block {head}, one is due every {}: {why}", self.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_for_two_block_times_is_not_ready_and_says_why() {
        let at = Timestamp::from_millis;
        let pulse = Pulse {
            on_demand: false,
            served: 0,
            slot: Millis::new(1000),
            head: BlockRef::default(),
            beat: at(10_000),
            standing: Standing::Leading,
            active: true,
            settled: true,
            trouble: None,
            awaits_l1: None,
        };
        assert!(matches!(pulse.readiness(at(12_000)), Readiness::Ready(_)));
        let rows = [
            (Pulse { ..pulse.clone() }, "not been answered"),
            (
                Pulse { trouble: Some(Trouble { at: at(0), what: "sealing: disk full".into() }), ..pulse.clone() },
                "disk full",
            ),
            (Pulse { active: false, standing: Standing::Following, ..pulse.clone() }, "told not to lead"),
            (Pulse { standing: Standing::Following, ..pulse.clone() }, "nothing came"),
            (Pulse { awaits_l1: Some(101), ..pulse.clone() }, "L1 does not have block 101"),
            (Pulse { standing: Standing::CatchingUp { to: BlockRef::default() }, ..pulse.clone() }, "catching up"),
        ];
        for (pulse, why) in rows {
            let Readiness::NotReady(reason) = pulse.readiness(at(12_001)) else { panic!("{why}") };
            assert!(reason.contains(why) && reason.contains("2001ms"), "{reason}");
        }
        // A clock that went back does not make the past a reason.
        assert!(matches!(pulse.readiness(at(0)), Readiness::Ready(_)));
    }
}
