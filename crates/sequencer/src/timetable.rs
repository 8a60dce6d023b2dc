//! When which slot is: arithmetic on a clock that is handed in.
//!
//! ```text
//!        build_ahead                      seal_lead
//!       ◄──────────►                    ◄──────────►
//!  ─────┬──────────┬────────────────────┬──────────┬─────► time
//!     opens      start(s)            seal_at(s)  end(s) = start(s + 1)
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{Millis, Slot, Timestamp};

/// Shortest slot.
pub const SLOT_MIN: Millis = Millis::new(200);
/// Longest slot: one day.
pub const SLOT_MAX: Millis = Millis::new(24 * 60 * 60 * 1000);

/// What a timetable is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimetableConfig {
    /// When slot 0 starts.
    pub genesis: Timestamp,
    /// How long each slot is, from [`SLOT_MIN`] to [`SLOT_MAX`].
    pub slot: Millis,
    /// How long before its slot starts a build may be opened. At most one slot, which means: at once.
    pub build_ahead: Millis,
    /// How long before its slot ends a build is sealed, to leave time for agreement and import. Less than a slot.
    pub seal_lead: Millis,
    /// Which end of its slot a block is dated with.
    pub stamp: Stamp,
}

/// Which end of its slot a block is dated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stamp {
    /// The slot's start, as on Starknet and in an Aztec committee.
    Opening,
    /// The slot's end, as on the OP Stack, where a block is sealed when its own time comes.
    Closing,
}

/// Times of slots. Made from a [`TimetableConfig`] that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TimetableConfig", into = "TimetableConfig")]
pub struct Timetable(TimetableConfig);

impl Timetable {
    /// Checks the configuration.
    ///
    /// # Errors
    /// [`TimetableFault`] names the first value that makes no sense and says which would.
    pub fn new(config: TimetableConfig) -> Result<Self, TimetableFault> {
        if config.slot < SLOT_MIN || config.slot > SLOT_MAX {
            Err(TimetableFault::Slot(config.slot))
        } else if config.build_ahead > config.slot {
            Err(TimetableFault::BuildAhead { build_ahead: config.build_ahead, slot: config.slot })
        } else if config.seal_lead >= config.slot {
            Err(TimetableFault::SealLead { seal_lead: config.seal_lead, slot: config.slot })
        } else {
            Ok(Self(config))
        }
    }

    /// A chain that always has a block open: slots from `genesis` on, the next build opened as soon as the last block is decided
    /// and sealed at the slot's very end, blocks dated with their slot's start.
    ///
    /// # Errors
    /// [`TimetableFault::Slot`] for a slot that is too short or too long.
    pub fn gapless(genesis: Timestamp, slot: Millis) -> Result<Self, TimetableFault> {
        Self::new(TimetableConfig { genesis, slot, build_ahead: slot, seal_lead: Millis::ZERO, stamp: Stamp::Opening })
    }

    /// What this was made from.
    pub const fn config(&self) -> &TimetableConfig {
        &self.0
    }

    /// When the slot starts.
    pub const fn start(&self, slot: Slot) -> Timestamp {
        self.0.genesis.after(self.0.slot.times(slot.as_u64()))
    }

    /// When the slot is over; the next one starts at that moment.
    pub const fn end(&self, slot: Slot) -> Timestamp {
        self.start(slot.next())
    }

    /// When a build for the slot may be opened.
    pub const fn opens_at(&self, slot: Slot) -> Timestamp {
        self.start(slot).before(self.0.build_ahead)
    }

    /// When a build for the slot is sealed.
    pub const fn seal_at(&self, slot: Slot) -> Timestamp {
        self.end(slot).before(self.0.seal_lead)
    }

    /// The slot that `now` lies in; slot 0 before it has started.
    pub const fn slot_at(&self, now: Timestamp) -> Slot {
        Slot::new(now.since(self.0.genesis).as_u64() / self.0.slot.as_u64())
    }

    /// The date of a block of this slot.
    pub const fn stamp(&self, slot: Slot) -> Timestamp {
        match self.0.stamp {
            Stamp::Opening => self.start(slot),
            Stamp::Closing => self.end(slot),
        }
    }

    /// The first slot whose block is dated later than this.
    pub fn slot_after(&self, date: Timestamp) -> Slot {
        if date < self.stamp(Slot::new(0)) {
            return Slot::new(0);
        }
        match self.0.stamp {
            Stamp::Opening => self.slot_at(date).next(),
            Stamp::Closing => self.slot_at(date),
        }
    }
}

impl TryFrom<TimetableConfig> for Timetable {
    type Error = TimetableFault;

    fn try_from(config: TimetableConfig) -> Result<Self, TimetableFault> {
        Self::new(config)
    }
}

impl From<Timetable> for TimetableConfig {
    fn from(timetable: Timetable) -> Self {
        timetable.0
    }
}

/// A value that makes no timetable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimetableFault {
    /// Too short or too long a slot.
    Slot(Millis),
    /// Opening earlier than a slot ahead.
    BuildAhead {
        /// The value.
        build_ahead: Millis,
        /// The slot it was compared with.
        slot: Millis,
    },
    /// Sealing a slot or more before the end.
    SealLead {
        /// The value.
        seal_lead: Millis,
        /// The slot it was compared with.
        slot: Millis,
    },
}

impl fmt::Display for TimetableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => write!(f, "a slot of {slot}: expected {SLOT_MIN} to {SLOT_MAX}"),
            Self::BuildAhead { build_ahead, slot } => {
                write!(f, "builds opened {build_ahead} ahead: expected at most one slot, {slot}")
            }
            Self::SealLead { seal_lead, slot } => {
                write!(f, "builds sealed {seal_lead} before the slot's end: expected less than one slot, {slot}")
            }
        }
    }
}

impl std::error::Error for TimetableFault {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(slot: u64, build_ahead: u64, seal_lead: u64) -> TimetableConfig {
        TimetableConfig {
            genesis: Timestamp::from_millis(10_000),
            slot: Millis::new(slot),
            build_ahead: Millis::new(build_ahead),
            seal_lead: Millis::new(seal_lead),
            stamp: Stamp::Opening,
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let rows = [
            (config(199, 0, 0), "a slot of 199ms: expected 200ms to 86400000ms"),
            (config(86_400_001, 0, 0), "a slot of 86400001ms: expected 200ms to 86400000ms"),
            (config(1_000, 1_001, 0), "builds opened 1001ms ahead: expected at most one slot, 1000ms"),
            (
                config(1_000, 0, 1_000),
                "builds sealed 1000ms before the slot's end: expected less than one slot, 1000ms",
            ),
        ];
        for (config, expected) in rows {
            let fault = Timetable::new(config).expect_err("it makes no sense");
            assert_eq!(fault.to_string(), expected);
            let text = serde_json::to_string(&config).expect("it is written");
            assert!(serde_json::from_str::<Timetable>(&text).is_err(), "and is not read");
        }
    }

    #[test]
    fn times_of_a_slot() {
        let timetable = Timetable::new(config(1_000, 300, 200)).expect("it makes sense");
        let slot = Slot::new(3);
        let times = [timetable.opens_at(slot), timetable.start(slot), timetable.seal_at(slot), timetable.end(slot)];
        assert_eq!(times.map(Timestamp::as_millis), [12_700, 13_000, 13_800, 14_000]);
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_its_slot(now in 10_000..u64::MAX / 2, slot in 200..86_400_000_u64) {
            let timetable = Timetable::new(config(slot, 0, 0)).expect("it makes sense");
            let (now, slot) = (Timestamp::from_millis(now), timetable.slot_at(Timestamp::from_millis(now)));
            prop_assert!(timetable.start(slot) <= now && now < timetable.end(slot));
        }

        #[test]
        fn the_slot_after_a_date_is_the_first_one_later(date in 0..100_000_u64, closing in any::<bool>()) {
            let stamp = if closing { Stamp::Closing } else { Stamp::Opening };
            let timetable = Timetable::new(TimetableConfig { stamp, ..config(700, 0, 0) }).expect("it makes sense");
            let date = Timestamp::from_millis(date);
            let slot = timetable.slot_after(date);
            prop_assert!(timetable.stamp(slot) > date);
            prop_assert!(slot.previous().is_none_or(|slot| timetable.stamp(slot) <= date));
        }

        #[test]
        fn no_moment_and_no_slot_is_too_much(now in any::<u64>(), slot in any::<u64>()) {
            let timetable = Timetable::new(config(200, 200, 199)).expect("it makes sense");
            let (now, slot) = (Timestamp::from_millis(now), Slot::new(slot));
            let _ = (timetable.slot_at(now), timetable.slot_after(now), timetable.opens_at(slot), timetable.seal_at(slot));
        }
    }
}
